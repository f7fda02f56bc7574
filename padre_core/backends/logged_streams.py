"""The streams of a store with logs: what the logs hold goes on where the tree ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from padre_core.backends.backend import Segment
from padre_core.backends.tree import Part, Tree, joined, summaries_with, with_summaries
from padre_core.errors import ConflictError, CorruptObjectError
from padre_core.objects.record import Record
from padre_core.objects.summary import WriterSummary
from padre_core.streams.columns import Columns, Stream, stream_of
from padre_core.streams.journal import Journal, JournalWriter


class LoggedStreams:
    """Reads and writes the streams of runs.

    Args:
        eviction: When a run was last evicted; what its streams held before counts no more.
    """

    def __init__(self, tree: Tree, journal: Journal, eviction: Callable[[str], int]) -> None:
        self._tree, self._journal, self._eviction = tree, journal, eviction

    def open_writer(self, run: str) -> JournalWriter:
        """A writer of a run in the log of this process."""
        with self._journal.exclusive():  # nobody evicts the run until it is known to be written
            return self._journal.open_writer(run, self._eviction(run))

    def append(self, run: str, writer: str, first: int, columns: Columns) -> tuple[int, bool]:
        """Acknowledges what is new of some other store's part; where the stream ends, and whether it grew.

        Raises:
            ConflictError: The part does not follow on what is there.
        """
        stream = stream_of(columns)
        with self._journal.exclusive():
            evicted = self._eviction(run)
            logged = self.logged(run, evicted)
            ends = [part[1] + len(part[2]) for part in logged if part[0] == writer and stream_of(part[2]) == stream]
            next_ = max([self._tree.end(run, writer, stream, evicted)[0], *ends])
            if first > next_:
                raise ConflictError(
                    f"run {run}: {first} does not follow on what {writer} wrote, which ends at {next_}", next=next_
                )
            if first + len(columns) <= next_:
                return next_, False
            self._journal.add_columns(run, evicted, writer, next_, columns.skip(next_ - first))
            return first + len(columns), True

    def beyond(self, run: str, stream: Stream, known: Mapping[str, int]) -> Iterator[Segment]:
        """What a stream holds beyond what is known of each writer.

        Raises:
            CorruptObjectError: Something is damaged; raised after all that can be read.
        """
        evicted = self._eviction(run)
        logged = self.logged(run, evicted)
        parts = [part for part in logged if stream_of(part[2]) == stream]
        damage: CorruptObjectError | None = None
        try:
            parts.extend(self._tree.parts(run, stream, evicted, known))
        except CorruptObjectError as error:
            damage = error
        yield from joined(parts, known)
        if damage:
            raise damage

    def ends(self, run: str, stream: Stream) -> dict[str, int]:
        """The next sequence number of each writer."""
        evicted = self._eviction(run)
        logged = self.logged(run, evicted)
        ends = self._tree.ends(run, stream, evicted)
        for writer, first, columns in logged:
            if stream_of(columns) == stream:
                ends[writer] = max(ends.get(writer, 0), first + len(columns))
        return dict(sorted(ends.items()))

    def logged(self, run: str, evicted: int) -> list[Part]:
        """What the logs hold of a run's streams since an eviction."""
        with self._journal.lock:
            self._journal.scan()
            return self._journal.parts(run, evicted)

    def summaries(self, run: str) -> tuple[int, tuple[WriterSummary, ...]]:
        """When a run was last evicted, and what its points since come to, those in the logs included."""
        evicted = self._eviction(run)
        parts = self.logged(run, evicted)
        rested = self._tree.head("run", run)
        if rested is not None and rested.evicted == evicted:
            return evicted, summaries_with(rested.summaries, joined(parts))
        return evicted, summaries_with((), joined([*parts, *self._tree.parts(run, "points", evicted)]))

    def summarised(self, record: Record) -> Record:
        """A run's record with what its points in the logs come to."""
        parts = self.logged(record.id, record.evicted) if self._journal.views else []
        if not parts:
            return record
        rested = self._tree.head("run", record.id)
        if rested is not None and rested.evicted == record.evicted:
            record = replace(record, summaries=rested.summaries)
        return with_summaries(record, joined(parts))
