"""A ref in a file of its own: how it is read before every call, and how it is written so that it lasts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from padre_core.streams.filesystems import datasync, is_local, sync_folder


def write_ref(common: Path, ref: str, commit: str, *, power: bool, still: Callable[[], bool]) -> bool:
    """Lets a ref name a commit, under git's lock on it; false if somebody else holds that, or `still` says no then.

    libgit2 syncs refs only if it was told to before it first saw one of the repository, and then for good.

    Args:
        power: Let the loss of power leave the ref as it was or as it shall be, and the latter once this returned.
        still: Whether the ref is as it was.

    Raises:
        OSError: The system cannot.
    """
    path = f"{common}/{ref}"
    lock, folder = f"{path}.lock", os.path.dirname(path)
    missing: list[Path] = []
    if not os.path.isdir(folder):
        missing = [above for above in Path(path).parents if not above.exists()]
        os.makedirs(folder, exist_ok=True)
    try:
        fd = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except FileExistsError:
        return False
    try:
        try:
            if not still():
                os.unlink(lock)
                return False
            os.write(fd, f"{commit}\n".encode())
            if power:
                datasync(fd)
        finally:
            os.close(fd)
        _rename(lock, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(lock)
        raise
    if power:
        for changed in (Path(folder), *(above.parent for above in missing)):
            sync_folder(changed)
    return True


def _rename(lock: str, path: str) -> None:
    try:
        os.rename(lock, path)
    except IsADirectoryError:  # left by refs that were packed or removed
        os.rmdir(path)
        os.rename(lock, path)


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
