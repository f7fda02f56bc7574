import math
import shutil
from pathlib import Path

import pytest

import padre_core as padre

KEPT = sorted(path for path in Path(__file__).parent.iterdir() if (path / "padre.json").exists())


@pytest.fixture(params=KEPT, ids=lambda path: path.name)
def folder(request, tmp_path, monkeypatch):
    monkeypatch.setenv("PADRE_CACHE", str(tmp_path / "cache"))
    shutil.copytree(request.param, tmp_path / "store")
    return tmp_path / "store"


@pytest.fixture(params=[False, True], ids=["writable", "readonly"])
def workspace(request, folder):
    with padre.open(folder, readonly=request.param) as opened:
        yield opened


def test_there_is_a_store_of_every_layout():
    assert [path.name for path in KEPT] == ["layout-1"]


def test_every_kind_of_object_is_read(workspace):
    counts = {model.folder: workspace.service(model.kind).count() for model in padre.kinds()}
    assert counts == {
        "projects": 3,
        "datasets": 1,
        "codes": 2,
        "experiments": 1,
        "executions": 2,
        "runs": 2,
        "splits": 1,
        "computations": 1,
        "outputs": 1,
        "metrics": 4,  # one was put, three follow from points
        "artifacts": 1,
    }
    assert workspace.projects.get("vision/digits").description == "Ünï cødé"
    assert workspace.experiments.get("vision/digits/svc").seed == 42


def test_values_points_and_bytes_are_read_as_they_were_written(workspace):
    (run,) = workspace.runs.list("status == 'finished'")
    assert run.parameters["big"] == 2**63 - 1
    assert math.isnan(run.parameters["nan"])
    assert list(workspace.runs.points(run, "loss").values) == [1 / (step + 1) for step in range(100)]
    assert workspace.runs.metrics(run)["train/f1"].count == 100
    (split,) = workspace.splits.list(within=run)
    assert list(split.train) == [0, 1, 2, 5]
    (output,) = workspace.outputs.list(within=run)
    assert workspace.outputs.rows(output) == {"truth": [1, 0], "text": ["a", None]}
    (artifact,) = workspace.artifacts.list(within=run)
    with workspace.artifacts.open(artifact) as file:
        assert file.read() == b"weights"


def test_what_a_dead_process_left_is_read(workspace):
    (run,) = workspace.runs.list("name == 'killed'")
    assert run.status == "lost"
    assert list(workspace.runs.points(run, "loss").values) == [0.5]
    assert [line.text for line in workspace.runs.lines(run)] == ["still here"]


def test_deleted_objects_and_conflicts_are_read(workspace):
    (gone,) = workspace.projects.list(deleted=True)
    assert gone.name == "deleted"
    assert len(workspace.projects.get("torn").conflicts) == 1


def test_nothing_is_wrong_with_it(folder):
    with padre.open(folder) as workspace:
        assert [problem for problem in workspace.verify() if problem.code != "unused-blob"] == []


def test_a_newer_layout_is_refused_and_left_alone(folder):
    marker = folder / "padre.json"
    newer = marker.read_text().replace('"format":1', '"format":2')
    marker.write_text(newer)
    before = sorted(folder.rglob("*"))
    with pytest.raises(padre.InvalidObjectError, match="upgrade padre-core"):
        padre.open(folder)
    assert sorted(folder.rglob("*")) == before
    assert marker.read_text() == newer
