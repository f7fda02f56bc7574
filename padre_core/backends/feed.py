"""Taking up into an index what the change feed of a store tells."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from padre_core.backends import layout
from padre_core.backends.bytestore import ByteStore
from padre_core.errors import CorruptObjectError
from padre_core.objects.record import Record
from padre_core.progress import Tell, telling

if TYPE_CHECKING:
    from padre_core.backends.index import Index

logger = logging.getLogger(__name__)

_FEED = "feed:"
"""Before the cursor of the feed, in the name of the source that stands for it."""

_TAKEN = 1
_OFTEN = 500


def take_feed(store: ByteStore, index: Index) -> bool:
    """Brings what is new in a store into its index; returns whether something vanished, which a comparison must undo.

    All is taken anew, into an empty index, where the feed does not go on from what the index knows: then the store was
    replaced by another state.
    """
    known = next((name for name in index.sources() if name.startswith(_FEED)), None)
    found = None if known is None else store.changes(known.removeprefix(_FEED))
    if found is None:
        index.clear()
        known, found = None, store.changes(None)
    keys, cursor = found or ((), "")
    keys = tuple(filter(layout.is_record_key, keys))
    missing: list[str] = []
    stamps: dict[tuple[str, str], str] = {}
    with index.transaction(), telling() as tell:
        records = _records(store, keys, stamps, missing, tell)
        index.put(records, stamps=stamps)  # which takes them in chunks
        if known != _FEED + cursor:
            if known is not None:
                index.drop_source(known)
            index.set_source(_FEED + cursor, _TAKEN)
    return bool(missing)


def _records(
    store: ByteStore, keys: Sequence[str], stamps: dict[tuple[str, str], str], missing: list[str], tell: Tell
) -> Iterator[Record]:
    """The records in some files; notes for each which state of its file it was read from, and which files are gone."""
    for place, (key, item) in enumerate(zip(keys, store.read_many(keys), strict=True)):
        if place % _OFTEN == _OFTEN - 1:
            tell("filling the index", place + 1, len(keys))
        if item is None:
            missing.append(key)
            continue
        try:
            records = layout.decode_records(key, item.data)
        except CorruptObjectError as error:
            logger.warning("%s", error)
            continue
        for record in records:
            stamps[record.kind, record.id] = item.version
            yield record
