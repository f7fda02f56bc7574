"""The points of one metric, as columns."""

from __future__ import annotations

import array
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from padre_core.backends.backend import Segment
from padre_core.streams.columns import Points
from padre_core.streams.packing import put_together


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Points of one metric by step, then time, then in the order of writing.

    The columns are NumPy arrays where NumPy is installed, else `array.array`.

    Attributes:
        steps: 64-bit integers.
        values: 64-bit floats.
        times: Microseconds since 1970 in UTC.
    """

    metric: str
    steps: Sequence[int]
    values: Sequence[float]
    times: Sequence[int]

    def __len__(self) -> int:
        return len(self.values)


def series_of(metric: str, segments: Iterable[Segment]) -> Series:
    """The points of a metric among the parts of a stream."""
    points = [part.columns for part in segments if isinstance(part.columns, Points) and metric in part.columns.metrics]
    try:
        import numpy as np
    except ImportError:
        return _plain(metric, points)
    return _with_numpy(np, metric, points)


def _with_numpy(np: Any, metric: str, parts: Sequence[Points]) -> Series:
    columns: list[list[Any]] = [[], [], []]
    for part in parts:
        kept = slice(None) if part.keys is None else np.frombuffer(part.keys, np.uint32) == part.metrics.index(metric)
        for column, items, dtype in zip(
            columns, (part.steps, part.times, part.values), (np.int64, np.int64, np.float64), strict=True
        ):
            column.append(np.frombuffer(items, dtype)[kept])
    if not parts:
        return Series(metric, np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64))
    steps, times, values = map(np.concatenate, columns)  # also of one: who gets it may write to it
    if not (steps[1:] > steps[:-1]).all():
        order = np.lexsort((times, steps))
        steps, times, values = steps[order], times[order], values[order]
    return Series(metric, steps, values, times)


def _plain(metric: str, parts: Sequence[Points]) -> Series:
    columns = zip(*(part.of(metric) for part in parts), strict=True) if parts else ((), (), ())
    steps, times, values = map(put_together, "qqd", columns)
    if not all(map(operator.lt, steps, steps[1:])):
        order = sorted(range(len(steps)), key=list(zip(steps, times, strict=True)).__getitem__)
        steps, times, values = (
            array.array("q", map(steps.__getitem__, order)),
            array.array("q", map(times.__getitem__, order)),
            array.array("d", map(values.__getitem__, order)),
        )
    return Series(metric, steps, values, times)
