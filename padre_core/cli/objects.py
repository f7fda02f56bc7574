"""Commands for objects: `show`, `put`, `get`, `rm` and `restore`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import click

from padre_core.cli.progress import byte_bar
from padre_core.cli.stored import as_data, at_option, find, kind_option, with_workspace
from padre_core.cli.terminal import json_option, print_fields, print_json, safe
from padre_core.errors import ConflictError, InvalidObjectError, NotFoundError
from padre_core.objects import canonical
from padre_core.objects.base import PadreObject, Part
from padre_core.objects.run import Run
from padre_core.services.listing import row
from padre_core.services.records import article
from padre_core.workspace import Workspace

_BOOKKEEPING = ("kind", "id", "etag", "created_at", "created_by", "updated_at", "updated_by")


@click.command()
@click.argument("object", metavar="OBJECT")
@kind_option
@at_option
@json_option
@with_workspace(fetch=True)
def show(workspace: Workspace, object: str, kind: str | None, at: str | None, as_json: bool) -> None:
    """Show one object, named by id, URL or name path such as iris/svc."""
    found = find(workspace, object, kind, at)
    if as_json:
        remotes = {name: state._asdict() for name, state in found.remotes.items()}
        print_json({**as_data(found), "remotes": remotes, "conflicts": found.conflicts})
        return
    fields = {"kind": found.kind, "id": found.id, "etag": found.etag, **row(found)}
    if isinstance(found, Run):
        fields |= {f"metrics.{name}.last": format(summary.last, ".6g") for name, summary in found.metrics.items()}
    for name, state in found.remotes.items():
        fields[f"remotes.{name}"] = " ".join(filter(None, (state.intent, state.etag, state.url)))
    fields |= {"conflicts": ", ".join(found.conflicts)}
    print_fields((name, text) for name, value in fields.items() for name, text in _texts(name, value) if text)


@click.command()
@click.argument("file", metavar="[FILE|OBJECT]", default="-")
@click.option("--kind", metavar="KIND", help="What the JSON is; not needed where it says so itself.")
@click.option("--to", "owner", metavar="OBJECT", help="Store FILE, whatever it is, as an artifact of this object.")
@click.option("--path", metavar="PATH", help="What to call the artifact; by default the name of the file.")
@click.option("--remote", metavar="NAME", help="Also upload it there, with all that lies below it.")
@json_option
@with_workspace(make=True)
def put(
    workspace: Workspace,
    file: str,
    kind: str | None,
    owner: str | None,
    path: str | None,
    remote: str | None,
    as_json: bool,
) -> None:
    """Store an object from JSON in FILE (or standard input), or FILE itself as an artifact.

    What `padre get` wrote can be edited and put again; it is refused if the object was changed meanwhile. With
    --remote, OBJECT may be the name, id or URL of what is here already, which is uploaded.
    """
    if remote is not None and owner is None and file != "-" and not Path(file).exists():
        stored: PadreObject = workspace.service_of(file, kind).put(file, remote=remote)
    else:
        stored = _from_file(workspace, file, kind, owner, path)
        if remote is not None:
            stored = workspace.service(stored.kind).put(stored, remote=remote)
    if as_json:
        print_json(as_data(stored))
    else:
        click.echo(f"{stored.kind} {stored.id} {stored.etag}")


@click.command()
@click.argument("object", metavar="OBJECT")
@kind_option
@click.option("--to", "folder", type=click.Path(file_okay=False, path_type=Path), help="Download artifacts to here.")
@at_option
@json_option
@with_workspace(fetch=True)
def get(
    workspace: Workspace, object: str, kind: str | None, folder: Path | None, at: str | None, as_json: bool
) -> None:
    """Write an object as JSON; or, with --to, download an artifact, or all artifacts of an object."""
    found = find(workspace, object, kind, at)
    if folder is None:
        print_json(as_data(found))
        return
    with byte_bar("Downloading") as progress:
        paths = workspace.artifacts.download(found, folder, progress=progress)
    if not paths:
        raise NotFoundError(f"the {found.kind} {found.id} has no artifacts; `padre ls artifacts` lists all")
    if as_json:
        print_json([str(path) for path in paths])
    for path in () if as_json else paths:
        click.echo(safe(path))


@click.command()
@click.argument("objects", metavar="OBJECT...", nargs=-1, required=True)
@kind_option
@click.option(
    "--mode",
    type=click.Choice(["all", "local", "remote"]),
    default="all",
    show_default=True,
    help="local: only remove the copy that is here. remote: keep the copy that is here.",
)
@click.option("--force", is_flag=True, help="Also a last copy, or what was not uploaded.")
@json_option
@with_workspace()
def rm(
    workspace: Workspace,
    objects: tuple[str, ...],
    kind: str | None,
    mode: Literal["all", "local", "remote"],
    force: bool,
    as_json: bool,
) -> None:
    """Delete objects, with all that lies below them; `padre restore` brings them back."""
    chosen: dict[str, list[str]] = {}
    for object in objects:
        chosen.setdefault(workspace.service_of(object, kind).kind, []).append(object)
    deleted = sum(workspace.service(one).delete(named, mode=mode, force=force) for one, named in chosen.items())
    if as_json:
        print_json({"deleted": deleted})
    else:
        click.echo(f"deleted {deleted} of {len(objects)}")


@click.command()
@click.argument("objects", metavar="OBJECT...", nargs=-1, required=True)
@kind_option
@at_option
@json_option
@with_workspace()
def restore(workspace: Workspace, objects: tuple[str, ...], kind: str | None, at: str | None, as_json: bool) -> None:
    """Bring deleted objects back, with all that their deletion hid.

    With --at, make a new version that says what an old one did.
    """
    for object in objects:
        found = workspace.service_of(object, kind).restore(object, at=at)
        if as_json:
            print_json(as_data(found))
        else:
            click.echo(f"{found.kind} {found.id} {found.etag}")


def _from_file(workspace: Workspace, file: str, kind: str | None, owner: str | None, path: str | None) -> PadreObject:
    if file != "-" and not Path(file).exists():
        raise click.BadParameter(f"there is no file {file}; what is stored already is uploaded with --remote NAME")
    if owner is None:
        return _put(workspace, _read_json(file), kind)
    with byte_bar("Storing") as progress:
        source = sys.stdin.buffer if file == "-" else file
        above = find(workspace, owner, kind)
        return workspace.artifacts.upload(above, source, path=path, progress=progress)


def _read_json(file: str) -> dict[str, Any]:
    with click.open_file(file, "rb") as stream:
        text = stream.read(canonical.MAX_CONTENT + 1)
    file = "standard input" if file == "-" else file
    if len(text) > canonical.MAX_CONTENT:
        raise InvalidObjectError(f"{file} is too large for an object; store it as an artifact with --to")
    try:
        data = canonical.from_json(text)
    except ValueError as error:
        raise InvalidObjectError(f"{file} is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise InvalidObjectError(f'{file} is no JSON object, such as {{"name": …}}')
    return data


def _put(workspace: Workspace, data: dict[str, Any], kind: str | None) -> PadreObject:
    said = data.get("kind", kind)
    if not isinstance(said, str):
        raise InvalidObjectError('the JSON does not say what it is: give --kind, or a field "kind"')
    service = workspace.service(said)
    if kind is not None and workspace.service(kind) is not service:
        raise InvalidObjectError(f"the JSON says that it is {article(service.kind)}, and --kind says {kind}")
    id, etag = data.get("id"), data.get("etag")
    if id is None and etag is not None:
        raise InvalidObjectError("the JSON has an etag and no id: keep both, as `padre get` wrote them, or neither")
    fields = {name: value for name, value in data.items() if name not in _BOOKKEEPING}
    draft: PadreObject = service.model(**fields)
    if id is None:
        stored: PadreObject = service.put(draft)
        return stored
    stored = service.get(id)
    if etag not in (None, stored.etag):
        raise ConflictError(f"the {service.kind} {id} is at {stored.etag}, not at {etag}: get it again, then edit it")
    for name in service.model.model_fields:
        if name not in service.model.outside_content:
            setattr(stored, name, getattr(draft, name))
    changed: PadreObject = service.put(stored)
    return changed


def _texts(name: str, value: object) -> Iterator[tuple[str, str]]:
    """A field as text, or the fields of what it holds."""
    if isinstance(value, Part):
        for inner, item in value:
            yield from _texts(f"{name}.{inner}", item)
    elif isinstance(value, str):
        yield name, value
    elif value is not None and value not in ({}, ()):
        yield name, canonical.to_json(canonical.plain(value)).decode().strip('"')
