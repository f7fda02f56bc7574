"""Which fields a filter may name for each kind, and what it sees of them."""

from __future__ import annotations

import enum
import functools
import re
import types
import typing
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from padre_core.errors import InvalidObjectError
from padre_core.objects import canonical
from padre_core.objects.identity import is_id
from padre_core.objects.kinds import kind_of
from padre_core.query.model import And, Compare, Expression, Field, In, Matches, Not, Or, Order, Scalar

BOOKKEEPING = ("id", "created_at", "updated_at", "created_by", "updated_by")
WITHIN = "within"
"""`within."<id>"` is true for the object of this id and for all that lies below it."""

STATISTICS = ("last", "min", "max", "mean", "first", "count")

# Every beginning of a stored time, so that comparing texts is comparing times.
_TIME = re.compile(r"\d{4}(-\d\d(-\d\d(T\d\d(:\d\d(:\d\d(\.\d{1,6}Z?)?)?)?)?)?)?", re.ASCII)


class FieldError(InvalidObjectError):
    """A filter names what is not there.

    Attributes:
        part: Which part of the dotted name is wrong, from 0.
    """

    def __init__(self, message: str, part: int) -> None:
        super().__init__(message)
        self.part = part


@dataclass(frozen=True, slots=True)
class Shape:
    """What filters see of one field of a model.

    Attributes:
        scalar: It may hold text, a number or a bool.
        keys: It may hold a dict, of any keys and depth.
        time: Its text is a time.
        default: What it is where the stored content leaves it out.
        parts: Its own fields, if it is a model.
    """

    scalar: bool = False
    keys: bool = False
    time: bool = False
    default: Scalar | None = None
    parts: Mapping[str, Shape] = field(default_factory=dict)

    @property
    def visible(self) -> bool:
        """Whether a filter can name anything of it."""
        return self.scalar or self.keys or any(part.visible for part in self.parts.values())


@functools.cache
def shapes(model: type[BaseModel]) -> Mapping[str, Shape]:
    """What filters see of the fields in a model's content; lists and tuples are invisible."""
    outside: frozenset[str] = getattr(model, "outside_content", frozenset())
    return {
        name: _shape(info.annotation, info.get_default())
        for name, info in model.model_fields.items()
        if name not in outside
    }


def _shape(annotation: Any, default: Any) -> Shape:
    arguments = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _shape(arguments[0], default)
    if origin in (typing.Union, types.UnionType):
        options = [_shape(item, default) for item in arguments if item is not type(None)]
        return options[0] if len(options) == 1 else Shape(scalar=any(item.scalar for item in options))
    if annotation is Any:
        return Shape(scalar=True, keys=True)
    if origin is dict:
        return Shape(keys=True)
    if not isinstance(annotation, type):
        return Shape()
    if issubclass(annotation, BaseModel):
        # Dicts inside of models, such as the packages of an environment, are large and the same for many objects.
        return Shape(parts={name: Shape() if part.keys else part for name, part in shapes(annotation).items()})
    if isinstance(default, enum.Enum):
        default = default.value
    if issubclass(annotation, str | int | float | datetime):
        known = default if isinstance(default, str | int | float) else None
        return Shape(scalar=True, time=annotation is datetime, default=known)
    return Shape()


def check_field(kind: str, name: Field) -> Field:
    """The field as stored objects have it: the keys of parameters, tags and metrics are in NFC.

    Raises:
        FieldError: Objects of the kind have no such field, or filters cannot see it.
    """
    model, path = kind_of(kind), name.path
    if path[0] in BOOKKEEPING:
        return _end(name, 1)
    if path[0] == WITHIN:
        return _within(name)
    known = shapes(model)
    if path[0] == "metrics" and kind == "run":
        return _metric(path)
    level, part = known, 0
    while path[part] in level:
        shape = level[path[part]]
        part += 1
        if not shape.visible:
            raise FieldError(f"filters see single values, not what {_dotted(path[:part])} holds", part - 1)
        if shape.keys and len(path) > part:
            return Field((*path[:part], unicodedata.normalize("NFC", path[part]), *path[part + 1 :]))
        if shape.scalar:
            return _end(name, part)
        if len(path) == part:
            example = next((key for key, item in shape.parts.items() if item.visible), "key")
            raise FieldError(f"{_dotted(path)} has parts: name one, such as {_dotted(path)}.{example}", part - 1)
        if not shape.parts:
            break
        level = shape.parts
    names = sorted(key for key, shape in level.items() if shape.visible)
    if part == 0:
        names += [*BOOKKEEPING, *(["metrics"] if kind == "run" else [])]
    where = f"{_dotted(path[:part])} of a {kind}" if part else f"a {kind}"
    way = suggest(path[part], names)
    if kind == "run" and part == 0 and path[0].isidentifier() and not way.endswith("?"):  # no near name was found
        way += f"; a metric is named metrics.{path[0]}.last, a parameter parameters.{path[0]}"
    raise FieldError(f"{where} has no field {path[part]!r:.80}{way}", part)


def _metric(path: tuple[str, ...]) -> Field:
    if len(path) < 3:
        example = _dotted(path) if len(path) == 2 else "metrics.loss"
        raise FieldError(f"say which summary of the metric, such as {example}.last ({', '.join(STATISTICS)})", 0)
    if len(path) > 3:
        raise FieldError('a metric whose name has dots is quoted, such as metrics."train.loss".last', 2)
    if path[2] not in STATISTICS:
        raise FieldError(f"a metric has no summary {path[2]!r:.80}{suggest(path[2], STATISTICS)}", 2)
    return Field(("metrics", unicodedata.normalize("NFC", path[1]), path[2]))


def _within(name: Field) -> Field:
    if len(name.path) == 1 or not is_id(name.path[1]):
        raise FieldError('say below which object, such as within."<id>" == true', 0)
    return _end(name, 2)


def _end(name: Field, parts: int) -> Field:
    if len(name.path) > parts:
        raise FieldError(f"{_dotted(name.path[:parts])} has no parts", parts)
    return name


def is_time(kind: str, name: Field) -> bool:
    """Whether a checked field holds a time."""
    if name.path[0] in BOOKKEEPING:
        return name.path[0].endswith("_at")
    level = shapes(kind_of(kind))
    for part in name.path:
        shape = level.get(part)
        if shape is None:
            return False
        level = shape.parts
    return shape is not None and shape.time


def check_time(value: Scalar) -> str:
    """A time in a filter as the beginning of a stored time.

    Raises:
        InvalidObjectError: It is no time.
    """
    if isinstance(value, str):
        if _TIME.fullmatch(value):
            return value
        try:
            time = canonical.read_time(value)
        except ValueError:
            pass
        else:
            return canonical.format_time(time)
    raise InvalidObjectError('expected a time as text, such as "2026-11-23" or "2026-11-23T09:30:00Z"')


def check(expression: Expression, kind: str) -> Expression:
    """The expression with its fields and times as stored objects have them; for those that no text was parsed to.

    Raises:
        InvalidObjectError: It names what objects of the kind do not have.
    """
    match expression:
        case And(items):
            return And(tuple(check(item, kind) for item in items))
        case Or(items):
            return Or(tuple(check(item, kind) for item in items))
        case Not(item):
            return Not(check(item, kind))
        case Compare(name, operator, value):
            name = check_field(kind, name)
            return Compare(name, operator, check_time(value) if is_time(kind, name) else value)
        case In(name, values):
            name = check_field(kind, name)
            return In(name, tuple(map(check_time, values)) if is_time(kind, name) else values)
        case _:
            return Matches(check_field(kind, expression.field), expression.pattern)


def check_order(order: Sequence[Order], kind: str) -> tuple[Order, ...]:
    """The order with its fields as stored objects have them.

    Raises:
        InvalidObjectError: It names what objects of the kind do not have.
    """
    for item in order:
        if item.field.path[0] == WITHIN:
            raise FieldError("where an object lies is no order", 0)
    return tuple(Order(check_field(kind, item.field), item.descending) for item in order)


def suggest(word: str, known: Sequence[str]) -> str:
    """How to go on after an unknown word: the nearest known one, else all."""
    import difflib  # only ever needed on the way to an error

    if near := difflib.get_close_matches(word, known, n=1):
        return f"; did you mean {near[0]!r}?"
    return f"; there are {', '.join(known)}"


def _dotted(path: Sequence[str]) -> str:
    return ".".join(path)
