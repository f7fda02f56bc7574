"""A byte store that fails when it is told to, for tests of what stands on it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from enum import Enum
from typing import BinaryIO, TypeVar

from padre_core.backends.bytestore import ByteStore, Entry, IfMatch, Item
from padre_core.errors import UnavailableError

Answer = TypeVar("Answer")


class Fault(Enum):
    """How a write fails."""

    REFUSED = "nothing is done"
    ANSWER_LOST = "it is done, but the caller gets an error"


class FaultyStore(ByteStore):
    """Hands everything on to another store, but fails from the n-th writing call on.

    A failing call raises `UnavailableError`. Nothing is half done: that a write is atomic is the store's own promise.
    It names no log folder, whatever the store does.

    Args:
        fail_at: Which writing call fails first, from 1.
        times: How many calls fail; None for all from there on.
    """

    def __init__(self, store: ByteStore, *, fail_at: int, fault: Fault, times: int | None = None) -> None:
        super().__init__(store.url, readonly=store.readonly)
        self.capabilities = store.capabilities
        self.store, self.dated = store, store.dated
        self.fault = fault
        self.failed = 0
        self._left = fail_at
        self._times = times
        self._lock = threading.Lock()

    def _writing(self, call: Callable[[], Answer]) -> Answer:
        with self._lock:
            self._left -= 1
            fails = self._left <= 0 and (self._times is None or self.failed < self._times)
            self.failed += fails
        if not fails:
            return call()
        if self.fault is Fault.ANSWER_LOST:
            call()
        raise UnavailableError(f"{self.url} fails because a test wants it to")

    def write(self, key: str, data: bytes, *, if_match: IfMatch = None) -> str:
        return self._writing(lambda: self.store.write(key, data, if_match=if_match))

    def delete(self, key: str) -> None:
        return self._writing(lambda: self.store.delete(key))

    def append(self, key: str, data: bytes, *, at: int) -> None:
        return self._writing(lambda: self.store.append(key, data, at=at))

    @contextmanager
    def open_writer(self, key: Callable[[], str]) -> Iterator[BinaryIO]:
        with self.store.open_writer(key) as file:
            yield file
            if self.fault is Fault.REFUSED:
                self._writing(lambda: None)
        if self.fault is Fault.ANSWER_LOST:
            self._writing(lambda: None)

    def read(self, key: str) -> Item:
        return self.store.read(key)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        return self.store.read_range(key, start, length)

    def open_reader(self, key: str) -> BinaryIO:
        return self.store.open_reader(key)

    def stat(self, key: str) -> Entry:
        return self.store.stat(key)

    def list(self, prefix: str, *, after: str = "") -> Iterator[Entry]:
        return self.store.list(prefix, after=after)

    def changes(self, cursor: str | None) -> tuple[tuple[str, ...], str] | None:
        return self.store.changes(cursor)

    def batch(self, message: str, actor: str | None = None) -> AbstractContextManager[None]:
        return self.store.batch(message, actor)

    def sync(self) -> None:
        self.store.sync()

    def close(self) -> None:
        self.store.close()
