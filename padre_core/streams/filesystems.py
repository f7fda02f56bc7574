"""What differs between operating systems and file systems when bytes must last."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path

from padre_core.errors import AccessDeniedError, BackendError, PadreError, ReadOnlyError

# Not those that copy on write: there a full disk can take preallocated pages away.
_LOCAL = frozenset({"ext2", "ext3", "ext4", "xfs", "tmpfs", "overlay"})
_NO_FULL_SYNC = frozenset({errno.ENOTSUP, errno.ENOTTY, errno.EINVAL})
"""What file systems of macOS say that do not know how to make a drive empty its cache: SMB, ZFS, WebDAV."""
_WRITE = 2
"""`SYNC_FILE_RANGE_WRITE`"""


def failure(what: str, error: OSError) -> PadreError:
    """What an error of the system means to the caller."""
    if error.errno == errno.EROFS:
        return ReadOnlyError(f"{what}: the file system is read-only; open the store with readonly=True to read it")
    if isinstance(error, PermissionError):
        return AccessDeniedError(f"{what}: permission denied; open the store with readonly=True to read it")
    return BackendError(f"{what}: {error.strerror}")


def datasync(fd: int) -> None:
    """Returns when the contents of a file are on the disk; raises OSError if that failed."""
    if sys.platform != "darwin":
        os.fdatasync(fd)
        return
    try:
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    except OSError as error:
        if error.errno not in _NO_FULL_SYNC:
            raise
        os.fsync(fd)


def sync_folder(folder: Path) -> None:
    """Returns when the names in a folder are on the disk; raises OSError if that failed."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        datasync(fd)
    finally:
        os.close(fd)


def write_held(fd: int, data: bytes | memoryview, offset: int) -> None:
    """Writes at a place of a file, and does not let go of the interpreter's lock: a busy thread would keep it for long.

    Raises:
        BackendError: The system cannot.
    """
    pwrite = _pwrite()
    data = bytes(data)
    done = 0
    while done < len(data):
        count = pwrite(fd, data[done:], len(data) - done, offset + done)
        if count < 0:
            raise failure("the log cannot be written", OSError(number := ctypes.get_errno(), os.strerror(number)))
        done += count


@functools.cache
def _pwrite() -> Callable[[int, bytes, int, int], int]:
    function = ctypes.PyDLL(None, use_errno=True).pwrite
    function.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int64]
    function.restype = ctypes.c_ssize_t
    return function


def start_writing(fd: int, offset: int, size: int) -> None:
    """Sends a part of a file on its way to the disk, if the system can, and does not wait: the next sync waits less.

    Errors are kept for that sync.
    """
    sync_file_range = _of_linux("sync_file_range")
    if sync_file_range is not None:
        sync_file_range(fd, ctypes.c_int64(offset), ctypes.c_int64(size), _WRITE)


def has_sync_tree() -> bool:
    """Whether the system can sync a whole file system; elsewhere every file and folder must be."""
    return _syncfs() is not None


def sync_tree(fd: int) -> None:
    """Returns when all that lies in an open folder is on the disk; raises OSError if that failed.

    Where the system can, that is one call for the whole file system.
    """
    syncfs = _syncfs()
    if syncfs is None:
        _sync_each(fd)
    elif syncfs(fd) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _sync_each(fd: int) -> None:
    for _, _, names, folder in os.fwalk(dir_fd=fd, topdown=False):
        for name in names:
            file = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folder)
            try:
                datasync(file)
            finally:
                os.close(file)
        datasync(folder)


def _syncfs() -> ctypes._NamedFuncPointer | None:
    return _of_linux("syncfs")


@functools.cache
def _of_linux(name: str) -> ctypes._NamedFuncPointer | None:
    """A function of the system that Python has no name for, and other systems do not have at all."""
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None, use_errno=True), name, None)


@functools.cache
def is_local(folder: Path) -> bool:
    """Whether memory maps of preallocated files in a folder may be trusted: on known local file systems of Linux.

    Elsewhere a full disk or another machine can take the pages away under the writer.
    """
    try:
        mounts = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return False
    place = str(folder.resolve())
    best, kind = -1, ""
    for mount in mounts:
        fields, _, rest = mount.partition(" - ")
        point = fields.split()[4].replace("\\040", " ")
        if len(point) > best and (place == point or place.startswith(point.rstrip("/") + "/")):
            best, kind = len(point), rest.split()[0]
    return kind in _LOCAL
