"""The small contract: bytes under keys. Core makes a whole backend of any byte store."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, ClassVar, Final, NamedTuple

from padre_core.backends.capabilities import API_VERSION, Capabilities
from padre_core.errors import BackendError, NotFoundError, UnsupportedError


class Absent:
    """The type of `ABSENT` and `UNBORN`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


ABSENT: Final = Absent("ABSENT")
"""As `if_match`: only if nothing is there."""

UNBORN: Final = Absent("UNBORN")
"""The same of an object whose random id was made just now, so that a backend need not look whether it is there."""

IfMatch = str | Absent | None
"""A version or etag, `ABSENT`, or None for whatever is there."""

GRACE: Final = 7 * 24 * 3600.0
"""For so many seconds after it was last written, nothing is removed that no object names yet."""

Pieces = Sequence[bytes | memoryview]
"""Bytes one after the other, which who can should write without putting them together: new memory takes longer."""

Progress = Callable[[str, int, int], object]
"""Called with what is done now, how much of it, and of how many; 0 while nobody knows."""


class Item(NamedTuple):
    """What is stored under a key, and the store's token for this state of it."""

    data: bytes
    version: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A key in a listing; the size is in bytes.

    Attributes:
        at: When it was last written or renewed, in seconds since 1970; None if the store cannot tell. Listings may tell
            it more exactly than `stat`, so entries that differ in nothing else are equal.
    """

    key: str
    version: str
    size: int
    at: float | None = field(default=None, compare=False)


class Past(NamedTuple):
    """What a key once held; `data` is None where it was removed.

    Attributes:
        place: What the store calls the state that this came with, such as a commit.
        at: When that was, in UTC, as `2026-11-23T12:00:00.000000Z`.
    """

    data: bytes | None
    place: str
    at: str


class ByteStore(ABC):
    """Bytes under `/`-separated keys: subclass this to write a storage plugin.

    A plugin names the class in its entry point `padre.backends`, under its URL scheme; core opens it by calling it
    with the URL, and makes records, streams, blobs, filters and deletion of it. Keys come from core: segments of
    `a-z A-Z 0-9 . _ -`, never empty, `.` or `..`, at most 300 characters; a store need not check them again unless
    they become paths.

    Contract:
        * A write is atomic: a reader sees the old bytes or the new, never a mixture, and not both.
        * What `write` returned from is read by the next `read`, from any thread, and from any process that opened
          the same URL if the store declares `multi_process`.
        * `if_match` is checked and the bytes written in one step if the store declares `conditional_write`. Without
          it a workspace opens the store read-only, or for one writer if the user says `single_writer=true`.
        * All methods may be called from several threads at once.
        * Bytes that were passed in or returned are never changed by either side.

    Errors: `NotFoundError` for a missing key, `ConflictError` when `if_match` does not hold, `UnavailableError` for
    what may succeed later, `BackendError` for all else that goes wrong below; nothing else leaves a store.

    Args:
        url: As the user gave it.
        readonly: Writing methods are then never called.
        options: The user's options that no other argument takes.
    """

    api_version: ClassVar[int] = API_VERSION
    capabilities: Capabilities = Capabilities()

    log_folder: Path | None = None
    """A local folder, shared by all who open this store, for the writers' logs.

    Without one a store that is `persistent` gets change notes beside its objects, and points in batches."""

    linger: float | None = None
    """How many seconds after a run ended, or something outside of runs was stored, a log is brought into the tree.

    None: when it has gathered much, and when the store is closed. 0: before the call returns. The change feed of a
    store that names a `log_folder` (`change_feed`) also stands for notes and snapshots, which it is not given.
    """

    durability: str = "process"
    """What an acknowledged write shall survive, `process` or `power`; core sets it when the store is opened.

    `sync` is the barrier for `power`; this is for stores that change something in several steps, of which none may be
    lost to a power cut before the ones that follow on it.
    """

    dated: bool = False
    """Whether entries tell when they were written (`Entry.at`), so that what nobody needs can be removed one day."""

    rereads: int = 0
    """The size from which on a file on disk is read twice and sent (`send`), and not kept until its digest is known.

    0: none is; for stores that give what was written its name afterwards.
    """

    together: int = 1
    """How many calls make their way faster at once than one after the other, such as requests to another machine."""

    single_writer: bool = False
    """Whether the user's settings say that nobody else writes; then core need not be told by an option."""

    def __init__(self, url: str, *, readonly: bool = False, **options: Any) -> None:
        self.url = url
        self.readonly = readonly
        if options:
            raise UnsupportedError(f"{url}: unknown option {min(options)!r} (impossible)")

    @abstractmethod
    def read(self, key: str) -> Item:
        """The bytes under a key."""

    @abstractmethod
    def write(self, key: str, data: bytes, *, if_match: IfMatch = None) -> str:
        """Stores bytes under a key and returns the new version.

        It differs from the version of all other bytes that the key ever held; the same bytes may have the same one.
        """

    @abstractmethod
    def delete(self, key: str) -> None:
        """Removes a key; used to purge and to clean up only. A missing key is no error."""

    @abstractmethod
    def list(self, prefix: str, *, after: str = "") -> Iterator[Entry]:
        """The keys that begin with a prefix and come after a key, in byte order."""

    def delete_many(self, keys: Iterable[str]) -> None:
        """Removes keys, in no particular order."""
        for key in keys:
            self.delete(key)

    def delete_unchanged(self, entries: Sequence[Entry]) -> Iterator[Entry]:
        """Removes keys that are still as they were listed, and gives those that it removed.

        A store whose keys others write at the same time looks and removes in one step, if it can. Only used on stores
        that are `dated`.
        """
        still = [entry for entry in entries if self.is_unchanged(entry)]
        self.delete_many([entry.key for entry in still])
        yield from still

    def is_unchanged(self, entry: Entry) -> bool:
        """Whether a key is as it was listed, and was not renewed since.

        Raises:
            BackendError: The store does not tell when it was written.
        """
        try:
            now = self.stat(entry.key)
        except NotFoundError:
            return False
        if now.at is None:
            raise BackendError(f"{self.url} does not tell when {entry.key} was written")
        # To the second: listings tell times more precisely than answers to HEAD do.
        return now.version == entry.version and int(now.at) == int(entry.at or 0)

    def read_many(self, keys: Iterable[str]) -> Iterator[Item | None]:
        """What is under each key, in the order of the keys; None where nothing is."""
        for key in keys:
            try:
                yield self.read(key)
            except NotFoundError:
                yield None

    def read_starts(self, keys: Iterable[str], length: int) -> Iterator[bytes | None]:
        """At most `length` bytes of each key from its start, in the order of the keys; None where nothing is."""
        for key in keys:
            try:
                yield self.read_range(key, 0, length)
            except NotFoundError:
                yield None

    def write_new(self, items: Iterable[tuple[str, bytes]]) -> None:
        """Stores bytes under keys that follow from them, in any order; what is there already is the same."""
        for key, data in items:
            with self.open_writer(lambda key=key: key) as file:  # type: ignore[misc]  # bound now
                file.write(data)

    def write_folders(self, folders: Iterable[Mapping[str, Pieces]]) -> Iterator[Sequence[str] | None]:
        """Stores bytes under keys below prefixes under which nothing lies yet, prefix by prefix.

        Args:
            folders: All that is to lie below one prefix, by key; best in the order of the prefixes.

        Returns:
            For each prefix the versions of its keys; None, with nothing stored, where something lies below it.
        """
        for files in folders:
            if next(self.list(next(iter(files)).rpartition("/")[0] + "/"), None) is None:
                yield [self.write(key, b"".join(pieces)) for key, pieces in files.items()]
            else:
                yield None

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """At most `length` bytes from `start` on; fewer at the end."""
        return self.read(key).data[start : start + length]

    def open_reader(self, key: str) -> BinaryIO:
        """The bytes under a key as a file."""
        return io.BytesIO(self.read(key).data)

    def open_writer(self, key: Callable[[], str]) -> AbstractContextManager[BinaryIO]:
        """A file that becomes the bytes under a key when the block ends, and nothing if it raises.

        Args:
            key: Asked when the block ends, for the name of a blob follows from its bytes.
        """
        return _BufferedWriter(self, key)

    def send(self, key: str, file: BinaryIO, size: int) -> None:
        """Stores a file under a key that follows from its bytes; only used on stores that have `rereads`.

        Args:
            file: Has `read` and `seek`, and may be read from its start to its end only, as often as need be.

        Raises:
            InvalidObjectError: As its `read` does, before its last bytes came; nothing may then be stored.
        """
        raise UnsupportedError(f"{self.url} takes no files (impossible)")

    def append(self, key: str, data: bytes, *, at: int) -> None:
        """Makes an existing key hold its first `at` bytes and the new ones behind them.

        Only used on stores that name a `log_folder`, by one process at a time; need not be atomic.

        Raises:
            UnsupportedError: The store cannot; core then writes further segments instead.
        """
        raise UnsupportedError(f"{self.url} cannot append (impossible)")

    def stat(self, key: str) -> Entry:
        """Version and size of a key."""
        item = self.read(key)
        return Entry(key, item.version, len(item.data))

    def renew(self, key: str) -> None:
        """Makes `Entry.at` of a key the present time, as if the same bytes had been written again, also for `sync`.

        Only used on stores that are `dated`.
        """
        item = self.read(key)
        self.write(key, item.data, if_match=item.version)

    def changes(self, cursor: str | None) -> tuple[tuple[str, ...], str] | None:
        """The keys written or deleted since a cursor, and the next cursor; None if only a listing can tell."""
        return None

    def state(self) -> object:
        """A token that differs when anything was changed, for about the price of reading a small file.

        Only used on stores that name a `log_folder`: None says that their tree is changed by core alone.
        """
        return None

    def history(self, key: str, *, at: str | None = None) -> Iterator[Past]:
        """What a key held, newest first, where the store declares `history`.

        Args:
            at: Begin with the state of this name instead of the newest; the store says what names a state.

        Raises:
            NotFoundError: There is no such state.
        """
        raise UnsupportedError(f"{self.url} keeps no old versions (impossible)")

    def presign(self, key: str, seconds: int) -> str:
        """A URL by which whoever has it reads a key for a while, where the store declares `presign`."""
        raise UnsupportedError(f"{self.url} has no signed URLs (impossible)")

    def strangers(self) -> Iterator[str]:
        """Where something lies that the store refuses to read, such as a symlink; `verify` names it."""
        return iter(())

    def batch(self, message: str, actor: str | None = None) -> AbstractContextManager[None]:
        """Put around the end of a run, deletes and transfers; a store may make one commit of it."""
        return nullcontext()

    def sync(self) -> None:
        """Returns when everything written so far survives the loss of power, as far as the store can tell."""
        return

    def maintain(self, progress: Progress) -> dict[str, int]:
        """Makes what is stored smaller or faster to read, and returns what was done, as numbers by a name."""
        return {}

    def close(self) -> None:
        """Frees what the store holds; nothing is called afterwards."""
        return


class _BufferedWriter(io.BytesIO):
    """Collects bytes in memory and writes them as one value."""

    def __init__(self, store: ByteStore, key: Callable[[], str]) -> None:
        super().__init__()
        self._store, self._key = store, key

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self._store.write(self._key(), self.getvalue())
        super().__exit__(kind, error, traceback)
