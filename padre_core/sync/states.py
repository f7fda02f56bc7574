"""How a local object and its remote version stand to each other: by etags and lineages, never by clocks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from padre_core.objects.envelope import Intent, RemoteEntry
from padre_core.objects.record import Record


class Local(StrEnum):
    """The first word of a state."""

    ABSENT = "absent"
    CLEAN = "clean"
    DIRTY = "dirty"
    DELETED = "deleted"
    LOCAL_ONLY = "local-only"


class Remote(StrEnum):
    """The second word: the remote compared with the base."""

    ABSENT = "absent"
    PRESENT = "present"
    SAME = "same"
    NEWER = "newer"
    OLDER = "older"
    DIVERGED = "diverged"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class State:
    """A row of the table.

    Attributes:
        base: The version that both sides are known to have had: the noted one, or ours if the remote's lineage has it.
        settled: Whether both sides hold the same head, conflicts and stamps, and the base says so.
    """

    local: Local
    remote: Remote
    base: str | None = None
    settled: bool = False

    def __str__(self) -> str:
        return f"{self.local} / {self.remote}"


def compare(ours: Record | None, theirs: Record | None, entry: RemoteEntry, intent: Intent | None = None) -> State:
    """The state of an object.

    Args:
        entry: What the local envelope notes about the remote.
        intent: The one that holds, where an object above says another than the entry.
    """
    base = known_base(ours, theirs, entry)
    if (intent or entry.intent) is Intent.LOCAL_ONLY and ours is not None:
        return State(Local.LOCAL_ONLY, _presence(theirs), base)
    if ours is None:
        return State(Local.ABSENT, _presence(theirs), base)
    if theirs is None:
        return State(_standing(ours, base), Remote.ABSENT, base)
    settled = entry.base == theirs.etag and alike(ours, theirs)
    remote = _comparison(ours, theirs, base)
    if ours.deleted is not None:
        return State(Local.DELETED, remote, base, settled)
    if theirs.deleted is not None and remote is not Remote.OLDER:
        # A tombstone that was not made from our version is news that an edit beats.
        local = Local.CLEAN if ours.etag in theirs.lineage else Local.DIRTY
        return State(local, Remote.DELETED, base, settled)
    return State(_standing(ours, base), remote, base, settled)


def known_base(ours: Record | None, theirs: Record | None, entry: RemoteEntry) -> str | None:
    """The base; that the remote's lineage holds our version proves that it had it, whether noted or not."""
    if ours is not None and theirs is not None and ours.etag in (theirs.etag, *theirs.lineage):
        return ours.etag
    return entry.base


def alike(one: Record, other: Record) -> bool:
    """Whether both are the same head, with the same losing versions and stamps."""
    if one.etag != other.etag or (one.created_at, one.updated_at) != (other.created_at, other.updated_at):
        return False
    return {item.etag for item in one.conflicts} == {item.etag for item in other.conflicts}


def _presence(theirs: Record | None) -> Remote:
    if theirs is None:
        return Remote.ABSENT
    return Remote.PRESENT if theirs.deleted is None else Remote.DELETED


def _standing(ours: Record, base: str | None) -> Local:
    if ours.deleted is not None:
        return Local.DELETED
    return Local.CLEAN if ours.etag == base else Local.DIRTY


def _comparison(ours: Record, theirs: Record, base: str | None) -> Remote:
    """The remote's version as the table names it for what we have."""
    clean = ours.etag == base
    if ours.deleted is not None and theirs.deleted is not None:
        return Remote.DELETED
    if theirs.etag == base:
        return Remote.SAME
    if theirs.etag in ours.lineage:
        return Remote.OLDER if clean else Remote.SAME
    if base is not None and base in theirs.lineage and (clean or ours.deleted is not None):
        return Remote.NEWER
    return Remote.DIVERGED if ours.deleted is None else Remote.NEWER
