"""Points and lines on their way to a server: first in a log on this machine, then shipped in batches.

A point is acknowledged when it is in the log, which survives kill -9. A thread ships what is new every second; a flush
ships at once. While the server cannot be reached the log grows, and nothing is lost or waited for; the next opening of
the same store on this machine ships what a dead process left. The log is core's: see `padre_core.streams`.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from padre_core.errors import BackendError, PadreError, UnavailableError
from padre_core.places import state_folder
from padre_core.streams.columns import Columns, Stream, concatenate, stream_of
from padre_core.streams.journal import Journal, JournalWriter
from padre_core.streams.log import LogWriter
from padre_core.streams.view import LogView
from padre_core.streams.writer import Append

logger = logging.getLogger(__name__)

SHIP_SECONDS: Final = 1.0
MAX_WAIT_SECONDS: Final = 30.0

BEAT_SECONDS: Final = 20.0
"""How often the server hears of a writer that is open and writes nothing."""

Beat = Callable[[str, str], None]


def folder_for(url: str, store: str) -> Path:
    """Where the spool of a store on a server is."""
    return state_folder() / "spool" / hashlib.sha256(f"{url} {store}".encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class _Part:
    run: str
    writer: str
    first: int
    columns: Columns


@dataclass(slots=True)
class _Group:
    """Columns that follow on each other."""

    first: int
    next: int
    columns: list[Columns] = field(default_factory=list)

    def add(self, columns: Columns) -> None:
        self.columns.append(columns)
        self.next += len(columns)


class Spool:
    """The log of one opened store, and the way from it to the server. Safe for threads; survives a fork.

    Args:
        append: Brings a part of a stream to the server, as `Backend.append_stream`.
        beat: Tells the server that a writer of a run lives.
    """

    def __init__(self, folder: Path, append: Append, beat: Beat) -> None:
        self._folder, self._append, self._beat = folder, append, beat
        self._journal: Journal | None = None
        self._start()
        _SPOOLS.add(self)

    def _start(self) -> None:
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._views: dict[str, LogView] = {}
        self._waiting: list[_Part] = []
        self._writers: dict[int, SpoolWriter] = {}
        self._beaten: dict[int, float] = {}

    def recover(self) -> None:
        """Ships what processes that died left here. What cannot be shipped now stays, and the log says so."""
        if not self._folder.is_dir():
            return
        journal = self._opened()
        for name in journal.names():
            with journal.take_over(name) as dead:
                if not dead:
                    continue
                try:
                    view = LogView(self._folder / name)
                    try:
                        self._send(list(_parts(view)))
                        damaged = view.reader.damaged
                    finally:
                        view.reader.close()
                    journal.forget(name, damaged=damaged)
                except PadreError as error:
                    logger.warning("points of an earlier run wait in %s: %s", self._folder / name, error)

    def open_writer(self, run: str) -> SpoolWriter:
        """A writer of a run's streams."""
        with self._lock:
            writer = SpoolWriter(self, self._opened().open_writer(run))
            self._writers[id(writer)] = writer
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, args=(self._ended,), name="padre-spool", daemon=True)
                self._thread.start()
            return writer

    def end(self, writer: SpoolWriter) -> None:
        """Says that a writer adds nothing more."""
        with self._lock:
            self._writers.pop(id(writer), None)
            self._beaten.pop(id(writer), None)

    def ship(self) -> None:
        """Brings all that is in the log to the server.

        Raises:
            PadreError: It was not all; what is left stays in the log.
        """
        with self._lock:
            journal = self._journal
            if journal is None:
                return
            while True:
                while self._waiting:
                    part = self._waiting[0]
                    self._append(part.run, part.writer, part.first, part.columns)
                    self._waiting.pop(0)
                if not self._next(journal):
                    return

    def ship_quietly(self) -> bool:
        """Whether all was shipped; a server that cannot be reached gets it later."""
        try:
            self.ship()
        except UnavailableError as error:
            logger.info("points wait in %s: %s", self._folder, error)
            return False
        return True

    def close(self) -> None:
        """Ships what is left, and lets go of the log; what could not be shipped is, when the store is opened again."""
        self._ended.set()
        with self._lock:
            journal = self._journal
            if journal is None:
                return
            try:
                with journal.lock:
                    journal.writers.clear()
                    journal.seal()
                if not self.ship_quietly():
                    logger.warning("points wait in %s until the store is opened again", self._folder)
            finally:
                for view in self._views.values():
                    view.reader.close()
                journal.close()
                self._journal = None

    def _opened(self) -> Journal:
        with self._lock:
            if self._journal is None:
                try:
                    self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                except OSError as error:
                    raise BackendError(f"{self._folder} cannot be made: {error.strerror}") from error
                self._journal = Journal(self._folder, readonly=False)
            return self._journal

    def _next(self, journal: Journal) -> bool:
        """Reads on in the oldest log that has something new, and removes those that were shipped and are sealed."""
        with journal.lock:
            logs: list[tuple[LogWriter, bool]] = [(log, True) for log in journal.sealed]
            logs += [(journal.log, False)] if journal.log is not None else []
        for log, sealed in logs:
            name = log.path.name
            with journal.lock:
                if name not in self._views:
                    self._views[name] = LogView(log.path)
                view = self._views[name]
                self._waiting = list(_parts(view))
            if self._waiting:
                return True
            if sealed:
                self._views.pop(name).reader.close()
                journal.forget(name, damaged=view.reader.damaged)
        return False

    def _send(self, parts: list[_Part]) -> None:
        for part in parts:
            self._append(part.run, part.writer, part.first, part.columns)

    def _run(self, ended: threading.Event) -> None:
        """The thread that ships."""
        wait = SHIP_SECONDS
        while not ended.wait(wait):
            try:
                shipped = self.ship_quietly()
                self._tell_who_lives()
            except PadreError as error:
                logger.warning("points wait in %s: %s", self._folder, error)
                shipped = False
            wait = SHIP_SECONDS if shipped else min(2 * wait, MAX_WAIT_SECONDS)

    def _tell_who_lives(self) -> None:
        now = time.monotonic()
        for key, writer in list(self._writers.items()):
            if now - self._beaten.get(key, -BEAT_SECONDS) >= BEAT_SECONDS:
                self._beaten[key] = now
                self._beat(writer.run, writer.id)

    def _after_fork(self) -> None:
        # The journal begins a log of the child's own, and its writers in it.
        writers = list(self._writers.values())
        for view in self._views.values():
            view.reader.close()
        self._start()
        self._writers = {id(writer): writer for writer in writers}


class SpoolWriter:
    """A writer of a run's points and lines into the spool; see `StreamWriter` for the contract."""

    def __init__(self, spool: Spool, inner: JournalWriter) -> None:
        self.run = inner.run
        self._spool, self._inner = spool, inner
        self.point, self.points, self.line = inner.point, inner.points, inner.line

    @property
    def id(self) -> str:
        """16 hex digits, unlike those of all other writers; a forked child has others."""
        return self._inner.id

    def flush(self) -> None:
        """Ships at once. A server that cannot be reached gets it later: it is safe on this machine.

        Raises:
            PadreError: The server refuses what was added.
        """
        self._spool.ship_quietly()

    def close(self) -> None:
        """Flushes; the writer must not be used afterwards."""
        self._inner.close()
        self._spool.end(self)
        self._spool.ship_quietly()


def _parts(view: LogView) -> Iterator[_Part]:
    """What a log holds that was not read yet, in as few parts as may be."""
    view.scan()
    for writer in view.writers.values():
        taken, writer.parts = writer.parts, []
        groups: dict[Stream, list[_Group]] = {"points": [], "lines": []}
        for first, columns in taken:
            found = groups[stream_of(columns)]
            if not found or found[-1].next != first:
                found.append(_Group(first, first))
            found[-1].add(columns)
        for group in (*groups["points"], *groups["lines"]):
            yield _Part(writer.run, writer.writer, group.first, concatenate(group.columns))


_SPOOLS: weakref.WeakSet[Spool] = weakref.WeakSet()


def _after_fork() -> None:
    for spool in list(_SPOOLS):
        spool._after_fork()


os.register_at_fork(after_in_child=_after_fork)
