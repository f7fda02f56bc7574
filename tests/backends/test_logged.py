import contextlib
import errno
import fcntl
import io
import multiprocessing
import os
import shutil
import signal
import stat
import sys
import threading
from pathlib import Path

import pytest

from padre_core.backends import folding, layout
from padre_core.backends.backend import Note, Write
from padre_core.backends.bytestore import ABSENT, UNBORN
from padre_core.backends.folding import INDEX_RECORDS
from padre_core.backends.logged_blobs import SMALL_BLOB
from padre_core.errors import ConflictError, CorruptObjectError, NotFoundError, ReadOnlyError
from padre_core.objects import record as records
from padre_core.objects.artifact import Artifact
from padre_core.objects.identity import run_child_id
from padre_core.plugins import open_backend
from padre_core.query import parse
from padre_core.query.model import Query
from padre_core.streams import points
from padre_core.streams.columns import Line, Lines, make_points
from padre_core.streams.log import LogReader
from padre_core.streams.view import LogView

sys.path.insert(0, str(Path(__file__).parent))
from conftest import AT, edited, ended, project, put_run, run, values

processes = multiprocessing.get_context("fork")


def logs(folder):
    return sorted(name for name in os.listdir(folder / "log") if len(name) == 23)


def in_child(work):
    """Runs something in another process, which then dies without closing anything."""

    def main():
        work()
        os.kill(os.getpid(), signal.SIGKILL)

    child = processes.Process(target=main)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL


def ids(backend, kind="run", **query):
    return {record.id for record in backend.query(kind, Query(**query)).records}


def test_what_one_opening_acknowledges_all_others_see_at_once(opened):
    one, other = opened(), opened()
    stored = one.put(project(), if_match=ABSENT)
    assert other.get("project", stored.id).etag == stored.etag
    assert ids(other, "project") == {stored.id}
    newer = other.put(edited(stored, title="Iris"), if_match=stored.etag)
    assert one.get("project", stored.id).etag == newer.etag
    with pytest.raises(ConflictError):
        one.put(edited(stored, title="Irises"), if_match=stored.etag)


def test_points_of_a_running_run_are_read_by_others_while_they_come(opened):
    one, other = opened(), opened()
    started = one.put(run(), if_match=ABSENT)
    writer = one.open_writer(started.id)
    writer.point("loss", 0, 0.5, 1)
    assert values(other, started.id) == [0.5]
    writer.points(make_points("loss", [0.25, 0.125], None, None, 1))
    assert values(other, started.id) == [0.5, 0.25, 0.125]
    assert ids(other, where=parse("metrics.loss.last == 0.125 and metrics.loss.count == 3")) == {started.id}
    assert other.get("run", started.id).summaries[0].count == 3


def test_a_closed_store_has_all_in_the_tree_and_no_log(opened, folder):
    backend = opened()
    id = put_run(backend)
    backend.close()
    assert logs(folder) == []
    files = {path.name.rpartition("-")[2] for path in folder.glob(f"runs/*/*/{id}/*")}
    assert files == {"run.json", "0.points"}
    assert [problem.code for problem in opened().verify()] == ["orphan"], "its project was never stored"


def test_what_a_dead_process_left_is_folded_by_the_next_opening(opened, folder):
    id = put_run(opened())
    left = {}

    def work():
        left["run"] = put_run(opened(), points=3)

    pipe = processes.SimpleQueue()
    in_child(lambda: (work(), pipe.put(left["run"])))
    dead = pipe.get()
    assert len(logs(folder)) == 2
    reader = opened(readonly=True)
    assert values(reader, dead) == [0.0, 0.5, 1.0]
    assert ids(reader) == {id, dead}
    backend = opened()
    assert len(logs(folder)) == 1, "the living process keeps its log"
    assert values(backend, dead) == [0.0, 0.5, 1.0]
    assert ids(backend) == {id, dead}


def test_what_a_dead_process_left_on_a_network_disk_is_folded_by_the_next_opening(opened, folder, monkeypatch):
    put_run(opened(), points=3)
    flock = fcntl.flock

    def as_nfs(file, how):
        fd = file if isinstance(file, int) else file.fileno()
        if (
            how & fcntl.LOCK_EX
            and stat.S_ISREG(os.fstat(fd).st_mode)
            and not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_RDWR
        ):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", as_nfs)
    in_child(lambda: put_run(opened(), points=3))
    assert len(logs(folder)) == 2
    backend = opened()
    assert len(logs(folder)) == 1, "the living process keeps its log"
    assert len(ids(backend)) == 2


def test_what_a_process_logged_it_need_not_read_back(opened, monkeypatch):
    read = []
    frame = LogReader._frame

    def noted(reader, slot):
        found = frame(reader, slot)
        read.extend([slot] if found[0] is not None else [])
        return found

    monkeypatch.setattr(LogReader, "_frame", noted)
    backend = opened()
    started = backend.put(run(), if_match=ABSENT)
    writer = backend.open_writer(started.id)
    writer.points(make_points("loss", [0.5, 0.25], None, None, 0))
    writer.close()
    backend.put(ended(started), if_match=started.etag)
    assert ids(backend, where=parse("metrics.loss.last == 0.25")) == {started.id}
    backend.fold()
    assert read == []
    assert values(backend, started.id) == [0.5, 0.25]


def test_points_one_by_one_and_in_batches_keep_their_order(opened):
    backend = opened()
    started = backend.put(run(), if_match=ABSENT)
    writer = backend.open_writer(started.id)
    expected = []
    for step in range(4):
        writer.points(make_points("loss", [step + 0.25, step + 0.5], None, None, 0))
        writer.point("loss", 2, step + 0.75, 0)
        expected += [step + 0.25, step + 0.5, step + 0.75]
        assert values(backend, started.id) == expected
    writer.close()
    backend.fold()
    assert values(backend, started.id) == values(opened(readonly=True), started.id) == expected


def test_folding_half_and_again_changes_nothing(opened, folder, tmp_path):
    pipe = processes.SimpleQueue()
    in_child(lambda: pipe.put(put_run(opened())))
    id = pipe.get()
    (name,) = logs(folder)
    shutil.copy(folder / "log" / name, tmp_path / "copy")
    opened().close()
    before = {path: path.read_bytes() for path in folder.glob("runs/**/*") if path.is_file()}
    for note in folder.glob("log/*.notes"):
        note.unlink()  # as if the process had died before it wrote them
    shutil.copy(tmp_path / "copy", folder / "log" / name)
    backend = opened()
    assert {path: path.read_bytes() for path in folder.glob("runs/**/*") if path.is_file()} == before
    assert [path.name for path in folder.glob("log/*.notes")] == [f"{name}.notes"]
    assert ids(backend) == {id}


@pytest.mark.parametrize("written", [["points"], ["points", "children.json"], []], ids=["points", "children", "folder"])
def test_a_run_that_was_folded_by_half_is_finished_by_the_next_opening(opened, folder, tmp_path, written):
    pipe = processes.SimpleQueue()

    def work():
        backend = opened()
        id = put_run(backend)
        made = Artifact(owner=id, path="a", digest="0" * 64, size=1)
        child = run_child_id(id, "artifact", *made.key())
        backend.put(records.first("artifact", child, made.content(), (id,), by="ada", at=AT))
        pipe.put((id, child))

    in_child(work)
    id, child = pipe.get()
    (name,) = logs(folder)
    shutil.copy(folder / "log" / name, tmp_path / "copy")
    opened().close()
    before = {path: path.read_bytes() for path in folder.glob("runs/**/*") if path.is_file()}
    assert {path.name.rpartition(".")[2] for path in before} == {"points", "json"}
    for path in before:
        if not path.name.endswith(tuple(written)):
            path.unlink()  # as if the process had died before it wrote them
    for note in folder.glob("log/*.notes"):
        note.unlink()
    shutil.copy(tmp_path / "copy", folder / "log" / name)
    backend = opened()
    assert {path: path.read_bytes() for path in folder.glob("runs/**/*") if path.is_file()} == before
    assert ids(backend) == {id}
    assert ids(backend, "artifact") == {child}


def test_what_is_noted_of_a_new_object_is_stored_in_one_step_with_it(opened):
    backend = opened()
    there = backend.put(project("there"), if_match=ABSENT)
    notes = {"remotes": {"lab": {"intent": "track", "base": there.etag}}}
    same, new = backend.put_many([Write(project("there"), notes=notes), Write(project("new"), ABSENT, notes)])
    assert (same.envelope, same.version) == ({}, 1)
    assert (new.envelope, new.version) == (notes, 1)
    backend.evict("project", new.id, if_match=new.etag)
    (again,) = backend.put_many([Write(project("new"), ABSENT)])
    assert again.envelope == {}


def test_a_torn_end_of_points_is_cut_when_its_log_is_folded_again(opened, folder, tmp_path):
    pipe = processes.SimpleQueue()
    in_child(lambda: pipe.put(put_run(opened())))
    id = pipe.get()
    (name,) = logs(folder)
    shutil.copy(folder / "log" / name, tmp_path / "copy")
    opened().close()
    (path,) = folder.glob("runs/**/*.points")
    path.write_bytes(path.read_bytes()[:-7])
    shutil.copy(tmp_path / "copy", folder / "log" / name)
    assert values(opened(), id) == [0.0, 0.5, 1.0, 1.5, 2.0]


def test_a_log_that_outgrows_its_file_goes_on_in_the_next(opened):
    backend = opened()
    started = backend.put(run(), if_match=ABSENT)
    writer = backend.open_writer(started.id)
    count = 300_000
    for step in range(count):
        writer.point("loss", step, 1.0, step)
    writer.close()
    assert len(values(backend, started.id)) == count
    backend.put(ended(started), if_match=started.etag)
    backend.close()
    again = opened()
    assert len(values(again, started.id)) == count
    assert again.get("run", started.id).summaries[0].count == count


def test_a_fork_writes_a_log_of_its_own(opened):
    backend = opened()
    started = backend.put(run(), if_match=ABSENT)
    writer = backend.open_writer(started.id)
    writer.point("loss", 0, 1.0, 0)

    def work():
        writer.point("loss", 1, 2.0, 0)
        backend.put(project(), if_match=ABSENT)

    in_child(work)
    writer.point("loss", 2, 3.0, 0)
    assert sorted(values(backend, started.id)) == [1.0, 2.0, 3.0]
    assert backend.get("project", project().id)
    assert {segment.writer for segment in backend.read_stream(started.id, "points")} > {writer.id}


def test_a_run_is_live_as_long_as_its_writer_is(opened):
    watcher = opened()
    backend = opened()
    started = backend.put(run(), if_match=ABSENT)
    writer = backend.open_writer(started.id)
    assert watcher.live_runs() == {started.id}
    put_run(backend)
    backend.fold()
    assert watcher.live_runs() == {started.id}
    writer.close()
    assert watcher.live_runs() == set()
    pipe = processes.SimpleQueue()

    def work():
        child = opened()
        record = child.put(run(), if_match=ABSENT)
        child.open_writer(record.id).point("loss", 0, 1.0, 0)
        pipe.put(child.live_runs())

    in_child(work)
    assert len(pipe.get()) == 1
    assert watcher.live_runs() == set()


def test_lines_and_points_of_one_writer_do_not_mix(opened):
    backend = opened()
    started = backend.put(run(), if_match=ABSENT)
    writer = backend.open_writer(started.id)
    for step in range(3):
        writer.point("loss", step, 1.0, 0)
        writer.line(Line(step, "INFO", f"epoch {step}"))
    for _ in range(2):
        lines = [line.text for part in backend.read_stream(started.id, "lines") for line in part.columns.lines]
        assert lines == ["epoch 0", "epoch 1", "epoch 2"]
        assert values(backend, started.id) == [1.0, 1.0, 1.0]
        backend.fold()


def test_a_transferred_stream_keeps_its_writer_and_takes_no_part_twice(opened):
    backend = opened()
    started = backend.put(run(), if_match=ABSENT)
    columns = make_points("loss", range(10), None, [7] * 10, 0)
    assert backend.append_stream(started.id, "a" * 16, 0, columns) == 10
    backend.fold()
    assert backend.append_stream(started.id, "a" * 16, 5, columns) == 15
    assert backend.append_stream(started.id, "a" * 16, 0, columns) == 15
    assert backend.append_stream(started.id, "a" * 16, 0, Lines((Line(1, "INFO", "x"),))) == 1
    with pytest.raises(ConflictError) as caught:
        backend.append_stream(started.id, "a" * 16, 16, columns)
    assert caught.value.next == 15
    assert values(backend, started.id) == [*map(float, range(10)), *map(float, range(5, 10))]


def test_a_fresh_index_is_built_from_notes_and_snapshots(opened, folder, cache, monkeypatch):
    monkeypatch.setattr("padre_core.backends.listing.MERGE_NOTES", 3)
    made = set()
    for _ in range(11):
        backend = opened()
        made.add(put_run(backend))
        backend.close()
    assert list(folder.glob("snapshots/*"))
    assert len(list(folder.glob("log/*.notes"))) < 3
    shutil.rmtree(cache)
    cache.mkdir()
    monkeypatch.setattr("padre_core.backends.catchup.COMPARE_AT_OPEN", -1)
    assert ids(opened(), where=parse("metrics.loss.count == 5")) == made


def test_an_older_backup_in_the_place_of_the_store_is_seen(opened, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("padre_core.backends.catchup.COMPARE_AT_OPEN", -1)
    backend = opened()
    kept = put_run(backend)
    backend.close()
    shutil.copytree(folder, tmp_path / "backup")
    backend = opened()
    lost = put_run(backend)
    assert ids(backend) == {kept, lost}
    backend.close()
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "backup", folder)
    assert ids(opened()) == {kept}


def test_a_copied_folder_is_a_store_of_its_own(opened, folder, tmp_path):
    backend = opened()
    id = put_run(backend)
    backend.close()
    from padre_core.plugins import open_backend

    shutil.copytree(folder, tmp_path / "copy")
    with open_backend(str(tmp_path / "copy"), durability="process") as copy:
        put_run(copy)
        assert len(ids(copy)) == 2
        assert values(copy, id) == values(opened(), id)
    assert ids(opened()) == {id}


def test_what_was_edited_by_hand_is_refused_until_it_is_accepted(opened, folder):
    backend = opened()
    stored = backend.put(project(title="Iris"), if_match=ABSENT)
    backend.close()
    (path,) = folder.glob("projects/*/*/*.json")
    path.write_text(path.read_text().replace("Iris", "Irises"))
    backend = opened()
    with pytest.raises(CorruptObjectError, match="accept-edits"):
        backend.get("project", stored.id)
    assert [problem.code for problem in backend.verify()] == ["corrupt"]
    assert backend.refresh(accept_edits=True) == 1
    after = backend.get("project", stored.id)
    assert after.data()["title"] == "Irises"
    assert after.lineage == (stored.etag,)
    assert list(backend.verify()) == []
    assert [record.etag for record in backend.query("project", Query()).records] == [after.etag]


def test_a_file_that_somebody_removed_is_gone_after_refresh(opened, folder):
    backend = opened()
    stored = backend.put(project(), if_match=ABSENT)
    backend.fold()
    assert ids(backend, "project") == {stored.id}
    (path,) = folder.glob("projects/*/*/*.json")
    path.unlink()
    backend.refresh()
    assert ids(backend, "project") == set()
    with pytest.raises(NotFoundError):
        backend.get("project", stored.id)


def test_a_damaged_file_makes_way_for_what_was_acknowledged_and_is_kept(opened, folder):
    backend = opened()
    stored = backend.put(project(title="Iris"), if_match=ABSENT)
    backend.fold()
    newer = backend.put(edited(stored, title="Irises"), if_match=stored.etag)
    (path,) = folder.glob("projects/*/*/*.json")
    path.write_bytes(b"rubbish")
    backend.fold()
    assert backend.get("project", stored.id).etag == newer.etag
    assert (folder / "quarantine" / path.relative_to(folder)).read_bytes() == b"rubbish"


def test_a_read_only_opening_writes_nothing(opened, folder):
    backend = opened()
    id = put_run(backend)
    before = sorted(folder.rglob("*"))
    reader = opened(readonly=True)
    assert values(reader, id)
    assert ids(reader) == {id}
    for write in (
        lambda: reader.put(project()),
        lambda: reader.open_writer(id),
        lambda: reader.append_stream(id, "a" * 16, 0, make_points("loss", [1], None, None, 0)),
        lambda: reader.set_envelope("run", id, {}),
        reader.fold,
    ):
        with pytest.raises(ReadOnlyError):
            write()
    reader.close()
    assert sorted(folder.rglob("*")) == before


def test_changes_are_told_once_and_in_order(opened):
    backend, other = opened(), opened()
    one = backend.put(project("a"), if_match=ABSENT)
    start = other.changes()
    assert [entry.id for entry in start.entries] == [one.id]
    assert other.changes(start.cursor).entries == ()
    two = backend.put(project("b"), if_match=ABSENT)
    backend.put(edited(one, title="A"), if_match=one.etag)
    later = other.changes(start.cursor)
    assert {entry.id for entry in later.entries} == {one.id, two.id}
    assert other.changes("nonsense:1").reset


def test_verify_finds_points_that_are_missing(opened, folder):
    backend = opened()
    backend.put(project(), if_match=ABSENT)
    put_run(backend)
    backend.close()
    (path,) = folder.glob("runs/**/*.points")
    path.unlink()
    assert "summary" in {problem.code for problem in opened().verify()}


def test_a_blob_is_listed_as_unused_until_something_refers_to_it(opened):
    import io

    backend = opened()
    reference = backend.write_blob(io.BytesIO(b"weights"))
    assert [problem.code for problem in backend.verify()] == ["unused-blob"]
    assert backend.open_blob(reference.digest).read() == b"weights"
    assert layout.blob_key(reference.digest).endswith(reference.digest)


def test_a_batch_that_outgrows_a_log_loses_no_point(opened):
    backend = opened()
    started = backend.put(run(), if_match=ABSENT)
    writer = backend.open_writer(started.id)
    count = 1_000_001
    writer.points(make_points("loss", range(count), None, [0] * count, 0))
    writer.point("loss", count, float(count), 0)
    for _ in range(2):
        segments = list(backend.read_stream(started.id, "points"))
        assert sum(len(segment.columns) for segment in segments) == count + 1
        assert segments[-1].columns.values[-1] == count
        backend.fold()
    assert backend.get("run", started.id).summaries[0].count == count + 1


def test_small_batches_are_folded_into_larger_blocks_and_large_ones_as_they_are(opened, folder):
    backend = opened()
    started = backend.put(run(), if_match=ABSENT)
    writer = backend.open_writer(started.id)
    writer.point("loss", 0, 0.0, 1)
    for size in (*[9] * 111, 1500, 1, 2000, 25_000):
        writer.points(make_points("loss", [float(size)] * size, None, None, 0))
    backend.close()
    (file,) = folder.glob(f"runs/*/*/{started.id}/*.points")
    sizes = [len(columns) for _, columns in points.decode(file.read_bytes(), "here")]
    assert sizes == [1000, 1500, 1, 2000, 10_000, 10_000, 5000]
    assert sum(values(opened(), started.id)) == 9**2 * 111 + 1500**2 + 1 + 2000**2 + 25_000**2
    assert [problem.code for problem in opened().verify()] == ["orphan"], "its project was never stored"


def test_where_the_index_cannot_be_kept_queries_answer_all_the_same(opened, monkeypatch, caplog):
    monkeypatch.setenv("PADRE_CACHE", "/proc/nowhere")
    backend = opened()
    id = put_run(backend)
    assert ids(backend) == {id}
    assert "PADRE_CACHE" in caplog.text


def test_with_power_a_run_costs_one_barrier_which_is_at_its_end(folder, monkeypatch):
    barriers = []
    monkeypatch.setattr("padre_core.streams.log.datasync", lambda fd: barriers.append(fd) or os.fdatasync(fd))
    backend = open_backend(str(folder), durability="power")
    try:
        started = run()
        with backend.batch("Start"):
            backend.put(started, if_match=UNBORN)
        assert barriers == []
        with backend.batch("End"):
            backend.put(ended(started), if_match=started.etag)
        assert len(barriers) == 1
    finally:
        backend.close()


@pytest.mark.parametrize("work", ["record", "copy of a running run", "points", "blob"])
def test_with_power_all_else_in_a_batch_is_safe_when_it_ends(folder, monkeypatch, work):
    backend = open_backend(str(folder), durability="power")
    try:
        started = backend.put(run(), if_match=UNBORN)
        barriers = []
        monkeypatch.setattr("padre_core.streams.log.datasync", lambda fd: barriers.append(fd) or os.fdatasync(fd))
        with backend.batch("Work"):
            if work == "record":
                backend.put(project(), if_match=ABSENT)
            elif work == "copy of a running run":
                backend.put(run(), if_match=ABSENT)
            elif work == "points":
                backend.append_stream(started.id, "0" * 16, 0, make_points("loss", [1.0], None, None, 0))
            else:
                backend.write_blob(io.BytesIO(b"few"))
            assert barriers == []
        assert barriers
    finally:
        backend.close()


def test_records_of_one_call_look_at_the_logs_of_others_once_for_many(opened, monkeypatch):
    one, other = opened(), opened()
    other.put(project(), if_match=ABSENT)
    polls = []
    poll = LogView.poll
    monkeypatch.setattr(LogView, "poll", lambda view: polls.append(view.name) or poll(view))
    stored = one.put_many([Write(project(f"p{number}"), ABSENT) for number in range(200)])
    assert len(polls) < 40
    assert ids(other, "project") == {project().id, *(record.id for record in stored)}


def test_records_of_one_call_see_what_others_stored_between_two_calls(opened):
    one, other = opened(), opened()
    (first,) = one.put_many([Write(project(), ABSENT)])
    newer = other.put(edited(first, title="Iris"), if_match=first.etag)
    late, new = one.put_many([Write(edited(first, title="Irises"), first.etag), Write(project("wine"), ABSENT)])
    assert isinstance(late, ConflictError)
    assert new.version == 1
    assert other.get("project", first.id).etag == newer.etag


def test_a_log_of_many_ended_runs_is_folded_while_the_work_goes_on(opened, folder, monkeypatch):
    monkeypatch.setattr("padre_core.backends.folding.FOLD_RUNS", 5)
    backend = opened()
    made = {put_run(backend) for _ in range(12)}
    backend._folding.wait()
    assert len(list(folder.glob("runs/*/*/*/run.json"))) >= 5
    assert ids(backend) == made


def test_who_writes_faster_than_logs_are_folded_waits(opened, monkeypatch):
    monkeypatch.setattr("padre_core.backends.folding.FOLD_RUNS", 1)
    monkeypatch.setattr("padre_core.backends.folding.BACKLOG", 1)
    backend = opened()
    made, most = set(), 0
    for _ in range(30):
        made.add(put_run(backend))
        most = max(most, len(backend.journal.sealed))
    assert most <= 2
    assert ids(backend) == made


def test_a_run_whose_id_was_made_for_it_is_not_looked_for(opened, monkeypatch):
    backend = opened()
    asked = []
    read = backend.store.read
    monkeypatch.setattr(backend.store, "read", lambda key: asked.append(key) or read(key))
    one, other = run(), run()
    backend.put(one, if_match=UNBORN)
    assert asked == []
    backend.put(other, if_match=ABSENT)
    assert asked == [layout.record_key("run", other.id)]
    assert backend.put(one, if_match=UNBORN).version == 1, "a retry changes nothing"


def blob_files(folder):
    return [path.read_bytes() for path in folder.glob("blobs/*/*")]


def test_a_small_blob_is_read_by_all_at_once_and_is_a_file_when_the_store_is_closed(opened, folder):
    one, other = opened(), opened()
    reference = one.write_blob(io.BytesIO(b"weights"))
    assert other.open_blob(reference.digest).read() == b"weights"
    assert other.has_blobs({reference.digest, "0" * 64}) == {reference.digest}
    assert list(other.blobs()) == [reference.digest]
    assert opened(readonly=True).open_blob(reference.digest).read() == b"weights"
    assert blob_files(folder) == []
    one.close()
    assert blob_files(folder) == [b"weights"]
    assert other.open_blob(reference.digest).read() == b"weights"
    assert list(other.blobs()) == [reference.digest]


def test_a_large_blob_is_a_file_at_once(opened, folder):
    data = bytes(SMALL_BLOB + 1)
    assert opened().write_blob(io.BytesIO(data)).size == len(data)
    assert blob_files(folder) == [data]


@pytest.mark.parametrize("size", [0, 1, SMALL_BLOB])
def test_a_small_blob_outlives_its_process(opened, folder, size):
    data = bytes(size)
    in_child(lambda: opened().write_blob(io.BytesIO(data)))
    assert blob_files(folder) == []
    backend = opened()
    assert blob_files(folder) == [data]
    assert [backend.open_blob(digest).read() for digest in backend.blobs()] == [data]


def test_blobs_in_the_log_of_another_process_are_not_missing(opened):
    one, other = opened(), opened()
    reference = one.write_blob(io.BytesIO(b"numpy==2.0\n"))
    other.put(run(environment={"packages": reference.model_dump()}), if_match=ABSENT)
    assert [problem.code for problem in other.verify()] == ["orphan"], "its project was never stored"


def test_many_small_blobs_are_folded_behind_the_writer(opened, folder):
    backend = opened()
    for number in range(700):
        backend.write_blob(io.BytesIO(number.to_bytes(SMALL_BLOB, "big")))
    backend._folding.wait()
    assert len(blob_files(folder)) > 400
    assert len(list(backend.blobs())) == 700, "each once"


def note(run_id, path, size=0):
    made = Artifact(owner=run_id, path=path, digest="0" * 64, size=size)
    return records.first("artifact", run_child_id(run_id, "artifact", path), made.content(), (run_id,), by="ada", at=AT)


def test_in_a_batch_what_lives_in_a_run_is_read_once_but_never_stale(opened, monkeypatch):
    backend, other = opened(), opened()
    id = put_run(backend)
    one, two = backend.put(note(id, "one")), backend.put(note(id, "two"))
    backend.fold()
    asked = []
    read = backend.store.read
    monkeypatch.setattr(backend.store, "read", lambda key: asked.append(key) or read(key))
    with backend.batch("a look at both"):
        assert backend.get("artifact", one.id) == one
        assert backend.get("artifact", two.id) == two
        assert asked == [layout.record_key("artifact", one.id)]
        content = Artifact(owner=id, path="one", digest="0" * 64, size=1).content()
        newer = other.put(records.successor(one, content, by="ada", at=AT), if_match=one.etag)
        assert backend.get("artifact", one.id) == newer
        other.fold()
        assert backend.get("artifact", one.id) == newer


def test_notes_about_runs_that_ended_do_not_fold_their_files_again(opened, monkeypatch):
    one = opened()
    monkeypatch.setattr("padre_core.backends.folding.FOLD_RUNS", 5)
    (head,) = one.put_many([Write(ended(run()), ABSENT)])
    one.fold()
    writes = []
    write = one.store.write
    monkeypatch.setattr(one.store, "write", lambda key, data, **how: writes.append(key) or write(key, data, **how))
    for number in range(10):
        (head,) = one.set_envelopes([Note("run", head.id, {"lab": {"url": str(number)}}, head.version)])
    one._folding.wait()
    assert writes == []
    assert one.get("run", head.id).envelope == {"lab": {"url": "9"}}


def test_who_finds_a_sync_of_another_thread_under_way_waits_for_it(folder, monkeypatch):
    with open_backend(str(folder), durability="power") as backend:
        going, go_on = threading.Event(), threading.Event()
        sync = backend.store.sync

        def slowly():
            going.set()
            assert go_on.wait(60)
            sync()

        monkeypatch.setattr(backend.store, "sync", slowly)
        backend.write_blob(io.BytesIO(bytes(100_000)))
        first, second = (threading.Thread(target=backend.sync) for _ in range(2))
        first.start()
        assert going.wait(60)
        second.start()
        second.join(0.3)
        assert second.is_alive(), "nothing is known to be stored yet"
        go_on.set()
        first.join()
        second.join()


def test_what_was_folded_is_in_the_index_without_being_read_back(opened, monkeypatch):
    backend = opened()
    backend.query("run", Query())
    ids = {put_run(backend) for _ in range(INDEX_RECORDS + 1)}
    read = []
    store_read = backend.store.read
    monkeypatch.setattr(backend.store, "read", lambda key: read.append(key) or store_read(key))
    backend.fold()
    assert [key for key in read if key.startswith(layout.LOG)] == []
    assert {record.id for record in backend._open_index().query("run", Query()).records} == ids
    live = backend.put(run(), if_match=ABSENT)
    assert {record.id for record in backend.query("run", Query()).records} == {*ids, live.id}


def test_what_the_logs_hold_is_found_though_a_fold_indexed_the_tree_alone(opened):
    backend = opened()
    for _ in range(INDEX_RECORDS + 1):
        put_run(backend)
    before = backend.put(run(), if_match=ABSENT)
    writer = backend.open_writer(before.id)
    backend.fold()
    writer.point("loss", 0, 0.5, 0)
    backend.put(project(), if_match=ABSENT)
    assert backend.count("run", Query(where=parse("metrics.loss.last == 0.5"))) == 1
    assert backend.count("project", Query()) == 1


def test_runs_that_end_while_others_are_folded_are_folded_too_though_nobody_writes_again(opened, folder, monkeypatch):
    monkeypatch.setattr(folding, "FOLD_RUNS", 2)
    backend = opened()
    going, go_on = threading.Event(), threading.Event()
    write = backend.store.write

    def slowly(*args, **options):
        going.set()
        assert go_on.wait(60)
        return write(*args, **options)

    monkeypatch.setattr(backend.store, "write", slowly)
    first = [put_run(backend) for _ in range(2)]
    assert going.wait(60)
    later = [put_run(backend) for _ in range(4)]
    go_on.set()
    backend._folding.wait()
    assert {path.parent.name for path in folder.rglob("run.json")} == {*first, *later}


def test_with_power_a_blob_that_another_process_just_wrote_is_synced_with_what_names_it(folder, monkeypatch):
    synced = []

    def datasync(fd):
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        os.fdatasync(fd)

    monkeypatch.setattr("padre_file.store.datasync", datasync)
    with contextlib.closing(open_backend(str(folder), durability="power")) as other:
        blob = other.write_blob(io.BytesIO(bytes(SMALL_BLOB + 1)))  # which it may not have synced when power is lost
        with contextlib.closing(open_backend(str(folder), durability="power")) as backend:
            assert backend.has_blobs([blob.digest]) == {blob.digest}
            assert not any(blob.digest in path for path in synced)
            backend.put(project(), if_match=ABSENT)
            assert any(path.endswith(blob.digest) for path in synced)
