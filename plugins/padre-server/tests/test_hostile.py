"""Hostile strings in every field of every route: no crash, nothing outside the store, no secret in answers or logs."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from padre_http.wire.records import encode_record
from padre_server.route import JSON, Route
from padre_server.routes import TABLE

from .samples import project
from .serving import Served, Start

HOSTILE = (
    "", ".", "..", "../../../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e/", "/etc/passwd", "\\..\\..", "C:\\x",
    "CON", ".git", "a\0b", "a\r\nSet-Cookie: x=1", "\u202e\u2066", "\ufffe\U0010ffff", "e\u0301", "x" * 5000,
    "' OR 1=1 --",
    '"; DROP TABLE token; --', "${HOME}", "{{7*7}}", "$(id)", "http://169.254.169.254/", "file:///etc/passwd", "-1",
    "1e400",
    "9" * 40, "NaN", "null", "[]", "*", "%", "<script>alert(1)</script>", "padre_",
    "00000000-0000-0000-0000-000000000000",
)  # fmt: skip
PATHS = {
    "folder": "runs",
    "id": "00000000-0000-7000-8000-000000000000",
    "digest": "0" * 64,
    "writer": "0" * 16,
    "upload": "0" * 32,
}
KEPT = ("DELETE /v1/session", "POST /v1/session/refresh")


@pytest.fixture(scope="module")
def target(start: Start) -> Iterator[Served]:
    served = start("--access-log")
    yield served
    assert served.stop() == 0  # so that no file goes while it is looked at
    check_for_secrets(served)


def check_for_secrets(served: Served) -> None:
    """The token is in no file that the server wrote, and nothing lies where it should not."""
    secret = str(served.token).encode()
    for file in served.folder.rglob("*"):
        if file.is_file() and file.name != "token":
            assert secret not in file.read_bytes(), file
    assert {entry.name for entry in served.folder.iterdir()} <= {"store", "state", "errors.log", "token"}
    assert all(json.loads(line) for line in (served.folder / "state" / "audit.jsonl").read_text().splitlines())
    assert "Traceback" not in served.log()


def send(
    served: Served, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    parts = urlsplit(served.url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
    try:
        connection.request(method, path, body, {"Authorization": f"Bearer {served.token}", **(headers or {})})
        answer = connection.getresponse()
        data = answer.read()
        assert answer.getheader("Set-Cookie") is None
        assert str(served.token).encode() not in data
        assert str(served.folder).encode() not in data
        assert b"Traceback" not in data
        return answer.status, data
    finally:
        connection.close()


def sound(status: int) -> bool:
    return status < 500 or status == 501


def full_path(route: Route, **changed: str) -> str:
    return route.path.format_map({**PATHS, **changed})


@pytest.mark.parametrize("route", [route for route in TABLE if route.path_parameters], ids=lambda route: route.name)
def test_hostile_paths(target: Served, route: Route) -> None:
    headers = {"Content-Type": route.body.media_types[0]} if route.body else {}
    for name in route.path_parameters:
        for text in HOSTILE:
            for encoded in (quote(text, safe=""), quote(quote(text, safe=""), safe="")):
                path = full_path(route, **{name: encoded})
                status, _ = send(target, route.method, path, b"{}" if route.body else None, headers)
                assert sound(status), (path, status)


@pytest.mark.parametrize("route", [route for route in TABLE if route.parameters], ids=lambda route: route.name)
def test_hostile_parameters_and_headers(target: Served, route: Route) -> None:
    for parameter in route.parameters:
        for text in HOSTILE:
            headers = {"Content-Type": route.body.media_types[0]} if route.body else {}
            path = full_path(route)
            if parameter.header:
                if not (text.isascii() and text.isprintable()):
                    continue
                headers[parameter.name] = text
            else:
                path += f"?{parameter.name}={quote(text, safe='')}"
            status, _ = send(target, route.method, path, b"" if route.body else None, headers)
            assert sound(status), (path, headers, status)


def mutated(value: Any) -> Iterator[Any]:
    """The value with one of its parts replaced by something hostile."""
    if isinstance(value, dict):
        for key, item in value.items():
            for other in mutated(item):
                yield {**value, key: other}
        yield {**value, "__proto__": {}, "\u202e": 1}
    elif isinstance(value, list):
        for number, item in enumerate(value):
            for other in mutated(item):
                yield [*value[:number], other, *value[number + 1 :]]
    else:
        yield from HOSTILE
        yield from (None, 1e308, -1, 2**70, True, [], {}, [[[[]]]])


@pytest.mark.parametrize(
    "route",
    [route for route in TABLE if route.body and JSON in route.body.media_types and route.name not in KEPT],
    ids=lambda route: route.name,
)
def test_hostile_bodies(target: Served, route: Route) -> None:
    example = route.body.example if route.body else None
    if route.name == "PUT /v1/{folder}/{id}":
        example = json.loads(encode_record(project()))
    if route.name == "POST /v1/session":
        pytest.skip("each attempt takes the time of a password; see the tests of signing in")
    bodies = [json.dumps(value).encode() for value in mutated(example)] if example else []
    deep = b"[" * 100_000, b'{"a":' * 100_000, b'{"refs":' + b"[" * 50_000
    for body in (*bodies, *deep, b"", b"\xff\xfe", b"{", b"nul", b'{"a":1,"a":2}', b"\0", b"1e999999"):
        status, _ = send(target, route.method, full_path(route), body, {"Content-Type": JSON})
        assert sound(status), (body[:200], status)
    assert send(target, "GET", "/readyz")[0] == 200


@pytest.mark.parametrize(
    "request_",
    [
        ("GET", "/v1/runs?token=secret"),
        ("GET", "/v1/runs?limit=1&limit=2"),
        ("TRACE", "/v1/runs"),
        ("CONNECT", "/v1/runs"),
        ("PROPFIND", "/"),
        ("GET", "//evil.example/v1/runs"),
        ("GET", "/v1/../v1/runs"),
        ("GET", "/v1/runs/"),
        ("GET", "http://evil.example/v1/runs"),
    ],
    ids=" ".join,
)
def test_odd_requests_are_refused(target: Served, request_: tuple[str, str]) -> None:
    status, _ = send(target, *request_)
    assert status in (400, 403, 404, 405)


def test_the_server_goes_by_its_own_names_only(target: Served) -> None:
    assert send(target, "GET", "/healthz", headers={"Host": "evil.example"})[0] == 403
    assert send(target, "GET", "/healthz", headers={"Host": "localhost:1"})[0] == 200
    assert send(target, "GET", "/healthz", headers={"Host": "127.0.0.1.evil.example"})[0] == 403


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_pages_of_other_sites_change_nothing(target: Served, headers: dict[str, str]) -> None:
    assert send(target, "POST", "/v1/uploads", headers=headers)[0] == 403


@pytest.mark.parametrize(
    "type_", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", ""]
)
def test_forms_are_no_bodies(target: Served, type_: str) -> None:
    headers = {"Content-Type": type_} if type_ else {}
    assert send(target, "POST", "/v1/records/get", b'{"refs":[]}', headers)[0] == 415


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate, gzip"])
def test_compressed_bodies_are_refused_and_never_unpacked(target: Served, coding: str) -> None:
    headers = {"Content-Type": JSON, "Content-Encoding": coding}
    assert send(target, "POST", "/v1/records/get", gzip.compress(b'{"refs":[]}'), headers)[0] == 415
    headers["Content-Encoding"] = "identity"
    assert send(target, "POST", "/v1/records/get", b'{"refs":[]}', headers)[0] == 200


def test_answers_are_harmless_in_a_browser(target: Served) -> None:
    parts = urlsplit(target.url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
    connection.request("GET", "/v1/<script>")
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.getheader("X-Content-Type-Options") == "nosniff"
    assert "default-src 'none'" in str(answer.getheader("Content-Security-Policy"))
    assert answer.getheader("Access-Control-Allow-Origin") is None
    assert answer.getheader("Server") is None


_POST = "POST /v1/sync HTTP/1.1\r\nHost: localhost\r\n"
_GET = "GET /v1/runs HTTP/1.1\r\n"
SMUGGLED = {
    "length and chunks": f"{_POST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz",
    "two lengths": f"{_POST}Content-Length: 0\r\nContent-Length: 5\r\n\r\nGET /",
    "a list of lengths": f"{_POST}Content-Length: 0, 5\r\n\r\nGET /",
    "a signed length": f"{_POST}Content-Length: +5\r\n\r\nGET /",
    "an unknown coding": f"{_POST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a bad chunk": f"{_POST}Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    "a folded header": f"{_GET}Host: localhost\r\nX-A: b\r\n c: d\r\n\r\n",
    "a space before the colon": f"{_GET}Host : localhost\r\n\r\n",
    "two hosts": f"{_GET}Host: localhost\r\nHost: evil.example\r\n\r\n",
    "no host": f"{_GET}\r\n",
    "two tokens": f"{_GET}Host: localhost\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n",
    "no HTTP": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "another version": "GET /healthz HTTP/9.9\r\nHost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("text", SMUGGLED.values(), ids=SMUGGLED)
def test_ambiguous_requests_are_refused_and_nothing_behind_them_is_obeyed(target: Served, text: str) -> None:
    parts = urlsplit(target.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as connection:
        connection.sendall(text.encode("latin-1"))
        connection.shutdown(socket.SHUT_WR)
        data = b""
        while part := connection.recv(65536):
            data += part
    assert b"HTTP/1.1 200" not in data
    assert data.count(b"HTTP/1.1 ") <= 1
    assert not data or data.startswith((b"HTTP/1.1 400", b"HTTP/1.1 403", b"HTTP/1.1 401"))
