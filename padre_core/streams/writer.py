"""How a run's points and lines reach a backend."""

from __future__ import annotations

import array
import secrets
import threading
from collections.abc import Callable

from padre_core.streams.columns import Columns, Line, Lines, Points

Append = Callable[[str, str, int, Columns], int]

BATCH = 1000


class StreamWriter:
    """Collects points and lines of one process's opening of a run, and appends them to a backend in batches.

    This is the writer of backends that hold no log of their own. Safe to use from several threads; the order of
    writing is the order in which the calls got their turn. After a fork the child opens a writer of its own.

    Attributes:
        id: 16 hex digits, unlike those of all other writers.
    """

    def __init__(self, append: Append, run: str) -> None:
        self.id = secrets.token_hex(8)
        self.run = run
        self._append = append
        self._lock = threading.Lock()
        self._points: list[tuple[str, int, int, float]] = []
        self._lines: list[Line] = []
        self._next = {"points": 0, "lines": 0}

    def point(self, metric: str, step: int, value: float, time: int) -> None:
        """Adds one point; the metric's name has been checked, the time is in microseconds."""
        with self._lock:
            self._points.append((metric, step, time, value))
            if len(self._points) >= BATCH:
                self._flush()

    def points(self, points: Points) -> None:
        """Adds columns of points."""
        with self._lock:
            self._flush()
            self._next["points"] = self._append(self.run, self.id, self._next["points"], points)

    def line(self, line: Line) -> None:
        """Adds one line."""
        with self._lock:
            self._lines.append(line)
            if len(self._lines) >= BATCH:
                self._flush()

    def flush(self) -> None:
        """Returns when all that was added is acknowledged by the backend."""
        with self._lock:
            self._flush()

    def close(self) -> None:
        """Flushes; the writer must not be used afterwards."""
        self.flush()

    def _flush(self) -> None:
        if self._points:
            self._next["points"] = self._append(self.run, self.id, self._next["points"], columns_of(self._points))
            self._points = []
        if self._lines:
            self._next["lines"] = self._append(self.run, self.id, self._next["lines"], Lines(tuple(self._lines)))
            self._lines = []


def columns_of(points: list[tuple[str, int, int, float]]) -> Points:
    """Points given as (metric, step, time, value) as columns."""
    names, steps, times, values = zip(*points, strict=True)
    metrics = tuple(dict.fromkeys(names))
    positions = {metric: position for position, metric in enumerate(metrics)}
    keys = array.array("I", map(positions.__getitem__, names)) if len(metrics) > 1 else None
    return Points(metrics, keys, array.array("q", steps), array.array("q", times), array.array("d", values))
