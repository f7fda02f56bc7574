"""The token of a server, from wherever it comes first.

In this order: the option `token` (a text, or a callable that returns one), the option `token_file` (a file that holds
the token alone, read again when it changes), `PADRE_TOKEN`, the keyring, the user's file of tokens. What a keyring or
the user's file keeps belongs to the server that it is kept for; so does what an option gives, for it came with the
server's URL. `PADRE_TOKEN` says itself which server it is for, as in `https://lab.example.org padre_…`, or belongs to
the server that `PADRE_URL` names: a store that a stranger's `padre.toml` names must not be shown it.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

from padre_core.errors import AuthenticationError, InvalidObjectError, NotFoundError
from padre_http.origin import Origin, parse_origin
from padre_http.secret import Secret
from padre_http.tokens.file import TokenFile, read_private
from padre_http.tokens.keep import Keep, Token, checked, keeps


class Source(ABC):
    """Where a client gets its token from. Safe for threads."""

    @property
    def keep(self) -> Keep | None:
        """Where a new token goes; None if the source is not PaDRe's to write."""
        return None

    @abstractmethod
    def token(self) -> Token | None:
        """The token now, at little cost: it is asked for before each call."""

    def renew(self, refused: Secret) -> Token | None:
        """The token after one was refused; the same again, or None, if there is no other."""
        return self.token()


class Given(Source):
    """One token, and no other."""

    def __init__(self, token: Token) -> None:
        self._token = token

    def token(self) -> Token:
        return self._token


class Called(Source):
    """A callable, asked at first and whenever a token was refused."""

    def __init__(self, call: Callable[[], str | Secret]) -> None:
        self._call = call
        self._lock = threading.Lock()
        self._token: Token | None = None

    def token(self) -> Token:
        with self._lock:
            if self._token is None:
                self._token = Token(_secret(self._call()))
            return self._token

    def renew(self, refused: Secret) -> Token:
        with self._lock:
            if self._token is not None and self._token.secret == refused:
                self._token = None
        return self.token()


class FromFile(Source):
    """A file that holds one token, such as one that the system puts into a container."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._token: Token | None = None

    def token(self) -> Token | None:
        with self._lock:
            try:
                status = os.stat(self._path)
                mark = status.st_mtime_ns, status.st_size, status.st_ino
                if mark != self._seen:
                    text, status = read_private(self._path)
                    self._token, self._seen = Token(checked(text)), mark
            except FileNotFoundError:
                raise NotFoundError(f"there is no token file {self._path}") from None
            return self._token


class Kept(Source):
    """What `padre login` keeps for a server."""

    def __init__(self, keep: Keep, origin: Origin) -> None:
        self._keep, self._origin = keep, origin

    @property
    def keep(self) -> Keep:
        return self._keep

    def token(self) -> Token | None:
        return self._keep.load(self._origin)

    def renew(self, refused: Secret) -> Token | None:
        return self._keep.load(self._origin, fresh=True)


class Nothing(Source):
    """No token: the public part of a server can be asked."""

    def token(self) -> None:
        return None


def source_for(origin: Origin, token: Any = None, token_file: Any = None, *, file: TokenFile) -> Source:
    """Where the token for a server comes from, by the options, the environment and what is kept.

    Raises:
        InvalidObjectError: An option is malformed.
    """
    if token is not None:
        return Called(token) if callable(token) else Given(Token(_secret(token)))
    if token_file is not None:
        return FromFile(Path(os.fspath(token_file)))
    secret = _from_environment(origin)
    if secret is not None:
        return Given(Token(secret))
    found = keeps(file)
    for keep in found:
        if keep.load(origin) is not None:
            return Kept(keep, origin)
    return Nothing()


def signed_out(origin: Origin) -> AuthenticationError:
    """What to say to somebody who has no token for a server."""
    unused = ""
    if os.environ.get("PADRE_TOKEN"):
        unused = f"; PADRE_TOKEN is not for it: write PADRE_TOKEN='{origin.url} padre_…', or set PADRE_URL to it"
    return AuthenticationError(f"{origin.url}: sign in with `padre login {origin.url}`{unused}")


def _from_environment(origin: Origin) -> Secret | None:
    text = os.environ.get("PADRE_TOKEN", "").strip()
    place, _, token = text.rpartition(" ")
    if not token:
        return None
    place = place.strip() or os.environ.get("PADRE_URL", "")
    try:
        return checked(token) if parse_origin(place) == origin else None
    except InvalidObjectError:
        return None


def _secret(token: Any) -> Secret:
    if isinstance(token, Secret):
        return checked(token.reveal())
    if isinstance(token, str):
        return checked(token)
    raise InvalidObjectError(f"a token is text, not {type(token).__name__}")
