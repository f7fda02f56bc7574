"""One pass over some objects between a local store and a remote: what the table says, for each of them."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TypeVar

from padre_core.errors import (
    AccessDeniedError,
    ConflictError,
    CorruptObjectError,
    InvalidObjectError,
    PadreError,
    UnsupportedError,
)
from padre_core.objects.envelope import Intent
from padre_core.objects.record import Record
from padre_core.objects.references import Ref
from padre_core.objects.run import RunStatus
from padre_core.sync import merge
from padre_core.sync.kin import Kin, by_depth, families, owner, rival
from padre_core.sync.pair import ATTEMPTS, AWAY, Both, Pair
from padre_core.sync.plan import REFUSALS, Action, row
from padre_core.sync.states import State
from padre_core.sync.transfer import Tally

CHUNK = 100
"""How many objects go together in one request."""

_T = TypeVar("_T")


class Way(Enum):
    """Which way a call lets objects travel."""

    PUSH = "push"
    PULL = "pull"
    BOTH = "sync"
    KNOWN = "background"


_UP = frozenset({
    Action.UPLOAD, Action.UPLOAD_AGAIN, Action.BURY_THERE, Action.SURVIVE, Action.MERGE, Action.COME_BACK,
})  # fmt: skip
_DOWN = frozenset({Action.FETCH, Action.BURY_HERE, Action.COME_BACK})
_WHOLE = (Way.PULL, Way.BOTH)
"""Which calls also download what the background only learns of."""

_ACTIONS = {
    Way.PUSH: _UP,
    Way.PULL: _DOWN,
    Way.BOTH: _UP | _DOWN,
    Way.KNOWN: _UP | _DOWN,
}

_ENDED = frozenset(status.value for status in RunStatus if status.ended)

REFUSED = (InvalidObjectError, AccessDeniedError, UnsupportedError)
"""What a remote says for good; another try would fail as well."""


@dataclass(frozen=True, slots=True)
class Step:
    """What was, or would be, done about one object.

    Attributes:
        state: None if a side could not be read.
        error: Why it was not done.
        growing: Whether it is a run that has not ended, of which more may have come since.
    """

    ref: Ref
    state: State | None
    action: Action
    etag: str | None = None
    error: PadreError | None = None
    growing: bool = False


@dataclass
class Pass:
    """Carries out what the table says; each effect may be repeated, and another pass goes on where one was broken off.

    Attributes:
        tracked: Whether all objects travel, or only those that were named to this remote once.
        threads: How many chunks are under way at once.
        background: Leave out what the remote refused for good, as long as it is not changed.
    """

    pair: Pair
    way: Way
    tally: Tally
    tracked: bool = True
    threads: int = 1
    actor: str | None = None
    background: bool = False
    steps: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.kin = Kin(self.pair, tracked=self.tracked)
        self._reviving, self._sharing = threading.Lock(), threading.Lock()

    def plan(self, objects: Iterable[Both]) -> list[Step]:
        """What `run` would do, without doing it."""
        found: list[Step] = []
        for chunk in chunks(objects):
            found += self._isolated(chunk, self._planned)
        return found

    def _planned(self, chunk: list[Both]) -> list[Step]:
        self.kin.load(chunk)
        steps = [(self._step(both, self.kin.intent(both)), both) for both in chunk]
        return [replace(step, error=_refused(both)) for step, both in steps]

    def run(self, objects: Iterable[Both]) -> list[Step]:
        """Does it, tombstones last: whether something below was edited must be known before it is hidden.

        Raises:
            UnavailableError: A side is away; what was done stands, the rest is found again.
        """
        found = [both for both in objects if both.ours is not None or both.theirs is not None]
        self.tally.add(total=len(found))
        graves = [both for both in found if not both.living or _dies(both)]
        buried = {both.ref for both in graves}
        for group in ([both for both in found if both.ref not in buried], graves):
            self._each(self._chunk, list(chunks(by_depth([both for both in group if not owner(both)]))))
            self._each(self._chunk, list(_together(families([both for both in group if owner(both)]))))
        return self.steps

    def settle(self, ref: Ref) -> Step:
        """Does what the table says about one object, again while others are faster."""
        for _ in range(ATTEMPTS):
            (step,) = self._isolated(self.pair.look([ref]), self._settled)
            if not isinstance(step.error, ConflictError) or step.action in REFUSALS:
                return step
        raise ConflictError(f"{' '.join(ref)} is changed too often by others; try again")

    def settle_many(self, refs: Sequence[Ref]) -> list[Step]:
        """The same about many objects, in one batch on either side."""
        return self.run(self.pair.look(refs)) if refs else []

    def _each(self, work: Callable[[list[Both]], object], chunks: Sequence[list[Both]]) -> None:
        if self.threads <= 1 or len(chunks) <= 1:
            for chunk in chunks:
                work(chunk)
            return
        waiting = iter(chunks)
        errors: list[BaseException] = []

        def go() -> None:
            while not errors:
                with self._sharing:
                    chunk = next(waiting, None)
                if chunk is None:
                    return
                try:
                    work(chunk)
                except BaseException as error:  # noqa: BLE001  # raised below, in the caller's thread
                    errors.append(error)

        # Not those of a pool: they would keep the process alive while a remote hangs.
        crew = [
            threading.Thread(target=go, name="padre-sync", daemon=True) for _ in range(min(self.threads, len(chunks)))
        ]
        for thread in crew:
            thread.start()
        for thread in crew:
            thread.join()
        if errors:
            raise errors[0]

    def _chunk(self, chunk: list[Both]) -> None:
        with self.pair.local.batch(f"Sync with {self.pair.name}"), self.pair.remote.batch("Sync", self.actor):
            for step in self._isolated(chunk, self._settled):
                self.steps.append(self._retried(step))
        self.tally.add(done=len(chunk))

    def _isolated(self, chunk: list[Both], work: Callable[[list[Both]], list[Step]]) -> list[Step]:
        """Does something about a chunk; if one of its objects is damaged, about the others all the same."""
        try:
            return work(chunk)
        except AWAY:
            raise
        except (PadreError, ValueError) as error:
            if len(chunk) > 1:
                return [step for both in chunk for step in self._isolated([both], work)]
            where = " ".join(chunk[0].ref)
            known = error if isinstance(error, PadreError) else CorruptObjectError(f"{where} is no object: {error}")
            return [Step(chunk[0].ref, chunk[0].state(), Action.NOTHING, error=known)]

    def _retried(self, step: Step) -> Step:
        if not isinstance(step.error, ConflictError) or step.action in REFUSALS:
            return step
        try:
            return self.settle(step.ref)
        except ConflictError as error:
            return replace(step, error=error)

    def _settled(self, chunk: list[Both]) -> list[Step]:
        self.kin.load(chunk)
        steps: list[Step] = []
        moves: list[tuple[Step, Both, Record]] = []
        runs: list[Both] = []
        for both in chunk:
            intent = self.kin.intent(both)
            step = self._step(both, intent)
            head = self.pair.joined(both)
            if intent is Intent.DELETE and self.way is not Way.PULL:
                steps.append(self._delete_there(both, step))
            elif head is not None and step.action and not (step.action is Action.AGREE and both.state(intent).settled):
                self._uncover(both, head)
                moves.append((replace(step, etag=head.etag), both, head))
            else:
                steps.append(step)
            if (
                both.ref[0] == "run"
                and intent is Intent.TRACK
                and (step.action or None not in (both.ours, both.theirs))
            ):
                runs.append(both)
        results = self.pair.bring([(both, head) for _, both, head in moves])
        broken = {step.ref for (step, *_), result in zip(moves, results, strict=True) if isinstance(result, PadreError)}
        up, down = self.way is not Way.PULL, self.way is not Way.PUSH
        self.pair.streams((both for both in runs if both.ref not in broken), up=up, down=down)
        self._agree([
            (head, result)
            for (_, _, head), result in zip(moves, results, strict=True)
            if not isinstance(result, PadreError)
        ])  # fmt: skip
        for (step, both, head), result in zip(moves, results, strict=True):
            if isinstance(result, PadreError):
                self._failed(both, head, result)
                step = replace(step, error=result)
            steps.append(step)
        return steps

    def _agree(self, brought: Sequence[tuple[Record, Record | None]]) -> None:
        for (head, _), ours in zip(brought, self.pair.agree(brought), strict=True):
            self.kin.learn(self.pair.both((head.kind, head.id), ours, head))

    def _failed(self, both: Both, head: Record, failure: PadreError) -> None:
        if isinstance(failure, AWAY):
            raise failure
        if isinstance(failure, REFUSED) and both.ours is not None and (both.theirs is None or head != both.theirs):
            self.pair.refuse(both.ref, both.ours.etag, failure)

    def _step(self, both: Both, intent: Intent | None) -> Step:
        """What the table says, as far as this call goes that way."""
        state = both.state(intent)
        action = row(state).sync
        etag = both.ours.etag if both.ours else None
        if action is Action.LEARN and self.way in _WHOLE:
            action = Action.FETCH
        if action is not Action.AGREE and action not in _ACTIONS[self.way]:
            action = Action.NOTHING
        if intent is None or (both.ours is None and (intent is not Intent.TRACK or self._hidden_there(both))):
            action = Action.NOTHING
        refused = _refused(both) if self.background else None
        if refused is not None:
            action = Action.NOTHING
        return Step(both.ref, state, action, etag, refused, growing=_is_growing(both))

    def _hidden_there(self, both: Both) -> bool:
        """Whether something above was deleted on the remote, and is not known here."""
        return any(
            above.ours is None and above.theirs is not None and above.theirs.deleted is not None
            for above in self.kin.above(both)
        )

    def _uncover(self, both: Both, head: Record) -> None:
        """Brings back what is deleted above a living version on the side that it comes to, if it lives on the other."""
        if head.deleted is not None:
            return
        goes_up = both.theirs is None or both.theirs.etag != head.etag
        goes_down = both.ours is None or both.ours.etag != head.etag
        with self._reviving:
            for above in self.kin.above(both):
                ours, theirs = above.ours, above.theirs
                if ours is None or theirs is None or (ours.deleted is None) == (theirs.deleted is None):
                    continue
                if (goes_up and theirs.deleted is not None) or (goes_down and ours.deleted is not None):
                    self._revive(above.ref, both.ref)

    def _revive(self, ref: Ref, below: Ref) -> None:
        for _ in range(ATTEMPTS):
            (both,) = self.pair.look([ref])
            ours, theirs = both.ours, both.theirs
            if ours is None or theirs is None or (ours.deleted is None) == (theirs.deleted is None):
                return
            grave, living = (theirs, ours) if theirs.deleted is not None else (ours, theirs)
            if rival(self.pair, grave) is not None:
                self.pair.note_entry(below, lambda entry: entry._replace(hidden=True))
                return
            head = merge.revived(grave) if living.etag in grave.lineage else self.pair.joined(both)
            (result,) = self.pair.bring([(both, head or living)])
            self.kin.forget(ref)
            if not isinstance(result, PadreError):
                self.pair.agree([(head or living, result)])
                return
            if not isinstance(result, ConflictError):
                raise result

    def _delete_there(self, both: Both, step: Step) -> Step:
        """Carries out a delete that was asked for while the remote was away, unless it was changed there since."""
        theirs, ours = both.theirs, both.ours
        if theirs is not None and theirs.deleted is None:
            if ours is None or theirs.etag not in (both.entry.base, ours.etag, *ours.lineage):
                error = ConflictError(
                    f"{' '.join(both.ref)} was changed on {self.pair.name} since its delete was asked"
                )
                self.pair.refuse(both.ref, step.etag or "", error)
                return replace(step, action=Action.CHANGED, error=error)
            self.bury_there(theirs)
        self.pair.note_entry(both.ref, lambda entry: entry._replace(intent=Intent.LOCAL_ONLY, refusal=None))
        self.kin.forget(both.ref)
        return replace(step, action=Action.BURY_THERE)

    def bury_there(self, theirs: Record) -> Record:
        """Stores a tombstone on the remote, over the version that was seen."""
        return self.pair.remote.put(merge.tombstone(theirs, self.actor), if_match=theirs.etag)


def chunks(items: Iterable[_T]) -> Iterator[list[_T]]:
    """What is asked for, or sent, in lists of as many as go together."""
    left = iter(items)
    while chunk := list(itertools.islice(left, CHUNK)):
        yield chunk


def raise_first(steps: Iterable[Step]) -> None:
    """Raises why the first of those was not done that was not."""
    for step in steps:
        if step.error is not None:
            raise step.error


def _refused(both: Both) -> PadreError | None:
    """What the remote said for good about the version that is here."""
    refusal = both.entry.refusal
    if refusal is None or both.ours is None or refusal.etag != both.ours.etag:
        return None
    return PadreError(refusal.message)


def _dies(both: Both) -> bool:
    return any(record is not None and record.deleted is not None for record in (both.ours, both.theirs))


def _is_growing(both: Both) -> bool:
    return both.ref[0] == "run" and any(
        record is not None and record.data().get("status") not in _ENDED for record in (both.ours, both.theirs)
    )


def _together(families: Iterable[list[Both]]) -> Iterator[list[Both]]:
    """Runs with what lives in them in chunks, and each in one chunk if it has room there.

    So what is large and what is much work come mixed, and while one thread waits for the disk or the network another is
    at work. And what is below is not refused because another chunk with what is above was overtaken.
    """
    held: list[Both] = []
    for family in families:
        if held and len(held) + len(family) > CHUNK:
            yield from chunks(held)
            held = []
        held += family
    yield from chunks(held)
