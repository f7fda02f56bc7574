"""Listings: many records in one file, as change notes and as snapshots.

The first line is `{"check":"…","merges":[…]}`, where `check` is over all behind it and `merges` names the listings that
this one replaces. Each further line is a record's line, after the version of the file that it lies in and a tab.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from padre_core.errors import CorruptObjectError
from padre_core.objects import canonical
from padre_core.objects.record import Record, decode, encode


@dataclass(frozen=True, slots=True)
class Listing:
    """Records and the versions of their files, and which listings this one replaces."""

    entries: tuple[tuple[str, Record], ...]
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


def newest(entries: Iterable[tuple[str, Record]]) -> dict[tuple[str, str], tuple[str, Record]]:
    """The newest entry of each object."""
    found: dict[tuple[str, str], tuple[str, Record]] = {}
    for version, record in entries:
        ref = record.kind, record.id
        if ref not in found or found[ref][1].version <= record.version:
            found[ref] = version, record
    return found
