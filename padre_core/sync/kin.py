"""What stands above, below and beside an object, on both sides."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from padre_core.backends.backend import Backend
from padre_core.objects.envelope import Intent
from padre_core.objects.identity import child_id, run_of
from padre_core.objects.kinds import kind_of, kinds
from padre_core.objects.record import Record
from padre_core.objects.references import Ref, ancestor_refs, linked_refs, parent_kind
from padre_core.query.model import Deleted, Query
from padre_core.sync.pair import Both, Pair


class Kin:
    """The objects above others, each looked at once in a pass; safe for threads."""

    def __init__(self, pair: Pair, *, tracked: bool) -> None:
        self.pair = pair
        self._tracked = tracked
        self._known: dict[Ref, Both] = {}
        self._places: dict[tuple[str, tuple[str, ...]], list[Ref]] = {}
        self._lock = threading.Lock()

    def load(self, objects: Iterable[Both]) -> None:
        """Takes up objects that were just looked at, and looks at all that stands above them, with few requests."""
        found = list(objects)
        with self._lock:
            for both in found:
                self._known.setdefault(both.ref, both)
        self._look({ref for both in found for ref in self._above(both)})

    def _look(self, refs: Iterable[Ref]) -> None:
        waiting = {ref for ref in refs if ref not in self._known}
        if waiting:
            found = self.pair.look(sorted(waiting))
            with self._lock:
                self._known.update({both.ref: both for both in found})

    def learn(self, both: Both) -> None:
        """Takes up what an object has come to, so that it need not be looked at when it stands above another."""
        with self._lock:
            self._known[both.ref] = both

    def forget(self, ref: Ref) -> None:
        """Looks again when it is asked for the next time."""
        with self._lock:
            self._known.pop(ref, None)

    def above(self, both: Both) -> list[Both]:
        """The objects above one, the outermost first."""
        refs = self._above(both)
        self._look(refs)
        return [known for ref in refs if (known := self._known.get(ref)) is not None]

    def _above(self, both: Both) -> list[Ref]:
        record = both.ours or both.theirs
        if record is None:
            return []
        place = record.kind, record.ancestors
        if place not in self._places:
            self._places[place] = ancestor_refs(record)
        return self._places[place]

    def intent(self, both: Both) -> Intent | None:
        """What shall become of an object; None if this remote is not to know of it."""
        if both.entry.intent is not Intent.TRACK:
            return both.entry.intent
        above = self.above(both)
        if any(other.entry.intent is not Intent.TRACK for other in above):
            return Intent.LOCAL_ONLY
        noted = self.pair.name in both.envelope.remotes or any(other.entry.named for other in above)
        return Intent.TRACK if self._tracked or noted or both.ours is None else None


def subtree(backend: Backend, ref: Ref) -> Iterator[Record]:
    """All objects below one, deleted ones included."""
    below = Query(within=ref[1], deleted=Deleted.INCLUDE)
    for model in kinds():
        if model.kind != "code":
            yield from records_of(backend, model.kind, below)


def records_of(backend: Backend, kind: str, query: Query) -> Iterator[Record]:
    """All that a query finds, page after page."""
    while True:
        page = backend.query(kind, query)
        yield from page.records
        if page.cursor is None:
            return
        query = replace(query, cursor=page.cursor)


def needed(backend: Backend, records: Mapping[Ref, Record]) -> set[Ref]:
    """What records lie in and refer to, and what that lies in and refers to, as far as it is not among them."""
    found: set[Ref] = set()
    waiting = list(records.values())
    while waiting:
        refs = {ref for record in waiting for ref in _beside(record)} - found - records.keys()
        found |= refs
        waiting = [record for record in backend.get_many(sorted(refs)) if record is not None]
    return found


def rival(pair: Pair, record: Record) -> Ref | None:
    """A living object, on either side, that has the name of a deleted one."""
    for ref in generations(record):
        (both,) = pair.look([ref])
        if both.ours is None and both.theirs is None:
            return None
        if ref[1] != record.id and both.living:
            return both.ref
    return None


def generations(record: Record) -> Iterator[Ref]:
    """All objects that may ever have had the name of one; none for runs, endless for others."""
    if record.kind == "run":
        return
    key = kind_of(record.kind).from_content(record.content).key()
    above = parent_kind(record) if record.ancestors else None
    for number in itertools.count():
        yield record.kind, child_id(record.kind, above, record.parent, key, number)


def by_depth(objects: Sequence[Both]) -> list[Both]:
    """Objects with those above before those below."""
    return sorted(objects, key=lambda both: (len(_one(both).ancestors), both.ref))


def families(objects: Sequence[Both]) -> Iterator[list[Both]]:
    """Objects that are runs or live in one, run by run, with those above before those below."""
    ordered = sorted(by_depth(objects), key=owner)
    return (list(family) for _, family in itertools.groupby(ordered, owner))


def owner(both: Both) -> str:
    """The run that an object is or lives in; empty if there is none."""
    kind, id = both.ref
    return id if kind == "run" else run_of(id) or ""


def _one(both: Both) -> Record:
    record = both.ours or both.theirs
    if record is None:
        raise LookupError(both.ref)
    return record


def _beside(record: Record) -> Iterator[Ref]:
    yield from ancestor_refs(record)
    yield from linked_refs(record)
