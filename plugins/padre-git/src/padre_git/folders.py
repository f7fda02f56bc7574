"""Trees with some entries changed: only the folders on the way to what changed are read and written."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Mapping

from padre_git.packs import Pack
from padre_git.trees import parse

_BLOB, _TREE = b"100644", b"40000"
_KEPT = 64
"""How many folders are remembered: that of all runs has hundreds of entries and is part of every commit."""


class Folder:
    """The entries of one tree, in git's order: a folder stands where its name with a slash behind it would."""

    __slots__ = ("_lines", "_places")

    def __init__(self, places: list[bytes], lines: list[bytes]) -> None:
        self._places, self._lines = places, lines

    @classmethod
    def parse(cls, data: bytes, what: str) -> Folder:
        """The entries that the bytes of a tree hold.

        Raises:
            CorruptObjectError: They are none of a tree.
        """
        found = sorted([(name + b"/" if mode == _TREE else name, mode, name, id) for mode, name, id in
                        parse(data, what)])  # fmt: skip
        return cls([item[0] for item in found], [b"%b %b\0%b" % item[1:] for item in found])

    def encode(self) -> bytes:
        """The bytes of the tree."""
        return b"".join(self._lines)

    def copy(self) -> Folder:
        """Another one with the same entries."""
        return Folder(self._places.copy(), self._lines.copy())

    def subfolder(self, name: bytes) -> str | None:
        """The id of the tree below a name; None if there is none."""
        at = self._find(name + b"/")
        return None if at is None else self._lines[at][-20:].hex()

    def set(self, name: bytes, mode: bytes, id: str) -> None:
        """Lets a name stand for an object, whatever it stood for."""
        place = name + b"/" if mode == _TREE else name
        at = self._find(place)
        if at is None:
            self.remove(name)
            at = bisect.bisect_left(self._places, place)
            self._places.insert(at, place)
            self._lines.insert(at, b"")
        self._lines[at] = b"%b %b\0%b" % (mode, name, bytes.fromhex(id))

    def remove(self, name: bytes) -> None:
        """Drops a name, if it is there."""
        for place in (name, name + b"/"):
            at = self._find(place)
            if at is not None:
                del self._places[at], self._lines[at]

    def __bool__(self) -> bool:
        return bool(self._places)

    def _find(self, place: bytes) -> int | None:
        at = bisect.bisect_left(self._places, place)
        return at if at < len(self._places) and self._places[at] == place else None


class Folders:
    """Makes trees of trees. The caller holds a lock.

    Args:
        read: The bytes of a tree, by its id.
    """

    def __init__(self, read: Callable[[str], bytes]) -> None:
        self._read = read
        self._kept: dict[str, Folder] = {}

    def rebuilt(self, tree: str | None, entries: Mapping[str, str | None], pack: Pack) -> str | None:
        """The id of a tree with some entries changed, level by level; None if nothing is left of it.

        Args:
            entries: The blob that each key shall hold; None removes it.
            pack: Takes the new trees.
        """
        folder = Folder([], []) if tree is None else self._folder(tree).copy()
        below: dict[bytes, dict[str, str | None]] = {}
        for key, id in entries.items():
            part, slash, rest = key.partition("/")
            name = part.encode()
            if slash:
                below.setdefault(name, {})[rest] = id
            elif id is not None:
                folder.set(name, _BLOB, id)
            else:
                folder.remove(name)
        for name, changes in below.items():
            present = folder.subfolder(name)
            made = self.rebuilt(present, changes, pack)
            if made is not None:
                folder.set(name, _TREE, made)
            elif present is not None:
                folder.remove(name)
        return self._keep(pack.add("tree", folder.encode()), folder) if folder else None

    def _folder(self, tree: str) -> Folder:
        kept = self._kept.get(tree)
        return Folder.parse(self._read(tree), f"the tree {tree}") if kept is None else kept

    def _keep(self, tree: str, folder: Folder) -> str:
        if len(self._kept) >= _KEPT:
            self._kept.clear()
        self._kept[tree] = folder
        return tree
