"""Where a server is: scheme, host, port, and the path in front of its routes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from padre_core.errors import InvalidObjectError
from padre_core.hosts import is_ipv6, is_loopback
from padre_core.objects.identity import is_id

_SCHEMES = {"padre+http": "http", "padre+https": "https", "http": "http", "https": "https"}
_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)*/?")
_OBJECT = re.compile(r"/v1/([a-z][a-z0-9_]{0,39})/([0-9a-f-]{1,60})")


@dataclass(frozen=True, slots=True)
class Origin:
    """A server's address; what is equal gets the same token, and nothing else does.

    Attributes:
        scheme: `http` or `https`; the former only for this machine.
        prefix: The path in front of `/v1`, empty or beginning with `/`.
    """

    scheme: str
    host: str
    port: int
    prefix: str = ""

    @property
    def url(self) -> str:
        """The address as browsers have it."""
        return f"{self.scheme}://{self.authority}{self.prefix}"

    @property
    def authority(self) -> str:
        """Host and port, as the header Host has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def object_url(self, folder: str, id: str) -> str:
        """The URL of an object."""
        return f"{self.url}/v1/{folder}/{id}"

    def object_at(self, url: str) -> tuple[str, str] | None:
        """The folder and the id in an object's URL; None if it is none of this server."""
        begin = f"{self.url}/v1/"
        found = _OBJECT.fullmatch(url[len(self.url) :]) if url.startswith(begin) else None
        return (found[1], found[2]) if found and is_id(found[2]) else None


def parse_origin(url: str) -> Origin:
    """The server that a URL names, `padre+https://lab.example.org` or `https://…` alike.

    Raises:
        InvalidObjectError: It is malformed, holds more than an address, or would show a token on the network.
    """
    try:
        parts = urlsplit(url)
        scheme, host, port = _SCHEMES[parts.scheme], parts.hostname or "", parts.port
    except (KeyError, ValueError):
        raise _malformed(url) from None
    host = host.lower()
    if not (_HOST.fullmatch(host) or is_ipv6(host)) or parts.query or parts.fragment or "@" in parts.netloc:
        raise _malformed(url)
    if not _PREFIX.fullmatch(parts.path) or {".", ".."} & set(parts.path.split("/")):
        raise _malformed(url)
    if scheme == "http" and not is_loopback(host):
        raise InvalidObjectError(
            f"http://{host} would show tokens and data to everybody on the way: use padre+https://{host}; "
            "plain http is for this machine only (127.0.0.1, ::1, localhost)"
        )
    return Origin(scheme, host, _PORTS[scheme] if port is None else port, parts.path.rstrip("/"))


def _malformed(url: str) -> InvalidObjectError:
    # What is malformed may hold a password anywhere.
    scheme = url.partition(":")[0]
    return InvalidObjectError(
        f"{scheme[:20]!r}…: a server's URL is padre+https://host, with a port or a path where needed, "
        "and without user, password, query and fragment"
    )
