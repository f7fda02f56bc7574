"""An index that is lost while a store is open is filled again from the store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import padre_core as padre
from padre_core.backends.index import Index


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PADRE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def index_file(cache: Path) -> Path:
    return next(cache.rglob("*.sqlite"))


def empty(cache: Path) -> None:
    """What another process does when it finds the store replaced."""
    index = Index(index_file(cache))
    index.clear()
    index.close()


def damage(cache: Path) -> None:
    index = Index(index_file(cache))
    with index.transaction():
        index._connection.execute("UPDATE head SET line = x'00'")
    index.close()


@pytest.mark.parametrize("lose", [empty, damage])
def test_everything_is_found_after_the_index_was_lost(
    tmp_path: Path, cache: Path, lose: Callable[[Path], None]
) -> None:
    with padre.open(tmp_path / "store", durability="process") as workspace:
        for number in range(3):
            with workspace.start_run("iris/svc", parameters={"x": number}) as run:
                run.log_metric("loss", number)
        live = workspace.start_run("iris/svc", parameters={"x": 3})
        live.log_metric("loss", 3)
        wanted = "metrics.loss.last == 3 or parameters.x < 3"
        assert len(list(workspace.runs.list(where=wanted))) == 4
        lose(cache)
        assert [run.parameters["x"] for run in workspace.runs.list(where=wanted, order_by="parameters.x")] == [
            0,
            1,
            2,
            3,
        ]
        assert workspace.runs.count() == 4
        live.finish()
        lose(cache)
        assert [run.parameters["x"] for run in workspace.runs.list(where=wanted, order_by="parameters.x")] == [
            0,
            1,
            2,
            3,
        ]
