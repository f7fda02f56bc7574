"""Servers for tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import padre_core as padre

from .serving import Client, Served, Start, start_server


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts servers, and ends what is left of them."""
    running: list[Served] = []

    def begin(*options: str, folder: Path | None = None, **more: Any) -> Served:
        running.append(start_server(folder or tmp_path_factory.mktemp("served"), *options, **more))
        return running[-1]

    yield begin
    for served in running:
        if served.process.poll() is None:
            served.process.kill()
            served.process.wait()
        served.close()


@pytest.fixture(scope="session")
def served(start: Start) -> Served:
    """One server for all tests that leave it whole."""
    return start()


@pytest.fixture
def client(served: Served) -> Client:
    return served.client


@pytest.fixture(scope="session")
def workspace(served: Served) -> Iterator[padre.Workspace]:
    """The same store, opened by this process beside the server."""
    with padre.open(served.store) as opened:
        yield opened
