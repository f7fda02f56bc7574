"""Requests to one server: sent, repeated while that may help, and read within their time."""

from __future__ import annotations

import http.client
import random
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Final, Self, TypeVar

from padre_core.errors import BackendError, PadreError, UnavailableError
from padre_http.connection import Connection, Deadline, Pool
from padre_http.origin import Origin
from padre_http.wire import MAX_JSON, errors

BACKOFF_SECONDS: Final = 0.2
MAX_BACKOFF_SECONDS: Final = 5.0

RESUMES: Final = 5
"""How often in a row a transfer goes on without having come any further."""

_RETRIED = frozenset({408, 429, 502, 503, 504})
_CHUNK = 1024 * 1024

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered; the names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked; `target` is the path as the server sees it."""

    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


class Transport:
    """The way to one server. Safe for threads."""

    def __init__(self, origin: Origin, *, ca_file: str | None = None) -> None:
        self.origin, self.url = origin, origin.url
        try:
            self._pool = Pool(origin, ca_file=ca_file)
        except OSError as error:
            raise BackendError(f"{ca_file}: no certificates can be read ({error.strerror})") from error

    def once(self, request: Request, deadline: Deadline, limit: int = MAX_JSON, *, fresh: bool = False) -> Answer:
        """Asks one time, and reads the answer whole.

        Args:
            fresh: On a connection of its own, so that the request surely leaves once only.

        Raises:
            OSError: The connection broke, or the time is over.
            http.client.HTTPException: What came back is not HTTP.
        """
        return self._whole(*self._head(request, deadline, fresh=fresh), limit)

    def open(self, request: Request, deadline: Deadline) -> Streamed | Answer:
        """Asks one time; if that works, the body is still to be read. Raises as `once`."""
        connection, response = self._head(request, deadline)
        if response.status in (200, 206):
            return Streamed(self, connection, response, deadline)
        return self._whole(connection, response, MAX_JSON)

    def close(self) -> None:
        """Closes the idle connections."""
        self._pool.close()

    def repeated(self, deadline: Deadline, attempts: int, once: Callable[[], Value]) -> Value:
        """Calls again while the server cannot be reached or is busy, and time is left."""
        for attempt in range(1, attempts + 1):
            pause = random.uniform(0.3, 1) * min(BACKOFF_SECONDS * 2 ** (attempt - 1), MAX_BACKOFF_SECONDS)  # noqa: S311
            try:
                found = once()
            except (OSError, http.client.HTTPException) as error:
                if isinstance(error, PadreError):
                    raise
                failure = self.broken(error)
                if attempt == attempts or not isinstance(failure, UnavailableError):
                    raise failure from error
            else:
                if attempt == attempts or not (isinstance(found, Answer) and _is_passing(found)):
                    return found
                failure = self.refused(found)
                pause = max(pause, _retry_after(found))
            try:
                in_time = pause < deadline.left
            except TimeoutError:
                in_time = False
            if not in_time:
                raise failure
            time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _head(
        self, request: Request, deadline: Deadline, *, fresh: bool = False
    ) -> tuple[Connection, http.client.HTTPResponse]:
        """Sends a request and reads the head of the answer."""
        connection, used = self._pool.take(deadline, fresh=fresh)
        while True:
            try:
                response = connection.exchange(deadline, request.method, request.target, request.headers, request.body)
                return connection, response
            except TimeoutError:
                connection.close()
                raise
            except (ConnectionError, ssl.SSLError, http.client.HTTPException):
                connection.close()
                if not used:
                    raise
                connection, used = self._pool.take(deadline, fresh=True)  # an idle one ends at any time
            except BaseException:
                connection.close()
                raise

    def _whole(self, connection: Connection, response: http.client.HTTPResponse, limit: int) -> Answer:
        """Reads an answer to its end and gives the connection back."""
        try:
            length = response.length
            if length is not None and length > limit:
                raise BackendError(f"{self.url} answered {length} bytes, where at most {limit} were expected")
            parts, size = [], 0
            while part := response.read(min(_CHUNK, limit + 1 - size)):
                parts.append(part)
                size += len(part)
                if size > limit:
                    raise BackendError(f"{self.url} answered more than {limit} bytes")
            headers = {name.lower(): value for name, value in response.getheaders()}
            if length is not None and size < length:
                raise http.client.IncompleteRead(b"", length - size)
        except ValueError as error:  # of http.client, where the size of a chunk is negative
            connection.close()
            raise http.client.IncompleteRead(b"") from error
        except BaseException:
            connection.close()
            raise
        if response.will_close:
            connection.close()
        else:
            self._pool.give_back(connection)
        return Answer(response.status, headers, b"".join(parts))

    def refused(self, answer: Answer) -> PadreError:
        """What an answer says is wrong."""
        if 300 <= answer.status < 400:
            return BackendError(f"{self.url} sends its callers elsewhere ({answer.status}): use that address itself")
        return errors.error_from_answer(answer.status, answer.body, self.url)

    def broken(self, error: OSError | http.client.HTTPException) -> PadreError:
        """What to say of a connection that failed."""
        if isinstance(error, PadreError):
            return error
        if isinstance(error, ssl.SSLCertVerificationError):
            return BackendError(f"{self.url} cannot prove who it is: {error.verify_message}")
        if isinstance(error, TimeoutError):
            return UnavailableError(f"{self.url} did not answer in time")
        reason = getattr(error, "strerror", None) or type(error).__name__
        return UnavailableError(f"{self.url} cannot be reached: {reason}")

    def give_back(self, connection: Connection) -> None:
        """Takes back a connection whose answer was read to its end."""
        self._pool.give_back(connection)


class Resumes:
    """How often a transfer that broke goes on: a few times in a row, and no longer than one call would take."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.renew()

    def renew(self) -> None:
        """Something has arrived."""
        self._left, self._end = RESUMES, time.monotonic() + self._seconds

    def more(self) -> bool:
        """Whether it goes on once more."""
        self._left -= 1
        return self._left >= 0 and time.monotonic() < self._end


class Streamed:
    """A body that is read part by part; close it when done. Not safe for threads.

    Attributes:
        length: In bytes, if the server says so.
    """

    def __init__(
        self, transport: Transport, connection: Connection, response: http.client.HTTPResponse, deadline: Deadline
    ) -> None:
        self.status, self.length = response.status, response.length
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self._transport, self._connection, self._response, self._deadline = transport, connection, response, deadline
        self._ended = False

    def read(self, size: int) -> bytes:
        """As many bytes; fewer only at the end.

        Raises:
            UnavailableError: The connection broke, or the part did not come in time.
        """
        self._deadline.extend()
        try:
            data = self._response.read(size)
            if len(data) < size and self._response.length:
                raise http.client.IncompleteRead(b"")
        except (OSError, ValueError, http.client.HTTPException) as error:
            self.close()
            if isinstance(error, ValueError):
                error = ConnectionError("closed")
            raise self._transport.broken(error) from error
        if len(data) < size:
            self._ended = True
        return data

    def readline(self) -> bytes:
        """The next line, of at most 64 KiB, with its line feed; empty at the end."""
        self._deadline.extend()
        try:
            line = self._response.readline(65_536)
        except (OSError, ValueError, http.client.HTTPException) as error:
            self.close()
            if isinstance(error, ValueError):
                error = http.client.IncompleteRead(b"")
            raise self._transport.broken(error) from error
        self._ended = not line
        return line

    def close(self) -> None:
        """Lets go of the connection, which is used again if the body was read to its end."""
        connection, self._connection = self._connection, None  # type: ignore[assignment]  # nobody reads it again
        if connection is None:
            return
        if (self._ended or self._response.isclosed()) and not self._response.will_close:
            self._transport.give_back(connection)
            return
        connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _is_passing(answer: Answer) -> bool:
    """Whether an answer says that the same call may succeed later."""
    return answer.status in _RETRIED or (answer.status == 500 and not errors.is_error(answer.body))


def _retry_after(answer: Answer) -> float:
    """How many seconds the server asks to wait."""
    text = answer.headers.get("retry-after", "")
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):  # a zone so far away that there is no such time
        return 0.0
