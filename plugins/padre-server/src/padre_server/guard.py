"""What keeps browsers from doing harm: by which names the server may be called, and by pages of whom."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Mapping

from padre_core import InvalidObjectError
from padre_server.errors import MediaTypeError, MisdirectedError, TooLongUrlError
from padre_server.route import Body

MAX_URL = 16 * 1024
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Sent with every answer."""

_ONCE = (
    "host", "authorization", "content-length", "content-type", "transfer-encoding", "origin", "if-match",
    "if-none-match", "range", "upload-offset",
)  # fmt: skip


def own_names(hosts: Iterable[str]) -> frozenset[str]:
    """The names by which a server may be called: this machine's, and those that the operator allows.

    Addresses are always allowed: an attacker's page reaches a server through a name that he controls.
    """
    return frozenset(name.lower() for name in ("localhost", socket.gethostname(), *hosts))


def read_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The headers by lower-case name.

    Raises:
        InvalidObjectError: One that decides something comes twice.
    """
    found: dict[str, str] = {}
    for name, value in raw:
        key = name.decode("latin-1").lower()
        if key in found and key in _ONCE:
            raise InvalidObjectError(f"the header {key} comes twice")
        found[key] = value.decode("latin-1")
    return found


def check(method: str, url_length: int, headers: Mapping[str, str], names: frozenset[str]) -> None:
    """Checks a request before anything else is done with it.

    Raises:
        MisdirectedError: It is for another name, or comes from a page of another site.
        TooLongUrlError: The URL is too long.
    """
    if url_length > MAX_URL:
        raise TooLongUrlError(f"a URL has at most {MAX_URL} bytes: use the search routes for long queries")
    host = headers.get("host", "")
    if not _is_own(_name(host), names):
        raise MisdirectedError("the server does not go by this name: start it with --allow-host")
    if method in SAFE:
        return
    origin = headers.get("origin")
    same = origin is None or origin.partition("://")[2].lower() == host.lower()
    if not same or headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        raise MisdirectedError("pages of other sites may not change anything here")


def check_type(body: Body, headers: Mapping[str, str]) -> str:
    """The media type of a body, which must be one that the route takes, and not compressed.

    Raises:
        MediaTypeError: It is not.
    """
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise MediaTypeError("bodies are taken as they are, without a Content-Encoding")
    given = headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in body.media_types:
        raise MediaTypeError(f"expected a body of type {' or '.join(body.media_types)}")
    return given


def _name(host: str) -> str:
    """The name in `name:port` or `[address]:port`."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower().rstrip(".")


def _is_own(name: str, names: frozenset[str]) -> bool:
    if name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
