"""How the index answers a query: from a rare condition where there is one, else by a walk along the order.

Each condition is counted first, up to a limit. If few objects fulfil one, these are looked at one by one and sorted.
If all are common, the index of the order's first field is walked from the cursor on, and what does not fulfil the rest
is passed over until the page is full. Where no index leads along that field, the first thousand in its order are looked
at. If neither fills the page soon, all that fulfil one condition are looked at after all, in the order of their ids:
then what is looked up for each lies side by side.
"""
# ruff: noqa: S608  the texts that are put together here are this module's own; values are always bound

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from padre_core.backends.index_conditions import Sql, between, by_id, conjuncts, holds, join
from padre_core.backends.index_file import TRUE, error_code, pack
from padre_core.backends.index_order import After, Ordering, Place, Row
from padre_core.objects.identity import is_id
from padre_core.objects.record import Record
from padre_core.query.evaluator import DEFAULT_ORDER
from padre_core.query.fields import BOOKKEEPING, STATISTICS, WITHIN
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
    Query,
)

RARE = 1000
"""So many objects are looked at one by one rather than walking along an order."""

PATIENCE = 200
"""A walk is given up after so many steps of SQLite for each object of the page and of those that are few."""

PEEK = 1000
"""So many objects are looked at along a field of which there is no index."""

Leaf = Compare | In | Matches
"""A condition on one field."""


class Source(NamedTuple):
    """A statement that gives the ids of all that fulfil a condition; without one, of all below an ancestor."""

    ids: Sql
    condition: Expression | None


class Base(NamedTuple):
    """What a walk goes along: a table under the name d, and which of its rows.

    Attributes:
        which: What its rows fulfil.
        objects: The table is that of the objects.
        scoped: Its rows are all below the wanted ancestor.
    """

    table: Sql
    which: Sql
    objects: bool
    scoped: bool = False

    def where(self, test: Sql | str) -> Base:
        """Fewer of its rows."""
        return self._replace(which=join(self.which, " AND ", test))

    def rows(self, joins: Iterable[Sql] = ()) -> Sql:
        """What stands behind FROM, with other tables beside this one; more tests may follow."""
        return join(self.table, " d", *joins, " WHERE ", self.which)


class Search:
    """One query on one connection, within a transaction.

    Args:
        number: Gives the number of a field of the kind; None if no object has it.
        decode: Gives the record of its line.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        number: Callable[[str, tuple[str, ...]], int | None],
        decode: Callable[[bytes], Record],
        kind: str,
        query: Query,
    ) -> None:
        self.connection, self.number, self.decode = connection, number, decode
        self.kind, self.query = kind, query
        self.conditions = () if query.where is None else tuple(conjuncts(query.where))
        fields = query.order or DEFAULT_ORDER
        self.order = Ordering(fields, [self._place(item.field) for item in fields])

    def rows(self) -> list[Row]:
        """The first objects after the cursor, one more than the page holds if there are so many."""
        after, limit = self.order.start(self.kind, self.query), self.query.limit + 1
        if self._hopeless():
            return []
        if rare := self._rare():
            return self._sort(rare, after, limit)
        if not self.conditions:
            return self._along(after, limit)
        place = self.order.places[0]
        if place and not place.walkable:
            found = self._peek(after, limit)
            return found if len(found) == limit else self._sort(self._broad(), after, limit)
        try:
            with self._patience(limit):
                return self._along(after, limit)
        except _ImpatientError:
            return self._sort(self._broad(), after, limit)

    def _along(self, after: After | None, limit: int) -> list[Row]:
        """Walks along the order until the page is full."""
        found: list[Row] = []
        first = after.keys[0][0] if after else 0
        for rank in range(first, 3):
            found += self._walk(rank, after if rank == first else None, limit - len(found))
            if len(found) == limit:
                break
        return found

    def count(self) -> int:
        """How many objects there are on all pages."""
        if self._hopeless():
            return 0
        source = self._rare() or self._broad()
        base = self._drawn(source)
        return int(self._one(join("SELECT count(*) FROM ", base.rows(), *self._tests(base, {}, source)))[0])

    def _one(self, statement: Sql) -> Any:
        return self.connection.execute(*statement).fetchone()

    # Where candidates come from

    def _hopeless(self) -> bool:
        """Whether nothing can be found: below what is no object, or deleted when nothing is."""
        if self.query.within is not None and not is_id(self.query.within):
            return True
        return self.query.deleted is Deleted.ONLY and not any(self._gone)

    @functools.cached_property
    def _gone(self) -> tuple[bool, bool]:
        """Whether any object of the kind is deleted, and whether any lies below a deleted one."""
        deleted, below = self._one(
            Sql(
                "SELECT EXISTS (SELECT 1 FROM object INDEXED BY object_deleted WHERE kind = ? AND deleted = 1),"
                " EXISTS (SELECT 1 FROM scope INDEXED BY scope_gone WHERE kind = ? AND gone > 0)",
                (self.kind, self.kind),
            )
        )
        return bool(deleted), bool(below)

    def _rare(self) -> Source | None:
        """The source that gives the fewest objects, if these are few."""
        sources = [self._source(item) for item in self.conditions]
        if self.query.within is not None:
            scopes = Sql(
                "SELECT scope FROM within WHERE ancestor = ? AND kind = ?", (pack(self.query.within), self.kind)
            )
            sources.append(Source(join("SELECT id FROM object WHERE scope IN (", scopes, ")"), None))
        best, fewest = None, RARE + 1
        for source in filter(None, sources):
            count = self._one(join("SELECT count(*) FROM (", source.ids, f" LIMIT {fewest})"))[0]
            if count < fewest:
                best, fewest = source, count
        return best

    def _broad(self) -> Source | None:
        """The first source for a condition, however many objects it gives."""
        sources = (self._source(item, scan=True) for item in self.conditions)
        return next(filter(None, sources), None)

    def _source(self, item: Expression, *, scan: bool = False) -> Source | None:
        """The source for a condition, if there is one that does not look at all objects.

        Args:
            scan: Whether to go through all that have the field by their ids, instead of following the index.
        """
        match item:
            case Or(items):
                parts = [self._source(part, scan=scan) for part in items]
                found = [part.ids for part in parts if part]
                return Source(between(" UNION ", found), item) if len(found) == len(parts) else None
            case And() | Not():
                return None
        place = self._place(item.field)
        if place is None:
            return Source(Sql("SELECT NULL AS id WHERE 0"), item)
        if place.table == "object" and not (place.walkable or by_id(item)):
            return None
        condition = holds(item, place.column)
        if scan and place.table != "object" and not (isinstance(item, Compare) and item.operator is Operator.EQ):
            # Tables lie in the order of ids; an index on a column is not used where a plus stands before its name.
            condition = join("id > x'' AND ", holds(item, f"+{place.column}"))
        return Source(join(f"SELECT id FROM {place.table} WHERE ", place.scope, " AND ", condition), item)

    def _drawn(self, source: Source | None) -> Base:
        """All that a source gives; without one all objects."""
        return Base(join("(", source.ids, ")"), Sql("1"), objects=False) if source else self._objects()

    def _objects(self) -> Base:
        """All objects of the kind; if they are wanted below an ancestor and all have the same parent, only these."""
        if self.query.within is not None:
            statement = "SELECT scope FROM within WHERE ancestor = ? AND kind = ? LIMIT 2"
            scopes = self.connection.execute(statement, (pack(self.query.within), self.kind)).fetchall()
            if len(scopes) == 1:
                return Base(Sql("object"), Sql("d.scope = ?", scopes[0]), objects=True, scoped=True)
        return Base(Sql("object"), Sql("d.kind = ?", (self.kind,)), objects=True)

    # The ways to a page

    @contextmanager
    def _patience(self, limit: int) -> Iterator[None]:
        """Gives up a walk on which hardly anything fulfils the conditions.

        Raises:
            _ImpatientError: It was given up.
        """
        self.connection.set_progress_handler(lambda: 1, PATIENCE * (RARE + limit))
        try:
            yield
        except sqlite3.OperationalError as error:
            if error_code(error) != sqlite3.SQLITE_INTERRUPT:
                raise
            raise _ImpatientError from None
        finally:
            self.connection.set_progress_handler(None, 0)

    def _sort(self, source: Source | None, after: After | None, limit: int) -> list[Row]:
        """Looks at all that a source gives; without one at all objects."""
        base = self._drawn(source)
        columns, ordering = self.order.columns(0)
        beyond = [join(" AND ", self.order.beyond(after, 0))] if after else []
        tests = self._tests(base, self.order.at_hand(0), source)
        end = f" ORDER BY {', '.join([*ordering, 'd.id'])} LIMIT {limit}"
        rows = base.rows(self.order.joins(0))
        return self._all(join("SELECT d.id", *columns, ", NULL FROM ", rows, *tests, *beyond, end))

    def _peek(self, after: After | None, limit: int) -> list[Row]:
        """Looks at the first objects along a field of which there is no index."""
        place = self.order.places[0]
        if place is None or place.table == "object" or len(self.order.fields) > 1 or (after and after.keys[0][0]):
            return []
        column = f"d.{place.column}"
        table = join(
            f"SELECT d.id, {column} FROM {place.table} d WHERE d.", place.scope, *self.order.onward(column, after)
        )
        first = join("(", table, f" ORDER BY {self.order.by(column)}, d.id LIMIT {PEEK})")
        base = Base(first, Sql("1"), objects=False)
        tests = self._tests(base, {self.order.fields[0].field: column})
        end = f" ORDER BY {self.order.by(column)}, d.id LIMIT {limit}"
        return self._all(join(f"SELECT d.id, 0, {column}, NULL FROM ", base.rows(), *tests, end))

    def _walk(self, rank: int, after: After | None, limit: int) -> list[Row]:
        """Walks along those that have a value (rank 0), NaN (1) or nothing (2) in the order's first field."""
        place = self.order.places[0]
        base = self._base(rank, place)
        if base is None:
            return []
        columns, ordering = self.order.columns(1)
        column = f"d.{place.column}" if place and rank == 0 else "NULL"
        beyond: list[Sql] = []
        at_hand = self.order.at_hand(1)
        if rank == 0:
            at_hand[self.order.fields[0].field] = column
            ordering.insert(0, self.order.by(column))
            beyond = self.order.onward(column, after)
        elif after:
            beyond.append(join(" AND ", self.order.beyond(after, 1)))
        tests = self._tests(base, at_hand)
        end = f" ORDER BY {', '.join([*ordering, 'd.id'])} LIMIT {limit}"
        if rank == 0 and self._unsorted(base):  # then what is found can be read on the way
            rows = base.rows([Sql(" JOIN head h ON h.seq = d.seq")])
            statement = join("SELECT d.id, 0, d.created_at, h.line FROM ", rows, *beyond, *tests, end)
            return [(*row[:-1], self.decode(row[-1])) for row in self.connection.execute(*statement)]
        rows = base.rows(self.order.joins(1))
        return self._all(join(f"SELECT d.id, {rank}, {column}", *columns, ", NULL FROM ", rows, *beyond, *tests, end))

    def _unsorted(self, base: Base) -> bool:
        """Whether an index of the objects leads exactly along the order, so that SQLite keeps no rows to sort them."""
        (first, *others), place = self.order.fields, self.order.places[0]
        return base.objects and place is not None and place.walkable and not (first.descending or others)

    def _base(self, rank: int, place: Place | None) -> Base | None:
        """Where those of a rank in the order's first field are; None if there can be none."""
        field = self.order.fields[0].field
        if rank and any(isinstance(item, Compare | In | Matches) and item.field == field for item in self.conditions):
            return None  # what fulfils a comparison has a value
        if place and place.table != "object" and rank < 2:
            base = Base(Sql(place.table), join("d.", place.scope), objects=False)
            return base.where(f"d.{place.column} IS NULL") if rank else base
        everything = self._objects()
        if place is None:
            return everything if rank == 2 else None
        if place.table != "object":
            if self._all_have(place):
                return None
            row = join(f"SELECT 1 FROM {place.table} WHERE ", place.scope, " AND id = d.id")
            return everything.where(join("NOT EXISTS (", row, ")"))
        if rank == place.null:
            return everything.where(f"d.{place.column} IS NULL")
        return everything if rank == 0 else None

    def _all_have(self, place: Place) -> bool:
        """Whether no object lacks a field; counting is much quicker than looking for those that do."""
        rows = join(f"(SELECT count(*) FROM {place.table} WHERE ", place.scope, ")")
        everything = Sql("(SELECT count(*) FROM object WHERE kind = ?)", (self.kind,))
        return bool(self._one(join("SELECT ", rows, " = ", everything))[0])

    def _all(self, statement: Sql) -> list[Row]:
        return self.connection.execute(*statement).fetchall()

    # Conditions

    def _place(self, field: Field) -> Place | None:
        path = field.path
        if path[0] in BOOKKEEPING and len(path) == 1:
            return Place("object", path[0], Sql("kind = ?", (self.kind,)), 2, walkable=path[0] == "created_at")
        if path[0] == WITHIN:
            below = _below(path[1]) if len(path) == 2 and is_id(path[1]) else None
            return Place(below, "value", Sql("kind = ?", (self.kind,)), 1, walkable=False) if below else None
        table, column = "value", "value"
        if path[0] == "metrics" and self.kind == "run":
            if len(path) != 3 or path[2] not in STATISTICS:
                return None
            table, column, path = "metric", path[2], path[:2]
        number = self.number(self.kind, path)
        walkable = column in ("value", "last")
        return None if number is None else Place(table, column, Sql("key = ?", (number,)), 1, walkable)

    def _tests(self, base: Base, at_hand: Mapping[Field, str], source: Source | None = None) -> Iterator[Sql]:
        """All that the object d must fulfil beyond what the base or the source ensures.

        Args:
            at_hand: The columns that the statement has of some fields, which need not be looked up again.
        """
        for item in self.conditions:
            if source and item is source.condition:
                continue
            if not isinstance(item, And | Or | Not) and at_hand.get(item.field, "").startswith("d."):
                yield join(" AND ", holds(item, at_hand[item.field]))  # in a form that a walk along an index follows
            else:
                yield join(" AND ", self._test(item, base, at_hand))
        state: list[Sql] = []
        name = "d" if base.objects else "o"
        deleted, below = self._gone
        gone = [f"{name}.deleted = 1"] * deleted
        gone += [f"(SELECT gone FROM scope WHERE num = {name}.scope) > 0"] * below
        if gone and self.query.deleted is not Deleted.INCLUDE:
            negation = "NOT " if self.query.deleted is Deleted.EXCLUDE else ""
            state.append(Sql(f" AND {negation}({' OR '.join(gone)})"))
        if self.query.within is not None and not base.scoped and not (source and source.condition is None):
            values = (pack(self.query.within), self.kind)
            exists = f" AND EXISTS (SELECT 1 FROM within WHERE ancestor = ? AND kind = ? AND scope = {name}.scope)"
            state.append(Sql(exists, values))
        if state and not base.objects:
            head = Sql(" AND EXISTS (SELECT 1 FROM object o WHERE o.id = d.id AND o.kind = ?", (self.kind,))
            state = [head, *state, Sql(")")]
        yield from state

    def _test(self, item: Expression, base: Base, at_hand: Mapping[Field, str]) -> Sql:
        """That the object d fulfils a condition, as 1 or 0, never NULL."""
        match item:
            case And(items):
                return join("(", between(" AND ", [self._test(part, base, at_hand) for part in items]), ")")
            case Or(items):
                return join("(", between(" OR ", list(self._alternatives(items, base, at_hand))), ")")
            case Not(part):
                return join("NOT ", self._test(part, base, at_hand))
        return self._any([item], base, at_hand)

    def _alternatives(self, items: Iterable[Expression], base: Base, at_hand: Mapping[Field, str]) -> Iterator[Sql]:
        """That the object d fulfils one of some conditions; a field is looked up once for all those on it."""
        by_field: dict[Field, list[Leaf]] = {}
        for item in items:
            if isinstance(item, And | Or | Not):
                yield self._test(item, base, at_hand)
            else:
                by_field.setdefault(item.field, []).append(item)
        for leaves in by_field.values():
            yield self._any(leaves, base, at_hand)

    def _any(self, items: Sequence[Leaf], base: Base, at_hand: Mapping[Field, str]) -> Sql:
        """That the object d fulfils one of some conditions on one field."""
        field = items[0].field
        place = self._place(field)
        if place is None:
            return Sql("0")

        def either(column: str) -> Sql:
            return between(" OR ", [holds(item, column) for item in items])

        if field in at_hand:  # in no form that lets SQLite begin with what was joined
            return join("coalesce(", either(at_hand[field]), ", 0)")
        if place.table == "object" and base.objects:
            return join(f"(d.{place.column} IS NOT NULL AND (", either(f"d.{place.column}"), "))")
        row = join(f"SELECT 1 FROM {place.table} WHERE ", place.scope, " AND id = d.id")
        return join("EXISTS (", row, " AND (", either(place.column), "))")


class _ImpatientError(Exception):
    """A walk takes too long."""


def _below(id: str) -> str:
    """An object and all that lies below it, as a table of trues."""
    own = f"x'{pack(id).hex()}'"
    true = f"x'{TRUE.hex()}'"
    return (
        f"(SELECT o.id AS id, o.kind AS kind, {true} AS value FROM within w JOIN object o ON o.scope = w.scope "
        f"WHERE w.ancestor = {own} UNION ALL SELECT id, kind, {true} FROM object WHERE id = {own})"
    )
