"""Connections to one server: kept alive, shared by threads, and never waited for longer than a deadline.

The standard library parses answers; requests are written here. Every single wait on a socket ends with the deadline of
its call, so that no server can hold a client by sending a byte now and then.
"""

from __future__ import annotations

import http.client
import io
import os
import select
import socket
import ssl
import threading
import time
import weakref
from collections import deque
from collections.abc import Mapping
from typing import Any, BinaryIO, Final, cast

from padre_core.errors import UnavailableError
from padre_http.origin import Origin
from padre_http.proxy import Proxy, proxy_for

CONNECT_SECONDS: Final = 10.0
KEEP: Final = 16
"""How many idle connections are kept."""

IDLE_SECONDS: Final = 45.0
"""After what time an idle connection is not trusted any more."""

_SMALL = 64 * 1024


class Deadline:
    """When a call gives up; `extend` begins the time anew, for calls that make progress."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def extend(self) -> None:
        """Gives the whole time again."""
        self._end = time.monotonic() + self.seconds

    @property
    def left(self) -> float:
        """The seconds that are left.

        Raises:
            TimeoutError: None are.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class _Received(io.RawIOBase):
    """What comes from a socket, each piece of it before the deadline of the present call."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        connection = self._connection
        connection.socket.settimeout(connection.deadline.left)
        return connection.socket.recv_into(buffer)


class _Incoming:
    """As much of a socket as `http.client` wants to see."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def makefile(self, mode: str) -> BinaryIO:
        """All answers of the connection, as one file."""
        return self._connection.incoming


class Connection:
    """One connection, used by one call at a time."""

    def __init__(
        self, origin: Origin, context: ssl.SSLContext | None, deadline: Deadline, proxy: Proxy | None = None
    ) -> None:
        self.origin, self.deadline = origin, deadline
        self.idle_since = 0.0
        self._response: http.client.HTTPResponse | None = None
        self.socket: socket.socket = socket.create_connection(
            (proxy.host, proxy.port) if proxy else (origin.host, origin.port), min(CONNECT_SECONDS, deadline.left)
        )
        try:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if proxy is not None:
                proxy.tunnel(self.socket, origin, lambda: deadline.left)
            if context is not None:
                self.socket.settimeout(deadline.left)
                self.socket = context.wrap_socket(self.socket, server_hostname=origin.host)
        except BaseException:
            self.socket.close()
            raise
        self.incoming = cast("BinaryIO", _Unclosed(_Received(self), _SMALL))

    def exchange(
        self, deadline: Deadline, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> http.client.HTTPResponse:
        """Sends a request and reads the head of the answer; the body is still to be read.

        Raises:
            OSError: The connection broke or the time is over.
            http.client.HTTPException: The answer is not HTTP.
        """
        self.deadline = deadline
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self.origin.authority}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body or method in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join([*lines, "", ""]).encode("ascii")
        self.socket.settimeout(deadline.left)
        if len(body) <= _SMALL:
            self.socket.sendall(head + body)
        else:
            self.socket.sendall(head)
            self.socket.settimeout(deadline.left)
            self.socket.sendall(body)
        self._response = http.client.HTTPResponse(cast("socket.socket", _Incoming(self)), method=method)
        self._response.begin()
        return self._response

    def usable(self) -> bool:
        """Whether the connection, idle since a while, may still be there."""
        if time.monotonic() - self.idle_since > IDLE_SECONDS:
            return False
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        return not poll.poll(0)  # nothing is due: what can be read is the end, or an answer to no request

    def close(self) -> None:
        """Ends the connection; in a forked child only the child's hold on it."""
        if self._response is not None:
            self._response.close()
        self.socket.close()


class _Unclosed(io.BufferedReader):
    """Stays open when an answer was read: the next one comes through it too."""

    def close(self) -> None:
        """Does nothing; the connection closes the socket."""


class Pool:
    """The idle connections to one server. Safe for threads; a forked child makes its own."""

    def __init__(self, origin: Origin, *, ca_file: str | None = None) -> None:
        self.origin = origin
        self._context: ssl.SSLContext | None = None
        self._proxy = proxy_for(origin)
        if origin.scheme == "https":
            self._context = ssl.create_default_context(cafile=ca_file)
            self._context.set_alpn_protocols(["http/1.1"])
        self._closed = False
        self._start()
        _POOLS.add(self)

    def _start(self) -> None:
        self._idle: deque[Connection] = deque()
        self._lock = threading.Lock()

    def take(self, deadline: Deadline, *, fresh: bool = False) -> tuple[Connection, bool]:
        """A connection, and whether it was used before.

        Args:
            fresh: Not one that lay idle.

        Raises:
            UnavailableError: The pool was closed.
            OSError: The server cannot be reached.
        """
        while not fresh:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                break
            if connection.usable():
                return connection, True
            connection.close()
        if self._closed:
            raise UnavailableError(f"the connection to {self.origin.url} was closed")
        return Connection(self.origin, self._context, deadline, self._proxy), False

    def give_back(self, connection: Connection) -> None:
        """Takes a connection back whose answer was read to the end."""
        connection.idle_since = time.monotonic()
        with self._lock:
            if not self._closed and len(self._idle) < KEEP:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Closes all idle connections; others close when they come back."""
        with self._lock:
            self._closed = True
            idle, self._idle = list(self._idle), deque()
        for connection in idle:
            connection.close()


_POOLS: weakref.WeakSet[Pool] = weakref.WeakSet()


def _after_fork() -> None:
    for pool in list(_POOLS):  # two processes on one connection would read each other's answers
        for connection in pool._idle:
            connection.close()
        pool._start()


os.register_at_fork(after_in_child=_after_fork)
