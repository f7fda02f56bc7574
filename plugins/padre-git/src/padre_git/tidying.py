"""Merging small packs, for a reader looks for an object in each of them."""

from __future__ import annotations

import contextlib
import os
import stat
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from padre_git.packs import DIGEST, HEAD, INDEX, NUMBERS, Stored, head_size, number_of, write

FEW = 50
"""How many packs may lie in a repository before small ones are merged."""

SMALL = 8 * 1024 * 1024
"""Up to how many bytes a pack may have to be merged with others without git's help."""

_BY_PLACE, _BY_ID = 6, 7
"""Numbers of objects that are stored as differences from another one, which is told by its place or by its id."""


def tidy(folder: Path, *, power: bool) -> None:
    """Merges small packs into one if there are many, so that each byte is copied a few times at most.

    Whoever reads finds what it looks for in the new one; only one process at a time may do this.

    Args:
        folder: The repository's `objects/pack`.
        power: Let nothing be lost with the loss of power.
    """
    found = _mergeable(folder)
    if len(found) > FEW:
        with contextlib.suppress(FileNotFoundError):  # git repacks at the same time, and then all is well
            _merge(folder, _smallest(found), power=power)


class _File(NamedTuple):
    size: int
    stem: str
    """Its path without `.pack` and `.idx`."""


def _mergeable(folder: Path) -> list[_File]:
    """The smallest first: packs with their index, by id and maybe by place; others are marked, or belong to git."""
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


def _smallest(found: Sequence[_File]) -> list[_File]:
    """As many as are worth it: none is larger than all before it, so sizes grow by half at least."""
    total = 0
    chosen: list[_File] = []
    for item in found:
        if len(chosen) >= FEW // 2 and item.size > total:
            break
        total += item.size
        chosen.append(item)
    return chosen


def _merge(folder: Path, packs: Sequence[_File], *, power: bool) -> None:
    contents: dict[bytes, Stored] = {}
    merged = []
    for item in packs:
        objects = read_pack(item)
        if objects is None:
            continue
        merged.append(item)
        for stored in objects:
            # The first counts, unless only the other is whole: no two are then differences from each other.
            if stored.id not in contents or (stored.whole and not contents[stored.id].whole):
                contents[stored.id] = stored
    if len(merged) < 2:
        return
    name = write(folder, contents.values(), power=power)
    for item in merged:
        if item.stem != f"{folder}/{name}":
            for suffix in (".idx", ".rev", ".pack"):  # as git does: a reader that sees the first needs the other
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(item.stem + suffix)


def read_pack(file: _File) -> list[Stored] | None:
    """The objects of a pack; None if it is not sound: that is for git to tell."""
    pack, index = (Path(file.stem + suffix).read_bytes() for suffix in (".pack", ".idx"))
    if index[:8] != INDEX or pack[:8] != HEAD.pack(b"PACK", 2, 0)[:8] or len(index) < 8 + 1024 + 2 * DIGEST:
        return None
    (count,) = struct.unpack_from(">I", index, 8 + 1020)
    ids = 8 + 1024
    if len(index) != ids + count * (DIGEST + 8) + 2 * DIGEST:  # or it speaks of places beyond 2 GiB
        return None
    crcs = struct.unpack_from(f">{count}I", index, ids + count * DIGEST)
    offsets = struct.unpack_from(f">{count}I", index, ids + count * (DIGEST + 4))
    order = sorted(range(count), key=offsets.__getitem__)
    ends = [*(offsets[place] for place in order[1:]), len(pack) - DIGEST]
    names = {offsets[place]: index[ids + place * DIGEST : ids + (place + 1) * DIGEST] for place in order}
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
        found.append(Stored(names[offset], data, zlib.crc32(data)))
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
    number = number_of(data)
    if number != _BY_PLACE:
        if number != _BY_ID and number not in NUMBERS.values():
            raise KeyError(number)
        return data
    size = head_size(data)
    end = size + 1
    back = data[size] & 0x7F
    while data[end - 1] & 0x80:  # seven bits at a time, as gitformat-pack(5) says
        back = back + 1 << 7 | data[end] & 0x7F
        end += 1
    return bytes([data[0] & 0x8F | _BY_ID << 4]) + data[1:size] + names[offset - back] + data[end:]


def _base(data: bytes) -> bytes:
    """What an object is stored as a difference from, by its id."""
    size = head_size(data)
    return data[size : size + DIGEST]
