"""A training script at work through the client, with a token that is limited to its project."""

from __future__ import annotations

import pytest

import padre_core as padre

from .serving import Served, Start


def test_a_run_is_tracked_with_a_token_for_its_project(
    served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    from padre_server.cli import project_id

    token = served.make_token("read", "write", "delete", projects=(project_id("limited"),))
    monkeypatch.setenv("PADRE_TOKEN", f"{served.url} {token}")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"0123456789")
    with padre.open(served.url.replace("http://", "padre+http://")) as workspace:
        with workspace.start_run("limited/svc", parameters={"C": 1.0}) as run:
            run.log_points("loss", [3.0, 2.0, 1.0])
            run.log("training")
            run.log_artifact(weights)
        stored = workspace.runs.get(run.id)
        assert stored.status == "finished"
        assert list(workspace.runs.points(run.id, "loss").values) == [3.0, 2.0, 1.0]
        assert [item.path for item in workspace.artifacts.list(within=run.id)] == ["weights.bin"]
        assert workspace.artifacts.download(run.id, to=tmp_path / "out")
        assert (tmp_path / "out" / "weights.bin").read_bytes() == b"0123456789"
        assert [item.name for item in workspace.projects.list()] == ["limited"]
        with pytest.raises(padre.NotFoundError):
            workspace.projects.put(padre.Project(name="elsewhere"))


def test_what_somebody_did_to_the_folder_behind_a_server_is_found_by_a_refresh(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = start()
    monkeypatch.setenv("PADRE_TOKEN", f"{served.url} {served.token}")
    with padre.open(served.url.replace("http://", "padre+http://")) as workspace:
        made = workspace.projects.put(padre.Project(name="iris", title="old"))
        assert workspace.refresh() == 0
        served.stop()
        again = start(folder=served.folder)
    monkeypatch.setenv("PADRE_TOKEN", f"{again.url} {served.token}")
    (file,) = (served.folder / "store" / "projects").rglob(f"{made.id}.json")
    file.write_text(file.read_text().replace("old", "new"))
    with padre.open(again.url.replace("http://", "padre+http://")) as workspace:
        assert workspace.refresh(accept_edits=True) == 1
        assert workspace.projects.get("iris").title == "new"
