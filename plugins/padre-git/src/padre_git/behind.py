"""Pushing behind those who work: soon after something was stored, and once for all that came meanwhile."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

PAUSE = 1.0
"""For how many seconds what was stored may wait for more, before it is pushed in the background."""


class Behind:
    """Calls something in a thread of its own, which ends when nothing is asked for. Safe for threads.

    Args:
        act: What is called; it raises nothing.
        what: What messages call it.
    """

    def __init__(self, act: Callable[[], None], what: str) -> None:
        self._act, self._what = act, what
        self._ending = False
        self.after_fork()

    def after_fork(self) -> None:
        """Forgets the thread and locks of the parent."""
        self._thread: threading.Thread | None = None
        self._due: float | None = None
        self._waiting = threading.Event()
        self._starting = threading.Lock()

    def soon(self, seconds: float = 0.0) -> None:
        """Asks for a call; what is asked for meanwhile goes with it, or after it."""
        with self._starting:
            due = time.monotonic() + seconds
            self._due = due if self._due is None else min(self._due, due)
            if self._ending or self._thread is not None:
                return
            self._thread = threading.Thread(target=self._run, name="padre-git-push", daemon=True)
            try:
                self._thread.start()
            except RuntimeError as error:  # the interpreter is ending: closing pushes
                self._thread = None
                logger.debug("%s: not pushed now: %s", self._what, error)

    def end(self) -> None:
        """Returns when nothing goes on behind, and begins nothing more."""
        self._ending = True
        self._waiting.set()
        thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while not self._waiting.wait(PAUSE):
            with self._starting:
                if self._due is None:
                    self._thread = None
                    return
                if time.monotonic() < self._due:
                    continue
                self._due = None
            self._act()
