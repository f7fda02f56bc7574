"""Trees with some entries changed: only the folders on the way to what changed are read and written."""

from __future__ import annotations

import bisect
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping

from padre_core.errors import CorruptObjectError
from padre_git.packs import Pack
from padre_git.trees import entries

_BLOB, _TREE = b"100644", b"40000"
_KEPT = 128 * 1024
"""How many entries of folders are remembered, and so all that lie above runs: of 100,000 these are 50,000."""

_BESIDE = 8
"""How many entries take as much memory as a folder does by itself."""


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
        found = entries(data, what)
        places = [name + b"/" if mode == _TREE else name for _, mode, name in found]
        if places != sorted(places):  # git never writes such a tree
            raise CorruptObjectError(f"{what} is out of order; run `git fsck`")
        return cls(places, [entry for entry, _, _ in found])

    def encode(self) -> bytes:
        """The bytes of the tree."""
        return b"".join(self._lines)

    def subfolder(self, name: bytes) -> str | None:
        """The id of the tree below a name; None if there is none."""
        return self._id(name + b"/")

    def find(self, name: bytes) -> str | None:
        """The id of what a name stands for; None if there is nothing."""
        return self._id(name) or self._id(name + b"/")

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

    def __len__(self) -> int:
        return len(self._places)

    def _id(self, place: bytes) -> str | None:
        at = self._find(place)
        return None if at is None else self._lines[at][-20:].hex()

    def _find(self, place: bytes) -> int | None:
        at = bisect.bisect_left(self._places, place)
        return at if at < len(self._places) and self._places[at] == place else None


class Folders:
    """Makes trees of trees, and remembers those that it made or looked into last. Safe for threads.

    Args:
        read: The bytes of a tree, by its id.
    """

    def __init__(self, read: Callable[[str], bytes]) -> None:
        self._read = read
        self._kept: OrderedDict[str, Folder] = OrderedDict()  # that which was used last is the last
        self._size = 0
        self._lock = threading.Lock()

    def find(self, tree: str | None, key: str) -> str | None:
        """The id of what lies under a key in a tree, be it a file or a folder; None if there is nothing."""
        *above, name = key.encode().split(b"/")
        with self._lock:
            for part in above:
                tree = None if tree is None else self._look(tree).subfolder(part)
            return None if tree is None else self._look(tree).find(name)

    def rebuilt(self, tree: str | None, entries: Mapping[str, str | None], pack: Pack) -> str:
        """The id of a tree with some entries changed, level by level.

        Args:
            entries: The blob that each key shall hold; None removes it.
            pack: Takes the new trees.
        """
        with self._lock:
            return self._rebuilt(tree, entries, pack) or pack.add("tree", b"")

    def _rebuilt(self, tree: str | None, entries: Mapping[str, str | None], pack: Pack) -> str | None:
        """The same; None if nothing is left of it."""
        folder = Folder([], []) if tree is None else self._take(tree)
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
            made = self._rebuilt(present, changes, pack)
            if made is not None:
                folder.set(name, _TREE, made)
            elif present is not None:
                folder.remove(name)
        return self._keep(pack.add("tree", folder.encode()), folder) if folder else None

    def _look(self, tree: str) -> Folder:
        """The folder of a tree, which is remembered."""
        if tree in self._kept:
            self._kept.move_to_end(tree)
        else:
            self._keep(tree, self._take(tree))
        return self._kept[tree]

    def _take(self, tree: str) -> Folder:
        """The folder of a tree, to be changed: what is made of it is remembered in its place."""
        kept = self._kept.pop(tree, None)
        if kept is None:
            return Folder.parse(self._read(tree), f"the tree {tree}")
        self._size -= len(kept) + _BESIDE
        return kept

    def _keep(self, tree: str, folder: Folder) -> str:
        if tree in self._kept:
            self._take(tree)
        self._kept[tree] = folder
        self._size += len(folder) + _BESIDE
        while self._size > _KEPT and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._size -= len(oldest) + _BESIDE
        return tree
