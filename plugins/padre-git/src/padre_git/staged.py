"""Files that are stored and wait for the next commit: so a run with a hundred files is one commit, not a hundred."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from padre_core.backends.layout import BLOBS, blob_key
from padre_core.errors import BackendError
from padre_core.streams.filesystems import datasync, has_sync_tree, sync_folder

_KEY = re.compile(BLOBS + r"[0-9a-f]{2}/([0-9a-f]{64})")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_ID = re.compile(r"[0-9a-f]{40}")


class Staged:
    """The notes of such files: for each its key, by the digest, and the id of the git blob.

    Every process that has the repository open reads them, and whoever commits next takes all of them along. A blob's
    name follows from its bytes, so it matters to nobody who of several noted it, nor whether a note outlives a commit.
    A note whose git blob is not there, which the loss of power may leave, says nothing.

    Args:
        folder: In the git directory.
        has: Whether the repository has an object.
    """

    def __init__(self, folder: Path, has: Callable[[str], bool]) -> None:
        self.folder = folder
        self._has = has

    def takes(self, key: str) -> bool:
        """Whether a key may wait: the name of bytes that never change."""
        return _KEY.fullmatch(key) is not None

    def add(self, key: str, id: str) -> None:
        """Notes a file; its git blob is there already."""
        digest = key.rpartition("/")[2]
        note = self.folder / f".{digest}-{os.getpid()}-{os.urandom(4).hex()}"
        try:
            self.folder.mkdir(exist_ok=True)
            with note.open("w") as file:
                file.write(id)
                file.flush()
                if not has_sync_tree():  # else the barrier before the records that speak of it is enough
                    datasync(file.fileno())
            os.replace(note, self.folder / digest)
        except OSError as error:
            raise BackendError(f"{self.folder} cannot be written: {error.strerror}") from error

    def find(self, key: str) -> str | None:
        """The git blob of a key; None if it does not wait here."""
        match = _KEY.fullmatch(key)
        if match is None:
            return None
        try:
            found = (self.folder / match[1]).read_text()
        except FileNotFoundError:
            return None
        return found if _ID.fullmatch(found) and self._has(found) else None

    def entries(self) -> dict[str, str | None]:
        """All that waits, by key."""
        with contextlib.suppress(FileNotFoundError):
            keys = [blob_key(name) for name in os.listdir(self.folder) if _DIGEST.fullmatch(name)]
            return {key: id for key in keys if (id := self.find(key)) is not None}
        return {}

    def sync(self) -> None:
        """Returns when the names of all notes are on the disk, where no barrier sees to that."""
        with contextlib.suppress(FileNotFoundError):  # nothing was noted yet
            sync_folder(self.folder)
            sync_folder(self.folder.parent)

    def drop(self, keys: Iterable[str]) -> None:
        """Forgets what a commit holds now."""
        for key in keys:
            (self.folder / key.rpartition("/")[2]).unlink(missing_ok=True)
