"""The reference of a branch: read before every call, moved by compare-and-swap under git's own lock."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from padre_core.errors import BackendError, UnavailableError
from padre_core.streams.filesystems import failure, has_sync_tree, is_local
from padre_git.loose import LooseRef, write_ref
from padre_git.repository import errors

logger = logging.getLogger(__name__)


def oid(text: str) -> Any:
    """An id as libgit2 takes it."""
    import pygit2

    return pygit2.Oid(hex=text)


class BranchRef:
    """Which commit a branch names. Safe for threads and beside other processes.

    Args:
        repo: The opened repository, and `common` the git directory that its work trees share.
        lock: A file whose lock (flock) is held while a process of this plugin moves the branch.
        where: What messages call the repository.
        signature: Who is said to have moved it.

    Attributes:
        name: That of the ref.
        git_lock: The file by which git locks it.
    """

    def __init__(
        self, repo: Any, common: Path, branch: str, lock: Path, where: str, signature: Callable[[], Any]
    ) -> None:
        self.name = f"refs/heads/{branch}"
        self._tracking = f"refs/remotes/origin/{branch}"
        self.git_lock, self._tracking_lock = f"{common}/{self.name}.lock", f"{common}/{self._tracking}.lock"
        self._common, self._local = common, is_local(common)
        self._repo, self._lock_file, self._where = repo, lock, where
        self._logs, self._signature = _keeps_logs(repo), signature
        self._loose = LooseRef(common, self.name)
        self._lock = threading.RLock()
        self._held: int | None = None

    def read(self) -> str | None:
        """The commit that it names; None if there is no branch yet."""
        return self._loose.read() or self._named(self.name)

    def tracked(self) -> str | None:
        """The commit that the other side's branch named when it was last seen."""
        return self._named(self._tracking)

    def _named(self, ref: str) -> str | None:
        with errors(self._where):
            found = self._repo.references.get(ref)
            return None if found is None else str(found.resolve().target)

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """While held, no other process of this plugin moves the branch: losing the race would cost more."""
        with self._lock:
            if self._held is not None:
                yield
                return
            try:
                fd = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
            except OSError as error:
                raise BackendError(f"{self._lock_file} cannot be opened: {error.strerror}") from error
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                self._held = fd
                yield
            finally:
                self._held = None
                os.close(fd)

    def move(self, before: str | None, after: str, message: str, *, power: bool) -> bool:
        """Lets the branch name another commit if it still names the one before; false if it has to be tried again."""
        if not self._write(self.name, after, power=power, still=lambda: self._names(before)):
            return False
        self._reflog(before, after, message)
        return True

    def point(self, after: str, *, power: bool) -> None:
        """Notes what the other side's branch names.

        Raises:
            UnavailableError: Another program holds git's lock on the note.
        """
        with self.exclusive():
            self.clear_left_locks()
            if not self._write(self._tracking, after, power=power, still=lambda: True):
                raise UnavailableError(
                    f"{self._where} is being changed by another program; if none runs, remove {self._tracking_lock}"
                )

    def _write(self, ref: str, after: str, *, power: bool, still: Callable[[], bool]) -> bool:
        self._note(after)
        try:
            return write_ref(self._common, ref, after, power=power, still=still)
        except OSError as error:
            raise failure(f"{ref} in {self._where} cannot be moved", error) from error
        finally:
            self._note("")

    def _names(self, before: str | None) -> bool:
        """Whether the branch names a commit, by itself and not by way of another branch."""
        loose = self._loose.read()
        if loose is not None:
            return loose == before
        with errors(self._where):
            found = self._repo.references.get(self.name)
            if found is not None:
                return str(found.target) == before
            for other in self._repo.references:
                if other.startswith(f"{self.name}/") or self.name.startswith(f"{other}/"):
                    raise BackendError(f"{self._where} has {other}, beside which git cannot have {self.name}")
        return before is None

    def _reflog(self, before: str | None, after: str, message: str) -> None:
        """Adds a line to the log of the branch, if git keeps one, as it does beside work trees."""
        path = f"{self._common}/logs/{self.name}"
        if not self._logs and not os.path.exists(path):
            return
        moved = f"{before or '0' * 40} {after} ".encode()
        subject = message.partition("\n")[0].encode(errors="replace")
        line = moved + signed(self._signature()) + b"\tpadre: " + subject + b"\n"
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "ab") as file:
                file.write(line)
        except OSError as error:
            logger.warning("%s cannot be written: %s", path, error)

    def clear_left_locks(self) -> None:
        """Removes locks of git that a process of this plugin left when it was killed, or the power lost.

        It noted beforehand which commit it would write there, and nobody else of this plugin is at work now. The note
        may be lost with the power; but no process lives that made a lock before the machine was started.
        """
        if self._held is None:
            raise ValueError("only while the branch is held")
        noted = os.pread(self._held, 64, 0).decode(errors="replace")
        for lock in (self.git_lock, self._tracking_lock):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                made = os.lstat(lock).st_mtime
                if (self._local and made < _started()) or (noted and Path(lock).read_text().strip() in ("", noted)):
                    os.unlink(lock)
        if noted:
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
def synced(*, power: bool) -> Iterator[None]:
    """Lets libgit2 sync the objects that it writes, within the block: before they get their names, and then these."""
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


def signed(by: Any) -> bytes:
    """Name, address and time of a signature, as git writes them."""
    hours, minutes = divmod(abs(by.offset), 60)
    zone = f"{'-' if by.offset < 0 else '+'}{hours:02}{minutes:02}"
    return b"%b <%b> %d %b" % (by.raw_name, by.raw_email, by.time, zone.encode())


def _keeps_logs(repo: Any) -> bool:
    """Whether git writes down where the branches of a repository pointed."""
    with contextlib.suppress(KeyError, ValueError):
        return str(repo.config["core.logallrefupdates"]).lower() not in ("false", "no", "off", "0", "")
    return not repo.is_bare


def _started() -> float:
    """When the machine was started, in seconds since 1970; 0 where the system does not tell."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else 0.0
