"""One log as a reader sees it: records, small blobs, and parts of streams."""

from __future__ import annotations

import array
from dataclasses import dataclass, field, replace
from pathlib import Path

from padre_core.objects import canonical
from padre_core.objects.record import Record, decode
from padre_core.streams import lines, points
from padre_core.streams.columns import Columns, Lines, Points, stream_of
from padre_core.streams.log import POINT_TAG, Frame, FrameKind, LogReader, point_columns
from padre_core.streams.writer import columns_of

Ref = tuple[str, str]
"""Kind and id of an object."""

DIGEST = 32
"""How many bytes of a blob's frame are its sha-256; the blob's own follow."""


@dataclass(slots=True)
class LoggedWriter:
    """What a log says of one writer of a run's streams; `evicted` is that of the run's record when it began."""

    run: str
    writer: str
    next: dict[str, int]
    evicted: int = 0
    open: bool = True
    parts: list[tuple[int, Columns]] = field(default_factory=list)

    def add(self, columns: Columns) -> None:
        stream = stream_of(columns)
        self.parts.append((self.next[stream], columns))
        self.next[stream] += len(columns)


class LogView:
    """One log as far as it was read: its newest records, and its parts of streams. Guarded by the journal's lock.

    Args:
        own: Whether this process writes it, and adds each record here too.
    """

    def __init__(self, path: Path, *, own: bool = False) -> None:
        self.own = own
        self.reader = LogReader(path)
        self.name = path.name
        self.records: dict[Ref, Record] = {}
        self.order: list[Ref] = []
        self.writers: dict[int, LoggedWriter] = {}
        self.of_run: dict[str, list[LoggedWriter]] = {}
        self.changed: set[str] = set()
        self.blobs: dict[str, int] = {}
        self._metrics: dict[int, tuple[int, str]] = {}

    def poll(self) -> None:
        """Takes up records that were written since the last call."""
        for frame in self.reader.new_records():
            self.add(decode(frame.payload, f"log/{self.name}"))

    def add(self, record: Record) -> None:
        """Takes up one record."""
        ref = record.kind, record.id
        known = self.records.get(ref)
        if known is None or known.version < record.version:
            self.records[ref] = record
            self.order.append(ref)

    def introduce(self, key: int, run: str, writer: str, points: int, lines: int, evicted: int = 0) -> None:
        """Takes up a writer, and the sequence numbers from which it goes on."""
        self.writers[key] = known = LoggedWriter(run, writer, {"points": points, "lines": lines}, evicted)
        self.of_run.setdefault(run, []).append(known)

    def go_on_from(self, other: LogView) -> None:
        """Takes up what another view of the same log has read."""
        self.records, self.blobs, self._metrics = dict(other.records), dict(other.blobs), dict(other._metrics)
        self.writers = {
            key: replace(writer, next=dict(writer.next), parts=list(writer.parts)) if writer.open else writer
            for key, writer in other.writers.items()
        }
        for writer in self.writers.values():
            self.of_run.setdefault(writer.run, []).append(writer)
        self.reader.go_on_from(other.reader)

    def blob(self, digest: str) -> bytes | None:
        """The bytes of a blob that was scanned, or put by this process."""
        slot = self.blobs.get(digest)
        payload = None if slot is None else self.reader.payload(slot)
        return None if payload is None else payload[DIGEST:]

    def scan(self) -> None:
        """Takes up blobs and parts of streams that were written since, and notes the runs of these in `changed`."""
        for frame in self.reader.new_frames():
            if frame.kind == FrameKind.POINT:
                self._points(frame)
            elif frame.kind == FrameKind.WRITER:
                self.introduce(frame.key, *canonical.from_json(frame.payload))
            elif frame.kind == FrameKind.METRIC:
                owner, metric = canonical.from_json(frame.payload)
                if owner in self.writers:  # else the frame that introduced it is damaged
                    self._metrics[frame.key] = owner, metric
            elif frame.kind == FrameKind.RECORD:
                if frame.slot > self.reader.tip:  # newer than the last poll, or the header's tip is damaged
                    self.add(decode(frame.payload, f"log/{self.name}"))
            elif frame.kind == FrameKind.BLOB:
                self.blobs[frame.payload[:DIGEST].hex()] = frame.slot
            elif (writer_of := self.writers.get(frame.key)) is not None:
                if frame.kind == FrameKind.CLOSED:
                    writer_of.open = False
                    continue
                self.changed.add(writer_of.run)
                if frame.kind == FrameKind.LINE:
                    found = lines.decode_line(frame.payload)
                    if found is not None:
                        writer_of.add(Lines((found[1],)))
                elif frame.kind == FrameKind.BLOCK:
                    writer_of.add(points.opened(frame.payload)[1])
                else:
                    for _, columns in points.decode(frame.payload, f"log/{self.name}"):
                        writer_of.add(columns)

    def _points(self, frame: Frame) -> None:
        steps, times, values, tags = point_columns(frame)
        metrics = {tag: self._metrics.get(tag - POINT_TAG) for tag in dict.fromkeys(tags)}
        known = [metric for metric in metrics.values() if metric is not None]
        owners = {owner for owner, _ in known}
        if len(owners) == 1 and len(known) == len(metrics):
            places = {tag: place for place, tag in enumerate(metrics)}
            keys = array.array("I", map(places.__getitem__, tags)) if len(places) > 1 else None
            self.add_points(owners.pop(), Points(tuple(name for _, name in known), keys, steps, times, values))
            return
        mixed: dict[int, list[tuple[str, int, int, float]]] = {}
        for step, time, value, tag in zip(steps, times, values, tags, strict=True):
            if (metric := metrics[tag]) is not None:
                mixed.setdefault(metric[0], []).append((metric[1], step, time, value))
        for owner, entries in mixed.items():
            self.add_points(owner, columns_of(entries))

    def add_points(self, owner: int, columns: Points) -> None:
        """Takes up what a writer added."""
        self.writers[owner].add(columns)
        self.changed.add(self.writers[owner].run)
