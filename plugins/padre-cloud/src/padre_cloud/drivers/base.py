"""What a store asks of a provider; one driver for each way of talking to one."""

from __future__ import annotations

import asyncio
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar, NoReturn, TypeVar

from padre_cloud.places import Place
from padre_core.backends.bytestore import Entry, IfMatch
from padre_core.errors import (
    AccessDeniedError,
    AuthenticationError,
    BackendError,
    ConflictError,
    NotFoundError,
    PadreError,
    UnavailableError,
    UnsupportedError,
)

Answer = TypeVar("Answer")

PART = 8 * 1024 * 1024
"""Bytes of a part of a large upload or download; what is no larger travels in one request."""

MAX_PARTS = 10_000
PARALLEL = 4
"""Parts of one file that are on their way at once, so that memory stays bounded."""


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


class CloudDriver(Driver):
    """A driver over an asynchronous filesystem, by the client that it holds.

    Args:
        further: Options that the filesystem hands on to the library below it.
        without: Options of the filesystem that matter to no store.
    """

    filesystem: ClassVar[type]
    fs: Any

    def __init__(
        self, place: Place, options: dict[str, Any], limits: Limits, *, further: Collection[str] = (),
        without: Collection[str] = (),
    ) -> None:  # fmt: skip
        super().__init__(place, limits)
        self.bucket = place.host.partition("@")[0]  # of Azure an account may follow
        check_options(place, self.filesystem, options, further, {"use_listings_cache", "version_aware", *without})
        self._options = options
        self._prefix = f"{place.folder}/" if place.folder else ""
        self._connect()

    def _connect(self) -> None:
        """Makes the filesystem, which looks for credentials."""
        self.fs = self.filesystem(
            **self._options, use_listings_cache=False, skip_instance_cache=True, asynchronous=False
        )

    def refresh(self) -> None:
        self._connect()

    def run(self, coroutine: Coroutine[Any, Any, Answer], what: str, timeout: float | None = None) -> Answer:
        """Waits for a coroutine on the filesystem's loop.

        Args:
            timeout: Seconds; by default those for one request. Infinite for what limits its requests itself.
        """
        seconds = timeout or self.limits.timeout
        waiting = asyncio.wait_for(coroutine, None if seconds == math.inf else seconds)
        try:
            return asyncio.run_coroutine_threadsafe(waiting, self.fs.loop).result()
        except PadreError:
            raise
        except Exception as error:  # noqa: BLE001  # drivers raise whatever their libraries do
            self.failed(error, what)

    def presign(self, key: str, seconds: int) -> str:
        try:
            return str(self.fs.sign(f"{self.bucket}/{self._prefix}{key}", expiration=seconds))
        except Exception as error:  # noqa: BLE001  # each library has its own way to say so, and nothing was asked
            raise AuthenticationError(
                f"{self.place.url}: these credentials cannot sign URLs ({type(error).__name__}); docs/cloud.md says "
                "which can"
            ) from None

    @abstractmethod
    def failed(self, error: Exception, what: str) -> NoReturn:
        """Raises PaDRe's error for one of the provider's."""

    async def patiently(self, request: Callable[[], Awaitable[Answer]], what: str) -> Answer:
        """Repeats a request that may be made twice, as those for a part of an upload; raises PaDRe's errors."""
        attempt = 0
        while True:
            try:
                return await asyncio.wait_for(request(), self.limits.timeout)
            except Exception as error:  # noqa: BLE001  # what kind of error it is, `failed` knows
                try:
                    self.failed(error, what)
                except UnavailableError:
                    attempt += 1
                    if attempt >= self.limits.attempts:
                        raise
            await asyncio.sleep(pause(attempt))

    async def parts(self, file: BinaryIO, size: int, send: Callable[[int, bytes], Awaitable[Answer]]) -> list[Answer]:
        """Hands each part of a file on, a few at once, with its number from 0; they are read in their order."""
        length = part_size(size)
        turn = asyncio.Semaphore(PARALLEL)

        def read(number: int) -> bytes:
            file.seek(number * length)
            return file.read(length)

        async def one(number: int, data: bytes) -> Answer:
            try:
                return await send(number, data)
            finally:
                turn.release()

        tasks = []
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(-(-size // length)):
                    await turn.acquire()
                    tasks.append(group.create_task(one(number, await asyncio.to_thread(read, number))))
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return [task.result() for task in tasks]


def without_repeats(session: Any) -> Any:
    """Keeps an HTTP session of aiohttp from sending a PUT twice by itself.

    It does so when a kept connection breaks, and hides that the first answer was lost: our own bytes would then look
    like those of another who was faster.
    """
    session._retry_connection = False
    return session


def pause(attempt: int) -> float:
    """Seconds to wait after so many attempts failed."""
    return float(min(0.05 * 4**attempt, 10.0))


def part_size(size: int) -> int:
    """How long the parts of a file are; the same for all who upload it, so that one can go on where another stopped."""
    return max(PART, -(-size // MAX_PARTS))


def fail(what: str, status: int | None, code: str, place: Place) -> NoReturn:
    """Raises the error that an answer over HTTP stands for; the code is the provider's name for it."""
    said = f"{what}: {code or 'refused'}{f' ({status})' if status else ''}"
    if status in (404, 410):
        raise NotFoundError(f"{place.url} has no {what}")
    if status == 412:
        raise ConflictError(f"{what} in {place.url} was changed meanwhile")
    if status == 401:
        raise AuthenticationError(f"{place.url}: {said}; sign in again with the provider's own tools")
    if status == 403:
        raise AccessDeniedError(f"{place.url}: {said}; docs/cloud.md lists the permissions that a store needs")
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
