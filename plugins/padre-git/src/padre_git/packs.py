"""Packs: git objects that are stored together, in one file and its index, all or none.

libgit2 writes a file for each object, which costs more than all else of a commit. These packs are as git writes them,
but for deltas: those that a fetch brought are kept, others are found by a later repacking.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import stat
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from padre_core.streams.filesystems import datasync, failure, sync_folder

Kind = Literal["commit", "tree", "blob", "tag"]

_NUMBERS: Mapping[Kind, int] = {"commit": 1, "tree": 2, "blob": 3, "tag": 4}
_WHOLE = frozenset(_NUMBERS.values())
_BY_PLACE, _BY_ID = 6, 7
"""Numbers of objects that are stored as differences from another one, which is told by its place or by its id."""

_SHORT = 4096
"""Up to how many bytes an object needs no larger window of the compressor: making one costs more than using it."""

_HEAD = struct.Struct(">4sII")
_INDEX = b"\xfftOc\0\0\0\2"
_DIGEST = 20
_BLOCK, _BLOCK_HEAD = 0xFFFF, struct.Struct("<BHH")
"""How many bytes of a zlib stream may stand uncompressed in one block, and what is before them (RFC 1951, 3.2.4)."""

_FLUSH = 256 * 1024 * 1024
"""How many bytes are gathered in memory."""

TEMPORARY = "tmp_padre_"
"""How names of files begin that are not whole yet; `git gc` removes those that a dead process left."""

FEW = 50
"""How many packs may lie in a repository before small ones are merged: a reader looks for an object in each of them."""

SMALL = 8 * 1024 * 1024
"""Up to how many bytes a pack may have to be merged with others without git's help."""


class _Stored(NamedTuple):
    """An object as it lies in a pack, and the checksum of that."""

    id: bytes
    data: bytes
    crc: int

    @property
    def whole(self) -> bool:
        """Whether it can be read without another one."""
        return self.data[0] >> 4 & 7 in _WHOLE


class Pack:
    """Objects that wait to be stored together. Not safe for threads.

    Args:
        folder: The repository's `objects/pack`.
        power: Let what is stored survive the loss of power, and never be half there.
    """

    def __init__(self, folder: Path, *, power: bool) -> None:
        self.power = power
        self._folder = folder
        self._objects: dict[str, _Stored] = {}
        self._size = 0

    def add(self, kind: Kind, data: bytes) -> str:
        """Adds an object, to which nothing need refer, and returns its id."""
        digest = hashlib.sha1(b"%b %d\0" % (kind.encode(), len(data)), usedforsecurity=False)
        digest.update(data)
        id = digest.hexdigest()
        if id not in self._objects:
            # A tree is for the most part digests, which do not become smaller.
            body = _as_it_is(data) if kind == "tree" else _deflated(data)
            entry = _entry_head(_NUMBERS[kind], len(data)) + body
            self._objects[id] = _Stored(digest.digest(), entry, zlib.crc32(entry))
            self._size += len(entry)
            if self._size > _FLUSH:
                self.store()
        return id

    def get(self, id: str) -> bytes | None:
        """The bytes of an object that waits here."""
        found = self._objects.get(id)
        if found is None:
            return None
        return zlib.decompress(found.data[_head_size(found.data) :])

    def store(self) -> None:
        """Stores what waits, if anything does.

        Raises:
            BackendError: The system cannot.
        """
        if self._objects:
            _write(self._folder, self._objects.values(), power=self.power)
            self._objects, self._size = {}, 0


def tidy(folder: Path, *, power: bool) -> None:
    """Merges small packs into one if there are many, so that each byte is copied a few times at most.

    Whoever reads finds what it looks for in the new one; only one process at a time may do this.

    Args:
        folder: The repository's `objects/pack`.
        power: Let nothing be lost with the loss of power.
    """
    found = _mergeable(folder)
    if len(found) <= FEW:
        return
    total = 0
    chosen: list[_File] = []
    for item in found:  # the smallest, as long as none is larger than all before it: sizes grow by half at least
        if len(chosen) >= FEW // 2 and item.size > total:
            break
        total += item.size
        chosen.append(item)
    with contextlib.suppress(FileNotFoundError):  # git repacks at the same time, and then all is well
        contents: dict[bytes, _Stored] = {}
        merged = []
        for item in chosen:
            objects = _read(item)
            if objects is not None:
                for stored in objects:
                    # The first counts, unless only the other is whole: no two are then differences from each other.
                    if stored.id not in contents or (stored.whole and not contents[stored.id].whole):
                        contents[stored.id] = stored
                merged.append(item)
        if len(merged) < 2:
            return
        name = _write(folder, contents.values(), power=power)
        for item in merged:
            if item.stem != f"{folder}/{name}":
                for suffix in (".idx", ".rev", ".pack"):  # as git does: a reader that sees the first needs the other
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(item.stem + suffix)


class _File(NamedTuple):
    size: int
    stem: str
    """Its path without `.pack` and `.idx`."""


def _mergeable(folder: Path) -> list[_File]:
    """Small packs with their index, by id and maybe by place; others are marked as something, or belong to git."""
    with os.scandir(folder) as entries:
        files = {entry.name: entry for entry in entries}
    suffixes: dict[str, set[str]] = {}
    for name in files:
        stem, _, suffix = name.partition(".")
        suffixes.setdefault(stem, set()).add(suffix)
    plain = {"pack", "idx"}
    stems = [name for name, found in suffixes.items() if plain <= found <= plain | {"rev"} and name.startswith("pack-")]
    if len(stems) <= FEW:
        return []
    sized = []
    for stem in stems:
        with contextlib.suppress(FileNotFoundError):
            if files[f"{stem}.idx"].is_file(follow_symlinks=False):
                status = files[f"{stem}.pack"].stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode) and status.st_size <= SMALL:
                    sized.append(_File(status.st_size, f"{folder}/{stem}"))
    return sorted(sized)


def _read(file: _File) -> list[_Stored] | None:
    """The objects of a pack; None if it is not sound: that is for git to tell."""
    pack, index = (Path(file.stem + suffix).read_bytes() for suffix in (".pack", ".idx"))
    if index[:8] != _INDEX or pack[:8] != _HEAD.pack(b"PACK", 2, 0)[:8] or len(index) < 8 + 1024 + 2 * _DIGEST:
        return None
    (count,) = struct.unpack_from(">I", index, 8 + 1020)
    ids = 8 + 1024
    if len(index) != ids + count * (_DIGEST + 8) + 2 * _DIGEST:  # or it speaks of places beyond 2 GiB
        return None
    crcs = struct.unpack_from(f">{count}I", index, ids + count * _DIGEST)
    offsets = struct.unpack_from(f">{count}I", index, ids + count * (_DIGEST + 4))
    order = sorted(range(count), key=offsets.__getitem__)
    ends = [*(offsets[place] for place in order[1:]), len(pack) - _DIGEST]
    names = {offsets[place]: index[ids + place * _DIGEST : ids + (place + 1) * _DIGEST] for place in order}
    found = []
    for place, end in zip(order, ends, strict=True):
        offset = offsets[place]
        data = pack[offset:end]
        if zlib.crc32(data) != crcs[place]:
            return None
        try:
            data = _movable(data, offset, names)
        except (IndexError, KeyError):
            return None
        found.append(_Stored(names[offset], data, zlib.crc32(data)))
    bases = {item.id for item in found}
    return found if all(item.whole or _base(item.data) in bases for item in found) else None


def _movable(data: bytes, offset: int, names: Mapping[int, bytes]) -> bytes:
    """An object as it may lie anywhere in a pack: what it differs from is told by its id.

    Args:
        offset: Where it lay.
        names: The ids of all objects of its pack, by their places.

    Raises:
        IndexError: It is not sound; so is KeyError.
    """
    kind = data[0] >> 4 & 7
    if kind != _BY_PLACE:
        if kind != _BY_ID and kind not in _WHOLE:
            raise KeyError(kind)
        return data
    size = _head_size(data)
    end = size + 1
    back = data[size] & 0x7F
    while data[end - 1] & 0x80:  # seven bits at a time, as gitformat-pack(5) says
        back = back + 1 << 7 | data[end] & 0x7F
        end += 1
    return bytes([data[0] & 0x8F | _BY_ID << 4]) + data[1:size] + names[offset - back] + data[end:]


def _base(data: bytes) -> bytes:
    """What an object is stored as a difference from, by its id."""
    size = _head_size(data)
    return data[size : size + _DIGEST]


def _head_size(data: bytes) -> int:
    """How many bytes say what an object of a pack is, and how long."""
    return next(place for place, byte in enumerate(data) if byte < 0x80) + 1


def _write(folder: Path, objects: Iterable[_Stored], *, power: bool) -> str:
    """Stores objects as one pack and returns its name."""
    ordered = list(objects)
    parts = [_HEAD.pack(b"PACK", 2, len(ordered)), *(item.data for item in ordered)]
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


def _index(found: Sequence[tuple[_Stored, int]], checksum: bytes) -> bytes:
    """The index of a pack, from its objects by id, and where each lies."""
    counts = [0] * 256
    for item, _ in found:
        counts[item.id[0]] += 1
    size = len(found)
    body = b"".join(
        [
            _INDEX,
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
