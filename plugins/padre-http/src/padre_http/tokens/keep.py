"""Places that keep the tokens of a user, by server: the system's keyring, and a file."""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from padre_core.errors import BackendError, InvalidObjectError
from padre_core.objects import canonical
from padre_http.origin import Origin
from padre_http.secret import Secret
from padre_http.tokens.file import TokenFile

logger = logging.getLogger(__name__)

RENEW_AFTER = 0.6
"""After which part of its time a token is exchanged."""

SERVICE = "padre"
"""Under what name the keyring has the tokens."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token that is kept.

    Attributes:
        renew_at: When to exchange it for a new one, long before it ends; None for a token that was made on the server,
            for others may have it too.
    """

    secret: Secret
    renew_at: datetime | None = None

    @classmethod
    def of_session(cls, secret: Secret, expires_at: datetime | None) -> Token:
        """A token that this client got for itself."""
        now = datetime.now(UTC)
        return cls(secret, None if expires_at is None else now + (expires_at - now) * RENEW_AFTER)

    @property
    def due(self) -> bool:
        """Whether it is time to exchange it."""
        return self.renew_at is not None and self.renew_at <= datetime.now(UTC)

    def as_json(self) -> dict[str, Any]:
        """The form that is kept."""
        renew_at = None if self.renew_at is None else canonical.format_time(self.renew_at)
        return {"token": self.secret.reveal(), "renew_at": renew_at}


class Keep(Protocol):
    """A place that keeps tokens."""

    name: str

    def load(self, origin: Origin, *, fresh: bool = False) -> Token | None:
        """The token of a server.

        Args:
            fresh: As it is there now, even if looking takes long.
        """

    def save(self, origin: Origin, token: Token) -> None:
        """Keeps a token for a server, instead of the one before.

        Raises:
            BackendError: It cannot be kept.
        """

    def forget(self, origin: Origin) -> None:
        """Keeps no token for a server any more."""


def token_of(values: Any) -> Token | None:
    """The token in what was kept; None if there is none."""
    if not isinstance(values, dict) or not isinstance(values.get("token"), str):
        return None
    renew_at = values.get("renew_at")
    try:
        return Token(checked(values["token"]), parse_time(renew_at) if isinstance(renew_at, str) else None)
    except ValueError:
        return None


def parse_time(text: str) -> datetime:
    """A time as servers and files have it; without a zone it is in UTC.

    Raises:
        ValueError: It is none.
    """
    time = datetime.fromisoformat(text)
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def checked(text: str) -> Secret:
    """A token that can stand in a header.

    Raises:
        InvalidObjectError: It cannot.
    """
    text = text.strip()
    if not (0 < len(text) <= 4096 and text.isascii() and text.isprintable() and " " not in text):
        raise InvalidObjectError("the token is malformed: one word of printable ASCII characters is expected")
    return Secret(text)


class FileKeep:
    """Tokens in a file that only its owner can read."""

    def __init__(self, file: TokenFile) -> None:
        self._file = file
        self.name = str(file.path)

    def load(self, origin: Origin, *, fresh: bool = False) -> Token | None:
        return token_of(self._file.read().get(origin.url))

    def save(self, origin: Origin, token: Token) -> None:
        self._file.change(lambda entries: {**entries, origin.url: token.as_json()})

    def forget(self, origin: Origin) -> None:
        self._file.change(lambda entries: {url: entry for url, entry in entries.items() if url != origin.url})


class KeyringKeep:
    """Tokens in the system's keyring."""

    name = "the system's keyring"

    def __init__(self, keyring: Any) -> None:
        self._keyring = keyring
        self._known: dict[Origin, Token] = {}

    def load(self, origin: Origin, *, fresh: bool = False) -> Token | None:
        if origin in self._known and not fresh:
            return self._known[origin]
        self._known.pop(origin, None)
        text = self._keyring.get_password(SERVICE, origin.url)
        try:
            token = None if text is None else token_of(json.loads(text))
        except ValueError:
            return None
        if token is not None:
            self._known[origin] = token
        return token

    def save(self, origin: Origin, token: Token) -> None:
        try:
            self._keyring.set_password(SERVICE, origin.url, json.dumps(token.as_json()))
        except Exception as error:  # as above
            raise BackendError(f"{self.name} does not take the token: {type(error).__name__}") from error
        self._known[origin] = token

    def forget(self, origin: Origin) -> None:
        self._known.pop(origin, None)
        if self._keyring.get_password(SERVICE, origin.url) is not None:
            self._keyring.delete_password(SERVICE, origin.url)


def keeps(file: TokenFile) -> list[Keep]:
    """The places that this machine has, the best one first."""
    found = _keyring()
    return [*([] if found is None else [found]), FileKeep(file)]


def _keyring() -> KeyringKeep | None:
    """The keyring, if the package is there and has one that works; asking a locked one may ask the user."""
    if importlib.util.find_spec("keyring") is None:
        return None
    keyring = importlib.import_module("keyring")

    try:
        usable = keyring.get_keyring().priority > 0
        if usable:
            keyring.get_password(SERVICE, "probe")
    except Exception as error:  # noqa: BLE001  # whatever a desktop's keyring raises: there is the file
        logger.debug("the keyring cannot be used: %s", type(error).__name__)
        return None
    return KeyringKeep(keyring) if usable else None
