"""What a caller may see and change: deny by default, and what is forbidden looks as if it were not there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from padre_core import InvalidObjectError, NotFoundError, kind_of, kinds
from padre_core.backends.backend import Backend
from padre_core.objects.identity import is_digest, run_of
from padre_core.objects.record import Record
from padre_core.objects.references import is_named, parent_kind
from padre_core.query import And, Compare, Expression, Field, In, Operator, Or, Query
from padre_server.rights import EVERYWHERE, Caller, Scope
from padre_server.visibility import Visibility, is_shared, references


class Limited(NamedTuple):
    """A query within what a caller may see.

    Attributes:
        shared: The shared objects that it may find; None if there can be none.
    """

    query: Query
    shared: tuple[str, ...] | None = None


class Access:
    """The limits of one caller.

    Args:
        in_scope: What the server's extensions say of an object; None if they hide nothing.

    Attributes:
        reads_all: Nothing of the store is hidden.
    """

    def __init__(
        self, caller: Caller, backend: Backend, visibility: Visibility, in_scope: Callable[[Record], bool] | None = None
    ) -> None:
        self.caller, self._backend, self._visibility, self._in_scope = caller, backend, visibility, in_scope
        self._everywhere = caller.everywhere(Scope.READ)
        self.reads_all = self._everywhere and in_scope is None
        self._readable = caller.projects(Scope.READ) - {EVERYWHERE}

    def sees(self, record: Record) -> bool:
        """Whether the caller may read an object."""
        if self._in_scope is not None and not self._in_scope(record):
            return False
        if self._everywhere or _within(record, self._readable):
            return True
        return is_shared(record) and self._visibility.sees(record.id, self._readable, self.caller.subject)

    def sees_blob(self, digest: str) -> bool:
        """Whether the caller may read a blob: he brought it, or an object that he may read refers to it."""
        if self._in_scope is None:
            return self._everywhere or self._visibility.sees(digest, self._readable, self.caller.subject)
        if self._visibility.granted(digest, self.caller.subject):
            return True
        return any(self._sees_any(source) for source in self._visibility.sources(digest))

    def check(self, record: Record) -> Record:
        """Returns a record that the caller may read.

        Raises:
            NotFoundError: He may not.
        """
        if not self.sees(record):
            raise missing(record.kind, record.id)
        return record

    def check_append(self, run: str) -> None:
        """Checks that the caller may add to a run's streams.

        Raises:
            NotFoundError: There is no such run in a project in which he may write.
        """
        if not _within(self._backend.get("run", run), self.caller.projects(Scope.WRITE)):
            raise missing("run", run)

    def limited(self, kind: str, asked: Query) -> Limited:
        """The query, limited to what the caller may see, so that pages are full, and counts and cursors right.

        Raises:
            InvalidObjectError: The cursor is none, or too old.
        """
        if self._everywhere:  # what extensions hide is hidden where the query is put
            return Limited(asked)
        conditions: list[Expression] = [
            Compare(Field(("within", project)), Operator.EQ, True) for project in sorted(self._readable)
        ]
        shared: tuple[str, ...] | None = None
        if _may_be_shared(kind):
            shared, asked = self._shared(kind, asked)
            conditions.append(In(Field(("id",)), shared))
        scope = conditions[0] if len(conditions) == 1 else Or(tuple(conditions))
        return Limited(replace(asked, where=scope if asked.where is None else And((asked.where, scope))), shared)

    def _shared(self, kind: str, asked: Query) -> tuple[tuple[str, ...], Query]:
        """The shared objects that count, which on further pages are those of the first one, and the store's cursor."""
        if asked.cursor is None:
            return tuple(self._visibility.shared(kind, self._readable, self.caller.subject)), asked
        mark, _, cursor = asked.cursor.partition(".")
        shared = self._visibility.recall(mark)
        if shared is None:
            raise InvalidObjectError("the cursor is none, or too old: begin again without one")
        return shared, replace(asked, cursor=cursor)

    def seal(self, limited: Limited, cursor: str | None) -> str | None:
        """The store's cursor as the caller gets it."""
        if cursor is None or limited.shared is None:
            return cursor
        return f"{self._visibility.remember(limited.shared)}.{cursor}"

    def check_write(self, record: Record) -> None:
        """Checks that the caller may put a version, and that it is where it says.

        A caller who is limited to projects puts objects into these only, right below what is there, and may refer to
        nothing that he could not read: a reference would make it readable.

        Raises:
            NotFoundError: He may not touch it; or what it belongs or refers to is not there, as far as he may see.
            InvalidObjectError: It does not lie where its content says.
        """
        needed = Scope.DELETE if record.deleted else Scope.WRITE
        anywhere = self.caller.everywhere(needed)
        if anywhere and (self._everywhere or not self._readable):
            return
        held = self._backend.get_many([(record.kind, record.id)])[0]
        if not anywhere:
            self._check_reach(record, held, self.caller.projects(needed) - {EVERYWHERE})
        self._check_references(record, held)
        if is_shared(record):
            self._visibility.grant(self.caller.subject, [record.id])

    def _check_reach(self, record: Record, held: Record | None, writable: frozenset[str]) -> None:
        if is_shared(record) and (held is None or is_shared(held)):
            self._check_shared(record, held)
        elif not _within(record, writable) or (held is not None and not _within(held, writable)):
            raise missing(record.kind, record.id)
        else:
            self._check_place(record, held)
        if held is None:
            _check_identity(record)

    def _check_shared(self, record: Record, held: Record | None) -> None:
        """Shared objects may be brought by anybody who can write; who brings the very same sees it from then on."""
        if record.ancestors:
            above = self._backend.get_many([(parent_kind(record), record.ancestors[0])])[0]
            if above is None or not self.sees(above):
                raise missing(record.kind, record.id)
        if held is not None and held.etag != record.etag and not self.sees(held):
            raise missing(record.kind, record.id)
        if record.deleted and (held is None or not self.sees(held)):
            raise missing(record.kind, record.id)

    def _check_place(self, record: Record, held: Record | None) -> None:
        model = kind_of(record.kind)
        run = run_of(record.id)
        if run is not None and run not in record.ancestors:
            raise InvalidObjectError(f"{record.kind} {record.id} belongs to another run than it says")
        if held is not None and held.ancestors == record.ancestors:
            return
        content = model.from_content(record.content)
        parent = content.parent_reference
        if parent != record.parent:
            raise InvalidObjectError(f"{record.kind} {record.id} names another parent than its ancestors do")
        if parent is None:
            return
        above = self._backend.get_many([(parent_kind(record), parent)])[0]
        if above is None or record.ancestors != (*above.ancestors, above.id):
            raise missing(parent_kind(record), parent)

    def _check_references(self, record: Record, held: Record | None) -> None:
        known = set() if held is None else set(references(held))
        for target in sorted(set(references(record)) - known):
            if is_digest(target):
                if not self.sees_blob(target):
                    raise NotFoundError(
                        f"there is no blob {target}, to which {record.kind} {record.id} refers: send it first"
                    )
            elif not self._sees_any(target):
                raise NotFoundError(
                    f"there is no object {target}, to which {record.kind} {record.id} refers: send it first"
                )

    def _sees_any(self, id: str) -> bool:
        found = self._backend.get_many([(model.kind, id) for model in kinds()])
        return any(record is not None and self.sees(record) for record in found)


def missing(kind: str, id: str) -> NotFoundError:
    """The one answer to what is not there and to what the caller may not see."""
    return NotFoundError(f"the store has no {kind} {id}")


def _check_identity(record: Record) -> None:
    """Checks that a new object has the id of its content, so that nobody takes the place of another's.

    Raises:
        InvalidObjectError: It has not.
    """
    if record.kind != "run" and not is_named(record, kind_of(record.kind).from_content(record.content)):
        raise InvalidObjectError(
            f"{record.kind} {record.id} does not have the id that follows from its parent and name"
        )


def _within(record: Record, projects: frozenset[str]) -> bool:
    """Whether an object is one of the projects or lies in one."""
    return not projects.isdisjoint(record.ancestors) or (record.kind == "project" and record.id in projects)


def _may_be_shared(kind: str) -> bool:
    return not all(name in ("experiment", "execution", "run") for name in kind_of(kind).parents) or (
        not kind_of(kind).parents
    )
