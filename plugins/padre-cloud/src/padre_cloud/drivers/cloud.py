"""Drivers over the asynchronous filesystems of fsspec, by the clients that these hold."""

from __future__ import annotations

import asyncio
import math
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import Any, BinaryIO, ClassVar, NoReturn, TypeVar

from padre_cloud.drivers.base import PART, Driver, Limits, check_options, pause
from padre_cloud.places import Place
from padre_core.errors import AuthenticationError, PadreError, UnavailableError

Answer = TypeVar("Answer")

MAX_PARTS = 10_000
PARALLEL = 4
"""Parts of one file that are on their way at once, so that memory stays bounded."""


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


def part_size(size: int) -> int:
    """How long the parts of a file are; the same for all who upload it, so that one can go on where another stopped."""
    return max(PART, -(-size // MAX_PARTS))
