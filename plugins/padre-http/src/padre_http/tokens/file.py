"""A file of tokens that only its owner can read."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from padre_core.errors import AccessDeniedError, BackendError, UnavailableError
from padre_core.places import settings_folder

MAX_SIZE = 1024 * 1024

Entries = dict[str, Any]
"""By the address of each server: its token and when that ends."""


def default_path() -> Path:
    """Where a user's tokens are kept."""
    return settings_folder() / "tokens.json"


def read_private(path: Path) -> tuple[str, os.stat_result]:
    """The text of a file that nobody but its owner can read.

    Raises:
        FileNotFoundError: There is none.
        AccessDeniedError: Others could have read or written it.
        BackendError: It cannot be read.
    """
    try:
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), encoding="utf-8") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise BackendError(f"{path} is no regular file")
            if status.st_mode & 0o077 or status.st_uid not in (os.getuid(), 0):
                raise AccessDeniedError(
                    f"{path} holds tokens, but not only you can read it: make it so with `chmod 600 {path}`, "
                    "and get new tokens if others may have seen these"
                )
            return file.read(MAX_SIZE), status
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        if isinstance(error, AccessDeniedError | BackendError):
            raise
        raise BackendError(f"{path} cannot be read: {error}") from None


class TokenFile:
    """Tokens by server, in one file that is read again whenever it was changed. Safe for threads and processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._entries: Entries = {}

    def read(self) -> Entries:
        """What the file holds now; nothing if it is not there.

        Raises:
            AccessDeniedError: Others could have read it.
            BackendError: It is damaged.
        """
        with self._lock:
            try:
                status = os.stat(self.path)
                if self._seen != _mark(status):
                    text, status = read_private(self.path)
                    self._entries, self._seen = _parse(text, self.path), _mark(status)
            except FileNotFoundError:
                self._entries, self._seen = {}, None
            except OSError as error:
                if isinstance(error, AccessDeniedError | BackendError):
                    raise
                raise BackendError(f"{self.path} cannot be read: {error.strerror}") from error
            return self._entries

    def change(self, change: Callable[[Entries], Entries]) -> None:
        """Replaces what the file holds, in one step.

        Raises:
            BackendError: It cannot be written.
        """
        with self.locked():
            after = change(self.read())
            temporary = self.path.with_name(f".{self.path.name}-{secrets.token_hex(8)}")
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                with open(os.open(temporary, flags, 0o600), "w", encoding="utf-8") as file:
                    json.dump(after, file, indent=1, sort_keys=True)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, self.path)
            except OSError as error:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise BackendError(f"{self.path} cannot be written: {error.strerror}") from error

    @contextlib.contextmanager
    def locked(self, *, wait: bool = True) -> Iterator[None]:
        """While held, no other process changes the file, or gets a new token to put into it. May be held again.

        Raises:
            UnavailableError: Another process holds it, and `wait` is not set.
            BackendError: There is no place for the file.
        """
        held = getattr(_HELD, "paths", None)
        if held is None:
            held = _HELD.paths = set()
        if self.path in held:
            yield
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(
                self.path.with_name(f".{self.path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            raise BackendError(f"{self.path} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(descriptor)
            raise UnavailableError(f"another process is changing {self.path}") from None
        try:
            held.add(self.path)
            yield
        finally:
            held.discard(self.path)
            os.close(descriptor)


_HELD = threading.local()


def _mark(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mtime_ns, status.st_size, status.st_ino


def _parse(text: str, path: Path) -> Entries:
    try:
        entries = json.loads(text)
    except ValueError:
        entries = None
    if not isinstance(entries, dict):
        raise BackendError(f"{path} is damaged: remove it and sign in again with `padre login`")
    return entries
