"""What a key held in earlier commits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from padre_core.backends.bytestore import Past
from padre_core.errors import NotFoundError
from padre_git.branch import Branch
from padre_git.trees import find


def history(branch: Branch, key: str, at: str | None) -> Iterator[Past]:
    """What a key held, newest first: one entry for each commit that changed it.

    As `git log -- PATH` does, a merge that took the file from one side as it was is passed over, and the walk goes on
    along that side; of a merge that made something new of both, each side has its own past.

    Args:
        at: A commit, by its id or the beginning of it, a tag or a branch to begin with.

    Raises:
        NotFoundError: There is no such commit.
    """
    commit = _named(branch, at)
    while commit is not None:
        past, parents = _look(branch, key, commit)
        if past is not None:
            yield past
        if len(parents) > 1:
            yield from _of_sides(branch, key, parents)
            return
        commit = parents[0] if parents else None


def _of_sides(branch: Branch, key: str, heads: Sequence[Any]) -> Iterator[Past]:
    """The same of several commits at once; git has to put all that they were made from in order for that."""
    from pygit2.enums import SortMode

    walk = branch.repo.walk(heads[0].id, SortMode.TOPOLOGICAL | SortMode.TIME)
    for head in heads[1:]:
        walk.push(head.id)
    wanted = {head.id for head in heads}
    for commit in walk:
        if commit.id in wanted:
            wanted.remove(commit.id)
            past, parents = _look(branch, key, commit)
            if past is not None:
                yield past
            wanted |= {parent.id for parent in parents}
        if not wanted:
            return


def _look(branch: Branch, key: str, commit: Any) -> tuple[Past | None, Sequence[Any]]:
    """What a commit made of a key, if anything, and where to look on."""
    held = find(commit.tree, key)
    id = held.id if held is not None and held.regular else None
    parents = commit.parents
    same = next((parent for parent in parents if _holds(parent, commit, key, id)), None)
    if same is not None:
        return None, [same]
    if id is None and not parents:
        return None, []
    data = None if id is None else branch.data(id, f"{key} at {commit.id}")
    time = datetime.fromtimestamp(commit.commit_time, UTC).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    return Past(data, str(commit.id), time), parents


def _holds(parent: Any, commit: Any, key: str, id: str | None) -> bool:
    """Whether a parent holds the same under a key; most differ elsewhere, which a folder or two tell."""
    one, other = parent.tree, commit.tree
    if one.id == other.id:
        return True
    for name in key.split("/")[:-1]:
        one, other = _below(one, name), _below(other, name)
        if one is None or other is None:
            break
        if one.id == other.id:
            return True
    found = find(parent.tree, key)
    return (found.id if found is not None and found.regular else None) == id


def _below(tree: Any, name: str) -> Any:
    try:
        found = tree[name]
    except KeyError:
        return None
    return found if found.type_str == "tree" else None


def _named(branch: Branch, at: str | None) -> Any:
    if at is None:
        tip = branch.tip() or branch.start()
        return None if tip is None else branch.repo[tip]
    try:
        found: Any = branch.repo.revparse_single(at) if _is_name(at) else None
        while found is not None and found.type_str == "tag":
            found = branch.repo[found.target]
    except (KeyError, ValueError):
        found = None
    if found is None or found.type_str != "commit":
        raise NotFoundError(f"{branch.url} has no commit, tag or branch {at!r:.80}")
    return found


def _is_name(at: str) -> bool:
    """Whether a text names a commit plainly; git's language for finding one searches messages and more."""
    return all(sign.isalnum() or sign in "._/-" for sign in at) and not at.startswith("-")
