"""Whatever happens to messages, processes, folders and clocks: no acknowledged value is lost, and all sides agree."""

import os
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from padre_core.backends import merge as backend_merge
from padre_core.backends import store
from padre_core.backends.memory import _Space
from padre_core.errors import ConflictError, NotFoundError, PadreError, UnavailableError
from padre_core.objects import record as records
from padre_core.objects.envelope import Intent
from padre_core.objects.identity import new_run_id
from padre_core.objects.run import Run
from padre_core.streams.columns import make_points
from padre_core.sync import CursorFile, merge

from .sides import buried, edited, engine, entry, experiment, find, memory, project, ref, shown
from .wire import FATES, Fate, Killed, Wire

STEPS = int(os.environ.get("PADRE_SYNC_STEPS", "20000"))
A_RUN = 40

BUDGET = settings(
    max_examples=max(1, STEPS // A_RUN),
    stateful_step_count=A_RUN,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

PROJECT = project("p")
OBJECTS = (PROJECT, experiment(PROJECT, "e"))
NAMED = dict(zip("pe", OBJECTS, strict=True))
RUN = records.first(
    "run", new_run_id(), Run(execution="0" * 36).content(), (PROJECT.id,), by="ada", at="2026-11-23T12:00:00.000000Z"
)
CLOCKS = ("1970-01-01T00:00:00.000000Z", "2026-11-23T12:00:00.000000Z", "2099-12-31T23:59:59.999999Z")
WHERE = st.sampled_from([["lab"], ["lab"], ["nas"], ["lab", "nas"]])
FIELDS = ("title", "tags.x")


@dataclass
class Client:
    """A store, with what a process has of it."""

    space: _Space
    cursors: CursorFile = field(default_factory=CursorFile)
    writer: int = 0
    logged: int = 0


@pytest.fixture(autouse=True)
def noted(monkeypatch):
    """However little goes one way, how far both sides are equal is noted."""
    monkeypatch.setattr("padre_core.sync.stores.NOTED", 0)


def copied(space):
    copy = _Space()
    copy.items, copy.keys, copy.changed = dict(space.items), list(space.keys), list(space.changed)
    copy.versions, copy.times = space.versions, dict(space.times)
    return copy


def value(record, field):
    name, _, key = field.partition(".")
    found = record.data().get(name)
    return (found or {}).get(key) if key else found


def changed(record, field, token, at):
    name, _, key = field.partition(".")
    new = {**record.data().get(name, {}), key: token} if key else token
    return edited(record, at=at, **{name: new})


def contents(record):
    return (record.content, *(conflict.content for conflict in record.conflicts))


class LocalFirst(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.fate = Fate()
        self.remotes = {"lab": memory(), "nas": memory()}
        self.clients = [Client(memory().store._space), Client(memory().store._space)]
        self.open = {}
        self.tokens = 0
        self.expected = set()
        self.points = set()
        self.backups = []
        self.writers = 0

    # What stands where

    def local(self, number):
        if number not in self.open:
            self.open[number] = memory(self.clients[number].space)
            self.writers += 1
            self.clients[number].writer, self.clients[number].logged = self.writers, 0
        return self.open[number]

    def sides(self):
        return [*self.remotes.values(), *(self.local(number) for number in range(len(self.clients)))]

    def engine(self, number):
        local = Wire(self.local(number), self.fate, network=False)
        remotes = [(name, Wire(backend, self.fate, network=True, name=name)) for name, backend in self.remotes.items()]
        return engine(local, *remotes, cursors=self.clients[number].cursors)

    def reachable(self):
        found = b"".join(
            text for side in self.sides() for made in OBJECTS if (head := find(side, made)) for text in contents(head)
        )
        return {token for token in self.expected if token.encode() in found}

    def stored_points(self):
        return {
            (part.writer, part.first + place)
            for side in self.sides()
            for part in side.read_stream(RUN.id, "points")
            for place in range(len(part.columns))
        }

    def a_client(self, data):
        return data.draw(st.integers(0, len(self.clients) - 1))

    # What people do

    @rule(data=st.data(), name=st.sampled_from("pe"), field=st.sampled_from(FIELDS), at=st.sampled_from(CLOCKS))
    def edit(self, data, name, field, at):
        """Creates, edits, or brings back with an edit."""
        made = NAMED[name]
        local = self.local(self.a_client(data))
        self.tokens += 1
        token = f"<{self.tokens}>"
        if made.kind == "experiment" and find(local, PROJECT) is None:
            local.put(PROJECT)
        head = find(local, made) or local.put(made)
        self.expected.discard(value(head, field))
        local.put(changed(head, field, token, at), if_match=head.etag)
        self.expected.add(token)

    @rule(data=st.data(), name=st.sampled_from("pe"))
    def delete(self, data, name):
        local = self.local(self.a_client(data))
        head = find(local, NAMED[name])
        if head is not None and head.deleted is None:
            self.tokens += 1
            local.put(buried(head, f"d{self.tokens}"), if_match=head.etag)

    @rule(data=st.data(), name=st.sampled_from("pe"), theirs=st.booleans())
    def resolve(self, data, name, theirs):
        local = self.local(self.a_client(data))
        head = find(local, NAMED[name])
        if head is None or not head.conflicts or head.deleted is not None:
            return
        lost = head.conflicts[0]
        content = lost.content if theirs else head.content
        solved = merge.resolution(head, lost, content, by="ada", at=CLOCKS[1])
        local.put(solved, if_match=head.etag)
        kept = b"".join((content, *(conflict.content for conflict in solved.conflicts)))
        gone = b"".join((head.content, lost.content))
        self.expected -= {token for token in self.expected if token.encode() in gone and token.encode() not in kept}

    @rule(data=st.data(), count=st.integers(1, 3))
    def log(self, data, count):
        number = self.a_client(data)
        local, client = self.local(number), self.clients[number]
        if find(local, RUN) is None:
            local.put(RUN)
        writer = f"{client.writer:016x}"
        columns = make_points("loss", [0.5] * count, None, None, client.logged)
        local.append_stream(RUN.id, writer, client.logged, columns)
        self.points |= {(writer, client.logged + place) for place in range(count)}
        client.logged += count

    # What happens to messages and processes

    @rule(data=st.data(), call=st.sampled_from(["sync", "everything", "push", "pull"]), remotes=WHERE)
    def travel(self, data, call, remotes):
        number = self.a_client(data)
        self.befall(data, number, lambda: self.go(number, call, remotes))

    def befall(self, data, number, act):
        """Does something while a message may get lost, or the process be killed."""
        left = data.draw(st.integers(0, 40))
        what = data.draw(st.sampled_from(FATES)) if left else ""
        self.fate.left, self.fate.what = left, what  # a draw may end the example, and its end goes undisturbed
        try:
            act()
        except Killed:
            self.open.pop(number)
        finally:
            self.fate.left = -1

    @rule(data=st.data(), name=st.sampled_from("pe"), remotes=WHERE, mode=st.sampled_from(["all", "remote", "local"]))
    def delete_by_mode(self, data, name, remotes, mode):
        number = self.a_client(data)

        def delete():
            try:
                self.engine(number).delete(ref(NAMED[name]), mode=mode, remotes=remotes)
            except (ConflictError, NotFoundError, UnavailableError):
                return

        self.befall(data, number, delete)

    @rule(data=st.data(), name=st.sampled_from("pe"), remotes=WHERE)
    def put_by_name(self, data, name, remotes):
        number = self.a_client(data)
        if find(self.local(number), NAMED[name]) is not None:
            self.befall(data, number, lambda: self.engine(number).push([ref(NAMED[name])], remotes=remotes))

    def go(self, number, call, remotes=None):
        made = self.engine(number)
        if call == "push":
            return made.push(remotes=remotes)
        if call == "pull":
            return made.pull(remotes=remotes)
        return made.sync(everything=call == "everything", remotes=remotes)

    @precondition(lambda self: self.fate.delayed)
    @rule(data=st.data())
    def deliver(self, data):
        """A message that the network held back arrives, after others that were sent later."""
        place = data.draw(st.integers(0, len(self.fate.delayed) - 1))
        self.send(*self.fate.delayed.pop(place))

    def send(self, remote, name, args, options):
        try:
            getattr(self.remotes[remote], name)(*args, **options)
        except PadreError:
            return

    @rule(data=st.data())
    def restart(self, data):
        self.open.pop(self.a_client(data), None)

    # What happens to folders

    @precondition(lambda self: len(self.clients) < 4)
    @rule(data=st.data())
    def copy_folder(self, data):
        original = self.clients[self.a_client(data)]
        twin = Client(copied(original.space))
        if data.draw(st.booleans()):
            twin.cursors._kept = dict(original.cursors._kept)
        self.clients.append(twin)

    @rule(data=st.data())
    def back_up(self, data):
        place = data.draw(st.sampled_from([*self.remotes, *range(len(self.clients))]))
        space = self.remotes[place].store._space if place in self.remotes else self.clients[place].space
        self.backups.append((place, copied(space)))

    @precondition(lambda self: self.backups)
    @rule(data=st.data())
    def restore_backup(self, data):
        """A person takes back an older state of a store; what was nowhere else is then gone by his own hand."""
        place, space = self.backups[data.draw(st.integers(0, len(self.backups) - 1))]
        if place in self.remotes:
            self.remotes[place] = memory(copied(space))
        else:
            self.clients[place].space = copied(space)
            self.open.pop(place, None)
        self.fate.sent.clear()
        self.expected = self.reachable()
        self.points &= self.stored_points()

    # What must hold

    @invariant()
    def no_value_is_lost(self):
        assert self.reachable() == self.expected

    def teardown(self):
        if not hasattr(self, "clients"):
            return
        self.fate.left = -1  # what was to happen in a step that was cut short does not happen now
        while self.fate.delayed:
            self.send(*self.fate.delayed.pop())
        self.end_local_only()
        views = self.settled()
        for made in (*OBJECTS, RUN):
            shown = {view[ref(made)] for view in views}
            if self.hidden(made):  # who never had what is deleted need not get it
                shown.discard(None)
            assert len(shown) <= 1, f"sides differ in {made.content!r} when all is delivered: {shown}"
        assert self.reachable() == self.expected
        assert self.stored_points() >= self.points
        for side in self.sides():
            found = {
                (part.writer, part.first + place)
                for part in side.read_stream(RUN.id, "points")
                for place in range(len(part.columns))
            }
            assert found >= self.points, "points are missing on a side"
        for message in self.fate.sent[-20:]:
            self.send(*message)
            assert [self.view(side) for side in self.sides()] == views, "a repeated message had an effect"

    def end_local_only(self):
        for number in range(len(self.clients)):
            for made in OBJECTS:
                head = find(self.local(number), made)
                for remote in self.remotes if head is not None else ():
                    if entry(self.local(number), made, remote).intent is not Intent.TRACK:
                        self.engine(number).push([ref(made)], remotes=[remote])

    def settled(self):
        before = None
        for _ in range(12):
            for number in range(len(self.clients)):
                report = self.go(number, "everything")
                assert not report.failed
                assert not report.away
            views = [self.view(side) for side in self.sides()]
            if views == before:
                return views
            before = views
        raise AssertionError("syncing does not come to an end")

    def hidden(self, made):
        above = [each for each in OBJECTS if each.id in made.ancestors]
        heads = [find(remote, each) for remote in self.remotes.values() for each in (made, *above)]
        return any(head is not None and head.deleted is not None for head in heads)

    def view(self, side):
        return {ref(made): shown(side, made) for made in (*OBJECTS, RUN)}


TestLocalFirst = LocalFirst.TestCase
TestLocalFirst.settings = BUDGET


def last_writer_wins(one, other, base):
    return max(one, other, key=lambda record: record.updated_at)


def forgets_conflicts(one, other, base):
    head = backend_merge.resolve(one, other, None)
    return records.replace(head, conflicts=())


def merges_without_a_base(one, other, base, join=merge.join):
    return join(one, other, one.content)


def must_fail():
    with pytest.raises((AssertionError, PadreError)):
        run_state_machine_as_test(
            LocalFirst, settings=settings(BUDGET, max_examples=400, phases=[Phase.generate], derandomize=True)
        )


@pytest.mark.parametrize("broken", [last_writer_wins, forgets_conflicts, merges_without_a_base])
def test_the_invariant_is_red_for_a_broken_merge(broken, monkeypatch):
    monkeypatch.setattr(merge, "join", broken)
    must_fail()


def test_the_invariant_is_red_if_a_store_overwrites(monkeypatch):
    def overwrite(current, record, if_match, notes=None):
        return records.replace(record, version=current.version + 1 if current else 1, envelope={}, summaries=())

    monkeypatch.setattr(store, "resolve", overwrite)
    must_fail()
