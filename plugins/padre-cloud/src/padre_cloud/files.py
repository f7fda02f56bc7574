"""Values as files, in bounded memory."""

from __future__ import annotations

import contextlib
import io
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, Protocol, cast

from padre_cloud.drivers.base import PART, Part
from padre_core.errors import BackendError

AHEAD = 3
"""Parts that are asked for before they are needed."""


class Read(Protocol):
    """Reads a range; `version` must still be what is there."""

    def __call__(self, start: int, end: int, *, version: str | None = None) -> Part: ...


def open_reader(read: Read, pool: Executor) -> BinaryIO:
    """A value as a file, read part by part; all parts are of one version.

    Raises:
        NotFoundError: There is none.
    """
    first = read(0, PART)
    return io.BytesIO(first.data) if first.size <= len(first.data) else cast("BinaryIO", _Reader(read, pool, first))


class _Reader(io.RawIOBase):
    def __init__(self, read: Read, pool: Executor, first: Part) -> None:
        self._read, self._pool = read, pool
        self._version, self._size = first.version, first.size
        self._place, self._start, self._data = 0, 0, first.data
        self._next: deque[tuple[int, Future[Part]]] = deque()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = max(base + offset, 0)
        return self._place

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # narrower than Buffer
        if self._place >= self._size:
            return 0
        if not self._start <= self._place < self._start + len(self._data):
            self._load()
        begin = self._place - self._start
        count = min(len(buffer), len(self._data) - begin)
        buffer[:count] = memoryview(self._data)[begin : begin + count]
        self._place += count
        return count

    def _load(self) -> None:
        """Takes the part that begins here, and asks for those after it."""
        if not self._next or self._next[0][0] != self._place:
            self._forget()
        self._data = b""
        last = self._next[-1][0] if self._next else self._place - PART
        while len(self._next) < AHEAD and last + PART < self._size:
            last += PART
            self._next.append((last, self._pool.submit(self._read, last, last + PART, version=self._version)))
        self._start, future = self._next.popleft()
        self._data = future.result().data
        if not self._data:
            raise BackendError("a file in the store ended before its size")

    def _forget(self) -> None:
        while self._next:
            self._next.pop()[1].cancel()

    def close(self) -> None:
        if not self.closed:
            self._forget()
            self._data = b""
        super().close()


@contextlib.contextmanager
def open_writer(
    key: Callable[[], str], small: Callable[[str, bytes], None], large: Callable[[str, BinaryIO, int], None]
) -> Iterator[BinaryIO]:
    """A file that is stored under a name that is known when all its bytes are.

    No provider can rename what was sent, so a file that is longer than a part waits on this machine's disk.
    """
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(SpooledTemporaryFile(PART, prefix="padre-"))
        except OSError as error:
            raise BackendError(f"no temporary file can be made here: {error.strerror}") from error
        yield cast("BinaryIO", file)
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        if size <= PART:
            small(key(), file.read())
        else:
            large(key(), cast("BinaryIO", file), size)
