"""Blobs, trees and commits of one branch, written directly: no index, no work tree, no `HEAD`."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from padre_core.errors import AlreadyExistsError, BackendError, ConflictError, CorruptObjectError, UnavailableError
from padre_core.streams.filesystems import failure, has_sync_tree, sync_tree
from padre_git.packs import TEMPORARY, Pack, entries_of, tidy, tree_of
from padre_git.place import Place
from padre_git.repository import (
    LooseRef,
    check_free,
    common_folder,
    errors,
    folder_of,
    make_folder,
    open_repository,
)
from padre_git.staged import Staged

MARKER = "padre.json"
BLOB_MODES = (0o100644, 0o100755, 0o100664)
TREE_MODE = 0o040000
MAX_DEPTH = 12
"""How many folders deep a tree is read; the layout has five."""

MAX_ENTRIES = 5_000_000
"""How many entries of a tree are listed in one go: a tree of a kilobyte may refer to itself a million times."""

_BLOB, _TREE = b"100644", b"40000"
_TIDY = 16
"""After how many packs it is looked whether there are too many."""

_LEFT = 24 * 3600.0
"""From how many seconds on a file that is not whole was left by a process that was killed."""

_ATTEMPTS = 100
_LOCK_SECONDS = 10.0


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


@dataclass(slots=True)
class Change:
    """What a commit does to some keys.

    Attributes:
        pack: Where its objects wait until it is made.
        entries: The blob that each key shall hold; None removes it.
        guards: What each key must hold when the commit is made; None for nothing.
    """

    pack: Pack
    entries: dict[str, str | None] = field(default_factory=dict)
    guards: dict[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Bounds:
    """How much of a tree is looked at: a few kilobytes may name the same folder, in folders in folders, without end."""

    where: str
    depth: int
    count: Iterator[int]

    def entries(self, tree: Any, folder: str) -> Iterator[Any]:
        """The entries of a tree."""
        if self.depth > MAX_DEPTH:
            raise CorruptObjectError(f"{self.where}: {folder} is deeper than {MAX_DEPTH} folders")
        for entry in tree:
            if next(self.count) >= MAX_ENTRIES:
                raise CorruptObjectError(f"{self.where} has more than {MAX_ENTRIES} entries; it is not read")
            yield entry

    def below(self) -> _Bounds:
        """The same, a folder deeper."""
        return _Bounds(self.where, self.depth + 1, self.count)


class Branch:
    """A branch of a repository. Safe for threads; commits of several processes follow one another.

    Args:
        make: Make the repository if it is not there.
    """

    def __init__(self, place: Place, *, make: bool) -> None:
        self.place = place
        self.url = place.url
        self.repo = open_repository(place.path, place.branch, make=make)
        self._odb = self.repo.odb
        self.common = common_folder(self.repo)
        self.ref = f"refs/heads/{place.branch}"
        self.folder = (make_folder if make else folder_of)(self.common, place.branch)
        self._loose = LooseRef(self.common, self.ref)
        self.packs = self.common / "objects" / "pack"
        self.staged = Staged(self.folder / "staged")
        if make:
            self.sweep()
        self._lock = threading.RLock()
        self._root: tuple[str | None, Any] = (None, None)
        self._held: int | None = None
        self._unsynced = False
        self._stored = 0

    # Reading

    def tip(self) -> str | None:
        """The newest commit; None if there is no branch yet."""
        found = self._loose.read()
        if found is not None:
            return found
        with errors(self.url):
            reference = self.repo.references.get(self.ref)
            return None if reference is None else str(reference.resolve().target)

    def start(self) -> str | None:
        """The commit that a branch which is not there yet would begin with.

        That of the origin, in a clone; else what is checked out, if it is a store that was put under git.
        """
        with errors(self.url):
            remote = self.repo.references.get(f"refs/remotes/origin/{self.place.branch}")
            if remote is not None:
                return str(remote.resolve().target)
            if self.repo.head_is_unborn:
                return None
            head = str(self.repo.head.target)
            return head if MARKER in self._commit(head).tree else None

    def tree(self, commit: str | None = None) -> Any:
        """The tree of a commit, by default of the newest; None if there is none."""
        if commit is None:
            commit = self.tip() or self.start()
        known, root = self._root
        if known != commit or commit is None:
            root = None if commit is None else self._commit(commit).tree
            self._root = commit, root
        return root

    def find(self, root: Any, key: str) -> Found | None:
        """What lies under a key in a tree."""
        if root is None:
            return None
        try:
            entry = root[key]
        except KeyError:
            return None
        return Found(key, str(entry.id), int(entry.filemode))

    def data(self, id: str, what: str) -> bytes:
        """The bytes of a blob."""
        try:
            kind, data = self._odb.read(id)
        except Exception:  # what it means is looked for only then
            with errors(what):
                raise
        if int(kind) != 3:
            raise CorruptObjectError(f"{what}: {id} is no blob")
        return data

    def size(self, id: str, what: str) -> int:
        """How many bytes a blob has."""
        with errors(what):
            return int(self.repo.odb.read_header(_oid(id))[1])

    def walk(self, root: Any, prefix: str = "", after: str = "") -> Iterator[Found]:
        """The entries below a tree whose keys begin with a prefix and come after a key, in byte order."""
        folder, slash, start = prefix.rpartition("/")
        with errors(self.url):
            if root is None:
                return
            if slash:
                try:
                    root = root[folder]
                except KeyError:
                    return
                if not _is_tree(root):
                    return
            yield from self._walk(root, folder + slash, start, after, self._bounded(folder.count("/")))

    def _bounded(self, depth: int = 0) -> _Bounds:
        return _Bounds(self.url, depth, itertools.count())

    def _walk(self, tree: Any, folder: str, start: str, after: str, bounds: _Bounds) -> Iterator[Found]:
        for entry in bounds.entries(tree, folder):
            key = folder + entry.name
            if not entry.name.startswith(start):
                continue
            mode = int(entry.filemode)
            if mode != TREE_MODE:
                if key > after:
                    yield Found(key, str(entry.id), mode)
            elif key + "/" > after[: len(key) + 1] or after.startswith(key + "/"):
                yield from self._walk(entry, key + "/", "", after, bounds.below())

    def differing(self, before: Any, after: Any) -> Iterator[str]:
        """The keys under which two trees hold different things; what both share is not looked at."""
        with errors(self.url):
            yield from self._differing(before, after, folder="", bounds=self._bounded())

    def _differing(self, before: Any, after: Any, *, folder: str, bounds: _Bounds) -> Iterator[str]:
        old = {} if before is None else {entry.name: entry for entry in bounds.entries(before, folder)}
        new = {} if after is None else {entry.name: entry for entry in bounds.entries(after, folder)}
        for name in sorted(old.keys() | new.keys()):
            one, other = old.get(name), new.get(name)
            if one is not None and other is not None and (one.id, one.filemode) == (other.id, other.filemode):
                continue
            if _is_tree(one) or _is_tree(other):
                below = (item if _is_tree(item) else None for item in (one, other))
                yield from self._differing(*below, folder=f"{folder}{name}/", bounds=bounds.below())
            if any(item is not None and not _is_tree(item) for item in (one, other)):
                yield folder + name

    def follows(self, commit: str, earlier: str) -> bool:
        """Whether a commit is, or was made after, an earlier one; false if that is not here."""
        if commit == earlier:
            return True
        try:
            return bool(self.repo.descendant_of(commit, earlier))
        except (KeyError, ValueError, OSError):
            return False
        except Exception as error:
            if type(error).__name__ != "GitError":
                raise
            return False

    def _commit(self, id: str) -> Any:
        with errors(self.url):
            found = self.repo[id]
        if int(found.type) != 1:
            raise CorruptObjectError(f"{self.url}: {self.ref} names no commit, but {id}")
        return found

    # Writing

    def check_free(self) -> None:
        """Checks that the branch is in no work tree, where all that is committed would look deleted.

        Raises:
            InvalidObjectError: It is.
        """
        check_free(self.repo, self.common, self.place.branch)

    def add(self, data: bytes) -> str:
        """Stores a blob by itself; nothing refers to it yet."""
        with self._lock, errors(self.url):
            self._unsynced = True
            return str(self.repo.create_blob(data))

    def pack(self, *, power: bool) -> Pack:
        """A place for objects that are to be stored together.

        Args:
            power: Let what refers to them survive the loss of power, and never be half there.
        """
        return Pack(self.packs, power=power)

    def check(self, change: Change, root: Any) -> None:
        """Checks what a change expects.

        Raises:
            AlreadyExistsError: Something is where nothing was expected.
            ConflictError: Something else is there.
        """
        for key, expected in change.guards.items():
            found = self.find(root, key)
            if expected is None and found is not None:
                raise AlreadyExistsError(f"{self.url} has {key} already")
            if expected is not None and (found is None or found.id != expected):
                raise ConflictError(f"{key} in {self.url} was changed meanwhile")

    def commit(self, change: Change, message: str, actor: str | None) -> str | None:
        """Makes one commit of a change and of what is staged, on top of whatever is there; returns it if there is one.

        Raises:
            ConflictError: What the change expects does not hold.
            UnavailableError: Another program moves the branch all the time, or left a lock behind.
        """
        deadline = time.monotonic() + _LOCK_SECONDS
        for attempt in range(_ATTEMPTS):
            with self.exclusive():
                self.check_free()
                self.clear_left_lock()
                tip = self.tip()
                parent = tip or self.start()
                root = self.tree(parent) if parent else None
                self.check(change, root)
                staged = self.staged.entries()
                before = None if root is None else str(root.id)
                tree = self.rebuilt(before, staged | change.entries, change.pack)
                if tip is not None and tree == before:
                    self.staged.drop(staged)
                    return None
                made = self.store(change.pack, tree, message, actor, [parent] if parent else [])
                if self.move(tip, made, message, power=change.pack.power):
                    self.staged.drop(staged)
                    self._tidy(power=change.pack.power)
                    return made
            if attempt and time.monotonic() > deadline:
                break
            time.sleep(min(0.002 * 2**attempt, 0.1))
        raise UnavailableError(
            f"{self.url} is being changed by another program; if none runs, remove {self.common / self.ref}.lock"
        )

    def tags(self) -> list[str]:
        """The names of all tags of the repository."""
        with errors(self.url):
            prefix = "refs/tags/"
            return sorted(name.removeprefix(prefix) for name in self.repo.references if name.startswith(prefix))

    def tag(self, name: str, message: str | None, actor: str | None) -> str:
        """Gives the newest commit a name that stays, and returns it.

        Raises:
            AlreadyExistsError: There is such a tag.
        """
        with self.exclusive(), errors(self.url):
            tip = str(self.tip() or self.start())
            if f"refs/tags/{name}" in self.repo.references:
                raise AlreadyExistsError(f"{self.url} has a tag {name} already; `git tag -d {name}` removes it")
            if message is None:
                self.repo.references.create(f"refs/tags/{name}", _oid(tip))
            else:
                self.repo.create_tag(name, _oid(tip), 1, self.signature(actor), message)  # type: ignore[arg-type]
            return tip

    def store(
        self, pack: Pack, tree: str | None, message: str, actor: str | None, parents: Sequence[str]
    ) -> str:  # fmt: skip
        """Stores what waits in a pack, and a commit of it, to which no reference points yet; returns that."""
        made = pack.add("commit", self._commit_text(tree or pack.add("tree", b""), message, actor, parents))
        if pack.power:
            self.sync()  # a branch must never name what a loss of power took away
        pack.store()
        self._stored += 1
        return made

    def _commit_text(self, tree: str, message: str, actor: str | None, parents: Sequence[str]) -> bytes:
        by = self.signature(actor)
        hours, minutes = divmod(abs(by.offset), 60)
        sign = "-" if by.offset < 0 else "+"
        who = b"%b <%b> %d %b" % (by.raw_name, by.raw_email, by.time, f"{sign}{hours:02}{minutes:02}".encode())
        heads = [f"tree {tree}".encode(), *(f"parent {parent}".encode() for parent in parents)]
        text = message.replace("\0", "\ufffd").encode(errors="replace")
        return b"\n".join([*heads, b"author " + who, b"committer " + who, b"", text])

    def _tidy(self, *, power: bool) -> None:
        """Merges packs, now and then; the lock is held."""
        if self._stored >= _TIDY:
            self._stored = 0
            with errors(self.url):
                tidy(self.packs, power=power)

    def sweep(self) -> None:
        """Removes what processes left that were killed while they made a file."""
        for folder, begin in ((self.packs, TEMPORARY), (self.staged.folder, ".")):
            with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith(begin) and entry.is_file(follow_symlinks=False):
                        with contextlib.suppress(OSError):
                            if time.time() - entry.stat(follow_symlinks=False).st_mtime > _LEFT:
                                os.unlink(entry.path)

    def sync(self) -> None:
        """Returns when all that `add` stored and what is staged survive the loss of power."""
        if not has_sync_tree() or not self._unsynced:
            return  # elsewhere libgit2 syncs each file
        self._unsynced = False
        with errors(self.url):
            fd = os.open(self.common, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                sync_tree(fd)
            finally:
                os.close(fd)

    def rebuilt(self, tree: str | None, entries: Mapping[str, str | None], pack: Pack) -> str | None:
        """The id of a tree with some entries changed, level by level; None if nothing is left of it."""
        held = {} if tree is None else entries_of(self._raw(tree), f"{tree} in {self.url}")
        below: dict[bytes, dict[str, str | None]] = {}
        for key, id in entries.items():
            part, slash, rest = key.partition("/")
            name = part.encode()
            if slash:
                below.setdefault(name, {})[rest] = id
            elif id is not None:
                held[name] = (_BLOB, bytes.fromhex(id))
            else:
                held.pop(name, None)
        for name, changes in below.items():
            mode, present = held.get(name, (b"", b""))
            made = self.rebuilt(present.hex() if mode == _TREE else None, changes, pack)
            if made is not None:
                held[name] = (_TREE, bytes.fromhex(made))
            elif mode == _TREE:
                del held[name]
        return pack.add("tree", tree_of(held)) if held else None

    def _raw(self, tree: str) -> bytes:
        with errors(self.url):
            kind, data = self.repo.odb.read(_oid(tree))
        if int(kind) != 2:
            raise CorruptObjectError(f"{self.url}: {tree} is no tree")
        return bytes(data)

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """While held, no other process of this plugin moves the branch: losing the race would cost more."""
        with self._lock:
            if self._held is not None:
                yield
                return
            path = f"{self.folder}/commit"
            try:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            except OSError as error:
                raise BackendError(f"{path} cannot be opened: {error.strerror}") from error
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                self._held = fd
                yield
            finally:
                self._held = None
                os.close(fd)

    def signature(self, actor: str | None) -> Any:
        """Who is said to have made a commit: the user that git knows, else who wrote the objects."""
        import pygit2

        try:
            return self.repo.default_signature
        except (KeyError, ValueError, pygit2.GitError):
            name = "".join(sign for sign in actor or "" if sign.isprintable() and sign not in "<>") or "padre"
            return pygit2.Signature(name, f"{'.'.join(name.split())}@localhost")

    def move(self, before: str | None, after: str, message: str, *, power: bool) -> bool:
        """Lets the branch name another commit if it still names the one before; false if it has to be tried again."""
        import pygit2

        self._note(after)
        try:
            with _synced(power=power):
                if before is None:
                    self.repo.references.create(self.ref, _oid(after))
                else:
                    reference = self.repo.references[self.ref]
                    if str(reference.target) != before:
                        return False
                    reference.set_target(_oid(after), f"padre: {message.partition(chr(10))[0]}")
            return True
        except (pygit2.GitError, KeyError, ValueError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in (None, errno.EEXIST, errno.EACCES):
                raise failure(f"{self.ref} in {self.url} cannot be moved", error) from error
            if self.tip() == after:
                return True
            if self.tip() == before and not (self.common / f"{self.ref}.lock").exists():
                raise BackendError(f"{self.ref} in {self.url} cannot be moved: {error}") from error
            return False
        finally:
            self._note("")

    def clear_left_lock(self) -> None:
        """Removes the lock on the branch that a process of this plugin left when it was killed.

        It noted beforehand which commit it would write there, and nobody else of this plugin is at work now.
        """
        if self._held is None:
            raise ValueError("only while the branch is held")
        noted = os.pread(self._held, 64, 0).decode(errors="replace")
        if noted:
            lock = self.common / f"{self.ref}.lock"
            with contextlib.suppress(FileNotFoundError):
                if lock.read_text().strip() in ("", noted):
                    lock.unlink()
            self._note("")

    def _note(self, commit: str) -> None:
        """Says which commit the branch is about to name, in the file that is locked meanwhile."""
        if self._held is None:
            raise ValueError("only while the branch is held")
        if commit:
            os.pwrite(self._held, commit.encode(), 0)
        else:
            os.ftruncate(self._held, 0)


@contextlib.contextmanager
def _synced(*, power: bool) -> Iterator[None]:
    """Lets libgit2 sync what it writes, within the block."""
    import pygit2
    from pygit2.enums import Option

    if not power:
        yield
        return
    with _SYNCING:
        pygit2.option(Option.ENABLE_FSYNC_GITDIR, True)
        try:
            yield
        finally:
            if has_sync_tree():
                pygit2.option(Option.ENABLE_FSYNC_GITDIR, False)


_SYNCING = threading.Lock()


def _is_tree(entry: Any) -> bool:
    return entry is not None and int(entry.filemode) == TREE_MODE


def _oid(text: str) -> Any:
    import pygit2

    return pygit2.Oid(hex=text)
