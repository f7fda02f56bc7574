"""Requests to S3: signed as botocore signs them, and sent in one piece."""

from __future__ import annotations

import datetime as dt
import socket
import threading
from urllib.parse import quote

import botocore.auth
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from padre_cloud import places
from padre_cloud.drivers.base import Limits
from padre_cloud.drivers.s3 import S3Driver
from padre_cloud.drivers.s3_connections import SMALL, Connections
from padre_cloud.drivers.s3_signing import Signer

NOW = dt.datetime(2026, 11, 28, 12, 0, 1, tzinfo=dt.UTC)
URLS = "https://bucket.s3.eu-west-1.amazonaws.com/", "http://127.0.0.1:9000/bucket/", "https://[::1]:443/bucket/"
names = st.text("abcXYZ-", min_size=1, max_size=9).map("x-amz-{}".format)
values = st.text("ab c\t=,é", max_size=12).map(str.strip)


@given(
    url=st.sampled_from(URLS),
    method=st.sampled_from(["GET", "PUT"]),
    key=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12),
    query=st.sampled_from(["", "partNumber=7&uploadId=a%2Bb%3D", "uploadId=z&partNumber=1", "uploads="]),
    headers=st.dictionaries(names, values, max_size=3),
    data=st.binary(max_size=20),
    token=st.none() | st.just("token/="),
    vouched=st.booleans(),
)
def test_a_request_is_signed_as_botocore_signs_it(url, method, key, query, headers, data, token, vouched):
    headers = {name.lower(): value for name, value in headers.items()} | {"User-Agent": "padre", "If-Match": '"e"'}
    auth = botocore.auth.S3SigV4Auth(Credentials("ACCESS", "secret", token), "s3", "eu-west-1")
    path = f"{url}{quote(key, safe='/~')}"
    theirs = AWSRequest(method, path + (f"?{query}" if query else ""), headers, data or None)
    if vouched:
        headers["x-amz-checksum-crc32"] = theirs.headers["x-amz-checksum-crc32"] = "AAAAAA=="
        theirs.context |= {"checksum": {"request_algorithm": {"in": "header", "name": "x-amz-checksum-crc32"}}}
        theirs.context["has_streaming_input"] = True
    signer = Signer(auth, theirs)
    assert signer.open == (vouched and url.startswith("https"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda: NOW)
        auth.add_auth(theirs)
    target = "/" + path.split("/", 3)[3]
    ours = signer.signed(method, target, query, headers, data, at=NOW)
    assert {name.lower(): value for name, value in ours.items()} == {
        name.lower(): value for name, value in theirs.headers.items()
    }


def test_the_key_of_another_day_is_another():
    auth = botocore.auth.S3SigV4Auth(Credentials("ACCESS", "secret"), "s3", "eu-west-1")
    signer = Signer(auth, AWSRequest("GET", URLS[0]))
    ask = "GET", "/key", "", {}, b""
    today, tomorrow, again = (
        signer.signed(*ask, at=at)["Authorization"] for at in (NOW, NOW + dt.timedelta(days=1), NOW)
    )
    assert today == again != tomorrow


@pytest.mark.parametrize(("scheme", "options", "open"), [
    ("https", {}, True),
    ("http", {}, False),
    ("https", {"config_kwargs": {"request_checksum_calculation": "when_required"}}, False),
])  # fmt: skip
def test_a_body_is_signed_where_nothing_else_vouches_for_it(scheme, options, open):
    place = places.parse("s3://bucket")
    options = {"endpoint_url": f"{scheme}://127.0.0.1:9", "key": "test", "secret": "test", **options}
    driver = S3Driver(place, options, Limits())
    assert driver._requests._way("upload_part").signer.open is open
    driver.close()


@pytest.mark.parametrize(("scheme", "options", "sum"), [
    ("https", {}, "x-amz-checksum-crc32"),
    ("http", {}, None),
    ("http", {"s3_additional_kwargs": {"ChecksumAlgorithm": "SHA256"}}, "x-amz-checksum-sha256"),
    ("https", {"config_kwargs": {"request_checksum_calculation": "when_required"}}, None),
])  # fmt: skip
@pytest.mark.parametrize("operation", ["put_object", "upload_part"])
def test_a_body_is_summed_up_where_it_is_not_signed_or_the_options_say_so(scheme, options, sum, operation):
    place = places.parse("s3://bucket")
    options = {"endpoint_url": f"{scheme}://127.0.0.1:9", "key": "test", "secret": "test", **options}
    driver = S3Driver(place, options, Limits())
    way = driver._requests._way(operation)
    assert (way.checksum["name"] if way.checksum else None) == sum
    assert ("x-amz-sdk-checksum-algorithm" in {name.lower() for name in way.headers}) == (sum is not None)
    driver.close()


@pytest.mark.parametrize("size", [0, 4096, SMALL, 3 * SMALL])
def test_a_request_arrives_whole_and_a_small_one_at_once(size):
    body = bytes(range(256)) * (size // 256)
    pieces = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            connection, _ = server.accept()
            with connection:
                while sum(map(len, pieces)) < size or b"\r\n\r\n" not in b"".join(pieces):
                    pieces.append(connection.recv(16 * SMALL))
                while b"".join(pieces).partition(b"\r\n\r\n")[2] != body:
                    pieces.append(connection.recv(16 * SMALL))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        session = Connections(timeout=10)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/key"
        said = session.send(AWSPreparedRequest("PUT", url, {"X-Amz-Date": "now"}, body or None, stream_output=True))
        assert (said.status_code, said.raw.read()) == (200, b"ok")
        thread.join(10)
        session.close()
    if size <= 4096:
        assert len(pieces) == 1
