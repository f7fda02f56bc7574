"""The index of a store whose openers share no folder: kept by the notes that each of them leaves in it."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from padre_core.backends import layout
from padre_core.backends.beats import Beats, Look, Signs, Writer, fresh, left_over, living, signs_of_beats
from padre_core.backends.bytestore import ByteStore, Progress
from padre_core.backends.listing import CATALOG, Entry, leftover_snapshots, merge_notes
from padre_core.backends.notes import Notes
from padre_core.backends.store import ByteStoreBackend, index_path
from padre_core.backends.taking import take_listings
from padre_core.objects.record import Record
from padre_core.streams.spool import folder_for

if TYPE_CHECKING:
    from padre_core.backends.index import Index

LOOK_SECONDS = 60.0
"""How long this machine believes its index where that only spares requests."""

LOOK_NOTED = 5.0
"""How often at most it is noted that a look brought nothing new."""


class NotedBackend(ByteStoreBackend):
    """What its index knows, who lives by it, and what keeps listings few."""

    def __init__(self, store: ByteStore, *, readonly: bool = False, single_writer: bool = False) -> None:
        super().__init__(store, readonly=readonly, single_writer=single_writer)
        self._notes = Notes(store, folder_for(store.url, self.id))
        self._beats = Beats(store)
        self._look = Look()
        self._doubted = 0.0

    @abstractmethod
    def _writers_here(self) -> tuple[set[str], set[Writer]]:
        """The runs that living processes of this machine write, and the writers of it that died."""

    def _caught_up(self) -> Index:
        with self._lock:
            index = self._open_index()
            cold = not index.sources()
            signs: Signs = {}
            whole = take_listings(self.store, index, at_hand=self._notes.own, signs=signs)
            # A store of few notes may hold more that was put there without any; one with a catalog was looked over.
            if not whole or (cold and not any(key.endswith(CATALOG) for key in index.sources())):
                self._compare(index)
            before = self._last_look(index)
            signs = fresh(before.signs) | signs
            self._look = Look(time.time(), signs)
            if not before.within(LOOK_NOTED) or signs.keys() - before.signs.keys():
                index.set_look(self._look.encode())
            return index

    def _last_look(self, index: Index) -> Look:
        """What this process or another of this machine found when it last looked."""
        noted = Look.decode(index.look())
        if noted.at > self._look.at:
            self._look = noted
        return self._look

    def _warm_index(self) -> Index | None:
        """The index, if it knows anything: to fill it costs more than most questions. The lock is held."""
        if self._index is None and not index_path(self.store.url, self.id).exists():
            return None
        index = self._open_index()
        return index if index.sources() else None

    def _from_index(self, kind: str, id: str) -> tuple[Record | None, str | None] | None:
        """What this machine saw of an object within the last minute, and of which state of its file that was."""
        with self._lock:
            index = self._warm_index()
            if index is None:
                return None
            if not self._last_look(index).within(LOOK_SECONDS):
                index = self._caught_up()
            return index.get(kind, id), index.stamp(kind, id)

    def _tell_index(self, news: Sequence[Record], version: str) -> None:
        """Lets other processes of this machine know at once, and not by the note that others read."""
        with self._lock:
            index = self._warm_index()
            if index is not None:
                index.put(news, stamps={(record.kind, record.id): version for record in news})

    def live_runs(self, among: AbstractSet[str] | None = None) -> set[str] | None:
        if not self.store.dated:
            return None
        here, dead = self._writers_here()
        with self._lock:
            index = self._warm_index()
            if index is None:
                return here | living(signs_of_beats(self.store.list(layout.LOG)), dead)
            look = self._last_look(index)
            unheard = among is None or not look.within(LOOK_SECONDS) or among - here - living(look.signs, dead)
            if unheard and (among is None or look.at <= self._doubted):
                self._caught_up()
            return here | living(self._look.signs, dead)

    def _doubt(self) -> None:
        """Says that a run was read that goes on, by whatever is newer than the last look."""
        self._doubted = time.time()

    def _apply(self, index: Index, keys: Sequence[str], *, accept_edits: bool = False) -> list[Entry]:
        found = super()._apply(index, keys, accept_edits=accept_edits)
        if not self.readonly:
            self._notes.add(found)  # others need not look for it
        return found

    def refresh(self, *, accept_edits: bool = False) -> int:
        with self._lock:
            changed = self._compare(self._caught_up(), accept_edits=accept_edits)
        self._notes.flush()
        return changed

    def sync(self) -> None:
        self._notes.flush()
        super().sync()

    def maintain(self, progress: Progress | None = None) -> dict[str, int]:
        self._writable()
        self.sync()
        # What is left over at both times is of no merge under way; if it were, that one's records would be found again.
        leftover = leftover_snapshots(self.store)
        done = {"objects found": self.refresh(), "listings merged": merge_notes(self.store, few=1)}
        leftover &= leftover_snapshots(self.store)
        self.store.delete_many(leftover | left_over(self.store.list(layout.LOG)))
        done["leftover snapshots removed"] = len(leftover)
        return {name: count for name, count in done.items() if count} | super().maintain(progress)

    def _after_fork(self) -> None:
        super()._after_fork()
        self._notes.after_fork()
        self._beats.after_fork()
        self._look, self._doubted = Look(), 0.0
