"""A backend whose writers keep logs: what a call acknowledged is in the log, and reaches the tree behind it."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from padre_core.backends import blobs, layout, messages
from padre_core.backends.backend import Problem, Revision, Segment
from padre_core.backends.bytestore import UNBORN, ByteStore, IfMatch, Progress
from padre_core.backends.catchup import CatchUp
from padre_core.backends.fold import adopt_logs, fold_log
from padre_core.backends.listing import Entry, merge_notes, write_notes
from padre_core.backends.merge import evict, resolve
from padre_core.backends.store import ATTEMPTS, ByteStoreBackend, Change, lives_in_run
from padre_core.backends.tree import Part, joined, summaries_with, with_summaries
from padre_core.backends.verify import verify
from padre_core.errors import ConflictError, CorruptObjectError, NotFoundError, PadreError
from padre_core.objects import canonical
from padre_core.objects.base import BlobReference
from padre_core.objects.identity import check_digest, check_id, run_of
from padre_core.objects.record import Record
from padre_core.objects.summary import WriterSummary
from padre_core.streams.columns import Columns, Stream, stream_of
from padre_core.streams.journal import Journal, JournalWriter

if TYPE_CHECKING:
    from padre_core.backends.index import Index

logger = logging.getLogger(__name__)

FOLD_RUNS = 512
"""How many ended runs a log gathers before it is folded, which takes the interpreter from the work that goes on."""

BACKLOG = 4
"""How many logs may wait to be folded before writers wait too."""

SMALL_BLOB = 16 * 1024
"""Up to how many bytes a blob is acknowledged in the log: a file of its own costs as much as twenty records."""

INDEX_RECORDS = 64
"""From how many records on they are brought into the index when they are folded."""


class LoggedBackend(ByteStoreBackend):
    """Records, streams and blobs on a byte store whose openers share a local folder for their logs.

    Args:
        durability: `power`: records outside of running runs, and the end of a run, survive the loss of power when
            the call returns. `process`: they survive the end of the process only.
    """

    def __init__(
        self, store: ByteStore, folder: Path, *, durability: str = "power", readonly: bool = False,
        single_writer: bool = False,
    ) -> None:  # fmt: skip
        self.durability = store.durability = durability
        super().__init__(store, readonly=readonly, single_writer=single_writer)
        self.journal = Journal(folder, readonly=self.readonly)
        self._batches = threading.local()
        self._ended = 0
        self._loose_blobs = False
        self._folding = threading.Lock()
        self._thread: threading.Thread | None = None
        self._hurry = threading.Event()
        self._starting = threading.Lock()
        self._unsettled = False
        self._state: object = None
        self._feeds = store.capabilities.change_feed
        self._closed = False
        self._catch_up = CatchUp(store, self.journal, self._summaries)
        if not self.readonly:
            if self._feeds:
                adopt_logs(store, folder)
            self._fold_quietly(self._recover)

    def get(self, kind: str, id: str) -> Record:
        record = super().get(kind, id)
        if kind == "run" and self.journal.views:
            parts = self._logged_parts(id, record.evicted)
            if parts:
                rested = self.tree.head(kind, id)
                if rested is not None and rested.evicted == record.evicted:
                    record = replace(record, summaries=rested.summaries)
                record = with_summaries(record, joined(parts))
        return record

    def _head(self, kind: str, id: str) -> Record | None:
        # Logs first: what leaves a log is in the tree before.
        ref = kind, id
        with self.journal.lock:
            seen = self._refresh()
            logged = self.journal.head(ref)
            if ref in self.journal.unfolded:
                return logged
        rested = self._rested(kind, id, seen)
        with self.journal.lock:
            if (self.journal.seen, self._state) == seen:
                self.journal.rested[ref] = rested
        return _newer(logged, rested)

    def _refresh(self) -> tuple[int, object]:
        """Takes up what was acknowledged by anybody; what is known then counts until this returns something else."""
        self.journal.refresh()
        state = self.store.state()
        if state != self._state:
            self._state = state
            self.journal.unfolded.clear()
            self.journal.rested.clear()
        return self.journal.seen, state

    def _rested(self, kind: str, id: str, seen: object) -> Record | None:
        """What the tree holds of an object; in a batch what lives in one run is read at once."""
        run = run_of(id)
        batch: dict[tuple[str, object], dict[bytes, bytes]] | None = getattr(self._batches, "children", None)
        if run is None or batch is None:
            return self.tree.head(kind, id)
        if (run, seen) not in batch:  # what came to the tree since is another set of logs
            batch.clear()
            batch[run, seen] = self.tree.children(run)
        return self.tree.child(kind, id, batch[run, seen])

    def _head_to_replace(self, kind: str, id: str, *, unborn: bool) -> Record | None:
        """The head, without reading the tree for what cannot be there; the lock is held."""
        if unborn:
            self.journal.refresh()
            return self.journal.head((kind, id))
        return self._head_at_hand(kind, id)

    def _head_at_hand(self, kind: str, id: str) -> Record | None:
        ref = kind, id
        with self.journal.lock:
            self._refresh()
            if ref in self.journal.rested:
                return _newer(self.journal.head(ref), self.journal.rested[ref])
        return self._head(kind, id)

    def pulse(self) -> object | None:
        with self.journal.lock:
            _, state = self._refresh()
            generation = self.journal.generation()
            entries = sum(len(view.order) for view in self.journal.views.values())
            return None if generation < 0 else (generation, entries, state)

    def put(self, record: Record, *, if_match: IfMatch = None) -> Record:
        self._writable()
        layout.record_key(record.kind, record.id)
        unborn = if_match is UNBORN
        head = self._replace(record.kind, record.id, lambda current: resolve(current, record, if_match), unborn=unborn)
        self._barrier(head)
        return head

    def set_envelope(self, kind: str, id: str, envelope: Mapping[str, Any], *, if_version: int | None = None) -> Record:
        head = super().set_envelope(kind, id, envelope, if_version=if_version)
        self._barrier(head)
        return head

    def evict(self, kind: str, id: str, *, if_match: str) -> None:
        self._writable()
        run = id if kind == "run" else run_of(id)
        with self.journal.exclusive():
            if run in self.live_runs():
                raise ConflictError(f"run {run} is being written by a process; try again when it has ended")
            head = self._replace(kind, id, lambda current: evict(current, kind, id, if_match))
            if kind == "run":
                self.sync()  # before a new writer of the run names this eviction in a log that is synced by itself
        self._barrier(head)

    def _replace(self, kind: str, id: str, change: Change, *, unborn: bool = False) -> Record:
        with self.journal.exclusive():
            current = self._head_to_replace(kind, id, unborn=unborn)
            head = change(current)
            if head is not current:
                self.journal.put(head)
        return head

    def _barrier(self, record: Record) -> None:
        """What lies outside of running runs is safe from the loss of power when the call or the batch ends."""
        if record.kind == "run" and not _is_running(record.content):
            self._ended += 1
        if not self._in_running_run(record):
            if getattr(self._batches, "depth", 0):
                self._batches.rests = True
            else:
                self.sync()
                self.settle()
        self._relieve()

    def _in_running_run(self, record: Record) -> bool:
        run = lives_in_run(record)
        if run is None:
            return False
        head = record if record.kind == "run" else self._head("run", run)
        return head is not None and _is_running(head.content)

    def _relieve(self) -> None:
        """Folds behind once there is something to fold."""
        if self.journal.sealed or self._ended >= FOLD_RUNS:
            self._hurry.set()
            self._fold_behind()
        thread = self._thread
        if len(self.journal.sealed) > BACKLOG and thread is not None and thread.is_alive():
            thread.join()  # who writes faster than the disk takes it must wait, or memory would not suffice

    def settle(self) -> None:
        """Brings what came to rest into the tree, as soon as the store asks for it."""
        if self.store.linger == 0:
            self._fold_quietly(self._seal_and_fold)
        elif self.store.linger is not None:
            self._unsettled = True
            self._fold_behind(self.store.linger)

    @contextlib.contextmanager
    def batch(self, message: str, actor: str | None = None) -> Iterator[None]:
        self._batches.depth = getattr(self._batches, "depth", 0) + 1
        if self._batches.depth == 1:
            self._batches.children = {}
        try:
            yield
        finally:
            self._batches.depth -= 1
            if not self._batches.depth:
                self._batches.children = None
                self.sync()
                if getattr(self._batches, "rests", False):
                    self._batches.rests = False
                    self.settle()

    def sync(self) -> None:
        if self.durability != "power" or self.readonly:
            return
        if self._loose_blobs:  # before the records that speak of them
            self._loose_blobs = False
            self.store.sync()
        self.journal.sync()

    def write_blobs(self, blobs: Sequence[bytes]) -> list[BlobReference]:
        return [self.write_blob(io.BytesIO(data)) for data in blobs]  # small ones go into the log

    def write_blob(self, source: BinaryIO, *, media_type: str = "application/octet-stream") -> BlobReference:
        self._writable()
        start = blobs.read_start(source, SMALL_BLOB + 1)
        if len(start) > SMALL_BLOB:
            reference = blobs.write_blob(self.store, source, media_type, start)
            self._loose_blobs = True
            return reference
        digest = canonical.digest(start)
        self.journal.put_blob(digest, start)
        self._relieve()
        return BlobReference(digest=digest, media_type=media_type, size=len(start))

    def history(self, kind: str, id: str, *, at: str | None = None) -> Iterator[Revision]:
        found = super().history(kind, id, at=at)
        head = self._head(kind, id) if at is None else None
        first = next(found, None)
        if head is not None and not head.vacant and (first is None or first.record.etag != head.etag):
            yield Revision(head)
        if first is not None:
            yield first
        yield from found

    def open_blob(self, digest: str) -> BinaryIO:
        check_digest(digest)
        data = self.journal.blob(digest)
        if data is None:
            try:
                return super().open_blob(digest)
            except NotFoundError:
                self._logged_blobs()
                data = self.journal.blob(digest)
        if data is None:
            return super().open_blob(digest)  # folded meanwhile, or never there
        return blobs.verified(io.BytesIO(data), digest)

    def has_blobs(self, digests: Iterable[str]) -> set[str]:
        asked = set(digests)
        logged = asked & self._logged_blobs()
        return logged | super().has_blobs(asked - logged)

    def blobs(self) -> Iterator[str]:
        logged = self._logged_blobs()
        for digest in super().blobs():
            logged.discard(digest)
            yield digest
        yield from logged

    def _logged_blobs(self) -> set[str]:
        """The digests of all blobs in the logs."""
        with self.journal.lock:
            self.journal.scan()
            return {digest for view in self.journal.views.values() for digest in view.blobs}

    def open_writer(self, run: str) -> JournalWriter:  # type: ignore[override]  # the same contract by structure
        self._writable()
        check_id(run)
        with self.journal.exclusive():  # nobody evicts the run until it is known to be written
            return self.journal.open_writer(run, self._eviction(run))

    def append_stream(self, run: str, writer: str, first: int, columns: Columns) -> int:
        self._writable()
        check_id(run)
        stream = stream_of(columns)
        with self.journal.exclusive():
            evicted = self._eviction(run)
            logged = self._logged_parts(run, evicted)
            ends = [part[1] + len(part[2]) for part in logged if part[0] == writer and stream_of(part[2]) == stream]
            next_ = max([self.tree.end(run, writer, stream, evicted)[0], *ends])
            if first > next_:
                raise ConflictError(
                    f"run {run}: {first} does not follow on what {writer} wrote, which ends at {next_}", next=next_
                )
            if first + len(columns) <= next_:
                return next_
            self.journal.add_columns(run, evicted, writer, next_, columns.skip(next_ - first))
        if not getattr(self._batches, "depth", 0):
            self.sync()
        return first + len(columns)

    def _beyond(self, run: str, stream: Stream, known: Mapping[str, int]) -> Iterator[Segment]:
        evicted = self._eviction(run)
        logged = self._logged_parts(run, evicted)
        parts = [part for part in logged if stream_of(part[2]) == stream]
        damage: CorruptObjectError | None = None
        try:
            parts.extend(self.tree.parts(run, stream, evicted, known))
        except CorruptObjectError as error:
            damage = error
        yield from joined(parts, known)
        if damage:
            raise damage

    def stream_ends(self, run: str, stream: Stream) -> dict[str, int]:
        evicted = self._eviction(check_id(run))
        logged = self._logged_parts(run, evicted)
        ends = self.tree.ends(run, stream, evicted)
        for writer, first, columns in logged:
            if stream_of(columns) == stream:
                ends[writer] = max(ends.get(writer, 0), first + len(columns))
        return dict(sorted(ends.items()))

    def _logged_parts(self, run: str, evicted: int) -> list[Part]:
        """What the logs hold of a run's streams since an eviction."""
        with self.journal.lock:
            self.journal.scan()
            return self.journal.parts(run, evicted)

    def _summaries(self, run: str) -> tuple[int, tuple[WriterSummary, ...]]:
        """When a run was last evicted, and what its points since come to, those in the logs included."""
        evicted = self._eviction(run)
        parts = self._logged_parts(run, evicted)
        rested = self.tree.head("run", run)
        if rested is not None and rested.evicted == evicted:
            return evicted, summaries_with(rested.summaries, joined(parts))
        return evicted, summaries_with((), joined([*parts, *self.tree.parts(run, "points", evicted)]))

    def live_runs(self) -> set[str]:
        with self.journal.lock:
            self.journal.refresh()
            return self.journal.live_runs()

    def verify(self, *, quarantine: bool = False) -> Iterator[Problem]:
        if not self.readonly:
            self.fold()
        with self.journal.lock:
            self.journal.refresh()
            refs = {ref for view in self.journal.views.values() for ref in view.records}
            heads = (self.journal.head(ref) for ref in refs)
            logged = {head.id for head in heads if head is not None and not head.vacant}
            logged_blobs = self._logged_blobs()
            damaged = self.journal.damaged()
        for name in damaged:
            yield Problem("corrupt", f"log/{name}", f"the log {name} is damaged; all that could be read was folded")
        if quarantine:
            self._writable()
        yield from verify(self.store, quarantine=quarantine, elsewhere=logged, blobs_elsewhere=logged_blobs)

    def _after_fork(self) -> None:
        super()._after_fork()
        self._batches = threading.local()
        self._folding = threading.Lock()
        self._thread = None
        self._hurry = threading.Event()
        self._starting = threading.Lock()
        self._unsettled = False
        self._state = None
        self._catch_up = CatchUp(self.store, self.journal, self._summaries)

    def fold(self) -> None:
        """Brings all that this process acknowledged, and what dead processes left, into the tree.

        Raises:
            BackendError: The tree cannot be written; the logs keep what they hold.
        """
        self._writable()
        self._seal_and_fold()
        self._recover()

    def maintain(self, progress: Progress | None = None) -> dict[str, int]:
        self.fold()
        with self._folding, self.journal.folding(wait=True):
            merged = 0 if self._feeds else merge_notes(self.store, few=1)
            if merged:
                self.journal.changed()
        return ({"listings merged": merged} if merged else {}) | super().maintain(progress)

    @contextlib.contextmanager
    def adopting(self) -> Iterator[Mapping[str, list[Record]]]:
        """While held, the tree may be replaced by one that others changed: nobody writes a record or folds a log.

        Gives the records that only the logs hold, by the file that they belong to. What replaces the tree must count
        them in, with greater versions: a log that is folded later brings its own only where they are the newest.
        """
        with self._folding, self.journal.folding(wait=True), self.journal.exclusive():
            self.journal.refresh()
            found: dict[str, list[Record]] = {}
            for ref in {ref for view in self.journal.views.values() for ref in view.records}:
                head = self.journal.head(ref)
                rested = self.tree.head(*ref)
                if head is not None and (rested is None or rested.version < head.version):
                    found.setdefault(layout.record_key(*ref), []).append(head)
            try:
                yield found
            finally:
                self.journal.changed()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._hurry.set()
        thread = self._thread
        if thread is not None and thread.is_alive():
            thread.join()  # it closes what it folded, and so would this
        try:
            if not self.readonly:
                self.journal.writers.clear()
                self.journal.seal()
                self._fold_sealed()
        finally:
            self.journal.close()
            super().close()

    def _fold_behind(self, seconds: float = 0) -> None:
        """Folds in a thread of its own, unless one is about to."""
        with self._starting:
            if self._closed or (self._thread is not None and self._thread.is_alive()):
                return
            if not seconds:
                self._ended = 0
                self._fold_quietly(self.journal.seal)  # the caller's own write has succeeded
            self._hurry.clear()
            self._thread = threading.Thread(target=self._fold_later, args=(seconds,), name="padre-fold", daemon=True)
            try:
                self._thread.start()
            except RuntimeError as error:
                # The interpreter is ending, or the system has no thread left: a later fold or the next open does it.
                logger.debug("%s: not folded now: %s", self.store.url, error)

    def _fold_later(self, seconds: float) -> None:
        if not seconds:
            self._fold_quietly(self._fold_sealed)
        while True:
            with self._starting:
                if self._closed or not self._unsettled:
                    self._thread = None
                    return
            self._hurry.wait(self.store.linger)
            self._hurry.clear()
            self._unsettled = False
            if not self._closed:
                self._fold_quietly(self._seal_and_fold)

    def _seal_and_fold(self) -> None:
        self._ended = 0
        self.journal.seal()
        self._fold_sealed()

    def _fold_quietly(self, fold: Callable[[], None]) -> None:
        try:
            fold()
        except PadreError as error:
            logger.warning("%s: what was acknowledged stays in the log for now: %s", self.store.url, error)

    def _fold_sealed(self) -> None:
        with self._folding:
            names = [log.path.name for log in self.journal.sealed]
            if not names:
                return
            with self.journal.folding(wait=True):
                folded = sum([self._fold(name) for name in names])
                if not self._feeds and merge_notes(self.store):
                    self.journal.changed()
        if folded >= INDEX_RECORDS:
            self._index_behind()

    def _index_behind(self) -> None:
        """Spares the next reader what a batch of records costs the index; a few of them it takes up in no time."""
        try:
            self._caught_up()
        except PadreError as error:
            logger.debug("%s: not indexed now: %s", self.store.url, error)

    def _recover(self) -> None:
        """Folds what dead processes left, unless somebody else is doing it; readers see it either way."""
        names = self.journal.names()
        if not names:
            return
        with self._folding, self.journal.folding(wait=False) as mine:
            for name in names if mine else ():
                with self.journal.take_over(name) as dead:
                    if dead:
                        self._fold(name)

    def _fold(self, name: str) -> int:
        """Folds a log, removes it, and returns how many objects it spoke of."""
        entries, damaged = self._folded(name)
        if entries and not self._feeds:
            write_notes(self.store, name, entries)
        if self.durability == "power":
            self.store.sync()
        self.journal.forget(name, damaged=damaged)
        return len(entries)

    def _folded(self, name: str) -> tuple[list[Entry], bool]:
        if not self.capabilities.history:
            return fold_log(self.journal.view(name), self.tree, self._head)
        for _ in range(ATTEMPTS):
            view = self.journal.view(name)
            view.poll()
            view.scan()
            try:
                with self.store.batch(*messages.of_log(view, self._head, self.tree.head)):
                    self._drop_listings()
                    return fold_log(view, self.tree, self._head)
            except ConflictError:  # somebody else, such as a push, changed the same in the tree
                continue
        raise ConflictError(f"{self.store.url} is changed too often by others; try again")

    def _drop_listings(self) -> None:
        """Removes logs and listings of a folder that became this store; they would know nothing of what comes."""
        for prefix in (layout.LOG, layout.SNAPSHOTS):
            for entry in self.store.list(prefix):
                self.store.delete(entry.key)

    def _caught_up(self) -> Index:
        with self._lock:
            index = self._open_index()
            if self._catch_up.bring(index):
                self._compare(index)
            return index

    def _gone(self, index: Index, kind: str, id: str) -> None:
        if self._head(kind, id) is None:
            index.remove(kind, id)


@functools.lru_cache(maxsize=64)  # asked of a run whenever something is stored in it
def _is_running(content: bytes) -> bool:
    return b'"status":"running"' in content and canonical.from_json(content).get("status") == "running"


def _newer(one: Record | None, other: Record | None) -> Record | None:
    if one is None or other is None:
        return one or other
    return one if one.version > other.version else other
