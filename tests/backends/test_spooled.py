"""Stores without a log folder: what is acknowledged is found again, whoever dies and wherever."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

import padre_core as padre
from padre_core.backends import layout, notes
from padre_core.backends.backend import Write
from padre_core.backends.bytestore import ABSENT, UNBORN
from padre_core.backends.memory import MemoryStore
from padre_core.backends.spooled import SpooledBackend
from padre_core.backends.store import ByteStoreBackend
from padre_core.errors import UnavailableError
from padre_core.objects.identity import run_child_id
from padre_core.objects.record import encode
from padre_core.plugins import open_backend
from padre_core.query.model import Query
from padre_core.testing import samples, together
from padre_core.testing.counting import CountingStore
from padre_core.testing.faults import Fault, FaultyStore

VICTIM = Path(__file__).with_name("spool_victim.py")
KILLS = int(os.environ.get("PADRE_SPOOL_KILLS", "6"))


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """This machine's folders."""
    monkeypatch.setenv("PADRE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PADRE_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def url(tmp_path):
    return f"sqlitefile://{tmp_path}/lab.db"


@pytest.fixture
def bucket():
    return MemoryStore("memory://")


@pytest.fixture
def opened(bucket):
    """Opens the bucket in memory as if it were kept."""
    made = []

    def opened(faulty=None, **options):
        store = CountingStore(bucket) if faulty is None else CountingStore(faulty)
        made.append(SpooledBackend(store, **options))
        return made[-1]

    yield opened
    for backend in made:
        backend.close()


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """Makes the next openings those of another machine."""
    machines = iter(range(1000))

    def elsewhere():
        number = next(machines)
        monkeypatch.setenv("PADRE_CACHE", str(tmp_path / f"cache-{number}"))
        monkeypatch.setenv("PADRE_STATE", str(tmp_path / f"state-{number}"))

    return elsewhere


def victim(url, *job, **environment):
    command = [sys.executable, str(VICTIM), url, *map(str, job)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})


def found(backend, kind="run"):
    return {record.id for record in backend.query(kind, Query(limit=10_000)).records}


def leave_catalog(backend):
    """Lets fresh indexes believe the listings alone."""
    backend.put(samples.project("first"))
    backend.maintain()


def test_what_was_stored_before_a_kill_is_noted_by_the_next_opening_on_the_machine(url, elsewhere):
    with open_backend(url) as backend:
        leave_catalog(backend)
    with victim(url, "put", 3) as child:
        told = set(child.stdout.read().split())
    assert len(told) == 3
    open_backend(url).close()
    elsewhere()
    with open_backend(url, readonly=True) as reader:
        assert found(reader) == told


def test_what_a_lost_machine_did_not_note_is_got_at_once_and_found_by_maintain(url, elsewhere):
    with open_backend(url) as backend:
        leave_catalog(backend)
    with victim(url, "put", 3) as child:
        told = set(child.stdout.read().split())
    elsewhere()
    with open_backend(url) as other:
        assert found(other) == set()
        assert {other.get("run", id).id for id in told} == told
        assert other.maintain()["objects found"] == 3
        assert found(other) == told
    elsewhere()
    with open_backend(url, readonly=True) as third:
        assert found(third) == told


def test_in_a_small_store_a_fresh_index_finds_what_nobody_noted(url, elsewhere):
    with victim(url, "put", 3) as child:
        told = set(child.stdout.read().split())
    elsewhere()
    with open_backend(url, readonly=True) as reader:
        assert found(reader) == told


def test_kill_9_loses_no_point_and_no_line_that_was_acknowledged(url):
    chance = random.Random(6)  # when to kill is no secret
    for _ in range(KILLS):
        with victim(url, "log") as child:
            lines = [child.stdout.readline()]
            time.sleep(chance.uniform(0, 0.3))
            child.kill()
            lines += [line for line in child.stdout if line.endswith("\n")]
        run, writer, count = lines[-1].split()
        with open_backend(url) as backend:
            assert backend.waiting() == []
            points = samples.points_by_writer(backend, run)[writer]
            texts = samples.lines_by_writer(backend, run)[writer]
            assert len(points) >= 4 * int(count)
            assert len(texts) >= int(count)
            assert sum(item.count for item in backend.get("run", run).summaries) == len(points)
            assert {problem.code for problem in backend.verify()}.isdisjoint({"summary", "gap", "missing-blob"})


def test_nothing_is_left_on_the_machine_when_all_is_in_the_store(opened, state):
    backend = opened()
    writer = backend.open_writer(backend.put(samples.run()).id)
    samples.log(writer, 5)
    backend.close()
    left = [path.name for path in state.rglob("*") if path.is_file()]
    assert left == ["lock"]


def test_a_note_that_cannot_be_written_fails_no_put_and_is_written_later(opened, bucket, monkeypatch, elsewhere):
    backend = opened()
    leave_catalog(backend)
    write = notes.write_notes

    def failing(*arguments, **options):
        raise UnavailableError("the store is away for notes")

    monkeypatch.setattr(notes, "write_notes", failing)
    run = backend.put(samples.run())
    monkeypatch.setattr(notes, "write_notes", write)
    elsewhere()
    assert run.id not in found(opened(readonly=True))
    other = backend.put(samples.run())
    assert {run.id, other.id} <= found(opened(readonly=True))


def test_a_put_whose_answer_was_lost_is_found_by_others(opened, bucket, elsewhere):
    leave_catalog(opened())
    faulty = FaultyStore(bucket, fail_at=1, fault=Fault.ANSWER_LOST, times=1)
    backend = opened(faulty)
    record = samples.run()
    with pytest.raises(UnavailableError):
        backend.put(record, if_match=ABSENT)
    backend.close()
    elsewhere()
    assert found(opened(readonly=True)) == {record.id}


def test_a_put_that_is_tried_again_after_a_lost_answer_succeeds(opened, bucket):
    backend = opened(FaultyStore(bucket, fail_at=2, fault=Fault.ANSWER_LOST, times=1))
    record = samples.run()
    with pytest.raises(UnavailableError):
        backend.put(record, if_match=ABSENT)
    assert backend.put(record, if_match=ABSENT).etag == record.etag
    assert found(backend) == {record.id}


def test_what_a_stranger_wrote_is_found_by_refresh_and_then_by_all(opened, bucket, elsewhere):
    leave_catalog(opened())
    record = samples.run()
    bucket.write(layout.record_key("run", record.id), encode(record) + b"\n")
    first = opened()
    assert found(first) == set()
    assert first.refresh() == 1
    assert found(first) == {record.id}
    elsewhere()
    assert found(opened(readonly=True)) == {record.id}


def test_an_update_from_an_old_memory_follows_on_what_others_wrote(opened):
    one, other = opened(), opened()
    head = one.put(samples.project())
    theirs = other.put(samples.edited(head, title="theirs"), if_match=head.etag)
    with pytest.raises(padre.ConflictError):
        one.put(samples.edited(head, title="ours"), if_match=head.etag)
    assert one.put(theirs).etag == theirs.etag
    after = one.put(samples.edited(theirs, title="ours"), if_match=theirs.etag)
    assert other.get("project", head.id).etag == after.etag


def test_a_writer_that_reads_only_leaves_nothing_in_the_store(opened, bucket):
    opened().put(samples.run())
    before = [entry.key for entry in bucket.list("")]
    reader = opened(readonly=True)
    found(reader)
    reader.close()
    assert [entry.key for entry in bucket.list("")] == before


def test_points_of_a_run_that_goes_on_are_seen_elsewhere_once_they_are_shipped(opened, elsewhere):
    backend = opened()
    run = backend.put(samples.run(status="running"), if_match=ABSENT).id
    writer = backend.open_writer(run)
    elsewhere()
    reader = opened(readonly=True)
    for step in range(3):
        writer.points(samples.points(1, start=step))
        writer.flush()
        (record,) = reader.query("run", Query()).records
        assert [item.count for item in record.summaries] == [step + 1]
    assert len([entry for entry in reader.store.list(layout.run_folder(run)) if entry.key.endswith(".points")]) == 1
    version = backend.get("run", run).version
    assert version == 1


def test_two_processes_that_log_to_one_run_both_count(opened):
    one, other = opened(), opened()
    run = one.put(samples.run(status="running"), if_match=ABSENT).id
    for backend in (one, other):
        writer = backend.open_writer(run)
        samples.log(writer, 5)
        writer.close()
    record = opened().get("run", run)
    assert sum(item.count for item in record.summaries) == 40


def test_notes_of_one_opening_become_few(opened, bucket):
    backend = opened()
    made = {backend.put(samples.run(), if_match=ABSENT).id for _ in range(100)}
    assert len(list(bucket.list("log/"))) <= notes.OWN_NOTES + 1
    assert found(opened(readonly=True)) == made


def test_maintain_removes_what_a_killed_merge_left_over(opened, bucket):
    backend = opened()
    leave_catalog(backend)
    bucket.write("snapshots/fedcba9876543210", b"half")
    assert backend.maintain()["leftover snapshots removed"] == 1
    assert backend.maintain() == {}


def test_a_store_without_conditions_is_written_by_the_one_writer_that_the_user_promises(bucket, opened):
    class Plain(CountingStore):
        def __init__(self, store):
            super().__init__(store)
            self.capabilities = replace(self.capabilities, conditional_write=False)

        def write(self, key, data, *, if_match=None):
            assert if_match is None
            return super().write(key, data)

    with SpooledBackend(Plain(bucket), single_writer=True) as backend:
        head = backend.put(samples.run(status="running"), if_match=UNBORN)
        writer = backend.open_writer(head.id)
        samples.log(writer, 5)
        head = backend.put(samples.edited(head, status="finished"), if_match=head.etag)
        writer.close()
        with pytest.raises(padre.ConflictError):
            backend.put(samples.edited(head, status="failed"), if_match=ABSENT)
        backend.append_stream(head.id, "f" * 16, 0, samples.points(3))
        backend.maintain()
    assert sum(item.count for item in opened(readonly=True).get("run", head.id).summaries) == 23
    with SpooledBackend(Plain(bucket)) as reader, pytest.raises(padre.ReadOnlyError):
        reader.put(samples.run())


@pytest.mark.parametrize("backend_of", [SpooledBackend, ByteStoreBackend])
def test_threads_of_the_one_writer_lose_no_update_of_each_other(backend_of):
    class Plain(CountingStore):
        def __init__(self, store):
            super().__init__(store)
            self.capabilities = replace(self.capabilities, conditional_write=False, multi_process=True)

        def read(self, key):
            item = super().read(key)
            time.sleep(0.002)  # as a server is away
            return item

    with backend_of(Plain(MemoryStore("memory://")), single_writer=True) as backend:
        head = backend.put(samples.project(count=0))
        together.threads(*[lambda: samples.count_up(backend, "project", head.id, 5)] * 4)
        assert backend.get("project", head.id).data()["count"] == 20
        assert not backend.capabilities.multi_process, "who promises one writer has no others"


def test_a_forked_child_writes_as_an_opening_of_its_own(url):
    with open_backend(url) as backend:
        run = backend.put(samples.run(status="running")).id
        writer = backend.open_writer(run)
        samples.log(writer, 5)
        child = os.fork()
        if not child:
            try:
                samples.log(writer, 7)
                backend.put(samples.project("child"))
                writer.close()
                backend.close()
            finally:
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        writer.close()
        assert sorted(len(points) for points in samples.points_by_writer(backend, run).values()) == [20, 28]
        assert found(backend, "project") != set()
        assert sum(item.count for item in backend.get("run", run).summaries) == 48


def test_merging_beside_writers_loses_nothing(url, elsewhere):
    now = ["1999-01-01T00:00:00.000000Z", "2031-01-01T00:00:00.000000Z"]  # clocks are wrong by years
    children = [victim(url, "train", 4, NOW=now[number % 2]) for number in range(4)]
    with open_backend(url) as backend:
        while any(child.poll() is None for child in children):
            backend.maintain()
            found(backend)
    told = {id for child in children for id in child.stdout.read().split()}
    for child in children:
        child.stdout.close()
        assert child.returncode == 0
    assert len(told) == 16
    elsewhere()
    with padre.open(url, readonly=True) as workspace:
        runs = list(workspace.runs.list("metrics.loss.last >= 0"))
        assert {run.id for run in runs} == told
        assert {run.status for run in runs} == {"finished"}
        assert workspace.experiments.count() == 1
    assert list(open_backend(url, readonly=True).verify()) == []


def test_what_the_store_says_is_the_same_after_all_listings_are_gone(opened, bucket, elsewhere):
    backend = opened()
    made = {backend.put(samples.run()).id for _ in range(5)}
    backend.maintain()
    for prefix in (layout.LOG, layout.SNAPSHOTS):
        for entry in list(bucket.list(prefix)):
            bucket.delete(entry.key)
    elsewhere()
    assert found(opened(readonly=True)) == made


def test_records_of_one_file_that_conflict_are_told_apart(opened):
    backend = opened()
    run = backend.put(samples.run())
    records = [samples.record("metric", run_child_id(run.id, "metric", name), {}, (run.id,)) for name in "ab"]
    backend.put(records[0])
    first, second = backend.put_many([Write(samples.edited(records[0]), ABSENT), Write(records[1], ABSENT)])
    assert isinstance(first, padre.ConflictError)
    assert second.etag == records[1].etag


def test_a_store_moved_to_another_place_needs_no_spool(url, tmp_path, elsewhere):
    with padre.open(url) as workspace, workspace.start_run("iris/svc") as run:
        run.log_metric("loss", 1.0)
    shutil.copy(tmp_path / "lab.db", tmp_path / "copy.db")
    elsewhere()
    with padre.open(f"sqlitefile://{tmp_path}/copy.db") as copy:
        assert copy.runs.metrics(run.id)["loss"].last == 1.0
