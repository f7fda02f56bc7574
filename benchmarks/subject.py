"""What a benchmark asks of a tracker.

A subject is a tracker under test, and its adapter is one class here: a dozen short methods that say the same things in
the tracker's own words, by its public API and in its fastest documented way. What a tracker has no call for stays as it
is in the base class, and is a dash in the report. Adapters import their tracker at the top of their module: how long
that takes is a workload of its own.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

RunT = TypeVar("RunT")


class Subject(ABC, Generic[RunT]):
    """One tracker on one store; `RunT` is what it calls a running run.

    A store has one open subject at a time, except where a workload says that processes share it.

    Attributes:
        folder: Where the store lives; exists, and is empty for a new store.
        late_imports: Modules that the tracker imports at first use; workloads import them before their clock starts.
        server: The process id of its server while that runs.
    """

    late_imports: ClassVar[tuple[str, ...]] = ()
    server: int | None = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def supports(cls, method: str) -> bool:
        """Whether the adapter says how to do what the base class cannot."""
        return getattr(cls, method) is not getattr(Subject, method)

    def serving(self) -> AbstractContextManager[object]:
        """Put around a workload, outside of all clocks: a server runs as long as this."""
        return nullcontext()

    @abstractmethod
    def open(self) -> None:
        """Open the store, and make it where there is none."""

    @abstractmethod
    def close(self) -> None:
        """Return when all that was written is in files, and all files are closed."""

    @abstractmethod
    def run(self, parameters: dict[str, float | str], tags: dict[str, str], body: Callable[[RunT], None]) -> str:
        """Create a run, call `body` with it, finish it, and return its id."""

    @abstractmethod
    def log_point(self, run: RunT, name: str, value: float, step: int) -> None:
        """Log one point by one call."""

    def log_points(self, run: RunT, name: str, values: Sequence[float], steps: Sequence[int]) -> None:
        """Log up to 1,000 points at once; call by call where the tracker knows no batches."""
        for value, step in zip(values, steps, strict=True):
            self.log_point(run, name, value, step)

    def log_line(self, run: RunT, text: str) -> None:
        """Log a line of text, where the tracker keeps any."""

    def put_runs(
        self, runs: Sequence[tuple[dict[str, float | str], dict[str, float]]], tags: dict[str, str]
    ) -> list[str]:
        """Store finished runs in bulk, each given by its parameters and the one point of each metric. Never timed."""
        raise NotImplementedError

    def settle(self) -> None:
        """Make what was written visible to readers, where the tracker leaves that to a job of its own. Never timed."""

    def read_points(self, run_id: str, name: str) -> Sequence[float]:
        """The values of one metric in the order of their steps."""
        raise NotImplementedError

    def list_runs(self) -> Sequence[object]:
        """All runs as the tracker's objects, with parameters, tags and last values."""
        raise NotImplementedError

    def search(self, accuracy: float, model: str, top: int) -> Sequence[object]:
        """Best runs first: metric `accuracy` above, and parameter `model` equal."""
        raise NotImplementedError

    def get(self, run_id: str) -> object:
        """One run as the tracker's object, read again from its store."""
        raise NotImplementedError

    def put_files(self, run: RunT, source: Path) -> None:
        """Store a file, or all files of a folder, with the run."""
        raise NotImplementedError

    def fetch_files(self, run_id: str, target: Path) -> None:
        """Copy all files of a run into the folder `target`."""
        raise NotImplementedError

    def delete(self, run_ids: Sequence[str]) -> None:
        """Delete runs, in one call where there is one."""
        raise NotImplementedError

    def first_page(self) -> Sequence[object]:
        """The newest 50 runs."""
        raise NotImplementedError

    def search_all(self) -> Sequence[object]:
        """The top 20 of a search that no index can drive."""
        raise NotImplementedError

    def change(self, run_id: str, number: int) -> None:
        """Give a stored run a tag."""
        raise NotImplementedError

    def synchronise(self) -> None:
        """Bring this store and its remote to the same."""
        raise NotImplementedError

    def push(self) -> None:
        """Send all runs to the other side, and return when it has them."""
        raise NotImplementedError

    def fetch(self, target: Path) -> None:
        """Fetch all runs from the other side into a new store."""
        raise NotImplementedError
