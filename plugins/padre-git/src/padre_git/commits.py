"""What a clone asks of its branch besides storing: where two commits parted, and what the other side had."""

from __future__ import annotations

from padre_git.branch import Branch
from padre_git.repository import errors


def merge_base(branch: Branch, one: str, other: str) -> str | None:
    """The newest commit that two were made from; None if there is none."""
    with errors(branch.url):
        found = branch.repo.merge_base(one, other)
    return None if found is None else str(found)


def reference(branch: Branch, name: str) -> str | None:
    """The commit that a reference names."""
    with errors(branch.url):
        found = branch.repo.references.get(name)
        return None if found is None else str(found.resolve().target)
