"""Conflicts of one store: which there are, and how somebody ends one. It takes no remote to do either."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from padre_core.backends.backend import Backend
from padre_core.errors import InvalidObjectError
from padre_core.objects.envelope import parse
from padre_core.objects.record import Record
from padre_core.objects.references import Ref
from padre_core.sync import merge
from padre_core.sync.changes import news
from padre_core.sync.passes import chunks


@dataclass(frozen=True, slots=True)
class Conflicted:
    """An object that somebody must look at.

    Attributes:
        fields: For each losing version, by etag, the fields in which it differs from the head.
        hidden: It was edited below an object that was deleted, and whose name lives again.
    """

    ref: Ref
    head: str
    fields: Mapping[str, tuple[str, ...]]
    hidden: bool = False


def conflicted(store: Backend) -> Iterator[tuple[Record, Conflicted]]:
    """The objects of a store that hold losing versions, or were edited below what is deleted."""
    for refs in chunks(news(store, None).etags):
        for head in store.get_many(refs):
            if head is None:
                continue
            notes = parse(head.envelope, f"{head.kind} {head.id}").remotes.values()
            hidden = any(entry.hidden for entry in notes)
            if head.conflicts or hidden:
                fields = {lost.etag: merge.fields_in_conflict(head, lost) for lost in head.conflicts}
                yield head, Conflicted((head.kind, head.id), head.etag, fields, hidden)


def decision(head: Record, *, keep: str | None = None, fields: Mapping[str, str] | None = None) -> bytes:
    """The content with which the conflicts of an object end.

    Args:
        keep: The etag of the version whose content stays; the head's by default.
        fields: For single fields, the etag of the version to take them from.

    Raises:
        InvalidObjectError: There is no conflict, no such version, or the fields do not fit together.
    """
    contents = {head.etag: head.content, **{lost.etag: lost.content for lost in head.conflicts}}
    unknown = {keep or head.etag, *(fields or {}).values()} - contents.keys()
    if unknown or not head.conflicts:
        raise InvalidObjectError(f"{head.kind} {head.id} has the versions {', '.join(contents)} and no other")
    return merge.picked(head.kind, contents, keep or head.etag, fields or {})


def resolved(head: Record, content: bytes, *, by: str | None, at: str) -> Record:
    """The version that follows all of an object's versions, and so ends its conflicts wherever it arrives."""
    while head.conflicts:
        head = merge.resolution(head, head.conflicts[0], content, by=by, at=at)
    return head
