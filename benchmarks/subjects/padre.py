"""PaDRe, by its public API alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import padre_core as padre
from benchmarks.subject import Subject

if TYPE_CHECKING:
    from padre_core.tracking import ActiveRun


class Padre(Subject["ActiveRun"]):
    """As `padre.open(path)` gives it: each finished run survives a power cut, each point kill -9."""

    durability: ClassVar[Literal["power", "process"]] = "power"
    late_imports: ClassVar[tuple[str, ...]] = (
        "importlib.metadata",  # pydantic imports it when it builds its first model
        "importlib_metadata",
        "padre_core.backends.index",
        "padre_core.backends.logged",
        "padre_core.tracking",
        "padre_core.workspace",
        "padre_file",
        "numpy",
    )

    def open(self) -> None:
        self.workspace = padre.open(self.folder.as_uri(), durability=self.durability)
        self.experiment = "benchmark/trackers"

    def close(self) -> None:
        self.workspace.close()

    def run(self, parameters: dict[str, float | str], tags: dict[str, str], body: Callable[[ActiveRun], None]) -> str:
        with self.workspace.start_run(self.experiment, parameters=parameters, tags=tags) as run:
            body(run)
        return str(run.id)

    def put_runs(
        self, runs: Sequence[tuple[dict[str, float | str], dict[str, float]]], tags: dict[str, str]
    ) -> list[str]:
        from benchmarks.subjects.bulk import put_runs  # what it imports, others need not wait for

        (parameters, metrics), *others = runs

        def body(run: ActiveRun) -> None:
            for name, value in metrics.items():
                run.log_metric(name, value, step=0)

        model = self.run(parameters, tags, body)
        return [model, *put_runs(self.workspace.backend, model, others)]

    def log_point(self, run: ActiveRun, name: str, value: float, step: int) -> None:
        run.log_metric(name, value, step=step)

    def log_points(self, run: ActiveRun, name: str, values: Sequence[float], steps: Sequence[int]) -> None:
        run.log_points(name, values=values, steps=steps)

    def log_line(self, run: ActiveRun, text: str) -> None:
        run.log(text)

    def read_points(self, run_id: str, name: str) -> Sequence[float]:
        return self.workspace.runs.points(run_id, name).values

    def list_runs(self) -> Sequence[object]:
        return [(run, last_values(run)) for run in self.workspace.runs.list()]

    def search(self, accuracy: float, model: str, top: int) -> Sequence[object]:
        where = f"metrics.accuracy.last > {accuracy} and parameters.model == '{model}'"
        return list(self.workspace.runs.list(where=where, order_by="-metrics.accuracy.last", limit=top))

    def get(self, run_id: str) -> object:
        run = self.workspace.runs.get(run_id)
        return run, last_values(run)

    def put_files(self, run: ActiveRun, source: Path) -> None:
        if source.is_dir():
            run.log_artifacts(source)
        else:
            run.log_artifact(source)

    def fetch_files(self, run_id: str, target: Path) -> None:
        self.workspace.artifacts.download(run_id, to=target)

    def delete(self, run_ids: Sequence[str]) -> None:
        self.workspace.runs.delete(run_ids)

    def first_page(self) -> Sequence[object]:
        return list(islice(self.workspace.runs.list(order_by="-created_at", limit=50), 50))

    def search_all(self) -> Sequence[object]:
        where = "parameters.p3 == 1.5 and not tags.stage == 'final'"
        return list(self.workspace.runs.list(where=where, order_by="-metrics.loss.mean", limit=20))


def last_values(run: padre.Run) -> dict[str, float]:
    """The last value of each metric."""
    return {name: summary.last for name, summary in run.metrics.items()}


class ProcessPadre(Padre):
    """The same without barriers: everything survives kill -9."""

    durability = "process"


class BarePadre(Padre):
    """The same where numpy is not installed."""

    late_imports = Padre.late_imports[:-1]
