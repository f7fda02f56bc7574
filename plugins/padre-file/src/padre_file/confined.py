"""Files below a folder, and nowhere else: no symlink, no device, no way out."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import stat
import sys

_OPENAT2 = 437  # the same on all of Linux's architectures
_BENEATH = 0x08 | 0x04 | 0x02  # RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_MAGICLINKS


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_beneath(root: int, path: str, flags: int, mode: int = 0) -> int:
    """Opens a relative path below an open folder; OSError if any part of it is a symlink.

    Args:
        root: A file descriptor of the folder.
    """
    flags |= os.O_CLOEXEC | os.O_NOFOLLOW
    syscall = _syscall()
    if syscall is None:
        return _walk(root, path, flags, mode)
    how = _OpenHow(flags, mode, _BENEATH)
    while True:
        fd: int = syscall(_OPENAT2, root, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
        if fd >= 0:
            return fd
        number = ctypes.get_errno()
        if number not in (errno.EAGAIN, errno.EINTR):  # EAGAIN: the tree was renamed meanwhile
            raise OSError(number, os.strerror(number), path)


def make_folders(root: int, path: str, made: set[str]) -> int:
    """Opens a folder below another, making what is missing of it.

    Args:
        made: Is told the paths of the folders that were made.
    """
    try:
        return open_beneath(root, path, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        above, _, name = path.rpartition("/")
        parent = make_folders(root, above, made) if above else os.dup(root)
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, dir_fd=parent)
                made.add(path)
            return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        finally:
            os.close(parent)


def check_regular(status: os.stat_result, path: str) -> None:
    """OSError unless the status is that of a regular file: reading a device or pipe may hang, or worse."""
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.ELOOP, "not a regular file", path)


@functools.cache
def _syscall() -> ctypes._NamedFuncPointer | None:
    """`syscall(2)` where the kernel has openat2."""
    if sys.platform != "linux":
        return None
    function = ctypes.CDLL(None, use_errno=True).syscall
    how = _OpenHow(os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, 0, 0)
    fd = function(_OPENAT2, -100, b"/", ctypes.byref(how), ctypes.sizeof(how))
    if fd < 0:
        return None
    os.close(fd)
    return function


def _walk(root: int, path: str, flags: int, mode: int) -> int:
    """The same, one part of the path after the other."""
    *folders, name = path.split("/")
    if path.startswith("/") or ".." in (*folders, name):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    folder = os.dup(root)
    try:
        for part in folders:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = below
        return os.open(name, flags, mode, dir_fd=folder)
    finally:
        os.close(folder)
