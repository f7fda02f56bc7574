"""Commands for whole stores: `init`, `copy`, `verify`, `refresh`, `maintain` and `purge`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from padre_core.cli.errors import PROBLEMS
from padre_core.cli.progress import phase_bar
from padre_core.cli.stopping import stoppable
from padre_core.cli.stored import with_workspace
from padre_core.cli.terminal import json_option, print_fields, print_json, safe
from padre_core.configuration import CONFIGURATION, DEFAULT_URL
from padre_core.errors import AlreadyExistsError, BackendError, InvalidObjectError
from padre_core.plugins import check_url
from padre_core.workspace import Workspace
from padre_core.workspace import copy as copy_store
from padre_core.workspace import open as open_workspace

if TYPE_CHECKING:
    from padre_core.sync import Purged


@click.command()
@click.argument("url", default=DEFAULT_URL)
@json_option
def init(url: str, as_json: bool) -> None:
    """Make a store at URL, and a padre.toml that lets this folder and those below it use it."""
    configuration = Path(CONFIGURATION)
    if configuration.exists():
        raise AlreadyExistsError(f"{configuration} is there already: edit it, or remove it first")
    check_url(url)
    if '"' in url or "\\" in url:
        raise InvalidObjectError("the URL must not hold quotation marks and backslashes")
    with open_workspace(url) as workspace:
        store = workspace.backend.info().store
    try:
        configuration.write_text(f'url = "{url}"\n')
    except OSError as error:
        raise BackendError(f"{configuration.absolute()} cannot be written: {error.strerror}") from error
    if as_json:
        print_json({"store": store, "url": workspace.url})
    else:
        click.echo(f"store {store} at {safe(workspace.url)}")


@click.command()
@click.argument("source")
@click.argument("target")
@click.option("--where", metavar="FILTER", help="Only runs that this filter finds, and what lies in them.")
@click.option("--within", metavar="OBJECT", help="Only what lies below this object of the source.")
@json_option
@stoppable("what was copied stays in the target, and the same command copies the rest")
def copy(source: str, target: str, where: str | None, within: str | None, as_json: bool) -> None:
    """Copy the store at SOURCE into the one at TARGET, and prove afterwards that both say the same.

    Ids, times, versions, deletions, points, logs and files are kept; repeating a copy changes nothing.
    """
    with phase_bar() as progress:
        report = copy_store(source, target, where=where, within=within, progress=progress)
    if as_json:
        print_json(asdict(report))
    else:
        print_fields(asdict(report).items())


@click.command()
@click.option("--quarantine", is_flag=True, help="Move damaged files aside, so that the rest works.")
@click.option("--remote", metavar="NAME", help="Compare everything with this remote instead.")
@json_option
@stoppable("only what was told above is known, and the same command checks everything anew")
@with_workspace()
def verify(workspace: Workspace, quarantine: bool, remote: str | None, as_json: bool) -> None:
    """Read and check everything in a store; exit with 1 if anything is wrong."""
    if remote and quarantine:
        raise InvalidObjectError("--quarantine is for the store itself, --remote compares it with another")
    found = 0
    with phase_bar() as progress:
        progress("checking", 0, 0)
        for problem in workspace.remotes.verify(remote) if remote else workspace.verify(quarantine=quarantine):
            found += 1
            if as_json:
                print_json(asdict(problem))
            else:
                aside = " (moved aside)" if problem.quarantined else ""
                click.echo(f"{problem.code} {safe(problem.where)}: {safe(problem.message)}{aside}")
    if not as_json:
        click.echo(f"{found} problem{'s' if found > 1 else ''}" if found else "everything is sound", err=bool(found))
    if found:
        click.get_current_context().exit(PROBLEMS)


@click.command()
@click.option("--accept-edits", is_flag=True, help="Take files that somebody edited as new versions.")
@json_option
@stoppable("what was found counts, and the same command looks for the rest")
@with_workspace()
def refresh(workspace: Workspace, accept_edits: bool, as_json: bool) -> None:
    """Look for what others put into a store, past PaDRe."""
    changed = workspace.refresh(accept_edits=accept_edits)
    if as_json:
        print_json({"changed": changed})
    else:
        click.echo(f"{changed} changed")


@click.command()
@click.option("--dry-run", is_flag=True, help="Change nothing, and show what would be removed.")
@json_option
@stoppable("the store says what it said before, and the same command does the rest")
@with_workspace()
def maintain(workspace: Workspace, dry_run: bool, as_json: bool) -> None:
    """Make a store smaller and faster to read; others may go on using it.

    A folder's listings are merged, a git repository is repacked. From a folder or bucket goes what writers left that
    died: blobs that no object names, points of runs that are not there, uploads that did not end, all older than some
    days.
    Nothing that the store says is changed.
    """
    with phase_bar() as progress:
        done = workspace.maintain(progress, dry_run=dry_run)
    if as_json:
        print_json(done)
    elif done:
        print_fields(done.items())
    else:
        click.echo("nothing to do")


@click.command()
@click.option(
    "--older-than",
    metavar="DAYS",
    type=click.IntRange(0, 36_500),
    default=90,
    show_default=True,
    help="Leave what was deleted, or changed below that, within these days.",
)
@click.option("--dry-run", is_flag=True, help="Change nothing, and show what would be removed.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@stoppable("what was removed is gone, and the same command removes the rest")
@with_workspace()
def purge(workspace: Workspace, older_than: int, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Remove for good what was deleted long ago, with all that lies below it; nothing brings it back.

    Only this store gives it up. Run it where each store is, the one that others share first.
    """
    age = timedelta(days=older_than)
    if not (dry_run or yes):
        planned = workspace.purge(older_than=age, dry_run=True)
        question = f"remove {_counted(planned)} from {safe(workspace.url)} for good?"
        if planned.objects and not click.confirm(question, err=True):
            click.echo("nothing was removed", err=True)
            click.get_current_context().exit(PROBLEMS)
    with phase_bar() as progress:
        purged = workspace.purge(older_than=age, dry_run=dry_run, progress=progress)
    if as_json:
        gone = [{"kind": kind, "id": id, "below": below} for (kind, id), below in purged.objects.items()]
        stays = [{"kind": kind, "id": id, "why": why} for (kind, id), why in purged.waiting.items()]
        print_json({"purged": gone, "waiting": stays, "freed": purged.freed})
        return
    for (kind, id), below in purged.objects.items():
        click.echo(f"{kind} {id}{f' and {below} below it' if below else ''}")
    for (kind, id), why in purged.waiting.items():
        click.echo(f"{kind} {id} stays: {safe(why)}")
    click.echo(f"{'would remove' if dry_run else 'removed'} {_counted(purged)}" if purged.objects else "nothing to do")
    print_fields(purged.freed.items())


def _counted(purged: Purged) -> str:
    count = len(purged.objects) + sum(purged.objects.values())
    return f"{count} object{'' if count == 1 else 's'}"
