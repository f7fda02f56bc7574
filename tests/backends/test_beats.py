"""Whether somebody still writes a run, in a store whose openers share no folder and run no server."""

from __future__ import annotations

import fcntl
import threading
import time

import pytest

import padre_core as padre
from padre_core.backends import beats, spooled
from padre_core.backends.backend import Segment
from padre_core.backends.bytestore import UNBORN
from padre_core.backends.memory import MemoryStore
from padre_core.backends.spooled import SpooledBackend
from padre_core.errors import UnavailableError
from padre_core.testing import samples
from padre_core.testing.counting import CountingStore


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Makes the next openings those of a machine."""

    def machine(name):
        monkeypatch.setenv("PADRE_CACHE", str(tmp_path / f"cache-{name}"))
        monkeypatch.setenv("PADRE_STATE", str(tmp_path / f"state-{name}"))

    machine("one")
    return machine


@pytest.fixture
def bucket():
    return MemoryStore("memory://")


@pytest.fixture
def opened(bucket, machine):
    made = []

    def opened(**options):
        made.append(padre.Workspace(SpooledBackend(CountingStore(bucket), **options)))
        return made[-1]

    yield opened
    for workspace in made:
        workspace.close()


@pytest.fixture
def quick(monkeypatch):
    """Lets a writer be heard of often."""
    monkeypatch.setattr(spooled, "PACE", (0.02, 0.02))
    monkeypatch.setattr("padre_core.streams.spool.BEAT_SECONDS", 0.05)
    monkeypatch.setattr(beats, "BEAT_SECONDS", 0.05)


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def beats_in(bucket):
    return [entry for entry in bucket.list("log/") if entry.key.endswith(beats.BEAT)]


def later(monkeypatch, seconds):
    """Lets time pass for who asks, and for nobody else."""
    now, monotonic = time.time, time.monotonic
    monkeypatch.setattr(time, "time", lambda: now() + seconds)
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + seconds)


def died(workspace, run):
    """Lets a writer's process be gone, as a lost machine is: nothing more is heard of it."""
    workspace.backend._spool._ended.set()
    workspace.backend._spool._thread.join()
    run._forget()


def test_a_run_is_running_elsewhere_as_long_as_its_quiet_writer_lives_and_then_lost(
    opened, machine, bucket, quick, monkeypatch
):
    workspace = opened()
    run = workspace.start_run("iris/svc")
    run.log("waiting")
    wait_for(lambda: beats_in(bucket))
    machine("two")
    reader = opened(readonly=True)
    assert reader.runs.get(run.id).status == "running"
    assert [found.id for found in reader.runs.list('status == "running"')] == [run.id]
    assert reader.runs.count('status == "lost"') == 0
    died(workspace, run)
    later(monkeypatch, beats.LIVE_SECONDS + 1)
    assert reader.runs.get(run.id).status == "lost"
    assert [found.id for found in reader.runs.list('status == "lost"')] == [run.id]
    assert reader.runs.count('status == "running"') == 0


def test_a_writer_that_says_nothing_is_heard_of_again_and_again(opened, bucket, quick):
    run = opened().start_run("iris/svc")
    run.log("waiting")
    wait_for(lambda: beats_in(bucket))
    (first,) = beats_in(bucket)
    wait_for(lambda: beats_in(bucket)[0].at > first.at)
    run.finish()
    assert beats_in(bucket) == []


def test_a_run_that_just_began_counts_as_running_before_it_is_heard_of(opened, machine):
    workspace = opened()
    run = workspace.start_run("iris/svc")
    machine("two")
    reader = opened(readonly=True)
    assert [(found.id, found.status) for found in reader.runs.list()] == [(run.id, "running")]
    assert reader.runs.get(run.id).status == "running"
    run.finish()
    assert reader.runs.get(run.id).status == "finished"


def test_a_run_whose_machine_looked_before_it_began_counts_as_running(opened, machine):
    workspace = opened()
    machine("two")
    reader = opened(readonly=True)
    first = workspace.start_run("iris/svc")
    assert reader.runs.count() == 1
    run = workspace.start_run("iris/svc")
    assert reader.runs.get(run.id).status == "running"
    first.finish()
    run.finish()


def test_the_machine_of_a_process_that_died_knows_at_once(opened, bucket, quick):
    workspace = opened()
    run = workspace.start_run("iris/svc")
    run.log("waiting")
    wait_for(lambda: beats_in(bucket))
    died(workspace, run)
    for log in (workspace.backend._spool._journal.log, *workspace.backend._spool._journal.sealed):
        fcntl.flock(log._fd, fcntl.LOCK_UN)  # as the kernel does
    assert opened(readonly=True).runs.get(run.id).status == "lost"
    again = opened()
    assert again.runs.get(run.id).status == "lost"
    assert beats_in(bucket) == []
    resumed = again.start_run(resume=run.id)
    assert again.runs.get(run.id).status == "running"
    resumed.finish()
    assert again.runs.get(run.id).status == "finished"


def test_points_that_another_store_sends_are_a_sign_of_life(opened, machine, bucket):
    backend = opened().backend
    run = backend.put(samples.run(status="running", execution=samples.project().id), if_match=UNBORN)
    backend.append_streams([(run.id, Segment("0" * 16, 0, samples.points(3)))])
    assert [entry.key for entry in beats_in(bucket)] == [beats.beat_key(run.id, "0" * 16)]
    ended = backend.put(samples.run(status="finished"), if_match=UNBORN)
    backend.append_streams([(ended.id, Segment("0" * 16, 0, samples.points(3)))])
    assert len(beats_in(bucket)) == 1
    machine("two")
    assert opened(readonly=True).runs.get(run.id).status == "running"
    backend.close()
    assert beats_in(bucket) == []


def test_that_a_run_goes_on_is_told_by_no_request_more_than_the_run_itself(opened, machine, bucket, quick):
    run = opened().start_run("iris/svc")
    run.log("waiting")
    wait_for(lambda: beats_in(bucket))
    machine("two")
    reader = opened(readonly=True)
    reader.runs.count()
    before = reader.backend.store.total
    assert reader.runs.get(run.id).status == "running"
    assert reader.backend.store.total - before == 1
    run.finish()


def test_signs_of_life_that_nobody_took_back_are_removed_by_maintenance(opened, bucket, monkeypatch):
    workspace = opened()
    workspace.projects.put(padre.Project(name="lab"))
    bucket.write(beats.beat_key(samples.run().id, "0" * 16), b"")
    workspace.maintain()
    assert len(beats_in(bucket)) == 1, "somebody may live"
    later(monkeypatch, beats.LEFT_SECONDS + 1)
    workspace.maintain()
    assert beats_in(bucket) == []


def test_a_sign_of_life_that_cannot_be_written_harms_nothing(opened, bucket, quick, monkeypatch):
    workspace = opened()
    write = workspace.backend.store.write

    tried = threading.Event()

    def failing(key, data, **options):
        if key.endswith(beats.BEAT):
            tried.set()
            raise UnavailableError("the store takes no signs of life")
        return write(key, data, **options)

    monkeypatch.setattr(workspace.backend.store, "write", failing)
    with workspace.start_run("iris/svc") as run:
        run.log_metric("loss", 1.0)
        assert tried.wait(60)
    assert workspace.runs.get(run.id).status == "finished"


def test_a_store_that_knows_no_times_tells_of_no_lost_runs(bucket):
    store = CountingStore(bucket)
    store.dated = False
    with padre.Workspace(SpooledBackend(store)) as workspace:
        assert workspace.backend.live_runs() is None
