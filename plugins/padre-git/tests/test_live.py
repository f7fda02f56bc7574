"""Several openings of one clone: what one takes up from elsewhere, while another has it open and writes."""

import pytest

import padre_core as padre
from padre_core.workspace import Workspace
from padre_git import branch, tidying
from padre_git.clone import CloneBackend

from .by_hand import bare, fsck


@pytest.fixture(name="bare")
def url(tmp_path):
    return f"git+{bare(tmp_path / 'lab.git').as_uri()}"


@pytest.fixture
def clone(bare, tmp_path):
    opened = []

    def open_clone(name):
        opened.append(Workspace(CloneBackend(bare, clone=tmp_path / name, linger=600.0)))
        return opened[-1]

    yield open_clone
    for workspace in opened:
        workspace.close()


def put(workspace, **fields):
    found = workspace.experiments.get("iris/svc")
    for name, value in fields.items():
        setattr(found, name, value)
    return workspace.experiments.put(found)


def test_what_only_a_living_process_has_in_its_log_is_merged_with_what_came_from_elsewhere(clone):
    one = clone("a.git")
    one.experiments.put(padre.Experiment(name="svc", project="iris"))
    one.backend.publish()
    beside, far = clone("a.git"), clone("b.git")
    mine = put(beside, description="only in the log")
    theirs = put(far, description="from elsewhere", tags={"far": "yes"})
    far.backend.publish()
    one.backend.pull()  # by another process than the one that wrote
    head = one.experiments.get("iris/svc")
    assert {head.etag, *head.conflicts} == {mine.etag, theirs.etag}
    assert beside.experiments.get("iris/svc").etag == head.etag
    beside.backend.fold()
    assert one.backend.get("experiment", head.id).conflicts == beside.backend.get("experiment", head.id).conflicts != ()


def test_who_has_it_open_sees_what_another_process_took_up(clone):
    one, beside, far = clone("a.git"), clone("a.git"), clone("b.git")
    one.experiments.put(padre.Experiment(name="svc", project="iris"))
    one.backend.publish()
    far.backend.pull()
    put(beside, tags={"read": "before"})
    beside.backend.publish()
    far.backend.pull()
    theirs = put(far, description="new")
    far.backend.publish()
    one.backend.pull()
    assert beside.experiments.get("iris/svc").etag == theirs.etag
    assert [found.etag for found in beside.experiments.list()] == [theirs.etag]
    assert put(beside, title="after").description == "new"


def test_a_run_that_is_being_logged_keeps_its_points_while_news_come(clone):
    one, far = clone("a.git"), clone("b.git")
    with one.start_run("iris/svc") as run:
        run.log_metric("loss", 1.0)
        one.backend.publish()
        far.backend.pull()
        far.runs.get(run.id)
        with far.start_run(resume=run.id) as again:
            again.log_metric("loss", 2.0)
        far.backend.publish()
        one.backend.pull()
        run.log_metric("loss", 3.0)
    one.backend.publish()
    far.backend.pull()
    for lab in (one, far):
        assert sorted(lab.runs.points(run.id, "loss").values.tolist()) == [1.0, 2.0, 3.0]
        assert sum(part.count for part in lab.backend.get("run", run.id).summaries) == 3


def test_a_clone_that_only_takes_up_what_comes_gathers_few_packs(clone, tmp_path, monkeypatch):
    monkeypatch.setattr(tidying, "FEW", 4)
    monkeypatch.setattr(branch, "_TIDY", 1)
    one, other = clone("a.git"), clone("b.git")
    for number in range(12):
        one.projects.put(padre.Project(name=f"p{number}"))
        one.backend.publish()
        other.backend.pull()
    assert len(list((tmp_path / "b.git" / "objects" / "pack").glob("*.pack"))) <= 6
    assert {project.name for project in other.projects.list()} == {f"p{number}" for number in range(12)}
    fsck(tmp_path / "b.git")
