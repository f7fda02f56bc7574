"""Commands for old versions: `history` and `diff`."""

from __future__ import annotations

from typing import Any

import click

from padre_core.cli.stored import as_data, find, kind_option, with_workspace
from padre_core.cli.terminal import json_option, print_json, print_table, safe
from padre_core.errors import InvalidObjectError
from padre_core.objects import canonical
from padre_core.objects.base import PadreObject
from padre_core.services import Service
from padre_core.services.lookup import record_of
from padre_core.workspace import Workspace


@click.command()
@click.argument("object", metavar="OBJECT")
@kind_option
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help="Only so many of the newest.")
@json_option
@with_workspace(readonly=True)
def history(workspace: Workspace, object: str, kind: str | None, limit: int | None, as_json: bool) -> None:
    """Show the versions of an object, newest first: when, by whom, with which commit, and what was changed."""
    versions = workspace.service_of(object, kind).revisions(object)
    rows: list[dict[str, Any]] = []
    later: dict[str, Any] | None = None
    for version, place in versions:
        says = fields_of(version) | ({"deleted": True} if record_of(version).deleted else {})
        if later is not None:
            rows[-1]["changed"] = [name for name, _, _ in _differences(says, later)]
        if limit is not None and len(rows) == limit:
            break
        later = says
        at, by = as_data(version)["updated_at"], version.updated_by
        rows.append({"etag": version.etag, "at": at, "by": by, "commit": place, "changed": []})
    if as_json:
        for row in rows:
            print_json(row)
        return
    texts = [(row["etag"], row["at"], row["by"], row["commit"] or "", ", ".join(row["changed"])) for row in rows]
    print_table(("etag", "at", "by", "commit", "changed"), texts)


@click.command()
@click.argument("object", metavar="OBJECT")
@click.argument("other", metavar="[OTHER]", required=False)
@kind_option
@click.option("--from", "before", metavar="VERSION", help="The version of OBJECT; by default the last but one.")
@click.option("--to", "after", metavar="VERSION", help="The version of OTHER, or of OBJECT; by default the newest.")
@json_option
@with_workspace(readonly=True)
def diff(
    workspace: Workspace,
    object: str,
    other: str | None,
    kind: str | None,
    before: str | None,
    after: str | None,
    as_json: bool,
) -> None:
    """Show in which fields two versions of an object differ, or two objects.

    A VERSION is an etag, a time, a commit, a tag or a branch.
    """
    service = workspace.service_of(object, kind)
    new: PadreObject = find(workspace, other or object, kind, after)
    if other is None and before is None:
        old: PadreObject = _before(service, object, new)
    else:
        old = find(workspace, object, kind, before)
    found = _differences(fields_of(old), fields_of(new))
    if as_json:
        for name, one, two in found:
            print_json({"field": name, "from": one, "to": two})
        return
    for name, one, two in found:
        for sign, value in (("-", one), ("+", two)):
            if value is not None:
                click.echo(safe(f"{sign} {name}: {canonical.to_json(value).decode()}"))
    if not found:
        click.echo("no difference", err=True)


def _before(service: Service[Any], object: str, new: PadreObject) -> PadreObject:
    """The version before one."""
    versions = service.history(object)
    for version in versions:
        if version.etag == new.etag:
            found: PadreObject | None = next(versions, None)
            if found is not None:
                return found
    raise InvalidObjectError(f"{object!r:.200} has no version before {new.etag}: name two objects, or use --from")


def fields_of(object: PadreObject) -> dict[str, Any]:
    """What an object says, as one level of names."""
    found: dict[str, Any] = {}
    _flatten("", canonical.from_json(object.content()), found)
    return found


def _flatten(prefix: str, data: dict[str, Any], found: dict[str, Any]) -> None:
    for name, value in data.items():
        if isinstance(value, dict) and value:
            _flatten(f"{prefix}{name}.", value, found)
        else:
            found[prefix + name] = value


def _differences(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Field, old and new value, where they differ; None for one that is not there."""
    names = sorted(before.keys() | after.keys())
    return [(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)]
