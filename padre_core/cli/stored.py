"""How commands open a store, find the object that somebody means, and show it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from padre_core.configuration import find_url, settings_of
from padre_core.errors import NotFoundError
from padre_core.objects import canonical
from padre_core.objects.base import PadreObject
from padre_core.workspace import Workspace
from padre_core.workspace import open as open_workspace

F = TypeVar("F", bound=Callable[..., Any])

kind_option = click.option("--kind", metavar="KIND", help="What a name means, where several kinds have it.")
at_option = click.option("--at", metavar="VERSION", help="An old version: an etag, a time, a commit, a tag.")


def with_workspace(*, readonly: bool = False, make: bool = False, fetch: bool = False) -> Callable[[F], F]:
    """Gives a command the option `--store` and, as its first argument, the workspace on that store.

    Args:
        make: Make the store if it is not there.
        fetch: It reads, but what it reads may be downloaded from a remote first.
    """

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def command(*arguments: Any, store: str | None, **options: Any) -> Any:
            alone = readonly or (fetch and not settings_of(store or find_url()).remotes)
            with _opened(store, readonly=alone, make=make) as workspace:
                return function(workspace, *arguments, **options)

        text = "The store; by default $PADRE_URL, what padre.toml says, or ./padre-store."
        return click.option("--store", metavar="URL", help=text)(command)  # type: ignore[return-value]  # as it was

    return decorate


def _opened(store: str | None, *, readonly: bool, make: bool) -> Workspace:
    try:
        if not (readonly or make):
            open_workspace(store, readonly=True).close()  # to open it for writing would make one
        return open_workspace(store, readonly=readonly)
    except NotFoundError as error:
        raise NotFoundError(f"{error}; make a store with `padre init`, or name one with --store") from error


def find(workspace: Workspace, reference: str, kind: str | None = None, at: str | None = None) -> PadreObject:
    """The object that an id, URL or name path means, or an old version of it."""
    service = workspace.service_of(reference, kind)
    found: PadreObject = service.get(reference, at=at)
    if found.stale:
        click.echo("a remote is away; this is the copy that is here", err=True)
    return found


def as_data(object: PadreObject) -> dict[str, Any]:
    """An object as JSON data: what it says, and the kind, id, version and bookkeeping beside it."""
    stamps = {name: getattr(object, name) for name in ("created_at", "created_by", "updated_at", "updated_by")}
    head = {"kind": object.kind, "id": object.id, "etag": object.etag}
    data: dict[str, Any] = canonical.from_json(object.content())
    return {**head, **data, **{name: canonical.plain(value) for name, value in stamps.items() if value is not None}}
