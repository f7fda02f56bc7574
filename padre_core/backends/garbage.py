"""Removing what no object needs: blobs that none names, points and lines of runs that are not there.

A writer stores bytes first and the record that names them after, and one that died between the two leaves the bytes.
So only what was last written longer ago than a time of grace is removed. Who finds bytes there already that it is about
to name renews them when they are old (`ByteStore.renew`), and so nobody takes them away under its hands.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator

from padre_core.backends import layout
from padre_core.backends.bytestore import ByteStore, Entry, Progress
from padre_core.backends.index import Index
from padre_core.errors import CorruptObjectError
from padre_core.objects.record import Record
from padre_core.objects.references import blob_digests

_TOGETHER = 100
"""How many keys are looked at once more before they are removed."""

_BLOBS, _STREAMS = "unused blobs removed", "orphan points and lines removed"


def collect(store: ByteStore, index: Index, grace: float, progress: Progress, *, dry_run: bool) -> dict[str, int]:
    """Removes garbage that is older than some seconds, and returns how many keys and bytes of each sort.

    Args:
        index: Up to date; what it does not know is read.
        dry_run: Remove nothing, only count.

    Raises:
        CorruptObjectError: A file of records is damaged or was set aside: what it names nobody knows, so all stays.
    """
    progress("looking for what is old", 0, 0)
    old = list(_old(store, time.time() - grace))
    if not old:
        return {}
    progress("looking for what is needed", 0, 0)
    needed = _Needed(store, index)
    garbage = {
        _BLOBS: [entry for entry in old if entry.key.startswith(layout.BLOBS) and not needed.blob(entry.key)],
        _STREAMS: [entry for entry in old if entry.key.startswith(layout.RUNS) and not needed.segment(entry.key)],
    }
    done: dict[str, int] = {}
    for name, entries in garbage.items():
        removed = entries if dry_run else list(_remove(store, entries, progress))
        if removed:
            done |= {name: len(removed), name.replace("removed", "bytes"): sum(entry.size for entry in removed)}
    return {name.replace("removed", "that would be removed"): n for name, n in done.items()} if dry_run else done


def _old(store: ByteStore, before: float) -> Iterator[Entry]:
    """Blobs and parts of streams that were last written before a time."""
    for prefix in (layout.BLOBS, layout.RUNS):
        for entry in store.list(prefix):
            if entry.at is not None and entry.at < before and _is_bytes(entry.key):
                yield entry


def _is_bytes(key: str) -> bool:
    digest = key.rpartition("/")[2]
    if key.startswith(layout.BLOBS):
        return len(digest) == 64 and key == f"{layout.BLOBS}{digest[-2:]}/{digest}"
    return layout.parse_segment(key) is not None


class _Needed:
    """What the records of a store need, those included that came since the index was brought up to date."""

    def __init__(self, store: ByteStore, index: Index) -> None:
        for entry in store.list(layout.QUARANTINE):
            raise CorruptObjectError(f"{store.url}: {entry.key} was set aside: mend or remove it before garbage is")
        self._digests: set[str] = set()
        self._runs: dict[str, int] = {}
        self._take(index.records())
        known = {layout.record_key(kind, id): stamp for kind, id, stamp in index.stamps()}
        keys = [
            entry.key
            for prefix in layout.record_prefixes()
            for entry in store.list(prefix)
            if layout.is_record_key(entry.key) and known.get(entry.key) != entry.version
        ]
        for key, item in zip(keys, store.read_many(keys), strict=True):
            if item is not None:
                self._take(layout.decode_records(key, item.data))

    def _take(self, records: Iterable[Record]) -> None:
        for record in records:
            if record.vacant:
                continue
            self._digests.update(blob_digests(record))
            if record.kind == "run":
                self._runs[record.id] = min(record.evicted, self._runs.get(record.id, record.evicted))

    def blob(self, key: str) -> bool:
        """Whether a blob is named."""
        return key.rpartition("/")[2] in self._digests

    def segment(self, key: str) -> bool:
        """Whether a part of a stream is of a run that is there, and counts since its last eviction."""
        name = layout.parse_segment(key)
        evicted = self._runs.get(key.split("/")[-2])
        return name is not None and evicted is not None and name.evicted >= evicted


def _remove(store: ByteStore, entries: Iterable[Entry], progress: Progress) -> Iterator[Entry]:
    """Removes keys that are still as they were listed, and gives those that it removed."""
    todo = iter(entries)
    count = 0
    while some := list(itertools.islice(todo, _TOGETHER)):
        yield from store.delete_unchanged(some)
        progress("removing", count := count + len(some), 0)
