"""Packs: git objects that are stored together, in one file and its index, all or none.

libgit2 writes a file for each object, which costs more than all else of a commit. These packs are as git writes them,
but for deltas: those that a fetch brought are kept, others are found by a later repacking.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from padre_core.streams.filesystems import datasync, failure, sync_folder

Kind = Literal["commit", "tree", "blob", "tag"]

NUMBERS: Mapping[Kind, int] = {"commit": 1, "tree": 2, "blob": 3, "tag": 4}
"""How packs tell objects apart that are stored as they are."""

_SHORT = 4096
"""Up to how many bytes an object needs no larger window of the compressor: making one costs more than using it."""

HEAD = struct.Struct(">4sII")
INDEX = b"\xfftOc\0\0\0\2"
DIGEST = 20
_BLOCK, _BLOCK_HEAD = 0xFFFF, struct.Struct("<BHH")
"""How many bytes of a zlib stream may stand uncompressed in one block, and what is before them (RFC 1951, 3.2.4)."""

_FLUSH = 256 * 1024 * 1024
"""How many bytes are gathered in memory."""

TEMPORARY = "tmp_padre_"
"""How names of files begin that are not whole yet; `git gc` removes those that a dead process left."""


class Stored(NamedTuple):
    """An object as it lies in a pack, and the checksum of that."""

    id: bytes
    data: bytes
    crc: int

    @property
    def whole(self) -> bool:
        """Whether it can be read without another one."""
        return number_of(self.data) in NUMBERS.values()


class Pack:
    """Objects that wait to be stored together. Not safe for threads.

    Args:
        folder: The repository's `objects/pack`.
        power: Let what is stored survive the loss of power, and never be half there.
    """

    def __init__(self, folder: Path, *, power: bool) -> None:
        self.power = power
        self._folder = folder
        self._objects: dict[str, Stored] = {}
        self._size = 0

    def add(self, kind: Kind, data: bytes) -> str:
        """Adds an object, to which nothing need refer, and returns its id."""
        digest = hashlib.sha1(b"%b %d\0" % (kind.encode(), len(data)), usedforsecurity=False)
        digest.update(data)
        id = digest.hexdigest()
        if id not in self._objects:
            # A tree is for the most part digests, which do not become smaller.
            body = _as_it_is(data) if kind == "tree" else _deflated(data)
            entry = _entry_head(NUMBERS[kind], len(data)) + body
            self._objects[id] = Stored(digest.digest(), entry, zlib.crc32(entry))
            self._size += len(entry)
            if self._size > _FLUSH:
                self.store()
        return id

    def get(self, id: str) -> bytes | None:
        """The bytes of an object that waits here."""
        found = self._objects.get(id)
        if found is None:
            return None
        return zlib.decompress(found.data[head_size(found.data) :])

    def store(self) -> None:
        """Stores what waits, if anything does.

        Raises:
            BackendError: The system cannot.
        """
        if self._objects:
            write(self._folder, self._objects.values(), power=self.power)
            self._objects, self._size = {}, 0


def number_of(data: bytes) -> int:
    """What an object of a pack is, or how it is stored."""
    return data[0] >> 4 & 7


def head_size(data: bytes) -> int:
    """How many bytes say what an object of a pack is, and how long."""
    return next(place for place, byte in enumerate(data) if byte < 0x80) + 1


def write(folder: Path, objects: Iterable[Stored], *, power: bool) -> str:
    """Stores objects as one pack and returns its name."""
    ordered = list(objects)
    parts = [HEAD.pack(b"PACK", 2, len(ordered)), *(item.data for item in ordered)]
    pack = b"".join(parts)
    checksum = hashlib.sha1(pack, usedforsecurity=False).digest()
    offsets = itertools.accumulate(len(part) for part in parts[:-1])
    index = _index(sorted(zip(ordered, offsets, strict=True)), checksum)
    name = f"pack-{checksum.hex()}"
    files = ((f"{name}.pack", pack + checksum), (f"{name}.idx", index))  # readers look for the last
    try:
        waiting = [(f"{folder}/{target}", _spool(folder, data, power=power)) for target, data in files]
        for path, spooled in waiting:
            os.replace(spooled, path)
        if power:
            sync_folder(folder)
    except OSError as error:
        raise failure(f"{folder} cannot be written", error) from error
    return name


def _spool(folder: Path, data: bytes, *, power: bool) -> str:
    path = f"{folder}/{TEMPORARY}{os.getpid()}_{os.urandom(6).hex()}"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(fd, left) :]
        if power:  # before it has its name: what the loss of power leaves must be sound
            datasync(fd)
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(fd)
    return path


def _index(found: Sequence[tuple[Stored, int]], checksum: bytes) -> bytes:
    """The index of a pack, from its objects by id, and where each lies."""
    counts = [0] * 256
    for item, _ in found:
        counts[item.id[0]] += 1
    size = len(found)
    body = b"".join(
        [
            INDEX,
            struct.pack(">256I", *itertools.accumulate(counts)),
            b"".join([item.id for item, _ in found]),
            struct.pack(f">{size}I", *[item.crc for item, _ in found]),
            struct.pack(f">{size}I", *[offset for _, offset in found]),
            checksum,
        ]
    )
    return body + hashlib.sha1(body, usedforsecurity=False).digest()


def _deflated(data: bytes) -> bytes:
    """The bytes as a zlib stream, from a compressor that is no larger than they need."""
    window, memory = (12, 5) if len(data) <= _SHORT else (15, 8)
    compressor = zlib.compressobj(1, zlib.DEFLATED, window, memory)
    return compressor.compress(data) + compressor.flush()


def _as_it_is(data: bytes) -> bytes:
    """The bytes as a zlib stream that holds them uncompressed, in blocks."""
    parts = [b"\x78\x01"]
    for start in range(0, len(data) or 1, _BLOCK):
        block = data[start : start + _BLOCK]
        parts += [_BLOCK_HEAD.pack(start + _BLOCK >= len(data), len(block), len(block) ^ 0xFFFF), block]
    parts.append(zlib.adler32(data).to_bytes(4, "big"))
    return b"".join(parts)


def _entry_head(number: int, size: int) -> bytes:
    """How an object begins in a pack: what it is, and how long, seven bits at a time."""
    byte, size = number << 4 | size & 15, size >> 4
    head = bytearray()
    while size:
        head.append(byte | 0x80)
        byte, size = size & 0x7F, size >> 7
    head.append(byte)
    return bytes(head)
