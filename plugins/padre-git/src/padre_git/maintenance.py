"""Repacking: thousands of small files become one, in which like things are stored by their differences."""

from __future__ import annotations

from pathlib import Path

from padre_core.backends.bytestore import Progress
from padre_core.errors import BackendError
from padre_git import program


def repack(folder: Path, progress: Progress) -> dict[str, int]:
    """Packs what a repository holds, while others go on using it, and returns what that did.

    Nothing is dropped: not what no branch refers to (any more, or yet), no reflog, and no note, as `git gc` might.
    """
    before = _counts(folder)
    if not before["count"] and before["packs"] < 2:
        return {}

    progress("repacking", 0, 0)  # git tells a terminal only how far it is
    watch = program.Watch(idle=24 * 3600)
    # Unreachable objects of packs are put beside them, not dropped; a wide window finds the run that is most alike.
    _run(folder, "repack", "-A", "-d", "-l", "-q", "--window=50", watch=watch)
    _run(folder, "commit-graph", "write", "--reachable", "--changed-paths", "--no-progress", watch=watch)
    after = _counts(folder)
    return {
        "files merged": before["count"] + before["packs"] - after["count"] - after["packs"],
        "kilobytes before": before["size"] + before["size-pack"],
        "kilobytes after": after["size"] + after["size-pack"],
    }


def _counts(folder: Path) -> dict[str, int]:
    lines = _run(folder, "count-objects", "-v").decode().splitlines()
    pairs = (line.partition(": ") for line in lines)
    return {name: int(value) for name, _, value in pairs if value.isdecimal()}


def _run(folder: Path, *arguments: str, watch: program.Watch | None = None) -> bytes:
    try:
        return program.run(folder, *arguments, watch=watch)
    except program.GitFailedError as error:
        raise BackendError(f"`git {arguments[0]}` failed in {folder}: {error.message}") from error
