"""The logs of a store: the one that this process writes, and those of all others.

All openers of a store share a local folder. It holds the logs, a file `lock` whose lock (flock) is held while a record
is checked and written, and whose first eight bytes count how often the set of logs changed, and a file `fold` whose
lock is held by the one process that folds logs into the tree.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import mmap
import os
import re
import secrets
import struct
import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self

from padre_core.errors import AccessDeniedError, ReadOnlyError
from padre_core.objects import canonical
from padre_core.objects.identity import run_of
from padre_core.objects.record import Record, encode
from padre_core.streams import lines, points
from padre_core.streams.columns import Columns, Line, Points
from padre_core.streams.filesystems import failure
from padre_core.streams.log import POINT_TAG, SLOT, FrameKind, LogReader, LogWriter
from padre_core.streams.view import LogView, Ref

_NAME = re.compile(r"([0-9a-f]{16})-(\d{6,})")
_COUNTER = struct.Struct("<Q")

TOGETHER = 16
"""How many small blobs are written by one call: of 16 KB each, that is as much as Linux takes well at once."""

RECENT = 4096
"""How many records that were read are remembered: those of a sync between the look at them and their writing."""


def is_log(name: str) -> bool:
    """Whether a file of this name is a log."""
    return _NAME.fullmatch(name) is not None


class Recent(dict[Ref, Record | None]):
    """The last few thousand records that were read; None where there was none."""

    def __setitem__(self, ref: Ref, record: Record | None) -> None:
        if len(self) >= RECENT:
            self.clear()
        super().__setitem__(ref, record)


class Journal(AbstractContextManager["Journal"]):
    """All logs of a store, as one process sees and writes them. Safe for threads; a forked child begins its own.

    Attributes:
        lock: Held while this process writes its log or looks at others.
        seen: The generation of which this process knows the set of logs.
        rested: What the tree holds of objects, as it was read since the set of logs last changed: until it changes
            again, whatever is newer is in some log.
        unfolded: Objects whose newest record is in some log for sure: this process put it there, and no log was
            removed since.
    """

    def __init__(self, folder: Path, *, readonly: bool) -> None:
        self.folder = folder
        self.readonly = readonly
        self._start()
        _JOURNALS.add(self)

    def _start(self) -> None:
        self.lock = threading.RLock()
        self.unfolded: set[Ref] = set()
        self.rested = Recent()
        self.log: LogWriter | None = None
        self.sealed: list[LogWriter] = []
        self.views: dict[str, LogView] = {}
        self.writers: dict[str, JournalWriter] = {}
        self._id = secrets.token_hex(8)
        self._number = 0
        self._depth = 0
        self._fresh = False
        self.seen = -1
        self._fd = -1
        self._counter: mmap.mmap | None = None

    def exclusive(self) -> AbstractContextManager[object]:
        """While held, no other thread or process writes a record to the store."""
        return self

    def __enter__(self) -> Self:
        self.lock.acquire()
        try:
            if self._depth == 0:
                fcntl.flock(self._lock_file(), fcntl.LOCK_EX)
            self._depth += 1
        except BaseException:
            self.lock.release()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._depth -= 1
            if self._depth == 0:
                self._fresh = False
                fcntl.flock(self._lock_file(), fcntl.LOCK_UN)
        finally:
            self.lock.release()

    @contextlib.contextmanager
    def folding(self, *, wait: bool) -> Iterator[bool]:
        """While held and true, no other process folds logs of the store; false if one does and `wait` is not set."""
        fd = self._open("fold")
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(fd)

    def _lock_file(self) -> int:
        """The opened file `lock`, long enough for the counter."""
        if self._fd < 0:
            fd = self._open("lock")
            try:
                if os.fstat(fd).st_size < _COUNTER.size:
                    os.ftruncate(fd, _COUNTER.size)
                self._counter = mmap.mmap(fd, _COUNTER.size)
            except OSError as error:
                os.close(fd)
                raise failure(f"{self.folder / 'lock'} cannot be used", error) from error
            self._fd = fd
        return self._fd

    def _open(self, name: str) -> int:
        try:
            return os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            raise failure(f"{self.folder / name} cannot be opened", error) from error

    def generation(self) -> int:
        """Counts the changes of the set of logs; -1 where that is not known."""
        if self._counter is None and not self.readonly:
            with contextlib.suppress(AccessDeniedError):  # what may not be written any more may be read
                self._lock_file()
        if self._counter is None:
            try:
                fd = os.open(self.folder / "lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                return -1
            try:
                if os.fstat(fd).st_size < _COUNTER.size:
                    return -1
                self._counter = mmap.mmap(fd, _COUNTER.size, prot=mmap.PROT_READ)
            finally:
                os.close(fd)
        count: int = _COUNTER.unpack_from(self._counter)[0]
        return count

    def changed(self) -> None:
        """Counts a change of the set of logs; the store's lock is held."""
        if self._counter is not None:
            self._counter[:8] = _COUNTER.pack(self.generation() + 1)

    def refresh(self) -> None:
        """Takes up what was acknowledged by anybody. The lock is held."""
        if self._fresh:
            return
        generation = self.generation()
        if generation < 0 or generation != self.seen:
            self._forget()
            self._list()
            self.seen = generation
        for view in self.views.values():
            if not view.own:
                view.poll()
        self._fresh = self._depth > 0  # nobody else writes records, or removes a log, until the store's lock is free

    def _forget(self) -> None:
        """Drops what may no longer be so when others have changed the set of logs: one may have been folded."""
        self.unfolded.clear()
        self.rested.clear()

    def _list(self) -> None:
        present = set(self.names())
        for name in self.views.keys() - present:
            self.views.pop(name).reader.close()
        for name in present - self.views.keys():
            try:
                view = LogView(self.folder / name, own=name.startswith(self._id))
                if view.reader.valid:
                    self.views[name] = view
                else:
                    view.reader.close()  # still being made: it is counted when it can be read
            except FileNotFoundError:
                continue  # folded since the listing: the tree has it
            except OSError as error:
                raise failure(f"the log {name} cannot be read", error) from error

    def names(self) -> list[str]:
        """The names of all logs, by writer and number; what is no regular file is none."""
        try:
            with os.scandir(self.folder) as entries:
                files = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
        except FileNotFoundError:
            return []
        return sorted(filter(is_log, files))

    def head(self, ref: Ref) -> Record | None:
        """The newest record of an object in the logs, as of the last refresh. The lock is held."""
        found: Record | None = None
        for view in self.views.values():
            record = view.records.get(ref)
            if record is not None and (found is None or record.version > found.version):
                found = record
        return found

    def in_run(self, kind: str, run: str) -> dict[str, Record]:
        """The newest records in the logs of the objects of a kind in a run, by id. The lock is held."""
        refs = {ref for view in self.views.values() for ref in view.records if ref[0] == kind and run_of(ref[1]) == run}
        heads = ((ref[1], self.head(ref)) for ref in refs)
        return {id: head for id, head in heads if head is not None}

    def parts(self, run: str, evicted: int) -> list[tuple[str, int, Columns]]:
        """Writer, first sequence number and columns of a run's parts in the logs since an eviction, as last scanned."""
        return [
            (writer.writer, first, columns)
            for view in self.views.values()
            for writer in view.of_run.get(run, ())
            if writer.evicted == evicted
            for first, columns in writer.parts
        ]

    def live_runs(self) -> set[str]:
        """The runs that living processes have writers of. The lock is held."""
        return {run for run, _ in self.open_writers(living=True)}

    def open_writers(self, *, living: bool) -> set[tuple[str, str]]:
        """Run and id of each writer that living processes have, or that dead ones left open. The lock is held."""
        # Only a process's newest log knows which of its writers are still open.
        newest = {name.partition("-")[0]: view for name, view in sorted(self.views.items())}
        views = [view for view in newest.values() if view.reader.is_live() == living]
        for view in views:
            view.scan()
        return {(writer.run, writer.writer) for view in views for writer in view.writers.values() if writer.open}

    def damaged(self) -> list[str]:
        """The names of logs that were damaged in the middle, and are kept for people to look at."""
        if not self.folder.exists():
            return []
        return sorted(name for name in os.listdir(self.folder) if name.endswith(".damaged"))

    @contextlib.contextmanager
    def take_over(self, name: str) -> Iterator[bool]:
        """Whether a log's process is dead; it is then locked within the block."""
        try:
            reader = LogReader(self.folder / name)
        except FileNotFoundError:
            yield False
            return
        try:
            with self.exclusive():  # against one that makes a log and has not locked it yet
                dead = reader.take_over()
            yield dead
        finally:
            reader.close()

    def add_columns(self, run: str, evicted: int, writer: str, first: int, columns: Columns) -> None:
        """Acknowledges a part of a stream that some other store's writer wrote. The store's lock is held."""
        JournalWriter(self, run, evicted).transfer(writer, first, columns)

    def put(self, record: Record) -> None:
        """Acknowledges a record. The store's lock is held."""
        payload = encode(record)
        log = self.room(len(payload))
        slot = log.append(FrameKind.RECORD, 0, payload)
        # The tip moved past what this process knows already; poll() would decode it again.
        view = self.views[log.name]
        view.add(record)
        self.unfolded.add((record.kind, record.id))
        view.reader.skip_records(log.tip)
        view.reader.skip_frame(slot, log.next)

    def put_blobs(self, blobs: Iterable[tuple[str, bytes]]) -> None:
        """Acknowledges small blobs, each with its digest."""
        rest = iter(blobs)
        while group := list(itertools.islice(rest, TOGETHER)):
            payloads = [bytes.fromhex(digest) + data for digest, data in group]
            with self.lock:
                log = self.room(sum(len(payload) + 2 * SLOT for payload in payloads))
                slots = log.append_blobs(payloads)
                view = self.views[log.name]
                for (digest, _), slot, following in zip(group, slots, [*slots[1:], log.next], strict=True):
                    view.blobs[digest] = slot
                    view.reader.skip_frame(slot, following)

    def blob(self, digest: str) -> bytes | None:
        """A blob of this process's logs, or of others as of the last scan."""
        with self.lock:
            found = (view.blob(digest) for view in self.views.values())
            return next((data for data in found if data is not None), None)

    def scan(self) -> None:
        """Takes up all that is in the logs. The lock is held."""
        self.refresh()
        for view in self.views.values():
            view.scan()

    def room(self, size: int) -> LogWriter:
        """The log that this process writes, with room for a payload of some size. The lock is held."""
        log = self.log
        if log is not None and log.room(size):
            return log
        return self._roll(size)

    def _roll(self, size: int) -> LogWriter:
        """Begins a new log in which a payload of some size has room, and declares this process's writers in it."""
        if self.readonly:
            raise ReadOnlyError("the store was opened read-only")
        with self.exclusive():
            self._number += 1
            need = size + 256 * len(self.writers)
            log = LogWriter(self.folder / f"{self._id}-{self._number:06}", need=need)
            if self.log is not None:  # only now: on a full disk small things still go there
                self.sealed.append(self.log)
            self.log = log
            if self.generation() != self.seen:
                self._forget()
            self.changed()
            self._list()
            self.seen = self.generation()
            for writer in self.writers.values():
                writer.declare(self.log)
            return self.log

    def seal(self) -> None:
        """Makes the present log one that can be folded; the next write begins another."""
        with self.lock:
            if self.writers:
                self._roll(0)  # readers tell by a log that the writers live
            elif self.log is not None:
                self.sealed.append(self.log)
                self.log = None

    def sync(self) -> None:
        """Returns when all that this process acknowledged survives the loss of power."""
        with self.lock:
            logs = [*self.sealed, *([self.log] if self.log else [])]
        for log in logs:
            log.sync()

    def view(self, name: str) -> LogView:
        """A log as it is to be folded; what this process knows of one that it wrote need not be read back."""
        view = LogView(self.folder / name)
        with self.lock:
            own = next((log for log in self.sealed if log.name == name), None)
            if own is not None and name in self.views:
                view.go_on_from(self.views[name])
                view.reader.end_at(own.next)
        return view

    def forget(self, name: str, *, damaged: bool) -> None:
        """Removes a log that was folded, this process's or a dead one's; one that is damaged is kept aside."""
        with self.exclusive():
            view = self.views.pop(name, None)
            if view is not None:
                view.reader.close()
            for log in [log for log in self.sealed if log.name == name]:
                self.sealed.remove(log)
                log.close()
            if damaged:
                (self.folder / name).rename(self.folder / f"{name}.damaged")
            else:
                (self.folder / name).unlink(missing_ok=True)
            self.changed()

    def open_writer(self, run: str, evicted: int = 0) -> JournalWriter:
        """A writer of a run's streams since an eviction."""
        with self.lock:
            writer = JournalWriter(self, run, evicted)
            self.writers[writer.id] = writer
            if self.log is not None and self.log.room(256):
                writer.declare(self.log)
            else:
                self._roll(256)
            return writer

    def close(self) -> None:
        """Lets go of all files; logs that are not folded stay."""
        with self.lock:
            for log in [*self.sealed, *([self.log] if self.log else [])]:
                log.close()
            for view in self.views.values():
                view.reader.close()
            if self._fd >= 0:
                os.close(self._fd)
            self.sealed, self.log, self.views, self._fd, self._counter = [], None, {}, -1, None

    def _after_fork(self) -> None:
        # The parent goes on with its log; the locks on it are shared with the child as long as it holds the files.
        for log in [*self.sealed, *([self.log] if self.log else [])]:
            log.close()
        for view in self.views.values():
            view.reader.close()
        if self._fd >= 0:
            os.close(self._fd)
        writers = list(self.writers.values())
        self._start()
        for writer in writers:
            writer.begin()


class JournalWriter:
    """A writer of a run's points and lines into the log of this process; see `StreamWriter` for the contract."""

    def __init__(self, journal: Journal, run: str, evicted: int) -> None:
        self.run, self._evicted = run, evicted
        self._journal = journal
        self.begin()

    def begin(self) -> None:
        """Takes a new identity."""
        self.id = secrets.token_hex(8)
        self.closed = False
        self._log: LogWriter | None = None
        self._key = 0
        self._tags: dict[str, int] = {}
        self._points = 0
        self._lines = 0

    def point(self, metric: str, step: int, value: float, time: int) -> None:
        """Adds one point; the metric's name has been checked, the time is in microseconds."""
        with self._journal.lock:
            log, tag = self._log, self._tags.get(metric)
            if tag is None or log is None or log is not self._journal.log or log.next >= log.end:
                log, tag = self._prepare(metric)
            log.point(tag, step, time, value)
            self._points += 1

    def points(self, columns: Points) -> None:
        """Adds columns of points."""
        with self._journal.lock:
            end = self._points + len(columns)
            for block in points.encode(self._points, columns):
                # A log that begins here must know how many points the blocks before this one held.
                view = self._append(self._ready(len(block)), FrameKind.BLOCK, block)
                if view is not None:
                    view.add_points(self._key, points.opened(block)[1])
                self._points = min(self._points + points.MAX_POINTS, end)

    def line(self, line: Line) -> None:
        """Adds one line."""
        with self._journal.lock:
            payload = lines.encode_line(self._lines, line)[:-1]
            self._ready(len(payload)).append(FrameKind.LINE, self._key, payload)
            self._lines += 1

    def transfer(self, writer: str, first: int, columns: Columns) -> None:
        """Adds a part under the identity of another writer."""
        self.id, self._points, self._lines = writer, first, first
        if isinstance(columns, Points):
            self.points(columns)
        else:
            for line in columns.lines:
                self.line(line)
        self.close()

    def flush(self) -> None:
        """Does nothing: every call is acknowledged when it returns."""

    def close(self) -> None:
        """Says that this writer adds nothing more."""
        with self._journal.lock:
            if not self.closed:
                view = self._append(self._ready(0), FrameKind.CLOSED, b"")
                if view is not None:
                    view.writers[self._key].open = False
                self.closed = True
                self._journal.writers.pop(self.id, None)

    def declare(self, log: LogWriter) -> None:
        """Introduces this writer to a log that has room for it."""
        self._log = log
        self._tags = {}
        self._key = log.next
        known = self.run, self.id, self._points, self._lines, self._evicted
        view = self._append(log, FrameKind.WRITER, canonical.to_json(known))
        if view is not None:
            view.introduce(self._key, *known)

    def _append(self, log: LogWriter, kind: FrameKind, payload: bytes | memoryview) -> LogView | None:
        """Adds a frame, and returns the view of the log if it would read this one next: who tells it spares it that."""
        slot = log.append(kind, self._key, payload)
        view = self._journal.views[log.name]
        return view if view.reader.skip_frame(slot, log.next) else None

    def _ready(self, size: int) -> LogWriter:
        log = self._journal.log
        if log is None or log is not self._log or not log.room(size):
            if self.id not in self._journal.writers:
                self._journal.writers[self.id] = self
            log = self._journal.room(size + 512)
            if log is not self._log:
                self.declare(log)
        return log

    def _prepare(self, metric: str) -> tuple[LogWriter, int]:
        """A log with room for a point, and the metric's tag in it."""
        log = self._ready(0)
        if metric not in self._tags:
            # A name has 255 bytes at most, but escapes may make it longer; so the point has room behind it.
            log = self._ready(1024)
            key = log.append(FrameKind.METRIC, log.next, canonical.to_json([self._key, metric]))
            self._tags[metric] = key | POINT_TAG
        return log, self._tags[metric]


_JOURNALS: weakref.WeakSet[Journal] = weakref.WeakSet()


def _after_fork() -> None:
    for journal in list(_JOURNALS):
        journal._after_fork()


os.register_at_fork(after_in_child=_after_fork)
