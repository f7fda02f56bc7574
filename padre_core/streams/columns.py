"""What streams are made of: columns of points, and lines of text."""

from __future__ import annotations

import array
import struct
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any, Literal, NamedTuple

from padre_core.errors import InvalidObjectError
from padre_core.objects.canonical import plain
from padre_core.objects.identity import check_key
from padre_core.streams.packing import Column

Stream = Literal["points", "lines"]
STREAMS: tuple[Stream, ...] = ("points", "lines")


@dataclass(frozen=True, slots=True)
class Points:
    """Scalar measurements as columns of equal length, in the order of writing.

    Attributes:
        metrics: The names that occur.
        keys: For each point the position of its metric in `metrics`; None where there is one metric only.
        steps: 64-bit integers.
        times: Microseconds since 1970 in UTC.
        values: 64-bit floats; NaN and infinities are values like any other.
        block: The bytes of just these points, set where they are read; see `padre_core.streams.points`.
    """

    metrics: tuple[str, ...]
    keys: Column | None
    steps: Column
    times: Column
    values: Column
    block: memoryview | None = field(default=None, init=False, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.values)

    def skip(self, count: int) -> Points:
        """The points without the first `count`."""
        keys = None if self.keys is None else self.keys[count:]
        return Points(self.metrics, keys, self.steps[count:], self.times[count:], self.values[count:])

    def of(self, metric: str) -> tuple[Sequence[int], Sequence[int], Sequence[float]]:
        """Steps, times and values of one metric."""
        if metric not in self.metrics:
            return array.array("q"), array.array("q"), array.array("d")
        if self.keys is None:
            return self.steps, self.times, self.values
        key = self.metrics.index(metric)
        chosen = [other == key for other in self.keys]
        return (
            array.array("q", compress(self.steps, chosen)),
            array.array("q", compress(self.times, chosen)),
            array.array("d", compress(self.values, chosen)),
        )


class Line(NamedTuple):
    """One line of a run's log; the time is in microseconds since 1970 in UTC.

    Attributes:
        level: `DEBUG`, `INFO`, `WARNING`, `ERROR`, `CRITICAL`, or `PROGRESS`, whose text is JSON
            `[current, total, phase]`.
    """

    time: int
    level: str
    text: str


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines in the order of writing."""

    lines: tuple[Line, ...]

    def __len__(self) -> int:
        return len(self.lines)

    def skip(self, count: int) -> Lines:
        """The lines without the first `count`."""
        return Lines(self.lines[count:])


Columns = Points | Lines


def stream_of(columns: Columns) -> Stream:
    """The stream that columns belong to."""
    return "points" if isinstance(columns, Points) else "lines"


def concatenate(parts: Sequence[Columns]) -> Columns:
    """Parts of one stream, one after the other, as one."""
    first = parts[0]
    if len(parts) == 1:
        return first
    if isinstance(first, Lines):
        return Lines(tuple(line for part in parts if isinstance(part, Lines) for line in part.lines))
    return _concatenate_points([part for part in parts if isinstance(part, Points)])


def _concatenate_points(parts: Sequence[Points]) -> Points:
    positions: dict[str, int] = {}
    for part in parts:
        for metric in part.metrics:
            positions.setdefault(metric, len(positions))
    keys: array.array[int] | None = None
    if len(positions) > 1:
        keys = array.array("I")
        for part in parts:
            places = [positions[metric] for metric in part.metrics]
            keys.extend(map(places.__getitem__, part.keys or bytes(len(part))))
    return Points(
        tuple(positions),
        keys,
        _numbers("q", memoryview(b"".join(part.steps for part in parts))),
        _numbers("q", memoryview(b"".join(part.times for part in parts))),
        _numbers("d", memoryview(b"".join(part.values for part in parts))),
    )


_YEAR_1, _YEAR_10000 = -62_135_596_800_000_000, 253_402_300_800_000_000


def now() -> int:
    """The present time as streams keep it."""
    return time.time_ns() // 1000


def make_points(
    metric: str, values: Iterable[float], steps: Iterable[int] | None, times: Iterable[int] | None, first_step: int
) -> Points:
    """Columns of one metric, from lists, ranges or NumPy arrays.

    Args:
        first_step: Where steps begin if none are given; they then count up by one.

    Raises:
        InvalidObjectError: Lengths differ, or something is not a number.
    """
    value_column = _column("d", values, f"the values of {metric!r}")
    count = len(value_column)
    step_column = _column("q", range(first_step, first_step + count) if steps is None else steps, "steps")
    time_column: Column = array.array("q", [now()]) * count if times is None else _column("q", times, "times")
    if not count == len(step_column) == len(time_column):
        raise InvalidObjectError(
            f"log_points({metric!r}): {count} values, {len(step_column)} steps and {len(time_column)} times; "
            "give as many of each"
        )
    if times is not None and count and not (min(time_column) >= _YEAR_1 and max(time_column) < _YEAR_10000):
        raise InvalidObjectError(
            f"log_points({metric!r}): times are microseconds since 1970, such as time.time_ns() // 1000"
        )
    return Points((metric_name(metric),), None, step_column, time_column, value_column)


def metric_name(name: object) -> str:
    """A metric's name, checked.

    Raises:
        InvalidObjectError: It is no valid name.
    """
    try:
        return check_key(name)
    except ValueError as error:
        raise InvalidObjectError(f"the metric name {name!r:.80} {error}") from None


def metric_value(metric: str, value: Any) -> float:
    """A value as a float; NumPy scalars and anything else with `__float__` are taken.

    Raises:
        InvalidObjectError: It is no real number.
    """
    try:
        if isinstance(value, str):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidObjectError(
            f"metric {metric!r}: {value!r:.80} is not a number; put structured values as padre.Metric(value=...)"
        ) from None


def metric_step(metric: str, step: Any) -> int:
    """A step as a 64-bit integer.

    Raises:
        InvalidObjectError: It is none.
    """
    step = plain(step, f"metric {metric!r}: step")
    if not isinstance(step, int) or isinstance(step, bool):
        raise InvalidObjectError(f"metric {metric!r}: the step {step!r:.80} is not an integer")
    return step


def _column(code: str, items: Any, what: str) -> Column:
    try:
        if type(items) is list:
            return _packed(code, items)
        if type(items) is range:
            return _counted(code, items)
        dtype = getattr(items, "dtype", None)
        if dtype is not None and dtype.kind in ("iuf" if code == "d" else "i"):
            copy = items.astype("float64" if code == "d" else "int64", order="C")
            return _numbers(code, memoryview(copy).cast("B"))
        return _packed(code, list(items) if dtype is None else items.tolist())
    except (TypeError, ValueError, OverflowError, struct.error) as error:
        raise InvalidObjectError(f"log_points: {what} must be numbers ({error})") from None


def _packed(code: str, numbers: list[Any]) -> Column:
    # An array takes numbers one by one; struct takes all at once, in half the time.
    return _numbers(code, memoryview(struct.Struct(f"{len(numbers)}{code}").pack(*numbers)))


def _counted(code: str, numbers: range) -> Column:
    if code == "q" and "numpy" in sys.modules:  # one by one, steps would cost as much as all else
        try:
            import numpy as np

            steps: Any = np.arange(numbers.start, numbers.stop, numbers.step, dtype="int64")
            return _numbers(code, memoryview(steps).cast("B"))
        except (ImportError, OverflowError):
            pass
    return _packed(code, list(numbers))


def _numbers(code: str, data: memoryview) -> Column:
    """Numbers in this machine's order of bytes, without a copy."""
    column: Column = data.cast(code)  # type: ignore[call-overload]  # a code
    return column
