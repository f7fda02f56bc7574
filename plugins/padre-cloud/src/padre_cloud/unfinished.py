"""Uploads that another process goes on with: what the provider calls each, on this machine until it has ended."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

from padre_core.places import state_folder

logger = logging.getLogger(__name__)

_KEPT_SECONDS = 7 * 24 * 3600
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class Unfinished:
    """One upload, as far as this machine knows of it.

    Attributes:
        session: What the provider calls it, by which whoever has it may go on; None if there is none yet.
    """

    def __init__(self, fd: int | None) -> None:
        self._fd = fd
        self.session = None if fd is None else os.pread(fd, 64 * 1024, 0).decode("ascii", "replace") or None

    def begin(self, session: str) -> None:
        """Keeps what a new upload is called."""
        self.session = session
        if self._fd is not None:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, session.encode("ascii"), 0)


@contextlib.contextmanager
def unfinished(url: str, key: str, size: int) -> Iterator[Unfinished]:
    """The upload of a file whose name follows from its bytes; forgotten when the block ends without an error.

    While another process is at it, or nothing can be kept here, the upload is one of its own.
    """
    path = state_folder() / "uploads" / hashlib.sha256(f"{url}\n{key}\n{size}".encode()).hexdigest()[:32]
    fd = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _sweep(path.parent)
        fd = os.open(path, _FLAGS, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        logger.info("%s: an upload that stops begins anew: %s", path, error)
        if fd is not None:
            os.close(fd)
            fd = None
    try:
        yield Unfinished(fd)
        if fd is not None:
            path.unlink(missing_ok=True)
    finally:
        if fd is not None:
            os.close(fd)


def _sweep(folder: Path) -> None:
    """Forgets what providers have forgotten."""
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < time.time() - _KEPT_SECONDS:
                path.unlink()
