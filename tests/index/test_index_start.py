"""Whether an index is kept when the machine was started anew: only if all of it is known to be on the disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from padre_core.backends import index_file
from padre_core.backends.index import Index

Start = Callable[[str], None]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "index.sqlite"


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Lets the machine be started, under a name."""
    monkeypatch.setattr(index_file, "is_local", lambda folder: True)

    def start(name: str) -> None:
        monkeypatch.setattr(index_file, "machine_start", lambda: name)

    start("first")
    return start


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_file, "SMALL", 0)


def used(path: Path, offset: int) -> str:
    """The id of an index that was opened, told something, and closed."""
    index = Index(path)
    index.set_source("log", offset)
    index.close()
    return index_id(path)


def index_id(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("SELECT value FROM meta WHERE name = 'id'").fetchone()[0])


def found(path: Path) -> dict[str, int]:
    with closing(Index(path)) as index:
        return index.sources()


def test_a_small_index_is_kept_as_long_as_the_machine_runs(path: Path, start: Start) -> None:
    assert used(path, 1) == used(path, 2)
    assert found(path) == {"log": 2}


def test_a_small_index_is_made_again_after_the_next_start(path: Path, start: Start) -> None:
    before = used(path, 1)
    start("second")
    assert found(path) == {}
    assert index_id(path) != before


def test_a_small_index_whose_owner_was_killed_is_made_again_after_the_next_start(path: Path, start: Start) -> None:
    index = Index(path)
    index.set_source("log", 1)
    start("second")
    assert found(path) == {}
    index.close()


def test_a_large_index_outlives_the_next_start(path: Path, start: Start, large: None) -> None:
    used(path, 1)
    start("second")
    assert found(path) == {"log": 1}


def test_an_index_that_grew_large_outlives_the_next_start(
    path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    used(path, 1)
    monkeypatch.setattr(index_file, "SMALL", 0)
    used(path, 2)
    start("second")
    assert found(path) == {"log": 2}


def test_a_large_index_that_could_not_be_synced_is_made_again(
    path: Path, start: Start, large: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fd: int) -> None:
        raise OSError

    monkeypatch.setattr(index_file, "datasync", fail)
    used(path, 1)
    start("second")
    assert found(path) == {}


def test_a_large_index_is_kept_only_if_nobody_read_an_older_state_when_it_was_closed(
    path: Path, start: Start, large: None
) -> None:
    index = Index(path)
    index.set_source("log", 1)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM source").fetchall()
        index.set_source("log", 2)
        index.close()
    start("second")
    assert found(path) == {}


def test_where_the_system_names_no_start_every_index_is_synced_and_kept(path: Path, start: Start) -> None:
    start("")
    used(path, 1)
    start("second")
    assert found(path) == {"log": 1}
