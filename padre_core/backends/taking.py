"""Taking up what listings say into an index: only what is new to it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from padre_core.backends import layout
from padre_core.backends.beats import Signs, signs_of_beats, signs_of_note
from padre_core.backends.bytestore import ByteStore
from padre_core.backends.listing import CATALOG, NOTES, Listing, current_snapshots, listing_keys, read_listings
from padre_core.errors import UnavailableError

if TYPE_CHECKING:
    from padre_core.backends.index import Index

logger = logging.getLogger(__name__)

TAKEN = 1
"""How far an index took up a listing: all of it."""

_ATTEMPTS = 20
"""How often listings may be merged by others while they are read."""


def take_listings(
    store: ByteStore, index: Index, *, awaited: Collection[str] = (), at_hand: Mapping[str, Listing] | None = None,
    signs: Signs | None = None,
) -> bool:  # fmt: skip
    """Brings what the listings of a store say into its index; returns whether they said all that they once did.

    One listing of `log/`, and one read for each listing that is new. All are read anew if some have vanished and no
    other took their place: then the store was replaced by an older copy.

    Args:
        awaited: Keys of notes that the index knows and that are not there yet.
        at_hand: Notes that this process wrote itself, by their keys.
        signs: Takes up the signs of life that are new.
    """
    seen: set[str] | None = None
    for _ in range(_ATTEMPTS):
        entries = list(store.list(layout.LOG))
        keys = set(listing_keys(entries))
        known = {key for key, state in index.sources().items() if state == TAKEN}
        taking = _Taking(store, index, at_hand or {})
        cold = not known
        taking.take(keys - known)
        if cold and not any(key.endswith(CATALOG) for key in keys):  # snapshots may be older than catalogs
            taking.take(entry.key for entry in store.list(layout.SNAPSHOTS))
        if taking.vanished and keys != seen:
            seen = keys
            continue  # merged since they were listed: look again
        gone = {key for key in index.sources() if key.startswith(layout.LOG)} - keys - set(awaited)
        if not _explained(gone, taking.listings):
            index.clear()
            continue
        with index.transaction():
            for key in gone:
                index.drop_source(key)
        if signs is not None:
            signs |= signs_of_beats(entries)
            for entry in entries:
                if entry.key.endswith(NOTES) and entry.key in taking.listings:
                    signs |= signs_of_note((record for _, record in taking.listings[entry.key].entries), entry.at)
        return taking.whole and not taking.vanished
    raise UnavailableError(f"{store.url}: its listings are merged faster than they can be read; try again")


def _explained(gone: set[str], news: Mapping[str, Listing]) -> bool:
    """Whether listings that vanished were merged into those that came."""
    gone = gone - {key for listing in news.values() for key in listing.merges}
    if not gone:
        return True
    # Notes may have passed through catalogs that came and went meanwhile. Those say which catalogs they follow.
    return not any(key.endswith(CATALOG) for key in gone) and any(listing.catalog for listing in news.values())


class _Taking:
    """One look at the listings of a store."""

    def __init__(self, store: ByteStore, index: Index, at_hand: Mapping[str, Listing]) -> None:
        self._store, self._index, self._at_hand = store, index, at_hand
        self.listings: dict[str, Listing] = {}
        self.vanished = False
        self.whole = True

    def take(self, keys: Iterable[str]) -> None:
        """Takes up listings, and the snapshots that catalogs among them name."""
        wanted = sorted(keys)
        found = {key: self._at_hand[key] for key in wanted if key in self._at_hand}
        for key, listing in read_listings(self._store, [key for key in wanted if key not in found]):
            if isinstance(listing, Listing):
                found[key] = listing
            elif listing is None:
                self.vanished = True
            else:
                logger.warning("%s", listing)
                self.whole = False
        snapshots = current_snapshots(found.values()).keys() - self._index.sources().keys()
        if snapshots:
            self.take(snapshots)
        with self._index.transaction():
            for key, listing in found.items():
                if listing.catalog is not None and self.vanished:
                    continue  # not before all that it names was taken
                stamps = {(record.kind, record.id): version for version, record in listing.entries}
                self._index.put((record for _, record in listing.entries), stamps=stamps)
                for name in listing.merges:
                    self._index.drop_source(name)
                self._index.set_source(key, TAKEN)
        self.listings |= found
