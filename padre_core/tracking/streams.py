"""What a run logs while it works: points and lines. This is the path that a training script takes most often."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from time import time_ns

from pydantic import ValidationError

from padre_core.errors import ConflictError, InvalidObjectError
from padre_core.hookspecs import Logged, Progressed
from padre_core.objects import canonical
from padre_core.objects.base import invalid
from padre_core.objects.run import Progress
from padre_core.services.checking import checked_mapping
from padre_core.streams.columns import Line, make_points, metric_name, metric_step, metric_value, now
from padre_core.streams.writer import StreamWriter
from padre_core.tracking.home import Home

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

MAX_TEXT = 1024 * 1024
"""Bytes of one logged text."""

_LOWEST, _HIGHEST = -(2**63), 2**63 - 1


class RunStreams:
    """One process's writer of a run's points and lines. Safe to use from several threads.

    In a store that keeps logs, such as a folder, what was logged survives the death of the process when the call
    returns; elsewhere it is collected and stored in batches. A process forked from this one gets a writer of its own.

    Attributes:
        id: The run's id.
        ended: Whether logging is over, here.
    """

    def __init__(self, home: Home, run: str) -> None:
        self._home = home
        self.id = run
        self.ended = False
        self._progress: Progress | None = None
        self._forget_writer()
        self._current_writer()

    def log_metric(self, name: str, value: float, step: int | None = None) -> None:
        """Adds one point to a metric.

        Args:
            value: A number; NaN and infinities are kept.
            step: By default one more than the last that was logged here for this metric, from 0 on.

        Raises:
            InvalidObjectError: Name, value or step are malformed.
            ConflictError: The run has ended.
        """
        # Names are checked once; floats and ints, which almost all values and steps are, cost one comparison.
        if name not in self._steps:
            name = self._new_metric(name)
        if type(value) is not float:
            value = metric_value(name, value)
        if step is None:
            step = self._next_step(name)
        else:
            if type(step) is not int or not _LOWEST <= step <= _HIGHEST:
                step = metric_step(name, step)
            self._steps[name] = step + 1
        self._point(name, step, value, time_ns() // 1000)

    def log_metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Adds one point to each of several metrics, or to none if one is malformed; see `log_metric`."""
        checked = [
            (metric_name(name), metric_value(name, value)) for name, value in checked_mapping("metrics", values).items()
        ]
        if step is not None and checked:
            step = metric_step(checked[0][0], step)
        for name, value in checked:
            self.log_metric(name, value, step)

    def log_points(
        self, name: str, values: Iterable[float], steps: Iterable[int] | None = None, times: Iterable[int] | None = None
    ) -> None:
        """Adds many points to a metric at once, from lists, ranges or NumPy arrays of equal length.

        Args:
            steps: By default they count on from the last one, as in `log_metric`.
            times: Microseconds since 1970 in UTC; by default now, for all.
        """
        with self._lock:
            name = self._new_metric(name)
            points = make_points(name, values, steps, times, self._steps[name])
            if len(points):
                self._current_writer().points(points)
                self._steps[name] = points.steps[-1] + 1

    def log(self, text: str, level: str = "INFO") -> None:
        """Adds text to the run's log.

        Args:
            level: `DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`.
        """
        if level not in LEVELS:
            raise InvalidObjectError(f"log: there is no level {level!r:.80}; the levels are {', '.join(LEVELS)}")
        self._line(level, text)
        self._home.records.hooks.emit(Logged(self.id, level, text))

    def log_progress(self, current: float, total: float | None = None, phase: str | None = None) -> None:
        """Says how far the run has come, in any unit; no new version of the run."""
        try:
            progress = Progress(current=current, total=total, phase=phase)
        except ValidationError as error:
            raise invalid(Progress, error) from None
        self._line("PROGRESS", canonical.to_json([progress.current, progress.total, progress.phase]).decode())
        self._progress = progress
        self._home.records.hooks.emit(Progressed(progress.current, progress.total, progress.phase, self.id))

    def flush(self) -> None:
        """Returns when all that was logged is stored."""
        self._current_writer().flush()

    def _forget_writer(self) -> None:
        """Makes the next call open a new writer; in a forked child, where locks may be held for ever."""
        self._lock = threading.RLock()
        self._steps: dict[str, int] = {}
        self._writer: StreamWriter | None = None
        self.__dict__.pop("_point", None)

    def _current_writer(self) -> StreamWriter:
        """The writer of this process.

        Raises:
            ConflictError: The run has ended.
        """
        if self.ended:
            raise ConflictError(f"run {self.id} has ended; start_run(resume={self.id!r}) goes on with it")
        with self._lock:
            if self._writer is None:
                self._writer = self._home.records.backend.open_writer(self.id)
                # In the place of this object's own method, which no attribute holds: such a circle would keep each run
                # that ended, and all that it knows, until Python looks for garbage.
                self._point = self._writer.point  # type: ignore[method-assign]
            return self._writer

    def _close_writer(self) -> None:
        """Ends this process's part of the streams; logging is refused from now on."""
        with self._lock:
            self.ended = True
            self.__dict__.pop("_point", None)
            if self._writer is not None:
                self._writer.close()

    def _point(self, metric: str, step: int, value: float, time: int) -> None:
        self._current_writer().point(metric, step, value, time)

    def _new_metric(self, name: str) -> str:
        name = metric_name(name)
        self._steps.setdefault(name, 0)
        return name

    def _next_step(self, name: str) -> int:
        with self._lock:
            step = metric_step(name, self._steps[name])
            self._steps[name] = step + 1
            return step

    def _line(self, level: str, text: str) -> None:
        try:
            size = len(text.encode())
        except (AttributeError, UnicodeEncodeError):
            raise InvalidObjectError(f"log: {text!r:.80} is not valid text") from None
        if size > MAX_TEXT:
            raise InvalidObjectError(f"log: {size} bytes are too much for one text; store long ones as artifacts")
        self._current_writer().line(Line(now(), level, text))
