"""Points and lines on their way to a store elsewhere: first in a log on this machine, then shipped in batches.

A point is acknowledged when it is in the log, which survives kill -9. A thread ships what is new now and then; a flush
ships at once. While the store cannot be reached the log grows, and nothing is lost or waited for; the next opening of
the same store on this machine ships what a dead process left.
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

from padre_core.errors import AuthenticationError, BackendError, PadreError, UnavailableError
from padre_core.places import state_folder
from padre_core.streams.columns import Columns, Stream, concatenate, stream_of
from padre_core.streams.journal import Journal, JournalWriter, is_log
from padre_core.streams.log import LogWriter
from padre_core.streams.view import LogView

logger = logging.getLogger(__name__)

SHIP_SECONDS: Final = 1.0
MAX_WAIT_SECONDS: Final = 30.0

BEAT_SECONDS: Final = 20.0
"""How often the store hears of a writer that is open and writes nothing."""


def folder_for(url: str, store: str) -> Path:
    """Where the spool of a store is on this machine."""
    return state_folder() / "spool" / hashlib.sha256(f"{url} {store}".encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Part:
    """What a writer added to a stream from a sequence number on; `evicted` as in `LoggedWriter`."""

    run: str
    writer: str
    first: int
    columns: Columns
    evicted: int = 0


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many entries of a stream the logs hold that the store does not; at most so many if it cannot be asked."""

    run: str
    writer: str
    stream: Stream
    count: int


Send = Callable[[Part], object]
Beat = Callable[[str, str], None]
Ends = Callable[[list[str]], list[dict[Stream, dict[str, int]]]]


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
    """The log of one opened store, and the way from it to the store. Safe for threads; survives a fork.

    Args:
        send: Brings a part of a stream to the store; what is there already must do no harm.
        beat: Tells the store that a writer of a run lives.
        ended: Tells it that one was closed.
        sent: Called when all that was in the log is in the store.
        pace: How many seconds pass before the first shipment of a run that goes on, and at most between two later
            ones; None for `SHIP_SECONDS`.
    """

    def __init__(
        self, folder: Path, send: Send, *, beat: Beat | None = None, ended: Beat | None = None,
        sent: Callable[[], object] | None = None, pace: tuple[float, float] | None = None,
    ) -> None:  # fmt: skip
        self._folder, self._send, self._beat, self._sent = folder, send, beat, sent
        self._on_end = ended
        self._pace = pace
        self._journal: Journal | None = None
        self._recovered: set[tuple[str, str]] = set()
        self._start()
        _SPOOLS.add(self)

    def _start(self) -> None:
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._views: dict[str, LogView] = {}
        self._waiting: list[tuple[str, Part]] = []
        self._writers: dict[int, SpoolWriter] = {}
        self._beaten: dict[int, float] = {}

    def recover(self) -> set[tuple[str, str]]:
        """Ships what processes that died left here. What cannot be shipped now stays, and the log says so.

        Returns:
            Run and id of the writers whose processes died.
        """
        if not self._folder.is_dir():
            return self._recovered
        journal = self._opened()
        for name in journal.names():
            with journal.take_over(name) as dead:
                if not dead:
                    continue
                try:
                    view = LogView(self._folder / name)
                    try:
                        refused = self._send_each([(name, part) for part in _parts(view)])
                        damaged = view.reader.damaged
                    finally:
                        view.reader.close()
                    for error in refused.values():
                        raise error
                    self._recovered |= {(w.run, w.writer) for w in view.writers.values() if w.open}
                    journal.forget(name, damaged=damaged)
                except PadreError as error:
                    logger.warning("points of an earlier run wait in %s: %s", self._folder / name, error)
        return self._recovered

    def waiting(self, ends: Ends) -> list[Waiting]:
        """What processes of this machine, living or dead, have logged and the store does not hold.

        Args:
            ends: As `Backend.many_ends`.
        """
        held: dict[tuple[str, str, Stream], int] = {}
        for path in sorted(self._folder.glob("*")) if self._folder.is_dir() else ():
            if not is_log(path.name):
                continue
            try:
                view = LogView(path)
            except FileNotFoundError:
                continue  # shipped since it was listed
            try:
                for part in _parts(view):
                    place = part.run, part.writer, stream_of(part.columns)
                    held[place] = max(held.get(place, 0), part.first + len(part.columns))
            finally:
                view.reader.close()
        runs = sorted({run for run, _, _ in held})
        try:
            known = dict(zip(runs, ends(runs), strict=True)) if runs else {}
        except UnavailableError:
            known = {}
        counts = [
            Waiting(run, writer, stream, end - known.get(run, {}).get(stream, {}).get(writer, 0))
            for (run, writer, stream), end in sorted(held.items())
        ]
        return [item for item in counts if item.count > 0]

    def open_runs(self) -> set[str]:
        """The runs that this process has writers of."""
        with self._lock:
            return {writer.run for writer in self._writers.values()}

    def live_runs(self) -> set[str]:
        """The runs that living processes of this machine have writers of, as far as they write to this spool."""
        if not self._folder.is_dir():
            return set()
        journal = self._opened()
        with journal.lock:
            journal.refresh()
            return journal.live_runs()

    def dead_writers(self) -> set[tuple[str, str]]:
        """Run and id of the writers whose processes are known to have died on this machine."""
        if not self._folder.is_dir():
            return self._recovered
        journal = self._opened()
        with journal.lock:
            journal.refresh()
            return self._recovered | journal.open_writers(living=False)

    def open_writer(self, run: str, evicted: int = 0) -> SpoolWriter:
        """A writer of a run's streams since an eviction of the run."""
        with self._lock:
            writer = SpoolWriter(self, self._opened().open_writer(run, evicted))
            self._writers[id(writer)] = writer
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, args=(self._ended,), name="padre-spool", daemon=True)
                self._thread.start()
            return writer

    def end(self, writer: SpoolWriter) -> None:
        """Says that a writer adds nothing more."""
        with self._lock:
            known = self._writers.pop(id(writer), None)
            self._beaten.pop(id(writer), None)
        if known is not None and self._on_end is not None:
            self._on_end(writer.run, writer.id)

    def ship(self, run: str | None = None) -> None:
        """Brings all that is in the log to the store. What it refuses of one run keeps no other run waiting.

        Args:
            run: Whose refusals are raised; None for all.

        Raises:
            PadreError: It was not all; what is left stays in the log.
        """
        with self._lock:
            journal = self._journal
            if journal is None:
                return
            refused = self._send_each(self._waiting)
            while self._next(journal):
                refused |= self._send_each(self._waiting)
            if self._sent is not None:
                self._sent()
        for of, error in refused.items():
            if run in (None, of):
                raise error

    def ship_quietly(self) -> bool:
        """Whether all was shipped; what could not be is later."""
        try:
            self.ship()
        except PadreError as error:
            level = logging.INFO if isinstance(error, UnavailableError) else logging.WARNING
            logger.log(level, "points wait in %s: %s", self._folder, error)
            return False
        return True

    def flush(self, run: str | None = None) -> bool:
        """Whether all was shipped; a store that cannot be reached gets it later. Takes and raises what `ship` does."""
        try:
            self.ship(run)
        except UnavailableError as error:
            logger.info("points wait in %s: %s", self._folder, error)
            return False
        return True

    def close(self) -> None:
        """Ships what is left, and lets go of the log; what could not be shipped is, when the store is opened again."""
        self._ended.set()
        with self._lock:
            self._writers.clear()
            journal = self._journal
            if journal is None:
                return
            try:
                with journal.lock:
                    journal.writers.clear()
                    journal.seal()
                if not self.flush():
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

    def _send_each(self, waiting: list[tuple[str, Part]]) -> dict[str, PadreError]:
        """Sends parts, and takes out of the list what the store has now; returns of which runs it refuses some.

        Raises:
            UnavailableError: The store cannot be reached.
            AuthenticationError: It does not know who asks.
        """
        refused: dict[str, PadreError] = {}
        place = 0
        while place < len(waiting):
            _, part = waiting[place]
            if part.run not in refused:
                try:
                    self._send(part)
                    del waiting[place]
                    continue
                except (UnavailableError, AuthenticationError):
                    raise
                except PadreError as error:
                    refused[part.run] = error
            place += 1  # nothing of a run goes before what was logged earlier
        return refused

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
                found = [(name, part) for part in _parts(view)]
            self._waiting += found
            if found:
                return True
            if sealed and all(name != other for other, _ in self._waiting):
                if self._sent is not None:  # before the log goes, which would make good for it
                    self._sent()
                self._views.pop(name).reader.close()
                journal.forget(name, damaged=view.reader.damaged)
        return False

    def _run(self, ended: threading.Event) -> None:
        """The thread that ships."""
        wait, slowest = self._pace or (SHIP_SECONDS, SHIP_SECONDS)
        while not ended.wait(wait):
            shipped = self.ship_quietly()
            try:
                self._tell_who_lives()
            except PadreError as error:
                logger.info("the store does not hear that a run goes on: %s", error)
                shipped = False
            wait = min(2 * wait, slowest if shipped else max(slowest, MAX_WAIT_SECONDS))

    def _tell_who_lives(self) -> None:
        if self._beat is None:
            return
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
        """Ships at once. A store that cannot be reached gets it later: it is safe on this machine.

        Raises:
            PadreError: The store refuses what was added.
        """
        self._spool.flush(self.run)

    def close(self) -> None:
        """Flushes; the writer must not be used afterwards."""
        self._inner.close()
        self._spool.end(self)
        self._spool.flush(self.run)


def _parts(view: LogView) -> Iterator[Part]:
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
            yield Part(writer.run, writer.writer, group.first, concatenate(group.columns), writer.evicted)


_SPOOLS: weakref.WeakSet[Spool] = weakref.WeakSet()


def _after_fork() -> None:
    for spool in list(_SPOOLS):
        spool._after_fork()


os.register_at_fork(after_in_child=_after_fork)
