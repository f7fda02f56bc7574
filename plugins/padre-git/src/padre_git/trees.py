"""Reading trees: what lies under a key, below a prefix, and in what two trees differ. Nothing is believed of them."""

from __future__ import annotations

import itertools
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from padre_core.errors import CorruptObjectError
from padre_git.repository import errors

BLOB_MODES = (0o100644, 0o100755, 0o100664)
TREE_MODE = 0o040000
MAX_DEPTH = 12
"""How many folders deep a tree is read; the layout has five."""

MAX_ENTRIES = 5_000_000
"""How many entries of a tree are listed in one go: a tree of a kilobyte may refer to itself a million times."""

_ENTRY = re.compile(rb"(0*([0-7]{5,6}) ([^\0]+)\0.{20})", re.DOTALL)
_whole = operator.itemgetter(0)


@dataclass(frozen=True, slots=True)
class Found:
    """An entry of a tree: a key, and what git says of it."""

    key: str
    id: str
    mode: int

    @property
    def regular(self) -> bool:
        """Whether it is a file, and no symlink or submodule."""
        return self.mode in BLOB_MODES


def find(root: Any, key: str) -> Found | None:
    """What lies under a key in a tree."""
    if root is None:
        return None
    try:
        entry = root[key]
    except KeyError:
        return None
    return Found(key, str(entry.id), int(entry.filemode))


def walk(root: Any, prefix: str = "", after: str = "", *, where: str) -> Iterator[Found]:
    """The entries below a tree whose keys begin with a prefix and come after a key, in byte order.

    Args:
        where: What messages call the tree.
    """
    folder, slash, start = prefix.rpartition("/")
    with errors(where):
        if root is None:
            return
        if slash:
            try:
                root = root[folder]
            except KeyError:
                return
            if not _is_tree(root):
                return
        yield from _walk(root, folder + slash, start, after, _Bounds(where, folder.count("/")))


def _walk(tree: Any, folder: str, start: str, after: str, bounds: _Bounds) -> Iterator[Found]:
    for entry in bounds.entries(tree, folder):
        key = folder + entry.name
        if not entry.name.startswith(start):
            continue
        mode = int(entry.filemode)
        if mode != TREE_MODE:
            if key > after:
                yield Found(key, str(entry.id), mode)
        elif key + "/" > after[: len(key) + 1] or after.startswith(key + "/"):
            yield from _walk(entry, key + "/", "", after, bounds.below())


def entries(data: bytes, what: str) -> list[tuple[bytes, bytes, bytes]]:
    """The entries that the bytes of a tree hold: each as it stands there, with its id at the end; its mode, its name.

    Raises:
        CorruptObjectError: They are none of a tree.
    """
    found: list[tuple[bytes, bytes, bytes]] = _ENTRY.findall(data)
    if sum(map(len, map(_whole, found))) != len(data):  # a store of many runs has hundreds in a folder
        raise CorruptObjectError(f"{what} is no sound tree; run `git fsck`")
    return found


def keys(read: Callable[[str], bytes], root: str, *, where: str) -> list[str]:
    """The keys of all that lies below a tree, in byte order: for whole stores, where `walk` would take long.

    Args:
        read: The bytes of a tree, by its id.
        where: What messages call the tree.
    """
    found: list[str] = []
    waiting = [(root, "", 0)]
    count = 0
    while waiting:
        tree, folder, depth = waiting.pop()
        bounds = _Bounds(where, depth)
        bounds.check_depth(folder)
        for entry, mode, name in entries(read(tree), f"the tree {tree}"):
            key = folder + name.decode(errors="replace")
            if mode == b"40000":
                waiting.append((entry[-20:].hex(), f"{key}/", depth + 1))
            else:
                found.append(key)
            count += 1
        bounds.check_count(count)
    return sorted(found)


def differing(before: Any, after: Any, *, where: str) -> Iterator[str]:
    """The keys under which two trees hold different things; what both share is not looked at.

    Args:
        where: What messages call them.
    """
    with errors(where):
        yield from _differing(before, after, folder="", bounds=_Bounds(where))


def _differing(before: Any, after: Any, *, folder: str, bounds: _Bounds) -> Iterator[str]:
    old = {} if before is None else {entry.name: entry for entry in bounds.entries(before, folder)}
    new = {} if after is None else {entry.name: entry for entry in bounds.entries(after, folder)}
    for name in sorted(old.keys() | new.keys()):
        one, other = old.get(name), new.get(name)
        if one is not None and other is not None and (one.id, one.filemode) == (other.id, other.filemode):
            continue
        if _is_tree(one) or _is_tree(other):
            below = (item if _is_tree(item) else None for item in (one, other))
            yield from _differing(*below, folder=f"{folder}{name}/", bounds=bounds.below())
        if any(item is not None and not _is_tree(item) for item in (one, other)):
            yield folder + name


class _Bounds:
    """How much of a tree is looked at: a few kilobytes may name the same folder, in folders in folders, without end."""

    def __init__(self, where: str, depth: int = 0, count: Iterator[int] | None = None) -> None:
        self._where, self._depth = where, depth
        self._count = itertools.count() if count is None else count

    def entries(self, tree: Any, folder: str) -> Iterator[Any]:
        """The entries of a tree."""
        self.check_depth(folder)
        for entry in tree:
            self.check_count(next(self._count))
            yield entry

    def check_depth(self, folder: str) -> None:
        """Checks how deep a folder is."""
        if self._depth > MAX_DEPTH:
            raise CorruptObjectError(f"{self._where}: {folder} is deeper than {MAX_DEPTH} folders")

    def check_count(self, count: int) -> None:
        """Checks how many entries were seen."""
        if count >= MAX_ENTRIES:
            raise CorruptObjectError(f"{self._where} has more than {MAX_ENTRIES} entries; it is not read")

    def below(self) -> _Bounds:
        """The same, a folder deeper."""
        return _Bounds(self._where, self._depth + 1, self._count)


def _is_tree(entry: Any) -> bool:
    return entry is not None and int(entry.filemode) == TREE_MODE
