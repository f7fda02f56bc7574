"""The proxy on the way to a server, as the environment names it; what is sent through it, it cannot read."""

from __future__ import annotations

import binascii
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit
from urllib.request import (  # type: ignore[attr-defined]  # typeshed lacks the second
    getproxies_environment,
    proxy_bypass_environment,
)

from padre_core.errors import AuthenticationError, BackendError, InvalidObjectError
from padre_core.hosts import is_loopback
from padre_http.origin import Origin
from padre_http.secret import Secret

MAX_HEAD: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy that opens tunnels."""

    host: str
    port: int
    credentials: Secret | None = None

    def tunnel(self, connection: socket.socket, origin: Origin, left: Callable[[], float]) -> None:
        """Asks for a tunnel to a server; TLS with the server comes next, through it.

        Args:
            left: How many seconds are left.

        Raises:
            AuthenticationError: The proxy wants other credentials.
            BackendError: It refuses for good.
            OSError: It cannot reach the server, or breaks off.
        """
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        lines = [f"CONNECT {host}:{origin.port} HTTP/1.1", f"Host: {host}:{origin.port}"]
        if self.credentials is not None:
            lines.append(f"Proxy-Authorization: Basic {self.credentials.reveal()}")
        connection.settimeout(left())
        connection.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
        head = b""
        while not head.endswith(b"\r\n\r\n"):  # whatever came behind it would not be the server's
            connection.settimeout(left())
            part = connection.recv(1)
            head += part
            if not part or len(head) > MAX_HEAD:
                raise ConnectionResetError(f"the proxy {self.host}:{self.port} ended the connection")
        status = head.split(b" ", 2)[1:2]
        if not (head.startswith(b"HTTP/1.") and status and status[0].isdigit()):
            raise BackendError(f"{self.host}:{self.port}, which HTTPS_PROXY names, is no HTTP proxy")
        self._check(int(status[0]), origin)

    def _check(self, status: int, origin: Origin) -> None:
        if 200 <= status < 300:
            return
        if status == 407:
            raise AuthenticationError(
                f"the proxy {self.host}:{self.port} wants a name and a password: "
                "HTTPS_PROXY=http://name:password@host:port, with what is special in them %-quoted"
            )
        message = f"the proxy {self.host}:{self.port} answered {status} when asked for {origin.host}"
        if status >= 500:
            raise ConnectionRefusedError(0, message)
        raise BackendError(f"{message}; NO_PROXY={origin.host} goes past it")


def proxy_for(origin: Origin) -> Proxy | None:
    """The proxy that HTTPS_PROXY or ALL_PROXY names, unless NO_PROXY has the server; none to this machine.

    Raises:
        InvalidObjectError: What is named is no URL of an HTTP proxy.
    """
    if origin.scheme != "https" or is_loopback(origin.host):
        return None
    named = getproxies_environment()
    text = named.get("https") or named.get("all")
    if not text or proxy_bypass_environment(f"{origin.host}:{origin.port}", named):
        return None
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        host, port = None, 0
    if host is None or parts.scheme != "http":  # the text may hold a password
        raise InvalidObjectError(
            f"HTTPS_PROXY names no proxy that {origin.url} can be reached through: it must be http://host:port; "
            f"NO_PROXY={origin.host} goes past it"
        )
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else None
    encoded = None if pair is None else Secret(binascii.b2a_base64(pair.encode(), newline=False).decode())
    return Proxy(host, port, encoded)
