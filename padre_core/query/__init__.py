"""The filter language: parse, check, evaluate."""

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
