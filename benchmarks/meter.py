"""The clock of a workload, with a budget for those who would take all day."""

from collections.abc import Callable, Iterable, Iterator
from statistics import median
from time import perf_counter
from typing import NamedTuple


class Figure(NamedTuple):
    """One measured number.

    Attributes:
        value: Seconds, or a count for the workloads that count.
        scaled: The budget cut the work short, and the value was scaled up to the whole.
    """

    value: float
    scaled: bool = False


class Meter:
    """Collects the figures of one workload.

    Args:
        budget: Seconds after which `chunks` stops handing out work.
    """

    def __init__(self, budget: float) -> None:
        self.budget = budget
        self.figures: dict[str, Figure] = {}
        self.scale = 1.0
        self._starts: dict[str, float] = {}

    def start(self, *names: str) -> None:
        """Start clocks; they stop one by one."""
        self._starts.update(dict.fromkeys(names, perf_counter()))

    def stop(self, name: str) -> None:
        """Stop a clock and keep what it shows, scaled when the budget had cut the work short."""
        self.record(name, (perf_counter() - self._starts.pop(name)) * self.scale)

    def record(self, name: str, value: float) -> None:
        """Keep a figure that was taken in another way."""
        self.figures[name] = Figure(value, scaled=self.scale > 1)

    def chunks(self, count: int, length: int = 10) -> Iterator[range]:
        """Yield `range(count)` in pieces until it is done or the budget is spent."""
        deadline = perf_counter() + self.budget
        for first in range(0, count, length):
            yield range(first, min(first + length, count))
            if perf_counter() > deadline and first + length < count:
                self.scale = count / (first + length)
                return

    def p50(self, name: str, calls: Iterable[Callable[[], object]], *, p99: str | None = None) -> None:
        """Keep the median time of calls, of as many as the budget allows.

        Args:
            p99: The name of a figure for the time that one call in a hundred exceeds.
        """
        deadline = perf_counter() + self.budget
        times = []
        for call in calls:
            started = perf_counter()
            call()
            times.append(perf_counter() - started)
            if perf_counter() > deadline:
                break
        self.record(name, median(times))
        if p99 is not None:
            self.record(p99, sorted(times)[len(times) * 99 // 100])
