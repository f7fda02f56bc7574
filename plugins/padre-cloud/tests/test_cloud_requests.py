"""What a real S3 server is asked: its own log is counted."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import time
import urllib.request
from collections import Counter

import emulators
import pytest

import padre_core as padre
from padre_core.backends import notes, spooled
from padre_core.backends.backend import Write
from padre_core.backends.bytestore import ABSENT
from padre_core.plugins import open_backend
from padre_core.query.model import Query
from padre_core.testing import samples

_LINE = re.compile(r'"(?:\x1b\[[\d;]*m)*([A-Z]+) (\S+) HTTP')  # what it could not find is coloured

serial = itertools.count()


class Bucket:
    """A bucket of a server of its own, and the requests that the server noted."""

    def __init__(self, port, log):
        endpoint = f"http://127.0.0.1:{port}"
        self.options = {"key": "test", "secret": "test", "endpoint_url": endpoint}
        self.log, self.endpoint = log, endpoint
        self.seen = 0
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/bucket", method="PUT"), timeout=60).close()

    def open(self, url, **options):
        return open_backend(url, **self.options, **options)

    def counted(self):
        """The requests since the last call, by method."""
        last = "GET", f"/bucket?prefix=nothing-{next(serial)}"  # the server notes a request after it answered
        urllib.request.urlopen(f"{self.endpoint}{last[1]}", timeout=60).close()
        end = time.monotonic() + 60
        while last not in (lines := _LINE.findall(self.log.read_text())):
            assert time.monotonic() < end, lines[-3:]
            time.sleep(0.02)
        news, self.seen = lines[self.seen :], len(lines)
        return Counter(method for method, target in news if target != last[1])


@pytest.fixture(scope="module")
def bucket(tmp_path_factory, free_port):
    folder = tmp_path_factory.mktemp("requests")
    with emulators.moto(folder, free_port()) as port:
        yield Bucket(port, folder / "moto.log")


@pytest.fixture
def url(bucket):
    """A new store, on a machine that knows the provider."""
    url = f"s3://bucket/store-{next(serial)}"
    bucket.open(f"s3://bucket/known-{next(serial)}").close()
    bucket.counted()
    return url


@pytest.fixture
def no_chance(monkeypatch):
    """Nobody looks at the notes of others by chance, so that counts are the same each time."""
    monkeypatch.setattr(notes, "LOOK", 10**12)


def test_a_run_of_100_000_points_costs_at_most_20_requests(bucket, url, monkeypatch):
    monkeypatch.setattr(spooled, "PACE", (600.0, 600.0))  # on a busy machine it takes longer, and is shipped meanwhile
    with padre.open(url, **bucket.options) as workspace, workspace.start_run("iris/svc") as run:
        for step in range(100_000):
            run.log_metric("loss", step / 7, step=step)
        run.log("done")
    assert bucket.counted().total() <= 20
    with padre.open(url, readonly=True, **bucket.options) as reader:
        assert len(reader.runs.points(run.id, "loss")) == 100_000


def test_one_object_is_got_by_one_request_and_put_by_at_most_3(bucket, url, no_chance):
    with bucket.open(url) as first, bucket.open(url) as other:
        bucket.counted()
        head = first.put(samples.project(), if_match=ABSENT)
        assert bucket.counted().total() == 2
        assert other.get("project", head.id).etag == head.etag
        assert bucket.counted() == {"GET": 1}
        head = other.put(samples.edited(head, title="one"), if_match=head.etag)
        assert bucket.counted().total() == 2
        first.put(samples.edited(head, title="two"), if_match=head.etag)
        assert bucket.counted().total() <= 4  # it believed too long what it had written, and was told so


COMMAND = """
from padre_core.backends import noted, spooled
from padre_core.cli import main
from padre_core.services import records
# On a busy machine a command takes more than a second, and the next one ends after more than a minute.
noted.LOOK_SECONDS = spooled.PULSE_SECONDS = records.PLACE_SECONDS = 1e9
main()
"""


def test_a_command_shows_an_object_by_opening_the_store_and_one_request(bucket, url, monkeypatch):
    names = {"key": "AWS_ACCESS_KEY_ID", "secret": "AWS_SECRET_ACCESS_KEY", "endpoint_url": "AWS_ENDPOINT_URL"}
    for option, value in bucket.options.items():
        monkeypatch.setenv(names[option], value)
    with padre.open(url) as workspace, workspace.start_run("iris/svc") as run:
        run.log_metric("loss", 1.0)
    command = [sys.executable, "-c", COMMAND]
    subprocess.run([*command, "ls", "runs", "--store", url], check=True, capture_output=True, timeout=300)
    bucket.counted()
    named = [["--kind", "experiment", "iris/svc"], ["iris/svc"]]
    for words, requests in ([run.id], 2), ([run.object.execution], 2), (named[0], 2), (named[1], 5):
        shown = subprocess.run(
            [*command, "show", *words, "--store", url], check=True, capture_output=True, text=True, timeout=300
        )
        assert words[-1].rpartition("/")[2] in shown.stdout
        assert bucket.counted() == {"GET": requests}


def test_a_search_costs_2_requests_and_one_for_each_new_note(bucket, url):
    for number in range(3):
        with bucket.open(url) as backend:
            backend.put_many([Write(samples.run(), ABSENT) for _ in range(10)])
        bucket.counted()
        with bucket.open(url, readonly=True) as reader:
            assert len(reader.query("run", Query()).records) == 10 * (number + 1)
        if number:  # the first answer of a small store also compares it with its listing
            assert bucket.counted() == {"GET": 3}
    bucket.counted()
    with bucket.open(url, readonly=True) as reader:
        reader.query("run", Query())
    assert bucket.counted() == {"GET": 2}
