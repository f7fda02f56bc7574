"""Ends of a server, graceful and not: what was acknowledged is there, and nothing is half done."""

from __future__ import annotations

import hashlib
import secrets
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Self

import pytest
import urllib3

import padre_core as padre
from padre_core.objects.identity import new_run_id
from padre_core.objects.record import Record
from padre_core.streams.columns import make_points
from padre_http.wire.records import encode_record
from padre_http.wire.streams import MEDIA_TYPES, encode_columns

from .samples import experiment, path, project
from .serving import Client, Served, Start, wait_for

WRITERS = 4


class Load:
    """Clients that write as fast as they can, and note what was acknowledged."""

    def __init__(self, served: Served, parent: Record) -> None:
        self.served, self.parent = served, parent
        self.records: list[Record] = []
        self.points: dict[str, int] = {}
        self.blobs: list[str] = []
        self.statuses: set[int] = set()
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(WRITERS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        wait_for(lambda: len(self.records) > 20)
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _work(self, number: int) -> None:
        client = Client(self.served.url, self.served.token)
        run, count = new_run_id(), 0
        while not self._stopped.is_set():
            record = experiment(self.parent, f"{number} {count} {secrets.token_hex(4)}")
            data = secrets.token_bytes(2000)
            digest = hashlib.sha256(data).hexdigest()
            points = encode_columns(count, make_points("loss", [float(count)], None, None, count))
            try:
                if self._put(client, path(record), encode_record(record), "application/json"):
                    self.records.append(record)
                if self._put(client, f"/v1/blobs/{digest}", data, "application/octet-stream"):
                    self.blobs.append(digest)
                target = f"/v1/runs/{run}/streams/{number:016x}?first={count}"
                if self._put(client, target, points, MEDIA_TYPES["points"], "POST"):
                    count = self.points[run] = count + 1
            except (urllib3.exceptions.HTTPError, OSError):
                return

    def _put(self, client: Client, target: str, body: bytes, kind: str, method: str = "PUT") -> bool:
        answer = client(method, target, body, headers={"Content-Type": kind})
        self.statuses.add(answer.status)
        return answer.status == 200


def everything_is_there(store: str, load: Load) -> None:
    with padre.open(store) as workspace:
        backend = workspace.backend
        heads = backend.get_many([(record.kind, record.id) for record in load.records])
        assert [head and head.etag for head in heads] == [record.etag for record in load.records]
        assert backend.has_blobs(load.blobs) == set(load.blobs)
        for run, count in load.points.items():
            segments = list(backend.read_stream(run, "points"))
            assert sum(len(segment.columns) for segment in segments) >= count
        problems = [item for item in workspace.verify() if item.code not in ("unused-blob", "orphan")]
        assert problems == []


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_no_acknowledged_write_is_lost(start: Start, number: signal.Signals, workers: int) -> None:
    served = start("--workers", str(workers))
    parent = project()
    assert served.client("PUT", path(parent), encode_record(parent)).status == 200
    with Load(served, parent) as load:
        time.sleep(0.7)
        code = served.stop(number)
    assert code == (0 if number is signal.SIGTERM else -signal.SIGKILL)
    assert load.statuses <= {200, 503}
    if number is signal.SIGKILL:
        wait_for(lambda: not _answers(served))  # workers end when they find that nobody supervises them
    everything_is_there(served.store, load)


def test_a_request_that_is_under_way_is_finished_before_the_end(start: Start) -> None:
    served = start()
    data = secrets.token_bytes(1_000_000)
    digest = hashlib.sha256(data).hexdigest()
    answers: list[int] = []
    told = threading.Event()

    def slowly() -> None:
        def parts() -> object:
            yield data[:500_000]
            told.wait(300)
            yield data[500_000:]

        headers = {"Authorization": f"Bearer {served.token}", "Content-Type": "application/octet-stream"}
        pool = urllib3.PoolManager(retries=False)
        answers.append(pool.request("PUT", f"{served.url}/v1/blobs/{digest}", body=parts(), headers=headers).status)

    thread = threading.Thread(target=slowly)
    thread.start()
    wait_for(lambda: served.active() == 1)
    served.process.send_signal(signal.SIGTERM)
    wait_for(lambda: not _answers(served))
    told.set()
    assert served.stop() == 0
    thread.join()
    assert answers == [200]
    with padre.open(served.store) as workspace:
        assert workspace.backend.has_blobs([digest]) == {digest}


def _answers(served: Served) -> bool:
    try:
        return served.client("GET", "/healthz").status == 200
    except urllib3.exceptions.HTTPError:
        return False


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_that_is_told_to_stop_while_it_starts_stops(tmp_path: Path, workers: str) -> None:
    words = ["serve", "--store", str(tmp_path / "store"), "--state", str(tmp_path / "state"), "--port", "0"]
    command = [sys.executable, "-P", "-m", "padre_core", *words, "--workers", workers]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("listening on ")
        process.terminate()
        process.wait(120)
