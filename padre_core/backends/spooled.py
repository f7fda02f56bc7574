"""A backend of a byte store that is elsewhere, such as a bucket, where each request costs time and money."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from padre_core.backends import layout
from padre_core.backends.backend import Changes, Page, Problem, Segment, Write
from padre_core.backends.beats import Writer
from padre_core.backends.bytestore import ABSENT, Absent, ByteStore, IfMatch
from padre_core.backends.merge import evict, resolve
from padre_core.backends.noted import NotedBackend
from padre_core.backends.remembered import PULSE_SECONDS, Remembered
from padre_core.backends.shipping import Shipping
from padre_core.backends.store import Change
from padre_core.backends.tree import joined, summaries_with
from padre_core.errors import ConflictError, PadreError, UnavailableError
from padre_core.objects.identity import check_id, run_of
from padre_core.objects.record import Record
from padre_core.objects.run import is_running
from padre_core.streams.columns import Columns, Stream
from padre_core.streams.spool import Part, Spool, SpoolWriter, Waiting, folder_for
from padre_core.streams.view import Ref

if TYPE_CHECKING:
    from padre_core.query.model import Query

PACE = (5.0, 60.0)
"""After how many seconds points of a run that goes on are first shipped, and how many may pass between later times."""

_ATTEMPTS = 100
_Answer = TypeVar("_Answer")

Heads = dict[Ref, Record]
"""The records of a file, by kind and id."""


class SpooledBackend(NotedBackend):
    """Records, streams and blobs on a byte store whose openers share no folder.

    A record is acknowledged when the store has it, by compare-and-swap on its own key; change notes tell the indexes of
    others. A point or line is acknowledged when it is in the spool on this machine, and is shipped in batches.
    """

    durability = "spooled"

    def __init__(self, store: ByteStore, *, readonly: bool = False, single_writer: bool = False) -> None:
        super().__init__(store, readonly=readonly, single_writer=single_writer)
        folder = folder_for(store.url, self.id)
        beats = self._beats
        self._spool = Spool(folder, self._ship, beat=beats.beat, ended=beats.end, sent=self._shipped, pace=PACE)
        self._closed = False
        self._start()
        if not self.readonly:
            self._notes.recover()
            self._shipping.recovering = True
            dead = self._spool.recover()
            self._shipping.recovering = False
            if dead:
                self._beats.remove(dead)

    def _start(self) -> None:
        self._remembered = Remembered()
        self._shipping = Shipping(self.store, self.tree, self._remembered, self._settle)
        self._puts = 0

    # Records

    def get(self, kind: str, id: str) -> Record:
        if kind == "run" and id in self._spool.open_runs():
            self._spool.ship_quietly()
        record = super().get(kind, id)
        if is_running(record):
            self._doubt()
        return self._shipping.with_live(record) if kind == "run" else record

    def _head(self, kind: str, id: str) -> Record | None:
        key = layout.record_key(kind, id)
        seen = self._remembered.in_batch(key) if run_of(id) is None else None
        if seen is not None:
            return seen.head(kind, id)
        records, _ = self._read(key)
        return next((record for record in records if record.kind == kind and record.id == id), None)

    def _head_at_hand(self, kind: str, id: str) -> Record | None:
        known = self._remembered.get(layout.record_key(kind, id))
        if known is not None and known.within(PULSE_SECONDS):
            return known.head(kind, id)
        return self._head(kind, id)

    def known(self, kind: str, id: str) -> Record | Absent | None:
        key = layout.record_key(kind, id)
        file = self._remembered.get(key)
        own = None if file is None else file.head(kind, id)
        if file is None or not file.within(PULSE_SECONDS):
            try:
                answer = self._from_index(kind, id)
            except UnavailableError:  # a damaged index, or a store that is away, as whoever asks for more finds out
                return None
            if answer is None:
                return None
            found, stamp = answer
            if found is not None and (own is None or own.version < found.version):
                own = found
                if file is None and stamp is not None and run_of(id) is None:
                    self._remembered.note(key, [found], stamp, at=-math.inf)
        return ABSENT if own is None or own.vacant else own

    def _read(self, key: str) -> tuple[Sequence[Record], IfMatch]:
        """The records of a file and its version, from the store."""
        records, version = self.tree.records(key)
        self._remembered.note(key, records, version)
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

        def put(key: str) -> dict[int, Record | PadreError]:
            some = {place: writes[place] for place in files[key]}
            with self._remembered.batch(seen):  # a thread that works for it leaves no note of its own
                try:
                    return self._put_together(key, some)
                except PadreError as error:
                    return dict.fromkeys(some, error)

        with self.batch(f"Store {len(writes)} objects"):
            seen = self._remembered.seen
            for some in self._at_once(put, files):
                results |= some
        return [results[place] for place in range(len(writes))]

    def _at_once(self, call: Callable[[str], _Answer], keys: Collection[str]) -> Iterator[_Answer]:
        """The answers of a call for each of some keys, as many at once as the store likes."""
        workers = min(len(keys), self.store.together if self._conditional else 1)
        if workers < 2:
            yield from map(call, keys)
            return
        with ThreadPoolExecutor(workers, "padre-put") as pool:
            yield from pool.map(call, keys)

    def _put_together(self, key: str, writes: dict[int, Write]) -> dict[int, Record | PadreError]:
        """Puts what lies in one file, by one write."""
        absences = {write.if_match for write in writes.values() if isinstance(write.if_match, Absent)}

        def change(heads: Heads) -> dict[int, Record | PadreError]:
            results: dict[int, Record | PadreError] = {}
            for place, write in writes.items():
                ref = write.record.kind, write.record.id
                try:
                    head = resolve(heads.get(ref), write.record, write.if_match, write.notes)
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
        with self._apart():
            for attempt in range(_ATTEMPTS):
                believed = self._believed(key, absent) if not attempt else None
                records, version = believed or self._read(key)
                before = {(record.kind, record.id): record for record in records}
                heads = dict(before)
                try:
                    answer = change(heads)
                except PadreError:
                    if believed:
                        continue
                    raise
                news = [head for ref, head in heads.items() if before.get(ref) is not head]
                if news:
                    try:
                        self._write(key, before, heads, news, version, spare=believed is not None)
                    except ConflictError:
                        continue
                elif believed:
                    continue
                return answer
        raise ConflictError(f"{key} in {self.store.url} is changed too often by others; try again")

    def _write(
        self, key: str, before: Heads, heads: Heads, news: Sequence[Record], version: IfMatch, *, spare: bool
    ) -> None:
        """Writes a file of records and tells of what is new in it.

        Args:
            spare: Whether nothing was read for it, so that after the note a third request may keep the notes few.

        Raises:
            ConflictError: Somebody else was faster.
        """
        try:
            with self._notes.writing(key):
                written = self.tree.write(key, [*heads.values()], version if self._conditional else None)
        except PadreError:
            self._remembered.forget(key)
            raise
        self._remembered.note(key, [*heads.values()], written)
        if any(head.deleted or ((old := before.get((head.kind, head.id))) and old.deleted) for head in news):
            with contextlib.suppress(UnavailableError):  # a damaged index is empty now, and knows nothing wrong
                self._tell_index(news, written)
        self._notes.add((written, head) for head in news)
        self._puts += 1
        looked = any(head.kind == "run" and (head.kind, head.id) not in before for head in news)  # for its points
        self._flush_notes(spare=spare and not looked)

    def _flush_notes(self, *, spare: bool = True) -> None:
        """Leaves the notes, in a batch at its end."""
        if not self._remembered.batched:
            self._notes.flush(spare=spare)

    def _believed(self, key: str, absent: Absent | None) -> tuple[Sequence[Record], IfMatch] | None:
        """What a file held when it was last seen, and its version; None if nothing is known of it."""
        if not self._conditional:
            return None
        known = self._remembered.get(key)
        if known is not None:
            return known.records, known.version
        return ([], ABSENT) if absent is not None and not key.endswith("/children.json") else None

    def _completed(self, current: Record | None, head: Record, if_match: IfMatch) -> Record:
        """A run's head with the summaries of what is stored of its points."""
        if head.kind != "run" or head is current:
            return head
        if (current is None or current.vacant) and not self._is_new(if_match):
            head = replace(head, summaries=summaries_with((), joined(self.tree.parts(head.id, "points", head.evicted))))
        return self._shipping.with_live(head)

    @staticmethod
    def _is_new(if_match: IfMatch) -> bool:
        return isinstance(if_match, Absent) and if_match is not ABSENT

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
            try:
                with self._remembered.batch():
                    yield
            finally:
                self._flush_notes()

    # Streams

    def open_writer(self, run: str) -> SpoolWriter:  # type: ignore[override]  # the same contract by structure
        self._writable()
        return self._spool.open_writer(check_id(run), self._eviction(run))

    def append_stream(self, run: str, writer: str, first: int, columns: Columns) -> int:
        self._writable()
        end = self._shipping.append(Part(check_id(run), writer, first, columns, self._eviction(run)))
        file = self._remembered.get(layout.record_key("run", run))
        head = None if file is None else file.head("run", run)
        if head is not None and is_running(head):  # its writer is elsewhere, and this store hears of him by what comes
            self._beats.beat(run, writer)
        return end

    def _ship(self, part: Part) -> None:
        self._shipping.ship(part)

    def _shipped(self) -> None:
        """Tells others what the shipped points come to: of a run that goes on by a note, of one that ended for good."""
        self._notes.add(self._shipping.shipped(self._spool.open_runs()))
        self._flush_notes()

    def _settle(self, run: str, change: Callable[[Record], Record]) -> None:
        def of_living(current: Record | None) -> Record:
            if current is None or current.vacant:
                raise self._missing("run", run)
            return change(current)

        self._replace("run", run, of_living)

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
        super().sync()

    def _writers_here(self) -> tuple[set[str], set[Writer]]:
        return self._spool.live_runs(), self._spool.dead_writers()

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

    # The store as a whole

    def verify(self, *, quarantine: bool = False) -> Iterator[Problem]:
        self._ship_own()
        return super().verify(quarantine=quarantine)

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
        self._start()
