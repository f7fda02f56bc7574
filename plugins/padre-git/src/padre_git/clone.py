"""A repository elsewhere, by a clone of it on this machine."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from padre_core.backends import layout
from padre_core.backends.backend import Info
from padre_core.backends.logged import LoggedBackend
from padre_core.errors import (
    ConflictError,
    CorruptObjectError,
    InvalidObjectError,
    PadreError,
    UnavailableError,
    UnsupportedError,
)
from padre_core.places import data_folder
from padre_core.streams.filesystems import sync_folder
from padre_git import address as addresses
from padre_git.branch import MARKER, Branch
from padre_git.commits import merge_base, reference
from padre_git.large import CloneFiles
from padre_git.merge import Logged, TreeMerge, check_tree
from padre_git.place import DEFAULT_BRANCH, check_branch
from padre_git.store import GitStore
from padre_git.transport import MAX_FETCH, Fetched, RefusedError, Transport

logger = logging.getLogger(__name__)

ATTEMPTS = 20
"""How often a refused push is merged and tried again."""

PAUSE = 1.0
"""For how many seconds what was stored may wait for more, before it is pushed in the background."""

GATHER = 60.0
"""The same for what a run that goes on logs, when this is a remote: each push makes a commit."""


@dataclass(frozen=True, slots=True)
class _Options:
    """What the user chose; see `CloneBackend`."""

    branch: str | None = None
    clone: str | os.PathLike[str] | None = None
    idle: float = 60.0
    lfs: bool = True
    lfs_url: str | None = None
    linger: float = 1.0
    max_fetch: int = MAX_FETCH
    token: str | None = field(default=None, repr=False)
    user: str | None = None

    @classmethod
    def of(cls, url: str, given: Mapping[str, Any]) -> _Options:
        """The options that were given, checked.

        Raises:
            UnsupportedError: There is no such option.
            InvalidObjectError: One is of the wrong type.
        """
        unknown = given.keys() - {item.name for item in fields(cls)}
        if unknown:
            raise UnsupportedError(f"{url}: unknown option {min(unknown)!r} (impossible)")
        made = cls(**given)
        try:
            return replace(made, idle=float(made.idle), linger=float(made.linger), max_fetch=int(made.max_fetch))
        except (TypeError, ValueError):
            raise InvalidObjectError(f"{url}: idle, linger and max_fetch are numbers") from None


class CloneBackend(LoggedBackend):
    """A branch of a repository elsewhere, `git+https://host/path`, `git+ssh://user@host/path`.

    What is stored is acknowledged by a clone on this machine, against which `if_match` holds; so all goes on while
    the other side is away. The clone pushes in the background after each batch, and when it is closed; it fetches
    when it is opened. `pull` and `publish` do either at once. What diverged is merged by the rules of `sync`.

    Args:
        branch: By default the one that the URL names, as in `?branch=NAME`, or else `padre`.
        clone: Where the clone lies; by default in the user's data folder.
        token: For https, instead of git's credential helpers; also in `PADRE_GIT_TOKEN`.
        user: The name that goes with the token.
        linger: As those of `git+file`, also `lfs`.
        lfs_url: Where the LFS API is, if not where `git lfs` looks for it.
        idle: For how many seconds a transfer may make no progress.
        max_fetch: How many bytes a fetch may bring.

    Attributes:
        transport: How the other side is reached.
    """

    def __init__(self, url: str, *, readonly: bool = False, durability: str = "power", **options: Any) -> None:
        asked = _Options.of(url, options)
        place, _, query = url.partition("?")
        self.address = addresses.parse(place)
        self.branch_name = check_branch(asked.branch or _branch_in(query) or DEFAULT_BRANCH)
        path = _clone_path(self.address, asked.clone)
        signing = addresses.credentials(self.address, asked.token, asked.user)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        local = path.as_uri().replace("file:", "git+file:", 1)
        store = GitStore(local, branch=self.branch_name, linger=asked.linger, lfs=asked.lfs)
        self._url = url
        self._power = durability == "power"
        self._git = store
        self._exchanging = threading.RLock()
        self._behind: threading.Thread | None = None
        self._waiting = threading.Event()
        self._starting_push = threading.Lock()
        self._due: float | None = None
        self._ending = False
        self.transport = Transport(self.address, self._branch.common, signing, idle=asked.idle, limit=asked.max_fetch)
        self._large = CloneFiles(self.transport, store.large, self.branch_name, idle=asked.idle, endpoint=asked.lfs_url)
        store.accept_large, store.fetch_large = self._large.accept, self._large.fetch
        try:
            self._own()
            new = self._begin()
            super().__init__(store, self._branch.folder / "log", durability=durability, readonly=readonly)
        except BaseException:
            store.close()
            raise
        self.capabilities = replace(self.capabilities, shared=True)
        if not new:
            self._quietly(self.pull)

    def pull(self) -> None:
        """Takes up what others pushed.

        Raises:
            UnavailableError: The other side is away.
            InvalidObjectError: It holds another store.
        """
        with self._exchanging:
            have = [commit for commit in (self._branch.tip(), self._tracked()) if commit]
            with self.transport.fetch(self.branch_name, have) as fetched:
                if fetched is None or fetched.tip == self._tracked():
                    if fetched is not None:
                        self._adopt(fetched.tip)
                    return
                self._check(fetched)
                self.transport.take_up(fetched)
                self._adopt(fetched.tip)
                self._track(fetched.tip)

    def publish(self) -> None:
        """Returns when the other side has all that was stored here; merges first if others were faster.

        Raises:
            UnavailableError: It is away, or others push all the time; all stays here.
            AccessDeniedError: It does not take the branch.
        """
        with self._exchanging:
            if not self.readonly:
                self.fold()
            for _ in range(ATTEMPTS):
                tip = self._branch.tip()
                if tip is None or tip == self._tracked():
                    return
                try:
                    self._large.send(self._branch, self._tracked(), tip)
                    self.transport.push(self.branch_name, tip)
                except RefusedError:
                    self.pull()
                    continue
                self._track(tip)
                return
        raise UnavailableError(f"{self._url}: others push all the time; what you stored is kept here, try again")

    def publish_later(self) -> None:
        self._publish_behind(GATHER)

    def refresh(self, *, accept_edits: bool = False) -> int:
        self.pull()
        return super().refresh(accept_edits=accept_edits)

    def settle(self) -> None:
        super().settle()
        self._publish_behind()

    def info(self) -> Info:
        details = {"clone": str(self._branch.place.path), "branch": self.branch_name, "unpublished": self.unpublished()}
        return replace(super().info(), url=self._url, details=details)

    def unpublished(self) -> bool:
        """Whether commits wait to be pushed."""
        return self._branch.tip() != self._tracked()

    def close(self) -> None:
        if self._ending:
            return
        self._ending = True
        self._waiting.set()
        thread = self._behind
        if thread is not None:
            thread.join()
        try:
            if not self.readonly:
                self.journal.writers.clear()
                self._quietly(self.publish)
        finally:
            super().close()

    def _after_fork(self) -> None:
        super()._after_fork()
        self._exchanging = threading.RLock()
        self._behind = self._due = None
        self._waiting = threading.Event()
        self._starting_push = threading.Lock()

    # Fetching

    def _begin(self) -> bool:
        """Makes the branch from the other side's where there is none here yet; says whether it was made."""
        self.transport.sweep()
        with _lock(self._branch.folder / "begin"):
            if self._branch.tip() is not None:
                return False
            with self.transport.fetch(self.branch_name, []) as fetched:
                if fetched is None:
                    return False
                self._check(fetched)
                self.transport.take_up(fetched)
                self._track(fetched.tip)
                with self._branch.ref.exclusive():
                    return self._branch.ref.move(None, fetched.tip, f"Clone {self.address.url}", power=self._power)

    def _check(self, fetched: Fetched) -> None:
        """Looks at what was fetched before any of it is taken up."""
        import pygit2
        from pygit2.enums import RepositoryOpenFlag

        where = f"the branch {self.branch_name} of {self.address.url}"
        try:
            repository = pygit2.Repository(str(fetched.folder), RepositoryOpenFlag.NO_SEARCH | RepositoryOpenFlag.BARE)
            known = self._tracked()
            before = repository[known].tree if known else None
            check_tree(self._branch, before, repository[fetched.tip].tree, where)
            repository.free()
        except (KeyError, ValueError, AttributeError, pygit2.GitError) as error:
            if isinstance(error, PadreError):
                raise
            raise CorruptObjectError(f"{where} is damaged: {error}; nothing of it was taken up") from error

    def _adopt(self, theirs: str) -> None:
        """Brings the branch to what it and another commit come to."""
        for _ in range(ATTEMPTS):
            ours = self._branch.tip()
            if ours is not None and self._branch.follows(ours, theirs):
                return
            if not self.readonly:
                self.fold()
            with self.adopting() as logged, self._branch.ref.exclusive():
                self._branch.ref.clear_left_locks()
                ours = self._branch.tip()
                made = self._merged(ours, theirs, logged)
                if self._branch.ref.move(ours, made, f"Take up {self.address.url}", power=self._power):
                    break
        else:
            raise UnavailableError(f"{self._url}: another program changes the branch all the time")
        self._renamed()

    def _merged(self, ours: str | None, theirs: str, logged: Logged) -> str:
        """A commit that holds what both do; theirs if that is all."""
        branch = self._branch
        base = None if ours is None else merge_base(branch, ours, theirs)
        trees = [None if commit is None else branch.tree(commit) for commit in (ours, theirs, base)]
        self._check_store(*trees)
        if ours == base and not logged:
            return theirs
        merge = TreeMerge(branch, trees[0], trees[1], trees[2], logged, branch.pack(power=self._power))
        merge.run()
        made = [f"{record.kind} {record.id}" for record in merge.made()]
        message = f"Merge {self.branch_name} of {self.address.url}\n"
        if made:
            message += f"\nChanged on both sides:\n{''.join(f'  {name}{chr(10)}' for name in sorted(made)[:100])}"
        parents = [theirs] if ours is None or ours == base else [ours, theirs]
        tree = branch.folders.rebuilt(None if trees[0] is None else str(trees[0].id), merge.entries, merge.pack)
        return branch.store(merge.pack, tree, message, None, parents)

    def _check_store(self, ours: Any, theirs: Any, base: Any) -> None:
        """Two stores are one only while they never met: the second of two that began at once becomes the first's."""
        ids = [layout.decode_marker(tree[MARKER].data, self._url) for tree in (ours, theirs) if tree is not None]
        if len(set(ids)) > 1 and (base is not None or self._tracked() is not None):
            raise InvalidObjectError(
                f"{self._url} holds the store {ids[1]} now, and the clone {self._branch.place.path} is of {ids[0]}: "
                "nothing was changed. Move the clone away to use the new one; `padre copy` brings what is only in it"
            )

    def _renamed(self) -> None:
        """Takes the store's id anew, should it have been another's."""
        id = layout.decode_marker(self.store.read(MARKER).data, self._url)
        with self._lock:
            if id != self.id:
                self.id = id
                if self._index is not None:
                    self._index.close()
                    self._index = None

    # What belongs to the clone

    @property
    def _branch(self) -> Branch:
        return self._git.branch  # after a fork another one

    def _tracked(self) -> str | None:
        """What the other side's branch was when it was last seen."""
        return reference(self._branch, self._branch.ref.tracking)

    def _track(self, commit: str) -> None:
        self._branch.ref.point(commit, power=self._power)

    def _own(self) -> None:
        """Notes whose clone this is, or refuses that of another.

        Raises:
            ConflictError: It is of another repository.
        """
        note = self._branch.common / "padre" / "origin"
        with _lock(self._branch.folder / "begin"):
            found = note.read_text(encoding="utf-8") if note.exists() else ""
            if not found:
                made = note.with_name(".origin")
                with open(made, "w", encoding="utf-8") as file:
                    file.write(self.address.url)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(made, note)
                sync_folder(note.parent)
            elif found != self.address.url:
                raise ConflictError(f"{note.parents[1]} is a clone of {found}; give another folder as clone=")

    # In the background

    def _publish_behind(self, seconds: float = 0.0) -> None:
        """Pushes in a thread of its own, soon: what comes meanwhile goes with it, or after it."""
        with self._starting_push:
            due = time.monotonic() + seconds
            self._due = due if self._due is None else min(self._due, due)
            if self.readonly or self._ending or self._behind is not None:
                return
            self._behind = threading.Thread(target=self._publish_later, name="padre-git-push", daemon=True)
            try:
                self._behind.start()
            except RuntimeError as error:  # the interpreter is ending: closing pushes
                self._behind = None
                logger.debug("%s: not pushed now: %s", self._url, error)

    def _publish_later(self) -> None:
        while not self._waiting.wait(PAUSE):
            with self._starting_push:
                if self._due is None:
                    self._behind = None
                    return
                if time.monotonic() < self._due:
                    continue
                self._due = None
            self._quietly(self.publish)

    def _quietly(self, call: Callable[[], None]) -> None:
        try:
            call()
        except PadreError as error:
            logger.warning("%s", error)


def _branch_in(query: str) -> str | None:
    """The branch that the query of a URL names."""
    options = dict(parse_qsl(query, keep_blank_values=True))
    branch = options.pop("branch", None)
    if options or (query and branch is None):
        raise InvalidObjectError("the query of a repository's URL may only name a branch, as in ?branch=NAME")
    return branch


def _clone_path(address: addresses.Address, chosen: object) -> Path:
    if chosen is not None:
        if not isinstance(chosen, str | os.PathLike):
            raise InvalidObjectError("clone= is the path of a folder")
        return Path(chosen).expanduser().absolute()
    digest = hashlib.sha256(address.url.encode()).hexdigest()[:16]
    return data_folder().absolute() / "git" / f"{address.name}-{digest}.git"


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
