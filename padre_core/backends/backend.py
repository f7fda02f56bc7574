"""The large contract: an opened place for records, streams and blobs."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Final, NamedTuple, Self

from padre_core.backends.blobs import named, read_start
from padre_core.backends.bytestore import GRACE, Absent, IfMatch, Progress
from padre_core.backends.capabilities import API_VERSION, Capabilities
from padre_core.errors import CorruptObjectError, NotFoundError, PadreError, UnsupportedError
from padre_core.objects import canonical
from padre_core.objects.base import BlobReference
from padre_core.objects.kinds import kind_of, kinds
from padre_core.objects.record import Record
from padre_core.streams.columns import Columns, Stream
from padre_core.streams.writer import StreamWriter

if TYPE_CHECKING:
    from padre_core.query.model import Query
    from padre_core.streams.spool import Waiting

SMALL_BLOB: Final = 1024 * 1024
"""Blobs up to this size, in bytes, are written and read many at a time."""


@dataclass(frozen=True, slots=True)
class Write:
    """One record to put, and the version it must follow.

    Attributes:
        notes: What the store may note about the remotes of an object of which it has nothing yet, in the same step; one
            that does not is told by `set_envelopes`. Never travels.
    """

    record: Record
    if_match: IfMatch = None
    notes: Mapping[str, Any] = field(default_factory=dict)


class Note(NamedTuple):
    """What a store shall note about one object's remotes, and the `Record.version` that must still be there."""

    kind: str
    id: str
    envelope: Mapping[str, Any]
    if_version: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a listing; `cursor` leads to the next, None means that this was the last."""

    records: tuple[Record, ...]
    cursor: str | None = None


class Change(NamedTuple):
    """That an object has a new head, or a run more in its streams (then `etag` is unchanged)."""

    kind: str
    id: str
    etag: str


@dataclass(frozen=True, slots=True)
class Changes:
    """A part of the change feed.

    Attributes:
        cursor: Where to go on; also set when nothing is new.
        reset: The cursor that was given is no longer known: this part begins with the oldest object.
    """

    entries: tuple[Change, ...]
    cursor: str
    more: bool = False
    reset: bool = False


class Segment(NamedTuple):
    """A contiguous part of a stream: what one writer wrote from sequence number `first` on."""

    writer: str
    first: int
    columns: Columns

    @property
    def end(self) -> int:
        """The sequence number that follows on this part."""
        return self.first + len(self.columns)

    def behind(self, start: int) -> Segment | None:
        """What of it lies at or behind a sequence number; None if nothing does."""
        if self.first >= start:
            return self
        if self.end <= start:
            return None
        return Segment(self.writer, start, self.columns.skip(start - self.first))


@dataclass(frozen=True, slots=True)
class Info:
    """What a backend says of itself.

    Attributes:
        store: The id of the store; the same in every copy of it.
        durability: What an acknowledged write survives: `process`, `power` or `spooled`.
    """

    url: str
    store: str
    format: int
    durability: str
    readonly: bool
    capabilities: Capabilities
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that `verify` found.

    Attributes:
        code: `corrupt`, `orphan`, `missing-blob`, `unused-blob`, `summary`, `gap`, `foreign` or `edited`.
        where: A key of the store, or `<kind> <id>`.
    """

    code: str
    where: str
    message: str
    quarantined: bool = False


class Revision(NamedTuple):
    """A version that an object has or had.

    Attributes:
        place: What the store calls the state that it came with, such as a commit; None if it is not in one yet.
    """

    record: Record
    place: str | None = None


class Backend(ABC):
    """An opened place for records, streams and blobs: a folder, a server, a database.

    Subclass `ByteStore` instead wherever bytes under keys are all there is. A plugin names the class in its entry
    point `padre.backends` under its URL scheme; core calls it as `cls(url, readonly=…, durability=…, **options)`, where
    `durability` is `process` or `power` and the options are the user's; an unknown option is an `UnsupportedError`.

    Contract:
        * A backend checks that a record's content belongs to its etag, and `if_match`; nothing else. Parents are
          the services' business, so that transfers work in any order.
        * Writes are idempotent by content: a record whose etag is the head or in its lineage, a stream part whose
          (writer, first) is stored already, and a blob of a known digest change nothing and succeed.
        * A put without `if_match` replaces what the record's lineage contains. What has diverged is kept: the
          greater etag becomes head, the other lies in `conflicts`.
        * A returned call is durable to the degree that `info().durability` says.
        * All methods may be called from several threads at once. Records and columns are never changed by either side.
        * Only errors of `padre_core.errors` leave a backend.
    """

    api_version: ClassVar[int] = API_VERSION
    capabilities: Capabilities = Capabilities()

    @abstractmethod
    def get(self, kind: str, id: str) -> Record:
        """The head of an object; a tombstone for a deleted one.

        Raises:
            NotFoundError: The store has never held it.
        """

    @abstractmethod
    def put(self, record: Record, *, if_match: IfMatch = None) -> Record:
        """Stores a version and returns the head that results.

        Raises:
            ConflictError: `if_match` is neither None nor the head's etag; or is `ABSENT` and something is there.
            InvalidObjectError: The record's content does not belong to its etag.
        """

    @abstractmethod
    def query(self, kind: str, query: Query) -> Page:
        """A page of the records of a kind."""

    @abstractmethod
    def count(self, kind: str, query: Query) -> int:
        """How many records a query finds, whatever its limit and cursor."""

    @abstractmethod
    def changes(self, cursor: str | None = None, *, limit: int = 1000) -> Changes:
        """What changed since a cursor; an object that changed twice may come once. None begins with the oldest."""

    @abstractmethod
    def append_stream(self, run: str, writer: str, first: int, columns: Columns) -> int:
        """Adds to a writer's part of a run's stream and returns the next sequence number.

        What is stored already is skipped.

        Raises:
            ConflictError: There would be a gap; `next` says what is expected.
        """

    @abstractmethod
    def read_stream(self, run: str, stream: Stream) -> Iterator[Segment]:
        """All parts of a stream, by writer, then by sequence, without overlaps."""

    def append_streams(self, parts: Sequence[tuple[str, Segment]]) -> None:
        """Adds parts of the streams of some runs, in their order, in as few steps as the backend can.

        Raises:
            PadreError: That of the first part that is not stored; of those behind it nothing is known.
        """
        with self.batch("Store points and lines"):
            for run, part in parts:
                self.append_stream(run, part.writer, part.first, part.columns)

    def read_streams(self, stream: Stream, known: Mapping[str, Mapping[str, int]]) -> Iterator[tuple[str, Segment]]:
        """What the streams of some runs hold beyond what is known of them, in as few steps as may be.

        They come in the order of the runs, each part with its run, and those of a run as `read_stream` gives them.

        Args:
            known: For each run, how many entries of each writer are left out; a writer that is not named gives all.
        """
        for run, begins in known.items():
            for part in self.read_stream(run, stream):
                rest = part.behind(begins.get(part.writer, 0))
                if rest is not None:
                    yield run, rest

    def stream_ends(self, run: str, stream: Stream) -> dict[str, int]:
        """For each writer of a stream, the sequence number that comes next."""
        return {part.writer: part.first + len(part.columns) for part in self.read_stream(run, stream)}

    def many_ends(self, runs: Sequence[str]) -> list[dict[Stream, dict[str, int]]]:
        """For each of some runs, where its streams end; empty ones where there is no such run."""
        return [{"points": self.stream_ends(run, "points"), "lines": self.stream_ends(run, "lines")} for run in runs]

    @abstractmethod
    def has_blobs(self, digests: Iterable[str]) -> set[str]:
        """Which of the blobs are stored."""

    @abstractmethod
    def write_blob(self, source: BinaryIO, *, media_type: str = "application/octet-stream") -> BlobReference:
        """Stores all that is left in a binary file, under the sha-256 of it."""

    def write_blobs(self, blobs: Sequence[bytes], *, digests: Sequence[str] | None = None) -> list[BlobReference]:
        """Stores some blobs of at most `SMALL_BLOB` bytes each, in as few steps as the backend can.

        Args:
            digests: What they are by the word of others, which is checked where they are stored.

        Raises:
            InvalidObjectError: One of them has another digest, and is not there; of the others nothing is known.
        """
        if digests is not None:
            named(blobs, digests)
        return [self.write_blob(io.BytesIO(data)) for data in blobs]

    def read_blobs(self, digests: Sequence[str], *, check: bool = True) -> Iterator[tuple[str, bytes]]:
        """The small ones of some blobs, each with its digest, in as few steps as may be.

        They come in the order of the digests. What is missing here, damaged, or larger than `SMALL_BLOB` is left out:
        `open_blob` says which of these it is, or gives it.

        Args:
            check: Whether damaged ones are left out; not for who hands them to `write_blobs`, which finds them.
        """
        for digest in digests:
            try:
                with self.open_blob(digest) as file:
                    data = read_start(file, SMALL_BLOB + 1)
            except (NotFoundError, CorruptObjectError):
                continue
            if len(data) <= SMALL_BLOB and (not check or canonical.digest(data) == digest):
                yield digest, data

    @abstractmethod
    def open_blob(self, digest: str) -> BinaryIO:
        """A blob as a file; who reads it to the end checks the digest (`padre_core.backends.blobs.verified`).

        Raises:
            NotFoundError: There is no such blob.
        """

    @abstractmethod
    def blobs(self) -> Iterator[str]:
        """The digests of all blobs, in no particular order."""

    @abstractmethod
    def set_envelope(self, kind: str, id: str, envelope: Mapping[str, Any], *, if_version: int | None = None) -> Record:
        """Replaces what this store notes about an object's remotes; no new version.

        Args:
            if_version: The `Record.version` that must still be there; None for any.

        Raises:
            ConflictError: Something was written meanwhile.
        """

    @abstractmethod
    def info(self) -> Info:
        """What the backend is."""

    @abstractmethod
    def close(self) -> None:
        """Finishes what is under way; the tree alone is then complete. May be called twice."""

    def get_many(self, refs: Sequence[tuple[str, str]]) -> list[Record | None]:
        """The heads of objects named by kind and id, in that order; None where there is none."""
        found: list[Record | None] = []
        for kind, id in refs:
            try:
                found.append(self.get(kind, id))
            except NotFoundError:
                found.append(None)
        return found

    def put_many(self, writes: Sequence[Write]) -> list[Record | PadreError]:
        """Puts each record by itself, with one barrier for all; what fails stands as its error in the result."""
        results: list[Record | PadreError] = []
        with self.batch(f"Store {len(writes)} objects"):
            for write in writes:
                try:
                    results.append(self.put(write.record, if_match=write.if_match))
                except PadreError as error:
                    results.append(error)
        return results

    def set_envelopes(self, notes: Sequence[Note]) -> list[Record | PadreError]:
        """Sets each envelope by itself, with one barrier for all; what fails stands as its error in the result."""
        results: list[Record | PadreError] = []
        with self.batch(f"Note {len(notes)} objects"):
            for note in notes:
                try:
                    results.append(self.set_envelope(note.kind, note.id, note.envelope, if_version=note.if_version))
                except PadreError as error:
                    results.append(error)
        return results

    def evict(self, kind: str, id: str, *, if_match: str) -> None:
        """Removes the local copy of an object that a remote has, streams included, as if it had never been here.

        It is no change of the object: `changes` tells nothing of it, and no more of the object until it is put again.
        Blobs stay. What lies below the object is not looked at: begin with that. Evicting what was evicted at the
        same version succeeds. Backends that can do it have the capability `eviction`.

        Raises:
            NotFoundError: It is not here.
            ConflictError: The head is another version, or a living process writes the run that it is or lives in.
            UnsupportedError: The backend cannot.
        """
        raise UnsupportedError(f"{type(self).__name__} cannot remove the local copy of an object (not yet)")

    def history(self, kind: str, id: str, *, at: str | None = None) -> Iterator[Revision]:
        """The versions of an object, newest first. Backends that keep them have the capability `history`.

        Args:
            at: Begin with the one that the store held in the state of this name, such as a commit or a tag.

        Raises:
            NotFoundError: There is no such state.
            UnsupportedError: The backend keeps the newest version only.
        """
        raise UnsupportedError(f"{self.info().url} keeps no old versions (impossible)")

    def open_writer(self, run: str) -> StreamWriter:
        """A new writer of a run's streams, for one process."""
        return StreamWriter(self.append_stream, run)

    def presign_blob(self, digest: str, seconds: int = 3600) -> str:
        """A URL by which whoever has it reads a blob for a while, past PaDRe and its permissions.

        Whether there is such a blob is not looked at. Backends that can do it have the capability `presign`.

        Raises:
            UnsupportedError: The backend has no such URLs.
            AuthenticationError: Its credentials cannot sign.
        """
        raise UnsupportedError(f"{self.info().url} has no signed URLs (impossible)")

    def live_runs(self, among: AbstractSet[str] | None = None) -> set[str] | None:
        """The runs that some living process writes; None if the backend cannot tell.

        Args:
            among: Only these matter, so that what is known of them already may do.
        """
        return None

    def waiting(self) -> list[Waiting]:
        """What this machine has acknowledged of streams and the store does not hold yet."""
        return []

    def known(self, kind: str, id: str) -> Record | Absent | None:
        """What this machine saw of an object not long ago, or that it was not there; None if `get` costs no more.

        A hint: others may have written since. It spares requests for what lies above an object, and for what only a
        write that succeeds tells for sure.
        """
        return None

    def pulse(self) -> object | None:
        """A token that changes with every record that anybody writes; None if that would cost as much as asking."""
        return None

    def batch(self, message: str, actor: str | None = None) -> AbstractContextManager[None]:
        """Put around the end of a run, deletes and transfers: one barrier, one commit."""
        return nullcontext()

    def sync(self) -> None:
        """Returns when everything acknowledged so far has the durability of `info`."""
        return

    def ping(self) -> None:
        """Returns if the backend answers.

        Raises:
            UnavailableError: It does not.
        """
        self.info()

    def object_url(self, kind: str, id: str) -> str:
        """The URL of an object, which services of this store take: that of the store, and `#<folder>/<id>`."""
        return f"{self.info().url}#{kind_of(kind).folder}/{id}"

    def object_at(self, url: str) -> tuple[str, str] | None:
        """The folder of the kind and the id in a URL that `object_url` made; None if it names another store's."""
        store, _, place = url.rpartition("#")
        folder, _, id = place.partition("/")
        return (folder, id) if store == self.info().url else None

    def pull(self) -> None:
        """Takes up what others stored, where this is a copy of a place elsewhere; `sync` calls it before it looks.

        Raises:
            UnavailableError: That place is away; what is here can still be read and written.
        """
        return

    def publish(self) -> None:
        """Returns when that place has what was stored here; `sync` calls it when it has written.

        Raises:
            UnavailableError: It is away; what was stored is kept, and goes there with the next call.
        """
        return

    def publish_later(self) -> None:
        """Lets it have that some time, together with what comes meanwhile; a `sync` in the background calls it."""
        self.publish()

    def refresh(self, *, accept_edits: bool = False) -> int:
        """Looks for what was changed past PaDRe, and returns how many objects were."""
        return 0

    def verify(self, *, quarantine: bool = False) -> Iterator[Problem]:
        """Reads and checks everything that is stored.

        Args:
            quarantine: Move damaged files aside, so that the rest works.
        """
        raise UnsupportedError(f"{type(self).__name__} cannot verify itself (not yet)")

    def maintain(self, progress: Progress | None = None) -> dict[str, int]:
        """Makes the store smaller or faster to read; what it says stays the same, and others may go on using it.

        Returns:
            What was done, as numbers by a name, such as `{"listings merged": 41}`; empty if nothing was to do.
        """
        raise UnsupportedError(
            f"{self.info().url} cannot be maintained from here (not yet): run `padre maintain` where it is itself"
        )

    def collect(
        self, progress: Progress | None = None, *, grace: float = GRACE, dry_run: bool = False
    ) -> dict[str, int]:
        """Removes blobs that no object names, and points of runs that are not there; others may go on using the store.

        Args:
            grace: What was written fewer seconds ago stays, for somebody may be about to name it. Less than the
                default is safe only while nobody else writes.
            dry_run: Remove nothing, only say what would be.

        Returns:
            How many keys and bytes, by a name; nothing where the store does not tell how old things are.
        """
        return {}

    def __getattr__(self, name: str) -> Repository:
        for model in kinds():
            if model.folder == name:
                return Repository(self, model.kind)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class Repository:
    """A backend's view of one kind, such as `backend.runs`."""

    def __init__(self, backend: Backend, kind: str) -> None:
        self.backend, self.kind, self.model = backend, kind, kind_of(kind)

    def get(self, id: str) -> Record:
        """See `Backend.get`."""
        return self.backend.get(self.kind, id)

    def put(self, record: Record, *, if_match: IfMatch = None) -> Record:
        """See `Backend.put`."""
        return self.backend.put(record, if_match=if_match)

    def query(self, query: Query) -> Page:
        """See `Backend.query`."""
        return self.backend.query(self.kind, query)

    def count(self, query: Query) -> int:
        """See `Backend.count`."""
        return self.backend.count(self.kind, query)
