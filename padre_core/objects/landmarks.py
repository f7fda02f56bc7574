"""What is special among some points: the first, the last, the lowest, the highest, and what they add up to."""

from __future__ import annotations

import functools
import math
import operator
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any, NamedTuple

MANY = 256
"""From how many points on NumPy is worth calling."""


class Landmarks(NamedTuple):
    """Where they are among points of which there is at least one.

    Attributes:
        first: The place of the first point by step and time.
        low: The place of the lowest value, the first of several; 0 where all are NaN. So is `high`.
        numbers: How many values are not NaN.
        total: Their sum, added one after the other, so that it is the same on every machine.
    """

    first: int
    last: int
    low: int
    high: int
    numbers: int
    total: float


def landmarks(steps: Sequence[int], times: Sequence[int], values: Sequence[float], total: float) -> Landmarks:
    """The landmarks of some points, of which there must be one; `total` is what their values are added to."""
    if len(values) < MANY or "numpy" not in sys.modules:  # who has not loaded it should not wait for it here
        return plain(steps, times, values, total)
    try:
        import numpy as np  # waits where another thread is still loading it
    except ImportError:
        return plain(steps, times, values, total)
    with np.errstate(all="ignore"):
        return with_numpy(np, steps, times, values, total)


def plain(steps: Sequence[int], times: Sequence[int], values: Sequence[float], total: float) -> Landmarks:
    """The landmarks without NumPy."""
    steps, values = list(steps), list(values)  # an array makes each number anew whenever somebody looks
    ordered = sorted(steps)
    if steps == ordered:
        lowest: Sequence[int] = range(bisect_right(steps, ordered[0]))
        highest: Sequence[int] = range(bisect_left(steps, ordered[-1]), len(steps))
    else:
        lowest = [place for place, step in enumerate(steps) if step == ordered[0]]
        highest = [place for place, step in enumerate(steps) if step == ordered[-1]]
    first = min(lowest, key=times.__getitem__)
    last = max(highest, key=lambda place: (times[place], place))
    numbers: Sequence[float] = values
    end = functools.reduce(operator.add, values, total)
    if math.isnan(end):
        numbers = [value for value in values if value == value]
        end = functools.reduce(operator.add, numbers, total)
    if not numbers:
        return Landmarks(first, last, 0, 0, 0, end)
    return Landmarks(first, last, values.index(min(numbers)), values.index(max(numbers)), len(numbers), end)


def with_numpy(np: Any, steps: Sequence[int], times: Sequence[int], values: Sequence[float], total: float) -> Landmarks:
    """The same landmarks, to the bit."""
    steps, times, values = np.asarray(steps), np.asarray(times), np.asarray(values)
    first, last = 0, len(steps) - 1
    if not np.all(np.greater(steps[1:], steps[:-1])):  # most count up, and need not be searched
        lowest, highest = np.flatnonzero(steps == np.min(steps)), np.flatnonzero(steps == np.max(steps))[::-1]
        first, last = lowest[np.argmin(times[lowest])], highest[np.argmax(times[highest])]
    end = np.add.accumulate(np.append(total, values))[-1]
    if end == end:  # most points are numbers, and need not be picked out
        return Landmarks(int(first), int(last), int(np.argmin(values)), int(np.argmax(values)), len(values), float(end))
    places = np.flatnonzero(values == values)
    numbers = values[places]
    end = np.add.accumulate(np.append(total, numbers))[-1]
    low, high = (places[np.argmin(numbers)], places[np.argmax(numbers)]) if len(places) else (0, 0)
    return Landmarks(int(first), int(last), int(low), int(high), len(places), float(end))
