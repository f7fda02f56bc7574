"""Queries and the change feed as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from padre_core import query as language
from padre_core.backends.backend import Change, Changes
from padre_core.errors import InvalidObjectError
from padre_core.objects import canonical
from padre_core.query.cursor import MAX_CURSOR
from padre_core.query.model import Deleted, Query
from padre_http.wire.shapes import LENIENT, STRICT, Id, check, parse

MAX_PAGE = 1000
"""How many records a page holds at most, and how many changes; a greater limit means this one."""

Cursor = Annotated[str, Field(max_length=MAX_CURSOR)]


@with_config(STRICT)
class _Search(TypedDict, total=False):
    where: str
    within: Id
    order_by: str
    limit: Annotated[int, Field(ge=1, lt=2**31)]
    cursor: Cursor
    deleted: Literal["exclude", "only", "include"]


@with_config(LENIENT)
class _Count(TypedDict):
    count: Annotated[int, Field(ge=0, lt=2**63)]


@with_config(LENIENT)
class _Refreshed(TypedDict):
    changed: Annotated[int, Field(ge=0, lt=2**63)]


@with_config(LENIENT)
class _Changes(TypedDict):
    entries: Annotated[list[tuple[str, str, str]], Field(max_length=MAX_PAGE)]
    cursor: Cursor
    more: NotRequired[bool]
    reset: NotRequired[bool]


_SEARCH = TypeAdapter(_Search)
_COUNT = TypeAdapter(_Count)
_DONE: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])
_REFRESHED = TypeAdapter(_Refreshed)
_CHANGES = TypeAdapter(_Changes)


def encode_query(query: Query) -> bytes:
    """A query, with its filter and order as text."""
    data: dict[str, Any] = {"limit": query.limit, "deleted": query.deleted.value}
    if query.where is not None:
        data["where"] = language.unparse(query.where)
    if query.order:
        data["order_by"] = language.unparse_order(query.order)
    if query.within is not None:
        data["within"] = query.within
    if query.cursor is not None:
        data["cursor"] = query.cursor
    return canonical.to_json(data)


def decode_query(kind: str, data: bytes) -> Query:
    """The query of a JSON text, for objects of a kind.

    Raises:
        InvalidObjectError: It is none, or its filter or order names what the kind does not have.
    """
    return _query(kind, parse(_SEARCH, data or b"{}", "query"))


def query_of(kind: str, parameters: Mapping[str, str]) -> Query:
    """The query of a URL's parameters, each of which is given once.

    Raises:
        InvalidObjectError: As for `decode_query`.
    """
    values: dict[str, Any] = dict(parameters)
    if "limit" in values:
        values["limit"] = limit_of(parameters)
    return _query(kind, check(_SEARCH, values, "query"))


def limit_of(parameters: Mapping[str, str]) -> int:
    """The parameter `limit` of a URL.

    Raises:
        InvalidObjectError: It is no number from 1 on.
    """
    text = parameters.get("limit", str(MAX_PAGE))
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) > 0):
        raise InvalidObjectError(f"limit: expected a number from 1 to {MAX_PAGE}, not {text!r:.40}")
    return min(int(text), MAX_PAGE)


def encode_count(count: int) -> bytes:
    """The answer to a count."""
    return canonical.to_json({"count": count})


def decode_count(data: bytes) -> int:
    """The number in the answer to a count.

    Raises:
        InvalidObjectError: There is none.
    """
    return parse(_COUNT, data, "count")["count"]


def decode_done(data: bytes) -> None:
    """Takes note of an answer that says nothing but that something was done.

    Raises:
        InvalidObjectError: It is none.
    """
    parse(_DONE, data, "answer")


def encode_refreshed(changed: int) -> bytes:
    """The answer to a refresh."""
    return canonical.to_json({"changed": changed})


def decode_refreshed(data: bytes) -> int:
    """How many objects were changed, in the answer to a refresh.

    Raises:
        InvalidObjectError: It does not say.
    """
    return parse(_REFRESHED, data, "refresh")["changed"]


def encode_changes(changes: Changes) -> bytes:
    """A part of the change feed; each entry is kind, id and etag."""
    entries = [(entry.kind, entry.id, entry.etag) for entry in changes.entries]
    return canonical.to_json(
        {"entries": entries, "cursor": changes.cursor, "more": changes.more, "reset": changes.reset}
    )


def decode_changes(data: bytes) -> Changes:
    """The part of the change feed of a JSON text.

    Raises:
        InvalidObjectError: It is none.
    """
    found = parse(_CHANGES, data, "changes")
    entries = tuple(Change(*entry) for entry in found["entries"])
    return Changes(entries, found["cursor"], found.get("more", False), found.get("reset", False))


def _query(kind: str, data: _Search) -> Query:
    return Query(
        where=language.parse(data["where"], kind) if data.get("where") else None,
        within=data.get("within"),
        order=language.parse_order(data["order_by"], kind) if data.get("order_by") else (),
        limit=min(data.get("limit", MAX_PAGE), MAX_PAGE),
        cursor=data.get("cursor"),
        deleted=Deleted(data.get("deleted", Deleted.EXCLUDE.value)),
    )
