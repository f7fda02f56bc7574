"""Points and lines as bytes: the formats of stores on the way up, frames of them on the way down.

A part of a stream that a writer appends is a body of blocks (`padre_core.streams.points`) or of lines
(`padre_core.streams.lines`), contiguous from the sequence number that the address says; the media type says which.

What is read is a sequence of frames, each with a header of 36 bytes, little endian, and a body:

| bytes | field |
|---|---|
| 0–3 | `PSGS`: a segment, `PSGE`: an error ends the stream, `PSGZ`: the end, `PSGR`: whose the next ones are |
| 4–19 | the writer, 16 hex digits (zeros if it is no segment) |
| 20–27 | sequence number of the first point or line |
| 28–31 | size of the body |
| 32–35 | CRC-32 of bytes 0–31 and the body |

The body of a segment is one block of points, or lines; that of an error is its JSON. Without an end the stream was cut.
Where the streams of many runs travel together, a frame whose body is `points <run>` or `lines <run>` precedes the
segments of each.
"""

from __future__ import annotations

import array
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Final

from pydantic import Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from padre_core.backends.backend import Segment
from padre_core.errors import BackendError, CorruptObjectError, InvalidObjectError, PadreError, UnavailableError
from padre_core.objects import canonical
from padre_core.objects.identity import check_id
from padre_core.streams import lines, points
from padre_core.streams.columns import Columns, Lines, Points, Stream, concatenate, metric_name, stream_of
from padre_http.wire import errors
from padre_http.wire.shapes import LENIENT, STRICT, Id, Writer, bundled, parse

MEDIA_TYPES: Final[dict[Stream, str]] = {
    "points": "application/vnd.padre.points",
    "lines": "application/vnd.padre.lines",
}
SEGMENTS: Final = "application/vnd.padre.segments"

MAX_PART: Final = 16 * 1024 * 1024
"""The greatest body of an appended part, and of a frame, in bytes."""

BODY: Final = 4 * 1024 * 1024
"""About how many bytes of frames are sent in one request."""

PART_POINTS: Final = points.MAX_POINTS
PART_LINES: Final = 10_000
PART_TEXT: Final = 1024 * 1024


@with_config(LENIENT)
class _Next(TypedDict):
    next: Annotated[int, Field(ge=0, lt=2**63)]


_NEXT = TypeAdapter(_Next)


@with_config(STRICT)
class _Runs(TypedDict):
    runs: list[Id]


@with_config(LENIENT)
class _RunEnds(TypedDict):
    points: dict[Writer, Annotated[int, Field(ge=0, lt=2**63)]]
    lines: dict[Writer, Annotated[int, Field(ge=0, lt=2**63)]]


@with_config(LENIENT)
class _Ends(TypedDict):
    ends: list[_RunEnds]


@with_config(STRICT)
class _Known(TypedDict):
    stream: Stream
    known: dict[Id, dict[Writer, Annotated[int, Field(ge=0, lt=2**63)]]]


_KNOWN = TypeAdapter(_Known)
_RUNS = TypeAdapter(_Runs)
_ENDS = TypeAdapter(_Ends)
_HEADER = struct.Struct("<4s16sQI")
_CRC = struct.Struct("<I")
_SEGMENT, _ERROR, _END, _RUN = b"PSGS", b"PSGE", b"PSGZ", b"PSGR"
_NOBODY = b"0" * 16
_NO_POINTS = Points((), None, array.array("q"), array.array("q"), array.array("d"))
_WRITER = re.compile("[0-9a-f]{16}")
_LEVEL = re.compile("[A-Z]{1,16}")


def check_writer(writer: str) -> str:
    """Returns the id of a writer.

    Raises:
        InvalidObjectError: It is none.
    """
    if not isinstance(writer, str) or not _WRITER.fullmatch(writer):
        raise InvalidObjectError(f"{writer!r:.40} is no writer of a stream: expected 16 hex digits")
    return writer


def checked(segment: Segment) -> Segment:
    """Returns a segment whose writer is one.

    Raises:
        InvalidObjectError: It is none.
    """
    check_writer(segment.writer)
    return segment


def encode_columns(first: int, columns: Columns) -> bytes:
    """A part of a stream, the first entry of which has the sequence number `first`."""
    if isinstance(columns, Points):
        return b"".join(points.encode(first, columns))
    return lines.encode(first, columns)


def decode_columns(stream: Stream, first: int, data: bytes) -> Columns:
    """The part of a stream that a body holds, which must be whole and begin at `first`.

    Raises:
        InvalidObjectError: It is none, has gaps, or holds what streams do not.
    """
    if len(data) > MAX_PART:
        raise InvalidObjectError(f"{stream}: {len(data)} bytes are too many for one part, at most {MAX_PART} are read")
    try:
        parts: list[tuple[int, Columns]] = list(
            points.decode(data, stream) if stream == "points" else lines.decode(data, stream)
        )
    except (CorruptObjectError, ValueError, TypeError) as error:
        raise InvalidObjectError(f"{stream}: a damaged part ({type(error).__name__})") from None
    if not data:
        return _NO_POINTS if stream == "points" else Lines(())
    next_ = first
    for start, columns in parts:
        _check(columns)
        if start != next_:
            raise InvalidObjectError(f"{stream}: the part goes on at {start}, not at {next_}")
        next_ += len(columns)
    whole = points.complete(data) == len(data) if stream == "points" else data.endswith(b"\n")
    if not (parts and whole and next_ < 2**63):
        raise InvalidObjectError(f"{stream}: the part is not whole")
    return concatenate([columns for _, columns in parts])


def encode_next(next_: int) -> bytes:
    """The answer to an appended part: the sequence number that comes next."""
    return canonical.to_json({"next": next_})


def decode_next(data: bytes) -> int:
    """The sequence number that comes next, as the server says.

    Raises:
        InvalidObjectError: It does not say so.
    """
    return parse(_NEXT, data, "next")["next"]


def encode_runs(runs: Sequence[str]) -> bytes:
    """The request for the ends of the streams of some runs."""
    return canonical.to_json({"runs": runs})


def decode_runs(data: bytes) -> list[str]:
    """The runs that a request names.

    Raises:
        InvalidObjectError: It is no such request.
    """
    return parse(_RUNS, data, "runs")["runs"]


def encode_ends(ends: Sequence[Mapping[Stream, Mapping[str, int]]]) -> bytes:
    """The answer, in the order of the request."""
    return canonical.to_json({"ends": ends})


def decode_ends(data: bytes) -> list[dict[Stream, dict[str, int]]]:
    """For each run, the sequence number that comes next of each writer of its streams.

    Raises:
        InvalidObjectError: It is no such answer.
    """
    return [{"points": ends["points"], "lines": ends["lines"]} for ends in parse(_ENDS, data, "ends")["ends"]]


def encode_known(stream: Stream, known: Mapping[str, Mapping[str, int]]) -> bytes:
    """The request for what the streams of some runs hold beyond what is known of each writer."""
    return canonical.to_json({"stream": stream, "known": known})


def decode_known(data: bytes) -> tuple[Stream, dict[str, dict[str, int]]]:
    """The stream and what is known, as a request says.

    Raises:
        InvalidObjectError: It is no such request.
    """
    asked = parse(_KNOWN, data, "known")
    return asked["stream"], asked["known"]


def split_columns(columns: Columns) -> Iterator[Columns]:
    """Columns in parts of which each fits into one body or frame."""
    if isinstance(columns, Points):
        for start in range(0, len(columns), PART_POINTS):
            yield columns if len(columns) <= PART_POINTS else _slice(columns, start)
        return
    for part in bundled(columns.lines, lambda line: len(line.text), weight=PART_TEXT, count=PART_LINES):
        yield Lines(tuple(part))


def encode_segments(segments: Iterable[Segment]) -> Iterator[bytes]:
    """The frames of a stream; an error while it is read becomes the last one."""
    return _closed(frame for segment in segments for frame in _segment_frames(segment))


def encode_parts(parts: Iterable[tuple[str, Segment]]) -> Iterator[bytes]:
    """The frames of parts of the streams of many runs; an error while they are read becomes the last one."""
    return _closed(_part_frames(parts))


def encode_bodies(parts: Iterable[tuple[str, Segment]]) -> Iterator[tuple[bytes, int]]:
    """Parts of the streams of many runs as bodies of bounded size, and how many points or lines each holds."""
    small = ((run, piece) for run, segment in parts for piece in _pieces(segment))
    for bundle in bundled(small, lambda part: _weight(part[1].columns), weight=BODY):
        yield b"".join(encode_parts(bundle)), sum(len(piece.columns) for _, piece in bundle)


def decode_segments(stream: Stream, read: Callable[[int], bytes]) -> Iterator[Segment]:
    """The segments that frames hold.

    Args:
        read: Gives as many bytes as it is asked for, fewer only at the end.

    Raises:
        UnavailableError: The frames end before the stream does.
        BackendError: They are damaged.
        PadreError: The error that ended the stream, after all segments before it.
    """
    for _, segment in _decoded(stream, "", read):
        yield segment


def decode_parts(read: Callable[[int], bytes]) -> Iterator[tuple[str, Segment]]:
    """The parts of the streams of many runs that frames hold, each with its run; see `decode_segments`."""
    return _decoded(None, None, read)


def _decoded(stream: Stream | None, run: str | None, read: Callable[[int], bytes]) -> Iterator[tuple[str, Segment]]:
    while True:
        tag, writer, first, body = _read_frame(read)
        if tag == _END:
            return
        columns: Columns | None = None
        failure: PadreError | None = None
        try:
            if tag == _ERROR:
                failure = errors.decode_error(body)
            elif tag == _RUN:
                stream, run = _named(body)
            elif stream is None or run is None or not _WRITER.fullmatch(writer):
                raise InvalidObjectError(f"{writer!r:.20} is no writer, or of no run")
            else:
                columns = decode_columns(stream, first, body)
        except InvalidObjectError as error:
            raise BackendError(f"the answer is not as a PaDRe server gives it: {error}") from None
        if failure is not None:
            raise failure
        if columns is not None and run is not None and len(columns) and stream_of(columns) == stream:
            yield run, Segment(writer, first, columns)


def _named(body: bytes) -> tuple[Stream, str]:
    stream, _, run = body.decode("ascii", "replace").partition(" ")
    if stream == "points":
        return "points", check_id(run)
    if stream == "lines":
        return "lines", check_id(run)
    raise InvalidObjectError(f"{stream!r:.20} is no stream")


def _part_frames(parts: Iterable[tuple[str, Segment]]) -> Iterator[bytes]:
    place = b""
    for run, segment in parts:
        here = f"{stream_of(segment.columns)} {run}".encode()
        if here != place:
            place = here
            yield _frame(_RUN, _NOBODY, 0, here)
        yield from _segment_frames(segment)


def _segment_frames(segment: Segment) -> Iterator[bytes]:
    for piece in _pieces(segment):
        yield _frame(_SEGMENT, piece.writer.encode(), piece.first, encode_columns(piece.first, piece.columns))


def _pieces(segment: Segment) -> Iterator[Segment]:
    """A segment in segments of which each fits into one frame."""
    first = segment.first
    for columns in split_columns(segment.columns):
        yield Segment(segment.writer, first, columns)
        first += len(columns)


def _closed(frames: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from frames
    except PadreError as error:
        yield _frame(_ERROR, _NOBODY, 0, errors.encode_error(error))
    else:
        yield _frame(_END, _NOBODY, 0, b"")


def _weight(columns: Columns) -> int:
    """About how many bytes columns take on the wire, or somewhat more."""
    if isinstance(columns, Points):
        return 200 + 32 * len(columns)
    return 200 + sum(64 + 2 * len(line.text) for line in columns.lines)


def _read_frame(read: Callable[[int], bytes]) -> tuple[bytes, str, int, bytes]:
    size = _HEADER.size + _CRC.size
    head = read(size)
    if len(head) < size:
        raise UnavailableError("the answer was cut before its end; try again")
    tag, writer, first, length = _HEADER.unpack_from(head)
    (crc,) = _CRC.unpack_from(head, _HEADER.size)
    if tag not in (_SEGMENT, _ERROR, _END, _RUN) or length > MAX_PART:
        raise BackendError("the answer is not as a PaDRe server gives it: damaged frames")
    body = read(length)
    if len(body) < length:
        raise UnavailableError("the answer was cut before its end; try again")
    if zlib.crc32(body, zlib.crc32(head[: _HEADER.size])) != crc:
        raise BackendError("the answer was damaged on its way")
    return tag, writer.decode("ascii", "replace"), first, body


def _frame(tag: bytes, writer: bytes, first: int, body: bytes) -> bytes:
    header = _HEADER.pack(tag, writer, first, len(body))
    return b"".join([header, _CRC.pack(zlib.crc32(body, zlib.crc32(header))), body])


def _check(columns: Columns) -> None:
    """What is checked when a store's own writers make columns, and when bytes come from elsewhere only here."""
    if isinstance(columns, Lines):
        for line in columns.lines:
            if not (isinstance(line.level, str) and _LEVEL.fullmatch(line.level) and isinstance(line.text, str)):
                raise InvalidObjectError(f"lines: {line.level!r:.40} is no level, or the text is none")
        return
    count = len(columns)
    for name in columns.metrics:
        metric_name(name)
    keys = columns.keys
    if keys is None:
        known = len(columns.metrics) == 1
    else:
        known = len(keys) == count and len(set(columns.metrics)) == len(columns.metrics) > max(keys, default=0)
    if not known or not count == len(columns.steps) == len(columns.times):
        raise InvalidObjectError("points: the columns do not fit each other")


def _slice(columns: Points, start: int) -> Points:
    stop = start + PART_POINTS
    keys = None if columns.keys is None else columns.keys[start:stop]
    return Points(
        columns.metrics, keys, columns.steps[start:stop], columns.times[start:stop], columns.values[start:stop]
    )
