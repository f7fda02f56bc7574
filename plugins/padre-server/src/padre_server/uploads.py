"""Uploads in parts: begun, continued after any break, and checked as a whole before they become blobs."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from padre_core import BackendError, ConflictError, InvalidObjectError, NotFoundError, UnavailableError
from padre_server.errors import DiskFullError, TooLargeError, TooManyError
from padre_server.settings import Limits

_ID = frozenset("0123456789abcdef")
_SWEEP_SECONDS = 60.0


class Uploads:
    """Files of unfinished uploads in the state folder, shared by all processes of a server."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder, self._limits = folder, limits
        self._swept = 0.0
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def begin(self, subject: str) -> str:
        """Begins an upload and returns its id.

        Raises:
            TooManyError: Too many are unfinished.
        """
        self.sweep()
        own = _mark(subject)
        names = [entry.name for entry in os.scandir(self._folder)]
        mine = sum(name.startswith(own) for name in names)
        if len(names) >= self._limits.uploads or mine >= self._limits.uploads_each:
            raise TooManyError("too many uploads are unfinished: finish or delete some, or try again later")
        self.check_room(0)
        id = secrets.token_hex(16)
        with _disk():
            os.close(os.open(self._path(id, subject), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        return id

    def size(self, id: str, subject: str) -> int:
        """How many bytes have arrived.

        Raises:
            NotFoundError: The caller has no such upload.
        """
        try:
            return self._path(id, subject).stat().st_size
        except FileNotFoundError:
            raise _unknown(id) from None

    def open(self, id: str, subject: str, offset: int | None) -> BinaryIO:
        """The file of an upload, for one caller at a time, at its end.

        Args:
            offset: Where the client believes the end to be; None to read from the start.

        Raises:
            NotFoundError: The caller has no such upload.
            ConflictError: The end is elsewhere; `next` says where.
            UnavailableError: Another request is busy with it.
        """
        try:
            file = self._path(id, subject).open("r+b")
        except FileNotFoundError:
            raise _unknown(id) from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise UnavailableError(f"another request is busy with the upload {id}: try again") from error
        if offset is not None:
            end = file.seek(0, os.SEEK_END)
            if offset != end:
                file.close()
                raise ConflictError(f"the upload {id} goes on at {end}, not at {offset}", next=end)
        return file

    def remove(self, id: str, subject: str) -> None:
        """Forgets an upload; one that is not there is no error."""
        self._path(id, subject).unlink(missing_ok=True)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[BinaryIO]:
        """A file for a body that comes in one go; it has no name, and is gone with the request."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        path = self._folder / f".{secrets.token_hex(16)}"
        with _disk():
            file = os.fdopen(os.open(path, flags, 0o600), "w+b")
        path.unlink()
        with file:
            yield file

    def append(self, file: BinaryIO, data: bytes) -> None:
        """Adds to an upload's file.

        Raises:
            TooLargeError: It would become larger than a blob may be.
            DiskFullError: The disk is full, or nearly.
        """
        if file.tell() + len(data) > self._limits.blob:
            raise TooLargeError(f"a blob has at most {self._limits.blob} bytes")
        self.check_room(len(data))
        with _disk():
            file.write(data)

    def check_room(self, size: int) -> None:
        """Checks that the disk keeps some room for what else the server has to write.

        Raises:
            DiskFullError: It does not.
        """
        if shutil.disk_usage(self._folder).free - size < self._limits.free:
            raise DiskFullError("the server's disk is full: nothing was stored")

    def sweep(self) -> None:
        """Removes uploads on which nothing has happened for long, at most once a minute."""
        now = time.time()
        if now - self._swept < _SWEEP_SECONDS:
            return
        self._swept = now
        for entry in os.scandir(self._folder):
            with contextlib.suppress(FileNotFoundError):  # another process sweeps too
                if entry.stat(follow_symlinks=False).st_mtime < now - self._limits.upload_seconds:
                    os.unlink(entry.path)

    def count(self) -> int:
        """How many are unfinished."""
        return sum(1 for _ in os.scandir(self._folder))

    def _path(self, id: str, subject: str) -> Path:
        if len(id) != 32 or not _ID.issuperset(id):
            raise InvalidObjectError("an upload's id has 32 hex digits")
        return self._folder / f"{_mark(subject)}-{id}"


def _mark(subject: str) -> str:
    """Whose an upload is, as a part of a file's name."""
    return hashlib.sha256(subject.encode()).hexdigest()[:16]


@contextlib.contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError("the server's disk is full: nothing was stored") from error
        raise BackendError(f"the server cannot keep the upload: {error.strerror}") from error


def _unknown(id: str) -> NotFoundError:
    return NotFoundError(f"there is no upload {id}: begin another")
