"""What the loss of power may leave of a folder, told from the calls of the system that filled it.

`strace` writes down what a program and its children do to files and names. A `Disk` repeats that, and knows at each
moment what was synced. Of all else the loss of power may leave any part: names that came or went, and of a file some
of its writes, zeros where others should be, or only its beginning. A name is safe when its folder was synced, the bytes
of a file when the file was: no more than POSIX promises, and less than most file systems keep.

What a program writes by a memory map no call tells. So it says `# snap NUMBER PATH` on its output whenever it matters,
where the file NUMBER beside the trace holds a copy. Other lines that begin so are what it acknowledges.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

Left = Literal["nothing", "names", "all", "some"]
"""What is left of all that was not synced."""

CALLS = (
    "openat,open,creat,read,write,pwrite64,lseek,ftruncate,fallocate,rename,renameat,renameat2,link,linkat,symlink,symlinkat,"
    "unlink,unlinkat,mkdir,mkdirat,rmdir,fsync,fdatasync,syncfs,chdir"
)
SECTOR = 512

_LINE = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+)")
_CUT = re.compile(r"(\d+) +(\w+)\((.*) <unfinished \.\.\.>")
_RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_FILE = re.compile(r"(\d+)<((?:\\x[0-9a-f]{2})*)>(\(deleted\))?")
_HERE = re.compile(r"AT_FDCWD<((?:\\x[0-9a-f]{2})*)>")


class Call(NamedTuple):
    """A call of the system that succeeded."""

    process: str
    name: str
    arguments: str
    result: int


def record(command: Sequence[str], trace: Path) -> None:
    """Runs a program and writes down its calls."""
    options = ["-f", "-y", "-xx", "-s", "100000000", "-e", f"trace={CALLS}", "-e", "signal=none"]
    traced = ["strace", *options, "-o", str(trace), *command]
    done = subprocess.run(traced, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def calls(trace: Path) -> Iterator[Call]:
    """What a trace tells, in the order in which the calls returned."""
    begun: dict[str, str] = {}
    with trace.open() as lines:
        for line in lines:
            cut, resumed = _CUT.match(line), _RESUMED.match(line)
            if cut:
                begun[cut[1]] = f"{cut[1]} {cut[2]}({cut[3]}"
                continue
            found = _LINE.match(begun.pop(resumed[1]) + resumed[3] if resumed else line)
            if found and int(found[4]) >= 0:
                yield Call(found[1], found[2], found[3], int(found[4]))


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


@dataclass(eq=False)
class File:
    """A file; `safe` is what of it was synced, and `pending` what was done since."""

    data: bytearray = field(default_factory=bytearray)
    size: int = 0
    safe: tuple[bytes, int] = (b"", 0)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def write(self, place: int, data: bytes) -> None:
        self.pending.append((place, data))
        self.size = _written(self.data, self.size, place, data)

    def resize(self, size: int) -> None:
        self.pending.append((size, None))
        del self.data[size:]
        self.size = size

    def become(self, data: bytes) -> None:
        """Takes other bytes, as if each sector that differs had been written."""
        for place in range(0, max(len(data), len(self.data)), SECTOR):
            new = data[place : place + SECTOR].ljust(SECTOR, b"\0")
            if new != self.data[place : place + SECTOR].ljust(SECTOR, b"\0"):
                self.write(place, new)

    def sync(self) -> None:
        self.safe = bytes(self.data), self.size
        self.pending.clear()

    def left(self, how: Left, dice: random.Random) -> tuple[bytes, int]:
        if how == "all":
            return bytes(self.data), self.size
        data, size = bytearray(self.safe[0]), self.safe[1]
        if how == "some":
            for place, new in self.pending:
                if dice.random() < 0.5:
                    if new is None:
                        del data[place:]
                        size = place
                    else:
                        size = _written(data, size, place, new)
            if size > self.safe[1] and dice.random() < 0.3:
                size = dice.randrange(self.safe[1], size)
                del data[size:]
        return bytes(data), size


def _written(data: bytearray, size: int, place: int, new: bytes) -> int:
    data.extend(bytes(max(0, place - len(data))))
    data[place : place + len(new)] = new
    return max(size, place + len(new))


@dataclass(eq=False)
class Folder:
    """A folder; `pending` are the changes of its names since it was synced, each of which came whole or not at all."""

    names: dict[str, File | Folder] = field(default_factory=dict)
    safe: dict[str, File | Folder] = field(default_factory=dict)
    pending: list[dict[str, File | Folder | None]] = field(default_factory=list)

    def change(self, names: dict[str, File | Folder | None]) -> None:
        self.pending.append(names)
        _named(self.names, names)

    def sync(self) -> None:
        self.safe = dict(self.names)
        self.pending.clear()

    def left(self, how: Left, dice: random.Random) -> dict[str, File | Folder]:
        if how in ("all", "names"):
            return dict(self.names)
        found = dict(self.safe)
        if how == "some":
            for names in self.pending:
                if dice.random() < 0.5:
                    _named(found, names)
        return found


def _named(found: dict[str, File | Folder], names: dict[str, File | Folder | None]) -> None:
    for name, node in names.items():
        if node is None:
            found.pop(name, None)
        else:
            found[name] = node


class Disk:
    """What a program made of an empty folder so far.

    Attributes:
        said: What it has acknowledged.
    """

    def __init__(self, root: Path, snaps: Path) -> None:
        self.root = Folder()
        self.said: list[str] = []
        self._path, self._snaps = str(root), snaps
        self._all: list[File | Folder] = [self.root]
        self._here: dict[str, str] = {}
        self._places: dict[tuple[File, str], int | None] = {}

    def take(self, call: Call) -> bool:
        """Repeats a call; whether the loss of power might leave something else now."""
        here = _HERE.search(call.arguments)
        if here:
            self._here[call.process] = os.fsdecode(_bytes(here[1]))
        paths = [self._place(call, text) for text in _TEXT.findall(call.arguments)]
        name = call.name
        if name == "chdir":
            self._here[call.process] = paths[0]
            return False
        if name in ("open", "openat", "creat"):
            return self._open(call, paths[0])
        if name in ("mkdir", "mkdirat"):
            return self._put(paths[0], Folder())
        if name in ("symlink", "symlinkat"):
            return self._put(paths[1], File())
        if name in ("link", "linkat"):
            node = self._find(paths[0])
            return node is not None and self._put(paths[1], node)
        if name in ("unlink", "unlinkat", "rmdir"):
            return self._put(paths[0], None)
        if name in ("rename", "renameat", "renameat2"):
            return self._rename(*paths)
        return self._descriptor(call)

    def leave(self, target: Path, how: Left, dice: random.Random) -> None:
        """Makes one of the folders that the loss of power might leave now."""
        _make(self.root, target, how, dice)

    def _descriptor(self, call: Call) -> bool:
        """A call on an open file."""
        found = _FILE.match(call.arguments)
        if found is None:
            return False
        if call.name == "write" and found[1] == "1":
            return self._hear(_bytes(_TEXT.findall(call.arguments)[0]))
        path = os.fsdecode(_bytes(found[2]))
        if call.name == "syncfs":
            if self._inside(path):
                for node in self._all:
                    node.sync()
            return self._inside(path)
        node = None if found[3] else self._find(path)
        if isinstance(node, Folder):
            if call.name in ("fsync", "fdatasync"):
                node.sync()
            return False
        return node is not None and self._file(call, node, (node, found[1]))

    def _file(self, call: Call, node: File, at: tuple[File, str]) -> bool:
        numbers = [int(text) for text in re.findall(r", (\d+)", call.arguments)]
        if call.name in ("fsync", "fdatasync"):
            node.sync()
        elif call.name in ("lseek", "read"):
            known = self._places.get(at)
            if known is not None:
                self._places[at] = call.result if call.name == "lseek" else known + call.result
        elif call.name == "ftruncate":
            node.resize(numbers[0])
        elif call.name == "fallocate":
            node.resize(max(node.size, numbers[1] + numbers[2]))
        elif call.name in ("write", "pwrite64"):
            data = _bytes(_TEXT.findall(call.arguments)[0])[: call.result]
            known = self._places.get(at, 0)
            place = numbers[-1] if call.name == "pwrite64" else node.size if known is None else known
            node.write(place, data)
            if call.name == "write" and known is not None:
                self._places[at] = place + len(data)
        return call.name not in ("lseek", "read", "fsync", "fdatasync")

    def _hear(self, data: bytes) -> bool:
        if not data.startswith(b"# "):  # it is what a child tells another
            return False
        for line in data.decode().splitlines():
            line = line.removeprefix("# ")
            word, _, rest = line.partition(" ")
            if word == "snap":
                number, _, path = rest.partition(" ")
                node = self._find(path)
                if isinstance(node, File):
                    node.become((self._snaps / number).read_bytes())
            elif line:
                self.said.append(line)
        return True

    def _open(self, call: Call, path: str) -> bool:
        if not self._inside(path) or path == self._path:
            return False
        node = self._find(path)
        made = node is None and "O_CREAT" in call.arguments
        if made:
            node = File()
            self._put(path, node)
        if not isinstance(node, File):
            return False
        self._places[node, str(call.result)] = None if "O_APPEND" in call.arguments else 0
        if "O_TRUNC" in call.arguments and node.size:
            node.resize(0)
            return True
        return made

    def _rename(self, source: str, target: str) -> bool:
        node = self._find(source)
        if node is None:
            return self._put(target, None)
        if os.path.dirname(source) == os.path.dirname(target):
            above = self._find(os.path.dirname(source))
            assert isinstance(above, Folder)
            above.change({os.path.basename(source): None, os.path.basename(target): node})
            return True
        self._put(target, node)
        self._put(source, None)
        return True

    def _put(self, path: str, node: File | Folder | None) -> bool:
        above = self._find(os.path.dirname(path))
        if not isinstance(above, Folder):
            return False
        if node is not None and node not in self._all:
            self._all.append(node)
        above.change({os.path.basename(path): node})
        return True

    def _find(self, path: str) -> File | Folder | None:
        if not self._inside(path):
            return None
        node: File | Folder | None = self.root
        for part in path[len(self._path) :].split("/"):
            if part:
                node = node.names.get(part) if isinstance(node, Folder) else None
        return node

    def _inside(self, path: str) -> bool:
        return path == self._path or path.startswith(self._path + "/")

    def _place(self, call: Call, text: str) -> str:
        """The path that an argument names; nonsense for those that are no paths."""
        path = os.fsdecode(_bytes(text))
        folder = _FILE.match(call.arguments) if call.name.endswith(("at", "at2")) else None
        begin = os.fsdecode(_bytes(folder[2])) if folder else self._here.get(call.process, "/")
        return os.path.normpath(os.path.join(begin, path)) if "\0" not in path else ""


def _make(folder: Folder, target: Path, how: Left, dice: random.Random) -> None:
    target.mkdir(parents=True)
    for name, node in folder.left(how, dice).items():
        if isinstance(node, Folder):
            _make(node, target / name, how, dice)
        else:
            data, size = node.left(how, dice)
            with (target / name).open("wb") as file:
                file.write(data)
                file.truncate(size)
            os.utime(target / name, (0, 0))  # before the machine was started again
