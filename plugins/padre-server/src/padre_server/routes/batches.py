"""Many records in one request, and the change feed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from padre_core import PadreError
from padre_core.objects.record import Record
from padre_http.wire.queries import encode_changes, limit_of
from padre_http.wire.records import decode_refs, decode_writes, encode_heads, encode_results
from padre_server.call import FIRST, GROWTH, Answer, Call, started
from padre_server.putting import put_many
from padre_server.rights import Scope
from padre_server.route import Body, Parameter, Reply, Route
from padre_server.schemas import EXPERIMENT, ref


def _get(call: Call) -> Answer:
    refs = decode_refs(call.body)
    if len(refs) <= FIRST:
        return Answer(encode_heads(_heads(call, refs), envelope=call.administers))
    return Answer(started(_in_parts(call, refs)))


def _in_parts(call: Call, refs: Sequence[tuple[str, str]]) -> Iterator[bytes]:
    """The answer in growing parts, for objects may be large, and memory is not."""
    begin, end = encode_heads([None]).split(b"null")
    place, part, before = 0, FIRST, begin
    while place < len(refs):
        lines = encode_heads(_heads(call, refs[place : place + part]), envelope=call.administers)
        yield before + lines[len(begin) : -len(end)]
        place, part, before = place + part, part * GROWTH, b",\n"
    yield end


def _heads(call: Call, refs: Sequence[tuple[str, str]]) -> list[Record | None]:
    access, records = call.access, call.records
    heads = call.state.backend.get_many(refs)
    shown = [head if head is not None and access.sees(head) and records.in_scope(head) else None for head in heads]
    if call.state.workspace.hooks.extended:  # which may redact what is read
        return [None if head is None else records.get(head.kind, head.id) for head in shown]
    return shown


def _put(call: Call) -> Answer:
    results: list[Record | PadreError] = put_many(call, decode_writes(call.body))
    told = [_hidden(call, result) if isinstance(result, PadreError) else result for result in results]
    return Answer(encode_results(told, envelope=call.administers))


def _changes(call: Call) -> Answer:
    part = call.records.changes(call.query.get("cursor"), limit_of(call.query))
    access = call.access
    if not access.reads_all:
        heads = call.state.backend.get_many([(entry.kind, entry.id) for entry in part.entries])
        seen = zip(part.entries, heads, strict=True)
        entries = tuple(entry for entry, head in seen if head is not None and access.sees(head))
        part = type(part)(entries, part.cursor, part.more, part.reset)
    return Answer(encode_changes(part))


def _hidden(call: Call, error: PadreError) -> PadreError:
    error.args = (call.state.hide(str(error)),)
    return error


ROUTES = (
    Route(
        "POST", "/v1/records/get", Scope.READ, "Gives many objects by kind and id.", _get,
        {200: Reply("In the order of the request; null where there is none.", schema=ref("Heads"),
                    example={"records": [EXPERIMENT, None]})},
        body=Body(limit=1024 * 1024, schema=ref("Refs"), example={"refs": [["experiment", EXPERIMENT["id"]]]}),
    ),
    Route(
        "POST", "/v1/records/put", Scope.WRITE,
        "Stores many versions, each by itself; tombstones need the scope delete.", _put,
        {200: Reply("In the order of the request: the head that results, or what went wrong.", schema=ref("Results"),
                    example={"results": [EXPERIMENT, {"error": "ConflictError", "message": "it is at 2-…"}]})},
        body=Body(schema=ref("Writes"), example={"writes": [EXPERIMENT]}),
    ),
    Route(
        "GET", "/v1/changes", Scope.READ, "Lists what changed since a cursor, oldest first.", _changes,
        {200: Reply("Kind, id and etag of each, and where to go on.", schema=ref("Changes"),
                    example={"entries": [["experiment", EXPERIMENT["id"], EXPERIMENT["etag"]]],
                             "cursor": "69c23bab0e347ed1:1", "more": False, "reset": False})},
        (501,),
        (
            Parameter("cursor", "Where the part before ended; without it from the beginning."),
            Parameter("limit", "How many at most.", {"type": "integer", "minimum": 1}),
        ),
    ),
)  # fmt: skip
