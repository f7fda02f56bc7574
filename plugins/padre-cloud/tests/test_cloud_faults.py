"""What goes wrong between a store and its provider, made to happen by a proxy between the two."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from emulators import Service, make_bucket, s3_options

import padre_core as padre
from padre_cloud.drivers.base import PART
from padre_cloud.drivers.gcs import GcsDriver
from padre_core.backends.blobs import open_blob, write_blob
from padre_core.backends.bytestore import ABSENT
from padre_core.errors import (
    AlreadyExistsError,
    AuthenticationError,
    BackendError,
    ConflictError,
    NotFoundError,
    UnavailableError,
)
from padre_core.tracking.active import active

# One proxy serves the tests of all plugins that speak HTTP.
sys.path.append(str(Path(__file__).parents[2] / "padre-http" / "tests"))

from http_proxy import Proxy

NOT_DONE = ("refuse", "lose the request", "cut the request", "500", "busy")
DONE = ("reset after the server acted", "500 after the server acted", "cut the head")


def answer(status: str, code: str) -> bytes:
    """What S3 says when it refuses."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    return f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Short pauses before a provider that fails is asked again."""
    for module in "padre_cloud.store", "padre_cloud.drivers.cloud":
        monkeypatch.setattr(f"{module}.pause", lambda attempt: 0.01)


@pytest.fixture
def proxy(ministack):
    proxy = Proxy(ministack.options["endpoint_url"])
    yield proxy
    proxy.close()


@pytest.fixture
def store(ministack, proxy):
    store = Service(ministack.url, s3_options(proxy.url)).open(ministack.fresh(), attempts=4)
    yield store
    store.close()


@pytest.mark.parametrize("fault", [*NOT_DONE, *DONE])
def test_a_key_is_made_once_whatever_happens_on_the_way(store, proxy, fault):
    proxy.spoil(fault, only=b"PUT /")
    version = store.write("key", b"mine", if_match=ABSENT)
    assert not proxy.left
    assert (store.read("key").data, store.read("key").version) == (b"mine", version)
    with pytest.raises(AlreadyExistsError):
        store.write("key", b"other", if_match=ABSENT)


@pytest.mark.parametrize("fault", [*NOT_DONE, *DONE])
def test_a_key_is_replaced_once_whatever_happens_on_the_way(store, proxy, fault):
    before = store.write("key", b"before")
    proxy.spoil(fault, only=b"PUT /")
    version = store.write("key", b"after", if_match=before)
    assert not proxy.left
    assert (store.read("key").data, store.read("key").version) == (b"after", version)


@pytest.mark.parametrize("fault", [*NOT_DONE, *DONE])
def test_a_lost_answer_does_not_hide_that_another_was_faster(store, proxy, fault):
    before = store.write("key", b"before")
    store.write("key", b"theirs", if_match=before)
    proxy.spoil(fault, only=b"PUT /")
    with pytest.raises(ConflictError):
        store.write("key", b"mine", if_match=before)
    assert store.read("key").data == b"theirs"


@pytest.mark.parametrize(
    "fault", ["refuse", "500", "busy", "reset after the server acted", "cut the head", "cut the body"]
)
def test_what_is_read_is_whole_whatever_happens_on_the_way(store, proxy, fault):
    data = bytes(range(256)) * 400
    store.write("key", data)
    proxy.spoil(fault, only=b"GET /")
    assert store.read("key").data == data
    proxy.spoil(fault, only=b"GET /")
    assert [entry.key for entry in store.list("")] == ["key"]
    assert not proxy.left


@pytest.mark.parametrize(
    "refusal", [answer("429 Too Many", "TooManyRequests"), answer("503 Slow Down", "SlowDown")], ids=["429", "503"]
)
def test_a_provider_that_wants_fewer_requests_is_asked_again_later(store, proxy, refusal):
    proxy.spoil(refusal, refusal, only=b"PUT /")
    store.write("key", b"data", if_match=ABSENT)
    assert store.read("key").data == b"data"


def test_a_conflict_between_writers_at_the_same_moment_is_tried_again(store, proxy):
    store.write("key", b"theirs")
    proxy.spoil(answer("409 Conflict", "ConditionalRequestConflict"), only=b"PUT /")
    with pytest.raises(AlreadyExistsError):
        store.write("key", b"theirs", if_match=ABSENT)  # the same bytes, but not ours: nothing of ours was done


def test_a_provider_that_stays_away_is_unavailable_and_nothing_is_damaged(ministack, proxy):
    store = Service(ministack.url, s3_options(proxy.url)).open(ministack.fresh(), attempts=2)
    store.write("key", b"data")
    proxy.spoil_all("refuse")
    for call in (
        lambda: store.read("key"),
        lambda: store.write("key", b"other"),
        lambda: list(store.list("")),
        lambda: store.delete("key"),
        lambda: store.stat("key"),
    ):
        with pytest.raises(UnavailableError):
            call()
    proxy.spoil_all(None)
    assert store.read("key").data == b"data"
    store.close()


def test_an_answer_of_something_that_is_no_s3_is_not_taken_for_data(store, proxy):
    store.write("key", b"data")
    portal = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nlogin"
    proxy.spoil(*[portal] * 4, only=b"GET /")
    with pytest.raises(UnavailableError, match="no S3"):
        store.read("key")
    proxy.spoil(portal, only=b"PUT /")
    store.write("key", b"other")
    assert store.read("key").data == b"other"


def test_an_answer_that_does_not_come_is_not_waited_for(ministack, proxy):
    store = Service(ministack.url, s3_options(proxy.url)).open(ministack.fresh(), timeout=3)
    store.write("key", b"data")
    proxy.spoil("hang", only=b"GET /")
    assert store.read("key").data == b"data"
    store.close()


def test_credentials_that_expired_are_looked_for_again(store, proxy):
    store.write("key", b"data")
    proxy.spoil(answer("400 Bad Request", "ExpiredToken"), only=b"GET /")
    assert store.read("key").data == b"data"
    assert not proxy.left


def test_new_credentials_sign_what_follows(ministack, proxy, tmp_path, monkeypatch):
    known = "[default]\naws_access_key_id = {}\naws_secret_access_key = test\n"
    (tmp_path / "credentials").write_text(known.format("before"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    options = {name: value for name, value in s3_options(proxy.url).items() if name not in ("key", "secret")}
    store = Service(ministack.url, options).open(ministack.fresh())
    store.write("key", b"data")
    (tmp_path / "credentials").write_text(known.format("after"))
    proxy.spoil(answer("400 Bad Request", "ExpiredToken"), only=b"Credential=before/")
    assert store.read("key").data == b"data"
    assert not proxy.left
    proxy.spoil("500", only=b"Credential=after/")
    assert store.read("key").data == b"data"
    assert not proxy.left
    store.close()


def test_credentials_that_stay_expired_are_told(store, proxy):
    store.write("key", b"data")
    expired = answer("400 Bad Request", "ExpiredToken")
    proxy.spoil(expired, expired, only=b"GET /")
    with pytest.raises(AuthenticationError, match="expired"):
        store.read("key")


ELSEWHERE = b"<CreateBucketConfiguration><LocationConstraint>eu-west-3</LocationConstraint></CreateBucketConfiguration>"


def test_a_bucket_in_another_region_is_found_there_and_asked_there_from_then_on(ministack, proxy):
    request = urllib.request.Request(f"{ministack.options['endpoint_url']}/elsewhere", ELSEWHERE, method="PUT")
    urllib.request.urlopen(request, timeout=60).close()
    store = Service("s3://elsewhere", s3_options(proxy.url)).open("s3://elsewhere/store")
    version = store.write("key", b"data", if_match=ABSENT)
    proxy.requests.clear()
    assert (store.read("key").data, store.read("key").version) == (b"data", version)
    assert len(proxy.requests) == 2
    store.close()


@pytest.mark.parametrize(
    "moved", [answer("301 Moved Permanently", "PermanentRedirect"), answer("307 Temporary Redirect", "Redirect")]
)
def test_a_redirect_to_nobody_knows_where_is_not_followed(store, proxy, moved):
    store.write("key", b"data")
    to = moved.replace(b"Content-Length", b"Location: http://127.0.0.1:1/bucket/key\r\nContent-Length", 1)
    proxy.spoil(to, only=b"GET /")
    with pytest.raises(BackendError, match=r"edirect \(30[17]\)"):
        store.read("key")


def test_a_bucket_that_disappears_is_not_taken_for_an_empty_one(ministack):
    endpoint = ministack.options["endpoint_url"]
    make_bucket(endpoint, "gone")
    store = ministack.open("s3://gone/store")
    store.write("key", b"data")
    store.delete("key")
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/gone", method="DELETE"), timeout=60).close()
    for call in (
        lambda: store.read("key"),
        lambda: store.write("key", b"data"),
        lambda: store.write("key", b"data", if_match=ABSENT),
        lambda: list(store.list("")),
    ):
        with pytest.raises(BackendError, match="no gone"):
            call()
    store.close()


def put_blob(store, data):
    return write_blob(store, io.BytesIO(data), "application/octet-stream")


LARGE = bytes(range(256)) * (4 * PART // 256) + b"end"


@pytest.fixture
def later(ministack):
    """Another proxy: in the first one parts of an upload that failed may still be on their way, and would count."""
    proxy = Proxy(ministack.options["endpoint_url"])
    yield proxy
    proxy.close()


def test_a_large_upload_goes_on_where_it_stopped_and_is_never_made_twice(ministack, proxy, later):
    store = Service(ministack.url, s3_options(proxy.url)).open(ministack.fresh(), attempts=1)
    proxy.spoil(*["500"] * 8, only=b"partNumber=5")
    with pytest.raises(UnavailableError):
        put_blob(store, LARGE)
    assert list(store.list("")) == []
    store.close()
    store = Service(ministack.url, s3_options(later.url)).open(store.url)
    later.requests.clear()
    reference = put_blob(store, LARGE)
    sent = [line for line in later.requests if "partNumber" in line and line.startswith("PUT")]
    assert any("partNumber=5" in line for line in sent)
    assert len(sent) < 5, "parts that were there were sent again"
    later.requests.clear()
    put_blob(store, LARGE)
    assert [line.split()[0] for line in later.requests] == ["HEAD"]
    with open_blob(store, reference.digest) as file:
        assert hashlib.sha256(file.read()).hexdigest() == reference.digest
    store.close()


@pytest.mark.parametrize("fault", ["500", "reset after the server acted"])
def test_a_large_upload_survives_lost_parts_and_a_lost_end(store, proxy, fault):
    proxy.spoil(fault, only=b"partNumber=2")
    reference = put_blob(store, LARGE)
    assert store.stat(f"blobs/{reference.digest[-2:]}/{reference.digest}").size == len(LARGE)
    store.delete(f"blobs/{reference.digest[-2:]}/{reference.digest}")
    proxy.spoil(fault, only=b"POST /bucket")
    put_blob(store, LARGE)
    proxy.spoil("cut the body", only=b"Range: bytes=8388608")
    with open_blob(store, reference.digest) as file:
        assert hashlib.sha256(file.read()).hexdigest() == reference.digest


def test_an_upload_that_nobody_ends_is_removed_by_maintenance_and_not_before_its_time(ministack, proxy, monkeypatch):
    store = Service(ministack.url, s3_options(proxy.url)).open(ministack.fresh(), attempts=1)
    proxy.spoil(*["500"] * 100, only=b"partNumber=5")
    with pytest.raises(UnavailableError):
        put_blob(store, LARGE)
    proxy.spoil()

    def quiet(*_):
        pass

    assert store.maintain(quiet) == {}
    monkeypatch.setattr("padre_cloud.store.ABANDONED", -3600)
    assert store.maintain(quiet) == {"unfinished uploads removed": 1}
    assert store.maintain(quiet) == {}
    store.close()


KILLED = """
import io, sys
from padre_cloud import CloudStore
import json
store = CloudStore(sys.argv[1], **json.loads(sys.argv[2]))
with store.open_writer(lambda: "blobs/00/large") as file:
    file.write(b"x" * int(sys.argv[3]))
    print("writing", flush=True)
"""


def test_a_writer_that_is_killed_leaves_nothing_that_is_seen_or_in_the_way(ministack, proxy):
    store = ministack.open()
    proxy.spoil(*["hang"] * 40, only=b"partNumber=3")
    command = [sys.executable, "-c", KILLED, store.url, json.dumps(s3_options(proxy.url)), str(4 * PART)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline()
        end = time.monotonic() + 30
        while not any("partNumber=2" in line for line in proxy.requests) and time.monotonic() < end:
            time.sleep(0.05)
        process.kill()
    assert list(store.list("")) == []
    with pytest.raises(NotFoundError):
        store.read("blobs/00/large")
    with store.open_writer(lambda: "blobs/00/large") as file:
        file.write(b"x" * 4 * PART)
    assert store.stat("blobs/00/large").size == 4 * PART
    store.close()


@contextlib.contextmanager
def opened_through(azurite, url):
    """A store on Azure behind a proxy."""
    endpoint = azurite.options["connection_string"].partition("BlobEndpoint=")[2].rstrip(";")
    proxy = Proxy(endpoint)
    port = proxy.url.rpartition(":")[2]
    through = azurite.options["connection_string"].replace(endpoint, f"http://127.0.0.1:{port}/devstoreaccount1")
    store = Service(azurite.url, {"connection_string": through}).open(url, attempts=1)
    yield store, proxy
    store.close()
    proxy.close()


def test_blocks_that_azure_has_are_not_sent_again(azurite):
    url = azurite.fresh()
    with opened_through(azurite, url) as (store, proxy):
        proxy.spoil(*["500"] * 8, only=b"blockid=MDAwMDQ")
        with pytest.raises(UnavailableError):
            put_blob(store, LARGE)
        assert list(store.list("")) == []
    with opened_through(azurite, url) as (store, proxy):
        reference = put_blob(store, LARGE)
        assert 1 <= len([line for line in proxy.requests if "comp=block&" in line]) < 5
        with open_blob(store, reference.digest) as file:
            assert hashlib.sha256(file.read()).hexdigest() == reference.digest


STOPPED = """
import io, json, os, sys
from padre_cloud import CloudStore
from padre_cloud.drivers.gcs import GcsDriver
from padre_core.backends.blobs import write_blob
send = GcsDriver._send
async def dying(self, session, file, start, size):
    if start >= int(sys.argv[3]):
        os.kill(os.getpid(), 9)
    return await send(self, session, file, start, size)
GcsDriver._send = dying
store = CloudStore(sys.argv[1], **json.loads(sys.argv[2]))
write_blob(store, io.BytesIO(sys.stdin.buffer.read()), "application/octet-stream")
"""


def test_an_upload_to_google_goes_on_in_another_process(gcs, monkeypatch, tmp_path):
    url = gcs.fresh()
    command = [sys.executable, "-c", STOPPED, url, json.dumps(gcs.options), str(2 * PART)]
    assert subprocess.run(command, input=LARGE, timeout=300, check=False).returncode == -9
    (kept,) = (tmp_path / "state" / "uploads").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    store = gcs.open(url)
    assert list(store.list("")) == []
    sent, send, real = [], GcsDriver._send, GcsDriver._held

    async def noting(self, session, file, start, size):
        sent.append(start)
        return await send(self, session, file, start, size)

    async def held(self, session, size):  # the emulator ends an upload when it is asked, where Google answers 308
        return 2 * PART

    monkeypatch.setattr(GcsDriver, "_send", noting)
    monkeypatch.setattr(GcsDriver, "_held", held)
    reference = put_blob(store, LARGE)
    assert sent[0] == 2 * PART
    with open_blob(store, reference.digest) as file:
        assert hashlib.sha256(file.read()).hexdigest() == reference.digest
    assert not kept.exists()
    store.delete(f"blobs/{reference.digest[-2:]}/{reference.digest}")
    sent.clear()
    kept.write_text(f"{gcs.options['endpoint_url']}/upload/storage/v1/b/bucket/o?upload_id=that-google-has-forgotten")
    monkeypatch.setattr(GcsDriver, "_held", real)
    put_blob(store, LARGE)
    assert sent[0] == 0
    assert store.stat(f"blobs/{reference.digest[-2:]}/{reference.digest}").size == len(LARGE)
    store.close()


@pytest.mark.parametrize("fault", ["500", "refuse"])
def test_an_upload_to_google_goes_on_where_the_server_is(gcs, fault):
    proxy = Proxy(gcs.options["endpoint_url"])
    store = Service(gcs.url, {**gcs.options, "endpoint_url": proxy.url}).open(gcs.fresh())
    proxy.spoil(fault, only=b"bytes 8388608-")
    reference = put_blob(store, LARGE)
    with open_blob(store, reference.digest) as file:
        assert hashlib.sha256(file.read()).hexdigest() == reference.digest
    store.close()
    proxy.close()


def test_a_read_from_google_outlives_a_kept_connection_that_was_closed(gcs):
    """The emulator closes a connection, without saying so, after a range that it cannot satisfy."""
    store = gcs.open(attempts=1)
    store.write("empty", b"")
    for _ in range(20):
        assert list(store.read_starts(["empty"] * 6, 2)) == [b""] * 6
    store.close()


def test_points_that_were_logged_while_the_provider_was_away_are_in_the_store_after_the_next_opening(ministack, proxy):
    url, options = ministack.fresh(), {**s3_options(proxy.url), "attempts": 1}
    workspace = padre.open(url, **options)
    run = workspace.start_run("lab/away")
    proxy.spoil_all("refuse")
    for step in range(100):
        run.log_metric("loss", step, step=step)
    with pytest.raises(UnavailableError):
        run.finish()
    with contextlib.suppress(UnavailableError):
        workspace.close()
    assert run not in active, "nothing more can be stored by a workspace that is closed"
    proxy.spoil_all(None)
    with padre.open(url, **options) as later:
        assert list(later.runs.points(run.id, "loss").values) == list(range(100))
        resumed = later.start_run(resume=run.id)
        resumed.log_metric("loss", 100, step=100)
        resumed.finish()
        assert later.runs.get(run.id).status == "finished"
    with padre.open(url, readonly=True, **ministack.options) as reader:
        assert reader.runs.get(run.id).metrics["loss"].count == 101
