from __future__ import annotations

import pytest

import padre_core as padre
from padre_core.errors import UnsupportedError


@pytest.mark.parametrize("age", ["old", "new"])
def test_an_experiment_travels_to_and_from_a_server_of_either_age(serve, age, tmp_path, monkeypatch):
    address = serve(f"memory://{age}-server", age)
    monkeypatch.setenv("PADRE_TOKEN", f"{address.url.removeprefix('padre+')} {address.token}")
    (tmp_path / "model.bin").write_bytes(b"weights" * 1000)
    with padre.open(tmp_path / "one", remotes={"lab": address.url}) as workspace:
        with workspace.start_run("iris/svc") as run:
            run.log_metric("loss", 0.5, step=0)
            run.log("a line")
            run.log_artifact(tmp_path / "model.bin")
        assert not workspace.remotes.sync().failed
        with workspace.start_run("iris/svc"):
            pass
        assert not workspace.remotes.sync(everything=True).failed
        assert list(workspace.remotes.verify("lab")) == []
    with padre.open(tmp_path / "other", remotes={"lab": address.url}) as workspace:
        assert not workspace.remotes.pull().failed
        assert list(workspace.runs.points(str(run.id), "loss").values) == [0.5]
        assert list(workspace.remotes.verify("lab")) == []


def test_an_old_server_has_no_routes_for_many(serve):
    address = serve("memory://older-server", "old")
    with address.open() as backend, pytest.raises(UnsupportedError):
        backend.client.post("/v1/streams/ends", b'{"runs":[]}')
