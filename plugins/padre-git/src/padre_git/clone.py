"""A repository elsewhere, by a clone of it on this machine."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from padre_core.backends import layout
from padre_core.backends.backend import Info
from padre_core.backends.logged import LoggedBackend
from padre_core.errors import (
    ConflictError,
    CorruptObjectError,
    InvalidObjectError,
    PadreError,
    UnavailableError,
)
from padre_core.streams.filesystems import sync_folder
from padre_git import address as addresses
from padre_git.behind import Behind
from padre_git.branch import MARKER, Branch
from padre_git.commits import merge_base, merged
from padre_git.failures import RefusedError
from padre_git.large import CloneFiles
from padre_git.merge import Logged, check_tree
from padre_git.options import Options, branch_in, clone_path
from padre_git.place import DEFAULT_BRANCH, check_branch
from padre_git.store import GitStore
from padre_git.transport import Fetched, Transport

logger = logging.getLogger(__name__)

ATTEMPTS = 20
"""How often a refused push is merged and tried again."""

GATHER = 60.0
"""For how many seconds what a run that goes on logs may wait, when this is a remote: each push makes a commit."""


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
        asked = Options.of(url, options)
        place, _, query = url.partition("?")
        self.address = addresses.parse(place)
        self.branch_name = check_branch(asked.branch or branch_in(query) or DEFAULT_BRANCH)
        path = clone_path(self.address, asked.clone)
        signing = addresses.credentials(self.address, asked.token, asked.user)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        local = path.as_uri().replace("file:", "git+file:", 1)
        store = GitStore(local, branch=self.branch_name, linger=asked.linger, lfs=asked.lfs)
        self._url = url
        self._power = durability == "power"
        self._git = store
        self._exchanging = threading.RLock()
        self._behind = Behind(lambda: self._quietly(self.publish), url)
        self._ended = False
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
            have = [commit for commit in (self._branch.tip(), self._branch.ref.tracked()) if commit]
            with self.transport.fetch(self.branch_name, have) as fetched:
                if fetched is None:
                    return
                if fetched.tip == self._branch.ref.tracked():
                    self._adopt(fetched.tip)
                    return
                self._check(fetched)
                self.transport.take_up(fetched)
                self._adopt(fetched.tip)
                self._track(fetched.tip)
                self._branch.took_up(power=self._power)

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
                if tip is None or tip == self._branch.ref.tracked():
                    return
                try:
                    self._large.send(self._branch, self._branch.ref.tracked(), tip)
                    self.transport.push(self.branch_name, tip)
                except RefusedError:
                    self.pull()
                    continue
                self._track(tip)
                return
        raise UnavailableError(f"{self._url}: others push all the time; what you stored is kept here, try again")

    def publish_later(self) -> None:
        self._push_behind(GATHER)

    def refresh(self, *, accept_edits: bool = False) -> int:
        self.pull()
        return super().refresh(accept_edits=accept_edits)

    def settle(self) -> bool:
        settled = super().settle()
        self._push_behind()
        return settled

    def info(self) -> Info:
        details = {"clone": str(self._branch.place.path), "branch": self.branch_name, "unpublished": self.unpublished()}
        return replace(super().info(), url=self._url, details=details)

    def unpublished(self) -> bool:
        """Whether commits wait to be pushed."""
        return self._branch.tip() != self._branch.ref.tracked()

    def close(self) -> None:
        if self._ended:
            return
        self._ended = True
        self._behind.end()
        try:
            if not self.readonly:
                self.journal.writers.clear()
                self._quietly(self.publish)
        finally:
            super().close()

    def _after_fork(self) -> None:
        super()._after_fork()
        self._exchanging = threading.RLock()
        self._behind.after_fork()

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
            known = self._branch.ref.tracked()
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
        base = None if ours is None else merge_base(self._branch, ours, theirs)
        self._check_store(*(None if commit is None else self._branch.tree(commit) for commit in (ours, theirs, base)))
        if ours == base and not logged:
            return theirs
        return merged(self._branch, ours, theirs, base, logged, power=self._power, origin=self.address.url)

    def _check_store(self, ours: Any, theirs: Any, base: Any) -> None:
        """Two stores are one only while they never met: the second of two that began at once becomes the first's."""
        ids = [layout.decode_marker(tree[MARKER].data, self._url) for tree in (ours, theirs) if tree is not None]
        if len(set(ids)) > 1 and (base is not None or self._branch.ref.tracked() is not None):
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

    def _push_behind(self, seconds: float = 0.0) -> None:
        if not self.readonly:
            self._behind.soon(seconds)

    def _quietly(self, call: Callable[[], None]) -> None:
        try:
            call()
        except PadreError as error:
            logger.warning("%s", error)


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
