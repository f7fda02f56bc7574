"""Trackio, kept on this machine."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import trackio
from trackio.sqlite_storage import SQLiteStorage

from benchmarks.subject import Subject

PROJECT = "trackers"


class Trackio(Subject[trackio.Run]):
    """A run that logs nothing is not kept, so each logs one value at its end; tags go into the configuration."""

    server_url: str | None = None

    def open(self) -> None:
        """Trackio opens its store at each call; where it lies is fixed at import, by TRACKIO_DIR."""

    def close(self) -> None:
        """Each finished run has been written."""

    def run(self, parameters: dict[str, float | str], tags: dict[str, str], body: Callable[[trackio.Run], None]) -> str:
        run = trackio.init(
            project=PROJECT,
            name=os.urandom(8).hex(),
            config={**parameters, "tags": tags},
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
            server_url=self.server_url,
        )
        body(run)
        run.log({"finished": 1})
        trackio.finish()
        return str(run.name)

    def log_point(self, run: trackio.Run, name: str, value: float, step: int) -> None:
        run.log({name: value}, step=step)

    def read_points(self, run_id: str, name: str) -> Sequence[float]:
        rows = SQLiteStorage.get_metric_values(PROJECT, run_id, name)
        return [row["value"] for row in sorted(rows, key=lambda row: row["step"])]

    def list_runs(self) -> Sequence[object]:
        configs = SQLiteStorage.get_all_run_configs(PROJECT)
        logs = SQLiteStorage.get_logs_batch(PROJECT, [{"run_id": run_id} for run_id in configs])
        return [(item["run_id"], configs[item["run_id"]], last_values(item["logs"])) for item in logs]

    def search(self, accuracy: float, model: str, top: int) -> Sequence[object]:
        found: list[object] = SQLiteStorage.query_project(PROJECT, best(accuracy, model, top))["rows"]
        return found

    def get(self, run_id: str) -> object:
        return SQLiteStorage.get_run_config(PROJECT, run_id), SQLiteStorage.get_logs(PROJECT, run_id)

    def put_files(self, run: trackio.Run, source: Path) -> None:
        run.log_artifact(source, name="files")

    def fetch_files(self, run_id: str, target: Path) -> None:
        del run_id
        run = trackio.init(project=PROJECT, embed=False, auto_log_gpu=False, auto_log_cpu=False)
        run.use_artifact("files").download(target)
        trackio.finish()

    def delete(self, run_ids: Sequence[str]) -> None:
        for run_id in run_ids:
            SQLiteStorage.delete_run(PROJECT, run_id)


def last_values(logs: Sequence[dict[str, float]]) -> dict[str, float]:
    """The last value of each metric; a line holds some of them."""
    return {name: value for line in logs for name, value in line.items()}


def best(accuracy: float, model: str, top: int) -> str:
    """The search in SQL."""
    return f"""
        SELECT c.run_name, json_extract(m.metrics, '$.accuracy') AS accuracy
        FROM configs c JOIN metrics m ON m.run_id = c.run_id
        WHERE json_extract(c.config, '$.model') = {json.dumps(model).replace('"', "'")} AND accuracy > {accuracy}
        ORDER BY accuracy DESC LIMIT {top}
    """  # noqa: S608
