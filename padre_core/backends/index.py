"""The index: what queries, counts and the change feed are answered from. Only a cache, in one SQLite file."""

from __future__ import annotations

import itertools
import secrets
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from padre_core.backends.backend import Change, Changes, Page
from padre_core.backends.index_file import TABLES, close_file, error_code, inode, is_damage, open_file, pack, unpack
from padre_core.backends.index_order import Row, keys_of
from padre_core.backends.index_rows import Changes as Rows
from padre_core.backends.index_rows import Numbers
from padre_core.backends.index_search import Search
from padre_core.errors import BackendError, CorruptObjectError, InvalidObjectError, UnavailableError
from padre_core.objects import canonical
from padre_core.objects.identity import check_id, is_id
from padre_core.objects.record import Record, decode, united, with_further
from padre_core.objects.summary import WriterSummary, further
from padre_core.pausing import collector_paused
from padre_core.query.cursor import encode_cursor
from padre_core.query.model import Query

_CHUNK = 500

Ref = tuple[str, str]


class _DamagedError(Exception):
    """What the index holds is not what was put there."""


class Index:
    """Records by id, by what filters see of them, and in the order in which they came.

    Whoever owns the index brings it up to date before each question: `put` what is new in a `transaction`, and
    `set_source` how far that got. When the file is damaged or was made by another version, it is thrown away:
    opening then gives an empty index, and a call that meets the damage raises `UnavailableError` and leaves an empty
    index behind, with another `id` and without `sources`.

    Safe for several threads, and for several processes on one file; not to be used in a forked child.

    Args:
        path: None keeps it in memory.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._id = ""
        self._lock = threading.RLock()
        self._depth = 0
        self._seq = 0
        self._rare: set[str] = set()
        with self._guarded():
            self._connect()

    @property
    def id(self) -> str:
        """Random, of this filling of the index: when it changes, also by another process, all must be put again."""
        with self._reading():
            return self._id

    # What its owner tells it

    def sources(self) -> dict[str, int]:
        """What was taken up so far: the name of each source, and how far."""
        with self._reading() as connection:
            return dict(connection.execute("SELECT name, offset FROM source"))

    def set_source(self, name: str, offset: int) -> None:
        """Notes how far a source was taken up."""
        with self.transaction():
            self._connection.execute("INSERT OR REPLACE INTO source VALUES (?, ?)", (name, offset))

    def drop_source(self, name: str) -> None:
        """Forgets a source, but not what came from it."""
        with self.transaction():
            self._connection.execute("DELETE FROM source WHERE name = ?", (name,))

    def look(self) -> str | None:
        """What was noted of the last look at the store, by any process."""
        with self._reading() as connection:
            row = connection.execute("SELECT value FROM meta WHERE name = 'look'").fetchone()
            return None if row is None else str(row[0])

    def set_look(self, text: str) -> None:
        """Notes something of a look at the store that brought all that was new."""
        with self.transaction():
            self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('look', ?)", (text,))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Makes one step of all that is written in the block; others wait. May be nested."""
        with self._begin("IMMEDIATE"):
            yield

    def put(self, records: Iterable[Record], *, stamps: Mapping[Ref, str] | None = None) -> int:
        """Takes up records, in any order and any number of times, and returns how many were news.

        The greater `Record.version` stays, with the summaries of both.

        Args:
            stamps: For records by kind and id, which state of a file they were read from.
        """
        with self.transaction():
            rest = iter(records)
            chunks = iter(lambda: list(itertools.islice(rest, _CHUNK)), [])
            return sum(self._put(chunk, stamps or {}) for chunk in chunks)

    def put_summaries(self, run: str, summaries: Sequence[WriterSummary], evicted: int = 0) -> None:
        """Takes up what the points of a live run come to; for each metric and writer the greater count stays.

        Args:
            evicted: After which eviction of the run the points were written.
        """
        with self.transaction():
            record = self.get("run", run)
            if record is not None and record.evicted == evicted:
                self._put([replace(record, summaries=tuple(summaries))], {})
                return
            early = further(self._early(pack(check_id(run)), evicted), summaries)
            text = canonical.to_json([summary.as_json() for summary in early]).decode()
            self._connection.execute("INSERT OR REPLACE INTO early VALUES (?, ?, ?)", (pack(run), text, evicted))

    def remove(self, kind: str, id: str) -> None:
        """Forgets an object, as if it had never been."""
        with self.transaction():
            record = self.get(kind, id)
            changes = Rows(self._numbers, self._seq)
            changes.bring_back(pack(id), kind)
            if record is not None:
                changes.forget(pack(id), record)
            self._write(changes)

    def clear(self) -> None:
        """Forgets everything."""
        with self.transaction():
            for table in TABLES:
                self._connection.execute(f"DELETE FROM {table}")  # noqa: S608  a name from a fixed list
            self._connection.execute("DELETE FROM meta WHERE name = 'look'")
            self._connection.execute("UPDATE meta SET value = ? WHERE name = 'id'", (secrets.token_hex(8),))
            self._refresh()

    def close(self) -> None:
        """Frees the file."""
        with self._lock:
            close_file(self._connection, self.path)

    # What it answers

    def size(self) -> int:
        """How many objects there are, of all kinds."""
        with self._reading() as connection:
            return int(connection.execute("SELECT count(*) FROM object").fetchone()[0])

    def get(self, kind: str, id: str) -> Record | None:
        """The record of an object; None if it never came."""
        if not is_id(id):
            return None
        with self._lock, self._guarded():
            return self._load(kind, pack(id))

    def stamp(self, kind: str, id: str) -> str | None:
        """Which state of its file an object was read from, if that is known."""
        with self._reading() as connection:
            statement = "SELECT stamp FROM object WHERE id = ? AND kind = ?"
            row = connection.execute(statement, (pack(check_id(id)), kind)).fetchone()
            return None if row is None or row[0] is None else str(row[0])

    def query(self, kind: str, query: Query) -> Page:
        """A page of records; see `Backend.query`."""
        if query.limit < 1:
            raise InvalidObjectError(f"a page holds at least one object, not {query.limit}")
        with self._reading(), _bound():
            rows = self._search(kind, query).rows()
            shown = rows[: query.limit]
            records = tuple(self._load_all(kind, shown))
        more = len(rows) > query.limit
        return Page(records, encode_cursor(kind, query, keys_of(shown[-1]), unpack(shown[-1][0])) if more else None)

    def count(self, kind: str, query: Query) -> int:
        """How many records a query finds on all pages."""
        with self._reading(), _bound():
            return self._search(kind, query).count()

    def changes(self, cursor: str | None, limit: int) -> Changes:
        """What came since a cursor, in the order in which it came; see `Backend.changes`."""
        with self._reading() as connection:
            owner, _, number = (cursor or "").partition(":")
            sound = owner == self._id and number.isascii() and number.isdecimal() and len(number) < 20
            known = sound and int(number) <= self._seq
            after = int(number) if known else 0
            rows = connection.execute(
                "SELECT seq, kind, id, etag FROM head WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit + 1)
            ).fetchall()
        shown = rows[:limit]
        return Changes(
            tuple(Change(kind, unpack(id), etag) for _, kind, id, etag in shown),
            cursor=f"{self._id}:{shown[-1][0] if shown else after}",
            more=len(rows) > limit,
            reset=cursor is not None and not known,
        )

    def stamps(self) -> Iterator[tuple[str, str, str]]:
        """Kind, id and stamp of all objects that were put with one, those that were evicted included."""
        statements = (f"SELECT kind, id, stamp FROM {table} WHERE stamp IS NOT NULL" for table in ("object", "evicted"))  # noqa: S608
        with self._reading() as connection:
            rows = connection.execute(" UNION ALL ".join(statements)).fetchall()
        return ((kind, unpack(id), stamp) for kind, id, stamp in rows)

    def records(self) -> Iterator[Record]:
        """All records, a few in memory at once; those that are put meanwhile may be missing."""
        after = -1
        while True:
            with self._reading() as connection:
                rows = connection.execute(
                    "SELECT seq, line FROM head WHERE seq > ? ORDER BY seq LIMIT ?", (after, _CHUNK)
                ).fetchall()
                found = [_decoded(line) for _, line in rows]
            if not rows:
                return
            yield from found
            after = rows[-1][0]

    # Writing

    @collector_paused()  # each record makes some thirty tuples, and all are gone afterwards
    def _put(self, records: Iterable[Record], stamps: Mapping[Ref, str]) -> int:
        newest: dict[Ref, Record] = {}
        for record in records:
            ref = record.kind, record.id
            newest[ref] = united(newest[ref], record) if ref in newest else record
        changes = Rows(self._numbers, self._seq)
        self._rare = {table for table in ("evicted", "early") if self._holds(table)}
        present = self._present({pack(check_id(id)) for _, id in newest})
        for ref, record in newest.items():
            id = pack(record.id)
            self._take(id, record, present.get((id, record.kind)), stamps.get(ref), changes)
        return self._write(changes)

    def _present(self, ids: Collection[bytes]) -> dict[tuple[bytes, str], tuple[int, str | None]]:
        """Version and stamp of those of a few objects that are there, by id and kind."""
        statement = f"SELECT id, kind, version, stamp FROM object WHERE id IN ({', '.join('?' * len(ids))})"  # noqa: S608
        rows = self._connection.execute(statement, tuple(ids))
        return {(id, kind): (version, stamp) for id, kind, version, stamp in rows}

    def _holds(self, table: str) -> bool:
        """Whether there is anything in a table, in which most indexes have nothing."""
        return bool(self._connection.execute(f"SELECT EXISTS (SELECT 1 FROM {table})").fetchone()[0])  # noqa: S608

    def _write(self, changes: Rows) -> int:
        self._seq = changes.seq
        return changes.write(self._connection)

    def _take(
        self, id: bytes, record: Record, present: tuple[int, str | None] | None, stamp: str | None, changes: Rows
    ) -> None:
        if present is None:
            self._take_new(id, record, stamp, changes)
            return
        version, known_stamp = present
        if record.evicted > version:  # nothing of what is here counts any more
            before = self._load(record.kind, id)
            if before is None:
                raise _DamagedError
            changes.forget(id, before)
            self._take_new(id, record, stamp, changes)
            return
        if record.version > version or record.summaries:
            before = self._load(record.kind, id)
            if before is None:
                raise _DamagedError
            after = united(before, record)
            if after is not before:
                changes.replace(id, before, after, stamp or known_stamp)
                return
        if stamp is not None and stamp != known_stamp:
            changes.restamp(id, record.kind, stamp)

    def _take_new(self, id: bytes, record: Record, stamp: str | None, changes: Rows) -> None:
        statement = "SELECT version, stamp FROM evicted WHERE id = ? AND kind = ?"
        among = "evicted" in self._rare
        row = self._connection.execute(statement, (id, record.kind)).fetchone() if among else None
        if row is not None and record.version < row[0]:
            return
        if record.vacant:
            changes.evict(id, record, stamp or (row and row[1]))
            return
        if row is not None:
            changes.bring_back(id, record.kind)
        early = self._early(id, record.evicted) if record.kind == "run" and "early" in self._rare else ()
        changes.add(id, with_further(record, early), stamp)

    def _early(self, run: bytes, evicted: int) -> tuple[WriterSummary, ...]:
        statement = "SELECT summaries FROM early WHERE run = ? AND evicted = ?"
        row = self._connection.execute(statement, (run, evicted)).fetchone()
        return tuple(map(WriterSummary.from_json, canonical.from_json(row[0]))) if row else ()

    # Reading

    def _load(self, kind: str, id: bytes) -> Record | None:
        statement = "SELECT line FROM object JOIN head USING (seq) WHERE object.id = ? AND object.kind = ?"
        row = self._connection.execute(statement, (id, kind)).fetchone()
        return _decoded(row[0]) if row else None

    def _search(self, kind: str, query: Query) -> Search:
        return Search(self._connection, self._numbers.find, _decoded, kind, query)

    def _load_all(self, kind: str, rows: Sequence[Row]) -> Iterator[Record]:
        """The records of the objects that a search found, in that order."""
        for start in range(0, len(rows), _CHUNK):
            part = rows[start : start + _CHUNK]
            ids = [row[0] for row in part if row[-1] is None]
            found = self._load_some(kind, ids) if ids else {}
            yield from (record for row in part if (record := row[-1] or found.get(row[0])) is not None)

    def _load_some(self, kind: str, ids: Sequence[bytes]) -> dict[bytes, Record]:
        marks = ", ".join("?" * len(ids))
        statement = f"SELECT o.id, line FROM object o JOIN head USING (seq) WHERE o.kind = ? AND o.id IN ({marks})"  # noqa: S608
        rows = self._connection.execute(statement, (kind, *ids))
        return {id: _decoded(line) for id, line in rows}  # at once, so that not all lines are in memory

    # Transactions and faults

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """One state of the index for several statements."""
        with self._begin("DEFERRED"):
            yield self._connection

    @contextmanager
    def _begin(self, mode: str) -> Iterator[None]:
        with self._lock:
            if self._depth:
                yield
                return
            with self._guarded():
                self._connection.execute(f"BEGIN {mode}")
                self._depth = 1
                try:
                    self._refresh()
                    before = self._seq
                    yield
                    if self._seq != before:
                        self._connection.execute("UPDATE meta SET value = ? WHERE name = 'seq'", (self._seq,))
                    self._connection.execute("COMMIT")
                except BaseException:
                    self._numbers.forget()  # some may have been given in this transaction
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
                finally:
                    self._depth = 0

    def _refresh(self) -> None:
        """Sees what other processes did."""
        meta = dict(self._connection.execute("SELECT name, value FROM meta WHERE name IN ('id', 'seq')"))
        if meta["id"] != self._id:
            self._id = meta["id"]
            self._numbers.forget()
        self._seq = meta["seq"]

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except _DamagedError as error:
            self._start_again(error)
        except sqlite3.Error as error:
            if is_damage(error):
                self._start_again(error)
            if error_code(error) == sqlite3.SQLITE_BUSY:
                raise UnavailableError(f"the index {self.path} is busy: {error}; try again") from error
            raise BackendError(f"the index {self.path} failed: {error}") from error

    def _start_again(self, error: Exception) -> NoReturn:
        self._connection.close()
        self._connect(damaged=self._inode)
        raise UnavailableError(f"the index {self.path} was damaged and is now empty; the next call fills it") from error

    def _connect(self, damaged: int | None = None) -> None:
        try:
            self._connection = open_file(self.path, damaged=damaged)
        except OSError as error:
            raise BackendError(f"the index {self.path} cannot be opened: {error}") from error
        self._inode = inode(self.path)
        self._numbers = Numbers(self._connection)
        self._refresh()


@contextmanager
def _bound() -> Iterator[None]:
    """Around statements with values from a filter."""
    try:
        yield
    except (OverflowError, UnicodeEncodeError) as error:
        raise InvalidObjectError("a value in the filter is no 64-bit integer or valid text") from error


def _decoded(line: bytes) -> Record:
    try:
        return decode(line, "the index")
    except (CorruptObjectError, TypeError) as error:
        raise _DamagedError from error
