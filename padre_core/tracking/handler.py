"""A handler of the standard library's logging that writes to a run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from padre_core.tracking.active import ActiveRun


class RunHandler(logging.Handler):
    """Writes log records to a run, each under the standard level that is not above its own.

    What PaDRe itself logs is left out, for storing it could make it log again.
    """

    def __init__(self, run: ActiveRun, level: int | str = logging.NOTSET) -> None:
        super().__init__(level)
        self._run = run

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.partition(".")[0] == "padre_core":
            return
        try:
            self._run.log(self.format(record), _level(record.levelno))
        except Exception:  # noqa: BLE001  # logging must not end the program; handleError says what went wrong
            self.handleError(record)


def _level(number: int) -> str:
    return logging.getLevelName(max(10, min(50, number // 10 * 10)))
