"""What every kind's service can do: put, get, list, count, delete, restore."""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from padre_core import query
from padre_core.backends.backend import Revision
from padre_core.errors import ConflictError, InvalidObjectError, NotFoundError, PadreError, UnsupportedError
from padre_core.objects.base import Handle, PadreObject, meant
from padre_core.objects.record import Record
from padre_core.services.checking import checked_limit
from padre_core.services.listing import Listing, Row, row
from padre_core.services.lookup import T, record_of
from padre_core.services.moments import moment
from padre_core.services.putting import ATTEMPTS, Putting
from padre_core.services.records import Records, describe, restore_call

if TYPE_CHECKING:
    from padre_core.query.model import Expression, Query
    from padre_core.services.remotes import Remotes

logger = logging.getLogger(__name__)

_ETAG = re.compile(r"[1-9]\d*-[0-9a-f]{16}")

Refresh = Literal["auto", "required", "never"]
Mode = Literal["all", "local", "remote"]


class Service(Putting[T]):
    """Stores and finds the objects of one kind, such as `workspace.projects`.

    Wherever an object is meant, the object, its id, its URL, or (projects, experiments, datasets) its name path such
    as `iris/svc` will do. May be used from several threads at once.
    """

    def put(self, object: T | str, *, remote: str | None = None) -> T:
        """Stores an object and returns it with its id, stamps and version.

        An object that was never read is created; if it is there already, the fields that you set are, and the others
        stay. An object that was read replaces the version that was read. What is equal already is not stored again.
        Parents given by name are created if they are missing.

        Args:
            object: With `remote` also the id or name path of what is stored already.
            remote: Also upload it there, with all that lies below it; the call returns when the remote has it.

        Raises:
            ConflictError: The object was changed since it was read: get it again. Or its parent was deleted.
            AlreadyExistsError: It exists, and what cannot change would change.
            NotFoundError: The parent, given by id, does not exist.
            InvalidObjectError: The object is no valid one of this kind.
            UnavailableError: It is stored here, and the remote is away; it travels later.
        """
        if remote is None:
            return self._put(object)
        remotes = self.records.remotes
        if remotes is None:
            raise UnsupportedError(f"{self.records.url} has no remote {remote!r:.80}: `padre remote add NAME URL`")
        name = remotes.named(remote)
        if isinstance(object, self.model) and object._stored is None:
            self._learn_deleted(object, remotes, name)
        state = self._here(object) if isinstance(object, str) else self._put(object)
        record = record_of(state)
        remotes.upload((record.kind, record.id), name)
        self._bind(state, self.backend.get(record.kind, record.id))
        return state

    def _learn_deleted(self, object: T, remotes: Remotes, remote: str) -> None:
        """Takes up which names of a new object, and above it, were deleted on a remote: it gets the next ones there."""

        def look(kind: str, id: str) -> Record | None:
            return self.records.peek(kind, id) or remotes.learn_deleted((kind, id), remote)

        draft = object.model_copy()
        above, parent = self._resolve_parent(draft, create=True, look=look)
        self._identify(draft, above, parent, look)

    def get(self, object: T | Handle | str, *, refresh: Refresh = "auto", at: str | None = None) -> T:
        """The stored object; where a remote has a newer one, or it is not here yet, that is downloaded first.

        Args:
            refresh: Whether a remote must, may or must not be asked for a newer version.
            at: An old version, where the store keeps them: that of a time such as `2026-11-23` (UTC), of an etag, or in
                a state of the store, which in git is a commit, a tag or a branch. No remote is asked.

        Raises:
            NotFoundError: It does not exist; the message tells if it was deleted and how to restore it.
            UnavailableError: It is not here, and a remote is away; or `refresh` is required and all are.
            UnsupportedError: The store keeps no old versions.
        """
        if at is not None:
            past = self._past(object, at)
            if past.deleted is not None:
                raise NotFoundError(f"{describe(past)} was deleted at that time")
            return self._load(self.records.past(past))
        remotes = self.records.remotes
        if remotes is None and refresh == "required":
            raise UnsupportedError(f"{self.records.url} has no remote to refresh from")
        if remotes is None or refresh == "never":
            return self._here(object)
        away: list[PadreError] = []
        try:
            id = self.locate(object, away)
        except NotFoundError as error:
            raise (away or [error])[0] from None
        got = remotes.engine.get((self.kind, id), refresh=refresh)
        found = self._here(id)
        if got.stale and found._stored is not None:
            found._stored.stale = True
        return found

    def _here(self, object: T | Handle | str) -> T:
        """The object as it is stored here."""
        return self._load(self._seen(object))

    def _seen(self, object: T | Handle | str) -> Record:
        """The record of an object that is stored here, alive, and readable for the user."""
        id = self._id_of(object)
        record = self._named(object) if id is None else self._read(id)
        if record.deleted is not None:
            raise NotFoundError(f"{describe(record)} was deleted; bring it back with {restore_call(record)}")
        hidden = self.records.deleted_ancestor(record)
        if hidden is not None:
            raise NotFoundError(
                f"{describe(record)} is hidden because {describe(hidden)} was deleted; "
                f"bring both back with {restore_call(hidden)}"
            )
        return record

    def _named(self, object: T | Handle | str) -> Record:
        """The record of what is meant by its names, read now; where these lead may be known from before."""
        for look in (self.records.lately, self.records.peek):
            found = self._locate(object, look)
            if found is not None:
                with contextlib.suppress(NotFoundError):
                    record = self._read(found.id)
                    if record.deleted is None or look == self.records.peek:
                        return record
        raise self._not_found(object)

    def has_anywhere(self, path: str, away: list[PadreError]) -> bool:
        """Whether something of this kind has a name path, here or on a remote; why others do not answer is added."""
        try:
            return bool(self.locate(path, away))
        except (NotFoundError, InvalidObjectError):
            return False

    def locate(self, object: T | Handle | str, away: list[PadreError] | None = None) -> str:
        """The id of what is meant, be it stored here or on a remote.

        Args:
            away: Why remotes that were asked do not answer is added here.

        Raises:
            NotFoundError: It is nowhere.
        """
        id = self._id_of(object)
        if id is not None:
            return id
        found = self._locate(object)
        remotes = self.records.remotes
        if found is None and isinstance(object, str) and remotes is not None:
            stores = (Records(backend, self.records.hooks, self.records.actor) for backend in remotes.reached(away))
            found = next((record for store in stores if (record := self._beside(store)._by_path(object))), None)
        if found is None:
            raise self._not_found(object)
        return found.id

    def _beside(self, records: Records) -> Service[T]:
        """The service of the same kind on another store."""
        services: dict[str, Service[Any]] = {}
        for kind, service in self._services.items():
            services[kind] = type(service)(service.model, records, services)
        return services[self.kind]

    def list(
        self,
        where: str | Expression | None = None,
        *,
        order_by: str | Sequence[str] | None = None,
        limit: int | None = None,
        within: PadreObject | Handle | str | None = None,
        deleted: bool = False,
    ) -> Listing[T]:
        """The objects that a filter finds, by creation time unless you say otherwise.

        Args:
            where: See `docs/filters.md`, such as `metrics.loss.last < 0.1 and tags.stage == "final"`.
            order_by: Fields, each with `-` in front for descending order.
            within: Only what lies below this object, at any depth.
            deleted: The deleted objects instead of the living.

        Raises:
            InvalidObjectError: The filter or the order is malformed; the message points at the place.
        """
        asked = self._query(where, order_by, within, deleted=deleted)
        return Listing(self._fetch, self._row, asked, checked_limit(limit), self.model.folder)

    def count(
        self,
        where: str | Expression | None = None,
        *,
        within: PadreObject | Handle | str | None = None,
        deleted: bool = False,
    ) -> int:
        """How many objects a filter finds."""
        return self.records.count(self.kind, self._query(where, None, within, deleted=deleted))

    def delete(
        self, objects: T | Handle | str | Iterable[T | Handle | str], *, mode: Mode = "all", force: bool = False
    ) -> int:
        """Deletes one object or many, and hides all that lies below; returns how many this call deleted.

        What does not exist, or was deleted before, is no error. `restore` brings an object back.

        Args:
            mode: `all`, `local` or `remote`; without remotes the first two are the same. `local` removes the copy
                that is here and deletes nothing elsewhere; `remote` deletes there and leaves the copy here.
            force: Also delete what was changed since it was read, and a last copy.

        Raises:
            ConflictError: An object was changed since it was read; or it would be lost, or somebody else's change.
        """
        if mode not in ("all", "local", "remote"):
            raise InvalidObjectError(f"mode is 'all', 'local' or 'remote', not {mode!r:.40}")
        given = (
            [*objects] if isinstance(objects, Iterable) and not isinstance(objects, str | PadreObject) else [objects]
        )
        items = [meant(item) for item in given]
        if self.records.remotes is not None:
            return self._delete_anywhere(items, mode, force, self.records.remotes)
        if mode == "remote":
            raise UnsupportedError(f"{self.records.url} has no remote to delete from")
        found = [(item, self._held(item) or self._locate(item)) for item in items]
        deletion = secrets.token_hex(16)
        with self.backend.batch(f"Delete {len(items)} {self.model.folder}", self.records.actor):
            return sum(
                self._delete(record, deletion, None if force or isinstance(item, str) else item.etag)
                for item, record in found
                if record is not None and self.records.in_scope(record)
            )

    def _delete_anywhere(self, items: Sequence[T | str], mode: Mode, force: bool, remotes: Remotes) -> int:
        ids: dict[str, T | str] = {}
        for item in items:
            with contextlib.suppress(NotFoundError):
                ids.setdefault(self.locate(item), item)
        held = self._in_scope_anywhere(list(ids), remotes)
        shown = {
            (self.kind, id): item.etag
            for id, item in ids.items()
            if not (force or isinstance(item, str)) and item.etag is not None
        }
        deletion = secrets.token_hex(16)
        try:
            deleted = remotes.engine.delete_many(
                [(self.kind, id) for id in held],
                mode=mode,
                force=force,
                shown=shown,
                bury=lambda head: self._delete(head, deletion, shown.get((self.kind, head.id))),
            )
        finally:  # what was deleted here before something failed has to travel all the same
            remotes.changed()
        count = 0
        for (_, id), done in deleted.items():
            for name in done.pending:
                logger.warning("%s is away: the next sync deletes %s %s there", name, self.kind, id)
            record = held[id]
            lived = record is not None and record.deleted is None
            count += lived or (mode != "local" and any(done.actions.values()))
        return count

    def _in_scope_anywhere(self, ids: Sequence[str], remotes: Remotes) -> dict[str, Record | None]:
        """The local heads of those objects that the scope shows, wherever they are."""
        refs = [(self.kind, id) for id in ids]
        held = dict(zip(ids, self.backend.get_many(refs), strict=True))
        if not self.records.hooks.scoped:
            return held
        seen = {id: record for id, record in held.items() if record is not None}
        for store in remotes.reached():
            missing = [ref for ref in refs if ref[1] not in seen]
            found = store.get_many(missing) if missing else []
            seen.update({record.id: record for record in found if record is not None})
        return {id: held[id] for id, record in seen.items() if self.records.in_scope(record)}

    def restore(self, object: T | str, *, at: str | None = None) -> T:
        """Brings a deleted object back, with all that its deletion hid; one that is there is returned as it is.

        Args:
            at: Make a new version that says what an old one did; see `get`.

        Raises:
            NotFoundError: There never was such an object.
            ConflictError: An object of the same name lives; or an object above was deleted, and comes first.
        """
        record = self._locate(object)
        if record is None or not self.records.in_scope(record):
            raise self._not_found(object)
        rivals = self._generations(self._load(record))
        alive = next((rival for rival in rivals if rival.deleted is None), None)
        gone = [rival for rival in rivals if rival.deleted is not None]
        if alive is not None and gone and (alive.id != record.id or self._id_of(object) is None):
            raise ConflictError(
                f"{describe(alive)} lives, so nothing deleted of its name can be restored, such as {gone[-1].id}; "
                "delete the living one first"
            )
        hidden = self.records.deleted_ancestor(record)
        if hidden is not None:
            raise ConflictError(f"{describe(hidden)} above it was deleted: first {restore_call(hidden)}")
        content = record.content if at is None else self._past(object, at).content
        if record.deleted is None and content == record.content:
            return self._load(record)
        return self._load(self.records.update(record, content, action="restore"))

    def history(self, object: T | str) -> Iterator[T]:
        """Earlier versions of an object, newest first, where the backend keeps them.

        Raises:
            UnsupportedError: The backend keeps the newest version only.
        """
        return (self._load(revision.record) for revision in self._revisions(object))

    def revisions(self, object: T | str) -> Iterator[tuple[T, str | None]]:
        """The same, each with what the store calls the state that it came with: in git, the commit."""
        return ((self._load(revision.record), revision.place) for revision in self._revisions(object))

    def _revisions(self, object: T | str) -> Iterator[Revision]:
        self.backend.capabilities.require("history", self.records.url)
        head = self._locate(object)
        if head is None or not self.records.in_scope(head):
            raise self._not_found(object)
        found = self.backend.history(self.kind, head.id)
        return (revision._replace(record=self.records.past(revision.record)) for revision in found)

    def _past(self, object: T | Handle | str, at: str) -> Record:
        """The version that was the newest at a time, in a state of the store that has a name, or of an etag."""
        self.backend.capabilities.require("history", self.records.url)
        head = self._locate(object)
        if head is None or not self.records.in_scope(head):
            raise self._not_found(object)
        time = moment(at)
        etag = _ETAG.fullmatch(at) is not None
        named = None if etag or time is not None else at
        found = (revision.record for revision in self.backend.history(self.kind, head.id, at=named))
        if etag:
            found = (record for record in found if record.etag == at)
        elif time is not None:
            found = (record for record in found if record.updated_at <= time)
        record = next(found, None)
        if record is None:
            raise NotFoundError(
                f"{describe(head)} was not there at {at!r:.80}; `padre history {head.id}` lists its versions"
            )
        return record

    def url(self, object: T | Handle | str) -> str:
        """The URL of an object, which `get` takes."""
        return self.backend.object_url(self.kind, str(self.get(object, refresh="never").id))

    def _read(self, id: str) -> Record:
        return self.records.get(self.kind, id)

    def _row(self, object: T) -> Row:
        return row(object)

    def _rewrite(self, where: Expression) -> Expression:
        """Turns conditions on derived fields into conditions on stored ones."""
        return where

    def _held(self, item: T | str) -> Record | None:
        """The record that an object was read as; whether it is the newest is found out by writing."""
        stored = item._stored if isinstance(item, self.model) else None
        return None if stored is None or stored.derived else stored.record

    def _delete(self, record: Record, deletion: str, etag: str | None) -> int:
        for _ in range(ATTEMPTS):
            if record.deleted is not None:
                return 0
            if etag is not None and etag != record.etag:
                raise ConflictError(
                    f"{describe(record)} was changed since it was read at {etag}; "
                    "get it again, or delete it with force=True"
                )
            try:
                self.records.delete(record, deletion)
                return 1
            except ConflictError:
                head = self.records.peek(self.kind, record.id)
                if head is None or head.etag == record.etag:
                    raise
                record = head
        raise ConflictError(f"{describe(record)} is changed too often by others; try again")

    def _query(
        self,
        where: str | Expression | None,
        order_by: str | Sequence[str] | None,
        within: PadreObject | Handle | str | None,
        *,
        deleted: bool,
    ) -> Query:
        if not isinstance(where, str | query.Expression | None):
            raise InvalidObjectError(f"where: expected a filter such as 'name == \"svc\"', not {where!r:.80}")
        if not isinstance(order_by, str | Iterable | None):
            raise InvalidObjectError(f"order_by: expected fields such as '-created_at', not {order_by!r:.80}")
        condition = query.parse(where, self.kind) if isinstance(where, str) else where and query.check(where, self.kind)
        fields = order_by if isinstance(order_by, str) or order_by is None else ", ".join(map(str, order_by))
        return query.Query(
            where=None if condition is None else self._rewrite(condition),
            within=None if within is None else self.container(within),
            order=query.parse_order(fields, self.kind) if fields else (),
            deleted=query.Deleted.ONLY if deleted else query.Deleted.EXCLUDE,
        )

    def _fetch(self, asked: Query) -> tuple[Sequence[T], str | None]:
        page = self.records.page(self.kind, asked)
        return self._load_page(page.records), page.cursor
