"""Exit codes, and errors as one line."""

from __future__ import annotations

import contextlib
import io
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
        _close_output()
        return 141
    if isinstance(error, OSError):  # of a file that the caller named, or of standard output
        place = f"{error.filename}: " if isinstance(error.filename, str) else ""
        click.echo(f"padre: {safe_lines(place)}{error.strerror or error}", err=True)
        _close_output()
        return exit_code(errors.BackendError())
    return None


def _close_output() -> None:
    """Lets the interpreter flush what is left at exit without a complaint."""
    with contextlib.suppress(io.UnsupportedOperation):  # it is no file, and none is flushed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
