"""Each cell of the table of states, for real, on each pair of stores."""

from dataclasses import dataclass

import pytest

from padre_core.backends.backend import Backend
from padre_core.errors import ConflictError, NotFoundError, UnsupportedError
from padre_core.objects.envelope import Intent
from padre_core.objects.identity import object_id
from padre_core.objects.project import Project
from padre_core.objects.record import Record
from padre_core.services.remotes import Remotes
from padre_core.sync import TABLE, Action, Engine, Local, Remote
from padre_core.workspace import Workspace

from .sides import buried, edited, engine, entry, find, project, put, ref, shown

MADE = project()


@dataclass
class Case:
    """A state that was brought about, and what both sides then held."""

    local: Backend
    remote: Backend
    engine: Engine
    ours: Record | None
    theirs: Record | None

    def now(self):
        return find(self.local, MADE), find(self.remote, MADE)

    def state(self):
        going = self.engine.single(self.engine.pair("lab"))
        (both,) = self.engine.pair("lab").look([ref(MADE)])
        return both.state(going.kin.intent(both))


class Maker:
    """Brings states about with puts and syncs, as people would."""

    def __init__(self, places):
        self.open_local, self.open_remote = places
        self.local, self.remote = self.open_local(), self.open_remote()

    def make(self, name):
        getattr(self, name)()
        made = engine(self.local, ("lab", self.remote))
        return Case(self.local, self.remote, made, find(self.local, MADE), find(self.remote, MADE))

    def sync(self):
        engine(self.local, ("lab", self.remote)).sync()

    def synced(self):
        put(self.local, MADE)
        self.sync()

    def change(self, side, **fields):
        put(side, edited(find(side, MADE), **fields))

    def bury(self, side):
        put(side, buried(find(side, MADE)))

    def restore_server(self, *versions):
        self.remote = self.open_remote()
        for version in versions:
            put(self.remote, version)

    def absent_absent(self):
        pass

    def absent_present(self):
        put(self.remote, MADE)

    def absent_deleted(self):
        put(self.remote, MADE)
        self.bury(self.remote)

    def clean_absent(self):
        self.synced()
        self.restore_server()

    def clean_same(self):
        self.synced()

    def clean_newer(self):
        self.synced()
        self.change(self.remote, title="theirs")

    def clean_deleted(self):
        self.synced()
        self.bury(self.remote)

    def clean_older(self):
        self.synced()
        self.change(self.local, title="ours")
        self.sync()
        self.restore_server(MADE)

    def clean_diverged(self):
        self.clean_older()
        self.change(self.remote, title="theirs")

    def dirty_absent(self):
        put(self.local, MADE)

    def dirty_same(self):
        self.synced()
        self.change(self.local, title="ours")

    def dirty_diverged(self):
        self.synced()
        self.change(self.local, title="ours")
        self.change(self.remote, title="theirs")

    def dirty_deleted(self):
        self.synced()
        self.change(self.local, title="ours")
        self.bury(self.remote)

    def deleted_absent(self):
        put(self.local, MADE)
        self.bury(self.local)

    def deleted_same(self):
        self.synced()
        self.bury(self.local)

    def deleted_older(self):
        self.deleted_same()
        self.sync()
        self.restore_server(MADE)

    def deleted_newer(self):
        self.synced()
        self.bury(self.local)
        self.change(self.remote, title="theirs")

    def deleted_deleted(self):
        self.deleted_same()
        put(self.remote, buried(find(self.remote, MADE), "another"))

    def only_here(self, *, lost=False):
        made = engine(self.local, ("lab", self.remote))
        made.pair("lab").note_entry(ref(MADE), lambda noted: noted._replace(intent=Intent.LOCAL_ONLY))

    def local_only_absent(self):
        put(self.local, MADE)
        self.only_here()

    def local_only_present(self):
        self.synced()
        self.only_here()

    def local_only_deleted(self):
        self.synced()
        self.bury(self.remote)
        self.only_here()


ROWS = [f"{local} / {remote}" for local, remote in TABLE]


def method(row):
    return row.replace(" / ", "_").replace("-", "_")


SYNC = {
    "absent / absent": "nothing",
    "absent / present": "nothing",
    "absent / deleted": "nothing",
    "clean / absent": "ours",
    "clean / same": "nothing",
    "clean / newer": "theirs",
    "clean / deleted": "theirs",
    "clean / older": "ours",
    "clean / diverged": "conflict",
    "dirty / absent": "ours",
    "dirty / same": "ours",
    "dirty / diverged": "conflict",
    "dirty / deleted": "edit",
    "deleted / absent": "ours",
    "deleted / same": "ours",
    "deleted / older": "ours",
    "deleted / newer": "edit",
    "deleted / deleted": "gone",
    "local-only / absent": "nothing",
    "local-only / deleted": "nothing",
    "local-only / present": "nothing",
}

GET = {
    "absent / absent": NotFoundError,
    "absent / present": "theirs",
    "absent / deleted": NotFoundError,
    "clean / absent": "warning",
    "clean / same": "nothing",
    "clean / newer": "theirs",
    "clean / deleted": NotFoundError,
    "clean / older": "warning",
    "clean / diverged": "nothing",
    "dirty / absent": "nothing",
    "dirty / same": "nothing",
    "dirty / diverged": "nothing",
    "dirty / deleted": "nothing",
    "deleted / absent": NotFoundError,
    "deleted / same": NotFoundError,
    "deleted / older": NotFoundError,
    "deleted / newer": "edit",
    "deleted / deleted": NotFoundError,
    "local-only / absent": "nothing",
    "local-only / deleted": "nothing",
    "local-only / present": "nothing",
}

DELETE_ALL = {
    "absent / absent": "nothing",
    "absent / present": "gone there",
    "absent / deleted": "nothing",
    "clean / absent": "gone",
    "clean / same": "gone",
    "clean / newer": ConflictError,
    "clean / deleted": "gone",
    "clean / older": "gone",
    "clean / diverged": ConflictError,
    "dirty / absent": "gone",
    "dirty / same": "gone",
    "dirty / diverged": ConflictError,
    "dirty / deleted": "gone",
    "deleted / absent": "gone",
    "deleted / same": "gone",
    "deleted / older": "gone",
    "deleted / newer": ConflictError,
    "deleted / deleted": "gone",
    "local-only / absent": "gone here",
    "local-only / deleted": "gone here",
    "local-only / present": ConflictError,
}

DELETE_REMOTE = {
    "absent / absent": "nothing",
    "absent / present": ConflictError,
    "absent / deleted": "nothing",
    "clean / absent": "local-only",
    "clean / same": "gone there, local-only",
    "clean / newer": ConflictError,
    "clean / deleted": "nothing",
    "clean / older": "gone there, local-only",
    "clean / diverged": ConflictError,
    "dirty / absent": "local-only",
    "dirty / same": "gone there, local-only",
    "dirty / diverged": ConflictError,
    "dirty / deleted": "local-only",
    "deleted / absent": "nothing",
    "deleted / same": "gone",
    "deleted / older": "gone",
    "deleted / newer": ConflictError,
    "deleted / deleted": "nothing",
    "local-only / absent": "nothing",
    "local-only / deleted": "nothing",
    "local-only / present": ConflictError,
}

DELETE_LOCAL = {
    "absent / absent": "nothing",
    "absent / present": "nothing",
    "absent / deleted": "nothing",
    "clean / absent": ConflictError,
    "clean / same": "evicted",
    "clean / newer": "evicted",
    "clean / deleted": "evicted",
    "clean / older": ConflictError,
    "clean / diverged": ConflictError,
    "dirty / absent": ConflictError,
    "dirty / same": ConflictError,
    "dirty / diverged": ConflictError,
    "dirty / deleted": ConflictError,
    "deleted / absent": "nothing",
    "deleted / same": "nothing",
    "deleted / older": "nothing",
    "deleted / newer": "nothing",
    "deleted / deleted": "nothing",
    "local-only / absent": ConflictError,
    "local-only / deleted": ConflictError,
    "local-only / present": ConflictError,
}

PUT = {
    "absent / absent": Action.CREATE,
    "absent / present": Action.CREATE,
    "absent / deleted": Action.CREATE_NEXT,
    "deleted / absent": Action.CREATE_NEXT,
    "deleted / same": Action.REVIVE,
    "deleted / older": Action.CREATE_NEXT,
    "deleted / newer": Action.REVIVE,
    "deleted / deleted": Action.CREATE_NEXT,
}


def check(case, expected):
    """That both sides hold what a cell says."""
    ours, theirs = case.now()
    here, there = shown(case.local, MADE), shown(case.remote, MADE)
    before_here, before_there = (_shown(case.ours), _shown(case.theirs))
    if expected in ("nothing", "warning"):
        assert (here, there) == (before_here, before_there)
    elif expected == "ours":
        assert here == there == before_here
        assert entry(case.local, MADE).base == ours.etag
    elif expected == "theirs":
        assert here == before_there == there
        assert entry(case.local, MADE).base == ours.etag
    elif expected == "edit":
        assert here[1] is False
        assert ours.data()["title"] in ("ours", "theirs")
        assert not ours.conflicts
    elif expected == "conflict":
        assert here == there
        assert ours.etag == max(case.ours.etag, case.theirs.etag)
        assert {ours.etag, *(lost.etag for lost in ours.conflicts)} == {case.ours.etag, case.theirs.etag}
        assert b"ours" in ours.content + ours.conflicts[0].content
    elif expected == "gone":
        assert ours.deleted is not None
        assert theirs is None or theirs.deleted is not None
        assert here == there
    elif expected == "gone here":
        assert ours.deleted is not None
        assert there == before_there
    elif expected == "gone there":
        assert here is None
        assert theirs.deleted is not None
    else:
        assert "local-only" in expected
        assert here == before_here
        assert theirs is None or theirs.deleted is not None
        assert entry(case.local, MADE).intent is Intent.LOCAL_ONLY
        case.engine.sync(everything=True)
        assert shown(case.local, MADE) == here
        assert shown(case.remote, MADE) == there


def _shown(record):
    return None if record is None else (
        record.etag, record.deleted is not None, frozenset(c.etag for c in record.conflicts)
    )  # fmt: skip


def carry_out(case, call, expected):
    if isinstance(expected, type):
        with pytest.raises(expected):
            call()
        assert (shown(case.local, MADE), shown(case.remote, MADE)) == (_shown(case.ours), _shown(case.theirs))
        return None
    result = call()
    check(case, expected)
    return result


@pytest.fixture
def case(places, row):
    made = Maker(places).make(method(row))
    assert str(made.state()) == row
    return made


@pytest.mark.parametrize("row", ROWS)
def test_background_sync(case, row):
    report = carry_out(case, case.engine.sync, SYNC[row])
    assert not report.failed
    again = shown(case.local, MADE), shown(case.remote, MADE)
    case.engine.sync(everything=False)
    assert (shown(case.local, MADE), shown(case.remote, MADE)) == again


@pytest.mark.parametrize("row", ROWS)
def test_get(case, row):
    got = carry_out(case, lambda: case.engine.get(ref(MADE)), GET[row])
    if got is not None:
        assert got.record == find(case.local, MADE)
        assert not got.stale
        assert (got.action is Action.LOCAL_WARNING) == (GET[row] == "warning")
        assert (got.action is Action.LOCAL_CONFLICTS) == row.endswith("diverged")


@pytest.mark.parametrize("row", ROWS)
def test_put(case, row):
    state = case.state()
    action = TABLE[Local(state.local), Remote(state.remote)].put
    assert action is PUT.get(row, Action.NEW_VERSION)
    if action is Action.CREATE_NEXT:
        check_the_next_generation(case)
        return
    head = find(case.local, MADE)
    put(case.local, project(description="put") if head is None else edited(head, description="put"))
    assert not case.engine.push([ref(MADE)]).failed
    ours, theirs = case.now()
    assert shown(case.local, MADE) == shown(case.remote, MADE)
    assert b"put" in ours.content + b"".join(lost.content for lost in ours.conflicts)
    assert ours.deleted is None
    assert entry(case.local, MADE).intent is Intent.TRACK
    assert entry(case.local, MADE).base == theirs.etag


def check_the_next_generation(case):
    """That the name, put again, is another object on both sides, and that the old one stays deleted."""
    workspace = Workspace(case.local)
    workspace.records.remotes = Remotes(case.engine, default="lab")
    made = workspace.projects.put(Project(name="iris", description="put"), remote="lab")
    assert made.id == object_id("project", None, "iris", generation=1)
    assert case.remote.get("project", made.id).data()["description"] == "put"
    case.engine.sync()
    ours, theirs = case.now()
    assert ours.deleted is not None
    assert theirs.deleted is not None
    assert entry(case.local, MADE).base == theirs.etag


@pytest.mark.parametrize("row", ROWS)
def test_delete_all(case, row):
    carry_out(case, lambda: case.engine.delete(ref(MADE)), DELETE_ALL[row])


@pytest.mark.parametrize("row", ROWS)
def test_delete_remote(case, row):
    carry_out(case, lambda: case.engine.delete(ref(MADE), mode="remote"), DELETE_REMOTE[row])


@pytest.mark.parametrize("row", ROWS)
def test_delete_local(case, row):
    expected = DELETE_LOCAL[row]
    if expected != "evicted":
        carry_out(case, lambda: case.engine.delete(ref(MADE), mode="local"), expected)
        return
    try:
        case.engine.delete(ref(MADE), mode="local")
    except UnsupportedError:
        pytest.skip("this store cannot remove a local copy yet")
    assert shown(case.local, MADE) is None
    assert shown(case.remote, MADE) == _shown(case.theirs)


def test_every_row_is_tested():
    for column in (SYNC, GET, DELETE_ALL, DELETE_REMOTE, DELETE_LOCAL):
        assert set(column) == set(ROWS)
