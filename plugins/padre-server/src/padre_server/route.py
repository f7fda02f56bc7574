"""Routes: what the server answers, who may ask, and what the OpenAPI document says of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from padre_core import PadreError
from padre_http.wire import JSON, MAX_JSON
from padre_server.rights import Scope

if TYPE_CHECKING:
    from padre_server.call import Answer, Call

_PARAMETER = re.compile(r"\{(\w+)\}")


class Sink(Protocol):
    """Takes a body part by part, each call in a thread; either `finish` or `abort` comes last."""

    def write(self, data: bytes) -> None:
        """Takes the next part."""

    def finish(self) -> Answer:
        """The body is complete."""

    def abort(self) -> None:
        """The body ended early, or was refused."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter in the query or a header.

    Attributes:
        schema: JSON schema of its text.
    """

    name: str
    text: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    header: bool = False
    required: bool = False


@dataclass(frozen=True, slots=True)
class Body:
    """What a request carries.

    Attributes:
        media_types: Those that are taken; nothing else is read.
        streamed: Passed on part by part, and never in memory as a whole.
        empty: It may be left out.
    """

    media_types: tuple[str, ...] = (JSON,)
    limit: int = MAX_JSON
    schema: Mapping[str, Any] = field(default_factory=dict)
    example: Any = None
    streamed: bool = False
    empty: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is no error."""

    text: str
    media_type: str | None = JSON
    schema: Mapping[str, Any] = field(default_factory=dict)
    example: Any = None
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """One method on one path.

    Attributes:
        scope: What the caller must be allowed to do somewhere; the handler checks where.
        whole_store: The caller must be allowed to do it everywhere.
        summary: One line for the documentation.
        answers: What comes back if it works, by status.
        errors: Statuses of this route's own errors, beside those that any route has.
        handler: Called in a thread; one with a streamed body returns a `Sink`.
    """

    method: str
    path: str
    scope: Scope | None
    summary: str
    handler: Callable[[Call], Any]
    answers: Mapping[int, Reply]
    errors: tuple[int, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    whole_store: bool = False

    @property
    def name(self) -> str:
        """What logs, metrics and the audit call it."""
        return f"{self.method} {self.path}"

    @property
    def path_parameters(self) -> list[str]:
        """The names in the path."""
        return _PARAMETER.findall(self.path)


class RouteTableError(PadreError):
    """The server was built wrongly, and does not start."""


def check_table(routes: Iterable[Route]) -> None:
    """Checks that each route says who may use it, and that none is there twice.

    Raises:
        RouteTableError: It is not so.
    """
    seen: set[str] = set()
    for route in routes:
        if not isinstance(route.scope, Scope):
            raise RouteTableError(f"{route.name} declares no scope, so nobody could say who may use it")
        if route.name in seen:
            raise RouteTableError(f"{route.name} is there twice")
        seen.add(route.name)
