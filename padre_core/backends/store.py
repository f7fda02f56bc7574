"""A whole backend of any byte store."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import threading
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from padre_core.backends import blobs, layout
from padre_core.backends.backend import SMALL_BLOB, Backend, Changes, Info, Page, Problem, Revision, Segment
from padre_core.backends.blobs import named
from padre_core.backends.bytestore import ABSENT, GRACE, ByteStore, IfMatch, Progress
from padre_core.backends.listing import Entry
from padre_core.backends.merge import evict, resolve
from padre_core.backends.tree import Tree, joined, summaries_with, with_summaries
from padre_core.backends.verify import verify
from padre_core.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    BackendError,
    ConflictError,
    CorruptObjectError,
    NotFoundError,
    ReadOnlyError,
    UnavailableError,
)
from padre_core.objects import canonical
from padre_core.objects.base import BlobReference
from padre_core.objects.identity import check_id, run_of
from padre_core.objects.record import Record
from padre_core.places import cache_folder
from padre_core.streams.columns import Columns, Points, Stream, stream_of

if TYPE_CHECKING:
    from padre_core.backends.index import Index
    from padre_core.query.model import Query

logger = logging.getLogger(__name__)

ATTEMPTS = 100
"""How often a write is tried again when somebody else was faster."""

_Answer = TypeVar("_Answer")

Change = Callable[[Record | None], Record]
"""Makes the new head of an object from the present one; returns that itself to change nothing."""


class ByteStoreBackend(Backend):
    """Records, streams and blobs on a byte store, in the open layout.

    This class writes all through, by compare-and-swap, and answers queries from an index that it brings up to date
    from the store's listing. `LoggedBackend` adds the writer's log, `SpooledBackend` spares requests.
    """

    durability = "process"

    def __init__(self, store: ByteStore, *, readonly: bool = False, single_writer: bool = False) -> None:
        self.store = store
        self.tree = Tree(store)
        self.readonly = readonly or not (store.capabilities.conditional_write or single_writer)
        self._reason = "" if readonly else " because it cannot write conditionally; single_writer=true overrides this"
        self._lock, self._alone = threading.RLock(), threading.RLock()
        self._index: Index | None = None
        self._shut = False
        self._cursor: str | None = None
        self._filling = ""
        self._versions: dict[str, str] | None = None
        self.id = self._open()
        _BACKENDS.add(self)
        self.capabilities = replace(
            store.capabilities,
            server_query=True,
            change_feed=True,
            conditional_write=store.capabilities.conditional_write or single_writer,
            multi_process=store.capabilities.multi_process and store.capabilities.conditional_write,
            eviction=True,
        )

    def _open(self) -> str:
        try:
            return layout.decode_marker(self.store.read(layout.MARKER).data, self.store.url)
        except NotFoundError:
            if self.readonly:
                why = f", and was opened read-only{self._reason}" if self._reason else ""
                raise NotFoundError(f"{self.store.url} is no store: it has no {layout.MARKER}{why}") from None
        id = str(uuid.uuid4())
        try:
            if_match = ABSENT if self.store.capabilities.conditional_write else None
            with self.store.batch("Make a store"):
                self.store.write(layout.MARKER, layout.encode_marker(id), if_match=if_match)
            if self.durability == "power":
                self.store.sync()
            return id
        except AlreadyExistsError:
            logger.debug("%s was made a store by somebody else meanwhile", self.store.url)
        return layout.decode_marker(self.store.read(layout.MARKER).data, self.store.url)

    def _writable(self) -> None:
        if self.readonly:
            raise ReadOnlyError(f"{self.store.url} was opened read-only{self._reason}")

    def get(self, kind: str, id: str) -> Record:
        record = self._head(kind, id)
        if record is None or record.vacant:
            raise self._missing(kind, id)
        return record

    def _head(self, kind: str, id: str) -> Record | None:
        """What is stored under an id, the trace of an eviction included."""
        return self.tree.head(kind, id)

    def _head_at_hand(self, kind: str, id: str) -> Record | None:
        """The same, without reading again what was just read."""
        return self._head(kind, id)

    def _eviction(self, run: str) -> int:
        """When a run was last evicted; what its streams held before counts no more."""
        try:
            head = self._head_at_hand("run", run)
        except CorruptObjectError:
            return self.tree.last_eviction(run)
        return 0 if head is None else head.evicted

    def _missing(self, kind: str, id: str) -> NotFoundError:
        return NotFoundError(f"{self.store.url} has no {kind} {id}")

    def put(self, record: Record, *, if_match: IfMatch = None) -> Record:
        self._writable()
        return self._replace(record.kind, record.id, lambda current: resolve(current, record, if_match))

    def set_envelope(self, kind: str, id: str, envelope: Mapping[str, Any], *, if_version: int | None = None) -> Record:
        self._writable()
        return self._replace(kind, id, lambda current: self._with_envelope(kind, id, current, envelope, if_version))

    def _with_envelope(
        self, kind: str, id: str, current: Record | None, envelope: Mapping[str, Any], if_version: int | None
    ) -> Record:
        if current is None or current.vacant:
            raise self._missing(kind, id)
        if if_version is not None and if_version != current.version:
            raise ConflictError(f"{kind} {id} in {self.store.url} was written meanwhile; look at it again")
        if current.envelope == envelope:
            return current
        return replace(current, envelope=dict(envelope), version=current.version + 1)

    def _replace(self, kind: str, id: str, change: Change) -> Record:
        """Makes a new head of the present one, again if somebody else was faster."""
        key = layout.record_key(kind, id)
        with self._apart():
            for _ in range(ATTEMPTS):
                records, version = self.tree.records(key)
                current = next((record for record in records if record.kind == kind and record.id == id), None)
                head = change(current)
                if head is current:
                    return head
                others = [record for record in records if record is not current]
                if kind == "run" and (current is None or current.vacant):
                    parts = joined(self.tree.parts(id, "points", head.evicted))
                    head = replace(head, summaries=summaries_with((), parts))
                try:
                    self.tree.write(key, [*others, head], version if self._conditional else None)
                except ConflictError:
                    continue
                return head
        raise ConflictError(f"{kind} {id} in {self.store.url} is changed too often by others; try again")

    def _apart(self) -> AbstractContextManager[object]:
        """Without conditions only the one writer's own threads can come between; held, they do not."""
        return contextlib.nullcontext() if self._conditional else self._alone

    @property
    def _conditional(self) -> bool:
        return self.store.capabilities.conditional_write

    def evict(self, kind: str, id: str, *, if_match: str) -> None:
        self._writable()
        head = self._replace(kind, id, lambda current: evict(current, kind, id, if_match))
        if kind == "run":
            self.tree.sweep(id, head.evicted)  # they count no more from the line above on, whatever happens here

    def history(self, kind: str, id: str, *, at: str | None = None) -> Iterator[Revision]:
        self.capabilities.require("history", self.store.url)
        key = layout.record_key(kind, id)
        told: set[str] = set()  # a version may come on two sides of a merge
        for past in self.store.history(key, at=at):
            try:
                records = [] if past.data is None else layout.decode_records(key, past.data)
            except CorruptObjectError as error:
                logger.warning("%s of %s: %s", past.place, past.at, error)
                continue
            record = next((item for item in records if item.kind == kind and item.id == id), None)
            if record is not None and not record.vacant and record.etag not in told:
                told.add(record.etag)
                yield Revision(record, past.place)

    def append_stream(self, run: str, writer: str, first: int, columns: Columns) -> int:
        self._writable()
        check_id(run)
        with self._lock:
            evicted = self._eviction(run)
            next_, _, _ = self.tree.end(run, writer, stream_of(columns), evicted)
            if first > next_:
                raise ConflictError(
                    f"run {run}: {first} does not follow on what {writer} wrote, which ends at {next_}", next=next_
                )
            end = self.tree.extend(run, [Segment(writer, first, columns)], evicted, append=False)
            if end > next_ and isinstance(columns, Points):
                with contextlib.suppress(NotFoundError):  # then its summaries are made when it comes
                    self._replace("run", run, lambda current: self._summarised(run, current))
            return end

    def _summarised(self, run: str, current: Record | None) -> Record:
        if current is None or current.vacant:
            raise self._missing("run", run)
        head = with_summaries(current, joined(self.tree.parts(run, "points", current.evicted)))
        return current if head is current else replace(head, version=current.version + 1)

    def read_stream(self, run: str, stream: Stream) -> Iterator[Segment]:
        return self._beyond(check_id(run), stream, {})

    def read_streams(self, stream: Stream, known: Mapping[str, Mapping[str, int]]) -> Iterator[tuple[str, Segment]]:
        for run, begins in known.items():
            for part in self._beyond(check_id(run), stream, begins):
                yield run, part

    def _beyond(self, run: str, stream: Stream, known: Mapping[str, int]) -> Iterator[Segment]:
        """What a stream holds beyond what is known of each writer."""
        return joined(self.tree.parts(run, stream, self._eviction(run), known), known)

    def stream_ends(self, run: str, stream: Stream) -> dict[str, int]:
        return self.tree.ends(check_id(run), stream, self._eviction(run))

    def has_blobs(self, digests: Iterable[str]) -> set[str]:
        return {digest for digest in digests if blobs.has_blob(self.store, digest, renew=not self.readonly)}

    def write_blob(self, source: BinaryIO, *, media_type: str = "application/octet-stream") -> BlobReference:
        self._writable()
        return blobs.write_blob(self.store, source, media_type)

    def write_blobs(self, blobs: Sequence[bytes], *, digests: Sequence[str] | None = None) -> list[BlobReference]:
        self._writable()
        found = named(blobs, digests)
        self.store.write_new(
            {layout.blob_key(one.digest): data for one, data in zip(found, blobs, strict=True)}.items()
        )
        return found

    def read_blobs(self, digests: Sequence[str], *, check: bool = True) -> Iterator[tuple[str, bytes]]:
        found = self.store.read_starts([layout.blob_key(digest) for digest in digests], SMALL_BLOB + 1)
        for digest, data in zip(digests, found, strict=True):
            if data is not None and len(data) <= SMALL_BLOB and (not check or canonical.digest(data) == digest):
                yield digest, data

    def open_blob(self, digest: str) -> BinaryIO:
        return blobs.open_blob(self.store, digest)

    def presign_blob(self, digest: str, seconds: int = 3600) -> str:
        return self.store.presign(layout.blob_key(digest), seconds)

    def blobs(self) -> Iterator[str]:
        return blobs.list_blobs(self.store)

    def query(self, kind: str, query: Query) -> Page:
        return self._ask(lambda index: index.query(kind, query))

    def count(self, kind: str, query: Query) -> int:
        return self._ask(lambda index: index.count(kind, query))

    def changes(self, cursor: str | None = None, *, limit: int = 1000) -> Changes:
        return self._ask(lambda index: index.changes(cursor, limit))

    def batch(self, message: str, actor: str | None = None) -> AbstractContextManager[None]:
        return self.store.batch(message, actor)

    def sync(self) -> None:
        self.store.sync()

    def info(self) -> Info:
        return Info(
            url=self.store.url,
            store=self.id,
            format=layout.FORMAT,
            durability=self.durability,
            readonly=self.readonly,
            capabilities=self.capabilities,
        )

    def refresh(self, *, accept_edits: bool = False) -> int:
        with self._lock:
            index = self._open_index()
            return self._compare(index, accept_edits=accept_edits)

    def verify(self, *, quarantine: bool = False) -> Iterator[Problem]:
        if quarantine:
            self._writable()
        return verify(self.store, quarantine=quarantine)

    def maintain(self, progress: Progress | None = None) -> dict[str, int]:
        self._writable()
        return self.store.maintain(progress or _silent)

    def collect(
        self, progress: Progress | None = None, *, grace: float = GRACE, dry_run: bool = False
    ) -> dict[str, int]:
        if not dry_run:
            self._writable()
        if not self.store.dated:
            return {}
        from padre_core.backends.garbage import collect  # and with it sqlite3

        return collect(self.store, self._caught_up(), grace, progress or _silent, dry_run=dry_run)

    def close(self) -> None:
        with self._lock:
            self._shut = True
            if self._index is not None:
                self._index.close()
                self._index = None
        self.store.close()

    def _after_fork(self) -> None:
        # The parent's connection must not be used, nor closed, here; its locks may be held by threads that are gone.
        self._lock, self._alone = threading.RLock(), threading.RLock()
        self._index = None

    def _open_index(self) -> Index:
        if self._shut:  # a thread that is late must not open what nobody would close
            raise BackendError(f"{self.store.url}: the store was closed; open it again")
        if self._index is None:
            from padre_core.backends.index import Index  # sqlite3 costs time that writers need not spend

            try:
                self._index = Index(index_path(self.store.url, self.id) if self.store.capabilities.persistent else None)
            except BackendError as error:
                logger.warning("%s; it is kept in memory: let $PADRE_CACHE name a folder that may be written", error)
                self._index = Index(None)
        return self._index

    def _ask(self, question: Callable[[Index], _Answer]) -> _Answer:
        try:
            return question(self._caught_up())
        except UnavailableError:  # a damaged index is empty afterwards
            return question(self._caught_up())

    def _caught_up(self) -> Index:
        """The index, with all that is in the store."""
        with self._lock:
            index = self._open_index()
            if index.id != self._filling:
                self._cursor, self._filling = None, index.id
            changed = self.store.changes(self._cursor)
            if changed is None:
                self._compare(index)
            else:
                keys, self._cursor = changed
                with index.transaction():
                    self._apply(index, [key for key in keys if layout.is_record_key(key)])
            return index

    def _compare(self, index: Index, *, accept_edits: bool = False) -> int:
        """Brings the index up to date with a listing of the store, and returns how many files were new."""
        known: dict[str, str] = {}
        owners: dict[str, list[tuple[str, str]]] = {}
        for kind, id, version in index.stamps():
            key = layout.record_key(kind, id)
            known[key] = version
            owners.setdefault(key, []).append((kind, id))
        listed = {entry.key: entry.version for entry in self._record_entries()}
        changed = [key for key, version in listed.items() if known.get(key) != version]
        with index.transaction():
            for key in known.keys() - listed.keys():
                for kind, id in owners[key]:
                    try:
                        self._gone(index, kind, id)
                    except AccessDeniedError as error:  # a link or a device took its place, which `verify` names
                        logger.warning("%s", error)
                        index.remove(kind, id)
            self._apply(index, changed, accept_edits=accept_edits)
        return len(changed) + len(known.keys() - listed.keys())

    def _gone(self, index: Index, kind: str, id: str) -> None:
        index.remove(kind, id)

    def _record_entries(self) -> Iterator[Any]:
        for prefix in layout.record_prefixes():
            for entry in self.store.list(prefix):
                if layout.is_record_key(entry.key):
                    yield entry

    def _apply(self, index: Index, keys: Sequence[str], *, accept_edits: bool = False) -> list[Entry]:
        """Reads files of records into the index, and returns what they hold."""
        found: list[Entry] = []
        for key, item in zip(keys, self.store.read_many(keys), strict=True):
            if item is None:
                continue
            try:
                records = layout.decode_records(key, item.data)
            except CorruptObjectError as error:
                if not accept_edits:
                    logger.warning("%s", error)
                    continue
                records = self._accept(key, item.data)
            index.put(records, stamps={(record.kind, record.id): item.version for record in records})
            found += [(item.version, record) for record in records]
        return found

    def _accept(self, key: str, data: bytes) -> list[Record]:
        """Takes what somebody edited by hand as new versions."""
        self._writable()
        records = layout.accept_edits(key, data)
        self.tree.write(key, records)
        return records


_BACKENDS: weakref.WeakSet[ByteStoreBackend] = weakref.WeakSet()


def _after_fork() -> None:
    for backend in list(_BACKENDS):
        backend._after_fork()


os.register_at_fork(after_in_child=_after_fork)


def _silent(phase: str, done: int, total: int) -> None:
    """Tells nobody."""


def index_path(url: str, store: str) -> Path:
    """Where the index of a store is kept on this machine."""
    place = hashlib.sha256(url.encode()).hexdigest()[:16]
    return cache_folder() / f"{store}-{place}.sqlite"


def lives_in_run(record: Record) -> str | None:
    """The run that a record is or lives in."""
    return record.id if record.kind == "run" else run_of(record.id)
