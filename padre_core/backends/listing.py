"""Listings: many records in one file, as change notes and as snapshots.

The first line is `{"check":"…","merges":[…]}`, where `check` is over all behind it and `merges` names the listings that
this one replaces. Each further line is a record's line, after the version of the file that it lies in and a tab.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from padre_core.backends import layout
from padre_core.backends.bytestore import ByteStore
from padre_core.errors import CorruptObjectError
from padre_core.objects import canonical
from padre_core.objects.record import Record, decode, encode

MERGE_NOTES = 40
SNAPSHOT_RECORDS = 1000

Entry = tuple[str, Record]
"""The version of a file, and a record in it."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Records and the versions of their files, and which listings this one replaces."""

    entries: tuple[Entry, ...]
    merges: tuple[str, ...] = ()


def encode_listing(listing: Listing) -> bytes:
    """The bytes of a listing."""
    lines = (b"%b\t%b\n" % (version.encode(), encode(record)) for version, record in listing.entries)
    rest = b'"merges":%b}\n%b' % (canonical.to_json(listing.merges), b"".join(lines))
    return b'{"check":"%b",%b' % (canonical.digest(rest)[:16].encode(), rest)


def decode_listing(key: str, data: bytes) -> Listing:
    """The listing of some bytes.

    Raises:
        CorruptObjectError: They are not what `encode_listing` wrote.
    """
    if data[:28] != b'{"check":"%b",' % canonical.digest(data[28:])[:16].encode():
        raise CorruptObjectError(f"{key} is damaged; it is only a listing: delete it and run `padre refresh`")
    head, *lines = data.split(b"\n")[:-1]
    merges = tuple(canonical.from_json(b"{" + head[28:])["merges"])
    entries = (line.partition(b"\t") for line in lines)
    return Listing(tuple((version.decode(), decode(line, key)) for version, _, line in entries), merges)


def notes_key(log: str) -> str:
    """The key of the change notes that a log leaves when it is folded."""
    return f"{layout.LOG}{log}.notes"


def write_notes(store: ByteStore, log: str, entries: Iterable[Entry]) -> None:
    """Leaves the change notes of a log that was folded."""
    store.write(notes_key(log), encode_listing(Listing(tuple(entries))))


def listing_keys(store: ByteStore) -> list[str]:
    """The keys of all listings, notes before snapshots."""
    notes = [entry.key for entry in store.list(layout.LOG) if entry.key.endswith(".notes")]
    return notes + [entry.key for entry in store.list(layout.SNAPSHOTS)]


def merge_notes(store: ByteStore, *, few: int | None = None) -> int:
    """Makes snapshots of the change notes once there are many, and of snapshots too; returns how many it replaced.

    The caller holds the lock for folding.

    Args:
        few: How many notes, or snapshots, make it worth while.
    """
    few = MERGE_NOTES if few is None else few
    keys = listing_keys(store)
    notes = [key for key in keys if key.startswith(layout.LOG)]
    if len(notes) < few:
        return 0
    candidates = notes if len(keys) - len(notes) < few else keys
    merged: list[str] = []
    entries: list[Entry] = []
    for key in candidates:
        with contextlib.suppress(CorruptObjectError):  # `verify` lists it
            entries += decode_listing(key, store.read(key).data).entries
            merged.append(key)
    heads = list(_newest(entries).values())
    for start in range(0, len(heads), SNAPSHOT_RECORDS):
        part = Listing(tuple(heads[start : start + SNAPSHOT_RECORDS]), tuple(merged))
        store.write(f"{layout.SNAPSHOTS}{secrets.token_hex(8)}", encode_listing(part))
    store.sync()
    for key in merged:
        store.delete(key)
    return len(merged)


def _newest(entries: Iterable[Entry]) -> dict[tuple[str, str], Entry]:
    """The newest entry of each object."""
    found: dict[tuple[str, str], tuple[str, Record]] = {}
    for version, record in entries:
        ref = record.kind, record.id
        if ref not in found or found[ref][1].version <= record.version:
            found[ref] = version, record
    return found
