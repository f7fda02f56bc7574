"""Errors as JSON, so that the same ones come out on the other side: `{"error", "message", "details"}`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, NotRequired

from pydantic import Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from padre_core import errors
from padre_core.errors import BackendError, ConflictError, PadreError, UnavailableError
from padre_core.objects import canonical
from padre_http.wire.shapes import LENIENT, parse

MAX_MESSAGE = 10_000
"""How many characters of a message travel."""

RETRY_AFTER = 1
"""After how many seconds to come again when nothing better is known."""

_STATUS: tuple[tuple[type[PadreError], int], ...] = (
    (errors.NotFoundError, 404),
    (errors.ConflictError, 409),
    (errors.InvalidObjectError, 400),
    (errors.AuthenticationError, 401),
    (errors.AccessDeniedError, 403),
    (errors.UnsupportedError, 501),
    (errors.UnavailableError, 503),
    (errors.PadreError, 500),
)

_CLASSES: dict[str, type[PadreError]] = {
    name: value for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, PadreError)
}

_BY_STATUS: dict[int, type[PadreError]] = {
    400: errors.InvalidObjectError,
    401: errors.AuthenticationError,
    403: errors.AccessDeniedError,
    404: errors.NotFoundError,
    405: errors.UnsupportedError,
    408: errors.UnavailableError,
    409: errors.ConflictError,
    411: errors.InvalidObjectError,
    412: errors.ConflictError,
    413: errors.InvalidObjectError,
    414: errors.InvalidObjectError,
    415: errors.InvalidObjectError,
    416: errors.InvalidObjectError,
    422: errors.InvalidObjectError,
    429: errors.UnavailableError,
    431: errors.InvalidObjectError,
    501: errors.UnsupportedError,
    502: errors.UnavailableError,
    503: errors.UnavailableError,
    504: errors.UnavailableError,
}
"""What a status means by itself, as it may come from a proxy."""


@with_config(LENIENT)
class _Details(TypedDict):
    next: NotRequired[Annotated[int, Field(ge=0, lt=2**63)]]


@with_config(LENIENT)
class _Error(TypedDict):
    error: str
    message: str
    details: NotRequired[_Details]


_ERROR = TypeAdapter(_Error)


@dataclass(frozen=True, slots=True)
class Answer:
    """An error as an HTTP answer with a JSON body."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def encode_error(error: PadreError) -> bytes:
    """An error as JSON; its class is the nearest one that core has."""
    name = next(kind.__name__ for kind in type(error).__mro__ if _CLASSES.get(kind.__name__) is kind)
    data: dict[str, Any] = {"error": name, "message": _text(str(error))}
    if isinstance(error, ConflictError) and error.next is not None:
        data["details"] = {"next": error.next}
    return canonical.to_json(data)


def decode_error(data: bytes) -> PadreError:
    """The error of a JSON text; a class that is not known here is a `BackendError`.

    Raises:
        InvalidObjectError: It is no error.
    """
    found = parse(_ERROR, data, "error")
    kind = _CLASSES.get(found["error"], BackendError)
    message = found["message"][:MAX_MESSAGE]
    if issubclass(kind, ConflictError):
        return kind(message, next=found.get("details", {}).get("next"))
    return kind(message)


def is_error(data: bytes) -> bool:
    """Whether an element of a list of results is an error."""
    return data.startswith(b'{"error":')


def error_to_answer(error: PadreError, *, conditional: bool = False, status: int | None = None) -> Answer:
    """An error as an HTTP answer.

    Args:
        conditional: The request named a version, so that a conflict is a failed precondition.
        status: One that says more than the error's own, such as 413, 429 or 507.
    """
    if status is None:
        status = next(status for kind, status in _STATUS if isinstance(error, kind))
        if status == 409 and conditional:
            status = 412
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status in (429, 503):
        headers["Retry-After"] = str(RETRY_AFTER)
    return Answer(status, encode_error(error), headers)


def error_from_answer(status: int, body: bytes, where: str) -> PadreError:
    """The error of an HTTP answer; by the status alone if the body is not from PaDRe.

    Args:
        where: What to call the server, without anything secret.
    """
    try:
        return decode_error(body)
    except PadreError:
        kind = _BY_STATUS.get(status, UnavailableError if status >= 502 else BackendError)
        return kind(f"{where} answered {status} and not as a PaDRe server does: is the address right?")


def _text(message: str) -> str:
    return message.encode(errors="backslashreplace").decode()[:MAX_MESSAGE]
