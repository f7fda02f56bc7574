"""What a caller who is limited to projects may see beyond them: shared objects and blobs that these refer to.

Which objects refer to what follows from the store's change feed. It is kept in the server's database, brought up to
date before each answer, and only where somebody is limited at all. What lies in another project is never visible this
way; shared objects (datasets and codes outside of projects, and their files) and blobs are, and so is what the caller
brought along.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from padre_core import kind_of
from padre_core.backends.backend import Backend
from padre_core.errors import InvalidObjectError
from padre_core.objects import canonical
from padre_core.objects.identity import is_digest, is_id
from padre_core.objects.record import Record
from padre_server.database import Database

BATCH = 1000
LISTING_SECONDS = 6 * 3600
_MAX_PROJECTS = 10_000

_UP = """
WITH RECURSIVE above (id) AS (
    SELECT ? UNION SELECT source FROM reference JOIN above ON target = above.id WHERE project = ''
)
SELECT 1 FROM above JOIN reference ON target = above.id WHERE project IN ({projects})
UNION ALL SELECT 1 FROM above JOIN granted ON target = above.id WHERE subject = ? LIMIT 1
"""
_DOWN = """
WITH RECURSIVE below (id) AS (
    SELECT target FROM reference WHERE project IN ({projects})
    UNION SELECT target FROM granted WHERE subject = ?
    UNION SELECT target FROM reference JOIN below ON source = below.id WHERE project = ''
)
SELECT outside.id FROM outside JOIN below ON outside.id = below.id WHERE outside.kind = ? ORDER BY 1
"""


class Visibility:
    """Who sees which shared objects and blobs. May be used from several threads and processes at once."""

    def __init__(self, database: Database, backend: Backend) -> None:
        self._database, self._backend = database, backend
        self._store = backend.info().store
        self._projects: dict[str, bool] = {}

    def sees(self, target: str, projects: AbstractSet[str], subject: str) -> bool:
        """Whether a shared object or a blob is visible, now, from within these projects or by a grant."""
        self.follow()
        statement = _UP.format(projects=_marks(projects))
        return self._database.reading().execute(statement, (target, *projects, subject)).fetchone() is not None

    def shared(self, kind: str, projects: AbstractSet[str], subject: str) -> list[str]:
        """The ids of the shared objects of a kind that are visible."""
        self.follow()
        statement = _DOWN.format(projects=_marks(projects))
        return [id for (id,) in self._database.reading().execute(statement, (*projects, subject, kind))]

    def remember(self, ids: Sequence[str]) -> str:
        """Keeps what a listing was limited to for some hours, so that its next page is limited alike."""
        text = " ".join(ids)
        mark = hashlib.sha256(text.encode()).hexdigest()[:32]
        with self._database.writing() as connection:
            connection.execute("DELETE FROM listing WHERE at < ?", (time.time() - LISTING_SECONDS,))
            connection.execute("INSERT OR REPLACE INTO listing VALUES (?, ?, ?)", (mark, text, time.time()))
        return mark

    def recall(self, mark: str) -> tuple[str, ...] | None:
        """What a listing was limited to; None if that is no longer known."""
        row = self._database.reading().execute("SELECT ids FROM listing WHERE mark = ?", (mark,)).fetchone()
        return None if row is None else tuple(row[0].split())

    def sources(self, target: str) -> list[str]:
        """The ids of the objects that refer to a shared object or a blob."""
        self.follow()
        rows = self._database.reading().execute("SELECT DISTINCT source FROM reference WHERE target = ?", (target,))
        return [source for (source,) in rows]

    def granted(self, target: str, subject: str) -> bool:
        """Whether a caller brought this."""
        statement = "SELECT 1 FROM granted WHERE target = ? AND subject = ?"
        return self._database.reading().execute(statement, (target, subject)).fetchone() is not None

    def grant(self, subject: str, targets: Iterable[str]) -> None:
        """Notes that a caller brought these whole, and so may see them."""
        with self._database.writing() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO granted VALUES (?, ?)", [(target, subject) for target in targets]
            )

    def follow(self) -> None:
        """Takes up what changed in the store since anybody last did."""
        more = True
        while more:
            row = self._database.reading().execute("SELECT cursor FROM feed WHERE store = ?", (self._store,)).fetchone()
            before = row[0] if row else None
            part = self._backend.changes(before, limit=BATCH)
            if part.cursor == before and not part.entries:
                return
            records = self._backend.get_many(list(dict.fromkeys((item.kind, item.id) for item in part.entries)))
            with self._database.writing() as connection:
                now = connection.execute("SELECT cursor FROM feed WHERE store = ?", (self._store,)).fetchone()
                if (now[0] if now else None) != before:  # another process was faster
                    continue
                for record in records:
                    if record is not None:
                        self._note(connection, record)
                connection.execute("INSERT OR REPLACE INTO feed VALUES (?, ?)", (self._store, part.cursor))
            more = part.more

    def _note(self, connection: sqlite3.Connection, record: Record) -> None:
        connection.execute("DELETE FROM reference WHERE source = ?", (record.id,))
        shared = is_shared(record)
        if shared:
            connection.execute("INSERT OR IGNORE INTO outside VALUES (?, ?)", (record.kind, record.id))
        targets = set(references(record))
        if targets:
            places = [""] if shared else [id for id in (*record.ancestors, record.id) if self._may_be_project(id)]
            rows = [(target, record.id, place) for target in targets for place in places]
            connection.executemany("INSERT OR IGNORE INTO reference VALUES (?, ?, ?)", rows)
        if shared and record.ancestors:  # such as a file of a shared dataset
            row = (record.id, record.ancestors[0], "")
            connection.execute("INSERT OR IGNORE INTO reference VALUES (?, ?, ?)", row)

    def _may_be_project(self, id: str) -> bool:
        if id not in self._projects:
            if len(self._projects) > _MAX_PROJECTS:
                self._projects.clear()
            self._projects[id] = self._backend.get_many([("project", id)])[0] is not None
        return self._projects[id]


def is_shared(record: Record) -> bool:
    """Whether an object lies outside of all projects; what cannot be told counts as inside."""
    if not record.ancestors:
        return record.kind != "project" and _may_be_alone(record.kind)
    return len(record.ancestors) == 1 and _above(record) not in ("project", None) and _may_be_alone(_above(record))


def references(record: Record) -> Iterator[str]:
    """The ids and digests that a record, or a version that lost against it, names beside what it lies in."""
    for content in (record.content, *(conflict.content for conflict in record.conflicts)):
        for text in _references(canonical.from_json(content)):
            if text not in record.ancestors and text != record.id:
                yield text


def _references(value: Any) -> Iterator[str]:
    """Digests of blobs anywhere, and ids in the fields of the object itself."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            digest = item.get("digest")
            if isinstance(digest, str) and "size" in item and is_digest(digest):  # a code's digest is no blob's
                yield digest
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
    for name, field in value.items() if isinstance(value, dict) else ():
        if name not in ("tags", "metadata", "parameters", "name", "title", "description"):
            for text in field if isinstance(field, list) else [field]:
                if isinstance(text, str) and is_id(text):
                    yield text


def _above(record: Record) -> str | None:
    """The kind of the object right above a record."""
    try:
        model = kind_of(record.kind)
    except InvalidObjectError:
        return None
    if len(model.parents) == 1:
        return model.parents[0]
    above = record.data().get(f"{model.parent_field}_kind", model.parents[0] if model.parents else None)
    return above if isinstance(above, str) else None


def _may_be_alone(kind: str | None) -> bool:
    """Whether objects of a kind can lie outside of projects."""
    if kind is None:
        return False
    try:
        model = kind_of(kind)
    except InvalidObjectError:
        return False
    return not model.parents or not model.parent_required


def _marks(projects: AbstractSet[str]) -> str:
    return ", ".join("?" * len(projects))
