"""Bounds of what travels: how JSON is read, into checked shapes or not at all, and how much goes into one body."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from padre_core.errors import InvalidObjectError

JSON = "application/json"

MAX_JSON = 64 * 1024 * 1024
"""The greatest JSON body, in bytes: what one object may have, with versions that lost against it."""

LENIENT = ConfigDict(strict=True, extra="ignore")
"""For answers, to which a newer server may add something."""

STRICT = ConfigDict(strict=True, extra="forbid")
"""For requests, where something that is not known might matter."""

_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"

Kind = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Id = Annotated[str, Field(pattern=rf"^{_UUID}(-[0-9a-f]{{16}})?$")]
Etag = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,17}-[0-9a-f]{16}$")]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Writer = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
Text = Annotated[str, Field(max_length=1000)]

Shape = TypeVar("Shape")
Item = TypeVar("Item")


def parse(adapter: TypeAdapter[Shape], data: bytes | memoryview, what: str) -> Shape:
    """The value of a JSON text, which must have the adapter's shape.

    Raises:
        InvalidObjectError: It is no JSON, too large, or of another shape; the message names the place.
    """
    if len(data) > MAX_JSON:
        raise InvalidObjectError(f"{what}: {len(data)} bytes are too many, at most {MAX_JSON} are read")
    try:
        found: Shape = adapter.validator.validate_json(bytes(data))
    except ValidationError as error:
        raise malformed(what, error) from None
    return found


def check(adapter: TypeAdapter[Shape], value: Any, what: str) -> Shape:
    """A value, which must have the adapter's shape.

    Raises:
        InvalidObjectError: It has another; the message names the place.
    """
    try:
        found: Shape = adapter.validator.validate_python(value)
    except ValidationError as error:
        raise malformed(what, error) from None
    return found


def malformed(what: str, error: ValidationError) -> InvalidObjectError:
    """What is wrong with a value, without the value: it may be a secret."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    return InvalidObjectError(f"{what}: {place[:200]}{': ' if place else ''}{first['msg'][:200]}")


def bundled(
    items: Iterable[Item], weigh: Callable[[Item], int], *, weight: int, count: int = sys.maxsize
) -> Iterator[list[Item]]:
    """Items in lists that fit into one body; one that is too heavy for any is alone.

    Args:
        weight: What those of one list weigh at most.
        count: How many they are at most.
    """
    bundle: list[Item] = []
    held = 0
    for item in items:
        heavy = weigh(item)
        if bundle and (len(bundle) == count or held + heavy > weight):
            yield bundle
            bundle, held = [], 0
        bundle.append(item)
        held += heavy
    if bundle:
        yield bundle
