"""`memory://`: a store in this process, gone with it. `memory://name` is the same store for all who open it here."""

from __future__ import annotations

import bisect
import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

from padre_core.backends.bytestore import Absent, ByteStore, Entry, IfMatch, Item
from padre_core.backends.capabilities import Capabilities
from padre_core.errors import AlreadyExistsError, ConflictError, NotFoundError


class _Space:
    """The bytes of one name."""

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self.times: dict[str, float] = {}
        self.keys: list[str] = []
        self.changed: list[str] = []
        self.versions = itertools.count(1)
        self.lock = threading.RLock()


_SPACES: dict[str, _Space] = {}
_SPACES_LOCK = threading.Lock()


class MemoryStore(ByteStore):
    """Bytes in a dict. `memory://` without a name is a store of its own at each opening."""

    capabilities = Capabilities(conditional_write=True)
    dated = True

    def __init__(self, url: str, *, readonly: bool = False, **options: Any) -> None:
        super().__init__(url, readonly=readonly, **options)
        name = url.partition("://")[2]
        with _SPACES_LOCK:
            self._space = _SPACES.setdefault(name, _Space()) if name else _Space()

    def read(self, key: str) -> Item:
        try:
            return self._space.items[key]
        except KeyError:
            raise NotFoundError(f"{self.url} has no {key}") from None

    def write(self, key: str, data: bytes, *, if_match: IfMatch = None) -> str:
        space = self._space
        with space.lock:
            before = space.items.get(key)
            if isinstance(if_match, Absent) and before is not None:
                raise AlreadyExistsError(f"{self.url} has {key} already")
            if isinstance(if_match, str) and (before is None or before.version != if_match):
                raise ConflictError(f"{key} in {self.url} was changed meanwhile")
            if before is None:
                bisect.insort(space.keys, key)
            item = space.items[key] = Item(bytes(data), str(next(space.versions)))
            space.times[key] = time.time()
            space.changed.append(key)
            return item.version

    def delete(self, key: str) -> None:
        space = self._space
        with space.lock:
            if space.items.pop(key, None) is not None:
                del space.times[key]
                del space.keys[bisect.bisect_left(space.keys, key)]
                space.changed.append(key)

    def list(self, prefix: str, *, after: str = "") -> Iterator[Entry]:
        space = self._space
        with space.lock:
            start = max(bisect.bisect_left(space.keys, prefix), bisect.bisect_right(space.keys, after))
            found = itertools.takewhile(lambda key: key.startswith(prefix), itertools.islice(space.keys, start, None))
            return iter([self._entry(key) for key in found])

    def stat(self, key: str) -> Entry:
        with self._space.lock:
            self.read(key)
            return self._entry(key)

    def _entry(self, key: str) -> Entry:
        item = self._space.items[key]
        return Entry(key, item.version, len(item.data), self._space.times[key])

    def changes(self, cursor: str | None) -> tuple[tuple[str, ...], str]:
        space = self._space
        with space.lock:
            start = int(cursor or 0)
            return tuple(dict.fromkeys(space.changed[start:])), str(len(space.changed))
