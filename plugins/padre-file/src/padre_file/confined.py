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
    how = _how(flags, mode)
    while True:
        fd: int = syscall(_OPENAT2, root, os.fsencode(path), how, ctypes.sizeof(_OpenHow))
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


class Trail:
    """The open folders from a root down to the last one made, for making many in the order of their paths.

    Args:
        root: A file descriptor of the root, which stays open.
        made: Is told the paths of the folders that were made.
    """

    def __init__(self, root: int, made: set[str]) -> None:
        self._root, self._made = root, made
        self._names: list[str] = []
        self._folders: list[int] = []

    def make(self, path: str) -> int | None:
        """Makes a folder with what is missing above it, and opens it until `leave`; None if it is there already."""
        *above, name = _parts(path)
        common = 0
        while common < len(self._names) and self._names[common : common + 1] == above[common : common + 1]:
            common += 1
        self.leave(common)
        for part in above[common:]:
            self._enter(part)
        try:
            os.mkdir(name, dir_fd=self._here())
        except FileExistsError:
            return None
        self._made.add(path)
        self._open(name)
        return self._here()

    def leave(self, depth: int = 0) -> None:
        """Closes the folders that are further down than some level."""
        for folder in self._folders[depth:]:
            os.close(folder)
        del self._names[depth:], self._folders[depth:]

    def _here(self) -> int:
        return self._folders[-1] if self._folders else self._root

    def _enter(self, name: str) -> None:
        try:
            self._open(name)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, dir_fd=self._here())
                self._made.add("/".join([*self._names, name]))
            self._open(name)

    def _open(self, name: str) -> None:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        self._folders.append(os.open(name, flags, dir_fd=self._here()))
        self._names.append(name)


def check_regular(status: os.stat_result, path: str) -> None:
    """OSError unless the status is that of a regular file: reading a device or pipe may hang, or worse."""
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.ELOOP, "not a regular file", path)


@functools.cache
def _how(flags: int, mode: int) -> object:
    """A reference to what the kernel is asked for, which it only reads."""
    return ctypes.byref(_OpenHow(flags, mode, _BENEATH))


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
    *folders, name = _parts(path)
    folder = os.dup(root)
    try:
        for part in folders:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = below
        return os.open(name, flags, mode, dir_fd=folder)
    finally:
        os.close(folder)


def _parts(path: str) -> list[str]:
    parts = path.split("/")
    if path.startswith("/") or ".." in parts:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    return parts
