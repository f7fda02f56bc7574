"""What an object refers to: the one above it, others beside it, and blobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from padre_core.objects import canonical
from padre_core.objects.base import PadreObject
from padre_core.objects.identity import child_id, is_digest
from padre_core.objects.kinds import kind_of
from padre_core.objects.record import Record

Ref = tuple[str, str]
"""A kind and an id."""

MAX_GENERATIONS = 100
"""How often a name may have been deleted for its id to be known by itself."""

_LINKS: Mapping[str, str] = {
    "code": "code", "dataset": "dataset", "datasets": "dataset", "derived_from": "dataset", "parent": "run",
}  # fmt: skip
"""Fields that name other objects by id, and the kind of those."""


def parent_kind(record: Record) -> str:
    """The kind of the object right above a record, which must have one."""
    model = kind_of(record.kind)
    if len(model.parents) == 1:
        return model.parents[0]
    named = record.data().get(f"{model.parent_field}_kind")
    return named if named in model.parents else model.parents[0]


def is_named(record: Record, object: PadreObject) -> bool:
    """Whether a record has the id that follows from its parent and what names the object; runs have theirs by chance.

    Args:
        object: That of the record's content.
    """
    above, key = parent_kind(record) if record.ancestors else None, object.key()
    ids = (child_id(record.kind, above, record.parent, key, number) for number in range(MAX_GENERATIONS))
    return record.kind == "run" or record.id in ids


def parent_ref(record: Record) -> Ref | None:
    """The object right above a record."""
    return (parent_kind(record), record.ancestors[-1]) if record.ancestors else None


def ancestor_refs(record: Record) -> list[Ref]:
    """The objects above a record, outermost first; whether they are there or not."""
    found: list[Ref] = []
    ref = parent_ref(record)
    kind = ref[0] if ref is not None else ""
    for id in reversed(record.ancestors):
        found.append((kind, id))
        kind = next(iter(kind_of(kind).parents), kind)
    return found[::-1]


def linked_refs(record: Record) -> Iterator[Ref]:
    """The objects that a record names beside the one above it."""
    data = record.data()
    above = kind_of(record.kind).parent_field
    for name, kind in _LINKS.items():
        value = data.get(name)
        if name != above:
            yield from ((kind, id) for id in (value if isinstance(value, list) else [value]) if isinstance(id, str))


def blob_digests(record: Record) -> Iterator[str]:
    """The blobs that a record, or a version that lost against it, names: each a digest beside a size."""
    for content in (record.content, *(conflict.content for conflict in record.conflicts)):
        if b'"digest"' in content:
            yield from _named_digests(canonical.from_json(content))


def _named_digests(value: dict[str, Any] | list[Any]) -> Iterator[str]:
    if isinstance(value, dict):
        digest = value.get("digest")
        if isinstance(digest, str) and "size" in value and is_digest(digest):  # a code's digest is no blob's
            yield digest
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, dict | list):  # all else is most of it, and names nothing
            yield from _named_digests(item)
