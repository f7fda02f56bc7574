"""Records to send."""

from __future__ import annotations

import secrets
from typing import Any

from padre_core.objects import canonical
from padre_core.objects.identity import object_id
from padre_core.objects.record import Record, Tombstone, first, successor
from padre_http.wire.records import decode_record, encode_record

AT = "2026-01-02T03:04:05.000006Z"


def project(name: str | None = None, **content: Any) -> Record:
    name = name or f"project {secrets.token_hex(8)}"
    text = canonical.to_json(canonical.plain({"name": name, **content}))
    return first("project", object_id("project", None, name), text, (), by="test", at=AT)


def child(kind: str, id: str, parent: Record, **content: Any) -> Record:
    text = canonical.to_json(canonical.plain(content))
    return first(kind, id, text, (*parent.ancestors, parent.id), by="test", at=AT)


def experiment(parent: Record, name: str = "svc", **content: Any) -> Record:
    return child(
        "experiment", object_id("experiment", parent.id, name), parent, name=name, project=parent.id, **content
    )


def edited(record: Record, **content: Any) -> Record:
    text = canonical.to_json(canonical.plain({**record.data(), **content}))
    return successor(record, text, by="test", at=AT)


def deleted(record: Record) -> Record:
    gone = Tombstone(secrets.token_hex(16), AT, "test")
    return successor(record, record.content, by="test", at=AT, deleted=gone)


def path(record: Record) -> str:
    return f"/v1/{record.kind}s/{record.id}"


__all__ = ["decode_record", "encode_record"]
