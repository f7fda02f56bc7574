"""Copying between any two stores, with proof that both say the same."""

from __future__ import annotations

import array
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from padre_core import query
from padre_core.backends.backend import Backend, Segment, Write
from padre_core.backends.blobs import verified
from padre_core.backends.bytestore import Progress
from padre_core.errors import BackendError, PadreError
from padre_core.objects import canonical
from padre_core.objects.record import Record
from padre_core.objects.references import Ref, blob_digests, linked_refs
from padre_core.streams.columns import STREAMS, Lines, Points
from padre_core.sync.changes import news

if TYPE_CHECKING:
    from padre_core.query.model import Expression

BATCH = 500
CHUNK = 1024 * 1024

Readable = Callable[[Record], bool]


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What a copy brought over, and found equal on both sides afterwards.

    Attributes:
        objects: With deleted ones.
        newer: Objects of which the target had a newer version, or keeps both.
        bytes: Of the blobs that the target did not have.
    """

    objects: int
    newer: int
    points: int
    lines: int
    blobs: int
    bytes: int


def copy(
    source: Backend,
    target: Backend,
    *,
    where: Expression | None = None,
    within: str | None = None,
    readable: Readable | None = None,
    progress: Progress | None = None,
) -> CopyReport:
    """Copies objects with ids, times, lineages and deletions, their streams and blobs; repeating it changes nothing.

    Args:
        where: Only runs that this filter finds, and what lies in them.
        within: Only what lies below the object of this id, that object, and what they refer to.
        readable: Tells what the user may read; what lies below anything else is left out as well.
        progress: Is told of `objects`, `blobs`, `streams` and the `proof`.

    Raises:
        BackendError: Afterwards the two stores do not say the same.
    """
    tell = progress or _silent
    with target.batch(f"Copy from {source.info().url}"):
        return _Copy(source, target, tell).run(where, within, readable)


class _Copy:
    def __init__(self, source: Backend, target: Backend, tell: Progress) -> None:
        self.source, self.target, self.tell = source, target, tell
        self.sent: dict[Ref, tuple[object, ...]] = {}
        self.ends: dict[tuple[str, str], dict[str, int]] = {}

    def run(self, where: Expression | None, within: str | None, readable: Readable | None) -> CopyReport:
        refs = list(news(self.source, None).etags)
        if where is None and within is None and readable is None:
            digests = set(self.source.blobs())
        else:
            chosen = self.select(list(_records(self.source, refs)), where, within, readable)
            refs = [ref for ref in refs if ref in chosen]
            digests = self.source.has_blobs({digest for record in chosen.values() for digest in blob_digests(record)})
        blobs = self.blobs(sorted(digests))
        self.objects(refs)
        runs = [id for kind, id in refs if kind == "run"]
        points, lines = self.streams(runs)
        newer = self.prove(runs)
        return CopyReport(len(self.sent), newer, points, lines, len(blobs), sum(blobs.values()))

    def select(
        self, records: list[Record], where: Expression | None, within: str | None, readable: Readable | None
    ) -> dict[Ref, Record]:
        """What is asked for, with what it lies in and refers to."""
        left_out = {
            record.id
            for record in records
            if (readable is not None and not readable(record))
            or (record.kind == "run" and where is not None and not query.matches(where, query.values_of(record)))
        }
        offered = {record.id: record for record in records if left_out.isdisjoint((record.id, *record.ancestors))}
        waiting = [record for record in offered.values() if within is None or within in (record.id, *record.ancestors)]
        chosen: dict[Ref, Record] = {}
        while waiting:
            record = waiting.pop()
            chosen[record.kind, record.id] = record
            linked = (offered[id] for id in _referred(record) if id in offered)
            waiting += [other for other in linked if (other.kind, other.id) not in chosen]
        return chosen

    def blobs(self, digests: list[str]) -> Mapping[str, int]:
        """Copies the blobs that the target does not have, and returns their sizes."""
        sizes: dict[str, int] = {}
        known = self.target.has_blobs(digests)
        for done, digest in enumerate(digests, start=1):
            if digest not in known:
                with verified(self.source.open_blob(digest), digest) as file:
                    sizes[digest] = self.target.write_blob(file).size
                with verified(self.target.open_blob(digest), digest) as file:
                    _read_through(file)
            self.tell("blobs", done, len(digests))
        return sizes

    def objects(self, refs: list[Ref]) -> None:
        done = 0
        for batch in _batches(refs):
            records = list(_records(self.source, batch))
            for result in self.target.put_many([Write(record) for record in records]):
                if isinstance(result, PadreError):
                    raise result
            self.sent.update({(record.kind, record.id): _fingerprint(record) for record in records})
            done += len(batch)
            self.tell("objects", done, len(refs))

    def streams(self, runs: list[str]) -> tuple[int, int]:
        counts = dict.fromkeys(STREAMS, 0)
        for done, run in enumerate(runs, start=1):
            for stream in STREAMS:
                ends = self.ends[run, stream] = {}
                for part in self.source.read_stream(run, stream):
                    self.target.append_stream(run, part.writer, part.first, part.columns)
                    ends[part.writer] = part.first + len(part.columns)
                    counts[stream] += len(part.columns)
            self.tell("streams", done, len(runs))
        return counts["points"], counts["lines"]

    def prove(self, runs: list[str]) -> int:
        """Compares both sides as far as they were copied, and returns how many objects are newer in the target."""
        differing: list[str] = []
        newer = 0
        done, total = 0, len(self.sent) + len(runs)
        for batch in _batches(list(self.sent)):
            for ref, record in zip(batch, self.target.get_many(batch), strict=True):
                if record is None or _fingerprint(record) != self.sent[ref]:
                    if record is not None and self.sent[ref][0] in _versions(record):
                        newer += 1
                    else:
                        differing.append(" ".join(ref))
            done += len(batch)
            self.tell("proof", done, total)
        for run in runs:
            for stream in STREAMS:
                sides = (
                    _stream_digests(side.read_stream(run, stream), self.ends[run, stream])
                    for side in (self.source, self.target)
                )
                if next(sides) != next(sides):
                    differing.append(f"{stream} of run {run}")
            done += 1
            self.tell("proof", done, total)
        if differing:
            raise BackendError(
                f"{self.target.info().url} differs from {self.source.info().url} after the copy in {len(differing)} "
                f"places, the first is {differing[0]}; run `padre verify` on both and copy again"
            )
        return newer


def _records(source: Backend, refs: list[Ref]) -> Iterator[Record]:
    for batch in _batches(refs):
        yield from (record for record in source.get_many(batch) if record is not None)


def _referred(record: Record) -> Iterator[str]:
    """The ids of what a record lies in and refers to."""
    yield from record.ancestors
    yield from (id for _, id in linked_refs(record))


def _fingerprint(record: Record) -> tuple[object, ...]:
    """What must be equal on both sides."""
    stamps = record.created_at, record.created_by, record.updated_at, record.updated_by
    conflicts = tuple(sorted(conflict.etag for conflict in record.conflicts))
    return record.etag, record.hash, record.deleted, record.ancestors, stamps, conflicts


def _versions(record: Record) -> tuple[str, ...]:
    """All versions that a record holds or was made from."""
    return (record.etag, *record.lineage, *(conflict.etag for conflict in record.conflicts))


def _stream_digests(parts: Iterable[Segment], ends: Mapping[str, int]) -> dict[str, str]:
    """A digest of what each writer wrote up to an end, however it is cut into parts."""
    writers: dict[str, _StreamHash] = {}
    for part in parts:
        columns = part.columns
        length = min(len(columns), ends.get(part.writer, 0) - part.first)
        if length > 0:
            writers.setdefault(part.writer, _StreamHash()).add(columns, length)
    return {writer: hashed.digest() for writer, hashed in writers.items()}


class _StreamHash:
    def __init__(self) -> None:
        self._columns = [hashlib.sha256() for _ in range(4)]
        self._names: dict[str, int] = {}

    def add(self, columns: Points | Lines, length: int) -> None:
        if isinstance(columns, Lines):
            for line in columns.lines[:length]:
                self._columns[0].update(canonical.to_json([line.time, line.level, line.text]))
            return
        numbers = [self._names.setdefault(name, len(self._names)) for name in columns.metrics]
        keys = itertools.repeat(0, length) if columns.keys is None else columns.keys[:length]
        for hashed, column in zip(
            self._columns,
            (array.array("I", map(numbers.__getitem__, keys)), columns.steps, columns.times, columns.values),
            strict=True,
        ):
            hashed.update(cast("array.array[Any]", column)[:length].tobytes())

    def digest(self) -> str:
        named = canonical.to_json([[column.hexdigest() for column in self._columns], list(self._names)])
        return canonical.digest(named)


def _batches(refs: list[Ref]) -> Iterator[list[Ref]]:
    return (refs[start : start + BATCH] for start in range(0, len(refs), BATCH))


def _read_through(file: BinaryIO) -> None:
    while file.read(CHUNK):
        pass


def _silent(phase: str, done: int, total: int) -> None:
    """Tells nobody."""
