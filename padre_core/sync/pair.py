"""One local store and one remote: looking at an object on both sides, bringing both to the same, noting it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from padre_core.backends.backend import Backend, Note, Write
from padre_core.backends.bytestore import ABSENT
from padre_core.errors import AuthenticationError, ConflictError, NotFoundError, PadreError, UnavailableError
from padre_core.objects.envelope import Envelope, Intent, Refusal, RemoteEntry, parse
from padre_core.objects.record import Record
from padre_core.objects.references import Ref
from padre_core.sync import merge
from padre_core.sync.plan import Row, row
from padre_core.sync.states import State, alike, compare
from padre_core.sync.transfer import Carrier, Tally

AWAY = (UnavailableError, AuthenticationError)
"""What says nothing about an object: its remote cannot be used now."""

Heads = Mapping[Ref, Record | None]

Change = Callable[[Envelope, Record], Envelope]

ATTEMPTS = 50
"""How often something is tried while others change the same object."""


@dataclass(frozen=True, slots=True)
class Both:
    """An object as both sides have it."""

    ref: Ref
    ours: Record | None
    theirs: Record | None
    envelope: Envelope
    entry: RemoteEntry

    def state(self, intent: Intent | None = None) -> State:
        """The state; `intent` is the one that holds where an object above says another."""
        return compare(self.ours, self.theirs, self.entry, intent)

    def row(self, intent: Intent | None = None) -> Row:
        """What each call does with it."""
        return row(self.state(intent))

    @property
    def living(self) -> bool:
        """Whether a side has it undeleted."""
        return any(record is not None and record.deleted is None for record in (self.ours, self.theirs))


class Pair:
    """A local store and one of its remotes; safe for threads.

    Attributes:
        name: What the local store calls the remote.
    """

    def __init__(self, local: Backend, name: str, remote: Backend, tally: Tally) -> None:
        self.local, self.name, self.remote = local, name, remote
        self.up = Carrier(local, remote, tally)
        self.down = Carrier(remote, local, tally)

    def look(self, refs: Sequence[Ref], seen: tuple[Heads, Heads] = ({}, {})) -> list[Both]:
        """Objects as both sides have them now.

        Args:
            seen: The heads of some of them, here and there, that were just read; None where there was none.
        """
        ours, theirs = _heads(self.local, refs, seen[0]), _heads(self.remote, refs, seen[1])
        return [self.both(ref, ours.get(ref), theirs.get(ref)) for ref in refs]

    def here(self, refs: Sequence[Ref]) -> list[Both]:
        """The same without asking the remote."""
        return [self.both(ref, head, None) for ref, head in zip(refs, self.local.get_many(refs), strict=True)]

    def both(self, ref: Ref, ours: Record | None, theirs: Record | None) -> Both:
        """An object of which the records are at hand."""
        envelope = parse(ours.envelope, " ".join(ref)) if ours is not None else Envelope()
        return Both(ref, ours, theirs, envelope, envelope.of(self.name))

    def joined(self, both: Both) -> Record | None:
        """The head that both sides should have."""
        if both.ours is None or both.theirs is None:
            return both.ours or both.theirs
        base = both.state().base
        # What one side was not made from says nothing about what it changed.
        shared = all(base in (side.etag, *side.lineage) for side in (both.ours, both.theirs))
        return merge.join(both.ours, both.theirs, both.envelope.bodies.get(base) if base and shared else None)

    def bring(self, pairs: Sequence[tuple[Both, Record]]) -> list[Record | PadreError | None]:
        """Stores heads on the sides that do not have them; what is here then, or what went wrong.

        A crash anywhere in between leaves what the next look takes for the same task, or for a finished one.
        """
        results: list[Record | PadreError | None] = [both.ours for both, _ in pairs]
        for carrier, side in ((self.down, _ours), (self.up, _theirs)):
            moves: dict[int, Write] = {}
            for place, (both, head) in enumerate(pairs):
                seen = side(both)
                if isinstance(results[place], PadreError) or (seen is not None and alike(seen, head)):
                    continue
                if seen is not None:
                    moves[place] = Write(head, seen.etag)
                else:  # what comes from there is stored with the note that both sides have it
                    moves[place] = Write(head, ABSENT, self._first_notes(head) if carrier is self.down else {})
            if moves:
                for place, result in zip(moves, carrier.records(list(moves.values())), strict=True):
                    if carrier is self.down or isinstance(result, PadreError):
                        results[place] = result
        return results

    def agree(self, versions: Sequence[tuple[Record, Record | None]]) -> list[Record | None]:
        """Notes that both sides have had some versions, and returns what is here then.

        Args:
            versions: Each with what was last seen here.
        """
        found = [seen for _, seen in versions]
        notes: dict[int, Note] = {}
        for place, (version, seen) in enumerate(versions):
            if seen is None:
                continue
            envelope = self._first_notes(version)
            if seen.etag != version.etag or seen.envelope not in ({}, envelope):
                changed = _changed(seen, partial(self._agreed, version))
                envelope = seen.envelope if changed is None else changed.as_json()
            if envelope != seen.envelope:
                notes[place] = Note(seen.kind, seen.id, envelope, seen.version)
        results = self.local.set_envelopes(list(notes.values())) if notes else []
        for place, result in zip(notes, results, strict=True):
            found[place] = result if isinstance(result, Record) else None
            if isinstance(result, PadreError) and not isinstance(result, (ConflictError, NotFoundError)):
                raise result
        for place, (version, _) in enumerate(versions):
            if found[place] is None:  # it was changed meanwhile
                found[place] = self.note((version.kind, version.id), partial(self._agreed, version))
        return found

    def _first_notes(self, version: Record) -> Mapping[str, Any]:
        """What is noted of an object of which nothing is noted yet: that both sides have it."""
        url = self.remote.object_url(version.kind, version.id)
        return Envelope({self.name: RemoteEntry(url=url, base=version.etag)}).as_json()

    def _agreed(self, version: Record, envelope: Envelope, head: Record) -> Envelope:
        url = self.remote.object_url(version.kind, version.id)
        noted = envelope.noting(self.name, envelope.of(self.name).agreed(version.etag)._replace(url=url))
        if head.etag != version.etag:  # somebody went on meanwhile, and will want to merge
            noted = noted._replace(bodies={version.etag: version.content, **noted.bodies})
        return noted.tidied(head.etag)

    def refuse(self, ref: Ref, etag: str, error: PadreError) -> None:
        """Notes that the remote does not take a version."""
        refusal = Refusal(etag, type(error).__name__, str(error))
        self.note_entry(ref, lambda entry: entry._replace(refusal=refusal))

    def note_entry(self, ref: Ref, change: Callable[[RemoteEntry], RemoteEntry]) -> None:
        """Changes what the local envelope says of this remote."""
        self.note(ref, lambda envelope, _: envelope.noting(self.name, change(envelope.of(self.name))))

    def note(self, ref: Ref, change: Change) -> Record | None:
        """Changes the local envelope, whoever else does so at the same time; None where the object is gone."""
        for _ in range(ATTEMPTS):
            try:
                head = self.local.get(*ref)
                envelope = _changed(head, change)
                if envelope is None:
                    return head
                return self.local.set_envelope(*ref, envelope.as_json(), if_version=head.version)
            except NotFoundError:
                return None
            except ConflictError:
                continue
        raise ConflictError(f"{' '.join(ref)} is changed too often by others; try again")

    def streams(self, runs: Iterable[Both], *, up: bool, down: bool) -> None:
        """Brings the streams of runs to where they lack something; a side that never had the run gets all."""
        found = list(runs)
        shared = [both.ref[1] for both in found if both.ours is not None and both.theirs is not None]
        ours = dict(zip(shared, self.local.many_ends(shared), strict=True))
        theirs = dict(zip(shared, self.remote.many_ends(shared), strict=True))
        if up:  # of what only one side has, where it ends is found out by sending it
            self.up.streams({both.ref[1]: ours.get(both.ref[1]) for both in found if both.ours is not None}, theirs)
        if down:
            self.down.streams({both.ref[1]: theirs.get(both.ref[1]) for both in found if both.theirs is not None}, ours)


def _heads(side: Backend, refs: Sequence[Ref], seen: Heads) -> Heads:
    unseen = [ref for ref in refs if ref not in seen]
    return {**seen, **dict(zip(unseen, side.get_many(unseen) if unseen else (), strict=True))}


def apart(
    look: Callable[[Sequence[Ref]], list[Both]], refs: Sequence[Ref], unread: dict[Ref, PadreError]
) -> list[Both]:
    """Looks at objects together; if one of them cannot be read, at the others all the same.

    Args:
        unread: Takes those that cannot, and why.
    """
    try:
        return look(refs)
    except AWAY:
        raise
    except PadreError as error:
        if len(refs) == 1:
            unread[refs[0]] = error
            return []
        half = len(refs) // 2
        return apart(look, refs[:half], unread) + apart(look, refs[half:], unread)


def _changed(head: Record, change: Change) -> Envelope | None:
    """What is to be noted; None if it is noted already."""
    before = parse(head.envelope, f"{head.kind} {head.id}")
    after = change(before, head)
    return None if after == before else after


def _ours(both: Both) -> Record | None:
    return both.ours


def _theirs(both: Both) -> Record | None:
    return both.theirs
