"""The command `padre tag`."""

from __future__ import annotations

import click

import padre_core as padre
from padre_core.backends.logged import LoggedBackend
from padre_core.errors import UnsupportedError
from padre_git.place import check_branch
from padre_git.store import GitStore


@click.command()
@click.argument("name", required=False)
@click.option("--message", "-m", metavar="TEXT", help="Make an annotated tag that says this.")
@click.option("--store", metavar="URL", help="The store; by default $PADRE_URL, or what padre.toml says.")
def tag(name: str | None, message: str | None, store: str | None) -> None:
    """Give the present state of a store in a git repository a NAME, or list the names that there are.

    It is an ordinary tag of git: `padre show OBJECT --at NAME` reads what it stands for, and `git push` publishes it.
    """
    with padre.open(store, readonly=name is None) as workspace:
        backend = workspace.backend
        if not isinstance(backend, LoggedBackend) or not isinstance(backend.store, GitStore):
            raise UnsupportedError(f"{workspace.url} is in no git repository, and has no tags (impossible)")
        if name is None:
            for found in backend.store.branch.tags():
                click.echo(found)
            return
        backend.fold()
        click.echo(f"{name} {backend.store.branch.tag(check_branch(name), message, workspace.actor, power=True)}")
