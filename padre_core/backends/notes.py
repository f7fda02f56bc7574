"""The change notes that one opening of a store leaves, where no log tells others what was written.

An object is written first, and its note after it: a note never speaks of what was not stored. Who dies between the two
leaves an object that `get` finds and no index. So the object's key stands in a file on this machine before it is
written; the next opening here reads what lies under such keys and leaves the notes. If the machine is lost too,
`padre refresh` or `padre maintain` anywhere finds the object by comparing all keys.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from padre_core.backends import layout
from padre_core.backends.bytestore import ByteStore
from padre_core.backends.listing import Entry, Listing, merge_notes, newest, notes_key, write_notes
from padre_core.errors import ConflictError, CorruptObjectError, PadreError

logger = logging.getLogger(__name__)

OWN_NOTES = 8
"""So many notes of one opening become one when it writes the next."""

LOOK = 4
"""One note in so many is followed by a look at how many there are by all; chance decides which is the first.

For many openings may each leave few, and should not look all at once. A run leaves two or three notes, and costs one
look at most."""

PATIENCE = 4
"""How many times as many notes may be left before others are merged or looked at by who has no request to spare."""

NOTE_RECORDS = 1000
"""How many records one note holds at most."""

UNNOTED = ".unnoted"

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class Notes:
    """What this opening stored and must tell the indexes of others. Safe for threads; survives a fork.

    Args:
        folder: Where on this machine the keys stand that are being written.

    Attributes:
        own: The notes of this opening that nobody merged yet, by key.
    """

    def __init__(self, store: ByteStore, folder: Path) -> None:
        self._store, self._folder = store, folder
        self._fd = -1
        self._start()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._id = secrets.token_hex(8)
        self._number = 0
        self._look = 1 + secrets.randbelow(LOOK)
        self._writing: Counter[str] = Counter()
        self._pending: list[Entry] = []
        self._doubtful: set[str] = set()
        self.own: dict[str, Listing] = {}

    @contextlib.contextmanager
    def writing(self, key: str) -> Iterator[None]:
        """Around the write of a file of records. Whether one that failed was stored is looked up with the next note."""
        with self._lock:
            self._writing[key] += 1
            self._remember(key)
        try:
            yield
        except ConflictError:
            raise
        except BaseException:
            with self._lock:
                self._doubtful.add(key)
            raise
        finally:
            with self._lock:
                self._writing[key] -= 1
                self._writing += Counter()  # drops what is zero

    def add(self, entries: Iterable[Entry]) -> None:
        """Tells of records that are stored; `flush` brings it to the store."""
        with self._lock:
            self._pending += entries

    def flush(self, *, spare: bool = True) -> None:
        """Leaves a note of all that was added. If it cannot be written, the next one has it: what it says is stored.

        Args:
            spare: Whether one request more may be made that keeps the notes few; else a later note makes up for it.
        """
        waits = 1 if spare else PATIENCE
        merged = False
        with self._flushing:
            with self._lock:
                pending, self._pending = self._pending, []
                doubtful, self._doubtful = self._doubtful, set()
            try:
                entries = [*pending, *self._read(doubtful)]
                while entries:
                    merged |= self._write(newest(entries[:NOTE_RECORDS]), own=OWN_NOTES * waits)
                    del entries[:NOTE_RECORDS]
            except BaseException as error:
                with self._lock:
                    self._pending = [*pending, *self._pending]
                    self._doubtful |= doubtful
                if not isinstance(error, PadreError):
                    raise
                logger.warning("%s: others' searches will see later what was stored: %s", self._store.url, error)
                return
            with self._lock:
                if not (self._pending or self._doubtful or self._writing) and self._fd >= 0:
                    os.ftruncate(self._fd, 0)
            looks = pending and not merged and self._number >= self._look + LOOK * (waits - 1)
            if looks:
                self._look = self._number + LOOK
        if looks:
            self.merge()

    def merge(self) -> None:
        """Makes snapshots of the notes of all once there are many."""
        try:
            merge_notes(self._store)
        except PadreError as error:
            logger.info("%s: the notes are merged another time: %s", self._store.url, error)

    def recover(self) -> None:
        """Leaves the notes that processes of this machine owe which died."""
        for path in sorted(self._folder.glob(f"*{UNNOTED}")) if self._folder.is_dir() else ():
            try:
                fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                with open(fd, "rb", closefd=False) as file:
                    lines = file.read().split(b"\n")[:-1]
                with self._lock:
                    self._doubtful |= {key for key in map(bytes.decode, lines) if layout.is_record_key(key)}
                self.flush()
                if not self._doubtful:
                    path.unlink(missing_ok=True)
            except BlockingIOError:
                continue  # its process lives
            except (OSError, UnicodeDecodeError) as error:
                logger.warning("%s cannot be read, so `padre refresh` is needed: %s", path, error)
            finally:
                os.close(fd)

    def close(self) -> None:
        """Leaves the last note; if it cannot be written, the next opening on this machine does it."""
        self.flush()
        if self._number:
            self.merge()
        with self._lock:
            if self._fd >= 0:
                if not (self._pending or self._doubtful):
                    self._path.unlink(missing_ok=True)
                os.close(self._fd)
                self._fd = -1

    def after_fork(self) -> None:
        """Begins anew in a child; what is pending the parent writes."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._start()

    @property
    def _path(self) -> Path:
        return self._folder / f"{self._id}{UNNOTED}"

    def _remember(self, key: str) -> None:
        """Notes on this machine that a key is being written."""
        try:
            while self._fd < 0:
                self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                fd = os.open(self._path, _FLAGS, 0o600)
                fcntl.flock(fd, fcntl.LOCK_EX)
                if os.fstat(fd).st_nlink:
                    self._fd = fd
                else:  # somebody who cleared up was faster than the lock
                    os.close(fd)
            os.write(self._fd, f"{key}\n".encode())
        except OSError as error:
            logger.warning("%s cannot be written: if this process dies now, `padre refresh` is needed: %s",
                           self._folder, error)  # fmt: skip

    def _read(self, keys: Iterable[str]) -> Iterator[Entry]:
        """The records under some keys, whoever wrote them."""
        wanted = sorted(keys)
        for key, item in zip(wanted, self._store.read_many(wanted), strict=True):
            if item is not None:
                try:
                    yield from ((item.version, record) for record in layout.decode_records(key, item.data))
                except CorruptObjectError as error:
                    logger.warning("%s", error)

    def _write(self, entries: Iterable[Entry], *, own: int) -> bool:
        """Writes a note, which takes the place of those of this opening once there are so many; says whether it did."""
        merges: tuple[str, ...] = ()
        if len(self.own) >= own:
            merges = tuple(self.own)
            entries = newest([*(entry for note in self.own.values() for entry in note.entries), *entries])
        self._number += 1
        name = f"{self._id}-{self._number:06}"
        note = write_notes(self._store, name, entries, merges)
        if merges:
            self.own = {}
            self._store.delete_many(merges)
        if len(note.entries) < NOTE_RECORDS // 2:
            self.own[notes_key(name)] = note
        return bool(merges)
