"""A backend of a byte store that is elsewhere, such as a bucket, where each request costs time and money."""

from __future__ import annotations

import contextlib
import math
import operator
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from padre_core.backends import layout
from padre_core.backends.backend import SMALL_BLOB, Changes, Page, Problem, Segment, Write
from padre_core.backends.beats import Beats, Look, Signs, fresh, is_running, left_over, living, signs_of_beats
from padre_core.backends.bytestore import ABSENT, Absent, ByteStore, IfMatch, Progress
from padre_core.backends.listing import CATALOG, Entry, leftover_snapshots, merge_notes
from padre_core.backends.merge import evict, resolve
from padre_core.backends.notes import Notes
from padre_core.backends.store import ByteStoreBackend, Change, index_path
from padre_core.backends.taking import take_listings
from padre_core.backends.tree import encode_part, folded, joined, summaries_with
from padre_core.errors import ConflictError, NotFoundError, PadreError, UnavailableError
from padre_core.objects import canonical
from padre_core.objects.identity import check_id, run_of
from padre_core.objects.record import Record, with_further
from padre_core.objects.summary import WriterSummary
from padre_core.query.model import Query
from padre_core.streams.columns import Columns, Points, Stream, stream_of
from padre_core.streams.spool import Part, Spool, SpoolWriter, Waiting, folder_for
from padre_core.streams.view import Ref

if TYPE_CHECKING:
    from padre_core.backends.index import Index

PACE = (5.0, 60.0)
"""After how many seconds points of a run that goes on are first shipped, and how many may pass between later times."""

SEGMENT_BYTES = 4 * 1024 * 1024
"""Up to this size the file of a writer's points or lines is written again as a whole when it grows."""

PULSE_SECONDS = 1.0
"""How long it is believed what was read of an object, where only what is above it or whose streams these are counts."""

LOOK_SECONDS = 60.0
"""How long this machine believes its index where that only spares requests, and hears of no run that began since."""

LOOK_NOTED = 5.0
"""How often at most it is noted that a look brought nothing new."""

BATCH_SECONDS = 5.0
"""How long it is believed within a batch, where one call looks at the same objects again and again."""

_RECENT = 256
_ATTEMPTS = 100
_Answer = TypeVar("_Answer")

Heads = dict[Ref, Record]
"""The records of a file, by kind and id."""


@dataclass(frozen=True, slots=True)
class _File:
    """A file of records as it was last read or written here, or that there was none."""

    records: tuple[Record, ...]
    version: IfMatch
    at: float

    def head(self, kind: str, id: str) -> Record | None:
        """One of the records."""
        return next((record for record in self.records if record.kind == kind and record.id == id), None)


@dataclass(frozen=True, slots=True)
class _Grown:
    """The last file of a writer's stream that this process wrote."""

    first: int
    next: int
    data: bytes


class SpooledBackend(ByteStoreBackend):
    """Records, streams and blobs on a byte store whose openers share no folder.

    A record is acknowledged when the store has it, by compare-and-swap on its own key; change notes tell the indexes of
    others. A point or line is acknowledged when it is in the spool on this machine, and is shipped in batches.
    """

    durability = "spooled"

    def __init__(self, store: ByteStore, *, readonly: bool = False, single_writer: bool = False) -> None:
        super().__init__(store, readonly=readonly, single_writer=single_writer)
        folder = folder_for(store.url, self.id)
        self._notes = Notes(store, folder)
        self._beats = Beats(store)
        self._spool = Spool(
            folder, self._ship, beat=self._beats.beat, ended=self._beats.end, sent=self._shipped, pace=PACE
        )
        self._closed = False
        self._start()
        if not self.readonly:
            self._notes.recover()
            self._recovering = True
            dead = self._spool.recover()
            self._recovering = False
            if dead:
                self._beats.remove(dead)

    def _start(self) -> None:
        self._batches = threading.local()
        self._memory = threading.Lock()
        self._recent: dict[str, _File] = {}
        self._grown: dict[tuple[str, str, Stream, int], _Grown] = {}
        self._live: dict[str, tuple[int, tuple[WriterSummary, ...]]] = {}
        self._untold: set[str] = set()
        self._look = Look()
        self._recovering = False
        self._puts = 0

    # Records

    def get(self, kind: str, id: str) -> Record:
        if kind == "run" and id in self._spool.open_runs():
            self._spool.ship_quietly()
        record = super().get(kind, id)
        return self._with_live(record) if kind == "run" else record

    def _head(self, kind: str, id: str) -> Record | None:
        key = layout.record_key(kind, id)
        seen = self._seen.get(key) if run_of(id) is None else None
        if seen is not None and time.monotonic() - seen.at < BATCH_SECONDS:
            return seen.head(kind, id)
        records, _ = self._read(key)
        return next((record for record in records if record.kind == kind and record.id == id), None)

    def _head_at_hand(self, kind: str, id: str) -> Record | None:
        known = self._recent.get(layout.record_key(kind, id))
        if known is not None and time.monotonic() - known.at < PULSE_SECONDS:
            return known.head(kind, id)
        return self._head(kind, id)

    def known(self, kind: str, id: str) -> Record | Absent | None:
        key = layout.record_key(kind, id)
        file = self._recent.get(key)
        own = None if file is None else file.head(kind, id)
        if file is None or time.monotonic() - file.at > PULSE_SECONDS:
            try:
                with self._lock:
                    index = self._warm_index()
                    if index is None:
                        return None
                    found, stamp = index.get(kind, id), index.stamp(kind, id)
            except UnavailableError:  # a damaged index, or a store that is away, as whoever asks for more finds out
                return None
            if found is not None and (own is None or own.version < found.version):
                own = found
                if file is None and stamp is not None and run_of(id) is None:
                    self._recall(key, [found], stamp, at=-math.inf)
        return ABSENT if own is None or own.vacant else own

    def _warm_index(self) -> Index | None:
        """The index, brought up to date if that is long ago; None if it is empty, for filling it costs more."""
        if not self._has_index() or not (index := self._open_index()).sources():
            return None
        return index if self._last_look(index).within(LOOK_SECONDS) else self._caught_up()

    def _has_index(self) -> bool:
        """Whether there is one; else it need not be made for what it does not know."""
        return self._index is not None or index_path(self.store.url, self.id).exists()

    def _last_look(self, index: Index) -> Look:
        """What this process or another of this machine found when it last looked."""
        noted = Look.decode(index.look())
        if noted.at > self._look.at:
            self._look = noted
        return self._look

    @property
    def _seen(self) -> dict[str, _File]:
        """What the batch that this thread is in has seen."""
        seen: dict[str, _File] | None = getattr(self._batches, "seen", None)
        return {} if seen is None else seen

    def _read(self, key: str) -> tuple[Sequence[Record], IfMatch]:
        """The records of a file and its version, from the store."""
        records, version = self.tree.records(key)
        self._recall(key, records, version)
        return records, version

    def put(self, record: Record, *, if_match: IfMatch = None) -> Record:
        self._writable()
        change: Change = lambda current: resolve(current, record, if_match)  # noqa: E731  # as in the class above
        return self._replace(record.kind, record.id, change, absent=if_match if isinstance(if_match, Absent) else None)

    def put_many(self, writes: Sequence[Write]) -> list[Record | PadreError]:
        self._writable()
        results: dict[int, Record | PadreError] = {}
        files: dict[str, list[int]] = {}
        for place, write in enumerate(writes):
            try:
                files.setdefault(layout.record_key(write.record.kind, write.record.id), []).append(place)
            except PadreError as error:
                results[place] = error
        with self.batch(f"Store {len(writes)} objects"):
            for key, places in files.items():
                try:
                    results |= self._put_together(key, {place: writes[place] for place in places})
                except PadreError as error:
                    results |= dict.fromkeys(places, error)
        return [results[place] for place in range(len(writes))]

    def _put_together(self, key: str, writes: dict[int, Write]) -> dict[int, Record | PadreError]:
        """Puts what lies in one file, by one write."""
        absences = {write.if_match for write in writes.values() if isinstance(write.if_match, Absent)}

        def change(heads: Heads) -> dict[int, Record | PadreError]:
            results: dict[int, Record | PadreError] = {}
            for place, write in writes.items():
                ref = write.record.kind, write.record.id
                try:
                    head = resolve(heads.get(ref), write.record, write.if_match)
                    results[place] = heads[ref] = self._completed(heads.get(ref), head, write.if_match)
                except PadreError as error:
                    results[place] = error
            return results

        return self._rewrite(key, change, absent=next(iter(absences)) if len(writes) == len(absences) == 1 else None)

    def _replace(self, kind: str, id: str, change: Change, *, absent: Absent | None = None) -> Record:
        def one(heads: Heads) -> Record:
            current = heads.get((kind, id))
            head = heads[kind, id] = self._completed(current, change(current), absent)
            return head

        return self._rewrite(layout.record_key(kind, id), one, absent=absent)

    def _rewrite(self, key: str, change: Callable[[Heads], _Answer], *, absent: Absent | None = None) -> _Answer:
        """Changes the records of a file, again if somebody else was faster.

        The first attempt believes what this process last saw of the file, or that there is none. Only a write that
        succeeds says that this was right; all else is tried again on what is there.

        Args:
            absent: Set where the one object of a file is to be made.
        """
        for attempt in range(_ATTEMPTS):
            records, version, believed = self._believed(key, absent) if not attempt else (None, ABSENT, False)
            if records is None:
                records, version = self._read(key)
            before = {(record.kind, record.id): record for record in records}
            heads = dict(before)
            try:
                answer = change(heads)
            except PadreError:
                if believed:
                    continue
                raise
            news = [head for ref, head in heads.items() if before.get(ref) is not head]
            if not news:
                if believed:
                    continue
                return answer
            try:
                with self._notes.writing(key):
                    written = self.tree.write(key, [*heads.values()], version if self._conditional else None)
            except ConflictError:
                self._forget(key)
                continue
            except PadreError:
                self._forget(key)
                raise
            self._recall(key, [*heads.values()], written)
            if any(head.deleted or ((old := before.get((head.kind, head.id))) and old.deleted) for head in news):
                self._tell_index(news, written)
            self._notes.add((written, head) for head in news)
            self._puts += 1
            self._flush_notes()
            return answer
        raise ConflictError(f"{key} in {self.store.url} is changed too often by others; try again")

    def _tell_index(self, news: Sequence[Record], version: str) -> None:
        """Lets other processes of this machine know at once that something was deleted or brought back."""
        with self._lock, contextlib.suppress(UnavailableError):  # a damaged index is empty now and knows nothing wrong
            if self._has_index():
                self._open_index().put(news, stamps={(record.kind, record.id): version for record in news})

    def _flush_notes(self) -> None:
        """Leaves the notes, in a batch at its end."""
        if not getattr(self._batches, "depth", 0):
            self._notes.flush()

    @property
    def _conditional(self) -> bool:
        return self.store.capabilities.conditional_write

    def _believed(self, key: str, absent: Absent | None) -> tuple[Sequence[Record] | None, IfMatch, bool]:
        """What a file held when it was last seen, its version, and whether that is known at all."""
        known = self._recent.get(key) if self._conditional else None
        if known is not None:
            return known.records, known.version, True
        if absent is not None and self._conditional and not key.endswith("/children.json"):
            return [], ABSENT, True
        return None, ABSENT, False

    def _completed(self, current: Record | None, head: Record, if_match: IfMatch) -> Record:
        """A run's head with the summaries of what is stored of its points."""
        if head.kind != "run" or head is current:
            return head
        if (current is None or current.vacant) and not self._is_new(if_match):
            head = replace(head, summaries=summaries_with((), joined(self.tree.parts(head.id, "points", head.evicted))))
        return self._with_live(head)

    @staticmethod
    def _is_new(if_match: IfMatch) -> bool:
        return isinstance(if_match, Absent) and if_match is not ABSENT

    def _recall(self, key: str, records: Sequence[Record], version: IfMatch, *, at: float | None = None) -> None:
        file = _File(tuple(records), version, time.monotonic() if at is None else at)
        self._seen[key] = file
        with self._memory:
            if len(self._recent) >= _RECENT:
                self._recent.clear()
            if records:
                self._recent[key] = file

    def _forget(self, key: str) -> None:
        self._seen.pop(key, None)
        with self._memory:
            self._recent.pop(key, None)

    def evict(self, kind: str, id: str, *, if_match: str) -> None:
        self._writable()
        run = id if kind == "run" else run_of(id)
        if run is not None and run in self._spool.live_runs():
            raise ConflictError(f"run {run} is being written by a process; try again when it has ended")
        head = self._replace(kind, id, lambda current: evict(current, kind, id, if_match))
        if kind == "run":
            self.tree.sweep(id, head.evicted)

    def pulse(self) -> object | None:
        # Others' writes show a second later at most: else each get would read all that lies above an object.
        return self._puts, int(time.monotonic() / PULSE_SECONDS)

    @contextlib.contextmanager
    def batch(self, message: str, actor: str | None = None) -> Iterator[None]:
        with self.store.batch(message, actor):
            self._batches.depth = getattr(self._batches, "depth", 0) + 1
            if self._batches.depth == 1:
                self._batches.seen = {}
            try:
                yield
            finally:
                self._batches.depth -= 1
                if not self._batches.depth:
                    self._batches.seen = None
                    self._notes.flush()

    def read_blobs(self, digests: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        found = self.store.read_starts([layout.blob_key(digest) for digest in digests], SMALL_BLOB + 1)
        for digest, data in zip(digests, found, strict=True):
            if data is not None and len(data) <= SMALL_BLOB and canonical.digest(data) == digest:
                yield digest, data

    # Streams

    def open_writer(self, run: str) -> SpoolWriter:  # type: ignore[override]  # the same contract by structure
        self._writable()
        return self._spool.open_writer(check_id(run), self._eviction(run))

    def append_stream(self, run: str, writer: str, first: int, columns: Columns) -> int:
        self._writable()
        end = self._append(Part(check_id(run), writer, first, columns, self._eviction(run)))
        file = self._recent.get(layout.record_key("run", run))
        head = None if file is None else file.head("run", run)
        if head is not None and is_running(head):  # its writer is elsewhere, and this store hears of him by what comes
            self._beats.beat(run, writer)
        return end

    def _append(self, part: Part) -> int:
        """Adds to a stream what is not there, whoever wrote it."""
        run, stream = part.run, stream_of(part.columns)
        for _ in range(_ATTEMPTS):
            next_, _, _ = self.tree.end(run, part.writer, stream, part.evicted)
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
                self.store.write(key, data, if_match=ABSENT if self._conditional else None)
            except ConflictError:
                continue  # somebody else appends the same
            if stream == "points":
                self._settle(run, lambda current, news=rest: self._after(current, news))  # type: ignore[misc]
            return rest.first + len(rest.columns)
        raise ConflictError(f"run {run} in {self.store.url} is written too often by others; try again")

    def _settle(self, run: str, summarised: Callable[[Record], Record]) -> None:
        """Brings what the points of a run come to into its record; if that comes later, it is done then."""

        def change(current: Record | None) -> Record:
            if current is None or current.vacant:
                raise self._missing("run", run)
            head = summarised(current)
            return current if head is current else replace(head, version=current.version + 1)

        with contextlib.suppress(NotFoundError):
            self._replace("run", run, change)

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
        return with_further(current, summaries_with((), joined(self.tree.parts(current.id, "points", current.evicted))))

    def _ship(self, part: Part) -> None:
        """Brings what a writer of this process added to the store; the file that it wrote last grows."""
        stream = stream_of(part.columns)
        place = part.run, part.writer, stream, part.evicted
        grown = self._grown.get(place)
        if self._recovering or (grown.next if grown is not None else 0) != part.first:
            end = self._append(part)
            if stream == "points":  # who died may have stored the points and not what they come to
                self._settle(part.run, lambda current: self._reread(current, part.writer, end))
            return
        data = b"".join(encode_part(part.first, part.columns))
        first = part.first
        if grown is not None and len(grown.data) + len(data) <= SEGMENT_BYTES:
            first, data = grown.first, grown.data + data
        self.store.write(layout.segment_key(part.run, part.writer, first, stream, part.evicted), data)
        self._grown[place] = _Grown(first, part.first + len(part.columns), data)
        if isinstance(part.columns, Points):
            evicted, summaries = self._live.get(part.run, (part.evicted, ()))
            if evicted != part.evicted:
                summaries = ()
            news = [Segment(part.writer, part.first, part.columns)]
            self._live[part.run] = part.evicted, summaries_with(summaries, news)
            self._untold.add(part.run)

    def _shipped(self) -> None:
        """Tells others what the shipped points come to: of a run that goes on by a note, of one that ended for good."""
        open_ = self._spool.open_runs()
        for run in [*self._live]:
            known = self._recent.get(layout.record_key("run", run))
            news = [] if known is None else [self._with_live(record) for record in known.records]
            told = known is not None and all(map(operator.is_, news, known.records))
            if run not in open_:
                if not told:
                    self._settle(run, self._with_live)
                del self._live[run]
            elif run in self._untold and known is not None and not told:
                self._notes.add((str(known.version), record) for record in news)
        self._untold.clear()
        for place in [place for place in self._grown if place[0] not in open_]:
            del self._grown[place]
        self._flush_notes()

    def _with_live(self, record: Record) -> Record:
        """A run's record with what the points come to that this process shipped."""
        evicted, summaries = self._live.get(record.id, (0, ()))
        return with_further(record, summaries) if evicted == record.evicted else record

    def read_stream(self, run: str, stream: Stream) -> Iterator[Segment]:
        self._ship_own()
        return super().read_stream(run, stream)

    def read_streams(self, stream: Stream, known: Mapping[str, Mapping[str, int]]) -> Iterator[tuple[str, Segment]]:
        self._ship_own()
        return super().read_streams(stream, known)

    def stream_ends(self, run: str, stream: Stream) -> dict[str, int]:
        self._ship_own()
        return super().stream_ends(run, stream)

    def waiting(self) -> list[Waiting]:
        return self._spool.waiting(super().many_ends)

    def sync(self) -> None:
        self._spool.ship()
        self._notes.flush()
        super().sync()

    def _ship_own(self) -> None:
        if not self.readonly:
            self._spool.ship_quietly()

    # The index

    def query(self, kind: str, query: Query) -> Page:
        self._ship_own()
        return super().query(kind, query)

    def count(self, kind: str, query: Query) -> int:
        self._ship_own()
        return super().count(kind, query)

    def changes(self, cursor: str | None = None, *, limit: int = 1000) -> Changes:
        self._ship_own()
        return super().changes(cursor, limit=limit)

    def _caught_up(self) -> Index:
        with self._lock:
            index = self._open_index()
            cold = not index.sources()
            signs: Signs = {}
            whole = take_listings(self.store, index, at_hand=self._notes.own, signs=signs)
            # A store of few notes may hold more that was put there without any; one with a catalog was looked over.
            if not whole or (cold and not any(key.endswith(CATALOG) for key in index.sources())):
                self._compare(index)
            self._note_look(index, signs)
            return index

    def _note_look(self, index: Index, signs: Signs) -> None:
        """Notes that all that was new is in the index, for other processes too."""
        before = self._last_look(index)
        signs = fresh(before.signs) | signs
        self._look = Look(time.time(), signs)
        if not before.within(LOOK_NOTED) or signs.keys() - before.signs.keys():
            index.set_look(self._look.encode())

    def live_runs(self, among: AbstractSet[str] | None = None) -> set[str] | None:
        if not self.store.dated:
            return None
        here, dead = self._spool.live_runs(), self._spool.dead_writers()
        with self._lock:
            if self._has_index() and (index := self._open_index()).sources():
                look = self._last_look(index)
                hoped = among is not None and look.within(LOOK_SECONDS) and among <= here | living(look.signs, dead)
                if not hoped and not look.within(PULSE_SECONDS):
                    self._caught_up()
                signs = self._look.signs
            else:
                signs = signs_of_beats(self.store.list(layout.LOG))
        return here | living(signs, dead)

    def _apply(self, index: Index, keys: Sequence[str], *, accept_edits: bool = False) -> list[Entry]:
        found = super()._apply(index, keys, accept_edits=accept_edits)
        if not self.readonly:
            self._notes.add(found)  # others need not look for it
        return found

    def refresh(self, *, accept_edits: bool = False) -> int:
        with self._lock:
            changed = self._compare(self._caught_up(), accept_edits=accept_edits)
        self._notes.flush()
        return changed

    # The store as a whole

    def verify(self, *, quarantine: bool = False) -> Iterator[Problem]:
        self._ship_own()
        return super().verify(quarantine=quarantine)

    def maintain(self, progress: Progress | None = None) -> dict[str, int]:
        self._writable()
        self.sync()
        # What is left over at both times is of no merge under way; if it were, that one's records would be found again.
        leftover = leftover_snapshots(self.store)
        done = {"objects found": self.refresh(), "listings merged": merge_notes(self.store, few=1)}
        leftover &= leftover_snapshots(self.store)
        self.store.delete_many(leftover | left_over(self.store.list(layout.LOG)))
        done["leftover snapshots removed"] = len(leftover)
        return {name: count for name, count in done.items() if count} | super().maintain(progress)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            if not self.readonly:
                try:
                    self._spool.close()
                finally:
                    self._beats.close()
                    self._notes.close()
        finally:
            super().close()

    def _after_fork(self) -> None:
        super()._after_fork()
        self._notes.after_fork()
        self._beats.after_fork()
        self._start()
