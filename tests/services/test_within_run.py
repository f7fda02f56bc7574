"""What lives in a run: listed from logs and tree, and as the index would list it."""

from pathlib import Path

import pytest

import padre_core as padre


@pytest.fixture
def url(tmp_path):
    return (tmp_path / "store").as_uri()


def listed(workspace, run, **asked):
    return [(item.path, item.etag) for item in workspace.artifacts.list(within=run.id, **asked)]


def indexed(workspace, run):
    """The same, in an order that the index has to make."""
    return listed(workspace, run, order_by=("created_at", "id"))


def test_what_was_just_stored_in_a_run_is_listed_without_the_index(workspace, run, tmp_path, monkeypatch):
    stored = [workspace.artifacts.upload(run, b"1", path=path).etag for path in ("b", "a")]

    def no_index(path):
        raise AssertionError("the index is asked")

    monkeypatch.setattr("padre_core.backends.index.Index", no_index)
    assert [etag for _, etag in listed(workspace, run)] == stored
    assert len(workspace.artifacts.download(run, tmp_path / "to")) == 2
    with pytest.raises(AssertionError, match="asked"):
        indexed(workspace, run)


def test_wherever_it_lies_a_list_of_it_is_what_the_index_says(url, workspace, run):
    with padre.open(url) as other:
        kept, changed, gone = (other.artifacts.upload(run.id, b"1", path=path) for path in ("kept", "changed", "gone"))
    assert listed(workspace, run) == indexed(workspace, run)
    changed.title = "better"
    workspace.artifacts.put(changed)
    workspace.artifacts.delete(gone)
    with padre.open(url) as other:
        late = other.artifacts.upload(run.id, b"2", path="late")
        beside = other.runs.put(padre.Run(execution=run.execution))
        other.artifacts.upload(beside, b"3", path="beside")
        expected = [(item.path, item.etag) for item in (kept, changed, late)]
        assert listed(workspace, run) == indexed(workspace, run) == expected == listed(other, run)


def test_what_is_deleted_above_hides_it_and_brings_it_back(workspace, run):
    workspace.artifacts.upload(run, b"1", path="a")
    for service, above in ((workspace.runs, run.id), (workspace.experiments, "iris/svc"), (workspace.projects, "iris")):
        service.delete(above)
        assert listed(workspace, run) == indexed(workspace, run) == []
        service.restore(above)
        assert len(listed(workspace, run)) == len(indexed(workspace, run)) == 1


def test_more_than_a_page_of_it_comes_page_by_page(workspace, run, monkeypatch):
    monkeypatch.setattr("padre_core.services.listing.PAGE", 2)
    for number in range(5):
        workspace.artifacts.upload(run, b"1", path=str(number))
    assert [path for path, _ in listed(workspace, run)] == ["0", "1", "2", "3", "4"]
    assert [path for path, _ in listed(workspace, run, limit=3)] == ["0", "1", "2"]


def test_where_its_file_is_damaged_the_index_still_knows_it(url, tmp_path):
    with padre.open(url) as workspace:
        experiment = workspace.experiments.put(padre.Experiment(name="svc", project="iris"))
        with workspace.start_run(experiment) as active:
            (tmp_path / "a").write_bytes(b"1")
            active.log_artifact(tmp_path / "a")
        run = workspace.runs.get(str(active.id))
        before = indexed(workspace, run)
    (file,) = Path(tmp_path / "store" / "runs").rglob("children.json")
    file.write_bytes(file.read_bytes().replace(b'"path"', b'"paht"'))
    with padre.open(url) as workspace:
        assert listed(workspace, run) == before
