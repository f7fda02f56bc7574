"""Putting off Python's search for garbage while thousands of objects are made that all stay."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator

AWAITED = 500_000
"""So many objects may be made in pauses before Python looks through everything, or a quarter of all that there are."""

_MANY = 1000
"""From so many objects on it is worth not to look at them."""

_FROZEN = 1000
"""So many frozen objects are nobody's wish: Python 3.12 begins with some hundred."""


class _Pause:
    """Whether a block here keeps the collector from working, and what it has not looked at since."""

    lasts = False
    made = 0
    awaited = AWAITED


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Within the block Python does not look for garbage, nor afterwards at what was made in a large one.

    That else takes a third of the time of a page. Where somebody, or another thread here, has paused the collector
    already, nothing is done.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    _Pause.lasts = True
    try:
        yield
    finally:
        _Pause.lasts = False
        _settle(gc.get_count()[0])
        gc.enable()


def _settle(made: int) -> None:
    """Counts many new objects as old ones, which are looked at when there are many more of them, as Python does it."""
    if made < _MANY or gc.get_freeze_count() > _FROZEN:  # whoever froze objects wants them to stay so
        return
    _Pause.made += made
    if _Pause.made < _Pause.awaited:
        gc.freeze()
        gc.unfreeze()  # into the oldest generation
        return
    gc.collect()
    _Pause.made = 0
    _Pause.awaited = max(AWAITED, len(gc.get_objects()) // 4)


def _after_fork() -> None:
    if _Pause.lasts:  # in a thread that the child does not have
        _Pause.lasts = False
        gc.enable()


os.register_at_fork(after_in_child=_after_fork)
