"""What a purge removes for good, what it leaves, and what other stores see of it afterwards."""

import time
from datetime import timedelta

import pytest

import padre_core as padre
from padre_core.backends.bytestore import GRACE
from padre_core.errors import BackendError
from padre_core.query.model import Deleted, Query
from padre_core.sync import merge

AT_ONCE = timedelta(0)


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.setattr("padre_core.services.shipper.Shipper.wake", lambda self: None)
    monkeypatch.setenv("PADRE_STATE", str(tmp_path / "state"))


@pytest.fixture
def lab(new_url):
    url = new_url()
    with padre.open(url):  # keeps a store in memory alive
        yield url


@pytest.fixture
def here(new_url, lab):
    with padre.open(new_url(), remotes={"lab": lab}) as workspace:
        yield workspace


@pytest.fixture
def there(new_url, lab):
    with padre.open(new_url(), remotes={"lab": lab}) as workspace:
        yield workspace


def trained(workspace, tmp_path, name="iris/svc"):
    """A run with points and a file."""
    file = tmp_path / "model.bin"
    file.write_bytes(b"weights" * 10_000)
    with workspace.start_run(name) as run:
        run.log_metric("loss", 0.5)
        run.log_artifact(file)
    return run.id


def held(backend):
    """All that a store knows of, deleted or hidden."""
    return {
        (record.kind, record.id)
        for model in padre.kinds()
        for record in backend.query(model.kind, Query(deleted=Deleted.INCLUDE, limit=1000)).records
    }


def experiment(workspace, name="iris/svc"):
    return "experiment", str(workspace.experiments.get(name).id)


def test_what_was_deleted_lately_can_still_be_restored(workspace, tmp_path):
    run = trained(workspace, tmp_path)
    gone = experiment(workspace)
    workspace.experiments.delete("iris/svc")
    assert workspace.purge().objects == {}
    workspace.experiments.restore(gone[1])
    assert len(workspace.runs.points(run, "loss")) == 1


def test_what_was_deleted_long_ago_goes_with_all_that_it_hid(workspace, tmp_path):
    run, other = trained(workspace, tmp_path), trained(workspace, tmp_path, "iris/other")
    gone = experiment(workspace)
    before = held(workspace.backend)
    workspace.experiments.delete("iris/svc")
    purged = workspace.purge(older_than=AT_ONCE)
    left = held(workspace.backend)
    assert left < before
    assert purged.objects == {gone: len(before - left) - 1}
    assert {gone, ("run", str(run))} <= before - left
    assert ("run", str(other)) in left
    with pytest.raises(padre.NotFoundError):
        workspace.experiments.restore(gone[1])
    assert list(workspace.backend.read_stream(str(run), "points")) == []
    assert list(workspace.verify()) == []
    assert workspace.purge(older_than=AT_ONCE).objects == {}


def test_blobs_go_that_nothing_names_any_more(workspace, tmp_path, monkeypatch):
    trained(workspace, tmp_path)
    shared = list(workspace.backend.blobs())
    (tmp_path / "other.bin").write_bytes(b"other" * 10_000)
    with workspace.start_run("iris/kept") as kept:
        kept.log_artifact(tmp_path / "model.bin")
    with workspace.start_run("iris/svc") as run:
        run.log_artifact(tmp_path / "other.bin")
    (only,) = set(workspace.backend.blobs()) - set(shared)
    workspace.experiments.delete("iris/svc")
    later = time.time() + GRACE + 60
    with monkeypatch.context() as patched:
        patched.setattr("padre_core.backends.garbage.time.time", lambda: later)
        freed = workspace.purge(older_than=AT_ONCE).freed
    assert freed["unused blobs removed"] == 1
    assert workspace.backend.has_blobs([*shared, only]) == set(shared)
    workspace.artifacts.download(kept.id, to=tmp_path / "out")
    assert (tmp_path / "out" / "model.bin").read_bytes() == b"weights" * 10_000


def test_a_dry_run_says_what_would_go_and_removes_nothing(workspace, tmp_path):
    trained(workspace, tmp_path)
    workspace.experiments.delete("iris/svc")
    before = held(workspace.backend)
    would = workspace.purge(older_than=AT_ONCE, dry_run=True)
    assert held(workspace.backend) == before
    assert workspace.purge(older_than=AT_ONCE).objects == would.objects != {}


def test_what_was_changed_below_it_lately_keeps_what_was_deleted_long_ago(workspace, tmp_path, monkeypatch):
    run = trained(workspace, tmp_path)
    gone = experiment(workspace)
    with monkeypatch.context() as patched:
        patched.setattr("padre_core.objects.canonical.now", lambda: "2020-01-01T00:00:00.000000Z")
        workspace.experiments.delete("iris/svc")
    assert workspace.purge().objects == {}
    assert workspace.experiments.restore(gone[1])
    assert workspace.runs.get(run)


def test_a_run_that_is_being_written_stays_and_so_what_is_above_it(workspace):
    with workspace.start_run("iris/svc") as run:
        if not workspace.backend.live_runs():
            pytest.skip("this store does not tell who writes")
        gone = experiment(workspace)
        workspace.experiments.delete("iris/svc")
        purged = workspace.purge(older_than=AT_ONCE)
        assert purged.objects == {}
        assert str(run.id) in purged.waiting[gone]
    assert ("run", str(run.id)) in held(workspace.backend)
    assert gone in workspace.purge(older_than=AT_ONCE).objects


def test_a_purge_that_was_broken_off_is_finished_by_the_next(workspace, tmp_path, monkeypatch):
    trained(workspace, tmp_path)
    gone = experiment(workspace)
    workspace.experiments.delete("iris/svc")
    evict, done = workspace.backend.evict, []

    def failing(kind, id, *, if_match):
        if len(done) == 2:
            raise BackendError("the disk went away")
        done.append(id)
        evict(kind, id, if_match=if_match)

    with monkeypatch.context() as patched:
        patched.setattr(workspace.backend, "evict", failing)
        with pytest.raises(BackendError):
            workspace.purge(older_than=AT_ONCE)
    assert gone in held(workspace.backend)
    assert gone in workspace.purge(older_than=AT_ONCE).objects
    assert held(workspace.backend).isdisjoint({gone, *(("run", id) for id in done)})


def test_the_name_of_what_was_purged_begins_anew(workspace, tmp_path):
    trained(workspace, tmp_path)
    gone = experiment(workspace)
    workspace.experiments.delete("iris/svc")
    workspace.purge(older_than=AT_ONCE)
    again = workspace.experiments.put(padre.Experiment(name="svc", project="iris", title="new"))
    assert str(again.id) == gone[1]
    assert again.etag.startswith("1-")
    assert list(workspace.runs.list()) == []


def test_a_delete_that_a_remote_has_not_heard_of_stays(here, tmp_path):
    trained(here, tmp_path)
    assert not here.remotes.sync().failed
    gone = experiment(here)
    here.backend.put(merge.tombstone(here.backend.get(*gone), "ada"))
    waiting = here.purge(older_than=AT_ONCE)
    assert (waiting.objects, list(waiting.waiting)) == ({}, [gone])
    assert "padre sync" in waiting.waiting[gone]
    assert not here.remotes.sync().failed
    assert gone in here.purge(older_than=AT_ONCE).objects


def test_what_is_purged_here_does_not_come_back_from_where_it_is_still_hidden(here, lab, tmp_path):
    run = trained(here, tmp_path)
    gone = experiment(here)
    assert not here.remotes.sync().failed
    here.experiments.delete("iris/svc")
    before = held(here.backend)
    here.purge(older_than=AT_ONCE)
    left = held(here.backend)
    for everything in (False, True):
        assert not here.remotes.sync(everything=everything).failed
        assert held(here.backend) == left < before
    assert not here.remotes.pull().failed
    assert held(here.backend) == left
    with padre.open(lab) as shared:
        assert held(shared.backend) == before
        shared.experiments.restore(gone[1])
        assert len(shared.runs.points(run, "loss")) == 1
    assert here.experiments.get("iris/svc")
    assert len(here.runs.points(run, "loss")) == 1


def test_what_is_purged_on_a_remote_stays_where_it_was_not_purged(here, there, lab, tmp_path):
    run = trained(here, tmp_path)
    gone = experiment(here)
    for workspace in (here, there, here):
        assert not workspace.remotes.sync(everything=True).failed
    here.experiments.delete("iris/svc")
    assert not there.remotes.sync().failed
    with padre.open(lab) as shared:
        assert gone in shared.purge(older_than=AT_ONCE).objects
    before = held(here.backend)
    for workspace in (here, there):
        assert not workspace.remotes.sync().failed
        assert held(workspace.backend) == before
    there.experiments.restore(gone[1])  # nothing that somebody still has is lost
    for workspace in (there, here):
        assert not workspace.remotes.sync(everything=True).failed
        assert len(workspace.runs.points(run, "loss")) == 1
        assert list(workspace.remotes.verify("lab")) == []


def test_who_never_heard_of_a_delete_that_was_purged_gives_the_object_back(here, there, lab, tmp_path):
    run = trained(here, tmp_path)
    gone = experiment(here)
    assert not here.remotes.sync().failed
    assert not there.remotes.sync(everything=True).failed
    here.experiments.delete("iris/svc")
    with padre.open(lab) as shared:
        shared.purge(older_than=AT_ONCE)
    here.purge(older_than=AT_ONCE)
    for workspace in (there, here):
        assert not workspace.remotes.sync(everything=True).failed
    assert experiment(here) == gone
    assert len(here.runs.points(run, "loss")) == 1
