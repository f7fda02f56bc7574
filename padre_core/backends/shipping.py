"""Points and lines from the spool of this machine into files of a store, and what the points come to into records."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from padre_core.backends import layout
from padre_core.backends.backend import Segment
from padre_core.backends.bytestore import ABSENT, ByteStore
from padre_core.backends.listing import Entry
from padre_core.backends.remembered import Remembered
from padre_core.backends.tree import Tree, encode_part, folded, joined, summaries_with
from padre_core.errors import ConflictError, NotFoundError
from padre_core.objects.record import Record, with_further
from padre_core.objects.summary import WriterSummary
from padre_core.streams.columns import Points, Stream, stream_of
from padre_core.streams.spool import Part

SEGMENT_BYTES = 4 * 1024 * 1024
"""Up to this size the file of a writer's points or lines is written again as a whole when it grows."""

_ATTEMPTS = 100

Settle = Callable[[str, Callable[[Record], Record]], object]
"""Changes a run's record; raises `NotFoundError` if there is none."""


@dataclass(frozen=True, slots=True)
class _Grown:
    """The last file of a writer's stream that this process wrote."""

    first: int
    next: int
    data: bytes


class Shipping:
    """What one opening of a store shipped. Its spool calls it from one thread at a time.

    Args:
        settle: How what the points of a run come to is brought into its record.

    Attributes:
        recovering: Whether what is shipped was logged by processes that died.
    """

    def __init__(self, store: ByteStore, tree: Tree, remembered: Remembered, settle: Settle) -> None:
        self._store, self._tree, self._remembered, self._change = store, tree, remembered, settle
        self.recovering = False
        self._grown: dict[tuple[str, str, Stream, int], _Grown] = {}
        self._live: dict[str, tuple[int, tuple[WriterSummary, ...]]] = {}
        self._untold: set[str] = set()

    def append(self, part: Part) -> int:
        """Adds to a stream what is not there, whoever wrote it, and returns where the stream ends now."""
        run, stream = part.run, stream_of(part.columns)
        for _ in range(_ATTEMPTS):
            next_, _, _ = self._tree.end(run, part.writer, stream, part.evicted)
            if part.first > next_:
                raise ConflictError(
                    f"run {run}: {part.first} does not follow on what {part.writer} wrote, which ends at {next_}",
                    next=next_,
                )
            rest = Segment(part.writer, part.first, part.columns).behind(next_)
            if rest is None or not len(rest.columns):
                return next_
            key = layout.segment_key(run, part.writer, rest.first, stream, part.evicted)
            try:
                data = b"".join(encode_part(rest.first, rest.columns))
                self._store.write(key, data, if_match=ABSENT if self._store.capabilities.conditional_write else None)
            except ConflictError:
                continue  # somebody else appends the same
            if stream == "points":
                self._settle(run, lambda current, news=rest: self._after(current, news))  # type: ignore[misc]
            return rest.first + len(rest.columns)
        raise ConflictError(f"run {run} in {self._store.url} is written too often by others; try again")

    def ship(self, part: Part) -> None:
        """Brings what a writer of this machine added to the store; the file that it wrote last grows."""
        stream = stream_of(part.columns)
        place = part.run, part.writer, stream, part.evicted
        grown = self._grown.get(place)
        if self.recovering or (grown.next if grown is not None else 0) != part.first:
            end = self.append(part)
            if stream == "points":  # who died may have stored the points and not what they come to
                self._settle(part.run, lambda current: self._reread(current, part.writer, end))
            return
        data = b"".join(encode_part(part.first, part.columns))
        first = part.first
        if grown is not None and len(grown.data) + len(data) <= SEGMENT_BYTES:
            first, data = grown.first, grown.data + data
        self._store.write(layout.segment_key(part.run, part.writer, first, stream, part.evicted), data)
        self._grown[place] = _Grown(first, part.first + len(part.columns), data)
        if isinstance(part.columns, Points):
            evicted, summaries = self._live.get(part.run, (part.evicted, ()))
            if evicted != part.evicted:
                summaries = ()
            news = [Segment(part.writer, part.first, part.columns)]
            self._live[part.run] = part.evicted, summaries_with(summaries, news)
            self._untold.add(part.run)

    def shipped(self, open_runs: Collection[str]) -> list[Entry]:
        """Brings what the shipped points come to into the records of runs that have ended.

        Returns:
            What others are to be told of runs that go on.
        """
        told_of: list[Entry] = []
        for run in [*self._live]:
            known = self._remembered.get(layout.record_key("run", run))
            news = [] if known is None else [self.with_live(record) for record in known.records]
            told = known is not None and all(map(operator.is_, news, known.records))
            if run not in open_runs:
                if not told:
                    self._settle(run, self.with_live)
                del self._live[run]
            elif run in self._untold and known is not None and not told:
                told_of += [(str(known.version), record) for record in news]
        self._untold.clear()
        for place in [place for place in self._grown if place[0] not in open_runs]:
            del self._grown[place]
        return told_of

    def with_live(self, record: Record) -> Record:
        """A run's record with what the points come to that this process shipped."""
        evicted, summaries = self._live.get(record.id, (0, ()))
        return with_further(record, summaries) if evicted == record.evicted else record

    def _settle(self, run: str, summarised: Callable[[Record], Record]) -> None:
        """Brings what the points of a run come to into its record; if that comes later, it is done then."""

        def change(current: Record) -> Record:
            head = summarised(current)
            return current if head is current else replace(head, version=current.version + 1)

        with contextlib.suppress(NotFoundError):
            self._change(run, change)

    def _after(self, current: Record, news: Segment) -> Record:
        """A run's record after points came."""
        known = folded(current.summaries, news.writer)
        if known == news.first:
            return with_further(current, summaries_with(current.summaries, [news]))
        return self._reread(current, news.writer, news.first + len(news.columns))

    def _reread(self, current: Record, writer: str, end: int) -> Record:
        """A run's record with what its points come to, if it does not speak of all of a writer."""
        if folded(current.summaries, writer) >= end:
            return current
        return with_further(
            current, summaries_with((), joined(self._tree.parts(current.id, "points", current.evicted)))
        )
