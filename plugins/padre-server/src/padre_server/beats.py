"""Which runs are being written by clients: those that were heard of within the last minute.

The store behind a server knows the writers of its own machine only, and a run of a client would count as lost.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from padre_core.objects.identity import check_id

LIVE_SECONDS = 60.0
NOTE_SECONDS = 10.0
"""How often at most a run is noted by one process."""


class Beats:
    """A file for each run, touched when a client writes to it; shared by all processes of a server."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._noted: dict[str, float] = {}
        self._swept = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def note(self, run: str) -> None:
        """Notes that somebody writes a run now."""
        now = time.monotonic()
        if now - self._noted.get(run, -NOTE_SECONDS) < NOTE_SECONDS:
            return
        self._noted = {other: at for other, at in self._noted.items() if now - at < NOTE_SECONDS} | {run: now}
        (self._folder / check_id(run)).touch(mode=0o600)
        if now - self._swept > LIVE_SECONDS:
            self._swept = now
            self.live()

    def live(self) -> set[str]:
        """The ids of the runs that somebody writes; what is long past is forgotten."""
        begin = time.time() - LIVE_SECONDS
        found = set()
        for entry in os.scandir(self._folder):
            with contextlib.suppress(FileNotFoundError):  # another process forgets too
                if entry.stat(follow_symlinks=False).st_mtime > begin:
                    found.add(entry.name)
                else:
                    os.unlink(entry.path)
        return found
