"""Exit codes, and errors as one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import click

from padre_core import errors
from padre_core.cli.stopping import Stop, StoppedError
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


def run(command: Callable[[], int | None], stop: Stop) -> int:
    """Runs a command, tells its errors on standard error, and returns its exit code."""
    try:
        code = command()
        sys.stdout.flush()
    except (StoppedError, click.Abort, KeyboardInterrupt):
        return stop.tell()
    except Exception as error:
        if stop.number:  # what was broken off may fail in any way, such as a statement of a database
            return stop.tell()
        code = _tell(error)
        if code is None:
            raise
    return code or 0


def _tell(error: Exception) -> int | None:
    """Tells an error that was foreseen, and returns its exit code."""
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, errors.PadreError):
        click.echo(f"padre: {safe_lines(str(error))}", err=True)
        return exit_code(error)
    if isinstance(error, BrokenPipeError | ReaderGoneError):
        # The interpreter must not complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return None
