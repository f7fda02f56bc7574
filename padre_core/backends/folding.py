"""When logs are folded: on demand, behind those who write, and what dead processes left."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping

from padre_core.backends import layout, messages
from padre_core.backends.bytestore import ByteStore
from padre_core.backends.fold import Head, fold_log
from padre_core.backends.listing import Entry, Listing, merge_notes, notes_key, write_notes
from padre_core.backends.store import ATTEMPTS
from padre_core.backends.tree import Tree
from padre_core.errors import ConflictError, PadreError
from padre_core.objects.record import Record
from padre_core.streams.journal import Journal

logger = logging.getLogger(__name__)

FOLD_RUNS = 512
"""How many ended runs a log gathers before it is folded, which takes the interpreter from the work that goes on."""

BACKLOG = 4
"""How many logs may wait to be folded before writers wait too."""

Notes = Mapping[str, Listing]
"""Change notes by their keys."""

INDEX_RECORDS = 64
"""From how many records on they are brought into the index when they are folded."""


class Folding:
    """Brings the logs of a store into its tree. Safe for threads, and beside other processes that fold.

    Args:
        head: The newest record of an object, wherever it is.
        index: Brings what was folded into the index; given the change notes that were left of it.
    """

    def __init__(
        self,
        store: ByteStore,
        tree: Tree,
        journal: Journal,
        *,
        head: Head,
        index: Callable[[Notes], object],
    ) -> None:
        self._store, self._tree, self._journal = store, tree, journal
        self._head, self._index = head, index
        self._names = messages.Names(head)
        self._listed = not store.capabilities.change_feed
        self._closed = False
        self._ended = 0
        self.after_fork()

    def after_fork(self) -> None:
        """Forgets the threads and locks of the parent."""
        self._folding = threading.Lock()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._hurry = threading.Event()
        self._unsettled = False

    def run_ended(self) -> None:
        """Counts a run that ended, and so may be folded."""
        self._ended += 1

    def relieve(self) -> None:
        """Folds behind once there is something to fold."""
        if self._journal.sealed or self._ended >= FOLD_RUNS:
            self._hurry.set()
            self._fold_behind()
        if len(self._journal.sealed) > BACKLOG:
            self.wait()  # who writes faster than the disk takes it must wait, or memory would not suffice

    def settle(self) -> bool:
        """Folds as soon as the store asks for it; true if the tree holds now all that this process acknowledged."""
        if self._store.linger == 0:
            return self._quietly(self.fold_own)
        if self._store.linger is not None:
            self._unsettled = True
            self._fold_behind(self._store.linger)
        return False

    def wait(self) -> None:
        """Returns when nothing is folded behind."""
        thread = self._thread
        if thread is not None and thread.is_alive():
            thread.join()

    def fold_own(self) -> None:
        """Folds all that this process acknowledged.

        Raises:
            BackendError: The tree cannot be written; the logs keep what they hold.
        """
        self._ended = 0
        self._journal.seal()
        self._fold_sealed()

    def recover(self) -> None:
        """Folds what dead processes left, unless somebody else is doing it; readers see it either way."""
        names = self._journal.names()
        if not names:
            return
        with self._folding, self._journal.folding(wait=False) as mine:
            for name in names if mine else ():
                with self._journal.take_over(name) as dead:
                    if dead:
                        self._fold(name, {})

    def recover_quietly(self) -> None:
        """The same for who opens a store, and can work with it as it is."""
        self._quietly(self.recover)

    def merge_listings(self) -> int:
        """Makes snapshots of all change notes; returns how many listings it replaced."""
        if not self._listed:
            return 0
        with self._folding, self._journal.folding(wait=True):
            return self._merge_notes(few=1)

    @contextlib.contextmanager
    def adopting(self) -> Iterator[Mapping[str, list[Record]]]:
        """See `LoggedBackend.adopting`."""
        with self._folding, self._journal.folding(wait=True), self._journal.exclusive():
            self._journal.refresh()
            found: dict[str, list[Record]] = {}
            for ref in {ref for view in self._journal.views.values() for ref in view.records}:
                head = self._journal.head(ref)
                rested = self._tree.head(*ref)
                if head is not None and (rested is None or rested.version < head.version):
                    found.setdefault(layout.record_key(*ref), []).append(head)
            try:
                yield found
            finally:
                self._journal.changed()

    def close(self) -> None:
        """Ends what goes on behind; what is not folded stays for `fold_own` or the next opening."""
        self._closed = True
        self._hurry.set()
        self.wait()  # it closes what it folded, and so would the caller

    def _fold_behind(self, seconds: float = 0) -> None:
        """Folds in a thread of its own, unless one is about to."""
        with self._starting:
            if self._closed or (self._thread is not None and self._thread.is_alive()):
                return
            if not seconds:
                self._ended = 0
                self._quietly(self._journal.seal)  # the caller's own write has succeeded
            self._hurry.clear()
            self._thread = threading.Thread(target=self._fold_later, args=(seconds,), name="padre-fold", daemon=True)
            try:
                self._thread.start()
            except RuntimeError as error:
                # The interpreter is ending, or the system has no thread left: a later fold or the next open does it.
                logger.debug("%s: not folded now: %s", self._store.url, error)

    def _fold_later(self, seconds: float) -> None:
        if not seconds:
            self._quietly(self._fold_sealed)
            while self._ended >= FOLD_RUNS and not self._closed:  # they came meanwhile, and maybe no more will
                self._quietly(self.fold_own)
        while True:
            with self._starting:
                if self._closed or not self._unsettled:
                    self._thread = None
                    return
            self._hurry.wait(self._store.linger)
            self._hurry.clear()
            self._unsettled = False
            if not self._closed:
                self._quietly(self.fold_own)

    def _quietly(self, fold: Callable[[], None]) -> bool:
        try:
            fold()
        except PadreError as error:
            logger.warning("%s: what was acknowledged stays in the log for now: %s", self._store.url, error)
            return False
        return True

    def _fold_sealed(self) -> None:
        with self._folding:
            names = [log.name for log in self._journal.sealed]
            if not names:
                return
            notes: dict[str, Listing] = {}
            with self._journal.folding(wait=True):
                folded = sum([self._fold(name, notes) for name in names])
                if self._listed and self._merge_notes():
                    notes.clear()
        if folded >= INDEX_RECORDS:
            self._index_behind(notes)

    def _merge_notes(self, *, few: int | None = None) -> int:
        merged = merge_notes(self._store, few=few)
        if merged:
            self._journal.changed()
        return merged

    def _index_behind(self, notes: Notes) -> None:
        """Spares the next reader what a batch of records costs the index; a few of them it takes up in no time."""
        try:
            self._index(notes)
        except PadreError as error:
            logger.debug("%s: not indexed now: %s", self._store.url, error)

    def _fold(self, name: str, notes: dict[str, Listing]) -> int:
        """Folds a log, removes it, and returns how many objects it spoke of; its change notes are put to `notes`."""
        entries, damaged = self._folded(name)
        if entries and self._listed:
            notes[notes_key(name)] = write_notes(self._store, name, entries)
        if self._store.durability == "power":
            self._store.sync()
        self._journal.forget(name, damaged=damaged)
        return len(entries)

    def _folded(self, name: str) -> tuple[list[Entry], bool]:
        if not self._store.capabilities.history:
            return fold_log(self._journal.view(name), self._tree, self._head)
        for _ in range(ATTEMPTS):
            view = self._journal.view(name)
            view.poll()
            view.scan()
            try:
                with self._store.batch(*messages.of_log(view, self._names, self._tree.head)):
                    self._drop_listings()
                    return fold_log(view, self._tree, self._head)
            except ConflictError:  # somebody else, such as a push, changed the same in the tree
                continue
        raise ConflictError(f"{self._store.url} is changed too often by others; try again")

    def _drop_listings(self) -> None:
        """Removes logs and listings of a folder that became this store; they would know nothing of what comes."""
        for prefix in (layout.LOG, layout.SNAPSHOTS):
            for entry in self._store.list(prefix):
                self._store.delete(entry.key)
