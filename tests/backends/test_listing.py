"""Listings: notes, snapshots, catalogs, and how they are merged while others read."""

from contextlib import closing

import pytest

from padre_core.backends import layout, listing
from padre_core.backends.index import Index
from padre_core.backends.listing import (
    MERGE_NOTES,
    Listing,
    decode_listing,
    encode_listing,
    leftover_snapshots,
    listing_keys,
    merge_notes,
    write_notes,
)
from padre_core.backends.memory import MemoryStore
from padre_core.backends.taking import take_listings
from padre_core.errors import CorruptObjectError
from padre_core.testing import samples


@pytest.fixture
def store():
    return MemoryStore("memory://")


@pytest.fixture
def index():
    with closing(Index(None)) as index:
        yield index


def leave(store, name, *records):
    write_notes(store, name, [(f"v-{name}", record) for record in records])
    return records


def ids(index):
    return {id for _, id, _ in index.stamps()}


def taken(store):
    with closing(Index(None)) as index:
        assert take_listings(store, index)
        return ids(index)


def runs(count):
    return [samples.run() for _ in range(count)]


def test_notes_are_merged_once_there_are_many(store):
    made = runs(MERGE_NOTES)
    for number, run in enumerate(made[:-1]):
        leave(store, f"{number:016x}-000001", run)
    assert merge_notes(store) == 0
    leave(store, f"{MERGE_NOTES:016x}-000001", made[-1])
    assert merge_notes(store) == MERGE_NOTES
    assert len(listing_keys(store.list("log/"))) == 1
    assert taken(store) == {run.id for run in made}


def test_full_snapshots_are_left_alone_and_the_last_one_grows(store, monkeypatch):
    monkeypatch.setattr(listing, "SNAPSHOT_OBJECTS", 10)
    made = []
    for number in range(15):
        made += leave(store, f"{number:016x}-000001", *runs(3))
        merge_notes(store, few=1)
        assert len(list(store.list(layout.SNAPSHOTS))) <= 1.5 * len(made) / 10 + 1
        assert taken(store) == {run.id for run in made}


def test_a_snapshot_is_compressed(store):
    made = runs(100)
    leave(store, "a" * 16 + "-000001", *made)
    size = len(encode_listing(Listing(tuple(("v", run) for run in made))))
    merge_notes(store, few=1)
    (snapshot,) = store.list(layout.SNAPSHOTS)
    assert snapshot.size < size / 3


def test_a_damaged_snapshot_is_told(store):
    leave(store, "a" * 16 + "-000001", *runs(3))
    merge_notes(store, few=1)
    (snapshot,) = store.list(layout.SNAPSHOTS)
    data = store.read(snapshot.key).data
    for spoilt in (data[:-9], data[:-1] + b"x", data[:2], b"{}"):
        with pytest.raises(CorruptObjectError):
            decode_listing(snapshot.key, spoilt)


def test_a_merge_that_dies_at_any_point_loses_nothing(store, monkeypatch):
    made = []
    for number in range(3):
        made += leave(store, f"{number:016x}-000001", *runs(2))
    merge_notes(store, few=1)
    made += leave(store, "f" * 16 + "-000001", *runs(2))

    class DiedError(Exception):
        pass

    left = 0

    def dying(call):
        def maybe(*arguments, **named):
            nonlocal left
            if left == 0:
                raise DiedError
            left -= 1
            return call(*arguments, **named)

        return maybe

    for steps in range(20):
        left = steps
        with monkeypatch.context() as patch:
            patch.setattr(store, "write", dying(store.write))
            patch.setattr(store, "delete", dying(store.delete))
            try:
                merge_notes(store, few=1)
            except DiedError:
                assert taken(store) == {run.id for run in made}
                continue
        break
    assert steps > 4
    assert taken(store) == {run.id for run in made}


def test_of_two_that_merge_at_once_neither_loses_what_the_other_did(store, monkeypatch):
    made = []
    for number in range(3):
        made += leave(store, f"{number:016x}-000001", *runs(2))
    merge_notes(store, few=1)
    made += leave(store, "f" * 16 + "-000001", *runs(2))
    write, inside = store.write, []

    def other_first(key, data, **named):
        if key.endswith(".catalog") and not inside:
            inside.append(key)
            merge_notes(store, few=1)
            made.extend(leave(store, "e" * 16 + "-000001", *runs(1)))
        return write(key, data, **named)

    monkeypatch.setattr(store, "write", other_first)
    merge_notes(store, few=1)
    assert inside
    assert taken(store) == {run.id for run in made}
    merge_notes(store, few=1)
    assert taken(store) == {run.id for run in made}
    assert len(listing_keys(store.list("log/"))) == 1


def test_an_index_that_missed_several_merges_goes_on_from_where_it_was(store, index):
    made = [*leave(store, "0" * 16 + "-000001", *runs(2))]
    take_listings(store, index)
    before = index.id
    for number in range(1, 4):
        made += leave(store, f"{number:016x}-000001", *runs(2))
        merge_notes(store, few=1)
    take_listings(store, index)
    for number in range(4, 8):
        made += leave(store, f"{number:016x}-000001", *runs(2))
        merge_notes(store, few=1)
    assert take_listings(store, index)
    assert index.id == before
    assert ids(index) == {run.id for run in made}


def test_an_index_of_a_store_that_an_older_copy_replaced_begins_anew(store, index):
    old = leave(store, "0" * 16 + "-000001", *runs(2))
    merge_notes(store, few=1)
    copy = [(entry.key, store.read(entry.key).data) for entry in store.list("")]
    leave(store, "1" * 16 + "-000001", *runs(2))
    merge_notes(store, few=1)
    take_listings(store, index)
    for entry in list(store.list("")):
        store.delete(entry.key)
    for key, data in copy:
        store.write(key, data)
    take_listings(store, index)
    assert ids(index) == {run.id for run in old}


def test_a_snapshot_that_is_gone_for_good_is_not_waited_for(store, index):
    leave(store, "0" * 16 + "-000001", *runs(2))
    merge_notes(store, few=1)
    (snapshot,) = store.list(layout.SNAPSHOTS)
    store.delete(snapshot.key)
    assert not take_listings(store, index)


def test_a_merge_replaces_a_catalog_that_names_what_is_gone(store, monkeypatch):
    monkeypatch.setattr(listing, "SNAPSHOT_OBJECTS", 2)
    leave(store, "0" * 16 + "-000001", *runs(2))
    merge_notes(store, few=1)
    (snapshot,) = store.list(layout.SNAPSHOTS)
    store.delete(snapshot.key)
    made = leave(store, "1" * 16 + "-000001", *runs(1))
    merge_notes(store, few=1)
    assert taken(store) == {run.id for run in made}


def test_what_a_killed_merge_left_over_is_known(store):
    leave(store, "0" * 16 + "-000001", *runs(2))
    store.write("snapshots/0123456789abcdef", encode_listing(Listing(())))
    assert leftover_snapshots(store) == set()  # it may be older than catalogs
    merge_notes(store, few=1)
    assert leftover_snapshots(store) == set()
    store.write("snapshots/fedcba9876543210", encode_listing(Listing(())))
    assert leftover_snapshots(store) == {"snapshots/fedcba9876543210"}


def test_snapshots_from_before_there_were_catalogs_count(store):
    made = runs(3)
    store.write("snapshots/0123456789abcdef", encode_listing(Listing(tuple(("v", run) for run in made))))
    assert taken(store) == {run.id for run in made}
    made += leave(store, "0" * 16 + "-000001", *runs(2))
    merge_notes(store, few=1)
    assert taken(store) == {run.id for run in made}
