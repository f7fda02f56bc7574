"""Ships in the background: what was stored here goes to the remotes while the program works on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from padre_core.errors import PadreError

logger = logging.getLogger(__name__)

GATHER = 0.5
"""Seconds between the first thing that waits and its departure, so that many go together."""

PAUSE = 5.0
"""Seconds between two departures while there is news."""

LONGEST = 60.0
"""Seconds after which a remote that is away is asked again, at the latest."""

DEADLINE = 10.0
"""Seconds that the end of a program waits for what is still to be sent."""


class Shipper:
    """A thread that calls a function when something waits, again while that fails, and once more at the end.

    A process that was forked has none, and needs none: its parent ships, or any later one.

    Args:
        ship: Sends what waits; returns whether all of it could be.
    """

    def __init__(self, ship: Callable[[], bool]) -> None:
        self._ship = ship
        self._news = threading.Event()
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._left = False

    def wake(self) -> None:
        """Tells that something waits; returns at once."""
        self._news.set()
        if self._thread is None:
            with self._lock:
                if self._thread is None and not self._ended.is_set():
                    self._thread = threading.Thread(target=self._run, name="padre-shipper", daemon=True)
                    self._thread.start()

    def stop(self) -> None:
        """Ships once more if something waits, for `DEADLINE` at most. May be called twice."""
        with self._lock:
            self._ended.set()
            thread = self._thread
        self._news.set()
        if thread is not None and thread.is_alive():
            thread.join(DEADLINE)
            if thread.is_alive():
                self._left = True  # what it uses is closed under it now
                logger.warning("not all was sent to the remotes in time; `padre sync` sends the rest")

    def _run(self) -> None:
        delay = GATHER
        while True:
            self._news.wait()
            ending = self._ended.wait(delay)
            self._news.clear()
            delay = PAUSE if self._try() else min(LONGEST, 2 * delay)
            if ending:
                return
            if delay > PAUSE:
                self._news.set()

    def _try(self) -> bool:
        try:
            return self._ship()
        except Exception as error:  # whatever it is: the next thing that is stored must travel
            if not self._left:
                known = isinstance(error, PadreError)
                logger.warning("not all was sent to the remotes: %s", error, exc_info=None if known else error)
            return False
