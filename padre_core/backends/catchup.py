"""Keeping the index of a store with logs up to date: from the logs, from change notes, from snapshots."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from padre_core.backends.bytestore import ByteStore
from padre_core.backends.listing import decode_listing, listing_keys, notes_key
from padre_core.errors import CorruptObjectError, NotFoundError
from padre_core.objects.record import Record
from padre_core.objects.summary import WriterSummary
from padre_core.streams.journal import Journal

if TYPE_CHECKING:
    from padre_core.backends.index import Index

logger = logging.getLogger(__name__)

COMPARE_AT_OPEN = 500
"""Up to how many records all files are looked over for changes by hand when a store is first queried.

A larger store costs `padre refresh`: a first answer must not wait for thousands of files.
"""

_BEGUN, _TAKEN = 0, 1
"""How far the index took up a source: some of a log, or all of the notes that it left."""


class CatchUp:
    """What this process has brought into the index so far. The caller holds a lock.

    Args:
        summaries: When a run was last evicted, and what its points since come to at present.
    """

    def __init__(
        self,
        store: ByteStore,
        journal: Journal,
        summaries: Callable[[str], tuple[int, tuple[WriterSummary, ...]]],
    ) -> None:
        self._store, self._journal, self._summaries = store, journal, summaries
        self._taken: dict[str, int] = {}
        self._begun: set[str] = set()
        self._generation = -2
        self._compared = False
        self._filling: str | None = None

    def bring(self, index: Index) -> bool:
        """Brings all that is new into the index; true if the tree should be compared with it too."""
        if index.id != self._filling:
            self._start_over()
        journal = self._journal
        with journal.lock:
            journal.refresh()
            generation = journal.generation()
            changed = self._changed_runs()
            news = self._untaken()
            fresh = {notes_key(name) for name in journal.views} - self._begun
        compare = False
        if changed or news or generation != self._generation or generation < 0:
            self._filling = None  # until all of it is in the index
            with index.transaction():
                if generation != self._generation or generation < 0:
                    self._generation = generation
                    compare = self._take_listings(index)
                index.put(news)
                for key in fresh - index.sources().keys():
                    index.set_source(key, _BEGUN)
                self._begun |= fresh
                for run in changed:
                    evicted, summaries = self._summaries(run)
                    index.put_summaries(run, summaries, evicted)
        self._filling = self._filling or index.id
        if not self._compared:
            self._compared = True
            compare = compare or index.size() <= COMPARE_AT_OPEN
        return compare

    def _start_over(self) -> None:
        """Forgets what was brought: the index was emptied, or did not take all of it."""
        self._taken.clear()
        self._begun.clear()
        self._generation = -2
        self._compared = False
        with self._journal.lock:
            for view in self._journal.views.values():
                view.changed |= {writer.run for writer in view.writers.values()}

    def _changed_runs(self) -> set[str]:
        """The runs whose streams grew in the logs since the last call."""
        changed: set[str] = set()
        for view in self._journal.views.values():
            view.scan()
            changed |= view.changed
            view.changed.clear()
        return changed

    def _untaken(self) -> list[Record]:
        """The records in the logs that the index has not got from this process."""
        news = []
        for view in self._journal.views.values():
            start = self._taken.get(view.name, 0)
            news += [view.records[ref] for ref in view.order[start:]]
            self._taken[view.name] = len(view.order)
        return news

    def _take_listings(self, index: Index) -> bool:
        """Takes up listings that are new; true if not all is known by them.

        All are taken anew if some have vanished that no other replaces: then the store was replaced by an older one.
        """
        keys = set(listing_keys(self._store))
        whole = self._take(index, keys - {key for key, state in index.sources().items() if state == _TAKEN})
        with self._journal.lock:
            logs = {notes_key(name) for name in self._journal.views}
        if not index.sources().keys() - keys - logs:
            return not whole
        index.clear()
        self._taken.clear()
        self._begun.clear()
        self._take(index, keys)
        with self._journal.lock:
            index.put(self._untaken())
        return True

    def _take(self, index: Index, keys: Iterable[str]) -> bool:
        whole = True
        for key in sorted(keys, reverse=True):  # snapshots first
            try:
                listing = decode_listing(key, self._store.read(key).data)
            except NotFoundError:
                self._generation = -2  # merged into a snapshot since it was listed: look again
                continue
            except CorruptObjectError as error:
                logger.warning("%s", error)
                whole = False
                continue
            stamps = {(record.kind, record.id): version for version, record in listing.entries}
            index.put((record for _, record in listing.entries), stamps=stamps)
            for name in listing.merges:
                index.drop_source(name)
            index.set_source(key, _TAKEN)
        return whole
