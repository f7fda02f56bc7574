"""Local-first for single objects: get, delete in its modes, and the proof that both sides are equal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from padre_core.backends.backend import Problem
from padre_core.errors import ConflictError, NotFoundError, PadreError
from padre_core.objects.envelope import Intent, parse
from padre_core.objects.record import Record
from padre_core.objects.references import Ref, blob_digests
from padre_core.streams.columns import STREAMS
from padre_core.sync import merge
from padre_core.sync.changes import news
from padre_core.sync.kin import subtree
from padre_core.sync.pair import AWAY, Both, Pair
from padre_core.sync.passes import Pass, Way, chunks, raise_first
from padre_core.sync.plan import FORCEABLE, REFUSALS, Action, Row, row
from padre_core.sync.states import Remote, alike
from padre_core.sync.stores import Stores

Refresh = Literal["auto", "required", "never"]


@dataclass(frozen=True, slots=True)
class Got:
    """What `get` found.

    Attributes:
        stale: Whether no remote could be asked for a newer version.
        action: What the table says, such as a warning that the remote has lost what it had.
    """

    record: Record
    stale: bool = False
    action: Action = Action.LOCAL


@dataclass(frozen=True, slots=True)
class Deleted:
    """What a delete came to on each remote.

    Attributes:
        pending: Remotes that were away, where the next sync carries it out.
    """

    actions: Mapping[str, Action] = field(default_factory=dict)
    pending: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Seen:
    """Objects as one remote has them, and the pass that goes on from there."""

    going: Pass
    both: Mapping[Ref, Both]


class Engine(Stores):
    """A local store and its remotes: what `put`, `get`, `delete`, `push`, `pull` and `sync` do; safe for threads.

    The local half of a put is the caller's: it stores the object, and `push` uploads it.
    """

    def get(self, ref: Ref, *, refresh: Refresh = "auto", remotes: Sequence[str] | None = None) -> Got:
        """The object with all below it, downloaded from the first remote that has it where that is newer.

        Raises:
            NotFoundError: It is nowhere, or was deleted.
            UnavailableError: It is not here and a remote is away; or `refresh` is required and all are.
        """
        away: PadreError | None = None
        for name in () if refresh == "never" else self._named(remotes):
            try:
                pair = self.pair(name)
                going = self.single(pair, Way.PULL)
                (both,) = pair.look([ref])
                action = self._row_of(going, both).get
                if action is Action.NOT_FOUND or not _concerns(both):
                    continue
                if action is Action.NOT_FOUND_RESTORE:
                    raise NotFoundError(f"{' '.join(ref)} was deleted on {name}; restore brings it back")
                unread: dict[Ref, PadreError] = {}
                family = self._family(pair, Way.PULL, [ref], unread)
                for broken in unread.values():
                    raise broken
                raise_first(going.run(family))
            except AWAY as error:
                away = error
                continue
            return Got(self._living(ref), action=action)
        if away is not None and refresh == "required":
            raise away
        try:
            return Got(self._living(ref), stale=away is not None)
        except NotFoundError as error:
            (head,) = self.local.get_many([ref])
            nowhere = NotFoundError(f"neither this store nor a remote has {' '.join(ref)}")
            raise away or (nowhere if head is None else error) from None

    def learn_deleted(self, ref: Ref, name: str) -> Record | None:
        """The tombstone of what a remote knows as deleted and this store does not know at all; it is kept here, too.

        Raises:
            UnavailableError: The remote is away.
        """
        pair = self.pair(name)
        (both,) = pair.look([ref])
        if both.ours is not None or both.theirs is None or both.theirs.deleted is None:
            return None
        (head,) = pair.bring([(both, both.theirs)])
        if isinstance(head, PadreError):
            raise head
        pair.agree([(both.theirs, head)])
        return head

    def delete(
        self, ref: Ref, *, mode: Literal["all", "remote", "local"] = "all", force: bool = False,
        remotes: Sequence[str] | None = None, shown: str | None = None,
        bury: Callable[[Record], object] | None = None,
    ) -> Deleted:  # fmt: skip
        """Deletes an object; see the table for what each mode does, and refuses, in which state.

        Args:
            force: Overrides what protects the last copy; never what protects somebody else's change.
            shown: The etag that the caller saw; another one is not deleted.
            bury: Stores the tombstone here, where the caller has more to do about it than that.

        Raises:
            ConflictError: It was changed since, or the table refuses it.
        """
        seen = None if shown is None else {ref: shown}
        return self.delete_many([ref], mode=mode, force=force, remotes=remotes, shown=seen, bury=bury)[ref]

    def delete_many(
        self, refs: Sequence[Ref], *, mode: Literal["all", "remote", "local"] = "all", force: bool = False,
        remotes: Sequence[str] | None = None, shown: Mapping[Ref, str] | None = None,
        bury: Callable[[Record], object] | None = None,
    ) -> dict[Ref, Deleted]:  # fmt: skip
        """The same for many objects, in steps of some, each of which is refused or begun as a whole.

        A step asks each remote what it has, and makes it durable, once and not once an object; but mode `local` proves
        of each object that it is elsewhere before its copy goes.
        """
        found: dict[Ref, Deleted] = {}
        for chunk in chunks(dict.fromkeys(refs)):
            found.update(self._delete_chunk(chunk, mode, force, remotes, shown or {}, bury or self._bury))
        return found

    def _delete_chunk(
        self, refs: Sequence[Ref], mode: str, force: bool, remotes: Sequence[str] | None, shown: Mapping[Ref, str],
        bury: Callable[[Record], object],
    ) -> dict[Ref, Deleted]:  # fmt: skip
        looked, pending = self._looked(refs, remotes)
        heads = self._heads(refs)
        for ref in refs:
            sides = [heads[ref]] if heads[ref] is not None else [seen.both[ref].theirs for seen in looked.values()]
            for side in sides:
                if ref in shown and side is not None and shown[ref] != side.etag:
                    raise ConflictError(f"{' '.join(ref)} was changed since it was seen at {shown[ref]}; get it again")
        if mode == "local":
            for ref in refs:
                self._delete_local(ref, looked, force=force)
            return {ref: Deleted(dict.fromkeys(looked, Action.EVICT)) for ref in refs}
        actions: dict[Ref, dict[str, Action]] = {ref: {} for ref in refs}
        for name, seen in looked.items():
            for ref, both in seen.both.items():
                found = self._row_of(seen.going, both)
                actions[ref][name] = found.delete_all if mode == "all" else found.delete_remote
                self._check(actions[ref][name], both, name, force=force)
        if mode == "all":
            self._delete_all(refs, looked, bury)
        else:
            self._delete_remote(refs, looked, actions, pending)
        for name, seen in looked.items():
            try:
                seen.going.pair.remote.publish()
            except AWAY:
                pending.append(name)
        return {ref: Deleted(actions[ref], tuple(pending)) for ref in refs}

    def verify(self, name: str) -> Iterator[Problem]:
        """Compares everything that this store and a remote both should have: versions, conflicts, streams, blobs.

        Raises:
            UnavailableError: The remote is away.
        """
        pair = self.pair(name)
        going = self.single(pair)
        for refs in chunks(news(self.local, None).etags):
            looked = pair.look(refs)
            going.kin.load(looked)
            tracked = [both for both in looked if going.kin.intent(both) is Intent.TRACK]
            yield from self._compare(pair, tracked)

    def _compare(self, pair: Pair, tracked: Sequence[Both]) -> Iterator[Problem]:
        digests: dict[str, str] = {}
        runs: list[str] = []
        for both in tracked:
            where = " ".join(both.ref)
            if both.ours is None:
                continue
            if both.theirs is None or not alike(both.theirs, both.ours) or both.theirs.content != both.ours.content:
                yield Problem("differs", where, f"{where} is not the same on {pair.name}: {both.state()}")
                continue
            digests.update(dict.fromkeys(blob_digests(both.ours), where))
            if both.ref[0] == "run":
                runs.append(both.ref[1])
        ends = self.local.many_ends(runs), pair.remote.many_ends(runs)
        for run, ours, theirs in zip(runs, *ends, strict=True):
            for stream in STREAMS:
                if ours[stream] != theirs[stream]:
                    yield Problem("differs", f"run {run}", f"run {run}: {pair.name} has not the same {stream}")
        for digest in sorted(self.local.has_blobs(digests) - pair.remote.has_blobs(digests)):
            yield Problem("missing-blob", digests[digest], f"{digests[digest]}: {pair.name} lacks the blob {digest}")

    def _looked(self, refs: Sequence[Ref], remotes: Sequence[str] | None) -> tuple[dict[str, _Seen], list[str]]:
        """Objects as each remote has them, and the remotes that are away."""
        looked: dict[str, _Seen] = {}
        away: list[str] = []
        for name in self._named(remotes):
            try:
                pair = self.pair(name)
                found = pair.look(refs)
                going = self.single(pair)
                going.kin.load(found)
                looked[name] = _Seen(going, {both.ref: both for both in found})
            except AWAY:
                away.append(name)
        return looked, away

    def _heads(self, refs: Sequence[Ref]) -> dict[Ref, Record | None]:
        return dict(zip(refs, self.local.get_many(refs), strict=True))

    def _row_of(self, going: Pass, both: Both) -> Row:
        return row(both.state(going.kin.intent(both)))

    def _check(self, action: Action, both: Both, name: str, *, force: bool) -> None:
        if action in REFUSALS and not (force and action in FORCEABLE):
            raise ConflictError(f"{' '.join(both.ref)} ({both.state()} on {name}) is {action}")

    def _living(self, ref: Ref) -> Record:
        record = self.local.get(*ref)
        if record.deleted is not None:
            raise NotFoundError(f"{' '.join(ref)} was deleted; restore brings it back")
        return record

    def _bury(self, head: Record) -> None:
        self.local.put(merge.tombstone(head, self.actor), if_match=head.etag)

    def _delete_all(self, refs: Sequence[Ref], looked: Mapping[str, _Seen], bury: Callable[[Record], object]) -> None:
        for seen in looked.values():
            for ref, both in seen.both.items():
                if both.state().remote is Remote.NEWER:  # forced: what came meanwhile is deleted too, and kept
                    seen.going.settle(ref)
        heads = self._heads(refs)
        with self.local.batch(f"Delete {len(refs)} objects", self.actor):
            for head in heads.values():
                if head is not None and head.deleted is None:
                    bury(head)
        for seen in looked.values():
            self._bury_unheld(seen, [ref for ref in refs if heads[ref] is None])
            seen.going.settle_many([ref for ref in refs if heads[ref] is not None])

    def _delete_remote(
        self,
        refs: Sequence[Ref],
        looked: Mapping[str, _Seen],
        actions: Mapping[Ref, Mapping[str, Action]],
        pending: Sequence[str],
    ) -> None:
        for name in pending:
            for ref in refs:
                self._notes(name).note_entry(ref, lambda entry: entry._replace(intent=Intent.DELETE))
        for name, seen in looked.items():
            due = [both for ref, both in seen.both.items() if actions[ref][name]]
            held = [both for both in due if both.ours is not None]
            living = {both.ref for both in held if both.ours is not None and both.ours.deleted is None}
            self._bury_unheld(seen, [both.ref for both in due if both.ours is None])
            for ref in living:
                seen.going.pair.note_entry(ref, lambda entry: entry._replace(intent=Intent.DELETE))
            steps = seen.going.settle_many([both.ref for both in held])
            raise_first([step for step in steps if step.ref in living])

    def _bury_unheld(self, seen: _Seen, refs: Sequence[Ref]) -> None:
        """Stores tombstones on a remote of what is not here."""
        found = [theirs for ref in refs if (theirs := seen.both[ref].theirs) is not None and theirs.deleted is None]
        if found:
            with seen.going.pair.remote.batch(f"Delete {len(found)} objects", self.actor):
                for theirs in found:
                    seen.going.bury_there(theirs)

    def _delete_local(self, ref: Ref, looked: Mapping[str, _Seen], *, force: bool) -> None:
        (head,) = self.local.get_many([ref])
        if head is None or head.deleted is not None:
            return
        records = [head, *subtree(self.local, ref)]
        for record in records:
            if not force and not self._held_elsewhere((record.kind, record.id), looked):
                raise ConflictError(f"{record.kind} {record.id} is {Action.NOT_UPLOADED}")
        for record in sorted(records, key=lambda record: -len(record.ancestors)):
            self.local.evict(record.kind, record.id, if_match=record.etag)

    def _held_elsewhere(self, ref: Ref, looked: Mapping[str, _Seen]) -> bool:
        """Whether the local copy may go; a remote that answers is asked for the object's hash, streams and blobs."""
        refused: Action | None = None
        for seen in looked.values():
            going = seen.going
            going.pair.remote.publish()
            (both,) = going.pair.look([ref])
            action = self._row_of(going, both).delete_local
            removable = action is Action.EVICT or (not action and both.state().settled)
            if removable and not list(self._compare(going.pair, [both] if _same(both) else [])):
                return True
            refused = action
        if refused is Action.CONFLICTING:
            raise ConflictError(f"{' '.join(ref)} is {refused}")
        if looked:
            return False
        (head,) = self.local.get_many([ref])
        notes = parse(head.envelope, " ".join(ref)).remotes.values() if head is not None else ()
        return any(head is not None and entry.base == head.etag for entry in notes)


def _concerns(both: Both) -> bool:
    """Whether a remote has to do with an object, so that its answer says something about it."""
    return both.entry.intent is not Intent.LOCAL_ONLY and (both.theirs is not None or both.entry.base is not None)


def _same(both: Both) -> bool:
    return both.ours is not None and both.theirs is not None and both.ours.etag == both.theirs.etag
