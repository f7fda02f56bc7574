"""What a put comes to: by lineages, never by clocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from padre_core.backends.bytestore import Absent, IfMatch
from padre_core.errors import AlreadyExistsError, ConflictError, NotFoundError
from padre_core.objects.envelope import keeping_base
from padre_core.objects.kinds import kind_of
from padre_core.objects.record import LINEAGE, MAX_LINEAGE, Conflict, Record, check, kept, vacancy


def resolve(
    current: Record | None, record: Record, if_match: IfMatch, notes: Mapping[str, Any] = MappingProxyType({})
) -> Record:
    """The head after a put; the current record itself if the put changes nothing.

    Args:
        notes: The envelope of an object that is new.

    Raises:
        InvalidObjectError: The record's content does not belong to its etag.
        ConflictError: `if_match` does not hold.
    """
    check(record)
    if current is None or current.vacant:
        if isinstance(if_match, str):
            raise ConflictError(f"{record.kind} {record.id} is not here, so it cannot be at {if_match}")
        last = 0 if current is None else current.version
        return kept(record, version=last + 1, envelope=dict(notes), summaries=(), evicted=last)
    head = _head(current, record, if_match)
    if head.etag == current.etag and head == current:
        return current
    envelope = (
        current.envelope if head.etag == current.etag else keeping_base(current.envelope, current.etag, current.content)
    )
    return kept(
        head, version=current.version + 1, envelope=envelope, summaries=current.summaries, evicted=current.evicted
    )


def newest(logged: Record | None, rested: Record | None) -> Record | None:
    """The head of an object of which a log and the tree tell.

    Whoever wrote the log knew what was in the tree, so the greater version is newer; unless the tree was changed past
    the log, as by a push: then neither is made from the other, and both are kept.
    """
    if logged is None or rested is None:
        return logged or rested
    if _apart(logged, rested):
        head = resolve(rested, logged, None)
        return replace(head, version=max(logged.version, rested.version) + 1)
    return logged if logged.version > rested.version else rested


def _apart(one: Record, other: Record) -> bool:
    """Whether it is certain that neither of two records was made from the other."""
    if one.vacant or other.vacant or one.evicted != other.evicted:
        return False
    if knows(one, other.etag) or knows(other, one.etag):
        return False
    older, newer = sorted((one, other), key=lambda record: record.revision)
    # A lineage that is full has forgotten the oldest.
    return len(newer.lineage) < LINEAGE or older.revision >= min(int(etag.partition("-")[0]) for etag in newer.lineage)


def evict(current: Record | None, kind: str, id: str, if_match: str) -> Record:
    """The trace that an eviction leaves; the current record itself if it was evicted already.

    Raises:
        NotFoundError: It is not here.
        ConflictError: The head is another version.
    """
    if current is None or (current.vacant and current.etag != if_match):
        raise NotFoundError(f"{kind} {id} is not here")
    if current.etag != if_match:
        raise ConflictError(f"{kind} {id} is at {current.etag}, not at {if_match}: somebody changed it meanwhile")
    return current if current.vacant else vacancy(current)


def knows(record: Record, etag: str) -> bool:
    """Whether a version is among those that a head, or one that lost against it, is or was made from."""
    if etag == record.etag or etag in record.lineage:
        return True
    return any(etag == lost.etag or etag in lost.lineage for lost in record.conflicts)


def is_placeholder(record: Record) -> bool:
    """Whether an object was only made because something below it named it."""
    if record.revision != 1 or record.deleted is not None:
        return False
    return record.data().keys() <= {"name", kind_of(record.kind).parent_field}


def _head(current: Record, record: Record, if_match: IfMatch) -> Record:
    if record.etag == current.etag:
        return _united(current, record, _longer(current.lineage, record.lineage))
    if knows(current, record.etag) and not (knows(record, current.etag) and _leads(record, current)):
        return _united(current, record, current.lineage)
    if isinstance(if_match, Absent):
        raise AlreadyExistsError(f"{record.kind} {record.id} exists already, at {current.etag}")
    if if_match is not None and if_match != current.etag:
        raise ConflictError(
            f"{record.kind} {record.id} is at {current.etag}, not at {if_match}: "
            "somebody changed it meanwhile; get it again and repeat the change"
        )
    if knows(record, current.etag):
        return _united(record, current, record.lineage)
    winner, loser = sorted((current, record), key=_rank, reverse=True)
    if winner.hash == loser.hash or is_placeholder(loser):
        return _united(winner, loser, _longer(winner.lineage, (loser.etag, *loser.lineage)))
    lost = Conflict(loser.etag, loser.lineage, loser.content)
    return _united(replace(winner, conflicts=(*winner.conflicts, lost)), loser, winner.lineage)


def _leads(one: Record, other: Record) -> bool:
    """Whether the first of two heads stays, where each is known to the other: both sides must judge alike.

    That happens when one side saw a version, and the other only a delete of it that lost against an edit.
    """
    replaced = {*one.lineage, *other.lineage}.union(*(lost.lineage for lost in (*one.conflicts, *other.conflicts)))
    standing = [(head.deleted is None, head.etag not in replaced, _rank(head)) for head in (one, other)]
    return standing[0] > standing[1]


def _longer(lineage: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """A lineage with the etags of another one behind it; the first itself if the other adds nothing."""
    if lineage == other or set(other) <= set(lineage):
        return lineage
    return tuple(dict.fromkeys((*lineage, *other)))[:MAX_LINEAGE]


def _united(head: Record, other: Record, lineage: tuple[str, ...]) -> Record:
    """The head with the conflicts and stamps of both; a conflict that one of them was made from drops out."""
    if not (head.conflicts or other.conflicts) and _follows(head, other) and lineage is head.lineage:
        return head
    lost = (*head.conflicts, *other.conflicts)
    known = {head.etag, *lineage}.union(*(item.lineage for item in lost))
    conflicts = {item.etag: item for item in lost if item.etag not in known}
    created = min(head, other, key=lambda record: record.created_at)
    updated = max(head, other, key=lambda record: record.updated_at)
    return replace(
        head,
        lineage=lineage,
        conflicts=tuple(conflicts[etag] for etag in sorted(conflicts)),
        created_at=created.created_at,
        created_by=created.created_by,
        updated_at=updated.updated_at,
        updated_by=updated.updated_by,
    )


def _follows(head: Record, other: Record) -> bool:
    """Whether the stamps of the head are those that both come to."""
    created = (head.created_at, head.created_by) == (other.created_at, other.created_by)
    return created and head.updated_at >= other.updated_at


def _rank(record: Record) -> tuple[bool, bool, int, str]:
    """An edit beats a delete, and content beats a placeholder; else the greater etag wins."""
    return record.deleted is None, not is_placeholder(record), record.revision, record.etag.partition("-")[2]
