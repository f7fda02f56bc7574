from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from padre_http.backend import HttpBackend

STABLE = Path(__file__).parent / "stable.py"

_serial = itertools.count()


@dataclass(frozen=True)
class Address:
    """A running server, and the token of its administrator."""

    url: str
    token: str

    @property
    def options(self) -> dict[str, str]:
        return {"token": self.token}

    def open(self, **options: object) -> HttpBackend:
        return HttpBackend(self.url, **{**self.options, **options})


@pytest.fixture(autouse=True)
def own_settings(tmp_path, monkeypatch):
    """Keeps tokens and spools out of the user's folders."""
    monkeypatch.setenv("PADRE_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("PADRE_STATE", str(tmp_path / "state"))


@pytest.fixture(scope="session")
def stable() -> Iterator[subprocess.Popen[str]]:
    """The process in which all servers run that nobody kills."""
    process = subprocess.Popen(
        [sys.executable, str(STABLE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    with process:
        yield process
        process.kill()


@pytest.fixture
def serve(stable: subprocess.Popen[str], tmp_path: Path) -> Callable[[str], Address]:
    """Starts a server of a store."""

    def start(store: str) -> Address:
        state = tmp_path / f"server-{next(_serial)}"
        assert stable.stdin is not None
        assert stable.stdout is not None
        stable.stdin.write(json.dumps([store, str(state)]) + "\n")
        stable.stdin.flush()
        return Address(**json.loads(stable.stdout.readline()))

    return start


@pytest.fixture
def server(serve: Callable[[str], Address]) -> Address:
    """A server of a new store in memory."""
    return serve(f"memory://http-{next(_serial)}")
