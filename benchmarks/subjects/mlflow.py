"""MLflow by its client, which skips the fluent layer's look-ups."""

from collections.abc import Callable, Sequence
from pathlib import Path
from time import time

import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from benchmarks.subject import Subject

EXPERIMENT = "trackers"


class MlflowFile(Subject[str]):
    """The store of files that MLflow now opens only on request; a run is its id."""

    @property
    def uri(self) -> str:
        return (self.folder / "mlruns").as_uri()

    @property
    def files(self) -> str | None:
        """Where artifacts go; None is the server's default."""
        return (self.folder / "files").as_uri()

    def open(self) -> None:
        mlflow.set_tracking_uri(self.uri)
        self.client = MlflowClient(self.uri)
        known = self.client.get_experiment_by_name(EXPERIMENT)
        self.experiment = (
            known.experiment_id if known else self.client.create_experiment(EXPERIMENT, artifact_location=self.files)
        )

    def close(self) -> None:
        """Each call has written its files."""

    def run(self, parameters: dict[str, float | str], tags: dict[str, str], body: Callable[[str], None]) -> str:
        run_id: str = self.client.create_run(self.experiment).info.run_id
        self.client.log_batch(
            run_id,
            params=[Param(key, str(value)) for key, value in parameters.items()],
            tags=[RunTag(key, value) for key, value in tags.items()],
        )
        body(run_id)
        self.client.set_terminated(run_id)
        return run_id

    def log_point(self, run: str, name: str, value: float, step: int) -> None:
        self.client.log_metric(run, name, value, step=step)

    def log_points(self, run: str, name: str, values: Sequence[float], steps: Sequence[int]) -> None:
        now = int(time() * 1000)
        metrics = [Metric(name, value, now, step) for value, step in zip(values, steps, strict=True)]
        self.client.log_batch(run, metrics=metrics)

    def read_points(self, run_id: str, name: str) -> Sequence[float]:
        return [metric.value for metric in self.client.get_metric_history(run_id, name)]

    def list_runs(self) -> Sequence[object]:
        runs: list[object] = []
        token = None
        while token or not runs:
            page = self.client.search_runs([self.experiment], max_results=1000, page_token=token)
            runs += page
            token = page.token
            if not token:
                break
        return runs

    def search(self, accuracy: float, model: str, top: int) -> Sequence[object]:
        found: Sequence[object] = self.client.search_runs(
            [self.experiment],
            f"metrics.accuracy > {accuracy} and params.model = '{model}'",
            order_by=["metrics.accuracy DESC"],
            max_results=top,
        )
        return found

    def get(self, run_id: str) -> object:
        return self.client.get_run(run_id)

    def put_files(self, run: str, source: Path) -> None:
        if source.is_dir():
            self.client.log_artifacts(run, str(source))
        else:
            self.client.log_artifact(run, str(source))

    def fetch_files(self, run_id: str, target: Path) -> None:
        mlflow.artifacts.download_artifacts(run_id=run_id, dst_path=str(target))

    def delete(self, run_ids: Sequence[str]) -> None:
        for run_id in run_ids:
            self.client.delete_run(run_id)


class MlflowSqlite(MlflowFile):
    """The store that MLflow recommends on one machine."""

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder / 'mlflow.db'}"
