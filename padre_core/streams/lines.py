"""Lines of a run's log as bytes: one line of text each, with a checksum.

`<CRC-32 of the JSON, 8 hex digits> {"level": …, "seq": …, "text": …, "time": …}`, where `seq` is the line's sequence
number and `time` is UTC.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from padre_core.errors import CorruptObjectError
from padre_core.objects import canonical
from padre_core.streams.columns import Line, Lines

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def encode(first: int, lines: Lines) -> bytes:
    """The text of lines, the first of which has the sequence number `first`."""
    return b"".join(encode_line(first + place, line) for place, line in enumerate(lines.lines))


def encode_line(sequence: int, line: Line) -> bytes:
    """One line, with its line feed."""
    time = canonical.format_time(_EPOCH + line.time * _MICROSECOND)
    data = canonical.to_json({"level": line.level, "seq": sequence, "text": line.text, "time": time})
    return b"%08x %b\n" % (zlib.crc32(data), data)


def decode(data: bytes, where: str) -> Iterator[tuple[int, Lines]]:
    """The contiguous parts of a file with their first sequence numbers; an incomplete line at the end is left out.

    Raises:
        CorruptObjectError: A line is damaged; raised after all lines that can still be read.
    """
    damaged: int | None = None
    first = 0
    part: list[Line] = []
    for number, text in enumerate(data.split(b"\n")[:-1], start=1):
        found = decode_line(text)
        if found is None:
            damaged = damaged or number
            continue
        sequence, line = found
        if part and sequence != first + len(part):
            yield first, Lines(tuple(part))
            part = []
        if not part:
            first = sequence
        part.append(line)
    if part:
        yield first, Lines(tuple(part))
    if damaged:
        raise CorruptObjectError(f"{where}: line {damaged} is damaged; what stands before and behind it was read")


def decode_line(text: bytes) -> tuple[int, Line] | None:
    """The sequence number and the line of a text without its line feed; None if it is damaged."""
    data = text[9:]
    if text[:9] != b"%08x " % zlib.crc32(data):
        return None
    try:
        values = canonical.from_json(data)
        time = (canonical.parse_time(values["time"]) - _EPOCH) // _MICROSECOND
        return values["seq"], Line(time, values["level"], values["text"])
    except (KeyError, TypeError, ValueError):
        return None


def complete(data: bytes) -> int:
    """The size of the part of a file that ends with a complete and sound line."""
    end = 0
    while (stop := data.find(b"\n", end)) >= 0:
        if decode_line(data[end:stop]) is None:
            break
        end = stop + 1
    return end
