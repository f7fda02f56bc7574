"""Putting off Python's search for garbage while thousands of objects are made that all stay."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator


class _Pause:
    """Whether a block here keeps the collector from working."""

    lasts = False


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Within the block Python does not look for garbage, which else takes a third of the time of a page.

    Where somebody, or another thread here, has paused the collector already, nothing is done.
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
        gc.enable()


def _after_fork() -> None:
    if _Pause.lasts:  # in a thread that the child does not have
        _Pause.lasts = False
        gc.enable()


os.register_at_fork(after_in_child=_after_fork)
