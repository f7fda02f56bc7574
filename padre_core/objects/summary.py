"""Summaries of points: derived, never part of a revision."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, overload

from padre_core.objects import canonical
from padre_core.objects.landmarks import landmarks

_WRITER = operator.itemgetter(0, 1)


class Point(NamedTuple):
    """One scalar measurement; the time is in microseconds since 1970 in UTC."""

    step: int
    time: int
    value: float


class WriterSummary(NamedTuple):
    """What one writer's points of one metric come to, in the order in which it wrote them.

    A tuple, because listings make them by the ten thousand.

    Attributes:
        total: The sum of the values that are not NaN, added one after the other.
        numbers: How many values are not NaN; 0 means that `min`, `max` and their steps mean nothing.
    """

    metric: str
    writer: str
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody needs
    numbers: int
    first: Point
    last: Point
    min: float
    min_step: int
    max: float
    max_step: int
    total: float

    def as_json(self) -> list[Any]:
        """The form that records keep."""
        return [
            self.metric, self.writer, self.count, self.numbers, list(self.first), list(self.last),
            self.min, self.min_step, self.max, self.max_step, self.total,
        ]  # fmt: skip

    @classmethod
    def from_json(cls, values: Sequence[Any]) -> WriterSummary:
        """Reads what `as_json` wrote."""
        metric, writer, count, numbers, first, last, *rest = values
        return cls(metric, writer, count, numbers, Point(*first), Point(*last), *rest)


class StoredSummaries(Sequence[WriterSummary]):
    """Summaries in the form that records keep, read when somebody looks: most listings never do.

    Args:
        rows: What the JSON holds, if it was read already.
    """

    __slots__ = ("_data", "_items", "_rows")

    def __init__(self, data: bytes, rows: Sequence[Sequence[Any]] | None = None) -> None:
        self._data, self._rows = data, rows
        self._items: tuple[WriterSummary, ...] | None = None

    def _read(self) -> tuple[WriterSummary, ...]:
        if self._items is None:
            self._items = tuple(map(WriterSummary.from_json, self.rows()))
        return self._items

    def rows(self) -> Sequence[Sequence[Any]]:
        """What each was made from, as `WriterSummary.as_json` gives it; not kept, for it takes more room than a run."""
        rows: Sequence[Sequence[Any]] = canonical.from_json(self._data) if self._rows is None else self._rows
        return rows

    def encoded(self) -> bytes:
        """The JSON as records keep it."""
        return self._data

    def __bool__(self) -> bool:
        return len(self._data) > len(b"[]")

    def __len__(self) -> int:
        return len(self._read())

    @overload
    def __getitem__(self, index: int) -> WriterSummary: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[WriterSummary, ...]: ...
    def __getitem__(self, index: int | slice) -> WriterSummary | tuple[WriterSummary, ...]:
        return self._read()[index]

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, tuple | StoredSummaries) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._read())

    def __repr__(self) -> str:
        return repr(self._read())


def encode_summaries(summaries: Sequence[WriterSummary]) -> bytes:
    """Summaries as the JSON that records keep."""
    if isinstance(summaries, StoredSummaries):
        return summaries.encoded()
    return canonical.to_json([summary.as_json() for summary in summaries])


class Summary(NamedTuple):
    """What all points of one metric of a run come to. A tuple, as `WriterSummary` is.

    `first` and `last` are by (step, time, writer, order of writing). NaN counts in `count` and may be `last`, but
    enters neither `min`, `max` nor `mean`; where all values are NaN, these are NaN and their steps None.
    """

    metric: str
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody needs
    first: float
    last: float
    min: float
    max: float
    mean: float
    first_step: int
    last_step: int
    min_step: int | None
    max_step: int | None


def summarise(
    metric: str,
    writer: str,
    steps: Sequence[int],
    times: Sequence[int],
    values: Sequence[float],
    *,
    total: float = 0.0,
) -> WriterSummary:
    """The summary of some points of one writer, which must not be empty.

    Args:
        total: What the values are added to, one after the other.
    """
    found = landmarks(steps, times, values, total)
    nothing = not found.numbers
    return WriterSummary(
        metric=metric,
        writer=writer,
        count=len(values),
        numbers=found.numbers,
        first=Point(steps[found.first], times[found.first], values[found.first]),
        last=Point(steps[found.last], times[found.last], values[found.last]),
        min=math.nan if nothing else values[found.low],
        min_step=0 if nothing else steps[found.low],
        max=math.nan if nothing else values[found.high],
        max_step=0 if nothing else steps[found.high],
        total=found.total,
    )


def extend(before: WriterSummary, steps: Sequence[int], times: Sequence[int], values: Sequence[float]) -> WriterSummary:
    """The summary of a writer's points after more of them came."""
    after = summarise(before.metric, before.writer, steps, times, values, total=before.total)
    low = before if not after.numbers or (before.numbers and before.min <= after.min) else after
    high = before if not after.numbers or (before.numbers and before.max >= after.max) else after
    return WriterSummary(
        metric=before.metric,
        writer=before.writer,
        count=before.count + after.count,
        numbers=before.numbers + after.numbers,
        first=min(before.first, after.first, key=_place),
        last=before.last if _place(before.last) > _place(after.last) else after.last,
        min=low.min,
        min_step=low.min_step,
        max=high.max,
        max_step=high.max_step,
        total=after.total,
    )


def further(known: Sequence[WriterSummary], others: Sequence[WriterSummary]) -> Sequence[WriterSummary]:
    """For each metric and writer the summary of more points; the first ones themselves if the others add nothing."""
    if not others:
        return known
    best = {(item.metric, item.writer): item for item in known}
    news = [item for item in others if (old := best.get((item.metric, item.writer))) is None or old.count < item.count]
    if not news:
        return known
    best.update({(item.metric, item.writer): item for item in news})
    return tuple(best[key] for key in sorted(best))


def combine(parts: Iterable[WriterSummary]) -> dict[str, Summary]:
    """The summaries of all metrics of a run from those of its writers, by metric name."""
    rows = sorted(parts.rows() if isinstance(parts, StoredSummaries) else parts, key=_WRITER)
    found: dict[str, Summary] = {}
    # In one loop, for it is done for every run of a listing; a tuple's own making takes half the time of the class's.
    for metric, _, count, numbers, first, last, low, low_step, high, high_step, total in rows:
        if numbers:
            values = (
                metric,
                count,
                first[2],
                last[2],
                low,
                high,
                total / numbers,
                first[0],
                last[0],
                low_step,
                high_step,
            )
        else:
            values = metric, count, first[2], last[2], math.nan, math.nan, math.nan, first[0], last[0], None, None
        found[metric] = tuple.__new__(Summary, values)
    if len(found) < len(rows):  # some metric has several writers
        grouped: dict[str, list[WriterSummary]] = {}
        for row in rows:
            grouped.setdefault(row[0], []).append(WriterSummary.from_json(row))
        found.update({metric: _combine(metric, group) for metric, group in grouped.items() if len(group) > 1})
    return found


def _combine(metric: str, writers: list[WriterSummary]) -> Summary:
    first = min(writers, key=lambda part: _place(part.first)).first
    last = writers[0].last
    for part in writers[1:]:
        if _place(part.last) >= _place(last):
            last = part.last
    valid = [part for part in writers if part.numbers]
    low = min(valid, key=lambda part: part.min, default=None)
    high = max(valid, key=lambda part: part.max, default=None)
    numbers = sum(part.numbers for part in valid)
    return Summary(
        metric=metric,
        count=sum(part.count for part in writers),
        first=first.value,
        last=last.value,
        min=low.min if low else math.nan,
        max=high.max if high else math.nan,
        mean=functools.reduce(operator.add, (part.total for part in valid), 0.0) / numbers if numbers else math.nan,
        first_step=first.step,
        last_step=last.step,
        min_step=low.min_step if low else None,
        max_step=high.max_step if high else None,
    )


def _place(point: Point) -> tuple[int, int]:
    return point.step, point.time
