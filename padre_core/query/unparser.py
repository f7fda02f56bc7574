"""From a filter or an order back to its text."""

from __future__ import annotations

import re
from collections.abc import Sequence

from padre_core.query.model import And, Compare, Expression, Field, In, Not, Or, Order, Scalar
from padre_core.query.parser import KEYWORDS

_PLAIN = re.compile(r"[^\W\d]\w*")


def unparse(expression: Expression) -> str:
    """The text of which `parse` makes the same expression again."""
    match expression:
        case Or(items):
            return " or ".join(_grouped(item, Or) for item in items)
        case And(items):
            return " and ".join(_grouped(item, And | Or) for item in items)
        case Not(item):
            return f"not {_grouped(item, And | Or)}"
        case Compare(field, operator, value):
            return f"{_field(field)} {operator} {_scalar(value)}"
        case In(field, values):
            return f"{_field(field)} in ({', '.join(map(_scalar, values))})"
        case _:
            return f"{_field(expression.field)} matches {_quoted(expression.pattern)}"


def unparse_order(order: Sequence[Order]) -> str:
    """The text of which `parse_order` makes the same order again."""
    return ", ".join(f"{'-' if item.descending else ''}{_field(item.field)}" for item in order)


def _grouped(expression: Expression, within: object) -> str:
    text = unparse(expression)
    return f"({text})" if isinstance(expression, within) else text  # type: ignore[arg-type]


def _field(field: Field) -> str:
    return ".".join(part if _PLAIN.fullmatch(part) and part not in KEYWORDS else _quoted(part) for part in field.path)


def _scalar(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return _quoted(value) if isinstance(value, str) else repr(value)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
