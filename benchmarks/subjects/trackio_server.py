"""Trackio behind its server on this machine."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import sleep

from trackio.remote_client import RemoteClient

from benchmarks.serving import free_port, serving
from benchmarks.subject import Subject
from benchmarks.subjects.trackio import PROJECT, Trackio, best, last_values

TOKEN = os.urandom(16).hex()
MOST = 64
"""Runs of which one call tells the values."""

QUEUED = 3
"""Seconds within which client and server have written what they queue."""

SHOW = "import sys, trackio; trackio.show(open_browser=False, block_thread=True, server_port=int(sys.argv[1]))"


class ServedTrackio(Trackio):
    """Writes by `server_url`; reads by the client that Trackio's own commands use."""

    port = 0
    # What Trackio's client has no call for.
    put_files, fetch_files, delete = Subject.put_files, Subject.fetch_files, Subject.delete

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
        self.server_url = f"{self.url}/?write_token={TOKEN}"
        self.client = RemoteClient(self.url, write_token=TOKEN)

    def close(self) -> None:
        """The server writes a while later."""

    def settle(self) -> None:
        sleep(QUEUED)

    def read_points(self, run_id: str, name: str) -> Sequence[float]:
        rows = self.client.predict(project=PROJECT, run=run_id, metric_name=name, api_name="/get_metric_values")
        return [row["value"] for row in sorted(rows, key=lambda row: row["step"])]

    def list_runs(self) -> Sequence[object]:
        configs: dict[str, object] = self.client.predict(project=PROJECT, api_name="/get_run_configs")
        ids, runs = list(configs), []
        for start in range(0, len(ids), MOST):
            asked = [{"run_id": run_id} for run_id in ids[start : start + MOST]]
            found = self.client.predict(project=PROJECT, runs=asked, api_name="/get_logs_batch")
            runs += [(item["run_id"], configs[item["run_id"]], last_values(item["logs"])) for item in found]
        return runs

    def search(self, accuracy: float, model: str, top: int) -> Sequence[object]:
        query = best(accuracy, model, top)
        found: list[object] = self.client.predict(project=PROJECT, query=query, api_name="/query_project")["rows"]
        return found

    def get(self, run_id: str) -> object:
        summary = self.client.predict(project=PROJECT, run=run_id, api_name="/get_run_summary")
        return summary["config"], self.client.predict(project=PROJECT, run=run_id, api_name="/get_logs")
