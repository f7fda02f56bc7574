"""A proxy on loopback that spoils chosen exchanges between a client and a server."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import BinaryIO
from urllib.parse import urlsplit

FAULTS = (
    "refuse", "lose the request", "cut the request", "reset after the server acted", "cut the head", "cut the body",
    "garbage", "garbage after the server acted", "500", "500 after the server acted", "busy", "delay",
)  # fmt: skip

ERROR = b"HTTP/1.1 500 Oops\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\noops!"
BUSY = b"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"
_GARBAGE = b"\0\xff\x16\x03 not HTTP at all\r\n\r\n"


PATIENCE = 600
"""Seconds that a server hangs: more than any machine takes for a test, however busy it is."""


class Proxy:
    """Passes requests on; `spoil` says what happens to the next ones.

    Attributes:
        url: For clients.
        requests: The first lines of the requests that arrived.
    """

    def __init__(self, url: str) -> None:
        scheme, _, address = url.rpartition("://")
        target = urlsplit(f"http://{address}")
        self._target = (target.hostname or "", target.port or 0)
        self._faults: list[str | bytes] = []
        self._always: str | None = None
        self._after: bytes | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self.requests: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def spoil(self, *faults: str | bytes, only: bytes = b"") -> None:
        """Lets something happen to the next exchanges, one after the other; `only` to those with these bytes.

        Bytes are an answer that is given instead of the server's.
        """
        with self._lock:
            self._faults, self._only = list(faults), only

    def spoil_all(self, fault: str | None) -> None:
        """Lets something happen to every exchange from now on."""
        with self._lock:
            self._always = fault

    @property
    def left(self) -> int:
        """How many faults did not happen yet."""
        with self._lock:
            return len(self._faults)

    def close(self) -> None:
        self._closed.set()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _fault(self, request: bytes) -> str | bytes | None:
        with self._lock:
            if self._always is not None:
                return self._always
            if self._faults and self._only in request:
                return self._faults.pop(0)
        return None

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, client.makefile("rb") as incoming:
            while request := read_message(incoming, client):
                self.requests.append(request.partition(b"\r\n")[0].decode())
                if not self._exchange(client, request, self._fault(request)):
                    return

    def _exchange(self, client: socket.socket, request: bytes, fault: str | bytes | None) -> bool:
        """Whether the connection goes on."""
        if isinstance(fault, bytes):
            client.sendall(fault)
            return True
        if fault in ("refuse", "lose the request"):
            return reset(client)
        if fault in ("500", "busy", "garbage"):
            client.sendall({"500": ERROR, "busy": BUSY, "garbage": _GARBAGE}[fault])
            return fault != "garbage"
        if fault == "cut the request":
            with socket.create_connection(self._target) as upstream:
                upstream.sendall(request[: max(1, len(request) // 2)])
                time.sleep(0.02)
                reset(upstream)
            return reset(client)
        if fault == "delay":
            time.sleep(0.1)
        with socket.create_connection(self._target) as upstream, upstream.makefile("rb") as answers:
            upstream.sendall(request)
            answer = read_message(answers, method=request.split(b" ", 1)[0])
            while answer.startswith(b"HTTP/1.1 100 "):
                answer = read_message(answers, method=request.split(b" ", 1)[0])
        if not answer:
            return reset(client)
        if fault == "reset after the server acted":
            return reset(client)
        if fault == "hang":
            self._closed.wait(PATIENCE)
        if fault == "drip":  # a minute and more for a head, each byte within the time of a call
            for byte in answer:
                client.sendall(bytes([byte]))
                time.sleep(0.25)
        if fault in ("500 after the server acted", "garbage after the server acted"):
            client.sendall(ERROR if fault.startswith("500") else _GARBAGE)
            return fault.startswith("500")
        if fault == "cut the head":
            client.sendall(answer[:12])
            return reset(client)
        if fault == "cut the body":
            end = answer.index(b"\r\n\r\n") + 4
            client.sendall(answer[: end + (len(answer) - end) // 2] if len(answer) > end + 1 else answer[: end - 3])
            return False
        client.sendall(answer)
        return True


def read_message(file: BinaryIO, client: socket.socket | None = None, method: bytes = b"") -> bytes:
    """A request of a client or an answer, as it stands on the line; empty if there is none, or not all of it."""
    head = b"".join(_lines(file))
    if not head.endswith(b"\r\n\r\n"):
        return b""
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
    if method and (method == b"HEAD" or head.split(b" ", 2)[1] in (b"100", b"204", b"304")):
        return head
    if client is not None and fields.get(b"expect", b"").strip().lower() == b"100-continue":
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    if b"chunked" in fields.get(b"transfer-encoding", b""):
        body = b"".join(_chunks(file))
        return head + body if body.endswith(_LAST_CHUNK) else b""
    length = int(fields.get(b"content-length", b"0"))
    body = file.read(length)
    return head + body if len(body) == length else b""


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while size := file.readline():
        chunk = size + file.read(int(size, 16) + 2)
        yield chunk
        if chunk == _LAST_CHUNK:
            return


def _lines(file: BinaryIO) -> Iterator[bytes]:
    while line := file.readline():
        yield line
        if line == b"\r\n":
            return


def reset(connection: socket.socket) -> bool:
    """Ends a connection so that the other side sees an error; what was not sent is lost."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    return False
