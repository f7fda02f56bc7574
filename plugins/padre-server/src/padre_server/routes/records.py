"""One record: get, put, delete, and what the store notes about it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter

from padre_core import ConflictError, InvalidObjectError, kinds
from padre_core.backends.backend import Write
from padre_core.objects import canonical
from padre_core.objects.identity import check_id
from padre_core.objects.record import Record, Tombstone, successor
from padre_http.wire.records import PULSE, condition_of, decode_record, encode_record, entity_tag
from padre_http.wire.shapes import parse
from padre_server.access import missing
from padre_server.call import Answer, Call
from padre_server.putting import put
from padre_server.rights import Scope
from padre_server.route import Body, Parameter, Reply, Route
from padre_server.schemas import COUNT, EXPERIMENT, ref

ATTEMPTS = 10

_ENVELOPE: TypeAdapter[Mapping[str, Any]] = TypeAdapter(dict[str, Any])


def kind_in(folder: str) -> str:
    """The kind of a folder, such as `run` of `runs`.

    Raises:
        NotFoundError: There is no such kind.
    """
    for model in kinds():
        if model.folder == folder:
            return model.kind
    raise missing("folder", repr(folder)[:80])


def _get(call: Call) -> Answer:
    kind, id = kind_in(call.path["folder"]), check_id(call.path["id"])
    # Who reads all may know that something was written, and need not read what lies above again if nothing was.
    pulse = call.state.backend.pulse() if call.access.reads_all else None
    answer = _answer(call, _readable(call, kind, id))
    if pulse is None:
        return answer
    return replace(answer, headers={**answer.headers, PULSE: canonical.digest(repr(pulse).encode())[:16]})


def _readable(call: Call, kind: str, id: str) -> Record:
    access = call.access
    if not access.reads_all:
        heads = call.state.backend.get_many([(kind, id)])
        if heads[0] is None:
            raise missing(kind, id)
        access.check(heads[0])
    return call.records.get(kind, id)


def _put(call: Call) -> Answer:
    kind, id = kind_in(call.path["folder"]), check_id(call.path["id"])
    record = decode_record(call.body)
    if (record.kind, record.id) != (kind, id):
        raise InvalidObjectError(f"the address is of {kind} {id}, the body is {record.kind} {record.id}")
    condition = condition_of(call.headers.get("if-match"), call.headers.get("if-none-match"))
    head = put(call, Write(record, condition))
    if kind == "run" and head.deleted is None:
        call.state.beats.note(id)
    return _answer(call, head, fresh=True)


def _delete(call: Call) -> Answer:
    kind, id = kind_in(call.path["folder"]), check_id(call.path["id"])
    wanted = condition_of(call.headers.get("if-match"), None)
    for _ in range(ATTEMPTS):
        head = _readable(call, kind, id)
        if wanted not in (None, head.etag):
            raise ConflictError(f"{kind} {id} is at {head.etag}, not at {wanted}")
        if head.deleted is not None:
            return _answer(call, head, fresh=True)
        at = canonical.now()
        gone = Tombstone(secrets.token_hex(16), at, call.caller.name)
        record = successor(replace(head, envelope={}), head.content, by=call.caller.name, at=at, deleted=gone)
        try:
            return _answer(call, put(call, Write(record, head.etag)), fresh=True)
        except ConflictError:
            if wanted is not None:
                raise
    raise ConflictError(f"{kind} {id} is changed too often by others; try again")


def _envelope(call: Call) -> Answer:
    kind, id = kind_in(call.path["folder"]), check_id(call.path["id"])
    access = call.access
    heads = call.state.backend.get_many([(kind, id)])
    if heads[0] is None or not access.sees(heads[0]):
        raise missing(kind, id)
    canonical.check_size(call.body, "envelope")
    envelope = parse(_ENVELOPE, call.body, "envelope")
    version = call.number("if_version", 0) if "if_version" in call.query else None
    head = call.state.backend.set_envelope(kind, id, envelope, if_version=version)
    return _answer(call, head, fresh=True)


def _answer(call: Call, record: Record, *, fresh: bool = False) -> Answer:
    """A record with its ETag, or that it is what the client has.

    Args:
        fresh: The record results from a write, whose conditions were something else.
    """
    body = encode_record(record, envelope=call.administers)
    tag = entity_tag(record.etag, body)
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if not fresh and call.has_already(tag):
        return Answer(status=304, headers=headers)
    return Answer(body, headers=headers)


_IF_MATCH = Parameter(
    "If-Match", 'Only if this is the version that is there, such as `"1-8b9e40f6f0a3c2d1"`.', header=True
)
_IF_NONE_MATCH = Parameter("If-None-Match", "`*`: only if nothing is there.", header=True)
_KNOWN = Parameter("If-None-Match", "The ETag of what the client has.", header=True)
_HEAD = Reply("The head that results.", schema=ref("Record"), example=EXPERIMENT, headers=("ETag",))

ROUTES = (
    Route(
        "GET", "/v1/{folder}/{id}", Scope.READ, "Gives the newest version of an object; a deleted one says so.", _get,
        {200: Reply("The record.", schema=ref("Record"), example=EXPERIMENT, headers=("ETag",)),
         304: Reply("The client has it.", media_type=None)},
        (404,), (_KNOWN,),
    ),
    Route(
        "PUT", "/v1/{folder}/{id}", Scope.WRITE,
        "Stores a version; a repetition changes nothing. A tombstone needs the scope delete.",
        _put, {200: _HEAD}, (404, 409, 412), (_IF_MATCH, _IF_NONE_MATCH),
        Body(schema=ref("Record"), example=EXPERIMENT),
    ),
    Route(
        "DELETE", "/v1/{folder}/{id}", Scope.DELETE,
        "Deletes an object, and hides what lies below; it can be restored.",
        _delete, {200: _HEAD}, (404, 409, 412), (_IF_MATCH,),
    ),
    Route(
        "PUT", "/v1/{folder}/{id}/envelope", Scope.ADMIN, "Replaces what this store notes about an object's remotes.",
        _envelope, {200: _HEAD}, (404, 409), (Parameter("if_version", "The version that must still be there.", COUNT),),
        Body(schema={"type": "object"}, example={}), whole_store=True,
    ),
)  # fmt: skip
