"""Commands about the remotes of a store: `remote add`, `remote list` and `remote rm`."""

from __future__ import annotations

import click

from padre_core.cli.terminal import json_option, print_json, print_table, safe
from padre_core.configuration import POLICIES, RemoteSettings, add_remote, find_url, remove_remote, settings_of
from padre_core.plugins import backend_class, check_url, scheme_of

_store = click.option("--store", metavar="URL", help="The store whose remotes they are; found as everywhere.")


@click.group()
def remote() -> None:
    """Manage the remotes of a store: where else its objects are kept."""


@remote.command()
@click.argument("name")
@click.argument("url")
@click.option(
    "--policy",
    type=click.Choice(POLICIES),
    default=POLICIES[0],
    show_default=True,
    help="auto: every put travels, in the background. manual: only what is put there by name.",
)
@click.option("--default", is_flag=True, help="Mean this one where none is named; the first one is meant anyway.")
@_store
@json_option
def add(name: str, url: str, policy: str, default: bool, store: str | None, as_json: bool) -> None:
    """Add a remote NAME at URL, which any installed plugin opens."""
    backend_class(scheme_of(check_url(url)))  # one that nothing opens is refused before it is noted
    file = add_remote(_url(store), RemoteSettings(name, url, policy), default=default)
    if as_json:
        print_json({"remote": name, "file": str(file)})
    else:
        click.echo(f"remote {safe(name)} is in {safe(file)}")


@remote.command("list")
@_store
@json_option
def list_(store: str | None, as_json: bool) -> None:
    """List the remotes of a store."""
    found = settings_of(_url(store))
    if as_json:
        print_json([{**item._asdict(), "default": item.name == found.default} for item in found.remotes.values()])
    elif found.remotes:
        rows = [(item.name, item.url, item.policy, item.name == found.default) for item in found.remotes.values()]
        print_table(("name", "url", "policy", "default"), ((*row[:3], "yes" if row[3] else "") for row in rows))


@remote.command()
@click.argument("name")
@_store
@json_option
def rm(name: str, store: str | None, as_json: bool) -> None:
    """Forget a remote; what is stored here and there stays as it is."""
    file = remove_remote(_url(store), name)
    if as_json:
        print_json({"remote": name, "file": str(file)})
    else:
        click.echo(f"remote {safe(name)} is no more in {safe(file)}")


def _url(store: str | None) -> str:
    return check_url(store or find_url())
