"""Local-first for whole stores: push, pull, sync and status between a local backend and its remotes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from padre_core.backends.backend import Backend
from padre_core.errors import InvalidObjectError, PadreError, UnavailableError
from padre_core.objects import canonical
from padre_core.objects.envelope import Intent
from padre_core.objects.record import Record, successor
from padre_core.objects.references import Ref, ancestor_refs
from padre_core.sync.changes import CursorFile, Cursors, News, news, past_own
from padre_core.sync.kin import needed, subtree
from padre_core.sync.pair import AWAY, Both, Pair, apart
from padre_core.sync.passes import Pass, Step, Way, chunks
from padre_core.sync.plan import Action
from padre_core.sync.states import Local, Remote
from padre_core.sync.transfer import Progress, Tally

NOTED = 5000
"""Beyond how many objects a pass that went one way notes how far both sides are equal.

For that it waits until both have brought all of them into their indexes; fewer are soon compared by the next sync.
"""


@dataclass(frozen=True, slots=True)
class RemoteStore:
    """A remote as the configuration names it.

    Attributes:
        open: Gives the backend, at first need; one that cannot counts as away.
        auto: Whether every object travels, or only what was put to this remote by name, and what lies below that.
    """

    name: str
    url: str
    open: Callable[[], Backend]
    auto: bool = True


@dataclass
class Report:
    """What a call did.

    Attributes:
        steps: By remote, what was done about each object.
        away: Remotes that could not be reached, and why.
    """

    steps: dict[str, list[Step]] = field(default_factory=dict)
    away: dict[str, PadreError] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)

    @property
    def failed(self) -> list[Step]:
        """What was not done, with its error."""
        return [step for steps in self.steps.values() for step in steps if step.error is not None]


class Stores:
    """The whole-store calls of `Engine`; safe for threads.

    Args:
        threads: How many requests to a remote are under way at once.
    """

    def __init__(
        self,
        local: Backend,
        remotes: Iterable[RemoteStore],
        *,
        cursors: CursorFile | None = None,
        actor: str | None = None,
        threads: int = 4,
        progress: Progress | None = None,
    ) -> None:
        self.local, self.actor, self.threads, self.progress = local, actor, threads, progress
        self.remotes = {remote.name: remote for remote in remotes}
        self.cursors = cursors or CursorFile()
        self._opened: dict[str, Backend] = {}
        self._lock = threading.Lock()
        self._opening = {name: threading.Lock() for name in self.remotes}
        self._closed = False

    def push(
        self, refs: Sequence[Ref] | None = None, *, remotes: Sequence[str] | None = None, dry: bool = False
    ) -> Report:
        """Uploads objects with all that lies below them and all that they refer to; without refs all that is tracked.

        What is named is tracked from then on, and living again on a remote that had a tombstone of it. A remote that
        is away stands in the report: the intent to track is noted, and the next sync does the rest.

        Args:
            dry: Only tell what would be done, here as in the other calls.
        """
        for name in () if dry else self._named(remotes):
            for ref in refs or ():
                self._track(name, ref)
        return self._travel(Way.PUSH, refs, remotes, dry=dry)

    def pull(
        self, refs: Sequence[Ref] | None = None, *, remotes: Sequence[str] | None = None, dry: bool = False
    ) -> Report:
        """Downloads objects with all that lies below them and all that they refer to; without refs everything."""
        return self._travel(Way.PULL, refs, remotes, anew=True, dry=dry)

    def sync(
        self,
        refs: Sequence[Ref] | None = None,
        *,
        remotes: Sequence[str] | None = None,
        everything: bool = False,
        background: bool = False,
        dry: bool = False,
    ) -> Report:
        """Brings both sides to the same, as far as objects are known here.

        Args:
            refs: Only these, with all that lies below them and all that they refer to, on either side.
            everything: Also download what is not here, and look at each object, whatever the cursors say.
            background: Do not try again what a remote refused for good and nobody changed since.
        """
        way = Way.BOTH if everything or refs is not None else Way.KNOWN
        report = self._travel(way, refs, remotes, anew=everything, background=background, dry=dry)
        behind, news = ([], []) if dry else self._behind(report, remotes)
        return self._travel(way, None, behind, background=background, report=report, only=news) if behind else report

    def status(self, refs: Sequence[Ref] | None = None, *, remotes: Sequence[str] | None = None) -> Report:
        """What `sync` would do, and what was refused, without doing anything."""
        return self._travel(Way.BOTH, refs, remotes, dry=True)

    def pair(self, name: str, tally: Tally | None = None) -> Pair:
        """The local store with a remote.

        Raises:
            UnavailableError: The remote is away, or cannot be opened.
            AuthenticationError: It does not know who asks.
            InvalidObjectError: There is no remote of this name.
        """
        remote = self._remote(name)
        try:
            with self._opening[name]:
                backend = self._opened.get(name)
                if backend is None:
                    backend = self._kept(name, remote.open())
            backend.pull()
        except AWAY:
            raise
        except PadreError as error:  # whatever is wrong with one remote, the store and its other remotes go on
            raise UnavailableError(f"{name} cannot be opened: {error}") from error
        return Pair(self.local, name, backend, tally or Tally(tell=self.progress))

    def _kept(self, name: str, backend: Backend) -> Backend:
        """A remote that was just opened, unless all were closed meanwhile."""
        with self._lock:
            if not self._closed:
                self._opened[name] = backend
                return backend
        backend.close()
        raise UnavailableError(f"{name} answered after this store was closed")

    def close(self) -> None:
        """Closes the remotes that were opened; does not wait for one that is just being opened."""
        with self._lock:
            opened, self._opened, self._closed = self._opened, {}, True
        for backend in opened.values():
            backend.close()

    def single(self, pair: Pair, way: Way = Way.BOTH) -> Pass:
        """A pass for one object after the other."""
        return self._pass(pair, way, Report())

    def _travel(
        self,
        way: Way,
        refs: Sequence[Ref] | None,
        remotes: Sequence[str] | None,
        *,
        anew: bool = False,
        background: bool = False,
        dry: bool = False,
        report: Report | None = None,
        only: Sequence[Ref] | None = None,
    ) -> Report:
        report = report or Report(tally=Tally(tell=self.progress))

        def travel(pair: Pair) -> None:
            going = self._pass(pair, way, report, named=refs is not None and way is not Way.BOTH)
            going.background = background
            cursors = self.cursors.load(pair.name, (self.local.info().store, pair.remote.info().store))
            unread: dict[Ref, PadreError] = {}
            found: tuple[News, News] | None = None
            if only is not None:
                due = self._looked_at(pair, only, unread)
            elif refs is None:
                due, found = self._due(pair, way, cursors, unread, anew=anew)
            else:
                if way is Way.PUSH and not dry:
                    self._revive(pair, refs)
                due = self._family(pair, way, refs, unread)
            lost = [Step(ref, None, Action.NOTHING, error=error) for ref, error in unread.items()]
            if dry:
                steps = [*going.plan(due), *lost]
                report.steps[pair.name] = _due_steps(_noted(steps, cursors.waiting))
                return
            steps = [*going.run(due), *lost]
            report.steps[pair.name] = _followed(report.steps.get(pair.name, []), steps)
            if background:
                pair.remote.publish_later()
            else:
                pair.remote.publish()
            self._remember(pair, cursors, found if way in (Way.BOTH, Way.KNOWN) else None, steps)

        return self._reached(remotes, report, travel)

    def _behind(self, report: Report, remotes: Sequence[str] | None) -> tuple[list[str], list[Ref]]:
        """The remotes that answered before another one brought something here that they may not have, and what."""
        order = [name for name in self._named(remotes) if name not in report.away]
        brought = [[step.ref for step in report.steps.get(name, ()) if _brought(step)] for name in order]
        last = max((place for place, refs in enumerate(brought) if refs), default=0)
        return order[:last], sorted({ref for refs in brought[1:] for ref in refs})

    def _pass(self, pair: Pair, way: Way, report: Report, *, named: bool = False) -> Pass:
        tracked = named or self.remotes[pair.name].auto
        return Pass(pair, way, report.tally, tracked=tracked, threads=self.threads, actor=self.actor)

    def _reached(self, names: Sequence[str] | None, report: Report, visit: Callable[[Pair], None]) -> Report:
        """Does something with each remote; those that are away stand in the report."""
        for name in self._named(names):
            try:
                visit(self.pair(name, report.tally))
            except AWAY as error:
                report.away[name] = error
        return report

    def _due(
        self, pair: Pair, way: Way, cursors: Cursors, unread: dict[Ref, PadreError], *, anew: bool
    ) -> tuple[list[Both], tuple[News, News]]:
        """The objects that may have something to travel."""
        here = news(self.local, None if anew else cursors.local)
        there = news(pair.remote, None if anew else cursors.remote)
        refs = sorted({*here.etags, *there.etags, *cursors.waiting})
        due: list[Both] = []
        for chunk in chunks(refs):
            ours = apart(pair.here, chunk, unread)
            known = [both for both in ours if both.ours is not None or way is not Way.KNOWN]
            asked = {both.ref: both.ours for both in known if anew or not _rests(both, there)}
            due += apart(partial(pair.look, seen=(asked, {})), list(asked), unread) if asked else []
        return due, (here, there)

    def _remember(self, pair: Pair, cursors: Cursors, found: tuple[News, News] | None, steps: Sequence[Step]) -> None:
        """Notes what could not be done, and how far a pass came.

        Args:
            found: The news that a pass in both directions began with.
        """
        waiting = {step.ref: str(step.error) for step in steps if step.error is not None}
        if found is not None:
            here, there = found
            now = replace(cursors, local=here.cursor, remote=there.cursor, waiting=waiting)
            own = {step.ref: step.etag for step in steps if _done(step)}
        else:
            done = {step.ref for step in steps}
            waiting |= {ref: why for ref, why in cursors.waiting.items() if ref not in done}
            now = replace(cursors, waiting=waiting)
            own = {step.ref: step.etag for step in steps if _done(step) and _equal(step)}
        if found is not None or len(own) > NOTED:
            local, remote = past_own(self.local, now.local, own), past_own(pair.remote, now.remote, own)
            now = replace(now, local=local, remote=remote)
        if found is not None or now != cursors:
            self.cursors.save(pair.name, now)

    def _family(self, pair: Pair, way: Way, refs: Sequence[Ref], unread: dict[Ref, PadreError]) -> list[Both]:
        found = dict.fromkeys(refs)
        seen: tuple[dict[Ref, Record], dict[Ref, Record]] = {}, {}
        for side, heads in zip((self.local,) if way is Way.PUSH else (self.local, pair.remote), seen, strict=False):
            heads.update({(head.kind, head.id): head for head in side.get_many(refs) if head is not None})
            heads.update({(head.kind, head.id): head for ref in refs for head in subtree(side, ref)})
            found.update(dict.fromkeys(heads))
            found.update(dict.fromkeys(sorted(needed(side, heads))))
        return self._looked_at(pair, list(found), unread, seen)

    def _looked_at(
        self,
        pair: Pair,
        refs: Sequence[Ref],
        unread: dict[Ref, PadreError],
        seen: tuple[dict[Ref, Record], dict[Ref, Record]] = ({}, {}),
    ) -> list[Both]:
        return [both for chunk in chunks(refs) for both in apart(lambda refs: pair.look(refs, seen), chunk, unread)]

    def _notes(self, name: str) -> Pair:
        """For noting something about a remote without reaching it."""
        return Pair(self.local, self._remote(name).name, self.local, Tally())

    def _track(self, name: str, ref: Ref) -> None:
        """Notes that an object with all below it, and so what stands above it, is for a remote."""
        offline = self._notes(name)
        above = [
            other for record in self.local.get_many([ref]) if record is not None for other in ancestor_refs(record)
        ]
        for tracked in above:
            offline.note_entry(tracked, lambda entry: entry._replace(intent=Intent.TRACK))
        offline.note_entry(ref, lambda entry: entry._replace(intent=Intent.TRACK, named=True))

    def _revive(self, pair: Pair, refs: Sequence[Ref]) -> None:
        """Makes what is put by name follow the tombstone that the remote has of it."""
        for ref in refs:
            (both,) = pair.look([ref])
            for each in (*self.single(pair).kin.above(both), both):
                ours, grave = each.ours, each.theirs
                if ours is None or grave is None or ours.deleted is not None or grave.deleted is None:
                    continue
                if ours.etag in grave.lineage:
                    head = successor(grave, grave.content, by=self.actor, at=canonical.now())
                    self.local.put(head, if_match=ours.etag)

    def _remote(self, name: str) -> RemoteStore:
        try:
            return self.remotes[name]
        except KeyError:
            known = ", ".join(self.remotes) or "none"
            raise InvalidObjectError(f"there is no remote {name!r:.80}; the remotes are: {known}") from None

    def _named(self, remotes: Sequence[str] | None) -> list[str]:
        return [self._remote(name).name for name in (self.remotes if remotes is None else remotes)]


_NEWS = frozenset({Action.FETCH, Action.MERGE, Action.BURY_HERE, Action.COME_BACK})


def _brought(step: Step) -> bool:
    """Whether an object may have become another one here."""
    joined = step.action is Action.AGREE and step.state is not None and not step.state.settled
    return step.error is None and (joined or step.action in _NEWS)


def _done(step: Step) -> bool:
    """Whether nothing is left to do about an object, as far as the pass went that way."""
    return step.error is None and not step.growing and step.etag is not None


def _equal(step: Step) -> bool:
    """Whether both sides are known to have had the same at the end of a pass, though it went one way only."""
    state = step.state
    if state is None or not (step.action or state.settled):
        return False
    # Of a run that both had before, the side that it did not come to may lack some of its points.
    return step.ref[0] != "run" or state.local is Local.ABSENT or state.remote is Remote.ABSENT


def _followed(before: Sequence[Step], after: Sequence[Step]) -> list[Step]:
    """The steps of two looks at the same remote, of each object the last that came to something."""
    news = {step.ref for step in after if step.action or step.error is not None}
    known = {step.ref for step in before}
    kept = [step for step in before if step.ref not in news]
    return [*kept, *(step for step in after if step.ref in news or step.ref not in known)]


def _due_steps(steps: Sequence[Step]) -> list[Step]:
    return [step for step in steps if step.action or step.error is not None]


def _noted(steps: Iterable[Step], waiting: Mapping[Ref, str]) -> list[Step]:
    """Steps with what went wrong the last time."""
    return [
        replace(step, error=PadreError(waiting[step.ref])) if step.ref in waiting and step.error is None else step
        for step in steps
    ]


def _rests(both: Both, there: News) -> bool:
    """Whether the local notes and the remote's feed show that there is nothing to do."""
    ours, entry = both.ours, both.entry
    if ours is None or both.ref[0] == "run" or entry.intent is not Intent.TRACK or entry.refusal is not None:
        return False
    if ours.etag != entry.base:
        return False
    if there.whole:  # etags tell heads apart, but not conflicts
        return there.etags.get(both.ref) == ours.etag and not ours.conflicts
    return both.ref not in there.etags
