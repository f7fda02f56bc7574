"""The reference of a branch: read before every call, moved by compare-and-swap under git's own lock."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from padre_core.errors import BackendError
from padre_core.streams.filesystems import failure, has_sync_tree, is_local
from padre_git.repository import errors


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
    """

    def __init__(self, repo: Any, common: Path, branch: str, lock: Path, where: str) -> None:
        self.name = f"refs/heads/{branch}"
        self.git_lock = common / f"{self.name}.lock"
        self._repo, self._lock_file, self._where = repo, lock, where
        self._loose = LooseRef(common, self.name)
        self._lock = threading.RLock()
        self._held: int | None = None

    def read(self) -> str | None:
        """The commit that it names; None if there is no branch yet."""
        found = self._loose.read()
        if found is not None:
            return found
        with errors(self._where):
            reference = self._repo.references.get(self.name)
            return None if reference is None else str(reference.resolve().target)

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """While held, no other process of this plugin moves the branch: losing the race would cost more."""
        with self._lock:
            if self._held is not None:
                yield
                return
            try:
                fd = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
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
        import pygit2

        self._note(after)
        try:
            with synced(power=power):
                if before is None:
                    self._repo.references.create(self.name, oid(after))
                else:
                    reference = self._repo.references[self.name]
                    if str(reference.target) != before:
                        return False
                    reference.set_target(oid(after), f"padre: {message.partition(chr(10))[0]}")
            return True
        except (pygit2.GitError, KeyError, ValueError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in (None, errno.EEXIST, errno.EACCES):
                raise failure(f"{self.name} in {self._where} cannot be moved", error) from error
            if self.read() == after:
                return True
            if self.read() == before and not self.git_lock.exists():
                raise BackendError(f"{self.name} in {self._where} cannot be moved: {error}") from error
            return False
        finally:
            self._note("")

    def clear_left_lock(self) -> None:
        """Removes git's lock on the branch if a process of this plugin left it when it was killed.

        It noted beforehand which commit it would write there, and nobody else of this plugin is at work now.
        """
        if self._held is None:
            raise ValueError("only while the branch is held")
        noted = os.pread(self._held, 64, 0).decode(errors="replace")
        if noted:
            with contextlib.suppress(FileNotFoundError):
                if self.git_lock.read_text().strip() in ("", noted):
                    self.git_lock.unlink()
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
    """Lets libgit2 sync what it writes, within the block: files before they get their names, and then the names."""
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


class LooseRef:
    """A ref in a file of its own, which is asked for before every read. Safe for threads.

    Git never changes such a file but puts another in its place. So the file is kept open, which keeps its inode from
    being used again, and as long as it has a name it is the one that counts: a tenth of what opening it anew takes.
    """

    def __init__(self, common: Path, ref: str) -> None:
        self._path = f"{common}/{ref}"
        self._kept = is_local(common)  # elsewhere another machine may replace it
        self._last: _Opened | None = None

    def read(self) -> str | None:
        """The commit that it names; None if it is packed, symbolic or not there."""
        last = self._last
        if last is not None:
            status = os.fstat(last.fd)
            if status.st_nlink and status.st_mtime_ns == last.time:
                return last.commit
        try:
            opened = _Opened(os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK))
        except OSError:
            self._last = None
            return None
        self._last = opened if self._kept and opened.commit is not None else None
        return opened.commit


class _Opened:
    """An open file of a ref, closed when no thread looks at it any more."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.time = os.fstat(fd).st_mtime_ns
        try:
            text = os.read(fd, 64)
        except OSError:
            text = b""
        sound = len(text) == 41 and text[:40].isalnum() and text.isascii()
        self.commit = text[:40].decode() if sound else None

    def __del__(self) -> None:
        os.close(self.fd)
