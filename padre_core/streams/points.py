"""Points as bytes: blocks of columns, one after the other.

A block is a header of 32 bytes and a body, all little endian:

| bytes | field |
|---|---|
| 0–3 | `PDP1` |
| 4–7 | size of the block, header included |
| 8–15 | sequence number of its first point |
| 16–19 | number of points n |
| 20–23 | size of the names, in bytes |
| 24–27 | 1 if there are keys, else 0 |
| 28–31 | CRC-32 of bytes 0–27 and the body |

The body holds the names of the metrics (a JSON array, padded with spaces to a multiple of 8), the keys (n unsigned
32-bit positions in the names, padded with zeros to a multiple of 8; only if there is more than one name), and steps,
times (microseconds since 1970, UTC) and values, n times 8 bytes each.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from padre_core.errors import CorruptObjectError
from padre_core.objects import canonical
from padre_core.streams.columns import Points
from padre_core.streams.packing import packed, viewed

MAX_POINTS = 10_000
"""How many points a block holds at most, so that it fits a processor's cache; longer columns become several."""

_HEADER = struct.Struct("<4sIQIII")
_MAGIC = b"PDP1"
_CRC = struct.Struct("<I")
HEADER_SIZE = _HEADER.size + _CRC.size


def encode(first: int, points: Points) -> Iterator[bytes | memoryview]:
    """The blocks of some points, the first of which has the sequence number `first`."""
    if points.block is not None and len(points) <= MAX_POINTS and _HEADER.unpack_from(points.block)[2] == first:
        yield points.block
        return
    for start in range(0, len(points), MAX_POINTS):
        yield _block(first + start, points if len(points) <= MAX_POINTS else _slice(points, start))


def decode(data: bytes | memoryview, where: str) -> Iterator[tuple[int, Points]]:
    """The blocks of a file with their first sequence numbers; an incomplete block at the end is left out.

    Raises:
        CorruptObjectError: A block is damaged; raised after all blocks that can still be read.
    """
    damage: str | None = None
    for offset, block in blocks(data):
        if block is None:
            damage = damage or f"{where}: the block at byte {offset} is damaged"
        else:
            yield block
    if damage:
        raise CorruptObjectError(f"{damage}; what stands before and behind it was read")


def blocks(data: bytes | memoryview) -> Iterator[tuple[int, tuple[int, Points] | None]]:
    """The offset of each complete block, and its contents or None if it is damaged."""
    view = memoryview(data)
    offset = 0
    while offset + HEADER_SIZE <= len(view):
        magic, size, _, count, names, _ = _HEADER.unpack_from(view, offset)
        if magic != _MAGIC or size < HEADER_SIZE + names + 24 * count:
            yield offset, None
            following = bytes(view[offset + 1 :]).find(_MAGIC)
            if following < 0:
                return
            offset += 1 + following
            continue
        if offset + size > len(view):
            return
        block = view[offset : offset + size]
        yield offset, opened(block) if is_block(block) else None
        offset += size


def is_block(data: bytes | memoryview) -> bool:
    """Whether some bytes are one block, and sound."""
    if len(data) < HEADER_SIZE:
        return False
    view = memoryview(data)
    magic, size, _, count, names, _ = _HEADER.unpack_from(view)
    crc: int = _CRC.unpack_from(view, _HEADER.size)[0]
    if magic != _MAGIC or size != len(view) or size < HEADER_SIZE + names + 24 * count:
        return False
    return zlib.crc32(view[HEADER_SIZE:], zlib.crc32(view[: _HEADER.size])) == crc


def opened(block: bytes | memoryview) -> tuple[int, Points]:
    """What a sound block holds, and its first sequence number."""
    _, _, first, count, names, keyed = _HEADER.unpack_from(block)
    return first, _columns(memoryview(block), count, names, keyed)


def complete(data: bytes | memoryview) -> int:
    """The size of the part of a file that ends with a complete and sound block."""
    end = 0
    for offset, block in blocks(data):
        if block is None:
            return end
        end = offset + int(_HEADER.unpack_from(data, offset)[1])
    return end


def _block(first: int, points: Points) -> bytes:
    names = canonical.to_json(list(points.metrics))
    names += b" " * (-len(names) % 8)
    body: list[bytes | memoryview] = [names]
    if points.keys is not None:
        body += [packed(points.keys), bytes(-4 * len(points) % 8)]
    body += [packed(column) for column in (points.steps, points.times, points.values)]
    size = HEADER_SIZE + sum(map(len, body))
    header = _HEADER.pack(_MAGIC, size, first, len(points), len(names), points.keys is not None)
    crc = zlib.crc32(header)
    for part in body:
        crc = zlib.crc32(part, crc)
    return b"".join([header, _CRC.pack(crc), *body])


def _columns(block: memoryview, count: int, names: int, keyed: int) -> Points:
    offset = HEADER_SIZE + names
    metrics = tuple(canonical.from_json(bytes(block[HEADER_SIZE:offset])))
    keys = None
    if keyed:
        keys = viewed("I", block[offset : offset + 4 * count])
        offset += -(-4 * count // 8) * 8
    size = 8 * count
    steps = viewed("q", block[offset : offset + size])
    times = viewed("q", block[offset + size : offset + 2 * size])
    values = viewed("d", block[offset + 2 * size : offset + 3 * size])
    points = Points(metrics, keys, steps, times, values)
    object.__setattr__(points, "block", block)  # no argument, lest `replace` take it over with other values
    return points


def _slice(points: Points, start: int) -> Points:
    stop = start + MAX_POINTS
    keys = None if points.keys is None else points.keys[start:stop]
    return Points(points.metrics, keys, points.steps[start:stop], points.times[start:stop], points.values[start:stop])
