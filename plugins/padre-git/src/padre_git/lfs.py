"""Large files: their bytes lie beside the repository, by Git LFS, and a pointer lies in it.

PaDRe names blobs by their sha-256, and so does LFS. So a pointer under `blobs/` is one only if it speaks of the very
blob that its name says, and what a user stored never passes for one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import unquote, urlsplit

from padre_core.backends.layout import BLOBS
from padre_core.errors import BackendError
from padre_core.streams.filesystems import datasync, sync_folder
from padre_git.address import Address

THRESHOLD = 8 * 1024 * 1024
"""From how many bytes on a blob is kept by LFS: git reads and packs files as a whole."""

MAX_PLAIN = 100_000_000
"""How long a blob may be in a repository without LFS; GitHub refuses longer ones."""

MAX_POINTER = 1024
CHUNK = 1024 * 1024

_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-[^\n]*\n)*oid sha256:([0-9a-f]{64})\nsize (\d{1,18})\n"
)


@dataclass(frozen=True, slots=True)
class Pointer:
    """What stands in the repository for a large file."""

    digest: str
    size: int

    def encode(self) -> bytes:
        """The text of it, as `git lfs` writes it."""
        return b"version https://git-lfs.github.com/spec/v1\noid sha256:%b\nsize %d\n" % (
            self.digest.encode(),
            self.size,
        )


def pointer_at(key: str, data: bytes) -> Pointer | None:
    """The pointer that lies under a blob's key; None if the blob itself does."""
    found = _POINTER.fullmatch(data) if len(data) <= MAX_POINTER and key.startswith(BLOBS) else None
    if found is None or found[1].decode() != key.rpartition("/")[2]:
        return None
    return Pointer(found[1].decode(), int(found[2]))


def attributes(before: bytes, digests: Iterable[str]) -> bytes:
    """The `.gitattributes` of a folder of blobs after some of them became pointers."""
    lines = {f"{digest} filter=lfs diff=lfs merge=lfs -text".encode() for digest in digests}
    return b"".join(b"%b\n" % line for line in sorted({*before.splitlines(), *lines}))


class LocalFiles:
    """The large files of a repository on this machine, where `git lfs` looks for them too."""

    def __init__(self, repository: Path) -> None:
        self.folder = repository / "lfs"

    def path(self, digest: str) -> Path:
        """Where a file lies if it is here."""
        return self.folder / "objects" / digest[:2] / digest[2:4] / digest

    def open(self, digest: str) -> BinaryIO | None:
        """The file; None if it is not here."""
        try:
            fd = os.open(self.path(digest), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BackendError(f"the large file {digest} cannot be read: {error.strerror}") from error
        return os.fdopen(fd, "rb", buffering=0)

    @contextlib.contextmanager
    def spool(self) -> Iterator[BinaryIO]:
        """A file for bytes on their way, which is removed unless `keep` took it."""
        place = self.folder / "tmp"
        place.mkdir(parents=True, exist_ok=True)
        fd, name = tempfile.mkstemp(prefix="padre-", dir=place)
        os.close(fd)
        with open(name, "w+b") as file:
            try:
                yield cast("BinaryIO", file)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name)

    @contextlib.contextmanager
    def incomplete(self, digest: str) -> Iterator[BinaryIO | None]:
        """What has come of a file so far, to be written on at its end; None if another process has completed it.

        It stays until `keep` takes it or `discard` removes it, so that who comes back goes on where it broke off. One
        process at a time has it, and others wait.
        """
        place = self.folder / "incomplete" / f"padre-{digest}.part"
        place.parent.mkdir(parents=True, exist_ok=True)
        while not self.path(digest).exists():
            with open(place, "a+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(file.fileno()), os.stat(place)):
                        yield cast("BinaryIO", file)
                        return
        yield None

    def discard(self, incomplete: BinaryIO) -> None:
        """Removes what `incomplete` gave, for it is of no use."""
        os.unlink(incomplete.name)

    def keep(self, spooled: BinaryIO, digest: str) -> None:
        """Makes a file of what was spooled; it survives the loss of power afterwards."""
        spooled.flush()
        datasync(spooled.fileno())
        target = self.path(digest)
        missing = [folder for folder in (target.parent, *target.parent.parents) if not folder.exists()]
        target.parent.mkdir(parents=True, exist_ok=True)
        os.chmod(spooled.name, 0o644)
        os.replace(spooled.name, target)
        missing.append(self.folder)  # `spool` may have made it
        for folder in (target.parent, *(path.parent for path in missing)):
            sync_folder(folder)


def copy_files(pointers: Iterable[Pointer], source: LocalFiles, target: LocalFiles) -> None:
    """Copies files between repositories on this machine, those that the one has and the other lacks."""
    for pointer in pointers:
        if target.path(pointer.digest).exists():
            continue
        file = source.open(pointer.digest)
        if file is not None:
            with file, target.spool() as spooled:
                shutil.copyfileobj(file, spooled, CHUNK)
                target.keep(spooled, pointer.digest)


def local_files(address: Address) -> LocalFiles:
    """The large files of a repository that a `file` address names."""
    path = Path(unquote(urlsplit(address.url).path))
    return LocalFiles(path / ".git" if (path / ".git").is_dir() else path)
