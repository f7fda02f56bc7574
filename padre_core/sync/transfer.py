"""Carrying between two backends: records by compare-and-swap, missing blobs, and what a stream has more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, TypeVar, cast

from padre_core.backends.backend import Backend, Write
from padre_core.backends.blobs import verified
from padre_core.errors import InvalidObjectError, NotFoundError, PadreError
from padre_core.objects.kinds import kind_of
from padre_core.objects.record import Record
from padre_core.objects.references import blob_digests
from padre_core.streams.columns import STREAMS, Stream

Ends = Mapping[Stream, Mapping[str, int]]
_Item = TypeVar("_Item")

NOTHING: Ends = {stream: {} for stream in STREAMS}

BLOB_BYTES = 8 * 1024 * 1024
"""About how much of small blobs is in memory at a time."""

STREAM_ENTRIES = 100_000
"""About how many points or lines are."""

Progress = Callable[["Tally"], object]
"""Called, from any thread, each time something has arrived."""


@dataclass
class Tally:
    """What has travelled so far, in both directions; safe for threads.

    Attributes:
        total: How many objects are looked at; grows while they are found.
        done: How many of them are finished.
        objects: Versions that a side did not have.
        bytes: Of blobs.
    """

    total: int = 0
    done: int = 0
    objects: int = 0
    blobs: int = 0
    bytes: int = 0
    points: int = 0
    lines: int = 0
    tell: Progress | None = field(default=None, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, **counts: int) -> None:
        """Counts something and tells who wants to know."""
        with self._lock:
            for name, count in counts.items():
                setattr(self, name, getattr(self, name) + count)
        if self.tell is not None:
            self.tell(self)


class Carrier:
    """One direction between two backends. All that it does may be repeated, and goes on where it was interrupted."""

    def __init__(self, source: Backend, target: Backend, tally: Tally) -> None:
        self.source, self.target, self.tally = source, target, tally

    def records(self, writes: Sequence[Write]) -> list[Record | PadreError]:
        """Stores versions, each over the one that was seen in the target; what fails stands as its error."""
        failures = [_malformed(write.record) for write in writes]
        sound = [write for write, failure in zip(writes, failures, strict=True) if failure is None]
        self.blobs(write.record for write in sound)
        stored = self.target.put_many(sound)
        self.tally.add(objects=sum(isinstance(result, Record) for result in stored))
        remaining = iter(stored)
        return [failure or next(remaining) for failure in failures]

    def blobs(self, records: Iterable[Record]) -> None:
        """Brings the blobs that the records name and the target does not have; what the source lacks stays behind."""
        wanted = {digest for record in records for digest in blob_digests(record)}
        missing = sorted(wanted - self.target.has_blobs(wanted)) if wanted else []
        small = self._small_blobs(missing)
        for digest in missing:
            if digest in small:
                continue
            try:
                opened = self.source.open_blob(digest)
            except NotFoundError:
                continue
            with verified(cast("BinaryIO", _Counted(opened, self.tally)), digest) as file:
                self.target.write_blob(file)
            self.tally.add(blobs=1)

    def _small_blobs(self, missing: Sequence[str]) -> set[str]:
        """Brings the small ones of some blobs, many at a time; returns which these were."""
        brought: set[str] = set()
        for group in _groups(self.source.read_blobs(missing, check=False), lambda found: len(found[1]), BLOB_BYTES):
            digests, blobs = zip(*group, strict=True)
            try:
                self.target.write_blobs(blobs, digests=digests)
            except InvalidObjectError:  # one is damaged in the source, or on its way: each by itself tells which
                continue
            self.tally.add(blobs=len(group), bytes=sum(map(len, blobs)))
            brought.update(digests)
        return brought

    def streams(self, ends: Mapping[str, Ends | None], known: Mapping[str, Ends]) -> None:
        """Adds to each stream of some runs what the target lacks of each writer.

        Args:
            ends: For each run, where its streams end in the source; None if only reading them tells.
            known: For each run that the target may have something of, where its streams end there.
        """
        for stream in STREAMS:
            begins = {
                run: known.get(run, NOTHING)[stream]
                for run, end in ends.items()
                if end is None or not _reaches(known.get(run, NOTHING)[stream], end[stream])
            }
            parts = self.source.read_streams(stream, begins) if begins else iter(())
            for group in _groups(parts, lambda found: len(found[1].columns), STREAM_ENTRIES):
                self.target.append_streams(group)
                self.tally.add(**{stream: sum(len(part.columns) for _, part in group)})


class _Counted:
    """A blob that tells how much of it was read."""

    def __init__(self, source: BinaryIO, tally: Tally) -> None:
        self._source, self._tally = source, tally

    def readinto(self, buffer: bytearray | memoryview) -> int:
        count: int = self._source.readinto(buffer)  # type: ignore[attr-defined]  # every binary file has it
        self._tally.add(bytes=count)
        return count

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        self._source.close()


def _reaches(begins: Mapping[str, int], ends: Mapping[str, int]) -> bool:
    """Whether a side has all that the other has of a stream."""
    return all(begins.get(writer, 0) >= end for writer, end in ends.items())


def _groups(items: Iterable[_Item], size: Callable[[_Item], int], most: int) -> Iterator[list[_Item]]:
    """Items in lists that end with the one that makes them as large as may be."""
    group: list[_Item] = []
    held = 0
    for item in items:
        group.append(item)
        held += size(item)
        if held >= most:
            yield group
            group, held = [], 0
    if group:
        yield group


def _malformed(record: Record) -> PadreError | None:
    """Why a record is no object; a side may hold, and send, anything."""
    try:
        kind_of(record.kind).from_content(record.content)
    except InvalidObjectError as error:
        return error
    return None
