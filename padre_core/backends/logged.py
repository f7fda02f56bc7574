"""A backend whose writers keep logs: what a call acknowledged is in the log, and reaches the tree behind it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from padre_core.backends import layout
from padre_core.backends.backend import Note, Page, Problem, Revision, Segment, Write
from padre_core.backends.bytestore import UNBORN, ByteStore, IfMatch, Progress
from padre_core.backends.catchup import CatchUp
from padre_core.backends.fold import adopt_logs
from padre_core.backends.folding import Folding
from padre_core.backends.listing import Listing
from padre_core.backends.logged_blobs import LoggedBlobs
from padre_core.backends.logged_streams import LoggedStreams
from padre_core.backends.merge import evict, resolve
from padre_core.backends.store import ByteStoreBackend, Change, lives_in_run
from padre_core.backends.verify import verify
from padre_core.errors import ConflictError, PadreError
from padre_core.objects import canonical
from padre_core.objects.base import BlobReference
from padre_core.objects.identity import check_id, is_run_id, run_of
from padre_core.objects.record import Record, decode
from padre_core.objects.references import ancestor_refs
from padre_core.objects.run import is_running
from padre_core.streams.columns import Columns, Stream
from padre_core.streams.journal import Journal, JournalWriter

if TYPE_CHECKING:
    from padre_core.backends.index import Index
    from padre_core.query.model import Query


TOGETHER = 100
"""How many of the records, or parts of streams, of one call are stored before others get their turn."""


class _Batch(threading.local, contextlib.AbstractContextManager[None]):
    """What each thread puts off until the outermost of its batches ends.

    Attributes:
        owed: Something was stored that is to be safe from the loss of power then.
        rests: Of that something is at rest, and may be brought into the tree.
        children: What the tree holds of the run that was looked into last; None outside of batches.
    """

    depth = 0
    owed = rests = False
    children: dict[tuple[str, object], dict[bytes, bytes]] | None = None

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended

    def __enter__(self) -> None:
        self.depth += 1
        if self.depth == 1:
            self.children = {}
            self.owed = self.rests = False

    def __exit__(self, *error: object) -> None:
        self.depth -= 1
        if not self.depth:
            self.children = None
            self._ended()


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
        self._hastens = durability == "power" or store.linger is not None
        self.journal = Journal(folder, readonly=self.readonly)
        self._batch = _Batch(self._batch_ended)
        self._state: object = None
        self._closed = False
        self._blobs = LoggedBlobs(store, self.journal)
        self._streams = LoggedStreams(self.tree, self.journal, self._eviction)
        self._folding = Folding(store, self.tree, self.journal, head=self._head, index=self._index_folded)
        self._catch_up = CatchUp(store, self.journal, self._streams.summaries)
        if not self.readonly:
            if store.capabilities.change_feed:
                adopt_logs(store, folder)
            self._folding.recover_quietly()

    def get(self, kind: str, id: str) -> Record:
        record = super().get(kind, id)
        return self._streams.summarised(record) if kind == "run" else record

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
        known = self._batch.children
        if run is None or known is None:
            return self.tree.head(kind, id)
        if (run, seen) not in known:  # what came to the tree since is another set of logs
            known.clear()
            known[run, seen] = self.tree.children(run)
        return self.tree.child(kind, id, known[run, seen])

    def _head_to_replace(self, kind: str, id: str, *, unborn: bool) -> Record | None:
        """The head, without reading the tree for what cannot be there; the lock is held."""
        if unborn:
            self._refresh()  # else the next look would forget that it is only in the log
            return self.journal.head((kind, id))
        return self._head_at_hand(kind, id)

    def _head_at_hand(self, kind: str, id: str) -> Record | None:
        ref = kind, id
        with self.journal.lock:
            self._refresh()
            if ref in self.journal.unfolded:
                return self.journal.head(ref)
            if ref in self.journal.rested:
                return _newer(self.journal.head(ref), self.journal.rested[ref])
        return self._head(kind, id)

    def pulse(self) -> object | None:
        with self.journal.lock:
            generation, state = self._refresh()
            entries = sum([len(view.order) for view in self.journal.views.values()])
            return None if generation < 0 else (generation, entries, state)

    def put(self, record: Record, *, if_match: IfMatch = None) -> Record:
        self._writable()
        head = self._put(Write(record, if_match))
        self._barrier([head])
        return head

    def put_many(self, writes: Sequence[Write]) -> list[Record | PadreError]:
        with self.batch(f"Store {len(writes)} objects"):
            return self._together([partial(self._put, write) for write in writes])

    def _together(self, steps: Sequence[Callable[[], Record]]) -> list[Record | PadreError]:
        """Takes many steps, each of which makes a head or fails by itself."""
        self._writable()
        results: list[Record | PadreError] = []
        for start in range(0, len(steps), TOGETHER):
            heads: list[Record] = []
            with self.journal.exclusive():
                for step in steps[start : start + TOGETHER]:
                    try:
                        heads.append(step())
                        results.append(heads[-1])
                    except PadreError as error:
                        results.append(error)
            self._barrier(heads)
        return results

    def _put(self, write: Write) -> Record:
        record, if_match, notes = write.record, write.if_match, write.notes
        layout.check_reference(record.kind, record.id)
        change: Change = lambda current: resolve(current, record, if_match, notes)  # noqa: E731  # as in the class above
        head = self._replace(record.kind, record.id, change, unborn=if_match is UNBORN)
        if head.kind == "run" and not is_running(head):
            self._folding.run_ended()
        return head

    def set_envelope(self, kind: str, id: str, envelope: Mapping[str, Any], *, if_version: int | None = None) -> Record:
        head = super().set_envelope(kind, id, envelope, if_version=if_version)
        self._barrier([head])
        return head

    def set_envelopes(self, notes: Sequence[Note]) -> list[Record | PadreError]:
        note = super().set_envelope
        with self.batch(f"Note {len(notes)} objects"):
            return self._together([
                partial(note, each.kind, each.id, each.envelope, if_version=each.if_version) for each in notes
            ])  # fmt: skip

    def evict(self, kind: str, id: str, *, if_match: str) -> None:
        self._writable()
        run = id if kind == "run" else run_of(id)
        with self.journal.exclusive():
            if run in self.live_runs():
                raise ConflictError(f"run {run} is being written by a process; try again when it has ended")
            head = self._replace(kind, id, lambda current: evict(current, kind, id, if_match))
            if kind == "run":
                self.sync()  # before a new writer of the run names this eviction in a log that is synced by itself
        self._barrier([head])

    def _replace(self, kind: str, id: str, change: Change, *, unborn: bool = False) -> Record:
        with self.journal.exclusive():
            current = self._head_to_replace(kind, id, unborn=unborn)
            head = change(current)
            if head is not current:
                self.journal.put(head)
        if not unborn:  # the record of a run that just began need not be safe before its end
            self._batch.owed = True
        return head

    def _barrier(self, heads: Sequence[Record]) -> None:
        """What lies outside of running runs is safe from the loss of power when the call or the batch ends."""
        if self._hastens and not all(map(is_running, heads)) and self._beside_running(heads):
            if self._batch.depth:
                self._batch.owed = self._batch.rests = True
            elif not self.settle():
                self.sync()
        self._folding.relieve()

    def _beside_running(self, heads: Sequence[Record]) -> bool:
        """Whether any of some heads neither is a run that goes on nor lives in one."""
        runs = {head.id: head for head in heads if head.kind == "run"}
        owners = {lives_in_run(head) for head in heads}
        holders = (None if owner is None else runs.get(owner) or self._head("run", owner) for owner in owners)
        return not all(run is not None and is_running(run) for run in holders)

    def settle(self) -> bool:
        """Brings what came to rest into the tree, as soon as the store asks for it.

        Returns:
            Whether all that this process acknowledged is there now, and as durable as the store promises.
        """
        return self._folding.settle()

    def batch(self, message: str, actor: str | None = None) -> contextlib.AbstractContextManager[None]:
        return self._batch

    def _batch_ended(self) -> None:
        settled = self._batch.rests and self.settle()
        if self._batch.owed and not settled:
            self.sync()

    def sync(self) -> None:
        if self.durability != "power" or self.readonly:
            return
        self._blobs.sync()
        self.journal.sync()

    def write_blobs(self, blobs: Sequence[bytes], *, digests: Sequence[str] | None = None) -> list[BlobReference]:
        self._writable()
        references = self._blobs.write_many(blobs, digests)
        self._batch.owed = True
        self._folding.relieve()
        return references

    def write_blob(self, source: BinaryIO, *, media_type: str = "application/octet-stream") -> BlobReference:
        self._writable()
        reference = self._blobs.write(source, media_type)
        self._batch.owed = True
        self._folding.relieve()
        return reference

    def history(self, kind: str, id: str, *, at: str | None = None) -> Iterator[Revision]:
        found = super().history(kind, id, at=at)
        head = self._head(kind, id) if at is None else None
        first = next(found, None)
        if head is not None and not head.vacant and (first is None or first.record.etag != head.etag):
            yield Revision(head)
        if first is not None:
            yield first
        yield from found

    def read_blobs(self, digests: Sequence[str], *, check: bool = True) -> Iterator[tuple[str, bytes]]:
        self._blobs.logged()  # those that others acknowledged, too
        for digest in digests:
            data = self.journal.blob(digest)
            if data is not None and (not check or canonical.digest(data) == digest):
                yield digest, data
            else:
                yield from super().read_blobs([digest], check=check)

    def open_blob(self, digest: str) -> BinaryIO:
        return self._blobs.open(digest)

    def has_blobs(self, digests: Iterable[str]) -> set[str]:
        return self._blobs.known(digests)

    def blobs(self) -> Iterator[str]:
        return self._blobs.all()

    def open_writer(self, run: str) -> JournalWriter:  # type: ignore[override]  # the same contract by structure
        self._writable()
        return self._streams.open_writer(check_id(run))

    def append_stream(self, run: str, writer: str, first: int, columns: Columns) -> int:
        self._writable()
        end, grew = self._streams.append(check_id(run), writer, first, columns)
        if grew:
            self._batch.owed = True
            if not self._batch.depth:
                self.sync()
        return end

    def append_streams(self, parts: Sequence[tuple[str, Segment]]) -> None:
        with self.batch("Store points and lines"):
            for start in range(0, len(parts), TOGETHER):
                with self.journal.exclusive():
                    for run, part in parts[start : start + TOGETHER]:
                        self.append_stream(run, part.writer, part.first, part.columns)

    def _beyond(self, run: str, stream: Stream, known: Mapping[str, int]) -> Iterator[Segment]:
        return self._streams.beyond(run, stream, known)

    def stream_ends(self, run: str, stream: Stream) -> dict[str, int]:
        return self._streams.ends(check_id(run), stream)

    def live_runs(self, among: AbstractSet[str] | None = None) -> set[str]:
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
            logged_blobs = self._blobs.logged()
            damaged = self.journal.damaged()
        for name in damaged:
            yield Problem("corrupt", f"log/{name}", f"the log {name} is damaged; all that could be read was folded")
        if quarantine:
            self._writable()
        yield from verify(self.store, quarantine=quarantine, elsewhere=logged, blobs_elsewhere=logged_blobs)

    def _after_fork(self) -> None:
        super()._after_fork()
        self._batch = _Batch(self._batch_ended)
        self._state = None
        self._blobs.after_fork()
        self._folding.after_fork()
        self._catch_up = CatchUp(self.store, self.journal, self._streams.summaries)

    def fold(self) -> None:
        """Brings all that this process acknowledged, and what dead processes left, into the tree.

        Raises:
            BackendError: The tree cannot be written; the logs keep what they hold.
        """
        self._writable()
        self._folding.fold_own()
        self._folding.recover()

    def maintain(self, progress: Progress | None = None) -> dict[str, int]:
        self.fold()
        merged = self._folding.merge_listings()
        return ({"listings merged": merged} if merged else {}) | super().maintain(progress)

    def adopting(self) -> contextlib.AbstractContextManager[Mapping[str, list[Record]]]:
        """While held, the tree may be replaced by one that others changed: nobody writes a record or folds a log.

        Gives the records that only the logs hold, by the file that they belong to. What replaces the tree must count
        them in, with greater versions: a log that is folded later brings its own only where they are the newest.
        """
        return self._folding.adopting()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._folding.close()
        try:
            if not self.readonly:
                self.journal.writers.clear()
                self._folding.fold_own()
        finally:
            self.journal.close()
            super().close()

    def query(self, kind: str, query: Query) -> Page:
        if query.only_within and is_run_id(query.within or ""):
            with contextlib.suppress(PadreError):  # of damaged files the index may know what was in them
                found = self._living_in_run(kind, str(query.within))
                if 0 < len(found) <= query.limit:
                    return Page(tuple(found))
        return super().query(kind, query)

    def _living_in_run(self, kind: str, run: str) -> list[Record]:
        """The objects of a kind in a run, by creation time, as logs and tree have them; none if some are hidden.

        Who asks for what he just stored should not wait until it is in the index.
        """
        head = self._head("run", run)
        above = [] if head is None else [self._head_at_hand(*ref) for ref in ancestor_refs(head)]
        if any(one is None or one.deleted or one.vacant for one in (head, *above)):
            return []
        with self.journal.lock:  # logs first, as always
            self.journal.refresh()
            newest = self.journal.in_run(kind, run)
        for line in self.tree.children(run).values():
            record = decode(line, layout.children_key(run))
            if record.kind == kind:
                newest[record.id] = _newer(newest.get(record.id), record) or record
        living = (record for record in newest.values() if record.deleted is None and not record.vacant)
        return sorted(living, key=lambda record: (not record.created_at, record.created_at, record.id))

    def _caught_up(self) -> Index:
        with self._lock:
            index = self._open_index()
            if self._catch_up.bring(index):
                self._compare(index)
            return index

    def _index_folded(self, notes: Mapping[str, Listing]) -> None:
        """Brings what was folded into the index, if it can go on from there; else who first asks it fills it."""
        with self._lock:
            index = self._open_index()
            if self._catch_up.follows(index) and self._catch_up.bring_rested(index, notes):
                self._compare(index)

    def _gone(self, index: Index, kind: str, id: str) -> None:
        if self._head(kind, id) is None:
            index.remove(kind, id)


def _newer(one: Record | None, other: Record | None) -> Record | None:
    if one is None or other is None:
        return one or other
    return one if one.version > other.version else other
