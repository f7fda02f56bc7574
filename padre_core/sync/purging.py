"""Purging: what was deleted long ago leaves a store for good, with all that the deletion hid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from padre_core.backends.backend import Backend
from padre_core.backends.bytestore import Progress
from padre_core.errors import ConflictError, NotFoundError
from padre_core.objects.envelope import Intent, parse
from padre_core.objects.kinds import kinds
from padre_core.objects.record import Record
from padre_core.objects.references import Ref
from padre_core.query.model import Deleted, Query
from padre_core.sync.kin import records_of, subtree


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge came to.

    Attributes:
        objects: What was deleted, and with how many objects below it.
        waiting: What was deleted long enough ago and stays all the same, and why.
        freed: What no object names any more and was removed with it, as numbers by a name.
    """

    objects: Mapping[Ref, int] = field(default_factory=dict)
    waiting: Mapping[Ref, str] = field(default_factory=dict)
    freed: Mapping[str, int] = field(default_factory=dict)


def purge(
    store: Backend, remotes: Mapping[str, bool], *, before: str, dry: bool = False, progress: Progress | None = None
) -> Purged:
    """Removes the tombstones of a store that are older than a time, and what lies below them.

    Only this store gives them up. A remote keeps its own; nothing that is there comes back here because of it, and that
    something is not here never deletes it there. What is purged everywhere is gone.

    Args:
        remotes: The names of the store's remotes, and whether all objects travel to each.
        before: By the clock of whoever deleted; what was changed below a deleted object since then keeps it, too.
        dry: Remove nothing, only say what would be.
    """
    objects: dict[Ref, int] = {}
    waiting: dict[Ref, str] = {}
    gone: set[str] = set()
    for grave in sorted(_graves(store), key=_depth):
        if not gone.isdisjoint(grave.ancestors):
            continue
        ref = grave.kind, grave.id
        family = sorted([grave, *subtree(store, ref)], key=_depth, reverse=True)
        if any(_moment(member) >= before for member in family):
            continue
        reason = next(_reasons(family, remotes), None)
        if reason is None and not dry:
            reason = _remove(store, family)
        if reason is not None:
            waiting[ref] = reason
            continue
        objects[ref] = len(family) - 1
        gone.update(member.id for member in family)
        if progress is not None:
            progress("purging", len(gone), 0)
    freed = store.collect(progress, dry_run=dry) if objects else {}
    return Purged(objects, waiting, freed)


def _graves(store: Backend) -> Iterator[Record]:
    for model in kinds():
        gone = records_of(store, model.kind, Query(deleted=Deleted.ONLY))
        yield from (record for record in gone if record.deleted is not None)  # the others are hidden below these


def _depth(record: Record) -> int:
    return len(record.ancestors)


def _moment(record: Record) -> str:
    return max(record.updated_at, record.deleted.at if record.deleted else "")


def _reasons(family: Iterable[Record], remotes: Mapping[str, bool]) -> Iterator[str]:
    """Why what a store says of some objects must stay: a remote has to hear of it."""
    for member in family:
        noted = parse(member.envelope, f"{member.kind} {member.id}")
        for name, every in remotes.items():
            entry = noted.of(name)
            concerned = every or name in noted.remotes
            if concerned and entry.intent is not Intent.LOCAL_ONLY and entry.base != member.etag:
                yield f"{name} has not heard of {member.kind} {member.id} as it is here: `padre sync` first"


def _remove(store: Backend, family: Sequence[Record]) -> str | None:
    """Removes objects, the deepest first; why one had to stay, and with it those above it."""
    with store.batch(f"Purge {len(family)} objects"):
        for member in family:
            try:
                store.evict(member.kind, member.id, if_match=member.etag)
            except NotFoundError:
                continue
            except ConflictError as error:
                return str(error)
    return None
