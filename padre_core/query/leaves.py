"""What filters and orders see of an object: its scalar values by path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from padre_core.errors import InvalidObjectError
from padre_core.objects.kinds import kind_of
from padre_core.objects.record import Record
from padre_core.objects.summary import combine
from padre_core.query.fields import STATISTICS, WITHIN, Shape, shapes
from padre_core.query.model import Scalar

Path = tuple[str, ...]

MAX_TEXT = 1024
"""Filters and orders see the first characters of a text; it bounds what an index keeps."""

_INT64 = 2**63


def flatten(content: Mapping[str, Any], path: Path = ()) -> list[tuple[Path, Scalar]]:
    """The text, numbers and bools in nested dicts, by path; None and lists are left out."""
    found: list[tuple[Path, Scalar]] = []
    for key, value in content.items():
        _collect(found, value, (*path, key))
    return found


def values_of(record: Record) -> dict[Path, Scalar]:
    """All that filters and orders see of an object, for `matches` and `sort_key`."""
    found = bookkeeping_of(record)
    found.update(content_of(record))
    found.update({(WITHIN, id): True for id in (*record.ancestors, record.id)})
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


def content_of(record: Record) -> list[tuple[Path, Scalar]]:
    """The values in an object's content, and the defaults that its content leaves out."""
    content = record.data()
    try:
        known = shapes(kind_of(record.kind))
    except InvalidObjectError:  # a kind of a plugin that is not installed here
        return flatten(content)
    found: list[tuple[Path, Scalar]] = []
    _collect_model(found, known, content, ())
    return found


def _collect_model(
    found: list[tuple[Path, Scalar]], known: Mapping[str, Shape], content: Mapping[str, Any], path: Path
) -> None:
    for name, shape in known.items():
        value = content.get(name, shape.default)
        if value is None:
            continue
        if not isinstance(value, dict):
            if shape.scalar:
                _collect(found, value, (*path, name))
        elif shape.keys:
            _collect(found, value, (*path, name))
        elif shape.parts:
            _collect_model(found, shape.parts, value, (*path, name))


def _collect(found: list[tuple[Path, Scalar]], value: Any, path: Path) -> None:
    # By exact type, which is quick, and enough for what was read from JSON.
    kind = type(value)
    if kind is str:
        found.append((path, value if len(value) <= MAX_TEXT else value[:MAX_TEXT]))
    elif kind is float or kind is bool:
        found.append((path, value))
    elif kind is int:
        if -_INT64 <= value < _INT64:
            found.append((path, value))
    elif kind is dict:
        for key, item in value.items():
            _collect(found, item, (*path, key))
