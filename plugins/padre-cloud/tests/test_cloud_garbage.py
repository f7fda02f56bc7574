"""What a writer that died leaves in a bucket: nobody sees it, it blocks nobody, and maintenance removes it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from emulators import Service, s3_options

import padre_core as padre
from padre_core.backends.bytestore import ABSENT
from padre_core.plugins import open_backend
from padre_core.testing import samples

sys.path.append(str(Path(__file__).parents[2] / "padre-http" / "tests"))

from http_proxy import Proxy

NOW = -60.0
"""A time of grace after which all that is there is old."""

KILLED = """
import json, sys
import padre_core as padre
with padre.open(sys.argv[1], **json.loads(sys.argv[2])) as ws, ws.start_run("lab/killed") as run:
    print("logging", flush=True)
    run.log_artifact(sys.argv[3])
"""


def test_what_a_killed_writer_left_is_collected_and_blocks_nobody(ministack, tmp_path):
    url, file = ministack.fresh(), tmp_path / "model.bin"
    file.write_bytes(b"never recorded")
    with padre.open(url, **ministack.options) as ws, ws.start_run("lab/alive") as run:
        (tmp_path / "kept.txt").write_text("kept")
        kept = run.log_artifact(tmp_path / "kept.txt")
    proxy = Proxy(ministack.options["endpoint_url"])
    command = [sys.executable, "-c", KILLED, url, json.dumps(s3_options(proxy.url)), str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline()
        # What says that there is an artifact never arrives.
        proxy.spoil(*["hang"] * 9, only=b"children.json")
        end = time.monotonic() + 60
        while not any("/blobs/" in line for line in proxy.requests) and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(1)
        process.kill()
    proxy.close()
    with padre.open(url, **ministack.options) as ws:
        assert [artifact.path for artifact in ws.artifacts.list()] == ["kept.txt"]
        with ws.start_run("lab/alive") as after:
            after.log_metric("loss", 0.5)
        assert ws.maintain().get("unused blobs removed") is None, "it is not old yet"
        assert ws.backend.collect(grace=NOW, dry_run=True)["unused blobs that would be removed"] == 1
        assert ws.backend.collect(grace=NOW)["unused blobs removed"] == 1
        assert not [problem for problem in ws.verify() if problem.kind == "unused-blob"]
        assert ws.artifacts.read(kept) == b"kept"


def test_points_whose_run_never_came_are_collected(ministack):
    url = ministack.fresh()
    with open_backend(url, **ministack.options) as backend:
        head = backend.put(samples.run(), if_match=ABSENT)
        backend.append_stream(head.id, "0123456789abcdef", 0, samples.points(3))
        backend.append_stream(samples.run().id, "0123456789abcdef", 0, samples.points(3))
        assert backend.collect() == {}
        assert backend.collect(grace=NOW)["orphan points and lines removed"] == 1
        assert sum(len(part.columns) for part in backend.read_stream(head.id, "points")) == 3


@pytest.mark.parametrize("name", ["moto", "ministack", "azurite", "gcs"])
def test_a_key_that_is_renewed_is_young_and_holds_the_same_bytes(name, request):
    service: Service = request.getfixturevalue(name)
    store = service.open()
    store.write("key", b"data")
    before = store.stat("key").at
    assert before is not None
    assert abs(before - time.time()) < 120
    time.sleep(1.1)  # some tell whole seconds
    store.renew("key")
    assert store.stat("key").at > before
    assert [entry.at > before for entry in store.list("")] == [True]
    assert store.read("key").data == b"data"
    store.close()


def test_many_keys_are_deleted_by_one_request(ministack):
    proxy = Proxy(ministack.options["endpoint_url"])
    store = Service(ministack.url, s3_options(proxy.url)).open(ministack.fresh())
    keys = [f"keys/{number}" for number in range(30)]
    store.write_new((key, b"data") for key in keys)
    proxy.requests.clear()
    store.delete_many([*keys, "keys/that-was-never-there"])
    assert [line.split()[0] for line in proxy.requests] == ["POST"]
    assert list(store.list("")) == []
    store.close()
    proxy.close()
