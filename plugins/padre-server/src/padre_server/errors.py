"""Errors that only a server has, each with its HTTP status."""

from __future__ import annotations

import errno
from typing import ClassVar

from padre_core import AccessDeniedError, BackendError, InvalidObjectError, NotFoundError, PadreError, UnavailableError
from padre_core import UnsupportedError as _UnsupportedError
from padre_http.wire.errors import Answer, error_to_answer


class TooLargeError(InvalidObjectError):
    """The body, or what it adds to, is too large."""

    status: ClassVar[int] = 413


class TooLongUrlError(InvalidObjectError):
    """The URL is too long."""

    status: ClassVar[int] = 414


class MediaTypeError(InvalidObjectError):
    """The body is of a type that the route does not take."""

    status: ClassVar[int] = 415


class RangeError(InvalidObjectError):
    """The range lies outside of the blob."""

    status: ClassVar[int] = 416


class SlowClientError(UnavailableError):
    """The body takes too long."""

    status: ClassVar[int] = 408


class TooManyError(UnavailableError):
    """The caller has too much under way."""

    status: ClassVar[int] = 429


class MisdirectedError(AccessDeniedError):
    """The server is not called by a name of its own, or by a page of another site."""

    status: ClassVar[int] = 403


class NoRouteError(NotFoundError):
    """There is nothing at this address."""

    status: ClassVar[int] = 404


class MethodError(_UnsupportedError):
    """The address takes other methods."""

    status: ClassVar[int] = 405

    def __init__(self, message: str, allowed: str) -> None:
        super().__init__(message)
        self.allowed = allowed


class DiskFullError(BackendError):
    """There is no room for more; what is stored stays readable."""

    status: ClassVar[int] = 507


RETRY_SECONDS = {429: "5", 503: "1", 507: "60"}


def answer_of(error: PadreError, *, conditional: bool, message: str) -> Answer:
    """An error as an HTTP answer.

    Args:
        conditional: The request named the version that it follows.
        message: What the client is told.
    """
    status = getattr(error, "status", None)
    if status is None and _is_full(error):
        status = 507
    answer = error_to_answer(_told(error, message), conditional=conditional, status=status)
    headers: dict[str, str] = dict(answer.headers)
    if answer.status in RETRY_SECONDS:
        headers["Retry-After"] = str(getattr(error, "seconds", RETRY_SECONDS[answer.status]))
    if isinstance(error, MethodError):
        headers["Allow"] = error.allowed
    return Answer(answer.status, answer.body, headers)


def _told(error: PadreError, message: str) -> PadreError:
    """The same error with another message."""
    if message == str(error):
        return error
    told = error.__class__.__new__(error.__class__)
    told.__dict__.update(error.__dict__)
    told.args = (message,)
    return told


def _is_full(error: BaseException | None) -> bool:
    """Whether a full disk is what stands behind an error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__
    return False
