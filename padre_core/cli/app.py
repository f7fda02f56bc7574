"""The command's frame: which subcommands there are, each imported when it is called."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click

from padre_core import __version__
from padre_core.cli.errors import ReaderGoneError, run
from padre_core.cli.progress import patient_bar
from padre_core.cli.stopping import Stop, StoppedError
from padre_core.cli.terminal import open_output, safe
from padre_core.errors import PluginLoadError
from padre_core.progress import watched

# Name: module and one line for the overview, which therefore imports none of them.
_COMMANDS = {
    "init": ("stores", "Make a store, and let this folder use it."),
    "ls": ("search", "List what is stored."),
    "show": ("objects", "Show one object."),
    "put": ("objects", "Store an object from JSON, or a file as an artifact."),
    "get": ("objects", "Write an object as JSON, or download its files."),
    "rm": ("objects", "Delete objects."),
    "restore": ("objects", "Bring deleted objects back."),
    "history": ("history", "Show the versions of an object."),
    "diff": ("history", "Show in what two versions, or two objects, differ."),
    "search": ("search", "Find runs by a filter."),
    "log": ("streams", "Show the log of a run."),
    "points": ("streams", "Show the points of one metric of a run."),
    "copy": ("stores", "Copy a store into another, and prove that they are equal."),
    "push": ("sync", "Upload objects to remotes."),
    "pull": ("sync", "Download objects from remotes."),
    "sync": ("sync", "Bring a store and its remotes to the same."),
    "status": ("sync", "Show what would travel, what waits and what conflicts."),
    "conflicts": ("sync", "Show what was changed on both sides."),
    "resolve": ("sync", "Decide a conflict."),
    "remote": ("remotes", "Manage the remotes of a store."),
    "verify": ("stores", "Read and check everything in a store."),
    "refresh": ("stores", "Look for what was changed in a store by hand."),
    "maintain": ("stores", "Make a store smaller and faster to read."),
    "purge": ("stores", "Remove for good what was deleted long ago."),
    "plugins": ("plugins", "Show installed plugins and what is wrong with them."),
    "hooks": ("plugins", "Show the hooks that extensions can implement."),
}


class Commands(click.Group):
    """Subcommands by name: core's own, then those of installed plugins, which cannot replace core's."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_COMMANDS, *_from_plugins()]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in _COMMANDS:
            module, _ = _COMMANDS[name]
            command: click.Command = getattr(import_module(f"padre_core.cli.{module}"), name)
            return command
        return _load(name) if name in _from_plugins() else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            from padre_core.query.fields import suggest

            way = suggest(args[0], self.list_commands(ctx))
            ctx.fail(f"there is no command {safe(args[0])!r}{way}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderGoneError from error
        except KeyboardInterrupt as error:
            raise StoppedError from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])
        plugins = _from_plugins()
        if plugins:
            with formatter.section("Commands of plugins"):
                formatter.write_dl([(safe(name), f"From {safe(source)}.") for name, source in plugins.items()])


def _from_plugins() -> dict[str, str]:
    """Where each command of a plugin comes from, without importing it."""
    from padre_core.plugins import commands

    return {
        name: "several distributions; see padre plugins" if point is None or point.dist is None else point.dist.name
        for name, point in commands().items()
        if name not in _COMMANDS
    }


def _load(name: str) -> click.Command:
    from padre_core.plugins import load_command

    command = load_command(name)
    if not isinstance(command, click.Command):
        raise PluginLoadError(f"the plugin behind `padre {name}` gives {type(command).__name__}, not a click command")
    return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="padre")
def cli() -> None:
    """Store machine-learning experiments anywhere, and find them again."""


def main() -> None:
    """Runs `padre` and ends the process with its exit code."""
    open_output()
    stop = Stop()
    with stop.heard(), watched(patient_bar):
        code = run(lambda: cli.main(prog_name="padre", standalone_mode=False, obj=stop), stop)
    sys.exit(code)
