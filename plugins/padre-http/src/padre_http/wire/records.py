"""Records as JSON: one, a page of them, and batches.

A record is an object with `kind`, `id`, `etag`, `ancestors`, `lineage`, `deleted` (null or `{id, at, by}`), the stamps
`created_at`, `created_by`, `updated_at`, `updated_by`, `conflicts` (each with `etag`, `lineage` and its `content` as
text), `summaries` of a run's points, and last `content`. Its `version` and its `envelope`, as text, travel only to
those who administer the store.

The etag is made from the bytes of the content, so these travel as they are: they are taken from the text when `content`
is the last key, else written again in canonical form. As in stores, `NaN`, `Infinity` and `-Infinity` may stand in them
for numbers that JSON does not have.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, NotRequired

from pydantic import Field, Strict, TypeAdapter, with_config
from typing_extensions import TypedDict

from padre_core.backends.backend import Page, Write
from padre_core.backends.bytestore import ABSENT, Absent, IfMatch
from padre_core.errors import InvalidObjectError, PadreError
from padre_core.objects import canonical
from padre_core.objects.record import MAX_LINEAGE, Conflict, Record, Tombstone, belongs
from padre_core.objects.record import check as check_record
from padre_core.objects.summary import StoredSummaries, WriterSummary, encode_summaries
from padre_http.wire import errors
from padre_http.wire.shapes import LENIENT, STRICT, Etag, Id, Kind, Text, check, parse

MAX_BATCH = 1000
"""How many records one batch holds at most, whether they are asked for or put."""

MAX_CONFLICTS = 1000

PULSE = "Padre-Pulse"
"""The header with what `Backend.pulse` said before an object was read."""

_CONTENT = b',"content":'
_SUMMARIES = b',"summaries":'
_ABSENT = "absent"

_Ancestors = Annotated[list[Id], Field(max_length=1000)]
_Lineage = Annotated[list[Etag], Field(max_length=MAX_LINEAGE)]
_Ref = Annotated[list[str], Field(min_length=2, max_length=2)]
_Point = tuple[int, int, float]
_Summary = tuple[str, str, int, int, _Point, _Point, float, int, float, int, float]


@with_config(LENIENT)
class _Deleted(TypedDict):
    id: Text
    at: str
    by: NotRequired[Text | None]


@with_config(LENIENT)
class _Conflict(TypedDict):
    etag: Etag
    lineage: _Lineage
    content: str


@with_config(LENIENT)
class _Head(TypedDict):
    kind: Kind
    id: Id
    etag: Etag
    created_at: str
    updated_at: str
    ancestors: NotRequired[_Ancestors]
    lineage: NotRequired[_Lineage]
    deleted: NotRequired[_Deleted | None]
    created_by: NotRequired[Text | None]
    updated_by: NotRequired[Text | None]
    conflicts: NotRequired[Annotated[list[_Conflict], Field(max_length=MAX_CONFLICTS)]]
    summaries: NotRequired[list[_Summary]]
    envelope: NotRequired[str]
    version: NotRequired[Annotated[int, Field(ge=0, lt=2**63)]]
    if_match: NotRequired[Text | None]


@with_config(STRICT)
class _Refs(TypedDict):
    refs: Annotated[list[_Ref], Field(max_length=MAX_BATCH)]


_HEAD = TypeAdapter(_Head)
_HEADS = TypeAdapter(list[_Head])
_PARTS = TypeAdapter(Annotated[list[list[_Summary]], Strict()])
_REFS = TypeAdapter(_Refs)
_OBJECT = TypeAdapter(dict[str, Any])
_CURSOR = TypeAdapter(str | None)
_LIST = TypeAdapter(Annotated[list[Any], Field(max_length=MAX_BATCH)])


def encode_record(record: Record, *, envelope: bool = False) -> bytes:
    """A record as JSON.

    Args:
        envelope: With what the store notes for itself, for those who administer it.
    """
    head: dict[str, Any] = {
        "kind": record.kind,
        "id": record.id,
        "etag": record.etag,
        "ancestors": record.ancestors,
        "lineage": record.lineage,
        "deleted": None,
        "created_at": record.created_at,
        "created_by": record.created_by,
        "updated_at": record.updated_at,
        "updated_by": record.updated_by,
    }
    if (deleted := record.deleted) is not None:
        head["deleted"] = {"id": deleted.id, "at": deleted.at, "by": deleted.by}
    if record.conflicts:  # the key must not stand behind a comma, where the record's own content is looked for
        head["conflicts"] = [
            {"content": item.content.decode(), "etag": item.etag, "lineage": item.lineage} for item in record.conflicts
        ]
    if envelope:
        head["version"] = record.version
        head["envelope"] = canonical.to_json(record.envelope).decode()
    summaries = _SUMMARIES + encode_summaries(record.summaries) if record.summaries else b""
    return b"%b%b%b%b}" % (canonical.to_json(head)[:-1], summaries, _CONTENT, record.content)


def decode_record(data: bytes) -> Record:
    """The record of a JSON text, whose content belongs to its etag.

    Raises:
        InvalidObjectError: It is no record, or holds what no store takes.
    """
    record = _record(*_read(data))
    check_record(record, plain=True)
    return record


def encode_page(page: Page, *, envelope: bool = False) -> bytes:
    """A page of a listing, `{"records": […], "cursor": …}`, with a record a line."""
    lines = (encode_record(record, envelope=envelope) for record in page.records)
    return _list("records", lines, {"cursor": page.cursor})


def split_page(data: bytes) -> tuple[list[bytes], str | None]:
    """The records of a page, as yet unread, and the cursor after them.

    Raises:
        InvalidObjectError: It is no page.
    """
    lines, rest = _split("records", data)
    return lines, check(_CURSOR, rest.get("cursor"), "cursor")


def decode_records(lines: Sequence[bytes]) -> list[Record]:
    """The records of an answer, whose contents belong to their etags.

    They are to be shown: whether a content is one that stores keep is found out when an object is made of it, or a
    store is to keep it.

    Raises:
        InvalidObjectError: One of them is none.
    """
    try:
        return _as_encoded(lines)
    except InvalidObjectError:
        return list(map(decode_record, lines))  # in other forms; or it says what is wrong


def encode_refs(refs: Sequence[tuple[str, str]]) -> bytes:
    """The request for the heads of objects named by kind and id."""
    return canonical.to_json({"refs": refs})


def decode_refs(data: bytes) -> list[tuple[str, str]]:
    """Kinds and ids of the objects that a request names; whether they are any is for the backend to say.

    Raises:
        InvalidObjectError: It is no such request.
    """
    return [(kind, id) for kind, id in parse(_REFS, data, "refs")["refs"]]


def encode_heads(heads: Iterable[Record | None], *, envelope: bool = False) -> bytes:
    """The answer to a request for heads, in its order."""
    lines = (b"null" if head is None else encode_record(head, envelope=envelope) for head in heads)
    return _list("records", lines, {})


def decode_heads(data: bytes) -> list[Record | None]:
    """The heads of an answer; None where there is none.

    Raises:
        InvalidObjectError: It is no such answer.
    """
    lines, _ = _split("records", data)
    heads = iter(decode_records([line for line in lines if line != b"null"]))
    return [None if line == b"null" else next(heads) for line in lines]


def encode_writes(writes: Iterable[Write]) -> bytes:
    """Records to put, `{"writes": […]}`: records with one key more, `if_match`, which is an etag or `"absent"`."""
    return _list("writes", map(_write, writes), {})


def decode_writes(data: bytes) -> list[Write | InvalidObjectError]:
    """The records that a request puts; what is none stands as its error, for each is put by itself.

    Raises:
        InvalidObjectError: It is no such request.
    """
    lines, _ = _split("writes", data)
    writes: list[Write | InvalidObjectError] = []
    for line in lines:
        try:
            head, summaries, content = _read(line)
            condition = head.get("if_match")
            record = _record(head, summaries, content)
            check_record(record, plain=True)
            writes.append(Write(record, ABSENT if condition == _ABSENT else condition))
        except InvalidObjectError as error:
            writes.append(error)
    return writes


def encode_results(results: Iterable[Record | PadreError], *, envelope: bool = False) -> bytes:
    """What became of each record that was put: its head, or an error."""
    lines = (
        errors.encode_error(result) if isinstance(result, PadreError) else encode_record(result, envelope=envelope)
        for result in results
    )
    return _list("results", lines, {})


def decode_results(data: bytes) -> list[Record | PadreError]:
    """The heads and errors of an answer.

    Raises:
        InvalidObjectError: It is no such answer.
    """
    lines, _ = _split("results", data)
    refused = [errors.is_error(line) for line in lines]
    heads = iter(decode_records([line for line, error in zip(lines, refused, strict=True) if not error]))
    return [errors.decode_error(line) if error else next(heads) for line, error in zip(lines, refused, strict=True)]


def entity_tag(etag: str, body: bytes) -> str:
    """The HTTP ETag of a record's JSON: its etag, and what changes with conflicts and summaries."""
    return f'"{etag}.{zlib.crc32(body):08x}"'


def condition_headers(if_match: IfMatch) -> dict[str, str]:
    """`if_match` as HTTP headers."""
    if isinstance(if_match, Absent):
        return {"If-None-Match": "*"}
    return {} if if_match is None else {"If-Match": f'"{if_match}"'}


def condition_of(if_match: str | None, if_none_match: str | None) -> IfMatch:
    """`if_match` of HTTP headers; an ETag that came with an answer serves as well as an etag.

    Raises:
        InvalidObjectError: They say something else than `"<etag>"` and `*`.
    """
    if if_none_match is not None:
        if if_none_match.strip() == "*" and if_match is None:
            return ABSENT
        raise InvalidObjectError("If-None-Match: a write takes only *, and not beside If-Match")
    if if_match is None:
        return None
    text = if_match.strip()
    if len(text) > 2 and text[0] == text[-1] == '"' and text.count('"') == 2:
        return text[1:-1].partition(".")[0]
    raise InvalidObjectError('If-Match: a write takes one ETag, such as "3-0123456789abcdef"')


def _write(write: Write) -> bytes:
    body = encode_record(write.record)
    if write.if_match is None:
        return body
    condition = _ABSENT if isinstance(write.if_match, Absent) else write.if_match
    return b'{"if_match":%b,%b' % (canonical.to_json(condition), body[1:])


def _as_encoded(lines: Sequence[bytes]) -> list[Record]:
    """Records that look as `encode_record` makes them: each step for all, in half the time of all steps for each.

    Raises:
        InvalidObjectError: One of them does not.
    """
    parts = [_parts(line, line.find(_CONTENT)) for line in lines]
    heads = parse(_HEADS, b"[%b]" % b",".join([head for head, _, _ in parts]), "records")
    rows = parse(_PARTS, b"[%b]" % b",".join([summaries for _, summaries, _ in parts]), "summaries")
    if not len(heads) == len(rows) == len(lines):
        raise InvalidObjectError("records: one of them is none")
    records = [
        _record(head, StoredSummaries(summaries, read), content)
        for head, read, (_, summaries, content) in zip(heads, rows, parts, strict=True)
    ]
    if not all(map(belongs, records)):  # or the content was not the last key
        raise InvalidObjectError("records: a content does not belong to its version")
    return records


def _read(data: bytes) -> tuple[_Head, Sequence[WriterSummary], bytes]:
    """The head, the summaries and the content of a record's JSON."""
    place = data.find(_CONTENT)
    if place > 0 and _is_content(data[place + len(_CONTENT) : -1]):
        text, summaries, content = _parts(data, place)
        canonical.check_size(summaries, "summaries")
        (rows,) = parse(_PARTS, b"[%b]" % summaries, "summaries")
        return parse(_HEAD, text, "record"), StoredSummaries(summaries, rows), content
    canonical.check_size(data, "record")  # before all of it is read in whatever form it has
    value = parse(_OBJECT, data, "record").get("content")
    if not isinstance(value, dict):
        raise InvalidObjectError("record: content is no JSON object")
    head = parse(_HEAD, data, "record")
    content = canonical.canonical_json(canonical.plain(value, "content"))
    return head, tuple(map(WriterSummary.from_json, head.get("summaries", ()))), content


def _parts(data: bytes, place: int) -> tuple[bytes, bytes, bytes]:
    """The JSON of the head, of the summaries and of the content of a record whose content is the last key.

    Args:
        place: Where that key begins.
    """
    end = data.rfind(_SUMMARIES, 0, place)
    head, summaries = (data[:place], b"[]") if end < 0 else (data[:end], data[end + len(_SUMMARIES) : place])
    return head + b"}", summaries, data[place + len(_CONTENT) : -1]


def _is_content(data: bytes) -> bool:
    """Whether a text is a content as stores keep it."""
    try:
        canonical.check_content(data)
    except InvalidObjectError:
        return False
    return True


def _record(head: _Head, summaries: Sequence[WriterSummary], content: bytes) -> Record:
    canonical.check_size(content, "content")
    deleted = head.get("deleted")
    noted = head.get("envelope", "{}")
    envelope = {} if noted == "{}" else _envelope(noted.encode())
    return Record(  # by place, for names take a third of the time of a call, and listings make thousands
        head["kind"],
        head["id"],
        content,
        head["etag"],
        tuple(head.get("ancestors", ())),
        tuple(head.get("lineage", ())),
        Tombstone(deleted["id"], _time(deleted["at"]), deleted.get("by")) if deleted else None,
        _time(head["created_at"]),
        _time(head["updated_at"]),
        head.get("created_by"),
        head.get("updated_by"),
        tuple(map(_conflict, head.get("conflicts", ()))),
        head.get("version", 0),
        envelope,
        summaries,
    )


def _envelope(text: bytes) -> dict[str, Any]:
    canonical.check_size(text, "envelope")
    return parse(_OBJECT, text, "envelope")


def _conflict(data: _Conflict) -> Conflict:
    content = data["content"].encode()
    if not _is_content(content):
        raise InvalidObjectError("record: the content of a conflict is not canonical JSON")
    return Conflict(data["etag"], tuple(data["lineage"]), content)


def _time(text: str) -> str:
    try:
        if len(text) == len("2026-01-01T00:00:00.000000Z") and text[-1] == "Z":
            canonical.parse_time(text)
            return text
    except ValueError:
        pass
    raise InvalidObjectError(f"record: {text!r:.40} is no time such as 2026-01-01T00:00:00.000000Z")


def _list(name: str, lines: Iterable[bytes], rest: Mapping[str, Any]) -> bytes:
    """An object with a list, an element a line, so that it can be split without being parsed."""
    tail = canonical.to_json(rest)[1:]
    return b'{"%b":[\n%b\n]%b%b' % (name.encode(), b",\n".join(lines), b"," if rest else b"", tail)


def _split(name: str, data: bytes) -> tuple[list[bytes], dict[str, Any]]:
    """The elements of a list in an object, and the object without it."""
    lines = data.split(b"\n") if data.count(b"\n") < MAX_BATCH + 2 else []
    if len(lines) > 2 and lines[0] == b'{"%b":[' % name.encode() and lines[-1].startswith(b"]"):
        rest, lines = lines[-1][1:].removeprefix(b","), lines[1:-1]
        if rest and all(line.endswith(b",") for line in lines[:-1]):
            canonical.check_size(rest, name)
            return [line.removesuffix(b",") for line in lines if line], parse(_OBJECT, b"{" + rest, name)
    canonical.check_size(data, name)
    values = parse(_OBJECT, data, name)
    items = check(_LIST, values.pop(name, None), name)
    return [canonical.canonical_json(item) for item in items], values
