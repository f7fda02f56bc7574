"""Two versions that have diverged: one that holds both, or both under one id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from padre_core.backends.merge import is_placeholder, knows, resolve
from padre_core.errors import InvalidObjectError
from padre_core.objects import canonical
from padre_core.objects.kinds import kind_of
from padre_core.objects.record import MAX_LINEAGE, Conflict, Record, Tombstone, make_etag, successor

_BY_KEY = frozenset({"tags", "metadata"})
_MISSING = object()


class _DifferentError(Exception):
    """The same field was changed on both sides."""


def join(one: Record, other: Record, base: bytes | None) -> Record:
    """The head, with conflicts, that both sides come to; the same whichever is given first.

    Args:
        base: The content that both were made from, if it is known. Without one every differing field is a conflict,
            unless one side is a placeholder: that is then the base.
    """
    if knows(one, other.etag) or knows(other, one.etag) or one.hash == other.hash:
        return resolve(one, other, None)
    placeholder = next((record.content for record in (one, other) if is_placeholder(record)), None)
    base = placeholder or base
    if base is None:
        return resolve(one, other, None)
    content = _merged(one.kind, one.content, other.content, base)
    if content is None:
        return resolve(one, other, None)
    return combined(one, other, content)


def combined(one: Record, other: Record, content: bytes) -> Record:
    """The version that was made from two others; deleted if both are."""
    newer, older = sorted((one, other), key=_rank, reverse=True)
    deleted = newer.deleted if one.deleted and other.deleted else None
    parents = (newer.etag, older.etag)
    lineage = dict.fromkeys((*parents, *sorted({*newer.lineage, *older.lineage}, key=_etag_rank, reverse=True)))
    lost = (*one.conflicts, *other.conflicts)
    known = {*lineage}.union(*(item.lineage for item in lost))
    conflicts = {item.etag: item for item in lost if item.etag not in known}
    created = min(one, other, key=lambda record: (record.created_at, record.created_by or ""))
    updated = max(one, other, key=lambda record: (record.updated_at, record.updated_by or ""))
    return replace(
        newer,
        content=content,
        etag=make_etag(parents, canonical.digest(content), deleted.id if deleted else None),
        ancestors=_ancestors(newer, older, content),
        lineage=tuple(lineage)[:MAX_LINEAGE],
        deleted=deleted,
        conflicts=tuple(conflicts[etag] for etag in sorted(conflicts)),
        created_at=created.created_at,
        created_by=created.created_by,
        updated_at=updated.updated_at,
        updated_by=updated.updated_by,
    )


def revived(grave: Record) -> Record:
    """The living version that follows a tombstone, and says what it hid; everybody makes the same one."""
    return successor(grave, grave.content, by=grave.updated_by, at=grave.updated_at)


def tombstone(before: Record, by: str | None) -> Record:
    """The tombstone that follows a version; a repeated delete of that version makes the same one."""
    at = canonical.now()
    deleted = Tombstone(canonical.digest(before.etag.encode())[:32], at, by)
    return successor(before, before.content, by=by, at=at, deleted=deleted)


def picked(kind: str, contents: Mapping[str, bytes], keep: str, fields: Mapping[str, str]) -> bytes:
    """The content of one version with some fields taken from others.

    Raises:
        InvalidObjectError: They do not fit together.
    """
    data = {etag: canonical.from_json(content) for etag, content in contents.items()}
    chosen = dict(data[keep])
    for name, etag in fields.items():
        chosen.pop(name, None)
        if name in data[etag]:
            chosen[name] = data[etag][name]
    return kind_of(kind).from_content(canonical.canonical_json(dict(sorted(chosen.items())))).content()


def resolution(head: Record, conflict: Conflict, content: bytes, *, by: str | None, at: str) -> Record:
    """The version with which somebody ends a conflict, made from both."""
    lost = replace(
        head, etag=conflict.etag, lineage=conflict.lineage, content=conflict.content, conflicts=(), deleted=None
    )
    solved = combined(head, lost, content)
    return replace(solved, updated_at=max(at, solved.updated_at), updated_by=by)


def fields_in_conflict(head: Record, conflict: Conflict) -> tuple[str, ...]:
    """The fields in which a losing version differs from the head."""
    one, other = head.data(), canonical.from_json(conflict.content)
    return tuple(name for name in sorted({*one, *other}) if not _same(one.get(name), other.get(name)))


def _merged(kind: str, one: bytes, other: bytes, base: bytes) -> bytes | None:
    """The content with the changes of both sides since the base; None if a field was changed on both."""
    try:
        fields = _merged_fields(canonical.from_json(one), canonical.from_json(other), canonical.from_json(base))
        content = canonical.canonical_json(fields)
        kind_of(kind).from_content(content)
    except (_DifferentError, InvalidObjectError):  # fields that fit alone need not fit together
        return None
    return content


def _merged_fields(one: dict[str, Any], other: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for name in sorted({*one, *other}):
        values = one.get(name, _MISSING), other.get(name, _MISSING), base.get(name, _MISSING)
        if name in _BY_KEY:
            parts = [value if isinstance(value, dict) else {} for value in values]
            value: Any = _merged_keys(parts[0], parts[1], parts[2]) or _MISSING
        else:
            value = _pick(*values)
        if value is not _MISSING:
            merged[name] = value
    return merged


def _merged_keys(one: dict[str, Any], other: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    picked = {
        key: _pick(one.get(key, _MISSING), other.get(key, _MISSING), base.get(key, _MISSING))
        for key in sorted({*one, *other})
    }
    return {key: value for key, value in picked.items() if value is not _MISSING}


def _pick(one: Any, other: Any, base: Any) -> Any:
    if _same(one, other) or _same(other, base):
        return one
    if _same(one, base):
        return other
    raise _DifferentError


def _same(one: Any, other: Any) -> bool:
    """Whether two values are stored alike: NaN equals NaN, 1 is neither 1.0 nor true."""
    if one is _MISSING or other is _MISSING:
        return one is other
    return canonical.canonical_json(one) == canonical.canonical_json(other)


def _ancestors(newer: Record, older: Record, content: bytes) -> tuple[str, ...]:
    field = kind_of(newer.kind).parent_field
    if newer.ancestors == older.ancestors or field is None:
        return newer.ancestors
    parent = canonical.from_json(content).get(field)
    return older.ancestors if parent != newer.parent and parent == older.parent else newer.ancestors


def _rank(record: Record) -> tuple[int, str]:
    return _etag_rank(record.etag)


def _etag_rank(etag: str) -> tuple[int, str]:
    number, _, digest = etag.partition("-")
    return int(number), digest
