"""Cursors: where a page ended, as opaque text that survives what is written between two pages."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

from padre_core.errors import InvalidObjectError
from padre_core.objects import canonical
from padre_core.objects.identity import is_id
from padre_core.query.evaluator import DEFAULT_ORDER
from padre_core.query.leaves import MAX_TEXT
from padre_core.query.model import Query, Scalar

Key = tuple[int, Scalar | None]
"""The place of an object in one field of an order: 0 and its value, 1 for NaN, or 2 if it has no such field."""

MAX_CURSOR = 65_536


def encode_cursor(kind: str, query: Query, keys: Sequence[Key], id: str) -> str:
    """The cursor of a page whose last object has these keys and this id."""
    data = canonical.to_json([_seal(kind, query), keys, id])
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decode_cursor(kind: str, query: Query) -> tuple[tuple[Key, ...], str]:
    """The keys and the id in a query's cursor.

    Raises:
        InvalidObjectError: It is no cursor, or one of another query.
    """
    text = query.cursor or ""
    try:
        if len(text) > MAX_CURSOR:
            raise ValueError("too long")
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        seal, keys, id = canonical.from_json(base64.b64decode(padded, altchars=b"-_", validate=True))
        known = seal == _seal(kind, query)
        places = tuple(_key(rank, value) for rank, value in keys)
        if not (isinstance(id, str) and is_id(id)):
            raise ValueError("no id")
    except (ValueError, TypeError):
        raise InvalidObjectError("malformed cursor: pass on what the page before gave, as it is") from None
    if not known or len(places) != len(query.order or DEFAULT_ORDER):
        raise InvalidObjectError("the cursor belongs to another query: repeat the one that it came from")
    return places, id


def _key(rank: Any, value: Any) -> Key:
    if rank in (1, 2) and value is None:
        return int(rank), None
    number = isinstance(value, int | float) and (isinstance(value, float) or -(2**63) <= value < 2**63)
    if rank != 0 or value != value or not (number or (isinstance(value, str) and len(value) <= MAX_TEXT)):
        raise ValueError("no place in an order")
    return 0, value


def _seal(kind: str, query: Query) -> str:
    parts = (kind, query.where, query.within, query.order, query.deleted)
    return hashlib.sha256(repr(parts).encode(errors="replace")).hexdigest()[:16]
