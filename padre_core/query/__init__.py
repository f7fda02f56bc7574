"""The filter language: parse, check, evaluate.

Few processes ask for anything when they start, so each part is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from padre_core.later import imported_later

if TYPE_CHECKING:
    from padre_core.query.evaluator import matches, sort_key, wildcard
    from padre_core.query.fields import check, check_field, check_order
    from padre_core.query.leaves import flatten, values_of
    from padre_core.query.model import (
        And,
        Compare,
        Deleted,
        Expression,
        Field,
        In,
        Matches,
        Not,
        Operator,
        Or,
        Order,
        Query,
        Scalar,
    )
    from padre_core.query.parser import parse, parse_order
    from padre_core.query.unparser import unparse, unparse_order

__all__ = [
    "And",
    "Compare",
    "Deleted",
    "Expression",
    "Field",
    "In",
    "Matches",
    "Not",
    "Operator",
    "Or",
    "Order",
    "Query",
    "Scalar",
    "check",
    "check_field",
    "check_order",
    "flatten",
    "matches",
    "parse",
    "parse_order",
    "sort_key",
    "unparse",
    "unparse_order",
    "values_of",
    "wildcard",
]

__getattr__ = imported_later(
    __name__,
    {
        "padre_core.query.evaluator": ("matches", "sort_key", "wildcard"),
        "padre_core.query.fields": ("check", "check_field", "check_order"),
        "padre_core.query.leaves": ("flatten", "values_of"),
        "padre_core.query.model": (
            "And", "Compare", "Deleted", "Expression", "Field", "In", "Matches", "Not", "Operator", "Or", "Order",
            "Query", "Scalar",
        ),
        "padre_core.query.parser": ("parse", "parse_order"),
        "padre_core.query.unparser": ("unparse", "unparse_order"),
    },
)  # fmt: skip
