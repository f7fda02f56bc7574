"""What a query is: a tree of conditions, an order, and where to go on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

Scalar = str | int | float | bool
"""What a filter compares with."""


@dataclass(frozen=True, slots=True)
class Field:
    """A place in an object, such as `("parameters", "C")`, `("metrics", "loss", "last")` or `("status",)`."""

    path: tuple[str, ...]


class Operator(StrEnum):
    """How two values are compared."""

    EQ = "=="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="


@dataclass(frozen=True, slots=True)
class Compare:
    """`field operator value`; false where the field is missing, NaN or of another type."""

    field: Field
    operator: Operator
    value: Scalar


@dataclass(frozen=True, slots=True)
class In:
    """`field in (value, …)`."""

    field: Field
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Matches:
    """`field matches "pattern"`, where `*` stands for any text and all else for itself."""

    field: Field
    pattern: str


@dataclass(frozen=True, slots=True)
class Not:
    """True where the condition is false."""

    item: Expression


@dataclass(frozen=True, slots=True)
class And:
    """True where all conditions are."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """True where any condition is."""

    items: tuple[Expression, ...]


Expression = Compare | In | Matches | Not | And | Or


@dataclass(frozen=True, slots=True)
class Order:
    """By one field; values come first, then NaN, then objects without the field, in both directions."""

    field: Field
    descending: bool = False


class Deleted(StrEnum):
    """Which objects a query sees; what lies below a deleted object counts as deleted."""

    EXCLUDE = "exclude"
    ONLY = "only"
    INCLUDE = "include"


@dataclass(frozen=True, slots=True)
class Query:
    """Which objects of a kind, in which order, and how many.

    Attributes:
        within: Only objects below the object of this id, at any depth.
        order: Ties are broken by id, ascending. Without an order: by creation time, then id.
        limit: How many objects a page holds at most.
        cursor: Where the page before ended; belongs to the same `where`, `within` and `order`.
    """

    where: Expression | None = None
    within: str | None = None
    order: tuple[Order, ...] = ()
    limit: int = 1000
    cursor: str | None = None
    deleted: Deleted = Deleted.EXCLUDE

    @property
    def only_within(self) -> bool:
        """Whether it asks for the first page of what lies below an object, and for nothing else of it."""
        return self == Query(within=self.within, limit=self.limit)
