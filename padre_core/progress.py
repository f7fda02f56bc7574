"""Who looks on while a call does long work that it was not asked for by name: fetches a clone, fills an index."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

Tell = Callable[[str, int, int], object]
"""Called with what is done now, how much of it, and of how many; 0 while nobody knows."""

_watch: ContextVar[Callable[[], AbstractContextManager[Tell]] | None] = ContextVar("padre_watch", default=None)


@contextmanager
def watched(watch: Callable[[], AbstractContextManager[Tell]]) -> Iterator[None]:
    """Lets what this thread does at length within the block be told: `watch` is entered for each such work."""
    token = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(token)


@contextmanager
def telling() -> Iterator[Tell]:
    """Around long work: gives what it is told to, be it nobody."""
    watch = _watch.get()
    if watch is None:
        yield _nobody
        return
    with watch() as tell:
        yield tell


def _nobody(phase: str, done: int, total: int) -> None:
    """Nobody looks on."""
