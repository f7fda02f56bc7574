"""Commands for what runs log: `log` and `points`."""

from __future__ import annotations

import csv
import itertools
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import click

from padre_core.cli.stored import with_workspace
from padre_core.cli.terminal import json_option, print_json, print_table, safe_lines
from padre_core.errors import NotFoundError
from padre_core.objects import canonical
from padre_core.objects.run import RunStatus
from padre_core.streams.columns import Line
from padre_core.workspace import Workspace

POLL_SECONDS = 0.5

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@click.command()
@click.argument("run")
@click.option("--follow", "-f", is_flag=True, help="Go on until the run ends.")
@click.option("--level", type=click.Choice(_LEVELS), default="DEBUG", help="Only this level and above.")
@json_option
@with_workspace(readonly=True)
def log(workspace: Workspace, run: str, follow: bool, level: str, as_json: bool) -> None:
    """Show the log of a RUN."""
    for line in _following(workspace, run) if follow else workspace.runs.lines(run):
        if _LEVELS.index(line.level) < _LEVELS.index(level):
            continue
        at = _format_time(line.time)
        if as_json:
            print_json({"time": at, "level": line.level, "text": line.text})
        else:
            text = safe_lines(line.text).replace("\n", "\n    ")
            click.echo(f"{at} {line.level:<8} {text}")
        if follow:
            sys.stdout.flush()


@click.command()
@click.argument("run")
@click.argument("metric", required=False)
@click.option("--csv", "as_csv", is_flag=True, help="Write CSV, for spreadsheets.")
@json_option
@with_workspace(readonly=True)
def points(workspace: Workspace, run: str, metric: str | None, as_csv: bool, as_json: bool) -> None:
    """Show the points of one METRIC of a RUN; without METRIC, the summary of each."""
    if metric is None:
        _print_summaries(workspace, run, as_csv=as_csv, as_json=as_json)
        return
    found = workspace.runs.points(run, metric)
    if not len(found):
        names = ", ".join(itertools.islice(workspace.runs.metrics(run), 20)) or "none"
        raise NotFoundError(f"run {run} has no points of {metric!r:.200}; its metrics are {names}")
    steps, times, values = list(found.steps), [_format_time(at) for at in found.times], list(found.values)
    if as_json:
        columns = {"steps": steps, "times": times, "values": values}
        print_json({"metric": metric, **canonical.plain(columns)})
    elif as_csv:
        _print_csv([("step", "time", metric), *zip(steps, times, values, strict=True)])
    else:
        print_table(["step", "time", metric], zip(steps, times, map(float, values), strict=True))


def _print_summaries(workspace: Workspace, run: str, *, as_csv: bool, as_json: bool) -> None:
    found = workspace.runs.metrics(run)
    names = ("count", "first", "last", "min", "max", "mean")
    rows = [(name, *(getattr(summary, statistic) for statistic in names)) for name, summary in found.items()]
    if as_json:
        print_json([dict(zip(("metric", *names), row, strict=True)) for row in rows])
    elif as_csv:
        _print_csv([("metric", *names), *rows])
    else:
        print_table(["metric", *names], rows)


def _print_csv(rows: list[tuple[object, ...]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    for row in rows:
        writer.writerow([_no_formula(value) if isinstance(value, str) else value for value in row])


def _no_formula(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _following(workspace: Workspace, run: str) -> Iterator[Line]:
    seen: Counter[Line] = Counter()
    while True:
        # Asked before the lines, so that the last ones are not missed.
        ended = workspace.runs.get(run).status not in (RunStatus.CREATED, RunStatus.RUNNING)
        lines = Counter(workspace.runs.lines(run))
        yield from sorted((lines - seen).elements(), key=lambda line: line.time)
        seen = lines
        if ended:
            return
        time.sleep(POLL_SECONDS)


def _format_time(microseconds: int) -> str:
    try:
        return canonical.format_time(_EPOCH + timedelta(microseconds=int(microseconds)))
    except OverflowError:  # no calendar has it; it may come from another program
        return str(int(microseconds))
