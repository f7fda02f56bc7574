"""Trackio behind its server on this machine."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import sleep

import trackio
from trackio.remote_client import RemoteClient

from benchmarks.serving import free_port, serving
from benchmarks.subject import Subject
from benchmarks.subjects.trackio import PROJECT

TOKEN = os.urandom(16).hex()
QUEUED = 3
"""Seconds within which client and server have written what they queue."""

SHOW = "import sys, trackio; trackio.show(open_browser=False, block_thread=True, server_port=int(sys.argv[1]))"


class ServedTrackio(Subject[trackio.Run]):
    """Writes by `server_url`; reads by the client that Trackio's own commands use."""

    port = 0

    @contextmanager
    def serving(self) -> Iterator[None]:
        self.port = free_port()
        command = [sys.executable, "-P", "-c", SHOW, str(self.port)]
        environment = {"TRACKIO_WRITE_TOKEN": TOKEN}
        with serving(command, f"{self.url}/version", self.folder.parent / "server.txt", environment) as self.server:
            yield

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def open(self) -> None:
        self.client = RemoteClient(self.url, write_token=TOKEN)

    def close(self) -> None:
        """The server writes a while later."""

    def run(self, parameters: dict[str, float | str], tags: dict[str, str], body: Callable[[trackio.Run], None]) -> str:
        run = trackio.init(
            project=PROJECT,
            name=os.urandom(8).hex(),
            config={**parameters, "tags": tags},
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
            server_url=f"{self.url}/?write_token={TOKEN}",
        )
        body(run)
        run.log({"finished": 1})
        trackio.finish()
        return str(run.name)

    def log_point(self, run: trackio.Run, name: str, value: float, step: int) -> None:
        run.log({name: value}, step=step)

    def settle(self) -> None:
        sleep(QUEUED)

    def read_points(self, run_id: str, name: str) -> Sequence[float]:
        rows = self.client.predict(project=PROJECT, run=run_id, metric_name=name, api_name="/get_metric_values")
        return [row["value"] for row in sorted(rows, key=lambda row: row["step"])]

    def list_runs(self) -> Sequence[object]:
        configs: dict[str, object] = self.client.predict(project=PROJECT, api_name="/get_run_configs")
        return list(configs.items())

    def search(self, accuracy: float, model: str, top: int) -> Sequence[object]:
        query = f"""
            SELECT c.run_name, json_extract(m.metrics, '$.accuracy') AS accuracy
            FROM configs c JOIN metrics m ON m.run_id = c.run_id
            WHERE json_extract(c.config, '$.model') = {json.dumps(model).replace('"', "'")} AND accuracy > {accuracy}
            ORDER BY accuracy DESC LIMIT {top}
        """  # noqa: S608
        found: list[object] = self.client.predict(project=PROJECT, query=query, api_name="/query_project")["rows"]
        return found

    def get(self, run_id: str) -> object:
        return self.client.predict(project=PROJECT, run=run_id, api_name="/get_logs")
