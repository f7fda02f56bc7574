"""Carrying between two backends: records by compare-and-swap, missing blobs, and what a stream has more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, cast

from padre_core.backends.backend import Backend, Write
from padre_core.backends.blobs import verified
from padre_core.backends.bytestore import ABSENT
from padre_core.errors import InvalidObjectError, NotFoundError, PadreError
from padre_core.objects.kinds import kind_of
from padre_core.objects.record import Record
from padre_core.objects.references import blob_digests
from padre_core.streams.columns import Stream

STREAMS: tuple[Stream, ...] = ("points", "lines")
Ends = Mapping[Stream, Mapping[str, int]]

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

    def records(self, moves: Sequence[tuple[Record, Record | None]]) -> list[PadreError | None]:
        """Stores versions, each over the one that was seen in the target; what fails stands as its error."""
        failures = [_malformed(record) for record, _ in moves]
        sound = [move for move, failure in zip(moves, failures, strict=True) if failure is None]
        self.blobs(record for record, _ in sound)
        results = iter(self.target.put_many([Write(record, seen.etag if seen else ABSENT) for record, seen in sound]))
        for place, failure in enumerate(failures):
            if failure is None:
                result = next(results)
                failures[place] = result if isinstance(result, PadreError) else None
        self.tally.add(objects=failures.count(None))
        return failures

    def blobs(self, records: Iterable[Record]) -> None:
        """Brings the blobs that the records name and the target does not have; what the source lacks stays behind."""
        wanted = {digest for record in records for digest in blob_digests(record)}
        if not wanted:
            return
        for digest in sorted(wanted - self.target.has_blobs(wanted)):
            try:
                opened = self.source.open_blob(digest)
            except NotFoundError:
                continue
            with verified(cast("BinaryIO", _Counted(opened, self.tally)), digest) as file:
                self.target.write_blob(file)
            self.tally.add(blobs=1)

    def streams(self, run: str, ends: Ends | None, known: Ends) -> None:
        """Adds to each stream of a run what the target lacks of each writer.

        Args:
            ends: Where the streams of the source end; None if only reading them tells.
            known: Where those of the target do.
        """
        for stream in STREAMS:
            begins = known[stream]
            if ends is not None and all(begins.get(writer, 0) >= end for writer, end in ends[stream].items()):
                continue
            for part in self.source.read_stream(run, stream):
                skip = max(0, begins.get(part.writer, 0) - part.first)
                if skip < len(part.columns):
                    rest = part.columns.skip(skip) if skip else part.columns
                    self.target.append_stream(run, part.writer, part.first + skip, rest)
                    self.tally.add(**{stream: len(rest)})


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


def _malformed(record: Record) -> PadreError | None:
    """Why a record is no object; a side may hold, and send, anything."""
    try:
        kind_of(record.kind).from_content(record.content)
    except InvalidObjectError as error:
        return error
    return None
