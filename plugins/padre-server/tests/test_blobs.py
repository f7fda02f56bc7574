"""Blobs over HTTP: whole, in ranges, in one go, many at once, and in resumable parts."""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from padre_core.backends.backend import SMALL_BLOB
from padre_http.wire.blobs import BLOBS, decode_listing, decode_many, encode_blobs

from .serving import Client, Served, Start

BYTES = {"Content-Type": "application/octet-stream"}


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(client: Client, data: bytes) -> str:
    digest = digest_of(data)
    answer = client("PUT", f"/v1/blobs/{digest}", data, headers=BYTES)
    assert answer.json == {"digest": digest, "size": len(data)}
    return digest


def begin(client: Client) -> str:
    answer = client("POST", "/v1/uploads")
    assert (answer.status, answer.json["offset"]) == (201, 0)
    return f"/v1/uploads/{answer.json['id']}"


def send(client: Client, upload: str, offset: int, data: bytes) -> Any:
    return client("PATCH", upload, data, headers={**BYTES, "Upload-Offset": str(offset)})


@pytest.mark.parametrize("size", [0, 1, 70_000, 3 * 1024 * 1024 + 17])
def test_a_blob_comes_back_as_it_was_put(client: Client, size: int) -> None:
    data = secrets.token_bytes(size)
    digest = put(client, data)
    answer = client("GET", f"/v1/blobs/{digest}")
    assert answer.body == data
    assert answer.headers["Content-Length"] == str(size)
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    head = client("HEAD", f"/v1/blobs/{digest}")
    assert (head.status, head.headers["Content-Length"], head.body) == (200, str(size), b"")


@pytest.mark.skipif(
    sys.platform != "linux" or (not shutil.which("strace") and not os.environ.get("CI")),
    reason="needs strace, which is of Linux",
)
def test_a_blob_is_synced_before_it_is_acknowledged(served: Served, client: Client, tmp_path: Path) -> None:
    """For another process of the server may store what names it."""
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-e", "trace=fdatasync,syncfs,fsync", "-o", str(trace), "-p", str(served.process.pid)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracing:
        try:
            assert tracing.stderr is not None
            assert "attached" in tracing.stderr.readline()
            put(client, secrets.token_bytes(SMALL_BLOB + 1))
        finally:
            tracing.send_signal(signal.SIGINT)
            tracing.communicate()
    assert "sync" in trace.read_text()


def test_a_range_of_a_blob_is_read_alone(client: Client) -> None:
    data = secrets.token_bytes(100_000)
    target = f"/v1/blobs/{put(client, data)}"
    for text, part in (("0-9", data[:10]), ("99990-", data[99_990:]), ("-5", data[-5:]), ("50-10000000", data[50:])):
        answer = client("GET", target, headers={"Range": f"bytes={text}"})
        assert (answer.status, answer.body) == (206, part)
    assert client("GET", target, headers={"Range": "bytes=100000-"}).status == 416
    for whole in ("bytes=0-1,5-6", "lines=1-2", "bytes=-", "bytes=x-y"):
        assert client("GET", target, headers={"Range": whole}).status == 200


def test_a_blob_that_the_client_has_is_not_sent_again(client: Client) -> None:
    target = f"/v1/blobs/{put(client, b'known')}"
    tag = client("GET", target).headers["ETag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        assert client("GET", target, headers={"If-None-Match": known}).status == 304
    assert client("GET", target, headers={"If-None-Match": '"other"'}).status == 200


def test_what_does_not_have_the_digest_is_not_stored(client: Client) -> None:
    data = secrets.token_bytes(10)
    answer = client("PUT", f"/v1/blobs/{digest_of(b'other')}", data, headers=BYTES)
    assert (answer.status, answer.error) == (400, "InvalidObjectError")
    found = client("POST", "/v1/blobs/has", {"digests": [digest_of(data), digest_of(b"other")]})
    assert found.json == {"digests": []}


def test_many_small_blobs_come_in_one_body(client: Client) -> None:
    blobs = [secrets.token_bytes(100) for _ in range(50)]
    answer = client(
        "POST", "/v1/blobs", encode_blobs((digest_of(blob), blob) for blob in blobs), headers={"Content-Type": BLOBS}
    )
    assert answer.json == {"digests": [digest_of(blob) for blob in blobs]}
    listing = client("GET", "/v1/blobs").body
    assert set(answer.json["digests"]) <= set(decode_listing(listing.splitlines(keepends=True)))


def test_of_many_blobs_none_is_stored_if_one_is_not_what_its_digest_says(client: Client) -> None:
    sound, damaged = secrets.token_bytes(100_000), secrets.token_bytes(100_000)
    body = encode_blobs([(digest_of(sound), sound), (digest_of(damaged), damaged[:-1] + b"x")])
    answer = client("POST", "/v1/blobs", body, headers={"Content-Type": BLOBS})
    assert (answer.status, answer.error) == (400, "InvalidObjectError")
    asked = {"digests": [digest_of(sound), digest_of(damaged), digest_of(damaged[:-1] + b"x")]}
    assert client("POST", "/v1/blobs/has", asked).json == {"digests": []}


def test_many_small_blobs_go_in_one_answer_without_what_is_missing_or_large(client: Client) -> None:
    small = [secrets.token_bytes(size) for size in (0, 100, SMALL_BLOB)]
    digests = [put(client, data) for data in (*small, bytes(SMALL_BLOB + 1))]
    answer = client("POST", "/v1/blobs/get", {"digests": ["0" * 64, *digests]})
    assert list(decode_many(io.BytesIO(answer.body).read)) == list(zip(digests, small, strict=False))
    assert client("POST", "/v1/blobs/get", {"digests": ["../../etc/passwd"]}).status == 400
    assert client("POST", "/v1/blobs/get", {"digests": ["0" * 64] * 10_001}).status == 400


def test_an_upload_goes_on_after_a_break(client: Client) -> None:
    data = secrets.token_bytes(2 * 1024 * 1024)
    upload = begin(client)
    assert send(client, upload, 0, data[:1_000_000]).headers["Upload-Offset"] == "1000000"
    assert client("GET", upload).json["offset"] == 1_000_000
    wrong = send(client, upload, 5, b"x")
    assert (wrong.status, wrong.json["details"]) == (409, {"next": 1_000_000})
    assert send(client, upload, 1_000_000, data[1_000_000:]).status == 204
    commit = {"digest": digest_of(data), "size": len(data)}
    assert client("POST", f"{upload}/commit", commit).json == commit
    assert client("GET", f"/v1/blobs/{commit['digest']}").body == data
    assert client("GET", upload).status == 404


def test_a_commit_whose_answer_got_lost_may_be_repeated(client: Client) -> None:
    data = secrets.token_bytes(100)
    upload = begin(client)
    send(client, upload, 0, data)
    commit = {"digest": digest_of(data), "size": len(data)}
    assert [client("POST", f"{upload}/commit", commit).status for _ in range(2)] == [200, 200]


def test_an_upload_that_is_not_what_was_promised_stays_one(client: Client) -> None:
    upload = begin(client)
    send(client, upload, 0, b"abc")
    for digest, size in ((digest_of(b"abc"), 4), (digest_of(b"abd"), 3)):
        assert client("POST", f"{upload}/commit", {"digest": digest, "size": size}).status == 400
    assert client("GET", upload).json["offset"] == 3


def test_an_upload_may_be_given_up(client: Client) -> None:
    upload = begin(client)
    assert [client("DELETE", upload).status for _ in range(2)] == [204, 204]
    assert client("GET", upload).status == 404


def test_an_upload_belongs_to_who_began_it(served: Served, client: Client) -> None:
    upload = begin(client)
    other = client.as_(served.make_token())
    assert other("GET", upload).status == 404
    assert send(other, upload, 0, b"x").status == 404
    assert other("DELETE", upload).status == 204
    assert client("GET", upload).status == 200


def test_an_upload_survives_the_death_of_the_server(start: Start) -> None:
    served = start()
    data = secrets.token_bytes(1_000_000)
    upload = begin(served.client)
    send(served.client, upload, 0, data[:600_000])
    served.process.kill()
    served.process.wait()
    client = start(folder=served.folder).client
    assert client("GET", upload).json["offset"] == 600_000
    send(client, upload, 600_000, data[600_000:])
    assert client("POST", f"{upload}/commit", {"digest": digest_of(data), "size": len(data)}).status == 200


def test_a_damaged_blob_never_looks_complete(start: Start) -> None:
    served = start()
    data = secrets.token_bytes(3_000_000)
    digest = put(served.client, data)
    (file,) = (served.folder / "store" / "blobs").rglob(digest)
    file.chmod(0o600)
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(Exception, match=r"IncompleteRead|broken|Incomplete"):
        served.client("GET", f"/v1/blobs/{digest}")
    assert served.client("GET", "/healthz").status == 200
