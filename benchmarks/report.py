"""Results as JSON for programs, and as Markdown for people."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.goals import GOALS
from benchmarks.meter import Figure
from benchmarks.runner import Result
from benchmarks.subjects import Entry
from benchmarks.workloads import Workload

BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"
BASE = "padre"
LEGEND = (
    "A cell is the time, and how many times as long as `padre` it took. `~`: stopped by its budget and scaled up. "
    "–: the tracker has no such call, or the work says nothing about it."
)


@dataclass(frozen=True)
class Report:
    """All that was measured in one run.

    Attributes:
        command: What makes it again.
        versions: Of each subject's distribution.
    """

    command: str
    rounds: int
    workloads: Sequence[Workload]
    subjects: Sequence[Entry]
    versions: dict[str, str]
    results: Sequence[Result]
    taken: datetime

    @property
    def figures(self) -> dict[tuple[str, str], Figure]:
        """Each figure by (`workload/figure`, subject)."""
        return {
            (f"{result.workload}/{name}", result.subject): figure
            for result in self.results
            for name, figure in result.figures.items()
        }

    def json(self) -> str:
        """Everything, each round included."""
        return json.dumps(
            {
                "command": self.command,
                "taken": self.taken.isoformat(),
                "machine": machine(),
                "versions": self.versions,
                "results": [asdict(result) for result in self.results],
                "goals": [asdict(line) for line in self.verdicts()],
            },
            indent=1,
        )

    def verdicts(self) -> list["Line"]:
        """Each goal that the measured workloads speak of, with what was reached."""
        keys = {workload.key for workload in self.workloads}
        values = {key: figure.value for key, figure in self.figures.items()}
        return [
            Line(self.row_title(goal.row), goal.text, reached.text, reached.verdict)
            for goal in GOALS
            if goal.row.split("/")[0] in keys
            for reached in [goal.look(values)]
        ]

    def row_title(self, row: str) -> str:
        """A row in words."""
        key, figure = row.split("/")
        workload = next(workload for workload in self.workloads if workload.key == key)
        title = workload.title.format(size=f"{workload.size:,}")
        return title if figure in {"all", "p50", "files"} else f"{title}: {figure}"

    def markdown(self) -> str:
        """Figures, goals and what each subject's durability is."""
        verdicts = [[line.work, line.goal, line.reached, line.verdict] for line in self.verdicts()]
        durability = [[entry.name, self.versions.get(entry.name, ""), entry.durability] for entry in self.subjects]
        parts = [
            f"Taken on {self.taken:%Y-%m-%d} with `{self.command}` on {machine()}; medians of {self.rounds} rounds.",
            self.figure_table(),
            LEGEND,
            "## Goals",
            table(["work", "goal", "reached", "verdict"], verdicts),
            "## Durability of each",
            table(["subject", "version", "when a call returns"], durability),
        ]
        return "\n\n".join(parts)

    def figure_table(self) -> str:
        """A row a figure, a column a subject."""
        figures = self.figures
        rows = dict.fromkeys(row for row, _ in figures)
        cells = [[self.row_title(row), *(self.cell(row, entry.name) for entry in self.subjects)] for row in rows]
        return table(["work", *(entry.name for entry in self.subjects)], cells)

    def cell(self, row: str, subject: str) -> str:
        """A figure and its ratio to PaDRe's."""
        figure, base = self.figures.get((row, subject)), self.figures.get((row, BASE))
        if figure is None:
            workload = row.split("/", maxsplit=1)[0]
            failed = any(r.error for r in self.results if r.workload == workload and r.subject == subject)
            return "failed" if failed else "–"
        value = amount(row, figure.value)
        ratio = f" ×{figure.value / base.value:.3g}" if base and subject != BASE else ""
        return f"{'~' if figure.scaled else ''}{value}{ratio}"

    def write_into(self, page: Path) -> None:
        """Put the tables between the markers of a page, which is made where it is missing."""
        text = page.read_text() if page.exists() else f"# Benchmarks\n\n{BEGIN}\n{END}\n"
        before, rest = text.split(BEGIN)
        page.write_text(f"{before}{BEGIN}\n\n{self.markdown()}\n\n{END}{rest.split(END)[1]}")


@dataclass(frozen=True)
class Line:
    """One goal in words."""

    work: str
    goal: str
    reached: str
    verdict: str


def amount(row: str, value: float) -> str:
    """A figure in the unit of its row."""
    if row.startswith("travel/"):
        return f"{value / 2**20:.3g} MiB"
    return f"{value:g}" if row.endswith("/files") else duration(value)


def duration(seconds: float) -> str:
    """Three digits, in the unit that needs no zeros."""
    for unit, size in (("s", 1), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine() -> str:
    """What it ran on."""
    return (
        f"{os.cpu_count()} shared cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    )


def now() -> datetime:
    """The time of a report."""
    return datetime.now(UTC)
