"""A request as handlers get it, and what they answer."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from padre_core import AccessDeniedError, InvalidObjectError
from padre_core.services import Records
from padre_http.wire import JSON
from padre_server.access import Access
from padre_server.rights import Caller, Scope
from padre_server.route import Route

if TYPE_CHECKING:
    from padre_server.state import State

MAX_PARAMETERS = 50
FIRST = 25
"""How many objects are read at first where many are asked for, before their size is known; then so many times more."""

GROWTH = 20


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back to the client.

    Attributes:
        body: Bytes, or parts of them, each of which is made in a thread.
        length: Of a body in parts, if it is known.
    """

    body: bytes | Iterator[bytes] = b""
    status: int = 200
    media_type: str | None = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None


@dataclass(frozen=True)
class Call:
    """One request, whose caller is known and may use the route.

    Attributes:
        path: The parameters in the path, decoded once.
        client: The address that it came from.
        body: All of it; empty where the route takes it part by part.
    """

    state: State
    route: Route
    caller: Caller
    path: Mapping[str, str]
    query_string: str
    headers: Mapping[str, str]
    client: str
    body: bytes = b""

    @functools.cached_property
    def query(self) -> Mapping[str, str]:
        """The parameters in the query.

        Raises:
            InvalidObjectError: One is unknown, comes twice, or is not UTF-8.
        """
        known = {parameter.name for parameter in self.route.parameters if not parameter.header}
        try:
            pairs = parse_qsl(self.query_string, keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
        except ValueError:
            raise InvalidObjectError("the query is malformed") from None
        found = dict(pairs)
        if len(found) < len(pairs) or not found.keys() <= known:
            expected = ", ".join(sorted(known)) or "none"
            raise InvalidObjectError(f"each parameter is given once, and they are: {expected}")
        return found

    @functools.cached_property
    def records(self) -> Records:
        """The store through the server's extensions, in the name of the caller."""
        workspace = self.state.workspace
        return Records(workspace.backend, workspace.hooks, self.caller.name)

    @functools.cached_property
    def access(self) -> Access:
        """What the caller may see and change."""
        in_scope = self.records.in_scope if self.state.workspace.hooks.scoped else None
        return Access(self.caller, self.state.backend, self.state.visibility, in_scope)

    def number(self, name: str, default: int, *, least: int = 0, most: int = 2**62) -> int:
        """A whole number of the query.

        Raises:
            InvalidObjectError: It is none, or out of its range.
        """
        text = self.query.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most):
            raise InvalidObjectError(f"{name}: expected a whole number from {least} to {most}")
        return int(text)

    def allow(self, scope: Scope) -> None:
        """Checks that the caller may do something somewhere.

        Raises:
            AccessDeniedError: He may not.
        """
        if not self.caller.has(scope):
            raise AccessDeniedError(f"this needs a token with the scope {scope}")

    def has_already(self, tag: str) -> bool:
        """Whether `If-None-Match` names what is there by its ETag; a proxy that compresses makes those weak."""
        named = [part.strip().removeprefix("W/") for part in self.headers.get("if-none-match", "").split(",")]
        return tag in named or "*" in named

    @property
    def administers(self) -> bool:
        """Whether the caller is shown what the store notes for itself."""
        return self.caller.everywhere(Scope.ADMIN)


def started(parts: Iterator[bytes]) -> Iterator[bytes]:
    """The same parts, of which the first is made now, so that an error is answered as one."""
    first = next(parts, b"")
    return itertools.chain([first], parts)
