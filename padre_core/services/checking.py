"""What may have been put into an object past its validation: dicts can be changed in place."""

from __future__ import annotations

import functools
import operator
from typing import Any

from padre_core.errors import InvalidObjectError
from padre_core.objects.base import PadreObject
from padre_core.objects.identity import check_distinct, check_keys


def checked_content(object: PadreObject) -> bytes:
    """The content of an object that can surely be read again.

    Raises:
        InvalidObjectError: A field holds what it must not; the message names it.
    """
    content = object.content()
    plain = _plain_maps(type(object))
    values = object.__dict__
    if [name for name, value in values.items() if type(value) is dict and value and name not in plain]:
        type(object).from_content(content)
    for name, texts in plain.items():
        if values[name]:
            _check_map(f"{object.kind}.{name}", values[name], texts=texts)
    return content


def checked_mapping(where: str, values: Any) -> dict[Any, Any]:
    """What a caller gave as a mapping, as a dict of its own; empty for None.

    Raises:
        InvalidObjectError: It is no mapping.
    """
    if values is None:
        return {}
    if not hasattr(values, "items"):
        raise InvalidObjectError(f"{where}: expected a dict such as {{'C': 1.0}}, not {type(values).__name__}")
    return dict(values.items())


def checked_entries(where: str, values: Any) -> dict[str, Any]:
    """The same, with keys in NFC, for what is added to entries that are there.

    Raises:
        InvalidObjectError: It is no mapping, or a key is malformed.
    """
    given = checked_mapping(where, values)
    try:
        return dict(zip(check_distinct(tuple(given)), given.values(), strict=True))
    except ValueError as error:
        raise InvalidObjectError(f"{where}: {error}") from None


def checked_limit(limit: Any) -> int | None:
    """How many objects are wanted at most; None for all.

    Raises:
        InvalidObjectError: It is no whole number from 0 on.
    """
    if limit is None:
        return None
    try:
        number = operator.index(limit)
    except TypeError:
        raise InvalidObjectError(f"limit: expected a whole number, not {limit!r:.40}") from None
    if number < 0:
        raise InvalidObjectError(f"limit must not be negative, is {number}")
    return number


def _check_map(where: str, values: dict[str, Any], *, texts: bool) -> None:
    try:
        check_keys(tuple(values))
    except ValueError as error:
        raise InvalidObjectError(f"{where}: {error}") from None
    if texts:
        for key, value in values.items():
            if not isinstance(value, str):
                raise InvalidObjectError(f"{where}.{key}: expected text, not {type(value).__name__}")


@functools.cache
def _plain_maps(model: type[PadreObject]) -> dict[str, bool]:
    """The fields that map keys to any JSON, which `content` checks, or (True) to text."""
    maps: dict[Any, bool] = {dict[str, Any]: False, dict[str, str]: True}
    found = ((name, maps.get(field.annotation)) for name, field in model.model_fields.items())
    return {name: texts for name, texts in found if texts is not None}
