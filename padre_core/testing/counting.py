"""A byte store that counts what an object store would be asked for."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import BinaryIO

from padre_core.backends.bytestore import ByteStore, Entry, IfMatch, Item
from padre_core.backends.capabilities import Capabilities

PAGE = 1000
"""How many keys one answer to a listing holds, and how many one delete takes."""


class CountingStore(ByteStore):
    """Hands everything on to another store, and counts each call as the requests that an object store needs for it.

    It says that it is persistent, and names no log folder: what core makes of it is what core makes of a bucket.

    Attributes:
        requests: How often each was made: `get`, `head`, `put`, `list`, `delete`.
    """

    def __init__(self, store: ByteStore) -> None:
        super().__init__(store.url)
        self.capabilities: Capabilities = replace(store.capabilities, persistent=True)
        self.store, self.dated = store, store.dated
        self.requests: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def total(self) -> int:
        """How many requests there were."""
        return sum(self.requests.values())

    def _count(self, what: str, times: int = 1) -> None:
        with self._lock:
            self.requests[what] += times

    def read(self, key: str) -> Item:
        self._count("get")
        return self.store.read(key)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        self._count("get")
        return self.store.read_range(key, start, length)

    def open_reader(self, key: str) -> BinaryIO:
        self._count("get")
        return self.store.open_reader(key)

    def stat(self, key: str) -> Entry:
        self._count("head")
        return self.store.stat(key)

    def write(self, key: str, data: bytes, *, if_match: IfMatch = None) -> str:
        self._count("put")
        return self.store.write(key, data, if_match=if_match)

    def delete(self, key: str) -> None:
        self._count("delete")
        self.store.delete(key)

    def delete_many(self, keys: Iterable[str]) -> None:
        gone = list(keys)
        self._count("delete", -(-len(gone) // PAGE))
        self.store.delete_many(gone)

    def read_many(self, keys: Iterable[str]) -> Iterator[Item | None]:
        wanted = list(keys)
        self._count("get", len(wanted))
        return self.store.read_many(wanted)

    def read_starts(self, keys: Iterable[str], length: int) -> Iterator[bytes | None]:
        wanted = list(keys)
        self._count("get", len(wanted))
        return self.store.read_starts(wanted, length)

    def list(self, prefix: str, *, after: str = "") -> Iterator[Entry]:
        entries = list(self.store.list(prefix, after=after))
        self._count("list", max(1, -(-len(entries) // PAGE)))
        return iter(entries)
