"""What an opened backend can do."""

from __future__ import annotations

from dataclasses import dataclass, fields

from padre_core.errors import UnsupportedError

API_VERSION = 1
"""The version of the storage contracts and hooks that this padre-core speaks."""

_INSTEAD = {
    "history": ": it keeps the newest versions only; a git repository keeps all, and `padre copy` fills one",
    "eviction": ": nothing can be removed from it for good from here; do it where the store itself is, such as by "
    "`padre purge --store …` on the machine of its server",
}
"""What to do where a store lacks a capability."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an opened backend can do; a property of the instance, for options may change it.

    Attributes:
        persistent: What is written is there when the store is opened again.
        multi_process: Several processes may have it open at once.
        conditional_write: `if_match` is checked and obeyed in one step with the write.
        shared: Others see it, on other machines.
        history: Old versions can be read.
        change_feed: `changes` tells what is new without a listing.
        server_query: Queries are answered where the data is.
        streaming: Blobs of any size pass through bounded memory.
        eviction: Local copies of objects can be removed, with `evict`.
        presign: Blobs can be fetched by a signed URL.
        planned: Names of capabilities that are not there yet; all others that are missing are impossible.
    """

    persistent: bool = False
    multi_process: bool = False
    conditional_write: bool = False
    shared: bool = False
    history: bool = False
    change_feed: bool = False
    server_query: bool = False
    streaming: bool = False
    eviction: bool = False
    presign: bool = False
    planned: frozenset[str] = frozenset()

    def require(self, name: str, where: str) -> None:
        """Checks a capability before any effect.

        Raises:
            UnsupportedError: It is missing; the message says whether for good.
        """
        if not getattr(self, name):
            when = "not yet" if name in self.planned else "impossible"
            raise UnsupportedError(f"{where} has no {name} ({when}){_INSTEAD.get(name, '')}")

    def names(self) -> tuple[str, ...]:
        """The capabilities that are there."""
        return tuple(item.name for item in fields(self) if getattr(self, item.name) is True)
