"""What the index writes for a record."""

from __future__ import annotations

import itertools
import operator
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from padre_core.backends.index_file import pack, stored
from padre_core.objects.identity import is_id
from padre_core.objects.record import Record, encode
from padre_core.objects.summary import combine
from padre_core.query.leaves import Path, content_of

_CACHED = 50_000
_TOGETHER = 50
"""Rows of one statement. They have up to eleven columns, and an old SQLite takes 999 values."""

_Key = TypeVar("_Key")


class Numbers:
    """The numbers by which rows name fields and scopes; some are remembered until `forget`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._fields: dict[str, dict[Path, int]] = {}
        self._scopes: dict[tuple[str, Path], int] = {}

    def forget(self) -> None:
        """Forgets what is remembered, for it may no longer be so."""
        self._fields.clear()
        self._scopes.clear()

    def fields(self, kind: str) -> dict[Path, int]:
        """The fields of a kind that are remembered."""
        return self._fields.setdefault(kind, {})

    def find(self, kind: str, path: Path) -> int | None:
        """The number of a field; None if no object ever had it."""
        known = self.fields(kind)
        number = known.get(path)
        if number is None:
            statement = "SELECT num FROM key WHERE kind = ? AND path = ?"
            row = self.connection.execute(statement, (kind, ascii(path))).fetchone()
            if row is None:
                return None
            number = _remember(known, path, row[0])
        return number

    def field(self, kind: str, path: Path) -> int:
        """The number of a field, which it gets now if it has none."""
        number = self.find(kind, path)
        if number is None:
            cursor = self.connection.execute("INSERT INTO key (kind, path) VALUES (?, ?)", (kind, ascii(path)))
            number = _remember(self.fields(kind), path, cursor.lastrowid or 0)
        return number

    def scope(self, kind: str, ancestors: Path) -> int:
        """The number of the place of objects of a kind in the tree, which it gets now if it has none."""
        number = self._scopes.get((kind, ancestors))
        if number is not None:
            return number
        place = kind, ",".join(ancestors)
        row = self.connection.execute("SELECT num FROM scope WHERE kind = ? AND ancestors = ?", place).fetchone()
        return _remember(self._scopes, (kind, ancestors), row[0] if row else self._new_scope(place, ancestors))

    def _new_scope(self, place: tuple[str, str], ancestors: Path) -> int:
        ids = [pack(id) for id in dict.fromkeys(ancestors) if is_id(id)]
        marks = ", ".join("?" * len(ids))
        statement = f"SELECT count(*) FROM object WHERE deleted = 1 AND id IN ({marks})"  # noqa: S608  only marks
        (gone,) = self.connection.execute(statement, ids).fetchone()
        cursor = self.connection.execute("INSERT INTO scope (kind, ancestors, gone) VALUES (?, ?, ?)", (*place, gone))
        number = cursor.lastrowid or 0
        self.connection.executemany("INSERT INTO within VALUES (?, ?, ?)", [(id, place[0], number) for id in ids])
        return number


class Changes:
    """Rows to write, collected so that each table is written in one go. Takes each object at most once."""

    def __init__(self, numbers: Numbers, seq: int) -> None:
        self.numbers, self.seq = numbers, seq
        self._heads: list[tuple[Any, ...]] = []
        self._objects: list[tuple[Any, ...]] = []
        self._values: list[tuple[Any, ...]] = []
        self._metrics: list[tuple[Any, ...]] = []
        self._stamps: list[tuple[str, bytes, str]] = []
        self._turned: list[tuple[int, bytes]] = []
        self._old_heads: list[tuple[bytes, str]] = []
        self._old_objects: list[tuple[bytes, str]] = []
        self._old_values: list[tuple[int, bytes]] = []
        self._old_metrics: list[tuple[int, bytes]] = []
        self._early: list[tuple[bytes]] = []
        self._evicted: list[tuple[bytes, str, int, str | None]] = []
        self._returned: list[tuple[bytes, str]] = []

    def add(self, id: bytes, record: Record, stamp: str | None) -> None:
        """A record of an object that was not there."""
        self._head(id, record, stamp)
        self._values += self._values_of(id, record)
        self._metrics += self._metrics_of(id, record)
        if record.deleted:
            self._turned.append((1, id))
        if record.kind == "run":
            self._early.append((id,))

    def replace(self, id: bytes, before: Record, after: Record, stamp: str | None) -> None:
        """A record in the place of another."""
        self._old_heads.append((id, after.kind))
        self._head(id, after, stamp)
        if after.content != before.content:
            old = {row[0]: row[2] for row in self._values_of(id, before)}
            new = {row[0]: row[2] for row in self._values_of(id, after)}
            self._old_values += [(key, id) for key in old.keys() - new.keys()]
            self._values += [(key, id, value) for key, value in new.items() if key not in old or old[key] != value]
        if after.summaries is not before.summaries:
            self._metrics += self._metrics_of(id, after)
        if bool(after.deleted) != bool(before.deleted):
            self._turned.append((1 if after.deleted else -1, id))

    def restamp(self, id: bytes, kind: str, stamp: str) -> None:
        """A record that is there lies in another state of its file."""
        self._stamps.append((stamp, id, kind))

    def forget(self, id: bytes, record: Record) -> None:
        """A record goes, as if it had never been there."""
        self._old_heads.append((id, record.kind))
        self._old_objects.append((id, record.kind))
        self._old_values += [row[:2] for row in self._values_of(id, record)]
        self._old_metrics += [row[:2] for row in self._metrics_of(id, record)]
        if record.deleted:
            self._turned.append((-1, id))

    def evict(self, id: bytes, vacancy: Record, stamp: str | None) -> None:
        """The trace of an object that was evicted, and that was forgotten before."""
        self._evicted.append((id, vacancy.kind, vacancy.version, stamp))

    def bring_back(self, id: bytes, kind: str) -> None:
        """An object that was evicted is there again, or is not even known to have been there."""
        self._returned.append((id, kind))

    def write(self, connection: sqlite3.Connection) -> int:
        """Writes everything, and returns how many records came."""
        many = connection.executemany
        many("DELETE FROM head WHERE seq = (SELECT seq FROM object WHERE id = ? AND kind = ?)", self._old_heads)
        many("DELETE FROM object WHERE id = ? AND kind = ?", self._old_objects)
        many("DELETE FROM value WHERE key = ? AND id = ?", self._old_values)
        many("DELETE FROM metric WHERE key = ? AND id = ?", self._old_metrics)
        many("DELETE FROM early WHERE run = ?", self._early)
        many("DELETE FROM evicted WHERE id = ? AND kind = ?", self._returned)
        many("INSERT OR REPLACE INTO evicted VALUES (?, ?, ?, ?)", self._evicted)
        many("UPDATE object SET stamp = ? WHERE id = ? AND kind = ?", self._stamps)
        _insert(connection, "INSERT INTO head", self._heads)
        _insert(connection, "INSERT OR REPLACE INTO object", self._objects)
        _insert(connection, "INSERT OR REPLACE INTO value", list(_in_order(self._values)))
        _insert(connection, "INSERT OR REPLACE INTO metric", list(_in_order(self._metrics)))
        # Last, so that it reaches the scopes that came with these records.
        below = "SELECT scope FROM within WHERE ancestor = ?"
        many(f"UPDATE scope SET gone = gone + ? WHERE num IN ({below})", self._turned)  # noqa: S608  a constant
        return len(self._heads)

    def _head(self, id: bytes, record: Record, stamp: str | None) -> None:
        self.seq += 1
        self._heads.append((self.seq, record.kind, id, record.etag, encode(record)))
        scope = self.numbers.scope(record.kind, record.ancestors)
        self._objects.append(
            (
                id, record.kind, self.seq, record.version, scope, int(record.deleted is not None), stamp,
                record.created_at or None, record.updated_at or None, record.created_by, record.updated_by,
            )
        )  # fmt: skip

    def _values_of(self, id: bytes, record: Record) -> list[tuple[int, bytes, Any]]:
        kind = record.kind
        known, give = self.numbers.fields(kind), self.numbers.field
        return [
            (known.get(path) or give(kind, path), id, stored(value) if type(value) is bool else value)
            for path, value in content_of(record)
        ]

    def _metrics_of(self, id: bytes, record: Record) -> list[tuple[Any, ...]]:
        if record.kind != "run":
            return []
        field = self.numbers.field
        return [
            (field("run", ("metrics", name)), id, item.last, item.min, item.max, item.mean, item.first, item.count)
            for name, item in combine(record.summaries).items()
        ]


def _insert(connection: sqlite3.Connection, start: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Writes rows, most of them many by one statement, which takes two thirds of the time.

    Args:
        start: The statement up to the table's name.
    """
    if not rows:
        return
    row = f"({', '.join('?' * len(rows[0]))})"
    alone = len(rows) % _TOGETHER
    connection.executemany(f"{start} VALUES {row}", rows[:alone])
    together = f"{start} VALUES {', '.join([row] * _TOGETHER)}"
    for place in range(alone, len(rows), _TOGETHER):
        connection.execute(together, list(itertools.chain.from_iterable(rows[place : place + _TOGETHER])))


def _in_order(rows: list[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Rows in the order of the index, in which neighbours share a page, by their two first columns."""
    by_key: dict[int, list[tuple[Any, ...]]] = {}
    for row in rows:
        by_key.setdefault(row[0], []).append(row)
    for key in sorted(by_key):
        yield from sorted(by_key[key], key=_id)  # which they mostly are, for ids of runs begin with the time


_id = operator.itemgetter(1)


def _remember(known: dict[_Key, int], place: _Key, number: int) -> int:
    if len(known) >= _CACHED:
        known.clear()
    known[place] = number
    return number
