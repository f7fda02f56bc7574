"""Files of the user: what is read from them, and where downloads may be written."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import secrets
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from padre_core.errors import BackendError, InvalidObjectError
from padre_core.objects.artifact import check_path

Source = str | os.PathLike[str] | bytes | BinaryIO
"""A path, bytes, or a binary file that is read from where it stands."""

Progress = Callable[[int, int | None], object]
"""Called with the bytes that are done and, where it is known, how many there are."""

CHUNK = 256 * 1024
"""Bytes that are written at once: writes of a MiB take Linux with ext4 up to ten times as long for the same bytes."""

LARGE = 8 * 1024 * 1024
BEHIND = 16
"""Pieces of a file of more than `LARGE` bytes that may wait to be written."""


class Reader(Protocol):
    """Something that bytes are read from."""

    def read(self, size: int = -1, /) -> bytes: ...


@contextlib.contextmanager
def open_source(source: Source, progress: Progress | None = None) -> Iterator[BinaryIO]:
    """What is to be stored, as a file.

    Raises:
        InvalidObjectError: The path names no regular file.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        yield _told(io.BytesIO(source), len(source), progress)
    elif isinstance(source, str | os.PathLike):
        with _open_regular(source) as file:
            yield _told(file, os.fstat(file.fileno()).st_size, progress)
    elif hasattr(source, "read"):
        yield _told(source, None, progress)
    else:
        raise InvalidObjectError(f"expected a path, bytes or a binary file, not {type(source).__name__}")


def pieces(source: Reader) -> Iterator[bytes]:
    """All that is left of a file."""
    while piece := source.read(CHUNK):
        yield piece


class Target:
    """A folder that files are written below. Close it when all are.

    Folders on the way are made; links on the way are not followed, so that nothing is written elsewhere.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._temporary = f".padre-{secrets.token_hex(8)}"
        self._names: list[str] = []
        self._folder = -1

    def create(self, path: str, content: Iterable[bytes], total: int, progress: Progress | None = None) -> None:
        """Makes a file `path` below the folder when all of its content came, and nothing if that raises.

        Args:
            total: How many bytes it will be, for who is told of the progress.

        Raises:
            InvalidObjectError: The path would leave the folder.
            BackendError: The file cannot be written.
        """
        try:
            *names, name = check_path(path).split("/")
        except ValueError as error:
            raise InvalidObjectError(f"the artifact path {path!r:.200} {error}") from None
        try:
            folder = self._enter(names)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                fd = os.open(self._temporary, flags, 0o666, dir_fd=folder)
                try:
                    _write_all(fd, content, total, progress)
                finally:
                    os.close(fd)
                os.replace(self._temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(self._temporary, dir_fd=folder)
                raise
        except OSError as error:
            if isinstance(error, BackendError):
                raise
            raise BackendError(f"cannot write {path!r:.200} below {self._root}: {error.strerror}") from error

    def close(self) -> None:
        """Lets go of the folder."""
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1

    def _enter(self, names: list[str]) -> int:
        """The folder of some names below the root, which stays open for the files that follow."""
        if self._folder < 0 or names != self._names:
            self.close()
            self._folder, self._names = _open_folder(self._root, names), names
        return self._folder


def _write_all(fd: int, content: Iterable[bytes], total: int, progress: Progress | None) -> None:
    done = 0
    with _writing_behind(fd) if total > LARGE else contextlib.nullcontext(functools.partial(_write, fd)) as write:
        for piece in content:
            write(piece)
            done += len(piece)
            if progress is not None:
                progress(done, total)


@contextlib.contextmanager
def _writing_behind(fd: int) -> Iterator[Callable[[bytes], object]]:
    """What writes pieces while the next ones are fetched and checked; at the end all are written."""
    from concurrent.futures import Future, ThreadPoolExecutor  # who starts a run should not wait for it

    waiting: deque[Future[None]] = deque()

    def write(piece: bytes) -> None:
        if len(waiting) == BEHIND:
            waiting.popleft().result()
        waiting.append(pool.submit(_write, fd, piece))

    with ThreadPoolExecutor(1, "padre-write") as pool:
        yield write
        for future in waiting:
            future.result()


def _write(fd: int, piece: bytes) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _open_folder(root: Path, names: list[str]) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    root.mkdir(parents=True, exist_ok=True)
    folder = os.open(root, flags)
    for name in names:
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, dir_fd=folder)
            inner = os.open(name, flags | os.O_NOFOLLOW, dir_fd=folder)
        finally:
            os.close(folder)
        folder = inner
    return folder


def _open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    try:
        # A pipe would block the call before anybody could see what it is.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise InvalidObjectError(f"cannot read {os.fspath(path)!r:.200}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InvalidObjectError(f"{os.fspath(path)!r:.200} is no regular file; log_artifacts takes a folder")
    return open(descriptor, "rb")


def _told(source: BinaryIO, total: int | None, progress: Progress | None) -> BinaryIO:
    return source if progress is None else io.BufferedReader(_Told(source, total, progress), CHUNK)


class _Told(io.RawIOBase):
    """Tells how much of a file was read."""

    def __init__(self, source: BinaryIO, total: int | None, progress: Progress) -> None:
        self._source, self._total, self._progress = source, total, progress
        self._done = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # narrower than Buffer
        data = self._source.read(len(buffer))
        buffer[: len(data)] = data
        self._done += len(data)
        self._progress(self._done, self._total)
        return len(data)
