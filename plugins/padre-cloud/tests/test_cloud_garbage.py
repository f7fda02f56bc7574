"""What a writer that died leaves in a bucket: nobody sees it, it blocks nobody, and maintenance removes it."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from emulators import Service, s3_options

import padre_core as padre
from padre_cloud.drivers.base import PART
from padre_core.backends.blobs import has_blob
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
    sys.stdin.readline()
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
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline()
        # What says that there is an artifact never arrives.
        proxy.spoil(*["hang"] * 9, only=b"children.json")
        process.stdin.write(b"\n")
        process.stdin.flush()
        with open_backend(url, readonly=True, **ministack.options) as looking:
            end = time.monotonic() + 60
            while len(list(looking.blobs())) < 2:
                assert time.monotonic() < end
                time.sleep(0.05)
        process.kill()
    proxy.close()
    with padre.open(url, **ministack.options) as ws:
        assert [artifact.path for artifact in ws.artifacts.list()] == ["kept.txt"]
        with ws.start_run("lab/alive") as after:
            after.log_metric("loss", 0.5)
        assert ws.maintain().get("unused blobs removed") is None, "it is not old yet"
        assert ws.backend.collect(grace=NOW, dry_run=True)["unused blobs that would be removed"] == 1
        assert ws.backend.collect(grace=NOW)["unused blobs removed"] == 1
        assert not [problem for problem in ws.verify() if problem.code == "unused-blob"]
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


DATA = b"the same bytes"
KEY = f"blobs/{hashlib.sha256(DATA).hexdigest()[-2:]}/{hashlib.sha256(DATA).hexdigest()}"
LARGE = bytes(PART + 1)


def send_small(store):
    store.write_new([(KEY, DATA)])


def send_file(store):
    with store.open_writer(lambda: KEY) as file:
        file.write(DATA)


def send_large(store):
    store.send(KEY, io.BytesIO(LARGE), len(LARGE))


def find(store):
    assert has_blob(store, KEY.rpartition("/")[2], renew=True)


@pytest.fixture
def all_is_old(monkeypatch):
    """Whoever finds bytes that he is about to name takes them for old."""
    for module in "padre_cloud.store", "padre_core.backends.blobs":
        monkeypatch.setattr(f"{module}.is_fresh", lambda entry: False)


@pytest.mark.parametrize("again", [send_small, send_file, send_large, find])
@pytest.mark.parametrize("name", ["ministack", "azurite", "gcs"])
@pytest.mark.usefixtures("all_is_old")
def test_bytes_that_are_sent_again_while_they_are_removed_stay(name, again, request, monkeypatch):
    service: Service = request.getfixturevalue(name)
    url = service.fresh()
    remover, sender = service.open(url), service.open(url)
    if not remover._deletes_unchanged:
        pytest.skip(f"this {name} deletes whatever the condition is, as its probe found")
    (send_large if again is send_large else send_small)(sender)
    (entry,) = remover.list("blobs/")
    look = remover.is_unchanged

    def and_then_send(entry):
        unchanged = look(entry)
        again(sender)
        return unchanged

    monkeypatch.setattr(remover, "is_unchanged", and_then_send)
    assert list(remover.delete_unchanged([entry])) == []
    assert remover.read(KEY).data == (LARGE if again is send_large else DATA)
    monkeypatch.undo()
    (entry,) = remover.list("blobs/")
    assert list(remover.delete_unchanged([entry])) == [entry]
    assert list(remover.list("blobs/")) == []
    remover.close()
    sender.close()


@pytest.mark.usefixtures("all_is_old")
def test_who_sends_and_who_removes_may_race_as_they_like(ministack):
    url = ministack.fresh()
    remover, sender = ministack.open(url), ministack.open(url)
    assert remover._deletes_unchanged
    removed = 0
    for number in range(60):
        key = f"blobs/aa/{number}"
        sender.write_new([(key, DATA)])
        (entry,) = remover.list(key)
        with ThreadPoolExecutor(2) as pool:
            sent = pool.submit(sender.write_new, [(key, DATA)])
            if number % 2:
                time.sleep(number / 10_000)
            gone = pool.submit(lambda entry=entry: list(remover.delete_unchanged([entry])))
            sent.result()
            removed += len(gone.result())
        assert remover.read(key).data == DATA
    print(f"{removed} of 60 were removed and sent anew")
    remover.close()
    sender.close()


def test_a_removal_whose_answer_is_lost_is_not_tried_again(ministack):
    proxy = Proxy(ministack.options["endpoint_url"])
    store = Service(ministack.url, s3_options(proxy.url)).open(ministack.fresh())
    store.write_new([(KEY, DATA)])
    (entry,) = store.list("blobs/")
    assert store._deletes_unchanged
    proxy.requests.clear()
    proxy.spoil("reset after the server acted", only=b"DELETE ")
    assert list(store.delete_unchanged([entry])) == []
    assert [line.split()[0] for line in proxy.requests] == ["HEAD", "DELETE"]
    assert list(store.list("blobs/")) == []
    store.close()
    proxy.close()
