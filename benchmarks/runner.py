"""Runs workloads for subjects in turn, each in a fresh process and a fresh folder, and collects their figures.

Nothing is deleted between rounds: on some file systems files that are created after a large delete cost ten times as
much.
"""

import json
import os
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks import starter, worker
from benchmarks.meter import Figure
from benchmarks.subjects import Entry
from benchmarks.venvs import Venvs
from benchmarks.worker import Job
from benchmarks.workloads import Store, Workload

PATIENCE = 300


class WorkerError(Exception):
    """A worker ended without a result; the message is the end of what it wrote."""


@dataclass(frozen=True)
class Result:
    """What all rounds of one workload gave for one subject.

    Attributes:
        workload: Key of the workload.
        subject: Name of the subject.
        figures: The median of each figure; empty where the subject cannot do the work.
        rounds: Each figure of each round.
        error: Why there are no figures, where the work failed.
    """

    workload: str
    subject: str
    figures: dict[str, Figure]
    rounds: dict[str, list[float]]
    error: str | None = None


class Runner:
    """Measures in folders under a root that is its own.

    Attributes:
        spent: How many seconds the last process took.

    Args:
        root: An empty folder on the disk to measure.
        venvs: Where the subjects are installed.
        budget: Seconds for each workload of a subject, after which it is scaled.
        rounds: How often each is repeated; what takes longer than its budget is not, for long times vary little.
    """

    def __init__(self, root: Path, venvs: Venvs, *, budget: float, rounds: int) -> None:
        self.root = root
        self.venvs = venvs
        self.budget = budget
        self.rounds = rounds
        self.spent = 0.0

    def measure(self, workload: Workload, subjects: tuple[Entry, ...]) -> Iterator[Result]:
        """All rounds of a workload, its subjects in turn within a round."""
        rounds: dict[str, list[dict[str, Figure]]] = defaultdict(list)
        errors: dict[str, str] = {}
        slow: set[str] = set()
        candidates = [entry for entry in subjects if workload.suits(entry.name, served=entry.served, named=entry.named)]
        for number in range(self.rounds):
            for entry in candidates:
                done = rounds[entry.name]
                if entry.name in errors or entry.name in slow:
                    continue
                self.spent = 0.0
                try:
                    done.append(self.once(workload, entry, number))
                except WorkerError as error:
                    errors[entry.name] = str(error)
                    continue
                if self.spent > self.budget or cut_short(done[-1]):
                    slow.add(entry.name)
        for entry in candidates:
            yield summary(workload.key, entry.name, rounds[entry.name], errors.get(entry.name))

    def once(self, workload: Workload, entry: Entry, number: int) -> dict[str, Figure]:
        """One workload of one subject, once; no figures where the subject cannot do it."""
        place = self.root / workload.key / f"{number}-{entry.name}"
        if workload.store:
            stored = self.stored(workload.store, workload.uses, entry)
            if stored is None:
                return {}
            if workload.changes_store:
                shutil.copytree(stored, place)
            else:
                place = stored
        if workload.whole_process:
            return {"all": Figure(self.start(entry, workload.target, place))}
        return self.work(entry, workload.target, workload.uses, place, workload.size, self.budget)

    def stored(self, store: Store, uses: str, entry: Entry) -> Path | None:
        """The place of a prepared store, made at first need; None where nobody could read it."""
        place = self.root / "stores" / f"{store.target.split(':')[1]}-{store.size}" / entry.name
        facts = place / "facts.json"
        if not facts.exists():
            self.work(entry, store.target, uses, place, store.size, store.budget)
        return place if facts.exists() else None

    def work(self, entry: Entry, target: str, uses: str, place: Path, size: int, budget: float) -> dict[str, Figure]:
        """The figures of one worker."""
        job, result = place / "job.json", place / "result.json"
        store = folder(place / "store")
        Job(entry.target, target, uses, str(store), size, budget, str(result)).save(job)
        self.process(entry, place, budget + PATIENCE, worker.__file__, job)
        return {name: Figure(*figure) for name, figure in json.loads(result.read_text()).items()}

    def start(self, entry: Entry, target: str, place: Path) -> float:
        """The seconds of one starter."""
        store = folder(place / "store")
        started = perf_counter()
        # Without patience, for a wait with a limit looks only every 50 ms.
        self.process(entry, place, None, starter.__file__, entry.target, store, target)
        return perf_counter() - started

    def process(self, entry: Entry, place: Path, patience: float | None, *arguments: str | Path) -> None:
        """Run a program in a subject's environment, which knows nothing of the user's home.

        Raises:
            WorkerError: It failed, or took longer than our patience.
        """
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder(place / "home")),
            **{name: value.format(folder=place / "store") for name, value in entry.environment.items()},
        }
        output = place / "output.txt"
        started = perf_counter()
        command = [str(self.venvs.python(entry.venv)), "-P", *map(str, arguments)]
        with output.open("ab") as file:
            try:
                subprocess.run(
                    command,
                    cwd=folder(place / "work"),
                    env=environment,
                    stdout=file,
                    stderr=file,
                    timeout=patience,
                    check=True,
                )
            except subprocess.SubprocessError as error:
                raise WorkerError(f"{error}: {output.read_text(errors='replace').strip()[-2000:]}") from error
        self.spent = perf_counter() - started


def folder(path: Path) -> Path:
    """Make a folder, unless it is there."""
    path.mkdir(parents=True, exist_ok=True)
    return path


def cut_short(figures: dict[str, Figure]) -> bool:
    """Whether the budget was spent before the work was done."""
    return any(figure.scaled for figure in figures.values())


def summary(workload: str, subject: str, rounds: list[dict[str, Figure]], error: str | None) -> Result:
    """The medians of all rounds."""
    names = list(rounds[0]) if rounds else []
    values = {name: [figures[name].value for figures in rounds] for name in names}
    scaled = any(map(cut_short, rounds))
    return Result(workload, subject, {name: Figure(median(values[name]), scaled) for name in names}, values, error)


def load(file: Path) -> list[Result]:
    """The results that a report wrote as JSON."""
    return [
        Result(**{**item, "figures": {name: Figure(*figure) for name, figure in item["figures"].items()}})
        for item in json.loads(file.read_text())["results"]
    ]
