"""Evictions where logs, notes, snapshots and an index still hold what was evicted."""

import itertools
import multiprocessing
import os
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from padre_core.backends import layout, listing
from padre_core.backends.bytestore import ABSENT
from padre_core.backends.index import Index
from padre_core.backends.memory import MemoryStore
from padre_core.backends.store import ByteStoreBackend
from padre_core.errors import NotFoundError
from padre_core.objects.record import vacancy
from padre_core.objects.summary import summarise
from padre_core.query.model import Query

sys.path.insert(0, str(Path(__file__).parent))
from conftest import edited, ended, project, put_run, run, values


def put_whole(backend):
    """A finished run with points, and the project that it belongs to; returns its id."""
    backend.put(project())
    return put_run(backend)


def evict(backend, id, kind="run"):
    backend.evict(kind, id, if_match=backend.get(kind, id).etag)


def ids(backend, kind="run"):
    return {record.id for record in backend.query(kind, Query()).records}


def segments(folder, id):
    return sorted(path.name for path in folder.glob(f"runs/*/*/{id}/*.points"))


def assert_gone(backend, id):
    with pytest.raises(NotFoundError):
        backend.get("run", id)
    assert (ids(backend), values(backend, id)) == (set(), [])
    assert list(backend.verify()) == []


@pytest.mark.parametrize("writer_first", [True, False])
def test_a_log_that_another_opening_folds_later_brings_nothing_back(opened, folder, cache, writer_first):
    writing, evicting = opened(), opened()
    id = put_whole(writing)
    evict(evicting, id)
    assert_gone(writing, id)
    for backend in (writing, evicting) if writer_first else (evicting, writing):
        backend.close()
    assert segments(folder, id) == []
    shutil.rmtree(cache)
    assert_gone(opened(), id)


def test_a_download_and_an_older_log_do_not_mix(opened, folder):
    writing, evicting = opened(), opened()
    id = put_run(writing, points=5)
    (part,) = writing.read_stream(id, "points")
    head = writing.get("run", id)
    evict(evicting, id)
    evicting.put(head, if_match=ABSENT)
    assert evicting.append_stream(id, part.writer, 0, part.columns.skip(3)) == 2
    evicting.close()
    assert values(writing, id) == [1.5, 2.0]
    writing.close()
    again = opened()
    assert values(again, id) == [1.5, 2.0]
    assert again.get("run", id).summaries[0].count == 2
    assert len(segments(folder, id)) == 1


def test_notes_snapshots_and_a_fresh_index_bring_nothing_back(opened, cache, monkeypatch):
    monkeypatch.setattr(listing, "MERGE_NOTES", 2)
    gone, kept = put_run(opened()), ""
    for backend in (opened(), opened(), opened(), opened()):
        if gone in ids(backend):
            evict(backend, gone)
        kept = put_run(backend)
        backend.close()
    shutil.rmtree(cache)
    backend = opened()
    assert kept in ids(backend)
    assert gone not in ids(backend)


def test_an_index_that_was_away_meanwhile_shows_what_came_again(opened, cache):
    backend = opened()
    first = backend.put(project())
    head = backend.put(edited(first, title="second"))
    assert ids(backend, "project") == {head.id}
    backend.close()
    shutil.move(cache, f"{cache}-old")
    backend = opened()
    evict(backend, head.id, "project")
    backend.put(first, if_match=ABSENT)
    backend.close()
    shutil.rmtree(cache, ignore_errors=True)
    shutil.move(f"{cache}-old", cache)
    (found,) = opened().query("project", Query()).records
    assert (found.etag, found.content) == (first.etag, first.content)


def test_an_eviction_that_was_acknowledged_is_finished_by_the_next_opening(opened, folder):
    backend = opened()
    id = put_whole(backend)
    backend.close()
    child = multiprocessing.get_context("fork").Process(target=evict_and_die, args=(opened, id))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert len(segments(folder, id)) == 1
    assert_gone(opened(readonly=True), id)
    opened().close()
    assert segments(folder, id) == []
    assert_gone(opened(), id)


def evict_and_die(opened, id):
    evict(opened(), id)
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_an_interrupted_eviction_left_counts_no_more():
    backend = ByteStoreBackend(MemoryStore("memory://"))
    id = put_whole(backend)
    store = backend.store
    left = [(entry.key, store.read(entry.key).data) for entry in store.list("runs/") if layout.parse_segment(entry.key)]
    head = backend.get("run", id)
    evict(backend, id)
    for key, data in left:
        store.write(key, data)
    assert_gone(backend, id)
    backend.put(head)
    assert values(backend, id) == []
    evict(backend, id)
    assert not any(layout.parse_segment(entry.key) for entry in store.list("runs/"))
    backend.close()


def test_a_damaged_record_of_a_run_that_came_again_leaves_its_points_readable(opened, folder):
    backend = opened()
    id = put_whole(backend)
    head = backend.get("run", id)
    (part,) = backend.read_stream(id, "points")
    evict(backend, id)
    backend.put(head)
    backend.append_stream(id, part.writer, 0, part.columns)
    backend.close()
    (path,) = folder.glob(f"runs/*/*/{id}/run.json")
    path.write_text("damaged")
    assert len(values(opened(), id)) == 5


def test_the_index_takes_evictions_in_any_order():
    first = run()
    nine, two = ((summarise("loss", "a", range(n), range(n), [0.5] * n),) for n in (9, 2))
    history = [
        replace(first, version=1, summaries=nine),
        replace(ended(first), version=2, summaries=nine),
        vacancy(replace(first, version=2)),
        replace(first, version=4, evicted=3, summaries=two),
    ]
    for order in itertools.permutations(history):
        index = Index(None)
        for record in order:
            index.put([record])
        (found,) = index.query("run", Query()).records
        assert (found.version, found.summaries) == (4, two)
        index.put([vacancy(found)])
        index.put(order)
        assert (index.count("run", Query()), index.size(), index.changes(None, 10).entries) == (0, 0, ())
        index.close()
