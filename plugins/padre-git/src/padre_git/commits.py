"""What a clone does to its branch besides storing: commits with two parents, and a note of what the other side has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from padre_git.objects import Branch
from padre_git.repository import errors


def merge_base(branch: Branch, one: str, other: str) -> str | None:
    """The newest commit that two were made from; None if there is none."""
    with errors(branch.place.url):
        found = branch.repo.merge_base(one, other)
    return None if found is None else str(found)


def commit_merge(
    branch: Branch, root: Any, entries: Mapping[str, str | None], parents: Sequence[str], message: str, *, power: bool
) -> str:
    """Makes a commit of a changed tree, to which no reference points yet.

    Args:
        root: The tree that is changed.
        entries: The blob that each key shall hold; None removes it.
        power: Let its objects survive the loss of power when this returns.
    """
    import pygit2

    with errors(branch.place.url):
        tree = branch.rebuilt(root, entries)
        author = branch.signature(None)
        made = branch.repo.create_commit(None, author, author, message, tree, [pygit2.Oid(hex=id) for id in parents])
    if power:
        branch.sync()  # a branch must never name what a loss of power took away
    return str(made)


def reference(branch: Branch, name: str) -> str | None:
    """The commit that a reference names."""
    with errors(branch.place.url):
        found = branch.repo.references.get(name)
        return None if found is None else str(found.resolve().target)


def set_reference(branch: Branch, name: str, commit: str) -> None:
    """Lets a reference name a commit."""
    import pygit2

    with errors(branch.place.url):
        branch.repo.references.create(name, pygit2.Oid(hex=commit), force=True)
