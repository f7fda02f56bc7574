"""Commands that find objects: `ls` and `search`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import click
from pydantic import BaseModel

from padre_core.cli.stored import with_workspace
from padre_core.cli.terminal import json_option, print_json, print_table
from padre_core.errors import InvalidObjectError
from padre_core.objects import canonical
from padre_core.objects.base import PadreObject
from padre_core.objects.kinds import kinds
from padre_core.objects.run import Run
from padre_core.query.fields import suggest
from padre_core.services import Listing
from padre_core.services.listing import Row, columns
from padre_core.services.records import article
from padre_core.workspace import Workspace

_FEW = 6
"""How many parameters and metrics a table shows unless columns are named."""

_COLUMN = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^",])+')
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')

_where = click.option("--where", metavar="FILTER", help="Such as 'metrics.loss.last < 0.1'; see the page on filters.")
_order = click.option("--order-by", metavar="FIELDS", help="Fields with commas between; - in front for descending.")
_limit = click.option("--limit", type=click.IntRange(min=0), default=50, show_default=True, help="At most so many.")
_within = click.option("--within", metavar="OBJECT", help="Only what lies below this object.")
_columns = click.option("--columns", metavar="FIELDS", help="What to show, with commas between.")


@click.command()
@click.argument("kind", required=False)
@_where
@_order
@_limit
@_within
@_columns
@click.option("--deleted", is_flag=True, help="The deleted objects instead.")
@json_option
@with_workspace(readonly=True)
def ls(
    workspace: Workspace,
    kind: str | None,
    where: str | None,
    order_by: str | None,
    limit: int,
    within: str | None,
    columns: str | None,
    deleted: bool,
    as_json: bool,
) -> None:
    """List objects of a KIND, such as runs; without KIND, tell how many there are of each."""
    if kind is None:
        if where or order_by or columns:
            raise InvalidObjectError("--where, --order-by and --columns need a KIND, such as runs")
        _print_counts(workspace, within, deleted=deleted, as_json=as_json)
        return
    service = workspace.service(kind)
    found = service.list(where, order_by=order_by, limit=limit, within=within, deleted=deleted)
    _print(service.model, found, columns, as_json=as_json)


@click.command()
@click.argument("filter", required=False)
@_order
@_limit
@_within
@_columns
@json_option
@with_workspace(readonly=True)
def search(
    workspace: Workspace,
    filter: str | None,
    order_by: str | None,
    limit: int,
    within: str | None,
    columns: str | None,
    as_json: bool,
) -> None:
    """Find runs by a FILTER, such as 'metrics.accuracy.last > 0.9 and parameters.C < 10'."""
    found = workspace.runs.list(filter, order_by=order_by, limit=limit, within=within)
    _print(Run, found, columns, as_json=as_json)


def _print(model: type[PadreObject], found: Listing[Any], names: str | None, *, as_json: bool) -> None:
    named = _named(names, model) if names else None
    rows = found.to_rows()
    if as_json:
        for row in rows:
            print_json({name: canonical.plain(value) for name, value in row.items()})
        return
    if not rows:
        click.echo(f"no {model.folder}", err=True)
        return
    shown = named or _usual(rows)
    print_table(shown, ([_value(row, name) for name in shown] for row in rows))


def _print_counts(workspace: Workspace, within: str | None, *, deleted: bool, as_json: bool) -> None:
    counts = {model.folder: workspace.service(model.kind).count(within=within, deleted=deleted) for model in kinds()}
    if as_json:
        print_json(counts)
    else:
        print_table(["kind", "count"], counts.items())


def _named(columns: str, model: type[PadreObject]) -> list[str]:
    """The columns that somebody named, as rows have them: without the quotes that filters need.

    Raises:
        InvalidObjectError: Objects of the kind have no such field.
    """
    names = [
        _QUOTED.sub(lambda text: re.sub(r"\\(.)", r"\1", text[1]), name.strip()) for name in _COLUMN.findall(columns)
    ]
    known = [*model.model_fields, *(["metrics"] if model is Run else [])]
    for field in (name.partition(".")[0] for name in names):
        if field not in known:
            way = suggest(field, known)
            raise InvalidObjectError(f"--columns: {article(model.kind)} has no field {field!r:.80}{way}")
    return names


def _value(row: Mapping[str, Any], name: str) -> Any:
    """What a row has under a name, or a part of it: of `error.type` that of `error`."""
    if name in row or "." not in name:
        return row.get(name)
    whole, _, part = name.rpartition(".")
    holder = _value(row, whole)
    if isinstance(holder, BaseModel):
        holder = dict(holder)
    return holder.get(part) if isinstance(holder, Mapping) else None


def _usual(rows: Sequence[Row]) -> list[str]:
    """The columns that tell most about some rows."""
    present = columns(rows)
    head = [name for name in ("id", "name", "path", "number", "component", "type", "status") if name in present]
    parameters = [name for name in present if name.startswith("parameters.")][:_FEW]
    metrics = [name for name in present if name.startswith("metrics.") and name.endswith(".last")][:_FEW]
    return [*head, *parameters, *metrics, "created_at"]
