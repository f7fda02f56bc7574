"""Exit codes, and errors as one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import click

from padre_core import errors
from padre_core.cli.terminal import safe_lines

PROBLEMS = 1
"""The command worked and found something wrong: `verify`, `plugins`."""

_CODES: tuple[tuple[type[errors.PadreError], int], ...] = (
    (errors.InvalidObjectError, 2),
    (errors.NotFoundError, 3),
    (errors.ConflictError, 4),
    (errors.AccessDeniedError, 5),
    (errors.BackendError, 6),
    (errors.UnsupportedError, 7),
    (errors.PluginError, 8),
)


class ReaderGoneError(Exception):
    """Whoever read the output has seen enough. Not an OSError, which click would end the process for."""


def exit_code(error: errors.PadreError) -> int:
    """The exit code that tells the caller what to do about an error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), PROBLEMS)


def run(command: Callable[[], int | None]) -> int:
    """Runs a command, tells its errors on standard error, and returns its exit code."""
    try:
        code = command()
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except errors.PadreError as error:
        click.echo(f"padre: {safe_lines(str(error))}", err=True)
        return exit_code(error)
    except (click.Abort, KeyboardInterrupt):
        click.echo("padre: interrupted", err=True)
        return 130
    except (BrokenPipeError, ReaderGoneError):
        # The interpreter must not complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return code or 0
