"""Keeping the index of a store with logs up to date: from the logs, from change notes, from snapshots."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from padre_core.backends.bytestore import ByteStore
from padre_core.backends.feed import take_feed
from padre_core.backends.listing import Listing, notes_key
from padre_core.backends.taking import take_listings
from padre_core.objects.record import Record, with_further
from padre_core.objects.summary import WriterSummary
from padre_core.streams.journal import Journal

if TYPE_CHECKING:
    from padre_core.backends.index import Index

COMPARE_AT_OPEN = 500
"""Up to how many records all files are looked over for changes by hand when a store is first queried.

A larger store costs `padre refresh`: a first answer must not wait for thousands of files.
"""

_BEGUN = 0
"""How far the index took up a source: some of a log, which leaves notes later."""


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
        self._compared = self._feeds = store.capabilities.change_feed  # which tells what a comparison would find
        self._state: object = None
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
            fresh = {notes_key(name) for name in journal.views} - self._begun if not self._feeds else set()
        compare = False
        state = self._store.state()
        elsewhere = generation != self._generation or generation < 0 or state != self._state
        if changed or news or elsewhere:
            self._filling = None  # until all of it is in the index
            with index.transaction():
                if elsewhere:
                    self._generation, self._state = generation, state
                    compare = self._take_tree(index)
                index.put(self._summarised(news, changed))
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

    def bring_rested(self, index: Index, notes: Mapping[str, Listing]) -> bool:
        """Brings what came to rest in the tree, but not what is in the logs and comes there soon; else like `bring`.

        Args:
            notes: Those that this process wrote itself, by their keys.
        """
        if index.id != self._filling:
            self._start_over()
        with self._journal.lock:
            self._journal.refresh()
            generation = self._journal.generation()
        state = self._store.state()
        self._filling = None  # until all of it is in the index
        with index.transaction():
            self._generation, self._state = generation, state
            compare = self._take_tree(index, notes)
        self._filling = index.id
        return compare

    def follows(self, index: Index) -> bool:
        """Whether an index takes up only what is new, and not a whole history such as that of a fresh clone."""
        return not self._feeds or bool(index.sources())

    def _start_over(self) -> None:
        """Forgets what was brought: the index was emptied, or did not take all of it."""
        self._taken.clear()
        self._begun.clear()
        self._generation = -2
        self._compared = self._feeds
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

    def _summarised(self, news: Sequence[Record], changed: set[str]) -> Iterator[Record]:
        """The records with what the points of their runs come to, and these runs taken out of those that changed."""
        for record in news:
            if record.kind == "run" and record.id in changed:
                evicted, summaries = self._summaries(record.id)
                if record.evicted == evicted:
                    changed.discard(record.id)
                    yield with_further(record, summaries)
                    continue
            yield record

    def _untaken(self) -> list[Record]:
        """The records in the logs that the index has not got from this process."""
        news = []
        for view in self._journal.views.values():
            start = self._taken.get(view.name, 0)
            news += [view.records[ref] for ref in view.order[start:]]
            self._taken[view.name] = len(view.order)
        return news

    def _take_tree(self, index: Index, notes: Mapping[str, Listing] = MappingProxyType({})) -> bool:
        """Takes up what is new in the tree; true if not all is known by listings or the feed."""
        before = index.id
        if self._feeds:
            lacking = take_feed(self._store, index)
        else:
            with self._journal.lock:
                awaited = {notes_key(name) for name in self._journal.views}
            lacking = not take_listings(self._store, index, awaited=awaited, at_hand=notes)
        if index.id == before:
            return lacking
        self._taken.clear()  # the index was emptied, for the store was replaced by an older copy
        self._begun.clear()
        with self._journal.lock:
            index.put(self._untaken())
        return lacking or not self._feeds
