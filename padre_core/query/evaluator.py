"""What a filter and an order mean, in Python: where no index answers, and the yardstick of those that do."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from padre_core.query.model import And, Compare, Expression, Field, In, Not, Operator, Or, Order, Scalar

DEFAULT_ORDER = (Order(Field(("created_at",))),)

_COMPARE: dict[Operator, Callable[[Any, Any], bool]] = {
    Operator.EQ: operator.eq,
    Operator.NE: operator.ne,
    Operator.LT: operator.lt,
    Operator.LE: operator.le,
    Operator.GT: operator.gt,
    Operator.GE: operator.ge,
}

Values = Mapping[tuple[str, ...], Scalar]


def matches(expression: Expression, values: Values) -> bool:
    """Whether an object fulfils a filter.

    Args:
        values: What `padre_core.query.values_of` says of the object.
    """
    match expression:
        case And(items):
            return all(matches(item, values) for item in items)
        case Or(items):
            return any(matches(item, values) for item in items)
        case Not(item):
            return not matches(item, values)
        case Compare(field, operator, value):
            return _holds(operator, values.get(field.path), value)
        case In(field, wanted):
            found = values.get(field.path)
            return any(_holds(Operator.EQ, found, value) for value in wanted)
        case _:
            found = values.get(expression.field.path)
            return isinstance(found, str) and wildcard(expression.pattern, found)


def _holds(operator: Operator, found: Scalar | None, value: Scalar) -> bool:
    if found is None or _rank(found) != _rank(value) or found != found or value != value:
        return False
    return _COMPARE[operator](found, value)


def wildcard(pattern: str, text: str) -> bool:
    """Whether a text is of a pattern, in which `*` stands for any text and all else for itself."""
    first, *rest = pattern.split("*")
    if not rest:
        return text == pattern
    last = rest.pop()
    start, end = len(first), len(text) - len(last)
    if start > end or not text.startswith(first) or not text.endswith(last):
        return False
    for part in rest:  # the earliest place leaves the most room for what follows
        start = text.find(part, start, end)
        if start < 0:
            return False
        start += len(part)
    return True


def sort_key(order: Sequence[Order], values: Values) -> tuple[Any, ...]:
    """What to sort objects by: in each field numbers, texts, bools, in reverse if descending; then NaN, then none."""
    keys: list[Any] = []
    for item in order or DEFAULT_ORDER:
        value = values.get(item.field.path)
        if value is None:
            keys.append((2,))
        elif value != value:
            keys.append((1,))
        else:
            key = (_rank(value), value)
            keys.append((0, _Descending(key) if item.descending else key))
    return (*keys, values["id",])


class _Descending:
    """Turns an order round."""

    __slots__ = ("key",)

    def __init__(self, key: tuple[int, Scalar]) -> None:
        self.key = key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Descending) and self.key == other.key

    def __lt__(self, other: _Descending) -> bool:
        return other.key < self.key

    __hash__ = None  # type: ignore[assignment]  # only ever compared


def _rank(value: Scalar) -> int:
    """Numbers, texts and bools are three types, in this order."""
    return 2 if isinstance(value, bool) else 1 if isinstance(value, str) else 0
