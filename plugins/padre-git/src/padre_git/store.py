"""A branch of a git repository as a byte store."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from padre_core.backends.bytestore import Absent, ByteStore, Entry, IfMatch, Item, Past, Pieces, Progress
from padre_core.backends.capabilities import Capabilities
from padre_core.backends.layout import BLOBS
from padre_core.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    ConflictError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from padre_git.branch import MARKER, Branch, Change
from padre_git.history import history
from padre_git.lfs import MAX_PLAIN, MAX_POINTER, THRESHOLD, LocalFiles, Pointer, attributes, pointer_at
from padre_git.maintenance import repack
from padre_git.place import parse
from padre_git.repository import errors
from padre_git.trees import BLOB_MODES, Found, differing, find, keys, walk

_ATTRIBUTES = ".gitattributes"
_ATTEMPTS = 100
_APPENDABLE = 1024 * 1024
"""Up to how many bytes a file grows by being written anew; longer ones get a file beside them."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """Changes that become one commit.

    Attributes:
        commit: What the branch was when it began, or would begin with: what is read in the batch is of that.
    """

    commit: str | None
    change: Change


class GitStore(ByteStore):
    """The tree of a branch, `git+file:///path[?branch=NAME]`: one git blob for each key.

    A repository that is not there is made, bare. A write is a commit, and so is a `batch`; but files under `blobs/`
    wait for the next one, seen by all on this machine. Versions are the ids of blobs, so equal bytes have equal
    versions. Several processes may use it at once, and so may git: whatever moves the branch meanwhile, no update is
    lost.

    Args:
        branch: Counts before the one in the URL.
        lfs: Whether blobs of 8 MiB and more lie beside the repository, by Git LFS; git then holds a pointer to each.
        linger: How many seconds after a run ended a commit is made, which holds all that was stored meanwhile; 0 makes
            one for each run, before its end returns. It is durable, and seen by all on this machine, before that.
    """

    capabilities = Capabilities(
        persistent=True, multi_process=True, conditional_write=True, change_feed=True, history=True
    )

    def __init__(
        self, url: str, *, readonly: bool = False, branch: str | None = None, linger: float = 1.0, lfs: bool = True,
        **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(url, readonly=readonly, **options)
        self.linger = linger
        place = parse(url, branch)
        self.url = place.url
        self.branch = Branch(place, make=not readonly)
        if not readonly:
            self.branch.check_free()
        self.log_folder = self.branch.folder / "log"
        self.large = LocalFiles(self.branch.common)
        self.accept_large: Callable[[Pointer], None] = lambda pointer: None
        self.fetch_large: Callable[[Pointer], None] | None = None
        self._lfs = lfs
        self._local = threading.local()
        _STORES.add(self)

    def read(self, key: str) -> Item:
        found = self._file(key)
        data = self._data(found)
        pointer = pointer_at(key, data)
        if pointer is not None:
            with self._open_large(pointer) as file:
                data = file.read()
        return Item(data, found.id)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        with self.open_reader(key) as file:
            file.seek(start)
            return file.read(length)

    def open_reader(self, key: str) -> BinaryIO:
        data = self._data(self._file(key))
        pointer = pointer_at(key, data)
        return io.BytesIO(data) if pointer is None else self._open_large(pointer)

    @contextlib.contextmanager
    def open_writer(self, key: Callable[[], str]) -> Iterator[BinaryIO]:
        with self.large.spool() as file:
            yield file
            name, size = key(), file.tell()
            if self._lfs and size >= THRESHOLD and name.startswith(BLOBS):
                self._keep_large(name, size, file)
                return
            if size > MAX_PLAIN:
                raise UnsupportedError(
                    f"{self.url} keeps no file of {size} bytes without Git LFS: open it without lfs=False"
                )
            file.seek(0)
            self.write(name, file.read())

    def stat(self, key: str) -> Entry:
        return self._entry(self._file(key))

    def write(self, key: str, data: bytes, *, if_match: IfMatch = None) -> str:
        if if_match is None and self._batch is None and self.branch.staged.takes(key):
            id = self.branch.add(data, power=self._power)
            self.branch.staged.add(key, id)
            return id
        if key != MARKER:
            return str(self._change(key, data, if_match, f"Store {key}"))
        with self.batch("Begin a store"):
            if self._find(_ATTRIBUTES) is None:  # else a checkout might change line ends, and with them checksums
                self._change(_ATTRIBUTES, b"* -text\n", None)
            return str(self._change(key, data, if_match))

    def write_folders(self, folders: Iterable[Mapping[str, Pieces]]) -> Iterator[Sequence[str] | None]:
        for files in folders:
            folder = next(iter(files)).rpartition("/")[0]
            with self.batch(f"Store {folder}"):
                versions = self._begin(self._local.batch.change, folder, files)
            yield versions

    def delete(self, key: str) -> None:
        self._change(key, None, None, f"Remove {key}")

    def append(self, key: str, data: bytes, *, at: int) -> None:
        if at > _APPENDABLE:
            raise UnsupportedError(f"{key} in {self.url} is too long to be written anew (impossible)")
        self.write(key, (self.read(key).data[:at] if at else b"") + data)

    def list(self, prefix: str, *, after: str = "") -> Iterator[Entry]:
        found = walk(self._root(), prefix, after, where=self.url)
        pending = self._pending(prefix, after)
        if pending:
            left = {item.key: item for item in found if item.key not in pending}
            news = {key: Found(key, id, BLOB_MODES[0]) for key, id in pending.items() if id is not None}
            found = (item for _, item in sorted({**left, **news}.items()))
        return (self._entry(item) for item in found if item.regular and _is_ours(item.key))

    def strangers(self) -> Iterator[str]:
        return (item.key for item in walk(self._root(), where=self.url) if not item.regular)

    def changes(self, cursor: str | None) -> tuple[tuple[str, ...], str] | None:
        tip = self.branch.tip() or self.branch.start()
        if tip is None:
            return ((), "")
        if cursor == tip:
            return ((), tip)
        if cursor and not self.branch.follows(tip, cursor):
            return None
        return tuple(filter(_is_ours, self._differing(cursor, tip))), tip

    def _differing(self, before: str | None, after: str) -> Iterable[str]:
        root = self.branch.tree(after)
        if before:
            return differing(self.branch.tree(before), root, where=self.url)
        return keys(self.branch.raw_tree, str(root.id), where=self.url)

    def history(self, key: str, *, at: str | None = None) -> Iterator[Past]:
        with errors(self.url):
            yield from history(self.branch, key, at)

    def state(self) -> object:
        return self.branch.tip() if self._batch is None else self._batch.commit

    @contextlib.contextmanager
    def batch(self, message: str, actor: str | None = None) -> Iterator[None]:
        if self._batch is not None:
            yield
            return
        commit = self.branch.tip() or self.branch.start()
        root = None if commit is None else self.branch.tree_id(commit)
        change = Change(self.branch.pack(power=self._power), root=root)
        self._local.batch = _Batch(commit, change)
        try:
            yield
        finally:
            self._local.batch = None
        if change.entries:
            self.branch.commit(change, message, actor)

    def sync(self) -> None:
        self.branch.sync()

    def maintain(self, progress: Progress) -> dict[str, int]:
        self.branch.sweep()
        return repack(self.branch.common, progress)

    def close(self) -> None:
        self.branch.repo.free()

    @property
    def _power(self) -> bool:
        return self.durability == "power"

    @property
    def _batch(self) -> _Batch | None:
        """What this thread has changed since its batch began."""
        return getattr(self._local, "batch", None)

    def _root(self) -> Any:
        batch = self._batch
        if batch is None:
            return self.branch.tree()
        return None if batch.commit is None else self.branch.tree(batch.commit)

    def _pending(self, prefix: str, after: str) -> dict[str, str | None]:
        staged = self.branch.staged.entries() if BLOBS.startswith(prefix) or prefix.startswith(BLOBS) else {}
        changed = staged if self._batch is None else staged | self._batch.change.entries
        return {key: id for key, id in changed.items() if key.startswith(prefix) and key > after}

    def _file(self, key: str) -> Found:
        found = self._find(key)
        if found is None:
            raise NotFoundError(f"{self.url} has no {key}")
        if not found.regular:
            raise AccessDeniedError(
                f"{key} in {self.url}: refused, for it is a symlink, a folder or a submodule: a store holds plain files"
            )
        return found

    def _find(self, key: str) -> Found | None:
        batch = self._batch
        if batch is not None and key in batch.change.entries:
            id = batch.change.entries[key]
            return None if id is None else Found(key, id, BLOB_MODES[0])
        staged = self.branch.staged.find(key) if key.startswith(BLOBS) else None
        return find(self._root(), key) if staged is None else Found(key, staged, BLOB_MODES[0])

    def _entry(self, found: Found) -> Entry:
        waiting = None if self._batch is None else self._batch.change.pack.get(found.id)
        size = self.branch.size(found.id, f"{found.key} in {self.url}") if waiting is None else len(waiting)
        if size <= MAX_POINTER and found.key.startswith(BLOBS):
            pointer = pointer_at(found.key, self._data(found))
            size = size if pointer is None else pointer.size
        return Entry(found.key, found.id, size)

    def _data(self, found: Found) -> bytes:
        waiting = None if self._batch is None else self._batch.change.pack.get(found.id)
        return self.branch.data(found.id, f"{found.key} in {self.url}") if waiting is None else waiting

    def _open_large(self, pointer: Pointer) -> BinaryIO:
        file = self.large.open(pointer.digest)
        if file is None and self.fetch_large is not None:
            self.fetch_large(pointer)
            file = self.large.open(pointer.digest)
        if file is None:
            raise UnavailableError(
                f"the large file {pointer.digest} of {self.url} is not on this machine: "
                "run `git lfs fetch --all` in the repository, or copy its folder lfs/objects here"
            )
        return file

    def _keep_large(self, key: str, size: int, file: BinaryIO) -> None:
        """Keeps a file by LFS: its bytes, a pointer, and a line that tells `git lfs` of it."""
        folder, _, digest = key.rpartition("/")
        pointer = Pointer(digest, size)
        self.accept_large(pointer)
        self.large.keep(file, digest)
        place = f"{folder}/{_ATTRIBUTES}"
        for attempt in itertools.count(1):
            try:
                with self.batch(f"Store a file of {size} bytes"):
                    before = self._find(place)
                    lines = b"" if before is None else self._data(before)
                    self._change(place, attributes(lines, [digest]), None)
                    self._change(key, pointer.encode(), None)
                return
            except ConflictError:  # another large file came to the same folder meanwhile
                if attempt == _ATTEMPTS:
                    raise

    def _change(self, key: str, data: bytes | None, if_match: IfMatch, message: str = "") -> str | None:
        """Lets a key hold other bytes, or none, by a commit or with the batch; returns their version."""
        batch = self._batch
        change = Change(self.branch.pack(power=self._power)) if batch is None else batch.change
        id = None if data is None else change.pack.add("blob", data)
        if batch is None:
            change.set(key, id)
            if if_match is not None:
                change.guards[key] = None if isinstance(if_match, Absent) else if_match
            self.branch.commit(change, message, None)
            return id
        if if_match is not None:
            found = self._find(key)
            if isinstance(if_match, Absent) and found is not None:
                raise AlreadyExistsError(f"{self.url} has {key} already")
            if isinstance(if_match, str) and (found is None or found.id != if_match):
                raise ConflictError(f"{key} in {self.url} was changed meanwhile")
        if key not in change.entries:
            change.guards[key] = self.branch.folders.find(change.root, key)
        change.set(key, id)
        return id

    def _begin(self, change: Change, folder: str, files: Mapping[str, Pieces]) -> Sequence[str] | None:
        """Lets a folder hold files if it holds nothing, and returns their versions."""
        if folder in change.folders or self.branch.folders.find(change.root, folder) is not None:
            return None
        versions: list[str] = []
        change.guards[folder] = None
        for key, pieces in files.items():
            versions.append(change.pack.add("blob", b"".join(pieces)))
            change.set(key, versions[-1])
        return versions

    def _after_fork(self) -> None:
        # Open packs and locks may be in the middle of something that another thread of the parent does.
        self.branch = Branch(self.branch.place, make=not self.readonly)
        self._local = threading.local()


_STORES: weakref.WeakSet[GitStore] = weakref.WeakSet()


def _after_fork() -> None:
    for store in list(_STORES):
        store._after_fork()


os.register_at_fork(after_in_child=_after_fork)


def _is_ours(key: str) -> bool:
    """Whether a key may be core's: hidden files and folders belong to others."""
    return not key.startswith(".") and "/." not in key
