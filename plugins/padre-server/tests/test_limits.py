"""Slow and huge clients: refused or dropped in bounded time and memory, while others are answered."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from .samples import project
from .serving import Client, Served, Start, wait_for

LITTLE_PATIENCE = ("body_seconds=1", "header_seconds=1", "write_seconds=1")
LITTLE_ROOM = (
    "memory=3000000", "connections=60", "requests=40", "streams=2", "uploads=5", "uploads_each=3", "blob=3000000",
)  # fmt: skip


@pytest.fixture(scope="module")
def impatient(start: Start) -> Served:
    return start(*(f"--limit={text}" for text in LITTLE_PATIENCE))


@pytest.fixture(scope="module")
def narrow(start: Start) -> Served:
    """A server with little room, and with patience for the clients of a busy machine."""
    return start(*(f"--limit={text}" for text in LITTLE_ROOM))


@pytest.fixture
def client(narrow: Served) -> Client:
    return narrow.client


@contextlib.contextmanager
def connected(served: Served, *, receive: int | None = None) -> Iterator[socket.socket]:
    parts = urlsplit(served.url)
    with socket.socket() as connection:
        if receive is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        connection.settimeout(60)
        connection.connect((parts.hostname, parts.port))
        yield connection


@contextlib.contextmanager
def answered(served: Served) -> Iterator[socket.socket]:
    """A connection on which a first request came in time."""
    for _ in range(60):
        with connected(served) as connection:
            answer = b""
            with contextlib.suppress(ConnectionError):
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                answer = connection.recv(4096)
            if b"200 OK" in answer:
                yield connection
                return
    raise AssertionError("the server answers nobody")


def is_open(connection: socket.socket) -> bool:
    """Whether the other side has not closed a connection, as the system says it."""
    here, there = (f":{address[1]:04X}" for address in (connection.getsockname(), connection.getpeername()))
    known = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines())
    return any(
        local.endswith(there) and remote.endswith(here) and state == "01" for _, local, remote, state, *_ in known
    )


def read_all(connection: socket.socket) -> bytes:
    data = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65536):
            data += part
    return data


def head(served: Served, method: str, path: str, *lines: str) -> bytes:
    host = urlsplit(served.url).netloc
    return "\r\n".join(
        [f"{method} {path} HTTP/1.1", f"Host: {host}", f"Authorization: Bearer {served.token}", *lines, "", ""]
    ).encode()


def memory(served: Served) -> int:
    status = Path(f"/proc/{served.process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024


def test_a_connection_that_says_nothing_is_closed(impatient: Served) -> None:
    with connected(impatient) as connection:
        assert read_all(connection) == b""


def test_a_head_that_trickles_is_given_up(impatient: Served) -> None:
    with connected(impatient) as connection:
        answer = trickle(connection, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: b\r\n" * 1000)
        assert answer.startswith(b"HTTP/1.1 408")


def test_a_second_head_that_trickles_is_given_up_too(impatient: Served) -> None:
    with answered(impatient) as connection:
        assert b"HTTP/1.1 408" in trickle(connection, b"GET /healthz HTTP/1.1\r\n" + b"X-A: b\r\n" * 1000)


def test_a_body_that_trickles_is_given_up(impatient: Served) -> None:
    with connected(impatient) as connection:
        connection.sendall(head(impatient, "PUT", f"/v1/blobs/{'0' * 64}", "Content-Type: application/octet-stream",
                                "Content-Length: 1000000"))  # fmt: skip
        answer = trickle(connection, b"x" * 1000)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"connection: close" in answer.lower()


def test_a_client_that_does_not_read_is_dropped(impatient: Served) -> None:
    data = os.urandom(2_900_000)
    digest = hashlib.sha256(data).hexdigest()
    kind = {"Content-Type": "application/octet-stream"}
    # It may have no patience for this one either.
    wait_for(lambda: impatient.client("PUT", f"/v1/blobs/{digest}", data, headers=kind).status == 200)
    with connected(impatient, receive=4096) as connection:
        connection.sendall(head(impatient, "GET", f"/v1/blobs/{digest}") * 4)
        wait_for(lambda: not is_open(connection))
        # The system takes up to 4 MB for a reader that does not come; the rest is never sent.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        assert len(read_all(connection)) < 3 * len(data)
    wait_for(lambda: b"padre_requests_active" in impatient.client("GET", "/metrics").body)


def test_a_head_that_is_too_large_is_refused_without_being_kept(narrow: Served) -> None:
    before = memory(narrow)
    with connected(narrow) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: ")
            for _ in range(200):
                connection.sendall(b"a" * 65536)
        answer = read_all(connection)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 431")
    assert memory(narrow) - before < 8_000_000


def test_a_url_that_is_too_long_is_refused(narrow: Served) -> None:
    with connected(narrow) as connection:
        connection.sendall(head(narrow, "GET", "/v1/runs?where=" + "a" * 20_000))
        assert connection.recv(4096).startswith(b"HTTP/1.1 414")


def test_bodies_that_are_too_large_are_refused_before_they_are_read(narrow: Served, client: Client) -> None:
    for path, size in (("/v1/runs/search", 2_000_000), ("/v1/records/put", 10**12), (f"/v1/blobs/{'0' * 64}", 10**18)):
        with connected(narrow) as connection:
            method = "PUT" if "blobs" in path else "POST"
            kind = "application/octet-stream" if "blobs" in path else "application/json"
            connection.sendall(head(narrow, method, path, f"Content-Type: {kind}", f"Content-Length: {size}"))
            assert connection.recv(4096).startswith(b"HTTP/1.1 413")


def test_a_body_without_a_length_is_bounded_too(narrow: Served) -> None:
    with connected(narrow) as connection:
        lines = "Content-Type: application/json", "Transfer-Encoding: chunked"
        connection.sendall(head(narrow, "POST", "/v1/runs/search", *lines))
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                connection.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")
        answer = read_all(connection)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 413")


def test_what_comes_behind_a_body_is_not_kept(narrow: Served, client: Client) -> None:
    assert client("GET", "/readyz").status == 200
    before = memory(narrow)
    with connected(narrow) as connection:
        lines = "Content-Type: application/json", "Transfer-Encoding: chunked"
        connection.sendall(head(narrow, "POST", "/v1/runs/search", *lines) + b"2\r\n{}\r\n0\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(4000):
                connection.sendall(b"X-Trailer: " + b"x" * 60_000 + b"\r\n")
        assert memory(narrow) - before < 60 * 1024 * 1024
    assert client("GET", "/readyz").status == 200


def test_blobs_have_a_greatest_size_however_they_come(client: Client) -> None:
    data = b"x" * 3_000_001
    kind = {"Content-Type": "application/octet-stream"}
    answer = client("PUT", f"/v1/blobs/{hashlib.sha256(data).hexdigest()}", data, headers=kind)
    assert (answer.status, answer.error) == (413, "InvalidObjectError")
    upload = f"/v1/uploads/{client('POST', '/v1/uploads').json['id']}"
    assert client("PATCH", upload, data, headers={**kind, "Upload-Offset": "0"}).status == 413
    client("DELETE", upload)


def test_uploads_in_flight_are_bounded_for_each_caller_and_for_all(narrow: Served, client: Client) -> None:
    mine = [client("POST", "/v1/uploads") for _ in range(4)]
    assert [answer.status for answer in mine] == [201, 201, 201, 429]
    assert mine[-1].headers["Retry-After"]
    other = client.as_(narrow.make_token())
    theirs = [other("POST", "/v1/uploads") for _ in range(3)]
    assert [answer.status for answer in theirs] == [201, 201, 429]
    for caller, answers in ((client, mine[:3]), (other, theirs[:2])):
        for answer in answers:
            assert caller("DELETE", f"/v1/uploads/{answer.json['id']}").status == 204


def test_more_uploads_at_once_than_there_is_room_for_are_told_to_come_again(start: Start) -> None:
    served = start("--limit=streams=2")
    lines = ("Content-Type: application/octet-stream", "Content-Length: 1000")
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            connection = stack.enter_context(connected(served))
            connection.sendall(head(served, "PUT", f"/v1/blobs/{'0' * 64}", *lines, "Expect: 100-continue"))
            assert connection.recv(4096).startswith(b"HTTP/1.1 100"), "it was let in, and its body is awaited"
        late = stack.enter_context(connected(served))
        late.sendall(head(served, "PUT", f"/v1/blobs/{'0' * 64}", *lines) + b"x" * 1000)
        answer = late.recv(4096)
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"retry-after" in answer.lower()
        assert served.client("GET", "/v1/runs").status == 200, "who does not upload is answered meanwhile"


def test_too_many_connections_are_refused_and_the_server_recovers(narrow: Served, client: Client) -> None:
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(connected(narrow)) for _ in range(80)]
        refused = set()

        def are_refused() -> bool:
            refused.update(connection for connection in crowd if b"503" in _peek(connection))
            return len(refused) >= 15

        wait_for(are_refused)
    wait_for(lambda: client("GET", "/healthz").status == 200)


def test_many_large_requests_at_once_do_not_fill_the_memory(narrow: Served, client: Client) -> None:
    before = memory(narrow)
    body = b'{"refs":[' + b" " * 900_000 + b"]}"
    statuses: list[int] = []

    def ask() -> None:
        statuses.extend(client.as_(narrow.token)("POST", "/v1/records/get", body).status for _ in range(5))

    run_all([ask] * 8)
    assert set(statuses) <= {200, 503}
    assert memory(narrow) - before < 60_000_000


def test_what_a_refused_request_held_is_free_at_once(start: Start) -> None:
    served = start()
    place, body = f"/v1/projects/{project('iris').id}", b"{" + b" " * 30_000_000
    assert served.client("PUT", place, body).status == 400
    before = memory(served)
    assert [served.client("PUT", place, body).status for _ in range(8)] == [400] * 8
    assert memory(served) - before < 60_000_000


def test_bodies_take_a_bounded_part_of_the_memory_together(narrow: Served, client: Client) -> None:
    body = b'{"refs":[' + b" " * 900_000
    start = head(narrow, "POST", "/v1/records/get", "Content-Type: application/json", "Content-Length: 1000000")
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(connected(narrow)) for _ in range(8)]
        for connection in crowd:
            connection.sendall(start + body)
        wait_for(lambda: any(b"503" in _peek(connection) for connection in crowd))
    wait_for(lambda: client("POST", "/v1/records/get", {"refs": []}).status == 200)


def test_a_full_disk_is_said_and_leaves_what_is_stored_readable(start: Start) -> None:
    served = start(f"--limit=free={2**60}")
    data = b"x" * 100
    kind = {"Content-Type": "application/octet-stream"}
    answer = served.client("PUT", f"/v1/blobs/{hashlib.sha256(data).hexdigest()}", data, headers=kind)
    assert (answer.status, answer.error) == (507, "BackendError")
    assert answer.headers["Retry-After"]
    assert served.client("POST", "/v1/uploads").status == 507
    assert served.client("GET", "/v1/projects").status == 200


def trickle(connection: socket.socket, data: bytes) -> bytes:
    """Sends a byte now and then, until the other side has had enough."""
    connection.settimeout(0.1)
    for place in range(len(data)):
        try:
            connection.sendall(data[place : place + 1])
            if answer := connection.recv(4096):
                connection.settimeout(60)
                return answer + read_all(connection)
            return b""
        except TimeoutError:
            continue
        except ConnectionError:
            return b""
    raise AssertionError("the server has endless patience")


def _peek(connection: socket.socket) -> bytes:
    connection.settimeout(0.05)
    try:
        return connection.recv(4096)
    except (TimeoutError, ConnectionError):
        return b""


def run_all(functions: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
