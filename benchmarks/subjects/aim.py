"""Aim, with its own captures of the system and the terminal off."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from aim import Repo, Run

from benchmarks.subject import Subject


class Aim(Subject[Run]):
    """Readers see a run only when it has been indexed, which is a job of its own in Aim, and not timed here."""

    def open(self) -> None:
        self.repo = Repo.from_path(str(self.folder), init=not Repo.exists(str(self.folder)))

    def close(self) -> None:
        self.repo.close()

    def run(self, parameters: dict[str, float | str], tags: dict[str, str], body: Callable[[Run], None]) -> str:
        run = Run(repo=self.repo, experiment="trackers", system_tracking_interval=None, capture_terminal_logs=False)
        run["parameters"] = parameters
        for key, value in tags.items():
            run.add_tag(f"{key}={value}")
        body(run)
        run.close()
        return str(run.hash)

    def log_point(self, run: Run, name: str, value: float, step: int) -> None:
        run.track(value, name=name, step=step)

    def settle(self) -> None:
        program = Path(sys.executable).with_name("aim")
        subprocess.run([program, "storage", "--repo", self.folder, "reindex", "-y"], check=True, capture_output=True)

    def read_points(self, run_id: str, name: str) -> Sequence[float]:
        run = self.repo.get_run(run_id)
        metric = next(metric for metric in run.metrics() if metric.name == name)
        _, (values, _, _) = metric.data.items_list()
        return list(values)

    def list_runs(self) -> Sequence[object]:
        return [everything(run) for run in self.repo.iter_runs()]

    def search(self, accuracy: float, model: str, top: int) -> Sequence[object]:
        query = f"run.parameters.model == '{model}' and run.metrics['accuracy', {{}}].last > {accuracy}"
        found = [match.run for match in self.repo.query_runs(query, report_mode=0).iter_runs()]
        found.sort(key=lambda run: -next(m for m in run.metrics() if m.name == "accuracy").values.last()[1])
        return found[:top]

    def get(self, run_id: str) -> object:
        return everything(self.repo.get_run(run_id))

    def put_files(self, run: Run, source: Path) -> None:
        run.set_artifacts_uri((self.folder / "files").as_uri())
        if source.is_dir():
            run.log_artifacts(str(source), block=True)
        else:
            run.log_artifact(str(source), block=True)

    def fetch_files(self, run_id: str, target: Path) -> None:
        for artifact in self.repo.get_run(run_id).artifacts.values():
            artifact.download(str(target))

    def delete(self, run_ids: Sequence[str]) -> None:
        self.repo.delete_runs(list(run_ids))


def everything(run: Run) -> tuple[object, ...]:
    """A run with its parameters, tags and last values."""
    return run, run["parameters"], run.tags, {metric.name: metric.values.last()[1] for metric in run.metrics()}
