"""What a store asks of a provider; one driver for each way of talking to one."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn

from padre_cloud.places import Place
from padre_core.backends.bytestore import Entry, IfMatch
from padre_core.errors import (
    AccessDeniedError,
    AuthenticationError,
    BackendError,
    ConflictError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)

PART = 8 * 1024 * 1024
"""Bytes of a part of a large upload or download; what is no larger travels in one request."""


class BusyError(UnavailableError):
    """Refused for now, and certainly not done."""


class ExpiredError(AuthenticationError):
    """The credentials were valid once; newer ones may be where they came from."""


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of a value, its version, and how many bytes it has in all."""

    data: bytes
    version: str
    size: int


@dataclass(frozen=True)
class Limits:
    """How long and how often to try.

    Attributes:
        timeout: Seconds for one request.
        attempts: How often a request is made before the store counts as unavailable.
        concurrency: Requests on their way at once.
    """

    timeout: float = 60.0
    attempts: int = 5
    concurrency: int = 16


class Driver(ABC):
    """Makes single requests of a provider, and turns its errors into PaDRe's; nothing is tried twice here.

    All methods may be called from several threads at once.
    """

    conditional: bool = False
    """Whether the provider may have conditional writes and deletes; probes tell whether it does."""

    versions_follow_bytes: bool = False
    """Whether the same bytes written again may have the same version."""

    presigns: bool = False
    deletes_many: bool = False
    rereads: bool = False
    """Whether `upload` reads a file from its start to its end, and begins again at its start if at all."""

    persistent: bool = True

    def __init__(self, place: Place, limits: Limits) -> None:
        self.place, self.limits = place, limits

    @property
    def endpoint(self) -> str:
        """Who answers, as far as the options say; what was found out about one holds for it alone."""
        return ""

    @abstractmethod
    def read(self, key: str, start: int = 0, end: int | None = None, *, version: str | None = None) -> Part:
        """The bytes of a key from `start` up to `end`.

        Raises:
            ConflictError: `version` is no longer what is there.
        """

    @abstractmethod
    def write(self, key: str, data: bytes, if_match: IfMatch = None) -> str:
        """Stores bytes and returns their version; `if_match` is obeyed if `conditional` says so, else ignored."""

    @abstractmethod
    def delete(self, key: str, version: str | None = None) -> None:
        """Removes a key; a missing one is no error.

        Args:
            version: Only if this is what is there; only given where `conditional` says so.

        Raises:
            ConflictError: It is not.
        """

    @abstractmethod
    def list(self, prefix: str, after: str) -> Iterator[Entry]:
        """Keys in byte order."""

    @abstractmethod
    def stat(self, key: str) -> Entry:
        """Version and size of a key."""

    @abstractmethod
    def upload(self, key: str, file: BinaryIO, size: int) -> None:
        """Stores a large file whose name follows from its bytes; called again, it goes on where it stopped."""

    def touch(self, key: str) -> bool:
        """Makes a key as young as if it were written now, under another version where versions tell anything.

        False if only writing it again does that.
        """
        return False

    def delete_many(self, keys: Sequence[str]) -> None:
        """Removes any number of keys by few requests, where `deletes_many` says so."""
        raise UnsupportedError(f"{self.place.url} deletes one key at a time (impossible)")

    def presign(self, key: str, seconds: int) -> str:
        """A URL that gives the bytes of a key to whoever has it, for a while."""
        raise UnsupportedError(f"{self.place.url} has no signed URLs (impossible)")

    def tidy(self, seconds: float) -> int:
        """Removes what uploads left behind that did not end and are older than this, and returns how many."""
        return 0

    def refresh(self) -> None:
        """Looks for newer credentials."""
        return

    def close(self) -> None:
        """Frees what is held."""
        return


def pause(attempt: int) -> float:
    """Seconds to wait after so many attempts failed."""
    return float(min(0.05 * 4**attempt, 10.0))


def fail(what: str, status: int | None, code: str, place: Place, message: str = "") -> NoReturn:
    """Raises the error that an answer over HTTP stands for.

    Args:
        code: The provider's name for it.
        message: What the provider says to people.
    """
    said = f"{what}: {code or 'refused'}{f' ({status})' if status else ''}"
    if message:
        said += f", {''.join(sign if sign.isprintable() else ' ' for sign in message):.300}"
    if status in (404, 410):
        raise NotFoundError(f"{place.url} has no {what}")
    if status == 412:
        raise ConflictError(f"{what} in {place.url} was changed meanwhile")
    if status == 401:
        raise AuthenticationError(f"{place.url}: {said}; sign in again with the provider's own tools")
    if status == 403:
        raise AccessDeniedError(f"{place.url}: {said}; its page in the docs lists the permissions that a store needs")
    if status is None or status in (408, 429) or status >= 500:
        raise UnavailableError(f"{place.url}: {said}; try again")
    raise BackendError(f"{place.url}: {said}")


def no_bucket(place: Place) -> NoReturn:
    """Raises the error for a bucket that is not there, which is not the same as a key that is not."""
    raise BackendError(f"{place.url}: there is no {place.host}: make it first with the provider's own tools")


def check_options(
    place: Place, cls: type, options: Mapping[str, Any], further: Collection[str] = (), without: Collection[str] = ()
) -> None:
    """Refuses an option that a filesystem does not take, for most swallow what they do not know.

    Args:
        further: What it hands on to the library below it.
        without: What would have no effect, for this plugin decides it itself.
    """
    if idle := sorted(options.keys() & set(without)):
        raise UnsupportedError(
            f"{place.url}: the option {idle[0]!r:.80} has no effect on a store; leave it out (impossible)"
        )
    makers = [vars(base)["__init__"] for base in cls.__mro__[:-1] if "__init__" in vars(base)]
    known = {name for maker in makers for name in inspect.signature(maker).parameters}
    known = (known | set(further)) - {"self", "args", "kwargs", "loop", "asynchronous", *without}
    if unknown := sorted(options.keys() - known):
        raise UnsupportedError(f"{place.url}: unknown option {unknown[0]!r:.80} (impossible)")
