"""Which object is meant: by an object, an id, a URL, a name path or a key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from padre_core.backends.backend import Backend
from padre_core.errors import InvalidObjectError, NotFoundError
from padre_core.objects.base import Handle, NamedObject, PadreObject, Stored, meant
from padre_core.objects.identity import check_id, is_id
from padre_core.objects.record import Record
from padre_core.plugins import safe_url
from padre_core.services.naming import Look, generations, latest, split_path
from padre_core.services.records import Records, article, describe

T = TypeVar("T", bound=PadreObject)

Key = tuple[str | int | None, ...]

_CONTAINERS = ("project", "experiment", "dataset")


class Lookup(Generic[T]):
    """Finds the objects of one kind, whatever they are called by."""

    def __init__(self, model: type[T], records: Records, services: Mapping[str, Any]) -> None:
        self.model, self.records = model, records
        self.kind = model.kind
        self._services = services

    @property
    def backend(self) -> Backend:
        """Where the objects are kept."""
        return self.records.backend

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of the {self.model.folder} in {self.records.url}>"

    def _id_of(self, object: T | Handle | str) -> str | None:
        """The id of what is meant, where it says it by itself."""
        item = meant(object)
        if isinstance(item, self.model):
            return item.id
        if not isinstance(item, str):
            names = "id, name path or URL" if issubclass(self.model, NamedObject) else "id or URL"
            others = "" if isinstance(item, PadreObject) else f", its {names}"
            raise InvalidObjectError(f"expected {article(self.kind)}{others}, not {kind_text(item)}")
        if is_id(item):
            return item
        if "://" not in item:
            return None
        place = self.records.at(item)
        if place is None:
            raise NotFoundError(f"{safe_url(item)!r:.200} is not in {self.records.url}; open its own store to get it")
        folder, id = place
        if folder != self.model.folder:
            raise InvalidObjectError(f"{safe_url(item)!r:.200} is not the URL of {article(self.kind)}")
        return check_id(id)

    def _locate(self, object: T | Handle | str, look: Look | None = None) -> Record | None:
        """The head of what is meant, deleted or not; the living one of a name before the last deleted one."""
        id = self._id_of(object)
        if id is not None:
            return self.records.peek(self.kind, id)
        if isinstance(object, str):
            return self._by_path(object, look)
        return latest(self._generations(meant(object)))

    def _generations(self, object: T) -> Sequence[Record]:
        """All objects that ever had the key of an object, oldest first."""
        above, parent = self._resolve_parent(object.model_copy(), create=False)
        found = generations(self.records, self.model, above, parent, object.key())
        return [record for _, record in found if record is not None]

    def _by_path(self, path: str, look: Look | None = None) -> Record | None:
        """The head of a name path, deleted or not.

        Args:
            look: See `generations`.
        """
        if not issubclass(self.model, NamedObject):
            raise InvalidObjectError(
                f"{path!r:.80} is not the id of {article(self.kind)}, which no name path leads to; "
                f"workspace.{self.model.folder}.list(...) finds it"
            )
        above, name = split_path(self.kind, path)
        parent: str | None = None
        if above is not None:
            found = self._services[self.model.parents[0]]._by_path(above, look)
            if found is None:
                return None
            parent = found.id
        elif self.model.parent_required:
            field = self.model.parent_field
            raise InvalidObjectError(
                f"{path!r:.80} is no {self.kind}: give '{field}/name', for its name is unique there"
            )
        return self._newest(self.model.parents[0], parent, name, look)

    def _newest(self, above: str, parent: str | None, name: str, look: Look | None = None) -> Record | None:
        newest: Record | None = None
        for _, record in generations(self.records, self.model, above, parent, (name,), look):
            if record is None:
                break
            newest = record
            if record.deleted is None:
                break
        return newest

    def _not_found(self, object: T | Handle | str) -> NotFoundError:
        text = object if isinstance(object, str) else meant(object).name or self.kind
        return NotFoundError(f"{self.records.url} has no {self.kind} {safe_url(text)!r:.200}")

    def container(self, within: PadreObject | Handle | str) -> str:
        """The id of the object below which something is looked for; any kind that has children.

        Raises:
            NotFoundError: There is none of this name.
            InvalidObjectError: There are several.
        """
        above = meant(within)
        if isinstance(above, PadreObject):
            return above.id or record_of(self._services[above.kind].get(above, refresh="never")).id
        if is_id(above):
            return str(above)
        named = (self._services[kind].named(above) for kind in _CONTAINERS)
        found: list[Record] = [record for record in named if record is not None]
        if not found:
            raise NotFoundError(f"within={above!r:.80}: {self.records.url} has nothing of this name")
        if len(found) > 1:
            raise InvalidObjectError(f"within={above!r:.80} is {' and '.join(map(describe, found))}: give the id")
        return found[0].id

    def has(self, path: str) -> bool:
        """Whether something living of this kind is stored here under a name path."""
        record = self.named(path)
        return record is not None and self.records.in_scope(record) and self.records.deleted_ancestor(record) is None

    def named(self, path: str) -> Record | None:
        """What a name path means, if it is one of this kind and not deleted."""
        try:
            record = self._by_path(path, self.records.lately)
        except InvalidObjectError:
            return None
        return record if record is not None and record.deleted is None else None

    def buried(self, path: str) -> Record | None:
        """The deleted object that a name path means, if the last of this kind that had it is deleted."""
        try:
            record = self._by_path(path)
        except InvalidObjectError:
            return None
        return record if record is not None and record.deleted is not None and self.records.in_scope(record) else None

    def _resolve_parent(self, draft: T, *, create: bool, look: Look | None = None) -> tuple[str | None, str | None]:
        """The kind and id of the parent, which the draft names by id from then on."""
        reference = draft.parent_reference
        if reference is None or self.model.parent_field is None:
            return None, None
        above = self._parent_kind(draft)
        if not is_id(reference):
            service = self._services[above]
            found = service._ensure(reference, look) if create else service._by_path(reference)
            if found is None:
                raise service._not_found(reference)
            reference = found.id
            draft.__dict__[self.model.parent_field] = reference
        return above, reference

    def _parent_kind(self, draft: T) -> str:
        if len(self.model.parents) == 1:
            return self.model.parents[0]
        above: str = getattr(draft, f"{self.model.parent_field}_kind")
        if above not in self.model.parents:
            raise InvalidObjectError(
                f"{self.kind}.{self.model.parent_field}_kind: {above!r:.40} cannot have {self.model.folder}; "
                f"{', '.join(self.model.parents)} can"
            )
        return above

    def _load(self, record: Record) -> T:
        (object,) = self._load_page([record])
        return object

    def _load_page(self, records: Sequence[Record]) -> Sequence[T]:
        # First all contents, then all versions: a loop of one thing is faster than of several.
        objects = self.model.from_stored([record.content for record in records])
        for object, record in zip(objects, records, strict=True):
            self._bind(object, record)
        return objects

    def _key(self, object: T) -> Key:
        """What identifies an object within its parent."""
        return object.key()

    def _bind(self, object: T, record: Record) -> None:
        object._bind(Stored(record, self._key(object)))


def record_of(object: PadreObject) -> Record:
    """The record that a service read or wrote an object as."""
    stored = object._stored
    if stored is None or stored.derived:
        raise InvalidObjectError(f"the {object.kind} was not put yet")
    return stored.record


def kind_text(object: Any) -> str:
    """What to call a value of a wrong kind in a message."""
    return article(object.kind) if isinstance(object, PadreObject) else type(object).__name__
