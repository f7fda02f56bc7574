"""A store on this machine and a server behind a bad network: each effect once, and nothing left waiting."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from http_proxy import FAULTS, PATIENCE

import padre_core as padre

KILLS = int(os.environ.get("PADRE_SYNC_SERVER_KILLS", "12"))


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.setattr("padre_core.services.shipper.GATHER", 0.01)
    monkeypatch.setattr("padre_core.services.shipper.PAUSE", 0.05)
    monkeypatch.setenv("PADRE_CACHE", str(tmp_path / "cache"))


def opened(monkeypatch, tmp_path, address, token, *, policy="manual", name="here"):
    """A workspace with a server as its remote."""
    monkeypatch.setenv("PADRE_TOKEN", f"{address.removeprefix('padre+')} {token}")
    folder = tmp_path / name
    folder.mkdir(exist_ok=True)
    (folder / "padre.toml").write_text(
        f'url = "{folder / "store"}"\n[remotes.lab]\nurl = "{address}"\npolicy = "{policy}"\n'
    )
    monkeypatch.chdir(folder)
    return padre.open()


def trained(workspace, tmp_path):
    """A run with points, lines and a file."""
    file = tmp_path / "model.bin"
    file.write_bytes(b"weights" * 10_000)
    with workspace.start_run("iris/svc") as run:
        for step in range(50):
            run.log_metric("loss", 1 / (1 + step), step=step)
        run.log("done")
        run.log_artifact(file)
    return run.id


def test_what_is_put_to_a_server_that_refuses_the_token_is_stored_here(server, monkeypatch, tmp_path):
    with opened(monkeypatch, tmp_path, server.url, "padre_" + "x" * 43) as workspace:
        with pytest.raises(padre.PadreError, match=r"sign in|token"):
            workspace.experiments.put(padre.Experiment(name="svc", project="iris"), remote="lab")
        assert workspace.experiments.get("iris/svc", refresh="never").name == "svc"


def test_many_runs_travel_in_few_requests(server, proxy, monkeypatch, tmp_path):
    count = 30
    with opened(monkeypatch, tmp_path, proxy.url, server.token) as workspace:
        ids = []
        for number in range(count):
            with workspace.start_run("iris/many", name=str(number)) as run:
                run.log_metric("loss", number)
                run.log(f"line {number}")
                run.log_artifact(made_file(tmp_path, number))
            ids.append(run.id)
        proxy.requests.clear()
        workspace.remotes.push([workspace.ref("iris/many", "experiment")])
        assert len(proxy.requests) < count
    with opened(monkeypatch, tmp_path, proxy.url, server.token, name="there") as other:
        proxy.requests.clear()
        assert not other.remotes.pull().failed
        assert len(proxy.requests) < count
        ends = other.backend.many_ends([str(id) for id in ids])
        assert [sum(end["points"].values()) for end in ends] == [1] * count
        assert all(sum(end["lines"].values()) for end in ends)
        assert not list(other.remotes.verify("lab"))


def made_file(folder, number):
    file = folder / f"{number}.bin"
    file.write_bytes(random.Random(number).randbytes(50_000))
    return file


def arrived(server, run):
    """What everybody can see of a run on the server."""
    with server.open() as backend:
        ends = {stream: sum(backend.stream_ends(run, stream).values()) for stream in ("points", "lines")}
        heads = [change for change in backend.changes().entries if change.id == run]
        record = backend.get("run", run)
    return ends["points"], ends["lines"], len(heads), len(record.conflicts)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_put_through_a_bad_network_has_each_effect_once(fault, server, proxy, monkeypatch, tmp_path):
    with opened(monkeypatch, tmp_path, proxy.url, server.token) as workspace:
        run = trained(workspace, tmp_path)
        chance = random.Random(fault)
        for only in (b"records/put", b"/streams/", b"blobs"):
            proxy.spoil(fault, only=only)
            tag = str(chance.random())
            stored = workspace.runs.get(run, refresh="never")
            stored.tags = {**stored.tags, only.decode().strip("/").replace("/", "-"): tag}
            try:
                workspace.runs.put(stored, remote="lab")
            except padre.UnavailableError:
                assert not workspace.remotes.sync().failed
        proxy.spoil()
        assert not workspace.remotes.sync().failed
        assert list(workspace.remotes.verify("lab")) == []
        assert [step for step in workspace.remotes.status().steps["lab"] if step.action] == []
    assert arrived(server, run) == (50, 1, 1, 0)


def test_what_was_done_while_the_network_was_away_travels_when_it_is_back(server, proxy, monkeypatch, tmp_path):
    proxy.spoil_all("refuse")
    with opened(monkeypatch, tmp_path, proxy.url, server.token, policy="auto") as workspace:
        run = trained(workspace, tmp_path)
        assert "lab" in workspace.remotes.sync().away
        proxy.spoil_all(None)
        assert not workspace.remotes.sync().failed
        assert list(workspace.remotes.verify("lab")) == []
    assert arrived(server, run) == (50, 1, 1, 0)


TRAINING = """
import padre_core as padre, padre_core.services.shipper, padre_http.client, time
padre_http.client.Client.__init__.__kwdefaults__["timeout"] = 10_000
padre_core.services.shipper.DEADLINE = 1.0
with padre.open() as workspace, workspace.start_run("iris/svc") as run:
    for step in range(1000):
        run.log_metric("loss", 0.5, step=step)
    time.sleep(1)
    for step in range(1000, 2000):
        run.log_metric("loss", 0.5, step=step)
"""


@pytest.mark.parametrize(
    ("fault", "only"), [("hang", b""), ("hang", b"records/put"), ("refuse", b""), ("garbage", b"/streams/")]
)
def test_a_training_ends_in_time_whatever_its_remote_does(fault, only, server, proxy, monkeypatch, tmp_path):
    opened(monkeypatch, tmp_path, proxy.url, server.token, policy="auto").close()
    proxy.spoil(*[fault] * 1000, only=only)
    # Who waited for the answer of a remote that hangs would not end within this time.
    done = subprocess.run(
        [sys.executable, "-c", TRAINING], timeout=PATIENCE / 2, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    proxy.spoil()
    with padre.open() as workspace:
        assert not workspace.remotes.sync().failed
        (run,) = workspace.runs.list()
        assert len(workspace.runs.points(run, "loss")) == 2000
        assert list(workspace.remotes.verify("lab")) == []
    assert arrived(server, run.id)[0] == 2000


def test_a_server_that_is_killed_at_any_point_gets_all_by_the_next_sync(served, monkeypatch, tmp_path):
    chance = random.Random(os.environ.get("PADRE_CRASH_SEED", str(time.time_ns())))
    ended = threading.Event()
    runs, errors = [], []

    def work(workspace):
        while not ended.is_set():
            try:
                runs.append(trained(workspace, tmp_path))
                workspace.remotes.sync()
                workspace.remotes.pull()
            except padre.UnavailableError:
                time.sleep(0.05)
            except Exception as error:
                errors.append(error)
                return

    with opened(monkeypatch, tmp_path, served.address.url, served.token, policy="auto") as workspace:
        thread = threading.Thread(target=work, args=(workspace,))
        thread.start()
        for _ in range(KILLS):
            time.sleep(chance.random() * 0.5)
            served.kill()
            served.start()
        ended.set()
        thread.join()
        assert errors == []
        assert not workspace.remotes.sync().failed
        assert list(workspace.remotes.verify("lab")) == []
    assert {arrived(served.address, run) for run in runs} == {(50, 1, 1, 0)}


SYNC = """
import json, sys
import padre_core as padre
with padre.open() as workspace:
    print(flush=True)
    sys.stdin.readline()
    report = workspace.remotes.sync()
    print(json.dumps([len(report.failed), len(report.away)]))
"""


def test_two_processes_that_sync_at_once_do_each_thing_once(server, monkeypatch, tmp_path):
    with opened(monkeypatch, tmp_path, server.url, server.token, policy="manual") as workspace:
        runs = [trained(workspace, tmp_path) for _ in range(40)]
        workspace.experiments.put("iris/svc", remote="lab")
        with server.open() as backend:
            versions = [backend.get("run", run).version for run in runs]
        for run in runs:
            stored = workspace.runs.get(run, refresh="never")
            stored.tags = {"again": "yes"}
            workspace.runs.put(stored)
    command = [sys.executable, "-c", SYNC]
    both = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        process.stdout.readline()
    for process in both:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in both:
        with process:
            assert json.loads(process.stdout.readline()) == [0, 0]
    with server.open() as backend:
        for run, version in zip(runs, versions, strict=True):
            record = backend.get("run", run)
            assert (record.version, record.conflicts) == (version + 1, ())
            assert record.data()["tags"] == {"again": "yes"}
            assert sum(backend.stream_ends(run, "points").values()) == 50
    with padre.open(Path("store")) as workspace:
        assert workspace.runs.count() == 40
