"""Syncing behind a program's back: soon after something was written, and never in its way."""

from __future__ import annotations

import logging
import threading
import time

from padre_core.errors import PadreError
from padre_core.sync.stores import Stores

logger = logging.getLogger(__name__)

PAUSE = 1.0
"""Seconds from one sync to the next, so that what is written meanwhile goes together."""

LONGEST_PAUSE = 60.0
"""Seconds between tries while a remote is away."""


class Background:
    """A thread that syncs with the remotes of policy auto, each time it is told that something was written.

    It raises nothing: what did not travel waits in the store, for this thread, another process or `padre sync`.
    After a fork the child has no such thread, and needs a new `Background`.
    """

    def __init__(self, engine: Stores, *, pause: float = PAUSE) -> None:
        self._engine = engine
        self._pause = self._waiting = pause
        self._remotes = [remote.name for remote in engine.remotes.values() if remote.auto]
        self._written = threading.Event()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def wrote(self) -> None:
        """Tells that something was written; costs next to nothing."""
        if not self._written.is_set():
            self._written.set()
            if self._thread is None and self._remotes:
                self._thread = threading.Thread(target=self._work, name="padre-background-sync", daemon=True)
                self._thread.start()

    def close(self, deadline: float) -> bool:
        """Ships the rest and returns whether all was shipped, at the latest after so many seconds."""
        self._ending.set()
        self._written.set()
        if self._thread is None:
            return True
        until = time.monotonic() + deadline
        self._thread.join(max(0.0, until - time.monotonic()))
        return not self._thread.is_alive() and not self._written.is_set()

    def _work(self) -> None:
        while True:
            self._written.wait()
            ending = self._ending.is_set()
            self._written.clear()
            if not self._synced():
                self._written.set()
            if ending:
                return
            self._ending.wait(self._waiting)

    def _synced(self) -> bool:
        try:
            report = self._engine.sync(remotes=self._remotes)
        except PadreError as error:
            logger.warning("nothing was synced now: %s", error)
            self._waiting = min(2 * self._waiting, LONGEST_PAUSE)
            return False
        for name, reason in report.away.items():
            logger.info("%s is away, so what was written waits: %s", name, reason)
        for step in report.failed:
            logger.warning("%s was not synced: %s", " ".join(step.ref), step.error)
        self._waiting = min(2 * self._waiting, LONGEST_PAUSE) if report.away else self._pause
        return not report.away
