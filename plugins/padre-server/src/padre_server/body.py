"""Reading request bodies: bounded in size and in time."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable

import anyio
from starlette.types import Receive

from padre_core import InvalidObjectError, UnavailableError
from padre_server.errors import SlowClientError, TooLargeError
from padre_server.settings import Limits

PART = 1024 * 1024
_DRAIN = 256 * 1024
_DRAIN_SECONDS = 1.0


class Reader:
    """The body of one request.

    Attributes:
        expects: The client announced a body, the end of which has not been read.
    """

    def __init__(self, receive: Receive, limits: Limits) -> None:
        self._receive, self._limits = receive, limits
        self.expects = False
        self._waits = False
        self._length: int | None = None

    def begin(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        """Takes note of what the headers say of a body.

        Raises:
            InvalidObjectError: Its length is none.
        """
        for name, value in raw:
            if name == b"content-length":
                self._length = int(value) if value.isdigit() and len(value) < 20 else -1
                self.expects = self._length != 0
            elif name == b"transfer-encoding":
                self.expects = True
            elif name == b"expect":
                self._waits = True
        if self._length == -1:
            raise InvalidObjectError("the length of the body is no number")

    def check_length(self, limit: int) -> None:
        """Checks the announced length.

        Raises:
            TooLargeError: It is beyond what the route takes.
        """
        if self._length is not None and self._length > limit:
            raise TooLargeError(f"the body has {self._length} bytes; at most {limit} are read")

    async def parts(self, limit: int, *, size: int = PART) -> AsyncIterator[bytes]:
        """The body in parts of about a size.

        Raises:
            TooLargeError: There is more of it than the route takes.
            SlowClientError: It comes too slowly.
            UnavailableError: The client went away.
        """
        started, total = time.monotonic(), 0
        waiting: list[bytes] = []
        held = 0
        while self.expects:
            data = await self._next(started, total)
            total += len(data)
            if total > limit:
                raise TooLargeError(f"the body is too large: at most {limit} bytes are read")
            waiting.append(data)
            held += len(data)
            if held >= size:
                yield b"".join(waiting)
                waiting, held = [], 0
        if held:
            yield b"".join(waiting)

    async def _next(self, started: float, size: int) -> bytes:
        limits = self._limits
        left = started + limits.body_seconds + size / limits.body_rate - time.monotonic()
        with anyio.move_on_after(max(0, min(left, limits.body_seconds))):
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.expects = False
                raise UnavailableError("the client went away before the end of the body")
            self.expects = message.get("more_body", False)
            data: bytes = message.get("body", b"")
            return data
        raise SlowClientError("the body comes too slowly")

    async def drain(self) -> bool:
        """Reads a short body that nobody wants to its end, so that the client sees the answer; tells if it was."""
        size = 0
        if self._waits:  # to read on would ask the client for the body
            return False
        with anyio.move_on_after(_DRAIN_SECONDS):
            while self.expects and size < _DRAIN:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    return False
                size += len(message.get("body", b""))
                self.expects = message.get("more_body", False)
        return not self.expects
