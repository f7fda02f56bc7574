"""Reads and checks all that a byte store holds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from padre_core.backends import blobs, layout
from padre_core.backends.backend import Problem
from padre_core.backends.bytestore import ByteStore
from padre_core.backends.listing import CATALOG, NOTES, decode_listing
from padre_core.backends.tree import Tree, decode_part, joined, same_summaries, sound_size, summaries_with
from padre_core.errors import CorruptObjectError, InvalidObjectError, PadreError
from padre_core.objects.kinds import kind_of
from padre_core.objects.record import Record, check
from padre_core.objects.references import blob_digests


def verify(
    store: ByteStore, *, quarantine: bool, elsewhere: AbstractSet[str] = frozenset(),
    blobs_elsewhere: AbstractSet[str] = frozenset(),
) -> Iterator[Problem]:  # fmt: skip
    """Every problem of a store: damaged files, objects without parent, missing blobs, wrong summaries, strange files.

    Memory grows with the number of objects (about 200 bytes each), not with their size.

    Args:
        elsewhere: Ids of objects that are not in the tree yet.
        blobs_elsewhere: Digests of blobs that are not.
    """
    seen: set[str] = set(elsewhere)
    parents: dict[str, str | None] = {}
    wanted: dict[str, str] = {}
    runs: dict[str, Record] = {}
    streams: dict[str, set[int]] = {}
    for entry in store.list(""):
        if entry.key.startswith(layout.QUARANTINE) or (
            entry.key.startswith(layout.LOG) and not entry.key.endswith((NOTES, CATALOG))
        ):
            continue
        try:
            for record in _check(store, entry.key):
                where = f"{record.kind} {record.id}"
                if record.kind == "run":
                    runs[record.id] = record
                if record.vacant:
                    continue
                seen.add(record.id)
                parents[where] = record.parent
                wanted.update(dict.fromkeys(blob_digests(record), where))
            name = layout.parse_segment(entry.key)
            if name is not None:
                streams.setdefault(entry.key.rpartition("/")[0].rpartition("/")[2], set()).add(name.evicted)
        except CorruptObjectError as error:
            yield Problem("corrupt", entry.key, str(error), quarantined=quarantine and set_aside(store, entry.key))
        except _ForeignError:
            yield Problem("foreign", entry.key, f"{entry.key} is not of the layout; PaDRe leaves it alone")
    for key in store.strangers():
        yield Problem("foreign", key, f"{key} is a symlink, a device or the like; PaDRe neither reads nor follows it")
    for where, parent in parents.items():
        if parent is not None and parent not in seen:
            yield Problem("orphan", where, f"{where} belongs to {parent}, which is not here")
    present = set(blobs.list_blobs(store))
    for digest, where in wanted.items():
        if digest not in present and digest not in blobs_elsewhere:
            yield Problem("missing-blob", where, f"{where} refers to the blob {digest}, which is not here")
    for digest in sorted(present - wanted.keys()):
        yield Problem("unused-blob", layout.blob_key(digest), f"no object refers to the blob {digest}")
    yield from _check_runs(store, runs, streams, seen)


class _ForeignError(Exception):
    """A key that is not of the layout."""


def _check(store: ByteStore, key: str) -> list[Record]:
    """The records of a file, after its bytes were checked."""
    if key == layout.MARKER:
        try:
            layout.decode_marker(store.read(key).data, store.url)
        except InvalidObjectError as error:  # a store of a newer format would not have been opened
            raise CorruptObjectError(str(error)) from None
        return []
    if key.startswith(layout.BLOBS):
        _check_blob(store, key)
        return []
    if key.startswith((layout.SNAPSHOTS, layout.LOG)):
        decode_listing(key, store.read(key).data)
        return []
    segment = layout.parse_segment(key)
    if segment is not None:
        data = store.read(key).data
        size = sum(len(columns) for _, columns in decode_part(segment.stream, data, key))
        if not size or sound_size(segment.stream, data) != len(data):
            raise CorruptObjectError(f"{key} ends in the middle of an entry")
        return []
    if not layout.is_record_key(key) or not key.startswith(tuple(layout.record_prefixes())):
        raise _ForeignError
    records = layout.decode_records(key, store.read(key).data)
    for record in records:
        if record.vacant:
            continue
        try:
            check(record)
            kind_of(record.kind).from_content(record.content)
        except InvalidObjectError as error:
            raise CorruptObjectError(f"{key}: {error}") from None
    return records


def _check_blob(store: ByteStore, key: str) -> None:
    digest = key.rpartition("/")[2]
    if len(digest) != 64 or layout.blob_key(digest) != key:
        raise _ForeignError
    hashed = hashlib.sha256()
    with store.open_reader(key) as source:
        while chunk := source.read(blobs.CHUNK):
            hashed.update(chunk)
    if hashed.hexdigest() != digest:
        raise CorruptObjectError(f"the blob {digest} is damaged: its bytes have another digest")


def _check_runs(
    store: ByteStore, runs: dict[str, Record], streams: dict[str, set[int]], seen: set[str]
) -> Iterator[Problem]:
    """The problems of all streams; `streams` says after which evictions of a run there is something."""
    for run in sorted(runs.keys() | streams.keys()):
        record = runs.get(run)
        evicted = 0 if record is None else record.evicted  # what was there before counts no more
        if evicted in streams.get(run, ()) or (record is not None and record.summaries):
            head = None if record is None or record.vacant else record
            yield from _check_streams(store, run, head, evicted, known=run in seen)


def _check_streams(
    store: ByteStore, run: str, record: Record | None, evicted: int, *, known: bool
) -> Iterator[Problem]:
    tree = Tree(store)
    where = f"run {run}"
    if not known:
        yield Problem("orphan", where, f"there are points or lines of the {where}, which is not here")
    try:
        segments = list(joined(tree.parts(run, "points", evicted)))
        texts = list(joined(tree.parts(run, "lines", evicted)))
    except PadreError:
        return  # the damaged file was reported by itself
    for stream in (segments, texts):
        ends: dict[str, int] = {}
        for segment in stream:
            if segment.first != ends.get(segment.writer, 0):
                yield Problem("gap", where, f"{where}: entries of writer {segment.writer} are missing")
            ends[segment.writer] = segment.first + len(segment.columns)
    if record is not None and not same_summaries(summaries_with((), segments), record.summaries):
        yield Problem("summary", where, f"{where}: the summary does not fit its points: points are missing or too many")


def set_aside(store: ByteStore, key: str) -> bool:
    """Moves a damaged file out of the way, to `quarantine/`, and returns True."""
    store.write(layout.QUARANTINE + key, store.read(key).data)
    store.delete(key)
    return True
