"""The files of a folder that become artifacts: regular ones, opened so that nobody can swap them for something else."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from padre_core.errors import NotFoundError

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe without a writer would block for ever


def walk(folder: Path) -> Iterator[tuple[str, BinaryIO | None]]:
    """The path within the folder of everything below it, opened; None for what is not entered or read.

    That are links, files that are no regular ones, and what may not be read.

    Raises:
        NotFoundError: There is no such folder.
    """
    if not folder.is_dir():
        raise NotFoundError(f"there is no folder {str(folder)!r}")
    for top, folders, names, place in os.fwalk(folder):
        folders.sort()
        inside = Path(top).relative_to(folder).as_posix()
        prefix = "" if inside == "." else f"{inside}/"
        for name in sorted([*names, *(name for name in folders if not _is_entered(name, place))]):
            stream = _open_regular(name, place)
            try:
                yield prefix + name, stream
            finally:
                if stream is not None:
                    stream.close()


def _open_regular(name: str, place: int) -> BinaryIO | None:
    try:
        descriptor = os.open(name, _FLAGS, dir_fd=place)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return open(descriptor, "rb", buffering=0)  # who reads it asks for much at once
    os.close(descriptor)
    return None


def _is_entered(name: str, place: int) -> bool:
    """Whether `os.fwalk` goes into a folder: no link, and one that may be read. It is silent about the others."""
    try:
        os.close(os.open(name, _FLAGS | os.O_DIRECTORY, dir_fd=place))
    except OSError:
        return False
    return True
