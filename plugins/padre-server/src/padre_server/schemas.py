"""The shapes of JSON bodies, as JSON Schema, and examples of them for the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from padre_http.wire.blobs import MAX_DIGESTS
from padre_http.wire.streams import MEDIA_TYPES, SEGMENTS

_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"

TEXT: Mapping[str, Any] = {"type": "string"}
ID: Mapping[str, Any] = {"type": "string", "pattern": f"^{_UUID}(-[0-9a-f]{{16}})?$"}
DIGEST: Mapping[str, Any] = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
WRITER: Mapping[str, Any] = {"type": "string", "pattern": "^[0-9a-f]{16}$"}
UPLOAD: Mapping[str, Any] = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
ETAG: Mapping[str, Any] = {"type": "string", "pattern": "^[1-9][0-9]{0,17}-[0-9a-f]{16}$"}
TIME: Mapping[str, Any] = {"type": "string", "format": "date-time"}
COUNT: Mapping[str, Any] = {"type": "integer", "minimum": 0}
MAYBE_TEXT: Mapping[str, Any] = {"type": ["string", "null"]}

POINTS, FRAMES = MEDIA_TYPES["points"], SEGMENTS


def ref(name: str) -> dict[str, Any]:
    """A reference to one of the components."""
    return {"$ref": f"#/components/schemas/{name}"}


def array(items: Mapping[str, Any], most: int = 1000) -> dict[str, Any]:
    """A list of at most so many items."""
    return {"type": "array", "items": dict(items), "maxItems": most}


def struct(required: Mapping[str, Any], optional: Mapping[str, Any] | None = None, *, strict: bool = False) -> Any:
    """An object with these keys; others may be there unless it is strict."""
    found: dict[str, Any] = {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
    }
    if strict:
        found["additionalProperties"] = False
    return found


EXPERIMENT: Mapping[str, Any] = {
    "kind": "experiment",
    "id": "6f2b4c1e-0c58-5a41-9d38-0a4f7c1f2d11",
    "etag": "1-8b9e40f6f0a3c2d1",
    "ancestors": ["f0a1b2c3-1111-5222-8333-444455556666"],
    "lineage": [],
    "deleted": None,
    "created_at": "2026-11-23T09:30:00.000000Z",
    "created_by": "ada",
    "updated_at": "2026-11-23T09:30:00.000000Z",
    "updated_by": "ada",
    "content": {"name": "svc", "project": "f0a1b2c3-1111-5222-8333-444455556666"},
}

_RECORD = struct(
    {"kind": TEXT, "id": ID, "etag": ETAG, "created_at": TIME, "updated_at": TIME, "content": {"type": "object"}},
    {
        "ancestors": array(ID),
        "lineage": array(ETAG),
        "deleted": {
            "oneOf": [{"type": "null"}, struct({"id": TEXT, "at": TIME}, {"by": MAYBE_TEXT})],
        },
        "created_by": MAYBE_TEXT,
        "updated_by": MAYBE_TEXT,
        "conflicts": array(struct({"etag": ETAG, "lineage": array(ETAG), "content": TEXT})),
        "summaries": {"type": "array", "items": {"type": "array"}, "readOnly": True},
        "envelope": {"type": "string", "readOnly": True},
    },
)

COMPONENTS: Mapping[str, Any] = {
    "Record": {
        **_RECORD,
        "description": (
            "One version of an object. The etag is made from the bytes of the content, in canonical form; as in "
            "stores, NaN, Infinity and -Infinity may stand in it for numbers that JSON does not have."
        ),
        "example": EXPERIMENT,
    },
    "Page": struct({"records": array(ref("Record")), "cursor": MAYBE_TEXT}),
    "Search": struct(
        {},
        {
            "where": {"type": "string", "description": "A filter; see the page on filters."},
            "within": ID,
            "order_by": TEXT,
            "limit": {"type": "integer", "minimum": 1, "maximum": 2147483647},
            "cursor": TEXT,
            "deleted": {"enum": ["exclude", "only", "include"]},
        },
        strict=True,
    ),
    "Count": struct({"count": COUNT}),
    "Refs": struct({"refs": array({"type": "array", "items": TEXT, "minItems": 2, "maxItems": 2})}, strict=True),
    "Heads": struct({"records": array({"oneOf": [ref("Record"), {"type": "null"}]})}),
    "Writes": struct({"writes": array({"allOf": [ref("Record"), struct({}, {"if_match": TEXT})]})}),
    "Results": struct({"results": array({"oneOf": [ref("Record"), ref("Error")]})}),
    "Changes": struct(
        {
            "entries": array({"type": "array", "items": TEXT, "minItems": 3, "maxItems": 3}),
            "cursor": TEXT,
            "more": {"type": "boolean"},
            "reset": {"type": "boolean"},
        }
    ),
    "Error": struct({"error": TEXT, "message": TEXT}, {"details": struct({}, {"next": COUNT})}),
    "Session": struct(
        {"token": TEXT, "user": TEXT, "expires_at": MAYBE_TEXT, "scopes": array(TEXT), "projects": array(TEXT)}
    ),
    "Identity": struct({"user": TEXT, "expires_at": MAYBE_TEXT, "scopes": array(TEXT), "projects": array(TEXT)}),
    "Ends": struct({"ends": {"type": "object", "additionalProperties": COUNT}}),
    "Runs": struct({"runs": array(ID)}, strict=True),
    "ManyEnds": struct({"ends": array(struct({
        stream: {"type": "object", "additionalProperties": COUNT} for stream in ("points", "lines")
    }))}),
    "Known": struct({
        "stream": {"type": "string", "enum": ["points", "lines"]},
        "known": {
            "type": "object",
            "propertyNames": ID,
            "additionalProperties": {"type": "object", "propertyNames": WRITER, "additionalProperties": COUNT},
        },
    }, strict=True),
    "Next": struct({"next": COUNT}),
    "Blob": struct({"digest": DIGEST, "size": COUNT}),
    "Digests": struct({"digests": array(DIGEST, MAX_DIGESTS)}),
    "Upload": struct({"id": UPLOAD, "offset": COUNT}),
    "Info": struct(
        {"product": TEXT, "version": TEXT, "api": array({"type": "integer"}), "sign_in": array(TEXT),
         "features": array(TEXT), "limits": {"type": "object", "additionalProperties": {"type": "integer"}}},
        {"store": {"oneOf": [{"type": "null"}, struct(
            {"store": TEXT, "format": COUNT, "durability": TEXT, "readonly": {"type": "boolean"},
             "capabilities": array(TEXT), "planned": array(TEXT)})]}},
    ),
}  # fmt: skip
