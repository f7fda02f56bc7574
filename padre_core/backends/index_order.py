"""The order of a query as pieces of SQL: where its fields are kept, and what comes after a cursor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from padre_core.backends.index_conditions import Sql, join
from padre_core.backends.index_file import TRUE, pack, stored, unpack
from padre_core.errors import InvalidObjectError
from padre_core.objects.identity import is_id
from padre_core.query.cursor import Key, decode_cursor
from padre_core.query.model import Field, Order, Query, Scalar

Row = tuple[Any, ...]
"""The id of an object that was found, its rank and value in each field of the order, and its record if it was read."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a field is kept: a column of those rows of a table that `scope` picks, one row for each object.

    Attributes:
        null: What NULL means there: 1 for NaN, 2 for missing.
        walkable: An index leads along the column.
    """

    table: str
    column: str
    scope: Sql
    null: int
    walkable: bool


class After(NamedTuple):
    """A cursor: the keys, their values as the index keeps them, and the id."""

    keys: tuple[Key, ...]
    values: tuple[Any, ...]
    id: bytes


def keys_of(row: Row) -> tuple[Key, ...]:
    """The places of an object in the order, for a cursor."""
    return tuple(zip(row[1:-1:2], map(_scalar, row[2:-1:2]), strict=True))


class Ordering:
    """By which fields the object `d` of a statement is ordered.

    Args:
        places: Where the index keeps each of the fields; None for one that no object has.
    """

    def __init__(self, fields: Sequence[Order], places: Sequence[Place | None]) -> None:
        self.fields, self.places = fields, places

    def start(self, kind: str, query: Query) -> After | None:
        """What the cursor of a query says; None without one."""
        if query.cursor is None:
            return None
        keys, id = decode_cursor(kind, query)
        values = tuple(
            _packed(value) if place and place.column == "id" else None if value is None else stored(value)
            for place, (_, value) in zip(self.places, keys, strict=True)
        )
        return After(keys, values, pack(id))

    def joins(self, first: int) -> Iterator[Sql]:
        """What brings the fields of the order from one on to the object d, under the names that `columns` uses."""
        for index in range(first, len(self.fields)):
            place = self.places[index]
            if place is not None:
                yield join(f" LEFT JOIN {place.table} k{index} ON k{index}.", place.scope, f" AND k{index}.id = d.id")

    def at_hand(self, first: int) -> dict[Field, str]:
        """The columns that `joins` brings, by field; ids apart, on which conditions are others."""
        places = zip(self.fields, self.places, strict=True)
        return {
            item.field: f"k{index}.{place.column}"
            for index, (item, place) in enumerate(places)
            if index >= first and place is not None and place.column != "id"
        }

    def columns(self, first: int) -> tuple[list[str], list[str]]:
        """Rank and value in the fields of the order from one on: to select, and to order by."""
        columns: list[str] = []
        ordering: list[str] = []
        for index in range(first, len(self.fields)):
            rank, value = self._key(index)
            columns.append(f", {rank}, {value}")
            direction = " DESC" if self.fields[index].descending else ""
            ordering += [f"{2 * index + 2}", f"{2 * index + 3}{direction}"]
        return columns, ordering

    def _key(self, index: int) -> tuple[str, str]:
        """Rank and value of the object d in a field of the order."""
        place = self.places[index]
        if place is None:
            return "2", "NULL"
        value = f"k{index}.{place.column}"
        return f"CASE WHEN k{index}.id IS NULL THEN 2 ELSE ({value} IS NULL) * {place.null} END", value

    def beyond(self, after: After, first: int) -> Sql:
        """That the object d comes after the cursor, when all fields of the order before this one are equal."""
        if first == len(self.fields):
            return Sql("d.id > ?", (after.id,))
        rank, value = self._key(first)
        bound, rest = after.keys[first][0], self.beyond(after, first + 1)
        if bound:
            return join("(", rank, f" > {bound} OR ", rank, f" = {bound} AND ", rest, ")")
        sign, limit = "<" if self.fields[first].descending else ">", after.values[first]
        further = join(value, Sql(f" {sign} ? OR ", (limit,)), value, Sql(" = ? AND ", (limit,)), rest)
        return join("(", rank, " > 0 OR ", rank, " = 0 AND (", further, "))")

    def onward(self, column: str, after: After | None) -> list[Sql]:
        """That the object d has a value in the order's first field, and comes after the cursor."""
        found: list[Sql] = []
        descending = self.fields[0].descending
        if descending or not after:
            found.append(Sql(f" AND {column} >= -9e999"))  # not NULL, in a form that an index follows
        if after:
            value, id = after.values[0], after.id
            if len(self.fields) == 1 and not descending:
                found.append(Sql(f" AND ({column}, d.id) > (?, ?)", (value, id)))
            else:
                sign, rest = "<" if descending else ">", self.beyond(after, 1)
                found.append(Sql(f" AND {column} {sign}= ? AND ({column} {sign} ? OR ", (value, value)))
                found.append(join(rest, ")"))
        return found

    def by(self, column: str) -> str:
        """A column with the direction of the order's first field."""
        return f"{column} DESC" if self.fields[0].descending else column


def _packed(id: Scalar | None) -> bytes:
    if not (isinstance(id, str) and is_id(id)):
        raise InvalidObjectError("malformed cursor: pass on what the page before gave, as it is")
    return pack(id)


def _scalar(value: Any) -> Scalar | None:
    if isinstance(value, bytes):
        return value == TRUE if len(value) == 1 else unpack(value)
    return value  # type: ignore[no-any-return]
