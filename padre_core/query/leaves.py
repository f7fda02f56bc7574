"""What filters and orders see of an object: its scalar values by path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from padre_core.errors import InvalidObjectError
from padre_core.objects.kinds import kind_of
from padre_core.objects.record import Record
from padre_core.objects.summary import combine
from padre_core.query.fields import STATISTICS, Shape, shapes
from padre_core.query.model import Scalar

Path = tuple[str, ...]

MAX_TEXT = 1024
"""Filters and orders see the first characters of a text; it bounds what an index keeps."""

_INT64 = 2**63


def flatten(content: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, Scalar]]:
    """The text, numbers and bools in nested dicts, by path; None and lists are left out."""
    for key, value in content.items():
        yield from _leaves(value, (*path, key))


def values_of(record: Record) -> dict[Path, Scalar]:
    """All that filters and orders see of an object, for `matches` and `sort_key`."""
    found = bookkeeping_of(record)
    found.update(content_of(record))
    if record.kind == "run":
        for name, summary in combine(record.summaries).items():
            for statistic in STATISTICS:
                found["metrics", name, statistic] = getattr(summary, statistic)
    return found


def bookkeeping_of(record: Record) -> dict[Path, Scalar]:
    """The id and the stamps of an object."""
    stamps = {
        "id": record.id,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
        "created_by": record.created_by,
        "updated_by": record.updated_by,
    }
    return {(name,): value[:MAX_TEXT] for name, value in stamps.items() if value}


def content_of(record: Record) -> Iterator[tuple[Path, Scalar]]:
    """The values in an object's content, and the defaults that its content leaves out."""
    content = record.data()
    try:
        known = shapes(kind_of(record.kind))
    except InvalidObjectError:  # a kind of a plugin that is not installed here
        return flatten(content)
    return _model(known, content, ())


def _model(known: Mapping[str, Shape], content: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, Scalar]]:
    for name, shape in known.items():
        value = content.get(name, shape.default)
        if value is None:
            continue
        if not isinstance(value, dict):
            if shape.scalar:
                yield from _leaves(value, (*path, name))
        elif shape.keys:
            yield from flatten(value, (*path, name))
        elif shape.parts:
            yield from _model(shape.parts, value, (*path, name))


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Scalar]]:
    if isinstance(value, str):
        yield path, value[:MAX_TEXT]
    elif isinstance(value, bool | float):
        yield path, value
    elif isinstance(value, int):
        if -_INT64 <= value < _INT64:
            yield path, value
    elif isinstance(value, dict):
        yield from flatten(value, path)
