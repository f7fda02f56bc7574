"""Blobs, trees and commits of one branch, written directly: no index, no work tree, no `HEAD`."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from padre_core.errors import AlreadyExistsError, ConflictError, CorruptObjectError, UnavailableError
from padre_core.streams.filesystems import has_sync_tree, sync_folder
from padre_git.folders import Folders
from padre_git.loose import write_ref
from padre_git.packs import TEMPORARY, Pack
from padre_git.place import Place
from padre_git.refs import BranchRef, oid, signed, synced
from padre_git.repository import check_free, common_folder, errors, folder_of, make_folder, open_repository, sync_all
from padre_git.staged import Staged
from padre_git.tidying import tidy

MARKER = "padre.json"

_TIDY = 16
"""After how many packs it is looked whether there are too many."""

_LEFT = 24 * 3600.0
"""From how many seconds on a file that is not whole was left by a process that was killed."""

_ATTEMPTS = 100
_LOCK_SECONDS = 10.0


@dataclass(slots=True)
class Change:
    """What a commit does to some keys.

    Attributes:
        pack: Where its objects wait until it is made.
        entries: The blob that each key shall hold; None removes it.
        guards: What each key or folder must hold when the commit is made; None for nothing.
        root: The id of the tree of which all guards are known to be true, if there is one.
        folders: Those in which something changes, and those above them.
    """

    pack: Pack
    entries: dict[str, str | None] = field(default_factory=dict)
    guards: dict[str, str | None] = field(default_factory=dict)
    root: str | None = None
    folders: set[str] = field(default_factory=set)

    def set(self, key: str, id: str | None) -> None:
        """Lets a key hold a blob, or nothing."""
        self.entries[key] = id
        folder = key.rpartition("/")[0]
        while folder and folder not in self.folders:
            self.folders.add(folder)
            folder = folder.rpartition("/")[0]


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
        self.folder = (make_folder if make else folder_of)(self.common, place.branch)
        self.ref = BranchRef(
            self.repo, self.common, place.branch, self.folder / "commit", self.url, lambda: self.signature(None)
        )
        self.folders = Folders(self.raw_tree)
        self.packs = self.common / "objects" / "pack"
        self.staged = Staged(self.folder / "staged", self.repo.__contains__)
        if make:
            self.sweep()
        self._lock = threading.RLock()
        self._root: tuple[str | None, Any] = (None, None)
        self._made: tuple[str, str] = ("", "")
        self._unsynced = False
        self._stored = 0

    # Reading

    def tip(self) -> str | None:
        """The newest commit; None if there is no branch yet."""
        return self.ref.read()

    def start(self) -> str | None:
        """The commit that a branch which is not there yet would begin with.

        That of the origin, in a clone; else what is checked out, if it is a store that was put under git.
        """
        tracked = self.ref.tracked()
        if tracked is not None:
            return tracked
        with errors(self.url):
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

    def tree_id(self, commit: str) -> str:
        """The id of the tree of a commit, which is not read if it was made here just now."""
        made, tree = self._made
        return tree if made == commit else str(self._commit(commit).tree_id)

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
            return int(self.repo.odb.read_header(oid(id))[1])

    def raw_tree(self, id: str) -> bytes:
        """The bytes of a tree."""
        with errors(self.url):
            kind, data = self._odb.read(id)
        if int(kind) != 2:
            raise CorruptObjectError(f"{self.url}: {id} is no tree")
        return bytes(data)

    def follows(self, commit: str, earlier: str) -> bool:
        """Whether a commit is, or was made after, an earlier one; false if that is not here."""
        import pygit2

        if commit == earlier:
            return True
        try:
            return bool(self.repo.descendant_of(commit, earlier))
        except (KeyError, ValueError, OSError, pygit2.GitError):
            return False

    def _commit(self, id: str) -> Any:
        with errors(self.url):
            found = self.repo[id]
        if int(found.type) != 1:
            raise CorruptObjectError(f"{self.url}: {self.ref.name} names no commit, but {id}")
        return found

    # Writing

    def check_free(self) -> None:
        """Checks that the branch is in no work tree, where all that is committed would look deleted.

        Raises:
            InvalidObjectError: It is.
        """
        check_free(self.repo, self.common, self.place.branch)

    def add(self, data: bytes, *, power: bool) -> str:
        """Stores a blob by itself; nothing refers to it yet.

        Args:
            power: Let it never be half there after the loss of power; it surely is there only after `sync`.
        """
        with self._lock, errors(self.url), synced(power=power):
            self._unsynced = True
            return str(self.repo.create_blob(data))

    def pack(self, *, power: bool) -> Pack:
        """A place for objects that are to be stored together.

        Args:
            power: Let what refers to them survive the loss of power, and never be half there.
        """
        return Pack(self.packs, power=power)

    def check(self, change: Change, root: str | None) -> None:
        """Checks what a change expects of a tree.

        Raises:
            AlreadyExistsError: Something is where nothing was expected.
            ConflictError: Something else is there.
        """
        if root is not None and root == change.root:
            return
        for key, expected in change.guards.items():
            found = self.folders.find(root, key)
            if expected is None and found is not None:
                raise AlreadyExistsError(f"{self.url} has {key} already")
            if expected is not None and found != expected:
                raise ConflictError(f"{key} in {self.url} was changed meanwhile")

    def commit(self, change: Change, message: str, actor: str | None) -> str | None:
        """Makes one commit of a change and of what is staged, on top of whatever is there; returns it if there is one.

        Raises:
            ConflictError: What the change expects does not hold.
            UnavailableError: Another program moves the branch all the time, or left a lock behind.
        """
        deadline = time.monotonic() + _LOCK_SECONDS
        for attempt in range(_ATTEMPTS):
            with self.ref.exclusive():
                self.check_free()
                self.ref.clear_left_locks()
                tip = self.tip()
                parent = tip or self.start()
                before = self.tree_id(parent) if parent else None
                self.check(change, before)
                staged = self.staged.entries()
                tree = self.folders.rebuilt(before, staged | change.entries, change.pack)
                if tip is not None and tree == before:
                    self.staged.drop(staged)
                    return None
                made = self.store(change.pack, tree, message, actor, [parent] if parent else [])
                if self.ref.move(tip, made, message, power=change.pack.power):
                    self._made = made, tree
                    self.staged.drop(staged)
                    self._tidy(power=change.pack.power)
                    return made
            if attempt and time.monotonic() > deadline:
                break
            time.sleep(min(0.002 * 2**attempt, 0.1))
        raise UnavailableError(
            f"{self.url} is being changed by another program; if none runs, remove {self.ref.git_lock}"
        )

    def tags(self) -> list[str]:
        """The names of all tags of the repository."""
        with errors(self.url):
            prefix = "refs/tags/"
            return sorted(name.removeprefix(prefix) for name in self.repo.references if name.startswith(prefix))

    def tag(self, name: str, message: str | None, actor: str | None, *, power: bool) -> str:
        """Gives the newest commit a name that stays, and returns it.

        Raises:
            AlreadyExistsError: There is such a tag.
        """
        ref = f"refs/tags/{name}"
        with self.ref.exclusive(), errors(self.url):
            tip = str(self.tip() or self.start())
            if message is not None:
                heads = (f"object {tip}", "type commit", f"tag {name}")
                pack = self.pack(power=power)
                named = pack.add("tag", self._text(heads, ("tagger",), message, actor))
                pack.store()
            if not write_ref(
                self.common, ref, tip if message is None else named, power=power,
                still=lambda: ref not in self.repo.references,
            ):  # fmt: skip
                raise AlreadyExistsError(f"{self.url} has a tag {name} already; `git tag -d {name}` removes it")
            return tip

    def store(self, pack: Pack, tree: str, message: str, actor: str | None, parents: Sequence[str]) -> str:
        """Stores what waits in a pack, and a commit of it, to which no reference points yet; returns that."""
        heads = (f"tree {tree}", *(f"parent {parent}" for parent in parents))
        made = pack.add("commit", self._text(heads, ("author", "committer"), message, actor))
        if pack.power:
            self.sync()  # a branch must never name what a loss of power took away
        pack.store()
        self._stored += 1
        return made

    def _text(self, heads: Iterable[str], roles: Iterable[str], message: str, actor: str | None) -> bytes:
        """What a commit or a tag says: what it is of, who made it, and the message."""
        who = signed(self.signature(actor))
        said = (b"%b %b" % (role.encode(), who) for role in roles)
        text = message.replace("\0", "\ufffd").encode(errors="replace")
        return b"\n".join([*(head.encode() for head in heads), *said, b"", text])

    def took_up(self, *, power: bool) -> None:
        """Counts a pack that came from elsewhere."""
        with self.ref.exclusive():
            self._stored += 1
            self._tidy(power=power)

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
        if not self._unsynced:
            return
        self._unsynced = False
        with errors(self.url):
            if has_sync_tree():
                sync_all(self.common)
            else:  # libgit2 synced each object and the folder that it is in
                sync_folder(self.packs.parent)
                self.staged.sync()

    def signature(self, actor: str | None) -> Any:
        """Who is said to have made a commit: the user that git knows, else who wrote the objects."""
        import pygit2

        try:
            return self.repo.default_signature
        except (KeyError, ValueError, pygit2.GitError):
            name = "".join(sign for sign in actor or "" if sign.isprintable() and sign not in "<>") or "padre"
            return pygit2.Signature(name, f"{'.'.join(name.split())}@localhost")
