"""The audit log: one line of JSON for each write, sign-in and refusal, appended and never changed."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from padre_core.objects import canonical

logger = logging.getLogger(__name__)


class Audit:
    """An append-only file, to which all processes of a server write whole lines.

    What was done is done when it is noted: a line for which there is no room goes to the server's own log.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        self._file: int | None = os.open(path, flags, 0o600)

    def note(self, who: str, action: str, **details: Any) -> None:
        """Adds a line.

        Args:
            who: The user or the name of the token.
            action: Such as `PUT /v1/{folder}/{id}`; what was named goes into the details.
        """
        if self._file is None:
            return
        line = canonical.to_json({"at": canonical.now(), "who": who, "action": action, **details}) + b"\n"
        try:
            written = os.write(self._file, line)  # one call, so that lines of several processes do not mix
            if written == len(line):
                return
            os.write(self._file, b"\n")
        except OSError:
            logger.exception("the audit log cannot be written")
        logger.error("not in the audit log: %s", line.decode().rstrip())

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
