"""A folder as a byte store: one file for each key."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote_to_bytes, urlsplit

from padre_core.backends.bytestore import Absent, ByteStore, Entry, IfMatch, Item, Pieces
from padre_core.backends.capabilities import Capabilities
from padre_core.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    BackendError,
    ConflictError,
    InvalidObjectError,
    NotFoundError,
    PadreError,
    ReadOnlyError,
    UnavailableError,
)
from padre_core.streams.filesystems import datasync, has_sync_tree, start_writing, sync_folder, sync_tree
from padre_file.confined import Trail, check_regular, make_folders, open_beneath

_MARKER = "padre.json"
_TEMPORARY = ".tmp"  # with a dot in front, so that listings leave it out
_PART = 256 * 1024
"""Bytes of one write: for more at once Linux looks for large pages, and may take ten times as long to find them."""
_FEW = 8
"""Up to how many files and folders are synced one by one: a sync of all also waits for what others wrote."""


class FileStore(ByteStore):
    """A folder, `file:///path`; made if it is missing, refused if it holds other things.

    Several processes may use it at once, on this machine and, as far as the network file system honours `flock`, on
    others. It may be moved or copied as a whole, and read without PaDRe.
    """

    capabilities = Capabilities(persistent=True, multi_process=True, conditional_write=True, streaming=True)
    dated = True

    def __init__(self, url: str, *, readonly: bool = False, **options: Any) -> None:
        super().__init__(url, readonly=readonly, **options)
        path = Path(_path(url)).absolute()
        with _errors(url):
            self._root = _open_root(path, readonly)
            self.url = path.resolve().as_uri()
        self.log_folder = path.resolve() / "log"
        self._path = path
        self._make_locks()
        self._failed = False
        self._unsynced: set[str] = set()
        self._made: set[str] = set()
        if not readonly:
            with _errors(url):
                os.close(make_folders(self._root, "log", self._made))
        _STORES.add(self)

    def _make_locks(self) -> None:
        self._lock, self._syncing, self._noting = threading.RLock(), threading.Lock(), threading.Lock()

    def read(self, key: str) -> Item:
        try:  # not by `_mapped`: many small files are read, and a context manager takes an eighth of the time of one
            fd = open_beneath(self._root, key, os.O_RDONLY | os.O_NONBLOCK)
            try:
                status = os.fstat(fd)
                check_regular(status, key)
                return Item(_read_all(fd, status.st_size), _version(status))
            finally:
                os.close(fd)
        except OSError as error:
            raise _failure(f"{key} in {self.url}", error) from error

    def write(self, key: str, data: bytes, *, if_match: IfMatch = None) -> str:
        folder, _, name = key.rpartition("/")
        with self._mapped(key), self._folder(folder) as parent, self._exclusive():
            before = _status(parent, name)
            if isinstance(if_match, Absent) and before is not None:
                raise AlreadyExistsError(f"{self.url} has {key} already")
            if isinstance(if_match, str) and (before is None or _version(before) != if_match):
                raise ConflictError(f"{key} in {self.url} was changed meanwhile")
            status = _replace(parent, name, [data], before)
            self._wrote(key)
            return _version(status)

    def write_folders(self, folders: Iterable[Mapping[str, Pieces]]) -> Iterator[Sequence[str] | None]:
        trail = Trail(self._root, self._made)
        ahead = self.durability == "power"
        try:
            for files in folders:
                versions: list[str] = []
                with self._mapped("a new folder"), self._exclusive():
                    folder = next(iter(files)).rpartition("/")[0]
                    parent = trail.make(folder)
                    if parent is not None:
                        for key, pieces in files.items():
                            name = key.rpartition("/")[2]
                            versions.append(_version(_replace(parent, name, pieces, None, ahead=ahead)))
                            self._wrote(key)
                yield None if parent is None else versions
        finally:
            trail.leave()

    def delete(self, key: str) -> None:
        folder, _, name = key.rpartition("/")
        with self._mapped(key), contextlib.suppress(FileNotFoundError):
            parent = open_beneath(self._root, folder or ".", os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.unlink(name, dir_fd=parent)
            finally:
                os.close(parent)

    def delete_unchanged(self, entries: Sequence[Entry]) -> Iterator[Entry]:
        for entry in entries:
            with self._exclusive():  # against those who find a file there, and make it young
                unchanged = self.is_unchanged(entry)
                if unchanged:
                    self.delete(entry.key)
            if unchanged:
                yield entry

    def read_range(self, key: str, start: int, length: int) -> bytes:
        with self.open_reader(key) as file:
            file.seek(start)
            return file.read(length)

    def open_reader(self, key: str) -> BinaryIO:
        with self._mapped(key):
            fd = open_beneath(self._root, key, os.O_RDONLY | os.O_NONBLOCK)
            try:
                check_regular(os.fstat(fd), key)
            except OSError:
                os.close(fd)
                raise
            return os.fdopen(fd, "rb", buffering=0)

    @contextlib.contextmanager
    def open_writer(self, key: Callable[[], str]) -> Iterator[BinaryIO]:
        with self._mapped("a new file"), self._nameless() as (fd, publish), os.fdopen(fd, "wb", closefd=False) as file:
            yield file
            file.flush()
            publish(key())

    def write_new(self, items: Iterable[tuple[str, bytes]]) -> None:
        for key, data in items:
            with self._mapped(key), self._nameless() as (fd, publish):
                _write_all(fd, data)
                publish(key)

    def append(self, key: str, data: bytes, *, at: int) -> None:
        if not at:
            self.write(key, data)
            return
        with self._mapped(key):
            fd = open_beneath(self._root, key, os.O_WRONLY | os.O_NONBLOCK)
            try:
                check_regular(os.fstat(fd), key)
                os.ftruncate(fd, at)
                os.lseek(fd, at, os.SEEK_SET)
                _write_all(fd, data)
            finally:
                os.close(fd)
            self._wrote(key)

    def stat(self, key: str) -> Entry:
        with self._mapped(key):
            fd = open_beneath(self._root, key, os.O_RDONLY | os.O_NONBLOCK)
            try:
                status = os.fstat(fd)
                check_regular(status, key)
            finally:
                os.close(fd)
            return _entry(key, status)

    def renew(self, key: str) -> None:
        with self._mapped(key), self._exclusive():
            fd = open_beneath(self._root, key, os.O_RDONLY | os.O_NONBLOCK)
            try:
                check_regular(os.fstat(fd), key)
                os.utime(fd)
            finally:
                os.close(fd)
        self._wrote(key)

    def sync(self) -> None:
        with self._syncing:  # whoever finds nothing to sync must know that another thread has done it, not begun it
            self._sync()

    def _sync(self) -> None:
        if self._failed:
            raise BackendError(
                f"{self.url}: an earlier sync failed, so nothing can be known to be stored; open it again"
            )
        with self._noting:
            keys, self._unsynced = self._unsynced, set()
            made, self._made = self._made, set()
        folders = {path.rpartition("/")[0] for path in keys | made}
        try:
            with self._mapped("the store"):
                if len(keys) + len(folders) > _FEW and has_sync_tree():
                    sync_tree(self._root)
                else:
                    self._sync_each([*sorted(keys), *sorted(folders, reverse=True)])
        except PadreError:
            self._failed = True  # the system forgets what it could not write, and a second try would succeed
            raise

    def close(self) -> None:
        if self._root >= 0:
            os.close(self._root)
            self._root = -1

    def list(self, prefix: str, *, after: str = "") -> Iterator[Entry]:
        folder, slash, start = prefix.rpartition("/")
        return self._walk(folder + slash, start, after)

    def strangers(self) -> Iterator[str]:
        pending = [""]
        while pending:
            folder = pending.pop()
            for name, status in self._scan(folder):
                if stat.S_ISDIR(status.st_mode):
                    pending.append(f"{folder}{name}/")
                elif not stat.S_ISREG(status.st_mode):
                    yield folder + name

    def _walk(self, folder: str, start: str, after: str) -> Iterator[Entry]:
        """What lies in a folder (empty, or with a slash at its end) under names that begin with `start`."""
        for name, status in self._scan(folder):
            key = folder + name
            if not key.startswith(folder + start):
                continue
            if stat.S_ISDIR(status.st_mode):
                if key + "/" > after[: len(key) + 1] or after.startswith(key + "/"):
                    yield from self._walk(key + "/", "", after)
            elif key > after and stat.S_ISREG(status.st_mode):
                yield _entry(key, status)

    def _scan(self, folder: str) -> Sequence[tuple[str, os.stat_result]]:
        """The entries of a folder in the byte order of the keys that they lead to; hidden ones belong to others."""
        with self._mapped(folder):
            try:
                fd = open_beneath(self._root, folder.rstrip("/") or ".", os.O_RDONLY | os.O_DIRECTORY)
            except (FileNotFoundError, NotADirectoryError):
                return []
            try:
                found = []
                with os.scandir(fd) as entries:
                    for entry in entries:
                        if not entry.name.startswith("."):
                            with contextlib.suppress(FileNotFoundError):
                                found.append((entry.name, entry.stat(follow_symlinks=False)))
            finally:
                os.close(fd)
        return sorted(found, key=lambda item: item[0] + "/" if stat.S_ISDIR(item[1].st_mode) else item[0])

    @contextlib.contextmanager
    def _folder(self, folder: str) -> Iterator[int]:
        made: set[str] = set()
        fd = make_folders(self._root, folder or ".", made)
        with self._noting:
            self._made |= made
        try:
            yield fd
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Between the check of a version and the write no other process writes."""
        with self._lock:
            fcntl.flock(self._root, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._root, fcntl.LOCK_UN)

    @contextlib.contextmanager
    def _nameless(self) -> Iterator[tuple[int, Callable[[str], None]]]:
        """A new file, and what gives it a key; it goes if it was given none."""
        fd, temporary = self._temporary()

        def publish(key: str) -> None:
            folder, _, name = key.rpartition("/")
            with self._folder(folder) as parent:
                self._publish(fd, temporary, parent, name)
            self._wrote(key)

        try:
            yield fd, publish
        finally:
            os.close(fd)
            if temporary is not None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=self._root)

    def _temporary(self) -> tuple[int, str | None]:
        """A file without a name where the system has such, else one that listings leave out."""
        flags = os.O_WRONLY | os.O_CLOEXEC
        if hasattr(os, "O_TMPFILE"):
            try:
                return os.open(".", flags | os.O_TMPFILE, 0o666, dir_fd=self._root), None
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT):
                    raise
        name = f".{secrets.token_hex(8)}{_TEMPORARY}"
        return os.open(name, flags | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666, dir_fd=self._root), name

    def _publish(self, fd: int, temporary: str | None, parent: int, name: str) -> None:
        if temporary is not None:
            with self._exclusive():
                os.rename(temporary, name, src_dir_fd=self._root, dst_dir_fd=parent)
            return
        with contextlib.suppress(FileExistsError):
            _link(fd, name, parent)
            return
        # A blob's name says its content: it is the same file, and young again, unless it was removed just now.
        with self._exclusive():
            try:
                os.utime(name, dir_fd=parent, follow_symlinks=False)
            except FileNotFoundError:
                _link(fd, name, parent)

    def _wrote(self, key: str) -> None:
        with self._noting:
            if len(self._unsynced) <= _FEW or not has_sync_tree():
                self._unsynced.add(key)
            else:
                self._made.clear()  # all will be synced at once

    def _sync_each(self, paths: Iterable[str]) -> None:
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                fd = open_beneath(self._root, path or ".", os.O_RDONLY)
                try:
                    datasync(fd)
                finally:
                    os.close(fd)

    def _mapped(self, key: str) -> contextlib.AbstractContextManager[None]:
        return _errors(f"{key} in {self.url}")

    def _after_fork(self) -> None:
        # Locks belong to the opened folder, which parent and child would share.
        if self._root >= 0:
            os.close(self._root)
            self._root = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._make_locks()


_STORES: weakref.WeakSet[FileStore] = weakref.WeakSet()


def _after_fork() -> None:
    for store in list(_STORES):
        store._after_fork()


os.register_at_fork(after_in_child=_after_fork)


def _path(url: str) -> str:
    """The path that a `file:` URL or a bare path names."""
    if "\0" in url:
        raise InvalidObjectError(f"{url!r:.80}: a path must not hold NUL")
    if not url.startswith("file:"):
        return os.path.expanduser(url)
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/") or parts.query or parts.fragment:
        raise InvalidObjectError(f"{url!r:.200} names no local folder: write file:///absolute/path, or just the path")
    path = os.fsdecode(unquote_to_bytes(parts.path))  # names of files need not be UTF-8
    if "\0" in path:
        raise InvalidObjectError(f"{url!r:.80}: a path must not hold NUL")
    return path


def _open_root(path: Path, readonly: bool) -> int:
    if path.is_file():
        raise InvalidObjectError(f"{path} is a file: a store is a folder")
    if not readonly:
        _check_outside(path)
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
        for folder in missing:
            sync_folder(folder.parent)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        names = {name for name in os.listdir(fd) if not name.endswith(_TEMPORARY)}
    except OSError:
        os.close(fd)
        raise
    if not readonly and names - {"log", ".git"} and _MARKER not in names:
        os.close(fd)
        raise InvalidObjectError(
            f"{path} is no store, and not empty: choose an empty or new folder, or put {_MARKER} of the store back"
        )
    return fd


def _check_outside(path: Path) -> None:
    """Checks that a folder that is no store yet does not lie in one, whose tree it would damage."""
    if (path / _MARKER).exists():
        return
    around = next((folder for folder in path.parents if (folder / _MARKER).exists()), None)
    if around is not None:
        raise InvalidObjectError(f"{path} lies within the store {around}: choose a folder outside of it")


@contextlib.contextmanager
def _errors(what: str) -> Iterator[None]:
    """Turns errors of the system into those that leave a store."""
    try:
        yield
    except PadreError:  # some are OSErrors
        raise
    except OSError as error:
        raise _failure(what, error) from error


def _failure(what: str, error: OSError) -> PadreError:
    match error:
        case FileNotFoundError():
            return NotFoundError(f"{what}: there is no such file or folder")
        case PermissionError():
            return AccessDeniedError(f"{what}: permission denied; open the store with readonly=True to read it")
    match error.errno:
        case errno.EROFS:
            return ReadOnlyError(f"{what}: the file system is read-only; open the store with readonly=True")
        case errno.ELOOP | errno.EXDEV | errno.ENXIO | errno.ENOTDIR:
            return AccessDeniedError(
                f"{what}: refused, for it is a symlink, a device or the like: a store holds plain files and folders"
            )
        case errno.EBADF:
            return BackendError(f"{what}: the store was closed; open it again")
        case errno.ESTALE | errno.ETIMEDOUT | errno.EHOSTDOWN:
            return UnavailableError(f"{what}: {error.strerror}")
        case _:
            return BackendError(f"{what}: {error.strerror}")


def _link(fd: int, name: str, parent: int) -> None:
    """Gives a file that has no name one."""
    os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=parent, follow_symlinks=True)


def _version(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns:x}-{status.st_ino:x}-{status.st_size:x}"


def _entry(key: str, status: os.stat_result) -> Entry:
    # Not when it was modified: who copies a folder may keep that time, and a copy is young.
    return Entry(key, _version(status), status.st_size, status.st_ctime)


def _status(parent: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _replace(
    parent: int, name: str, pieces: Pieces, before: os.stat_result | None, *, ahead: bool = False
) -> os.stat_result:
    """Writes a file of a folder in one step, in the place of one or of none; nobody else writes it meanwhile.

    Args:
        ahead: Whether to send a large one on its way to the disk, for it will be synced soon.
    """
    temporary = f".{name}{_TEMPORARY}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(temporary, flags, 0o666, dir_fd=parent)
    try:
        _write_all(fd, *pieces)
        status = os.fstat(fd)
        if ahead and status.st_size >= _PART:
            start_writing(fd, 0, status.st_size)
        if before is not None and status.st_mtime_ns <= before.st_mtime_ns:
            # The clock ticks slower than we write; versions must differ all the same.
            os.utime(fd, ns=(status.st_atime_ns, before.st_mtime_ns + 1))
            status = os.fstat(fd)
    except OSError:
        os.unlink(temporary, dir_fd=parent)
        raise
    finally:
        os.close(fd)
    os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
    return status


def _read_all(fd: int, size: int) -> bytes:
    data = os.read(fd, size + 1)
    while len(data) < size and (more := os.read(fd, size + 1 - len(data))):
        data += more
    return data


def _write_all(fd: int, *pieces: bytes | memoryview) -> None:
    for data in _parts(pieces):
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view[:_PART]) :]


def _parts(pieces: Sequence[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """Pieces, of which small ones are put together: each write finds pages of the system anew."""
    waiting: list[bytes | memoryview] = []
    size = 0
    for piece in pieces:
        if size + len(piece) > _PART and waiting:
            yield b"".join(waiting)
            waiting, size = [], 0
        waiting.append(piece)
        size += len(piece)
    yield b"".join(waiting)
