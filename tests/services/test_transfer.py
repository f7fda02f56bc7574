import dataclasses
import io

import pytest

import padre_core as padre
from padre_core.streams.columns import Line


@pytest.fixture
def filled(workspace, execution, run):
    writer = workspace.runs.open_writer(run)
    for step in range(100):
        writer.point("loss", step, step / 2, step)
        writer.point("f1", step, float("nan"), step)
    writer.line(Line(1, "INFO", "done"))
    writer.close()
    workspace.artifacts.upload(run, b"model", path="model")
    workspace.outputs.put(padre.Output(name="test", run=run), rows={"truth": [1, 2]})
    workspace.datasets.put(padre.Dataset(name="digits"), data={"csv": b"1,2"})
    gone = workspace.runs.put(padre.Run(execution=execution, name="gone"))
    workspace.runs.delete(gone)
    return workspace


@pytest.fixture
def target(new_url):
    with padre.open(new_url(), durability="process") as opened:
        yield opened


def everything(workspace):
    services = [workspace.service(model.kind) for model in padre.kinds()]
    found = [item for service in services for deleted in (False, True) for item in service.list(deleted=deleted)]
    return sorted((item.kind, item.id, item.etag, item.updated_at, item.content(), item.ancestors) for item in found)


def test_a_copy_says_the_same_as_its_source(filled, target, run):
    report = padre.copy(filled, target)
    assert everything(target) == everything(filled)
    assert (report.points, report.lines, report.blobs, report.newer) == (200, 1, 3, 0)
    assert target.runs.metrics(run.id).keys() == {"loss", "f1"}
    assert list(target.runs.points(run.id, "loss").values) == list(filled.runs.points(run.id, "loss").values)
    assert [line.text for line in target.runs.lines(run.id)] == ["done"]
    assert target.outputs.rows(next(iter(target.outputs.list()))) == {"truth": [1, 2]}
    assert set(target.backend.blobs()) == set(filled.backend.blobs())


def test_a_second_copy_brings_only_what_is_new(filled, target, execution):
    padre.copy(filled, target)
    filled.runs.put(padre.Run(execution=execution, name="new"))
    report = padre.copy(filled, target)
    assert (report.blobs, report.newer) == (0, 0)
    assert everything(target) == everything(filled)


def test_a_copy_and_back_changes_nothing(filled, target):
    before = everything(filled)
    padre.copy(filled, target)
    report = padre.copy(target, filled)
    assert (report.blobs, report.newer) == (0, 0)
    assert everything(filled) == before


def test_a_copy_leaves_what_is_newer_in_the_target(filled, target, run):
    padre.copy(filled, target)
    newer = target.runs.get(run.id)
    newer.name = "newer"
    target.runs.put(newer)
    assert padre.copy(filled, target).newer == 1
    assert target.runs.get(run.id).name == "newer"


def test_a_copy_keeps_both_of_what_diverged(filled, target, run):
    padre.copy(filled, target)
    for workspace, name in ((filled, "here"), (target, "there")):
        diverging = workspace.runs.get(run.id)
        diverging.name = name
        workspace.runs.put(diverging)
    padre.copy(filled, target)
    assert len(target.runs.get(run.id).conflicts) == 1


def test_a_part_comes_with_what_it_lies_in_and_refers_to(filled, target, run):
    filled.experiments.put(padre.Experiment(name="other", project="rose", datasets=("digits",)))
    padre.copy(filled, target, within="iris/svc")
    assert [item.name for item in target.projects.list()] == ["iris"]
    assert [item.name for item in target.experiments.list()] == ["svc"]
    assert target.codes.count() == 1
    assert target.datasets.count() == 0
    assert target.artifacts.read(next(iter(target.artifacts.list(within=run.id)))) == b"model"


def test_only_runs_that_a_filter_finds_are_copied(filled, target, execution, run):
    other = filled.runs.put(padre.Run(execution=execution, parameters={"C": 5}))
    filled.splits.put(padre.Split(run=other, number=0))
    padre.copy(filled, target, where="parameters.C < 2")
    assert [item.id for item in target.runs.list()] == [run.id]
    assert target.splits.count() == 0
    assert target.outputs.count() == 1
    assert target.codes.count() == 1


def test_progress_is_told_for_each_part_of_the_work(filled, target):
    told = {}
    padre.copy(filled, target, progress=lambda phase, done, total: told.update({phase: (done, total)}))
    assert set(told) == {"objects", "blobs", "streams", "proof"}
    assert all(done == total for done, total in told.values())


def test_urls_are_opened_and_closed(filled, new_url, tmp_path):
    url = (tmp_path / "copy").as_uri()
    padre.copy(filled, url)
    with padre.open(url, readonly=True) as copied:
        assert everything(copied) == everything(filled)


def test_a_target_that_does_not_keep_what_it_is_given_is_found_out(filled, target, monkeypatch):
    real = target.backend.put_many

    def lossy(writes):
        return [dataclasses.replace(write.record, etag="9-0000000000000000") for write in writes[:1]] + real(writes[1:])

    monkeypatch.setattr(target.backend, "put_many", lossy)
    with pytest.raises(padre.BackendError, match="differs from"):
        padre.copy(filled, target)


def test_a_target_that_loses_points_is_found_out(filled, target, monkeypatch):
    real = target.backend.append_stream
    monkeypatch.setattr(
        target.backend,
        "append_stream",
        lambda run, writer, first, columns: (
            real(run, writer, first, columns.skip(1) if first else columns) if len(columns) < 2 else len(columns)
        ),
    )
    with pytest.raises(padre.BackendError, match="points of run"):
        padre.copy(filled, target)


def test_a_damaged_blob_is_not_copied(filled, target, monkeypatch):
    real = filled.backend.open_blob
    monkeypatch.setattr(filled.backend, "open_blob", lambda digest: io.BytesIO(b"?" + real(digest).read()[1:]))
    with pytest.raises(padre.CorruptObjectError, match="damaged"):
        padre.copy(filled, target)


def test_a_read_only_target_is_refused(filled, new_url, tmp_path):
    url = (tmp_path / "copy").as_uri()
    padre.open(url).close()
    with padre.open(url, readonly=True) as target, pytest.raises(padre.ReadOnlyError):
        padre.copy(filled, target)


@pytest.mark.parametrize("title", ["real", "true", "Irises"])  # whichever etag is the greater
def test_a_placeholder_gives_way_to_real_content_in_a_copy_and_back(workspace, target, title):
    workspace.experiments.put(padre.Experiment(name="svc", project="iris"))
    target.projects.put(padre.Project(name="iris", title=title))
    padre.copy(workspace, target)
    padre.copy(target, workspace)
    for project in (workspace.projects.get("iris"), target.projects.get("iris")):
        assert (project.title, project.conflicts) == (title, ())
    assert workspace.projects.get("iris").etag == target.projects.get("iris").etag
