"""Records as services reach them: through the hooks, within the scope, below living ancestors."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from padre_core import query
from padre_core.backends.backend import Backend, Changes, Page, Write
from padre_core.backends.bytestore import ABSENT, Absent
from padre_core.errors import (
    ConflictError,
    CorruptObjectError,
    InvalidObjectError,
    NotFoundError,
    PadreError,
    PluginError,
    UnsupportedError,
)
from padre_core.hookspecs import Action, ObjectChanged, Ref, Request
from padre_core.objects import canonical
from padre_core.objects.base import PadreObject
from padre_core.objects.envelope import parse
from padre_core.objects.identity import is_id, is_run_id, run_of
from padre_core.objects.kinds import kind_of, kinds
from padre_core.objects.record import Record, Tombstone, first, successor
from padre_core.objects.references import parent_kind
from padre_core.services.hooks import Hooks, all_of

if TYPE_CHECKING:
    from padre_core.query.model import Query
    from padre_core.services.remotes import Remotes

PLACE_SECONDS = 1.0
"""How long this process takes it for granted that a parent which it saw alive still is."""


class _Alive(NamedTuple):
    """The objects that were found alive, with all above them, while a store had a pulse."""

    pulse: object | None
    ids: set[str]


class Records:
    """One workspace's way to its backend. May be used from several threads at once.

    Attributes:
        remotes: Where else the objects are kept; None if nowhere.
    """

    def __init__(self, backend: Backend, hooks: Hooks, actor: str | None, remotes: Remotes | None = None) -> None:
        self.backend, self.hooks, self.actor = backend, hooks, actor
        self.remotes = remotes
        self.url = backend.info().url
        self._alive = _Alive(None, set())
        self._places: dict[tuple[str, str], tuple[float, tuple[str, ...]]] = {}

    def __reduce__(self) -> NoReturn:
        raise UnsupportedError(
            f"a workspace is not sent to another process (impossible): open one there with padre.open({self.url!r})"
        )

    def peek(self, kind: str, id: str) -> Record | None:
        """The head of an object, past the hooks: to find out which object is meant, never to show it."""
        try:
            return self.backend.get(kind, id)
        except NotFoundError:
            return None

    def lately(self, kind: str, id: str) -> Record | None:
        """The same; what this machine saw alive not long ago may do."""
        known = self.backend.known(kind, id)
        return known if isinstance(known, Record) and known.deleted is None else self.peek(kind, id)

    def unless_absent(self, kind: str, id: str) -> Record | None:
        """The same; that this machine knows of none may do, where only a write that makes the object follows."""
        return None if isinstance(self.backend.known(kind, id), Absent) else self.peek(kind, id)

    def kind_of(self, id: str) -> str | None:
        """The kind of what is stored under an id, be it deleted or not; None if nothing is."""
        in_run = run_of(id) is not None
        candidates = [model.kind for model in kinds() if not in_run or "run" in model.parents]
        if is_run_id(id):
            candidates = ["run"]
        for kind in candidates:
            if isinstance(self.backend.known(kind, id), Record):
                return kind
        return next((kind for kind in candidates if self.peek(kind, id) is not None), None)

    def get(self, kind: str, id: str) -> Record:
        """The head of an object, which may be a tombstone.

        Raises:
            NotFoundError: There is none, or the scope of this user does not include it.
        """
        if self.hooks.scoped:  # by what is stored, not by what an extension makes of it
            self.check_scope(self.backend.get(kind, id))
        request = Request(Action.GET, Ref(kind, id), self.backend, actor=self.actor)
        record: Record = self.hooks.call(request)
        if record.kind != kind or record.id != id:
            raise PluginError(f"an extension answered the get of {kind} {id} with {record.kind} {record.id}")
        return record

    def past(self, record: Record) -> Record:
        """An old version of an object, as extensions let this user see it."""
        request = Request(Action.GET, Ref(record.kind, record.id), self.backend, record, actor=self.actor)
        seen: Record = self.hooks.call(request)
        if (seen.kind, seen.id, seen.etag) != (record.kind, record.id, record.etag):
            raise PluginError(
                f"an extension answered the get of {record.kind} {record.id} at {record.etag} with {seen.etag}; "
                "the version that is asked for is request.record"
            )
        return seen

    def at(self, url: str) -> tuple[str, str] | None:
        """The folder of the kind and the id in the URL of an object, of this store or a remote; None if of neither."""
        place = self.backend.object_at(url)
        if place is not None or self.remotes is None:
            return place
        return self._noted(url) or self.remotes.at(url)

    def _noted(self, url: str) -> tuple[str, str] | None:
        """What is here and carries the URL that it has on a remote: that needs no remote that answers."""
        rest, _, id = url.rpartition("/")
        for model in kinds():
            if is_id(id) and rest.endswith(("/" + model.folder, "#" + model.folder)):
                head = self.peek(model.kind, id)
                notes = {} if head is None else parse(head.envelope, f"{head.kind} {head.id}").remotes
                if any(entry.url == url for entry in notes.values()):
                    return model.folder, id
        return None

    def check_scope(self, record: Record) -> None:
        """Checks that this user may read an object.

        Raises:
            NotFoundError: He may not; it looks as if the object were not there.
        """
        if not self.hooks.scoped:
            return
        request = Request(Action.GET, Ref(record.kind, record.id), self.backend, actor=self.actor)
        scope = self.hooks.scope(request)
        if scope is not None and not query.matches(scope, query.values_of(record)):
            raise NotFoundError(f"{self.url} has no {record.kind} {record.id}")

    def in_scope(self, record: Record) -> bool:
        """Whether this user may read an object."""
        try:
            self.check_scope(record)
        except NotFoundError:
            return False
        return True

    def page(self, kind: str, asked: Query) -> Page:
        """A page of a listing, limited to the scope of this user."""
        limited = self._limited(kind, asked)
        page: Page = self.hooks.call(Request(Action.LIST, Ref(kind), self.backend, actor=self.actor, query=limited))
        return page

    def count(self, kind: str, asked: Query) -> int:
        """How many objects of the scope of this user a query finds."""
        return self.backend.count(kind, self._limited(kind, asked))

    def all(self, kind: str, asked: Query) -> Iterator[Record]:
        """All pages of a listing, one after the other."""
        while True:
            page = self.page(kind, asked)
            yield from page.records
            if page.cursor is None:
                return
            asked = replace(asked, cursor=page.cursor)

    def changes(self, cursor: str | None, limit: int) -> Changes:
        """A part of the store's change feed, limited to the scope of this user."""
        part = self.backend.changes(cursor, limit=limit)
        if not self.hooks.scoped:
            return part
        records = self.backend.get_many([(change.kind, change.id) for change in part.entries])
        seen = zip(part.entries, records, strict=True)
        return replace(part, entries=tuple(change for change, record in seen if record and self.in_scope(record)))

    def create(
        self, kind: str, id: str, content: bytes, ancestors: tuple[str, ...], if_match: Absent = ABSENT
    ) -> Record:
        """Stores the first version of an object.

        Args:
            if_match: `UNBORN` where the id was made at random for it.

        Raises:
            AlreadyExistsError: Something is there.
        """
        at = canonical.now()
        if self.hooks.prepares:
            draft = Record(kind, id, content, "", ancestors, (), None, at, at, self.actor, self.actor)
            content = self._prepared(Action.CREATE, draft)
        record = first(kind, id, content, ancestors, by=self.actor, at=at, version=1)
        request = Request(Action.CREATE, Ref(kind, id), self.backend, record, if_match, self.actor)
        return self._written("create", request)

    def create_many(
        self, kind: str, contents: Sequence[tuple[str, bytes]], ancestors: tuple[str, ...]
    ) -> list[Record | PadreError]:
        """Stores the first versions of objects below one parent, past the hooks: no extension may be there.

        Args:
            contents: For each object its id and its content.
        """
        at = canonical.now()
        records = [first(kind, id, content, ancestors, by=self.actor, at=at, version=1) for id, content in contents]
        writes = [Write(record, ABSENT) for record in records]
        results = self.backend.put_many(writes)
        if self.remotes is not None:
            self.remotes.changed()
        return results

    def update(
        self, before: Record, content: bytes, *, action: str = "update", ancestors: tuple[str, ...] | None = None
    ) -> Record:
        """Stores a living version that follows another: an edit, a move or a restore.

        Raises:
            ConflictError: The stored version is another.
        """
        if self.hooks.prepares:
            content = self._prepared(Action.UPDATE, replace(before, content=content, etag=""))
            if content == before.content and before.deleted is None and ancestors in (None, before.ancestors):
                return before
        at = canonical.now()
        record = successor(before, content, by=self.actor, at=at, ancestors=ancestors, version=before.version + 1)
        request = Request(Action.UPDATE, Ref(before.kind, before.id), self.backend, record, before.etag, self.actor)
        head = self._written(action, request)
        if head.etag != record.etag:  # a repeated write succeeds, but this version was superseded since
            raise ConflictError(f"{describe(before)} is at {head.etag}, and {record.etag} is an earlier version of it")
        return head

    def resolve(self, before: Record, content: bytes) -> Record:
        """Stores the version with which somebody ends the conflicts of an object.

        Raises:
            ConflictError: The stored version is another.
        """
        from padre_core.sync import resolved

        if self.hooks.prepares:
            content = self._prepared(Action.UPDATE, replace(before, content=content, etag=""))
        record = resolved(before, content, by=self.actor, at=canonical.now())
        request = Request(Action.UPDATE, Ref(before.kind, before.id), self.backend, record, before.etag, self.actor)
        return self._written("update", request)

    def delete(self, before: Record, deletion: str) -> Record:
        """Stores a tombstone.

        Raises:
            ConflictError: The stored version is another.
        """
        at = canonical.now()
        record = successor(before, before.content, by=self.actor, at=at, deleted=Tombstone(deletion, at, self.actor))
        request = Request(Action.DELETE, Ref(before.kind, before.id), self.backend, record, before.etag, self.actor)
        return self._written("delete", request)

    def place(self, kind: str, id: str, *, lately: bool = False) -> tuple[str, ...]:
        """Checks that something may refer to an object; returns the ancestors of what is stored below it.

        Args:
            lately: What this machine saw not long ago may do.

        Raises:
            NotFoundError: There is no such object.
            ConflictError: It, or an object above it, was deleted.
        """
        known = self._places.get((kind, id))
        if known is not None and time.monotonic() - known[0] < PLACE_SECONDS:
            return known[1]
        record = self.lately(kind, id) if lately else self.peek(kind, id)
        if record is None or not self.in_scope(record):
            raise self._no_parent(kind, id)
        gone = record if record.deleted else self.deleted_ancestor(record)
        if gone is not None:
            raise ConflictError(
                f"{describe(gone)} was deleted, so nothing can be put below it or refer to it: bring it back with "
                f"{restore_call(gone)}, or give a name instead of an id to make a new one"
            )
        ancestors = (*record.ancestors, id)
        if len(self._places) > 1000:
            self._places.clear()
        self._places[kind, id] = time.monotonic(), ancestors
        return ancestors

    def deleted_ancestor(self, record: Record) -> Record | None:
        """The deleted object that hides a record, if any: the one right above it first."""
        if not record.ancestors:
            return None
        # A get should not read four records where one will do.
        pulse, alive = self.backend.pulse(), self._alive
        if pulse is None or pulse != alive.pulse:
            alive = self._alive = _Alive(pulse, set())  # another thread may still add to the old one
        parent = record.ancestors[-1]
        if parent in alive.ids:
            return None
        gone = self._deleted_above(record)
        if gone is None and pulse is not None:
            alive.ids.add(parent)
        return gone

    def _deleted_above(self, record: Record) -> Record | None:
        while record.ancestors:
            try:
                above = self.lately(parent_kind(record), record.ancestors[-1])
            except CorruptObjectError:  # damage above must not take away what is whole
                return None
            if above is None:  # transfers work in any order; `verify` lists orphans
                return None
            if above.deleted:
                return above
            record = above
        return None

    def _written(self, action: str, request: Request) -> Record:
        record: Record = self.hooks.call(request)
        if action not in ("create", "update"):
            self._places.clear()
        if self.remotes is not None:
            self.remotes.changed()
        if self.hooks.listens(ObjectChanged):
            self.hooks.emit(ObjectChanged(action, record, self.actor))
        return record

    def _limited(self, kind: str, asked: Query) -> Query:
        """The query with the scope of this user."""
        if not self.hooks.scoped:
            return asked
        request = Request(Action.LIST, Ref(kind), self.backend, actor=self.actor, query=asked)
        conditions = [item for item in (asked.where, self.hooks.scope(request)) if item is not None]
        return replace(asked, where=all_of(conditions))

    def _prepared(self, action: Action, draft: Record) -> bytes:
        ref = Ref(draft.kind, draft.id)
        model = kind_of(draft.kind)

        def request(record: Record) -> Request:
            if _identity(model, record.content) != identity:
                raise PluginError(
                    f"an extension's padre_prepare changed which {draft.kind} is meant; it may change content only"
                )
            return Request(action, ref, self.backend, replace(draft, content=record.content), None, self.actor)

        identity = _identity(model, draft.content)
        return self.hooks.prepare(request(draft), request).content

    def _no_parent(self, kind: str, id: str) -> NotFoundError | InvalidObjectError:
        for model in kinds():
            if model.kind != kind and self.peek(model.kind, id) is not None:
                return InvalidObjectError(f"{id} is the id of {article(model.kind)}, not of {article(kind)}")
        return NotFoundError(f"{self.url} has no {kind} {id}: put the {kind} first")


def describe(record: Record) -> str:
    """What to call an object in a message."""
    name = record.data().get("name")
    return f"the {record.kind} {name!r} ({record.id})" if name else f"the {record.kind} {record.id}"


def article(kind: str) -> str:
    """A kind with its article."""
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def restore_call(record: Record) -> str:
    """How to bring a deleted object back."""
    return f"workspace.{kind_of(record.kind).folder}.restore({record.id!r}) or `padre restore {record.id}`"


def _identity(model: type[PadreObject], content: bytes) -> tuple[object, ...]:
    object = model.from_content(content)
    return (object.parent_reference, *object.key())
