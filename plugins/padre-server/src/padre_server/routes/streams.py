"""Points and lines of runs."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any

from padre_core import InvalidObjectError, PadreError
from padre_core.backends.backend import Segment
from padre_core.objects import canonical
from padre_core.objects.identity import check_id
from padre_core.streams.columns import Points, Stream
from padre_http.wire import JSON
from padre_http.wire.queries import encode_count
from padre_http.wire.streams import (
    MAX_PART,
    MEDIA_TYPES,
    check_writer,
    decode_columns,
    decode_known,
    decode_parts,
    decode_runs,
    encode_ends,
    encode_next,
    encode_parts,
    encode_segments,
)
from padre_server.call import Answer, Call, started
from padre_server.rights import Scope
from padre_server.route import Body, Parameter, Reply, Route
from padre_server.schemas import COUNT, FRAMES, ref

_STREAMS = {media_type: stream for stream, media_type in MEDIA_TYPES.items()}
_PART = 256 * 1024


def _append(call: Call) -> Answer:
    run, writer = check_id(call.path["id"]), check_writer(call.path["writer"])
    first = call.number("first", -1)
    if first < 0:
        raise InvalidObjectError("first: expected the sequence number of the first point or line")
    stream = _STREAMS[call.headers["content-type"].partition(";")[0].strip().lower()]
    columns = decode_columns(stream, first, call.body)
    if not call.caller.everywhere(Scope.WRITE):
        call.access.check_append(run)
    next_ = call.state.backend.append_stream(run, writer, first, columns)
    call.state.beats.note(run)
    return Answer(encode_next(next_))


def _points(call: Call) -> Answer:
    return _read(call, "points")


def _lines(call: Call) -> Answer:
    return _read(call, "lines")


def _point_ends(call: Call) -> Answer:
    return _ends(call, "points")


def _line_ends(call: Call) -> Answer:
    return _ends(call, "lines")


def _ends(call: Call, stream: Stream) -> Answer:
    return Answer(canonical.to_json({"ends": call.state.backend.stream_ends(_readable(call), stream)}))


def _many_ends(call: Call) -> Answer:
    runs, access, backend = decode_runs(call.body), call.access, call.state.backend
    heads = [None] * len(runs) if access.reads_all else backend.get_many([("run", run) for run in runs])
    shown = [run for run, head in zip(runs, heads, strict=True) if access.reads_all or (head and access.sees(head))]
    found = dict(zip(shown, backend.many_ends(shown), strict=True))
    return Answer(encode_ends([found.get(run, {"points": {}, "lines": {}}) for run in runs]))


def _append_many(call: Call) -> Answer:
    try:
        parts = list(decode_parts(io.BytesIO(call.body).read))
    except PadreError as error:
        raise InvalidObjectError(f"streams: damaged frames ({error})") from None
    if not call.caller.everywhere(Scope.WRITE):
        for run in {run for run, _ in parts}:
            call.access.check_append(run)
    call.state.backend.append_streams(parts)
    return Answer(encode_count(sum(len(part.columns) for _, part in parts)))


def _read_many(call: Call) -> Answer:
    stream, known = decode_known(call.body)
    access, backend = call.access, call.state.backend
    if not access.reads_all:
        heads = backend.get_many([("run", run) for run in known])
        known = {
            run: begins for (run, begins), head in zip(known.items(), heads, strict=True) if head and access.sees(head)
        }
    return Answer(started(_gathered(encode_parts(backend.read_streams(stream, known)))), media_type=FRAMES)


def _readable(call: Call) -> str:
    """The id of the run in the path, which the caller may read."""
    run, access = check_id(call.path["id"]), call.access
    if not access.reads_all:
        access.check(call.state.backend.get("run", run))
    return run


def _read(call: Call, stream: Stream) -> Answer:
    run = _readable(call)
    segments = call.state.backend.read_stream(run, stream)
    if JSON in call.headers.get("accept", ""):
        return Answer(started(_as_json(segments)))
    return Answer(started(_gathered(encode_segments(segments))), media_type=FRAMES)


def _gathered(frames: Iterable[bytes]) -> Iterator[bytes]:
    """Small frames together, for each part is a step of its own."""
    waiting: list[bytes] = []
    size = 0
    for frame in frames:
        waiting.append(frame)
        size += len(frame)
        if size >= _PART:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)


def _as_json(segments: Iterable[Segment]) -> Iterator[bytes]:
    yield b'{"segments":['
    for number, segment in enumerate(segments):
        yield (b",\n" if number else b"\n") + canonical.to_json(_plain(segment))
    yield b"\n]}"


def _plain(segment: Segment) -> dict[str, Any]:
    columns = segment.columns
    head = {"writer": segment.writer, "first": segment.first}
    if isinstance(columns, Points):
        keys = list(columns.keys) if columns.keys is not None else [0] * len(columns)
        return {**head, "metrics": columns.metrics, "keys": keys, "steps": columns.steps.tolist(),
                "times": columns.times.tolist(), "values": columns.values.tolist()}  # fmt: skip
    return {**head, "lines": [[line.time, line.level, line.text] for line in columns.lines]}


_ENDS = {200: Reply("The next sequence number of each writer.", schema=ref("Ends"), example={"ends": {"0" * 16: 100}})}
_SEGMENTS = Reply("Frames, or with `Accept: application/json` columns as JSON.", media_type=FRAMES)

ROUTES = (
    Route(
        "POST", "/v1/runs/{id}/streams/{writer}", Scope.WRITE, "Adds points or lines of one writer; what is stored "
        "already is skipped, and no entries at all say that the writer lives.", _append,
        {200: Reply("Which sequence number comes next.", schema=ref("Next"), example={"next": 100})}, (404, 409),
        (Parameter("first", "The sequence number of the first.", COUNT, required=True),),
        Body(tuple(_STREAMS), MAX_PART),
    ),
    Route("GET", "/v1/runs/{id}/points", Scope.READ, "Gives all points of a run.", _points, {200: _SEGMENTS}, (404,)),
    Route("GET", "/v1/runs/{id}/lines", Scope.READ, "Gives the log of a run.", _lines, {200: _SEGMENTS}, (404,)),
    Route(
        "POST", "/v1/streams/ends", Scope.READ, "Says where the streams of many runs end.", _many_ends,
        {200: Reply("In the order of the request; nothing of a run that is not there.", schema=ref("ManyEnds"),
                    example={"ends": [{"points": {"0" * 16: 100}, "lines": {}}]})},
        body=Body(limit=1024 * 1024, schema=ref("Runs"), example={"runs": ["018f3a5e-0000-7000-8000-000000000000"]}),
    ),
    Route(
        "POST", "/v1/streams", Scope.WRITE, "Adds points or lines of many runs; what is stored already is skipped.",
        _append_many,
        {200: Reply("How many points or lines were in the frames; all are stored.", schema=ref("Count"),
                    example={"count": 100})}, (404, 409),
        body=Body((FRAMES,), MAX_PART),
    ),
    Route(
        "POST", "/v1/streams/read", Scope.READ, "Gives what the streams of many runs hold beyond what is known.",
        _read_many,
        {200: Reply("Frames, in the order of the runs; nothing of a run that is not there.", media_type=FRAMES)},
        body=Body(limit=1024 * 1024, schema=ref("Known"),
                  example={"stream": "points", "known": {"018f3a5e-0000-7000-8000-000000000000": {"0" * 16: 100}}}),
    ),
    Route("GET", "/v1/runs/{id}/points/ends", Scope.READ, "Says where points end.", _point_ends, _ENDS, (404,)),
    Route("GET", "/v1/runs/{id}/lines/ends", Scope.READ, "Says where the log ends.", _line_ends, _ENDS, (404,)),
)  # fmt: skip
