"""Putting: creating an object, setting some of its fields, or replacing the version that was read."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from padre_core.backends.bytestore import ABSENT, Absent
from padre_core.errors import AlreadyExistsError, ConflictError, InvalidObjectError, PadreError
from padre_core.objects.identity import child_id, is_id
from padre_core.objects.record import Record
from padre_core.services.checking import checked_content
from padre_core.services.lookup import Key, Lookup, T, kind_text, record_of
from padre_core.services.naming import Look, generations, living, split_path
from padre_core.services.records import article, describe, restore_call

ATTEMPTS = 200
"""How often a write that follows on whatever is there is tried while others change the same object."""


class Putting(Lookup[T]):
    """Stores the objects of one kind."""

    def _put(self, object: T | str) -> T:
        """Stores an object here; see `Service.put`."""
        if not isinstance(object, self.model):
            raise InvalidObjectError(f"{self.model.folder}.put takes {article(self.kind)}, not {kind_text(object)}")
        stored = object._stored
        if stored is not None and not stored.derived:
            state, record = self._replace(object, stored.record, stored.key)
        else:
            state, record = self._merge(object)
        object.__dict__.update(state.__dict__)
        self._bind(object, record)
        return object

    def _put_new(self, objects: Sequence[T]) -> Sequence[T]:
        """Stores objects of one parent, named by its id, that were never read; all that are new in one go."""
        if not objects or self.records.hooks.extended:
            return [self._put(object) for object in objects]
        above, parent = self._resolve_parent(objects[0], create=True)
        ancestors = () if parent is None or above is None else self.records.place(above, parent)
        ids = [child_id(self.model.kind, above, parent, object.key(), 0) for object in objects]
        contents = [self._checked(object) for object in objects]
        results = self.records.create_many(self.kind, list(zip(ids, contents, strict=True)), ancestors)
        for object, content, result in zip(objects, contents, results, strict=True):
            if isinstance(result, PadreError) and not isinstance(result, ConflictError):
                raise result
            if isinstance(result, Record) and result.content == content and result.deleted is None:
                self._bind(object, result)
            else:  # something is there, or was
                self._put(object)
        return objects

    def _check_links(self, draft: T, before: Record | None) -> None:
        """Checks what an object newly says about others beside its parent; what it said may have gone since."""

    def _merge(self, object: T) -> tuple[T, Record]:
        """Creates an object, or sets those fields of the stored one that the caller set."""
        lost: ConflictError | None = None
        for attempt in range(ATTEMPTS):
            # The first attempt goes by what is known from before, for a write that succeeds tells that it was right.
            reference = object.parent_reference
            draft = object if reference is None or is_id(reference) else object.model_copy()
            above, parent = self._resolve_parent(
                draft, create=True, look=self.records.peek if attempt else self.records.lately
            )
            look = self.records.peek if attempt else self.records.unless_absent
            id, head = self._identify(draft, above, parent, look)
            try:
                ancestors: tuple[str, ...] = ()
                if parent is not None and above is not None:  # a deleted run takes what is put into it, hidden
                    ancestors = self.records.place(above, parent, lately=head is not None or above == "run")
                self._check_links(draft, head)
                if head is None:
                    record = self.records.create(self.kind, id, self._checked(draft), ancestors, self._absence(draft))
                    return self._as_stored(draft, record), record
                state = self._overlaid(head, draft)
                content = self._checked(state)
                record = head if content == head.content else self.records.update(head, content)
                return self._as_stored(state, record), record
            except ConflictError as error:
                now = self.records.peek(self.kind, id)
                named = parent != reference
                if (attempt or not named) and (now.etag if now else None) == (head.etag if head else None):
                    raise
                lost = error
                time.sleep(random.random() * min(attempt, 20) / 1000)  # noqa: S311  # spreads rivals, no secret
        raise ConflictError(f"{self.kind} is changed too often by others; try again") from lost

    def _replace(self, object: T, before: Record, key: Key) -> tuple[T, Record]:
        """Stores what follows the version that was read."""
        draft = object
        if object.parent_reference != before.parent:
            draft = object.model_copy()
            _, parent = self._resolve_parent(draft, create=False)
            if parent != before.parent:
                way = "use workspace.runs.move" if self.kind == "run" else f"put a new {self.kind} there instead"
                field = self.model.parent_field
                raise InvalidObjectError(f"{describe(before)}: its {field} never changes by put; {way}")
        content = self._checked(draft)
        if object.id != before.id or self._key(draft) != key:
            raise InvalidObjectError(f"{describe(before)}: what names it never changes; put a new {self.kind} instead")
        if content == before.content:
            head = self.records.peek(self.kind, before.id)
            if head is None or head.etag != before.etag:
                raise self._stale(before)
            return draft, head
        if self.model.frozen_fields:
            self._check_frozen(self.model.from_content(before.content), draft, before)
        self._check_links(draft, before)
        try:
            return draft, self.records.update(before, content)
        except ConflictError as error:
            head = self.records.peek(self.kind, before.id)
            if head is not None and head.etag == before.etag:
                raise
            raise self._stale(before) from error

    def _stale(self, before: Record) -> ConflictError:
        head = self.records.peek(self.kind, before.id)
        if head is not None and head.deleted is not None:
            return ConflictError(f"{describe(before)} was deleted; bring it back with {restore_call(before)}")
        return ConflictError(
            f"{describe(before)} was changed since it was read at {before.etag}; get it again and repeat the change"
        )

    def _ensure(self, path: str, look: Look | None = None) -> Record:
        """The living object of a name path, made as a placeholder if it is missing."""
        found = self._by_path(path, look)
        if found is not None and found.deleted is None and self.records.deleted_ancestor(found) is None:
            return found
        above, name = split_path(self.kind, path)
        fields = {"name": name} if above is None else {"name": name, str(self.model.parent_field): above}
        return record_of(self._put(self.model(**fields)))

    def _identify(self, draft: T, above: str | None, parent: str | None, look: Look) -> tuple[str, Record | None]:
        """The id of the living object that is meant, or of the one to be made."""
        id, record = living(generations(self.records, self.model, above, parent, draft.key(), look))
        if draft.id is not None and draft.id != id:
            raise InvalidObjectError(
                f"{self.kind}.id: {draft.id!r:.80} is not the id that follows from its names; leave the id out, "
                "or get the object before you change it"
            )
        return id, record

    def _absence(self, draft: T) -> Absent:
        """What a store must find before a draft is created: nothing."""
        return ABSENT

    def _overlaid(self, head: Record, draft: T) -> T:
        """The stored object with the fields that the caller set."""
        old = self.model.from_content(head.content)
        state = old.model_copy()
        for name, information in self.model.model_fields.items():
            value = draft.__dict__[name]
            said = name in draft.model_fields_set or value != information.get_default(call_default_factory=True)
            if said and name not in self.model.outside_content:
                state.__dict__[name] = value
        self._check_frozen(old, state, head)
        return state

    def _check_frozen(self, old: T, new: T, head: Record) -> None:
        for name in sorted(self.model.frozen_fields):
            if getattr(old, name) != getattr(new, name):
                raise AlreadyExistsError(f"{describe(head)} exists already, and its {name} never change: put a new one")

    def _checked(self, draft: T) -> bytes:
        """The content of a draft, which may hold what was put into its dicts past validation."""
        return checked_content(draft)

    def _as_stored(self, state: T, record: Record) -> T:
        """The state itself, unless an extension changed what was stored."""
        return self._load(record) if self.records.hooks.prepares else state
