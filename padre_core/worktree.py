"""Which version of the code a git worktree holds, with all that differs from its commit.

Git is asked three read-only questions that take no locks and start no hooks, filters, monitors or helpers.
"""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

GIT_TIMEOUT = 5
"""Seconds that git may take for one answer before the code counts as outside of any repository."""

MAX_CHANGED = 64 * 1024 * 1024
"""How many bytes of changed files enter the digest; of what is beyond only names and sizes do."""

SOURCES = (
    ".c", ".cc", ".cfg", ".cpp", ".cu", ".cxx", ".go", ".h", ".hpp", ".ini", ".ipynb", ".java", ".jl", ".js", ".lua",
    ".m", ".pxd", ".py", ".pyi", ".pyx", ".r", ".rs", ".scala", ".sh", ".smk", ".sql", ".toml", ".ts", ".yaml", ".yml",
)  # fmt: skip
"""Suffixes of untracked files that count as changes: a result that a script writes is no new version of the script."""


def version_of(root: Path) -> tuple[str, str | None] | None:
    """The commit and the digest of what differs from it; None where git does not answer."""
    try:
        commit = _git(root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}").decode().strip()
        # The plumbing compares what stat says, so that no filter of the repository runs; contents are compared here.
        changed = _git(root, "diff-index", "--raw", "-z", "--no-renames", "--ignore-submodules=dirty", commit, "--")
        untracked = _git(root, "ls-files", "-z", "--others", "--exclude-standard", "--exclude=padre-store/")
    except (OSError, subprocess.SubprocessError):
        return None
    names = {*_changed_files(root, changed.split(b"\0")), *_untracked_sources(untracked.split(b"\0"))}
    return commit, _changes_digest(root, sorted(names)) if names else None


def _git(root: Path, *arguments: str) -> bytes:
    settings = ["core.fsmonitor=false", "core.untrackedCache=false", "core.hooksPath=/dev/null", "protocol.allow=never"]
    options = [option for setting in settings for option in ("-c", setting)]
    environment = {
        **{name: os.environ[name] for name in ("HOME", "PATH", "XDG_CONFIG_HOME") if name in os.environ},
        "GIT_CEILING_DIRECTORIES": str(root.parent),
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }
    command = ["git", "--no-pager", *options, *arguments]
    result = subprocess.run(
        command,
        cwd=root,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=GIT_TIMEOUT,
    )
    return result.stdout


def _changed_files(root: Path, fields: list[bytes]) -> Iterator[bytes]:
    """The tracked files that differ, from `:<modes> <object> <object> <status>` and name in turn."""
    for head, name in zip(fields[::2], fields[1::2], strict=False):
        old_mode, _, old_object, _, status = head.lstrip(b":").split(b" ")
        if status != b"M" or _blob_id(root, name, old_mode, len(old_object)) != old_object.decode():
            yield name


def _blob_id(root: Path, name: bytes, mode: bytes, digits: int) -> str | None:
    """The name that git would give the file's bytes as they are; None if it is no longer the file it was."""
    file = Path(os.fsdecode(os.path.join(os.fsencode(root), name)))
    try:
        status = file.lstat()
        if stat.S_ISLNK(status.st_mode) or not stat.S_ISREG(status.st_mode) or status.st_size > MAX_CHANGED:
            return None
        if bool(status.st_mode & stat.S_IXUSR) != (mode == b"100755"):
            return None
        data = file.read_bytes()
    except OSError:
        return None
    blob = b"blob %d\0" % len(data) + data
    return hashlib.new("sha1" if digits == 40 else "sha256", blob, usedforsecurity=False).hexdigest()


def _untracked_sources(names: list[bytes]) -> Iterator[bytes]:
    stores = tuple(name.removesuffix(b"padre.json") for name in names if name.endswith(b"/padre.json"))
    for name in names:
        if os.fsdecode(name).lower().endswith(SOURCES) and not name.startswith(stores):
            yield name


def _changes_digest(root: Path, names: list[bytes]) -> str:
    """sha-256 over name, type, size and content of each file; regular files are read, links are not followed."""
    digest = hashlib.sha256()
    budget = MAX_CHANGED
    for name in names:
        path = os.path.join(os.fsencode(root), name)
        try:
            status = os.lstat(path)
            content = b""
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode) and status.st_size <= budget:
                content = Path(os.fsdecode(path)).read_bytes()
                budget -= len(content)
            head = b"%o %d" % (status.st_mode & (0o170100), status.st_size)
        except OSError:
            head, content = b"gone", b""
        digest.update(b"%d:%b\0%b\0%d:" % (len(name), name, head, len(content)))
        digest.update(content)
    return digest.hexdigest()
