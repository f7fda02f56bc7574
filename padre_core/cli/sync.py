"""Commands between a store and its remotes: `push`, `pull`, `sync`, `status`, `conflicts` and `resolve`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import click

from padre_core.cli.errors import PROBLEMS
from padre_core.cli.progress import tally_bar
from padre_core.cli.stopping import stoppable
from padre_core.cli.stored import as_data, kind_option, with_workspace
from padre_core.cli.terminal import json_option, print_json, print_table, safe
from padre_core.errors import InvalidObjectError
from padre_core.objects.references import Ref
from padre_core.streams.spool import Waiting
from padre_core.sync import Action, Local, Remote, Report, Step
from padre_core.workspace import Workspace

_objects = click.argument("objects", metavar="[OBJECT]...", nargs=-1)
_where = click.option("--where", metavar="FILTER", help="Only runs that this filter finds, and what lies in them.")
_remote = click.option("--remote", "remotes", metavar="NAME", multiple=True, help="Only this one; repeatable.")
_resumed = stoppable("what arrived is stored, and the same command goes on with the rest")
_dry = click.option("--dry-run", is_flag=True, help="Only show what would be done.")


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Which objects travel, and between which stores."""

    workspace: Workspace
    refs: list[Ref] | None
    remotes: tuple[str, ...] | None


def _choosing(*, make: bool = False) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The arguments of a command that say so, for one that takes a `_Chosen` and `as_json`."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def chosen(
            workspace: Workspace,
            objects: tuple[str, ...],
            where: str | None,
            kind: str | None,
            remotes: tuple[str, ...],
            **options: Any,
        ) -> None:
            command(_Chosen(workspace, _refs(workspace, objects, where, kind), remotes or None), **options)

        made = with_workspace(make=make)(chosen)
        for option in (json_option, kind_option, _remote, _where, _objects):
            made = option(made)
        return made

    return decorate


_ALL_WELL = "everything is where it should be"


@click.command()
@_dry
@_resumed
@_choosing()
def push(chosen: _Chosen, dry_run: bool, as_json: bool) -> None:
    """Upload objects, with all that lies below them and all that they refer to, to the default remote.

    Without objects, all that waits goes to all remotes.
    """
    workspace = chosen.workspace
    named = chosen.remotes or (None if chosen.refs is None else (workspace.default_remote,))
    with tally_bar(workspace.remotes):
        report = workspace.remotes.push(chosen.refs, remotes=named, dry=dry_run)
    _tell(workspace, report, as_json=as_json)


@click.command()
@_dry
@_resumed
@_choosing(make=True)
def pull(chosen: _Chosen, dry_run: bool, as_json: bool) -> None:
    """Download objects, with all that lies below them; without any, everything that the remotes have."""
    with tally_bar(chosen.workspace.remotes):
        report = chosen.workspace.remotes.pull(chosen.refs, remotes=chosen.remotes, dry=dry_run)
    _tell(chosen.workspace, report, as_json=as_json)


@click.command()
@_dry
@click.option("--everything", is_flag=True, help="Also download what is not here, and look at each object.")
@_resumed
@_choosing()
def sync(chosen: _Chosen, dry_run: bool, everything: bool, as_json: bool) -> None:
    """Upload and download what changed, merge what changed on both sides, and carry out deletes.

    With objects only these travel, with all that lies below them on either side.
    """
    remotes = chosen.workspace.remotes
    with tally_bar(remotes):
        report = remotes.sync(chosen.refs, remotes=chosen.remotes, everything=everything, dry=dry_run)
    _tell(chosen.workspace, report, as_json=as_json)


@click.command()
@_choosing()
def status(chosen: _Chosen, as_json: bool) -> None:
    """Show what `padre sync --everything` would do, what was refused, what conflicts, and what waits in the spool."""
    workspace = chosen.workspace
    spooled = workspace.backend.waiting()
    _tell_waiting(spooled, as_json=as_json)
    if workspace.records.remotes is None and workspace.backend.info().durability == "spooled":
        if not (spooled or as_json):
            click.echo(_ALL_WELL)
        return
    report = workspace.remotes.status(chosen.refs, remotes=chosen.remotes)
    elsewhere = {} if as_json else {name: _set_aside(steps) for name, steps in report.steps.items()}
    _tell(workspace, report, as_json=as_json)
    for name, count in elsewhere.items():
        if count:
            click.echo(f"{count} more on {safe(name)} and not here; `padre pull` downloads them")
    if not as_json:
        waiting = sum(1 for _ in workspace.conflicts())
        if waiting:
            click.echo(f"{waiting} in conflict; `padre conflicts` lists them")


@click.command()
@json_option
@with_workspace(readonly=True)
def conflicts(workspace: Workspace, as_json: bool) -> None:
    """Show objects that were changed on both sides; exit with 1 if there are any."""
    found = list(workspace.conflicts())
    if as_json:
        for item in found:
            print_json({"kind": item.ref[0], "id": item.ref[1], **asdict(item)})
    else:
        names = _names(workspace, [item.ref for item in found])
        rows = [
            (*item.ref, names[item.ref], item.head, etag, ", ".join(fields))
            for item in found
            for etag, fields in (item.fields or {"": ("hidden below a deleted object",)}).items()
        ]
        if rows:
            print_table(("kind", "id", "name", "head", "other", "fields"), rows)
    if found:
        click.get_current_context().exit(PROBLEMS)


@click.command()
@click.argument("object", metavar="OBJECT")
@click.option("--ours", is_flag=True, help="Keep the version that is the head here.")
@click.option("--theirs", is_flag=True, help="Keep the other version; where there are several, name one with --keep.")
@click.option("--keep", metavar="ETAG", help="Keep this version.")
@click.option(
    "--field", "fields", metavar="NAME=ETAG", multiple=True, help="Take one field from a version; repeatable."
)
@kind_option
@json_option
@with_workspace()
def resolve(
    workspace: Workspace,
    object: str,
    ours: bool,
    theirs: bool,
    keep: str | None,
    fields: tuple[str, ...],
    kind: str | None,
    as_json: bool,
) -> None:
    """Decide a conflict: keep one version, or take single fields from either."""
    ref = workspace.ref(object, kind)
    stored = workspace.service(ref[0]).get(ref[1], refresh="never")
    if sum([ours, theirs, keep is not None]) > 1:
        raise InvalidObjectError("give one of --ours, --theirs and --keep")
    if not stored.conflicts:
        raise InvalidObjectError(f"{object} is in no conflict; `padre conflicts` lists what is")
    if theirs:
        if len(stored.conflicts) != 1:
            raise InvalidObjectError(f"{object} has {len(stored.conflicts)} other versions: name one with --keep")
        keep = stored.conflicts[0]
    elif not (ours or keep or fields):
        raise InvalidObjectError("say what to keep: --ours, --theirs, --keep ETAG or --field NAME=ETAG")
    solved = workspace.resolve(stored, keep=keep, fields=dict(_field(text) for text in fields))
    if as_json:
        print_json(as_data(solved))
    else:
        click.echo(f"{solved.kind} {solved.id} {solved.etag}")


def _refs(workspace: Workspace, objects: Sequence[str], where: str | None, kind: str | None) -> list[Ref] | None:
    """What is named, or found by a filter; None if neither was given."""
    if where is None:
        return [_located(workspace, object, kind) for object in objects] or None
    return [("run", str(run.id)) for within in objects or (None,) for run in workspace.runs.list(where, within=within)]


def _located(workspace: Workspace, object: str, kind: str | None) -> Ref:
    service = workspace.service_of(object, kind)
    return service.kind, service.locate(object)


def _field(text: str) -> tuple[str, str]:
    name, equals, etag = text.partition("=")
    if not equals:
        raise InvalidObjectError(f"--field takes NAME=ETAG, not {text!r:.80}")
    return name, etag


def _tell_waiting(waiting: Sequence[Waiting], *, as_json: bool) -> None:
    """What this machine logged and the store does not hold yet."""
    if as_json:
        for item in waiting:
            print_json({"waiting": item.count, "stream": item.stream, "run": item.run, "writer": item.writer})
    elif waiting:
        rows = [(item.stream, item.run, item.writer, str(item.count)) for item in waiting]
        print_table(("in the spool", "run", "writer", "entries"), rows)


def _tell(workspace: Workspace, report: Report, *, as_json: bool) -> None:
    steps = [(name, step) for name, done in report.steps.items() for step in done if _tells(step)]
    if as_json:
        for name, step in steps:
            print_json(_as_json(name, step))
        for name, error in report.away.items():
            print_json({"remote": name, "away": str(error)})
    else:
        names = _names(workspace, [step.ref for _, step in steps])
        rows = [(remote, *step.ref, names[step.ref], _state(step), step.error or step.action) for remote, step in steps]
        if rows:
            print_table(("remote", "kind", "id", "name", "here / there", "what"), rows)
        for name, error in report.away.items():
            click.echo(f"{safe(name)} is away: {safe(error)}", err=True)
        if not (rows or report.away):
            click.echo(_ALL_WELL)
    if report.away or report.failed:
        click.get_current_context().exit(PROBLEMS)


def _set_aside(steps: list[Step]) -> int:
    """Takes out what a remote has and nobody fetched yet, which may be very much, and returns how many that is."""
    here = [
        step
        for step in steps
        if step.error or step.state is None or (step.state.local, step.state.remote) != (Local.ABSENT, Remote.PRESENT)
    ]
    count = len(steps) - len(here)
    steps[:] = here
    return count


def _names(workspace: Workspace, refs: Sequence[Ref]) -> dict[Ref, str]:
    """What objects are called, as far as they are here and have a name."""
    records = workspace.backend.get_many(refs)
    return {
        ref: str(record.data().get("name", "")) if record else "" for ref, record in zip(refs, records, strict=True)
    }


def _state(step: Step) -> str:
    return "unreadable" if step.state is None else str(step.state)


def _tells(step: Step) -> bool:
    return step.error is not None or step.action not in (Action.NOTHING, Action.AGREE)


def _as_json(remote: str, step: Step) -> dict[str, Any]:
    kind, id = step.ref
    error = None if step.error is None else str(step.error)
    return {
        "remote": remote, "kind": kind, "id": id, "state": _state(step), "action": step.action.value,
        "etag": step.etag, "error": error,
    }  # fmt: skip
