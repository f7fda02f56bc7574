"""Where a repository is, and how to sign in there."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from padre_core.errors import InvalidObjectError
from padre_core.hosts import is_ipv6, is_loopback

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_PATH = re.compile(r"/[A-Za-z0-9._~+@,=/%-]+")


@dataclass(frozen=True, slots=True)
class Address:
    """A repository elsewhere.

    Attributes:
        url: As git knows it; never with a password or a token.
        protocol: `https`, `http` (this machine only), `ssh` or `file`.
        origin: Scheme, host and port, which a token is bound to; empty for files.
    """

    url: str
    protocol: str
    origin: str = ""

    @property
    def name(self) -> str:
        """The last part of its path, for people."""
        return re.sub(r"[^A-Za-z0-9._-]", "_", self.url.rstrip("/").rpartition("/")[2].removesuffix(".git"))[:60]


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user's name and a token for one origin."""

    origin: str
    token: str = field(repr=False)
    user: str = "padre"


def parse(url: str) -> Address:
    """The address that a URL such as `git+https://git.example.org/team/experiments` names.

    Raises:
        InvalidObjectError: It is malformed, holds a secret, or would show one on the network.
    """
    scheme, _, rest = url.partition("://")
    protocol = scheme.removeprefix("git+")
    try:
        parts = urlsplit(f"{protocol}://{rest}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _malformed(scheme) from None
    if protocol == "file":
        return _file(url, parts.netloc, parts.path, parts.query or parts.fragment)
    if protocol not in ("https", "http", "ssh") or parts.query or parts.fragment or not _PATH.fullmatch(parts.path):
        raise _malformed(scheme)
    if parts.password is not None or (parts.username is not None and protocol != "ssh"):
        raise InvalidObjectError(
            f"{scheme}://***@{host}: a URL must not hold a user or a token, for it is stored and shown; "
            "use git's credential helper, or PADRE_GIT_TOKEN"
        )
    if not (_HOST.fullmatch(host) or is_ipv6(host)):
        raise _malformed(scheme)
    if parts.username is not None and not _USER.fullmatch(parts.username):
        raise _malformed(scheme)
    if protocol == "http" and not is_loopback(host):
        raise InvalidObjectError(
            f"git+http://{host} would show tokens and data to everybody on the way: use git+https://{host}"
        )
    place = f"[{host}]" if ":" in host else host
    place += f":{port}" if port is not None else ""
    user = f"{parts.username}@" if parts.username else ""
    return Address(f"{protocol}://{user}{place}{parts.path}", protocol, f"{protocol}://{place}")


def credentials(address: Address, token: str | None = None, user: str | None = None) -> Credentials | None:
    """What an option gives, else what `PADRE_GIT_TOKEN` holds for this very origin.

    The variable says itself whom it is for, as in `https://gitlab.example.org glpat-…` or
    `https://ada@gitlab.example.org glpat-…`: a URL that a stranger's file names must not be shown it.

    Raises:
        InvalidObjectError: The token is malformed, or there is no place for one.
    """
    if token is not None:
        if address.protocol not in ("https", "http"):
            raise InvalidObjectError(f"a token is for git+https; {address.url} takes none")
        return _checked(address.origin, token, user)
    place, _, secret = os.environ.get("PADRE_GIT_TOKEN", "").strip().rpartition(" ")
    try:
        parts = urlsplit(place.strip())
        origin = parts._replace(netloc=parts.netloc.rpartition("@")[2], path="", query="", fragment="").geturl()
    except ValueError:
        return None
    if not secret or origin != address.origin or address.protocol not in ("https", "http"):
        return None
    return _checked(address.origin, secret, user or parts.username)


def _checked(origin: str, token: str, user: str | None) -> Credentials:
    if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]{1,4096}", token):
        raise InvalidObjectError("a token is 1 to 4096 visible ASCII characters")
    if user is not None and not re.fullmatch(r"[\x21-\x39\x3b-\x7e]{1,255}", user):
        raise InvalidObjectError("a user's name is 1 to 255 visible ASCII characters without a colon")
    return Credentials(origin, token, user or "padre")


def _file(url: str, netloc: str, path: str, rest: str) -> Address:
    if netloc not in ("", "localhost") or not path.startswith("/") or rest or "\0" in unquote(path):
        raise InvalidObjectError(f"{url!r:.200} names no local repository: write git+file:///absolute/path")
    return Address(f"file://{path}", "file")


def _malformed(scheme: str) -> InvalidObjectError:
    # What is malformed may hold a password anywhere.
    return InvalidObjectError(
        f"{scheme[:20]}…: a repository's URL is git+https://host/path or git+ssh://user@host/path, with a port where "
        "needed, and without password, query and fragment"
    )
