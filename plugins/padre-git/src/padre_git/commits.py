"""What a clone asks of its branch besides storing: where two commits parted, and what they come to."""

from __future__ import annotations

from padre_git.branch import Branch
from padre_git.merge import Logged, TreeMerge
from padre_git.repository import errors


def merge_base(branch: Branch, one: str, other: str) -> str | None:
    """The newest commit that two were made from; None if there is none."""
    with errors(branch.url):
        found = branch.repo.merge_base(one, other)
    return None if found is None else str(found)


def merged(
    branch: Branch, ours: str | None, theirs: str, base: str | None, logged: Logged, *, power: bool, origin: str
) -> str:
    """A commit that holds what two do, to which no reference points yet.

    Args:
        base: The newest commit that both were made from.
        logged: What only logs of this clone hold counts as ours.
        origin: Where theirs comes from, for the message.
    """
    trees = [None if commit is None else branch.tree(commit) for commit in (ours, theirs, base)]
    merge = TreeMerge(branch, trees[0], trees[1], trees[2], logged, branch.pack(power=power))
    merge.run()
    made = [f"{record.kind} {record.id}" for record in merge.made()]
    message = f"Merge {branch.place.branch} of {origin}\n"
    if made:
        message += f"\nChanged on both sides:\n{''.join(f'  {name}{chr(10)}' for name in sorted(made)[:100])}"
    parents = [theirs] if ours is None or ours == base else [ours, theirs]
    tree = branch.folders.rebuilt(None if trees[0] is None else str(trees[0].id), merge.entries, merge.pack)
    return branch.store(merge.pack, tree, message, None, parents)
