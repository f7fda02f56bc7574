"""Listings: many records in one file, so that an index need not read every object.

There are three kinds, of one format. Change notes (`log/<name>.notes`) are left by whoever wrote records. Snapshots
(`snapshots/<name>`) are many notes made one, each with up to a thousand objects, compressed. A catalog
(`log/<name>.catalog`) holds no records but names the snapshots that count: so one listing of `log/` tells all.

The first line is `{"check":"…","merges":[…]}`, where `check` is over all behind it and `merges` names the listings that
this one replaces; a catalog's has `snapshots` too. Each further line is a record's line, after the version of the file
that it lies in and a tab.

All of it may be read while others write: a listing never changes, and goes only when another that holds the same is
there. Two processes may merge at once. Then two catalogs name the same records twice, until the next merge.
"""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from padre_core.backends import layout
from padre_core.backends.bytestore import ByteStore
from padre_core.backends.bytestore import Entry as KeyEntry
from padre_core.errors import CorruptObjectError
from padre_core.objects import canonical
from padre_core.objects.identity import run_of
from padre_core.objects.record import Record, decode, encode, united

NOTES = ".notes"
CATALOG = ".catalog"

MERGE_NOTES = 24
SNAPSHOT_OBJECTS = 1000
SNAPSHOT_BYTES = 16 * 1024 * 1024

_MAX_BYTES = 1024 * 1024 * 1024
"""More than this is no listing, whatever it says when it is decompressed."""

_HISTORY = 1000
"""How many of the catalogs and snapshots that it replaced a catalog remembers."""

_REPACK = 1.5
"""By how much the full snapshots may grow in number before they are read again, for what is stale in them."""

_GZIP = b"\x1f\x8b"

Entry = tuple[str, Record]
"""The version of a file, and a record in it."""


class Catalog(NamedTuple):
    """Which snapshots count.

    Attributes:
        snapshots: Their keys, and whether each is full: such a one is left alone by most merges.
        packed: How many full ones there were when all were last read.
    """

    snapshots: Mapping[str, bool]
    packed: int = 0


class Listing(NamedTuple):
    """Records and the versions of their files, which listings this one replaces, and the catalog if it is one."""

    entries: tuple[Entry, ...]
    merges: tuple[str, ...] = ()
    catalog: Catalog | None = None


def encode_listing(listing: Listing) -> bytes:
    """The bytes of a listing."""
    lines = (b"%b\t%b\n" % (version.encode(), encode(record)) for version, record in listing.entries)
    head: dict[str, object] = {"merges": listing.merges}
    if listing.catalog is not None:
        head |= {"packed": listing.catalog.packed, "snapshots": listing.catalog.snapshots}
    rest = b"%b\n%b" % (canonical.to_json(head)[1:], b"".join(lines))
    return b'{"check":"%b",%b' % (canonical.digest(rest)[:16].encode(), rest)


def decode_listing(key: str, data: bytes) -> Listing:
    """The listing of some bytes.

    Raises:
        CorruptObjectError: They are not what `encode_listing` wrote.
    """
    if data[:2] == _GZIP:
        data = _decompressed(data)
    if data[:28] != b'{"check":"%b",' % canonical.digest(data[28:])[:16].encode():
        raise CorruptObjectError(f"{key} is damaged; it is only a listing: delete it and run `padre refresh`")
    line, *lines = data.split(b"\n")[:-1]
    head = canonical.from_json(b"{" + line[28:])
    entries = (line.partition(b"\t") for line in lines)
    return Listing(
        tuple((version.decode(), decode(line, key)) for version, _, line in entries),
        tuple(head["merges"]),
        Catalog(head["snapshots"], head["packed"]) if "snapshots" in head else None,
    )


def _compressed(data: bytes) -> bytes:
    packer = zlib.compressobj(level=6, wbits=31)
    return packer.compress(data) + packer.flush()


def _decompressed(data: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        whole = unpacker.decompress(data, _MAX_BYTES)
    except zlib.error:
        return b""
    return whole if unpacker.eof else b""


def notes_key(name: str) -> str:
    """The key of change notes by their name: that of the log that was folded, or one that is like it."""
    return f"{layout.LOG}{name}{NOTES}"


def write_notes(store: ByteStore, name: str, entries: Iterable[Entry], merges: tuple[str, ...] = ()) -> Listing:
    """Leaves change notes."""
    notes = Listing(tuple(entries), merges)
    store.write(notes_key(name), encode_listing(notes))
    return notes


def listing_keys(entries: Iterable[KeyEntry]) -> list[str]:
    """The keys of the notes and catalogs among what lies in `log/`."""
    return [entry.key for entry in entries if entry.key.endswith((NOTES, CATALOG))]


def read_listings(store: ByteStore, keys: Iterable[str]) -> Iterator[tuple[str, Listing | CorruptObjectError | None]]:
    """Listings by their keys; None for what is not there any more."""
    keys = list(keys)
    for key, item in zip(keys, store.read_many(keys), strict=True):
        try:
            yield key, None if item is None else decode_listing(key, item.data)
        except CorruptObjectError as error:
            yield key, error


def current_snapshots(catalogs: Iterable[Listing]) -> dict[str, bool]:
    """The snapshots that count by all catalogs together, and whether each is full."""
    snapshots: dict[str, bool] = {}
    replaced: set[str] = set()
    for listing in catalogs:
        if listing.catalog is not None:
            snapshots |= listing.catalog.snapshots
            replaced.update(listing.merges)
    return {key: full for key, full in snapshots.items() if key not in replaced}


def merge_notes(store: ByteStore, *, few: int | None = None) -> int:
    """Makes snapshots of the change notes once there are many; returns how many listings it replaced.

    Args:
        few: Up to one less than so many notes stay as they are; by default `MERGE_NOTES`.
    """
    keys = listing_keys(store.list(layout.LOG))
    if sum(key.endswith(NOTES) for key in keys) < (MERGE_NOTES if few is None else few):
        return 0
    # One that is damaged stays: `verify` names it.
    listings = {key: listing for key, listing in read_listings(store, keys) if isinstance(listing, Listing)}
    catalogs = {key: listing for key, listing in listings.items() if listing.catalog is not None}
    present = {entry.key for entry in store.list(layout.SNAPSHOTS)}
    # Without any catalog this is the first merge, or the snapshots are older than catalogs.
    snapshots = current_snapshots(catalogs.values()) if catalogs else dict.fromkeys(present, False)
    packed = max([listing.catalog.packed for listing in catalogs.values() if listing.catalog], default=0)
    kept = {key: True for key, full in snapshots.items() if full and key in present}
    if len(kept) > 4 and len(kept) >= _REPACK * packed:
        kept = {}
    entries = [entry for listing in listings.values() for entry in listing.entries]
    melted: list[str] = []
    for key, listing in read_listings(store, [key for key in snapshots if key not in kept]):
        if isinstance(listing, Listing):
            entries += listing.entries
            melted.append(key)
    written = _write_snapshots(store, entries)
    if not kept:
        packed = sum(written.values())
    history = [key for listing in catalogs.values() for key in listing.merges if not key.endswith(NOTES)]
    merges = (*listings, *melted, *history[:_HISTORY])
    store.sync()
    catalog = Listing((), merges, Catalog(kept | written, packed))
    store.write(f"{layout.LOG}{secrets.token_hex(8)}{CATALOG}", encode_listing(catalog))
    store.sync()
    replaced = [*listings, *melted]
    store.delete_many(replaced)
    return len(replaced)


def leftover_snapshots(store: ByteStore) -> set[str]:
    """Snapshots that no catalog names: of a merge that was killed, or of one that is under way."""
    present = {entry.key for entry in store.list(layout.SNAPSHOTS)}
    keys = [key for key in listing_keys(store.list(layout.LOG)) if key.endswith(CATALOG)]
    catalogs = [listing for _, listing in read_listings(store, keys)]
    if not catalogs or not all(isinstance(listing, Listing) for listing in catalogs):
        return set()  # nobody knows
    return present - current_snapshots(listing for listing in catalogs if isinstance(listing, Listing)).keys()


def _write_snapshots(store: ByteStore, entries: Iterable[Entry]) -> dict[str, bool]:
    """Writes the newest of some entries as snapshots; returns their keys, and whether each is full."""
    written: dict[str, bool] = {}
    for part, full in _parts(newest(entries)):
        key = f"{layout.SNAPSHOTS}{secrets.token_hex(8)}"
        store.write(key, _compressed(encode_listing(Listing(tuple(part)))))
        written[key] = full
    return written


def _parts(entries: Iterable[Entry]) -> Iterator[tuple[list[Entry], bool]]:
    """Entries in parts for a snapshot each, and whether it is full; what lives in a run counts as one with it."""
    part: list[Entry] = []
    owners: set[str] = set()
    size = 0
    for entry in sorted(entries, key=lambda entry: entry[1].id):
        record = entry[1]
        owner = run_of(record.id) or record.id
        if owner not in owners and (len(owners) >= SNAPSHOT_OBJECTS or size >= SNAPSHOT_BYTES):
            yield part, True
            part, owners, size = [], set(), 0
        part.append(entry)
        owners.add(owner)
        size += len(record.content)
    if part:
        yield part, len(owners) >= SNAPSHOT_OBJECTS


def newest(entries: Iterable[Entry]) -> list[Entry]:
    """The newest entry of each object, with the summaries that go furthest."""
    found: dict[tuple[str, str], Entry] = {}
    for version, record in entries:
        ref = record.kind, record.id
        known = found.get(ref)
        if known is None:
            found[ref] = version, record
        else:
            found[ref] = version if record.version >= known[1].version else known[0], united(known[1], record)
    return list(found.values())
