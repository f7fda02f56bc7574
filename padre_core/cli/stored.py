"""How commands open a store, find the object that somebody means, and show it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from padre_core.errors import InvalidObjectError, NotFoundError
from padre_core.objects import canonical
from padre_core.objects.base import PadreObject
from padre_core.objects.identity import is_id, run_of
from padre_core.objects.kinds import kinds
from padre_core.plugins import safe_url
from padre_core.services import Service
from padre_core.workspace import Workspace
from padre_core.workspace import open as open_workspace

F = TypeVar("F", bound=Callable[..., Any])

NAMED = ("project", "experiment", "dataset")

kind_option = click.option("--kind", metavar="KIND", help="What a name means, where several kinds have it.")
json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")


def with_workspace(*, readonly: bool = False, make: bool = False) -> Callable[[F], F]:
    """Gives a command the option `--store` and, as its first argument, the workspace on that store.

    Args:
        make: Make the store if it is not there.
    """

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def command(*arguments: Any, store: str | None, **options: Any) -> Any:
            with _opened(store, readonly=readonly, make=make) as workspace:
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


def find_service(workspace: Workspace, reference: str, kind: str | None) -> Service[Any]:
    """The service of what an id, URL or name path means, be it deleted or not.

    Raises:
        NotFoundError: No kind has it.
        InvalidObjectError: Several kinds have it, and `kind` does not say which.
    """
    if kind is not None:
        return workspace.service(kind)
    if "://" in reference:
        place = workspace.backend.object_at(reference)
        if place is None:
            text = safe_url(reference)
            raise NotFoundError(f"{text!r:.200} is not in {workspace.url}; name its own store with --store")
        return workspace.service(place[0])
    if is_id(reference):
        for model in kinds():
            if workspace.records.peek(model.kind, reference) is not None:
                return workspace.service(model.kind)
        if run_of(reference) is not None:
            return workspace.metrics  # one that follows from points is in no record
        raise NotFoundError(f"{workspace.url} has no object {reference}")
    found = [service for service in map(workspace.service, NAMED) if _has_name(service, reference)]
    if len(found) > 1:
        names = " and of a ".join(service.kind for service in found)
        raise InvalidObjectError(f"{reference!r:.200} is the name of a {names}: say which with --kind")
    if not found:
        raise NotFoundError(f"{workspace.url} has no project, experiment or dataset {reference!r:.200}")
    return found[0]


def find(workspace: Workspace, reference: str, kind: str | None = None) -> PadreObject:
    """The object that an id, URL or name path means."""
    found: PadreObject = find_service(workspace, reference, kind).get(reference)
    return found


def as_data(object: PadreObject) -> dict[str, Any]:
    """An object as JSON data: what it says, and the kind, id, version and bookkeeping beside it."""
    stamps = {name: getattr(object, name) for name in ("created_at", "created_by", "updated_at", "updated_by")}
    head = {"kind": object.kind, "id": object.id, "etag": object.etag}
    data: dict[str, Any] = canonical.from_json(object.content())
    return {**head, **data, **{name: canonical.plain(value) for name, value in stamps.items() if value is not None}}


def _has_name(service: Service[Any], path: str) -> bool:
    try:
        service.get(path)
    except (NotFoundError, InvalidObjectError):
        return False
    return True
