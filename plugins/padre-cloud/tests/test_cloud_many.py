"""Many machines that write to one bucket at once, each by processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from emulators import s3_options

import padre_core as padre

sys.path.append(str(Path(__file__).parents[2] / "padre-http" / "tests"))

from http_proxy import Proxy

PROCESSES, SESSIONS = 8, 4

WRITER = """
import json, sys
import padre_core as padre
url, options, me, sessions = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3], int(sys.argv[4])
for session in range(sessions):
    with padre.open(url, **options) as ws:
        with ws.start_run(f"lab/experiment-{session}", tags={"by": me}) as run:
            run.log_metric("loss", session)
        while True:  # all edit one object
            lab = ws.projects.get("lab")
            lab.tags = {**lab.tags, f"{me}-{session}": run.id}
            try:
                ws.projects.put(lab)
                break
            except padre.ConflictError:
                continue
"""


def segments(backend):
    return {entry.key for prefix in ("log/", "snapshots/") for entry in backend.store.list(prefix)}


@pytest.mark.slow
def test_what_eight_processes_write_at_once_is_all_there_and_found_by_few_requests(ministack, tmp_path, monkeypatch):
    url = ministack.fresh()
    proxy = Proxy(ministack.options["endpoint_url"])
    with padre.open(url, **ministack.options) as ws:
        ws.projects.put(padre.Project(name="lab"))
    monkeypatch.setenv("PADRE_CACHE", str(tmp_path / "reader"))
    with padre.open(url, readonly=True, **s3_options(proxy.url)) as reader:
        assert reader.runs.count() == 0
        before = segments(reader.backend)
        writers = []
        for number in range(PROCESSES):
            machine = {name: str(tmp_path / f"{name}-{number}") for name in ("PADRE_CACHE", "PADRE_STATE")}
            command = [sys.executable, "-c", WRITER, url, json.dumps(ministack.options), str(number), str(SESSIONS)]
            writers.append(subprocess.Popen(command, env=os.environ | machine, stderr=subprocess.PIPE, text=True))
        counts = [0]
        while any(writer.poll() is None for writer in writers):
            counts.append(reader.runs.count())
            time.sleep(0.5)
        for writer in writers:
            assert writer.returncode == 0, writer.stderr.read()
            writer.stderr.close()
        assert counts == sorted(counts)

        new = segments(reader.backend) - before
        proxy.requests.clear()
        runs = list(reader.runs.list('status == "finished"'))
        assert len(proxy.requests) <= 2 + len(new)
        assert len(runs) == PROCESSES * SESSIONS
        assert reader.experiments.count() == SESSIONS
        assert reader.projects.get("lab").tags == {
            f"{run.tags['by']}-{run.metrics['loss'].last:.0f}": run.id for run in runs
        }

    monkeypatch.setenv("PADRE_CACHE", str(tmp_path / "cold"))
    proxy.requests.clear()
    with padre.open(url, readonly=True, **s3_options(proxy.url)) as cold:
        assert cold.runs.count() == PROCESSES * SESSIONS
        assert len(proxy.requests) <= 60
        assert list(cold.verify()) == []
    proxy.close()
