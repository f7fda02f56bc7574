"""Commands about extending PaDRe: `plugins` and `hooks`."""

from __future__ import annotations

import click

from padre_core.cli.errors import PROBLEMS
from padre_core.cli.terminal import json_option, print_json, print_table, safe, safe_lines
from padre_core.hookspecs import describe
from padre_core.plugins import report


@click.command()
@json_option
def plugins(as_json: bool) -> None:
    """Show installed plugins and what is wrong with them; exit with 1 if anything is."""
    found = report()
    if as_json:
        print_json([plugin._asdict() for plugin in found])
    else:
        head = ["state", "group", "name", "distribution", "version"]
        print_table(head, ([getattr(plugin, name) for name in head] for plugin in found))
        for plugin in found:
            if plugin.message:
                click.echo(f"\n{plugin.state} {safe(plugin.name)}: {safe(plugin.message)}")
    if any(plugin.state.faulty for plugin in found):
        click.get_current_context().exit(PROBLEMS)


@click.command()
@json_option
def hooks(as_json: bool) -> None:
    """Show the hooks that extensions can implement, with signature and text."""
    for hook in describe():
        if as_json:
            print_json(hook._asdict())
        else:
            text = safe_lines(hook.text).replace("\n", "\n    ").replace("    \n", "\n")
            click.echo(f"{hook.name}{hook.signature}\n    {text}\n")
