"""Opening a repository as it is: no parent folder is searched, nothing in it is run, nothing of it is changed."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from padre_core.errors import (
    AccessDeniedError,
    BackendError,
    CorruptObjectError,
    InvalidObjectError,
    NotFoundError,
    PadreError,
    ReadOnlyError,
    UnsupportedError,
)
from padre_core.streams.filesystems import failure, sync_folder, sync_tree

if TYPE_CHECKING:
    import pygit2

_CACHED_TREE = 32 * 1024

FOLDER = "padre"
"""What this plugin keeps in a git directory, beside the objects and refs: logs and a lock for each branch."""


def open_repository(path: Path, branch: str, *, make: bool) -> pygit2.Repository:
    """The repository in a folder, bare or with a work tree.

    Args:
        make: Make a bare one, whose `HEAD` is the branch, where nothing is.

    Raises:
        NotFoundError: There is none.
        InvalidObjectError: The folder holds other things.
        UnsupportedError: It is of a kind that cannot be used.
    """
    import pygit2  # takes a tenth of a second, which only who uses it should spend
    from pygit2.enums import ObjectType, Option, RepositoryOpenFlag

    with errors(str(path)):
        if not path.exists() or (path.is_dir() and not any(path.iterdir())):
            if not make:
                raise NotFoundError(f"there is no repository at {path}")
            _make(path, branch)
        elif not any((path / name).exists() for name in (".git", "HEAD")):
            raise InvalidObjectError(
                f"{path} is no git repository, and not empty: choose another folder, or run `git init` in it"
            )
        # The folder `runs` is larger than what libgit2 keeps by itself, and would be inflated anew for every read.
        pygit2.option(Option.SET_CACHE_OBJECT_LIMIT, ObjectType.TREE, _CACHED_TREE)
        try:
            return pygit2.Repository(str(path), RepositoryOpenFlag.NO_SEARCH)
        except (pygit2.GitError, ValueError) as error:
            if "not owned" in str(error):
                raise AccessDeniedError(
                    f"{path} belongs to another user: if you trust what is in it, run "
                    f"`git config --global --add safe.directory {path}`"
                ) from error
            if "object format" in str(error) or "extension" in str(error):
                raise UnsupportedError(
                    f"{path} has a format that this plugin cannot read: {error}; use a repository with SHA-1 and "
                    "loose or packed refs, as `git init` makes it"
                ) from error
            raise BackendError(f"{path} cannot be opened as a git repository: {error}") from error


def _make(path: Path, branch: str) -> None:
    """Makes a bare repository, whole or not at all."""
    import pygit2

    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        repository = making / "repository"  # with the rights that new folders get, which `making` has not
        pygit2.init_repository(str(repository), bare=True, initial_head=branch)
        sync_all(repository)
        repository.rename(path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # else somebody else was faster
            raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    for folder in missing or [path]:
        sync_folder(folder.parent)


def sync_all(folder: Path) -> None:
    """Returns when all that was written to the file system of a folder is on the disk, where the system can do that."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_tree(fd)
    finally:
        os.close(fd)


def common_folder(repository: pygit2.Repository) -> Path:
    """The git directory that all work trees of a repository share."""
    folder = Path(repository.path)
    try:
        named = (folder / "commondir").read_text().strip()
    except FileNotFoundError:
        return folder
    return (folder / named).resolve()


def check_free(repository: pygit2.Repository, common: Path, branch: str) -> None:
    """Checks that a branch is in no work tree, where everything that is committed would look deleted.

    Raises:
        InvalidObjectError: It is.
    """
    heads = [] if os.path.exists(f"{common}/config") and _is_bare(repository, common) else [common / "HEAD"]
    with contextlib.suppress(FileNotFoundError):
        heads += [common / "worktrees" / name / "HEAD" for name in os.listdir(f"{common}/worktrees")]
    for head in heads:
        with contextlib.suppress(FileNotFoundError):
            if head.read_bytes()[:1024].strip() == b"ref: refs/heads/%b" % branch.encode():
                raise InvalidObjectError(
                    f"the branch {branch} is checked out in {_work_tree(head, common)}, so nothing is written to it: "
                    "run `git switch --detach` there, use another branch (?branch=NAME), or open it read-only"
                )


def _is_bare(repository: pygit2.Repository, common: Path) -> bool:
    return repository.is_bare and str(common) == repository.path.rstrip("/")


def _work_tree(head: Path, common: Path) -> Path:
    if head.parent == common:
        return common.parent
    with contextlib.suppress(OSError):
        return Path((head.parent / "gitdir").read_text().strip()).parent
    return head.parent


def folder_of(common: Path, branch: str) -> Path:
    """This plugin's folder for a branch in the git directory; no branch's is within another's names."""
    return common / FOLDER / "/".join(f"{part}+" for part in branch.split("/"))


def make_folder(common: Path, branch: str) -> Path:
    """Makes that folder and `log` in it.

    Raises:
        AccessDeniedError: A part of the way is a link.
    """
    folder = folder_of(common, branch)
    for path in reversed([folder / "log", folder, *folder.parents[: len(folder.relative_to(common).parts) - 1]]):
        try:
            path.mkdir()
            sync_folder(path.parent)
        except FileExistsError:
            if path.is_symlink() or not path.is_dir():
                raise AccessDeniedError(f"{path} is no folder; PaDRe follows no link out of a repository") from None
        except OSError as error:
            raise failure(f"{path} cannot be made", error) from error
    return folder


@contextlib.contextmanager
def errors(what: str) -> Iterator[None]:
    """Turns errors of the system and of libgit2 into those that leave a store."""
    import pygit2

    try:
        yield
    except PadreError:
        raise
    except KeyError as error:
        raise CorruptObjectError(f"{what}: the git object {error} is missing; run `git fsck`") from error
    except PermissionError as error:
        raise AccessDeniedError(f"{what}: permission denied; open the store with readonly=True to read it") from error
    except OSError as error:
        if error.errno:
            raise failure(what, error) from error
        raise BackendError(f"{what}: {error}") from error
    except (pygit2.GitError, ValueError) as error:
        if "read-only" in str(error).lower():
            raise ReadOnlyError(f"{what}: {error}; open the store with readonly=True") from error
        raise CorruptObjectError(f"{what}: {error}; run `git fsck`") from error
