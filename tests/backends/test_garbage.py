"""What maintenance removes: only what no object needs, and nobody is about to name."""

from __future__ import annotations

import io
import itertools
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import padre_core as padre
from padre_core.backends import garbage, layout
from padre_core.backends.bytestore import ABSENT
from padre_core.errors import CorruptObjectError, NotFoundError, ReadOnlyError
from padre_core.plugins import open_backend
from padre_core.testing import samples

NOW = -60.0
"""A time of grace after which all that is there is old."""

WRITER = "0123456789abcdef"

serial = itertools.count()


@pytest.fixture(params=["memory", "fsspec+memory"])
def url(request):
    return f"{request.param}://garbage-{next(serial)}"


@pytest.fixture
def backend(url):
    with open_backend(url) as backend:
        yield backend


def blob(backend, data):
    return backend.write_blob(io.BytesIO(data)).digest


def test_a_blob_that_no_object_names_goes_when_it_is_old(backend):
    digest = blob(backend, b"left by a writer that died")
    assert backend.collect() == {}
    would = {"unused blobs that would be removed": 1, "unused blobs bytes": 26}
    assert backend.collect(grace=NOW, dry_run=True) == would
    assert backend.has_blobs([digest])
    assert backend.collect(grace=NOW) == {"unused blobs removed": 1, "unused blobs bytes": 26}
    assert not backend.has_blobs([digest])
    assert backend.collect(grace=NOW) == {}


def test_what_objects_name_stays_and_so_what_a_restore_brings_back(url, tmp_path):
    with padre.open(url) as ws:
        (tmp_path / "kept.txt").write_text("kept")
        (tmp_path / "deleted.txt").write_text("deleted")
        with ws.start_run("lab/one") as run:
            run.log_metric("loss", 0.5)
            kept, deleted = run.log_artifact(tmp_path / "kept.txt"), run.log_artifact(tmp_path / "deleted.txt")
        with ws.start_run("lab/two") as hidden:
            hidden.log_metric("loss", 0.25)
        ws.artifacts.delete(deleted)
        ws.runs.delete(hidden.id)
        assert ws.backend.collect(grace=NOW) == {}
        assert ws.artifacts.read(kept) == b"kept"
        assert ws.artifacts.read(ws.artifacts.restore(deleted)) == b"deleted"
        ws.runs.restore(hidden.id)
        assert list(ws.runs.points(hidden.id, "loss").values) == [0.25]


def test_points_of_a_run_that_never_came_go_when_they_are_old(backend):
    run = samples.run()
    backend.put(run, if_match=ABSENT)
    backend.append_stream(run.id, WRITER, 0, samples.points(1))
    orphan = samples.run().id
    backend.append_stream(orphan, WRITER, 0, samples.points(1))
    assert backend.collect() == {}
    assert backend.collect(grace=NOW)["orphan points and lines removed"] == 1
    assert [len(part.columns) for part in backend.read_stream(run.id, "points")] == [1]
    assert not list(backend.read_stream(orphan, "points"))


@pytest.fixture
def aged(monkeypatch):
    """Lets ten days pass at a call."""

    def pass_by():
        now = time.time() + 10 * 24 * 3600
        monkeypatch.setattr(time, "time", lambda: now)

    return pass_by


@pytest.mark.parametrize("again", [blob, lambda backend, data: backend.has_blobs([blob_name(data)])])
def test_who_finds_an_old_blob_keeps_it_for_the_record_that_will_name_it(again, aged):
    with open_backend(f"memory://garbage-{next(serial)}") as backend:
        digest = blob(backend, b"data")
        aged()
        assert backend.collect(dry_run=True)
        again(backend, b"data")
        assert backend.collect() == {}
        assert backend.has_blobs([digest])


def blob_name(data):
    with open_backend("memory://") as other:
        return blob(other, data)


def test_a_blob_that_is_written_again_while_garbage_is_looked_for_stays(aged, monkeypatch):
    with open_backend(f"memory://garbage-{next(serial)}") as backend:
        digest = blob(backend, b"data")
        aged()

        class Slow(garbage._Needed):
            def __init__(self, *given):
                super().__init__(*given)
                blob(backend, b"data")

        monkeypatch.setattr(garbage, "_Needed", Slow)
        assert backend.collect() == {}
        assert backend.has_blobs([digest])


def test_nothing_goes_while_a_damaged_file_may_name_it(backend):
    digest = blob(backend, b"data")
    head = backend.put(samples.project(), if_match=ABSENT)
    key = layout.record_key("project", head.id)
    backend.store.write(key, backend.store.read(key).data[:-9])
    with pytest.raises(CorruptObjectError):
        backend.collect(grace=NOW)
    list(backend.verify(quarantine=True))
    with pytest.raises(CorruptObjectError, match="set aside"):
        backend.collect(grace=NOW)
    assert backend.has_blobs([digest])


def test_a_reader_only_looks(url):
    with open_backend(url) as writer:
        blob(writer, b"data")
        with open_backend(url, readonly=True) as reader:
            assert reader.collect(grace=NOW, dry_run=True)
            with pytest.raises(ReadOnlyError):
                reader.collect(grace=NOW)


def test_a_file_that_is_no_blob_stays(backend):
    backend.store.write("blobs/ab/notes", b"by hand")
    assert backend.collect(grace=NOW) == {}
    assert backend.store.read("blobs/ab/notes").data == b"by hand"


def test_a_key_that_vanished_meanwhile_is_no_error():
    with open_backend(f"memory://garbage-{next(serial)}") as backend:
        digest = blob(backend, b"data")
        entry = backend.store.stat(layout.blob_key(digest))
        backend.store.delete(entry.key)
        assert list(garbage._remove(backend.store, [entry], lambda *_: None)) == []
        with pytest.raises(NotFoundError):
            backend.open_blob(digest)


LARGE = b"weights" * 10_000
"""What lies in a file of its own at once, and not in a log."""


@pytest.fixture
def folder(tmp_path):
    with open_backend((tmp_path / "store").as_uri()) as backend:
        yield backend


@pytest.fixture
def before(monkeypatch):
    """Gives a time of grace after which all is old that was last written before this call."""

    def call():
        time.sleep(0.05)  # the clock of a file system ticks in hundredths of seconds
        moment = time.time()
        time.sleep(0.05)
        monkeypatch.setattr("padre_core.backends.garbage.time.time", lambda: moment + 1_000_000)
        return 1_000_000

    return call


def test_a_folder_gives_up_old_blobs_that_no_object_names_and_no_other(folder, before, tmp_path):
    left = blob(folder, LARGE)
    (tmp_path / "model.bin").write_bytes(LARGE[1:])
    with padre.open(tmp_path / "store") as ws, ws.start_run("lab/one") as run:
        run.log_metric("loss", 0.5)
        run.log_artifact(tmp_path / "model.bin")
    named = set(folder.blobs()) - {left}
    assert folder.collect() == {}
    grace = before()
    young = blob(folder, LARGE[2:])
    assert folder.collect(grace=grace) == {"unused blobs removed": 1, "unused blobs bytes": len(LARGE)}
    assert set(folder.blobs()) == {*named, young}
    assert len(next(iter(folder.read_stream(run.id, "points"))).columns) == 1


@pytest.mark.parametrize("again", [blob, lambda backend, data: backend.has_blobs([blob_name(data)])])
def test_who_finds_an_old_blob_in_a_folder_keeps_it(folder, before, monkeypatch, again):
    digest = blob(folder, LARGE)
    monkeypatch.setattr("padre_core.backends.blobs.GRACE", 0)
    grace = before()
    again(folder, LARGE)
    assert folder.collect(grace=grace) == {}
    assert folder.has_blobs([digest])


@pytest.mark.parametrize("again", [blob, lambda backend, data: backend.has_blobs([blob_name(data)])])
def test_who_sends_an_old_blob_in_the_moment_of_its_removal_waits_and_knows(folder, tmp_path, monkeypatch, again):
    digest = blob(folder, LARGE)
    monkeypatch.setattr("padre_core.backends.blobs.is_fresh", lambda entry: False)
    (entry,) = folder.store.list("blobs/")
    look = folder.store.is_unchanged
    with open_backend((tmp_path / "store").as_uri()) as sender, ThreadPoolExecutor(1) as pool:

        def and_meanwhile(entry):
            unchanged = look(entry)
            pending.append(pool.submit(again, sender, LARGE))
            time.sleep(0.2)  # what the other does meanwhile must have no effect
            return unchanged

        pending = []
        monkeypatch.setattr(folder.store, "is_unchanged", and_meanwhile)
        gone = list(folder.store.delete_unchanged([entry]))
        answer = pending[0].result()
        there = sender.has_blobs([digest])
    assert (gone, there) in [([], {digest}), ([entry], {digest}), ([entry], set())]
    assert there or answer == set(), "who was told that the blob is there relies on it"


def test_a_copied_folder_is_young_though_its_files_keep_their_times(folder, before, tmp_path):
    blob(folder, LARGE)
    grace = before()
    shutil.copytree(tmp_path / "store", tmp_path / "copy", copy_function=shutil.copy2)
    with open_backend((tmp_path / "copy").as_uri()) as copy:
        assert copy.collect(grace=grace) == {}
    assert folder.collect(grace=grace)
