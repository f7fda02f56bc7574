"""How a run ended, told from the exception that ended it."""

from __future__ import annotations

import sys
import traceback

from padre_core.objects.run import RunError, RunStatus

MAX_TEXT = 64 * 1024
"""Characters of a message or traceback that are kept: a failure is stored however long its text is."""


def outcome(error: BaseException | None) -> tuple[RunStatus, RunError | None]:
    """The status of a run that an exception ended, or none did.

    `KeyboardInterrupt` and an exit with another code than 0 kill a run; every other exception fails it.
    """
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return RunStatus.FINISHED, None
    killed = isinstance(error, KeyboardInterrupt | SystemExit)
    return RunStatus.KILLED if killed else RunStatus.FAILED, describe(error)


def describe(error: BaseException) -> RunError:
    """Type, message and traceback of an exception as text."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        message = str(error)
    except Exception as failure:  # noqa: BLE001  # a broken __str__ must not hide the failure itself
        message = f"its message cannot be shown: {type(failure).__name__}"
    lines = traceback.TracebackException.from_exception(error).format()
    return RunError(type=name, message=_text(message)[:MAX_TEXT], traceback=_text("".join(lines))[-MAX_TEXT:])


def uncaught() -> BaseException | None:
    """The exception that ends this interpreter; what a person saw earlier at a prompt does not count."""
    return None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)


def _text(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()
