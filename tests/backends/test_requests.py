"""How many requests a bucket is asked, by a store that counts them."""

from __future__ import annotations

import random
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

import padre_core as padre
from padre_core.backends import notes, spooled
from padre_core.backends.backend import Write
from padre_core.backends.bytestore import ABSENT, UNBORN
from padre_core.backends.memory import MemoryStore
from padre_core.backends.spooled import SpooledBackend
from padre_core.errors import ConflictError
from padre_core.objects.identity import run_child_id
from padre_core.query.model import Query
from padre_core.testing import samples
from padre_core.testing.counting import CountingStore

CLOUD = Path(__file__).parents[2] / "docs" / "cloud.md"


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("PADRE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PADRE_STATE", str(tmp_path / "state"))
    # On a busy machine a run takes longer: it is shipped meanwhile, and what is believed for a second is asked again.
    monkeypatch.setattr(spooled, "PACE", (600.0, 600.0))
    moment, ticks = time.time(), time.monotonic()
    monkeypatch.setattr(time, "time", lambda: moment)
    monkeypatch.setattr(time, "monotonic", lambda: ticks)
    # Who looks first at the notes of others is the same each time: what is counted must not fail once in a while.
    monkeypatch.setattr(notes.secrets, "randbelow", random.Random(6).randrange)


@pytest.fixture
def no_chance(monkeypatch):
    """Looks at the notes of others only at the end, so that counts are the same each time."""
    monkeypatch.setattr(notes, "LOOK", 10**12)


@pytest.fixture
def bucket():
    return MemoryStore("memory://")


@pytest.fixture
def opened(bucket):
    """Opens the bucket; each opening counts its own requests, in `backend.store`."""
    made = []

    def opened(**options):
        made.append(SpooledBackend(CountingStore(bucket), **options))
        return made[-1]

    yield opened
    for backend in made:
        backend.close()


def search(backend):
    return backend.query("run", Query(limit=20))


def fill(opened, sessions, runs):
    for _ in range(sessions):
        backend = opened()
        backend.put_many([Write(samples.run(), ABSENT) for _ in range(runs)])
        backend.close()


def test_a_store_of_10_000_runs_is_opened_and_searched_by_at_most_60_requests(opened, monkeypatch, tmp_path):
    fill(opened, sessions=200, runs=50)
    for more in (0, 20, 19):  # whatever of the notes waits to be merged
        fill(opened, sessions=more, runs=1)
        monkeypatch.setenv("PADRE_CACHE", str(tmp_path / f"cache-{more}"))
        backend = opened(readonly=True)
        assert len(search(backend).records) == 20
        assert backend.count("run", Query()) >= 10_000
        assert backend.store.total <= 60


def test_10_000_runs_of_40_writers_at_once_are_opened_and_searched_by_at_most_60_requests(
    opened, bucket, monkeypatch, tmp_path
):
    writers = [opened() for _ in range(40)]
    for number in range(50):
        for writer in writers:
            writer.put_many([Write(samples.run(), UNBORN) for _ in range(5)])
        if number in (6, 30, 49):  # each of them left some notes, and none looked at its end
            monkeypatch.setenv("PADRE_CACHE", str(tmp_path / f"cache-{number}"))
            reader = opened(readonly=True)
            assert len(search(reader).records) == 20
            assert reader.store.total <= 60
            assert reader.count("run", Query()) == 200 * (number + 1)
    before, seen = reader.store.total, segments(bucket)
    for writer in writers[:5]:
        writer.put(samples.run(), if_match=UNBORN)
    search(reader)
    assert reader.store.total - before <= 2 + len(segments(bucket) - seen)
    assert sum(writer.store.total for writer in writers) <= 2 * 10_000


def segments(bucket):
    """What an index reads."""
    return {entry.key for prefix in ("log/", "snapshots/") for entry in bucket.list(prefix)}


def ours(text):
    """The figures of the table in the docs."""
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| ")]
    return {name.strip(): int(count) for name, count in rows if count.strip().isdecimal()}


def test_the_table_in_the_docs_says_what_is_counted(opened, bucket, no_chance):
    counted = {}

    @contextmanager
    def counting(name, backend=None):
        before = 0 if backend is None else backend.store.total
        made.clear()
        yield
        counted[name] = (backend or made[-1]).store.total - before

    made = []

    def again(**options):
        made.append(opened(**options))
        return made[-1]

    with counting("make a store"):
        backend = again()
    with counting("open a store"):
        other = again()
    project = samples.project()
    with counting("put a new object", backend):
        head = backend.put(project, if_match=ABSENT)
    with counting("get an object", other):
        other.get("project", project.id)
    with counting("put an object that this process read or wrote", other):
        head = other.put(samples.edited(head, title="one"), if_match=head.etag)
    fresh = opened()
    before = fresh.store.total
    fresh.put(samples.edited(head, title="two"), if_match=head.etag)
    counted["put an object that others may have changed"] = fresh.store.total - before
    run = fresh.put(samples.run(), if_match=UNBORN)
    ids = [run_child_id(run.id, "metric", str(number)) for number in range(100)]
    with counting("put 100 objects that live in one run", fresh):
        fresh.put_many([Write(samples.record("metric", id, {}, (run.id,)), ABSENT) for id in ids])
    with counting("put 100 objects that lie in files of their own", fresh):
        fresh.put_many([Write(samples.project(f"project-{number}"), ABSENT) for number in range(100)])
    fill(opened, sessions=40, runs=1)
    search(opened(readonly=True))
    with counting("open and search, nothing new"):
        search(again(readonly=True))
    fill(opened, sessions=3, runs=1)
    with counting("open and search, three new notes"):
        search(again(readonly=True))
    assert counted.items() <= ours(CLOUD.read_text()).items()


class Meeting(CountingStore):
    """Writes of projects wait for each other: four at a time, or not at all."""

    together = 4

    def __init__(self, store):
        super().__init__(store)
        self.barrier = threading.Barrier(self.together)

    def write(self, key, data, *, if_match=None):
        if key.startswith("projects/"):
            self.barrier.wait(60)
        return super().write(key, data, if_match=if_match)


def test_files_of_their_own_are_put_as_many_at_once_as_the_store_likes_with_one_note(bucket, no_chance):
    backend = SpooledBackend(Meeting(bucket))
    there = backend.put(samples.run(), if_match=ABSENT)
    before = backend.store.total
    writes = [Write(samples.project(f"project-{number}"), ABSENT) for number in range(8)]
    clash = Write(samples.edited(there, status="failed"), ABSENT)
    *results, refused = backend.put_many([*writes, clash])
    assert [result.id for result in results] == [write.record.id for write in writes]
    assert isinstance(refused, ConflictError)
    assert backend.store.total - before <= 8 + 1 + 2, "each file, a note, and what is there of the one that clashes"
    assert backend.count("project", Query()) == 8
    backend.close()


def test_the_table_in_the_docs_says_what_a_run_costs(no_chance):
    counted = {}
    backend = SpooledBackend(CountingStore(MemoryStore("memory://")))
    with padre.Workspace(backend) as workspace:
        for name in ("first run in a new store, with 100,000 points", "next run of the process"):
            before = 0 if not counted else backend.store.total
            with workspace.start_run("iris/svc", parameters={"C": 1.0}) as run:
                run.log_points("loss", range(100_000))
                run.log("done")
            counted[name] = backend.store.total - before
        with workspace.start_run("iris/svc") as live:
            live.log_metric("loss", 1.0)
            before = backend.store.total
            live.flush()
            counted["points of a running run, each time they are shipped"] = backend.store.total - before
        workspace.backend.get("run", run.id)
        before = backend.store.total
        backend._remembered.clear()
        assert sum(len(part.columns) for part in backend.read_stream(run.id, "points")) == 100_000
        counted["points of a finished run"] = backend.store.total - before
    counted["first run in a new store, with 100,000 points"] += 1  # closing looks at the notes
    assert counted.items() <= ours(CLOUD.read_text()).items()


def test_a_warm_index_costs_2_requests_and_one_for_each_new_note(opened):
    fill(opened, sessions=50, runs=2)
    search(reader := opened(readonly=True))
    reader.close()
    for new in (0, 1, 3):
        fill(opened, sessions=new, runs=1)
        reader = opened(readonly=True)
        search(reader)
        assert reader.store.total == 2 + new
        assert reader.store.requests["list"] == 1
        reader.close()


@pytest.mark.parametrize("chance", range(notes.LOOK))
def test_a_run_of_100_000_points_costs_at_most_20_requests_whatever_chance_decides(opened, chance, monkeypatch):
    monkeypatch.setattr(notes.secrets, "randbelow", lambda count: chance)
    backend = opened()
    with padre.Workspace(backend) as workspace, workspace.start_run("iris/svc", parameters={"C": 1.0}) as run:
        for step in range(100_000):
            run.log_metric("loss", step / 7, step=step)
        run.log("done")
    assert backend.store.total <= 20
    other = opened(readonly=True)
    assert other.get("run", run.id).summaries[0].count == 100_000
    assert len(samples.points_by_writer(other, run.id)) == 1
    assert len(list(other.store.list(f"runs/{run.id[-4:-2]}/{run.id[-2:]}/"))) == 3


def test_one_object_is_got_by_one_request(opened):
    record = opened().put(samples.run())
    backend = opened()
    before = backend.store.total
    backend.get("run", record.id)
    assert backend.store.total - before == 1


def test_one_object_is_put_by_at_most_3_requests(opened, no_chance):
    project = samples.project()
    first = opened()
    before = first.store.total
    head = first.put(project, if_match=ABSENT)
    assert first.store.total - before == 2
    for backend in (opened(), first):
        before = backend.store.total
        head = backend.put(samples.edited(head, title=backend.store.url + head.etag), if_match=head.etag)
        assert backend.store.total - before <= 3
    other = opened()
    before = other.store.total
    other.put(samples.run())
    assert other.store.total - before <= 4  # the run may have points already: one listing tells


def test_no_put_of_one_object_costs_more_than_3_requests_whatever_chance_says(opened, monkeypatch):
    monkeypatch.setattr(notes, "LOOK", 1)  # each note is to be followed by a look
    monkeypatch.setattr(notes, "OWN_NOTES", 2)
    backend, other = opened(), opened()
    projects = [other.put(samples.project(f"project-{number}"), if_match=ABSENT) for number in range(3)]
    counted = []
    for number in range(12):
        known = backend.get("project", projects[0].id)
        for put in (
            lambda number=number: backend.put(samples.project(f"new-{number}"), if_match=ABSENT),
            lambda known=known: backend.put(samples.edited(known, title=f"by us {known.etag}"), if_match=known.etag),
            lambda number=number: backend.put(samples.run(), if_match=ABSENT if number % 2 else UNBORN),
        ):
            before = backend.store.total
            put()
            counted.append(backend.store.total - before)
        if number < len(projects):
            unknown = opened()
            unknown.store.requests.clear()
            unknown.put(samples.edited(projects[number], title="theirs"), if_match=None)
            counted.append(unknown.store.total)
    assert max(counted) == 3
    assert len(backend._notes.own) <= 3, "they are merged, if not by each put"


def test_notes_are_kept_few_even_by_an_opening_that_has_no_request_to_spare(opened, bucket):
    project = opened().put(samples.project(), if_match=ABSENT)
    backend = opened()
    counted = []
    for number in range(200):
        backend._remembered.clear()
        before = backend.store.total
        project = backend.put(samples.edited(project, title=f"title {number}"))
        counted.append(backend.store.total - before)
    assert sum(count > 3 for count in counted) <= 200 / 8
    assert len(segments(bucket)) <= 60


@pytest.fixture
def asked(opened):
    """Another workspace on the bucket, and a function that counts what a call of it costs."""
    workspace = padre.Workspace(opened())

    def asked(call):
        before = workspace.backend.store.total
        result = call(workspace)
        return result, workspace.backend.store.total - before

    return asked


@pytest.fixture
def trained(opened):
    """A run that somebody else finished, below three objects."""
    with padre.Workspace(opened()) as workspace, workspace.start_run("iris/svc") as run:
        run.log_metric("loss", 1.0)
    return run.object


def later(monkeypatch, seconds):
    """Lets what is remembered for a second or so be forgotten."""
    now, monotonic = time.time, time.monotonic
    monkeypatch.setattr(time, "time", lambda: now() + seconds)
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + seconds)


def test_through_a_workspace_one_object_is_got_by_one_request(asked, trained, monkeypatch):
    asked(lambda workspace: workspace.runs.count())
    later(monkeypatch, 5)
    for _ in range(2):
        run, requests = asked(lambda workspace: workspace.runs.get(trained.id))
        assert (run.metrics["loss"].last, requests) == (1.0, 1)
        experiment, requests = asked(lambda workspace: workspace.experiments.get("iris/svc"))
        assert (experiment.name, requests) == ("svc", 1)
        later(monkeypatch, 5)


def test_a_machine_that_did_not_look_for_long_looks_once_and_gets_the_next_by_one_request(
    asked, trained, opened, monkeypatch
):
    asked(lambda workspace: workspace.runs.count())
    with padre.Workspace(opened()) as other:
        other.projects.put(padre.Project(name="news"))
    later(monkeypatch, 61)
    _, requests = asked(lambda workspace: workspace.runs.get(trained.id))
    assert requests == 3  # the run, the listing of `log/`, and the note that was new
    _, requests = asked(lambda workspace: workspace.runs.get(trained.id))
    assert requests == 1


def test_a_machine_without_an_index_reads_what_lies_above_and_fills_none(asked, trained, monkeypatch, tmp_path):
    monkeypatch.setenv("PADRE_CACHE", str(tmp_path / "another machine's"))
    _, requests = asked(lambda workspace: workspace.runs.get(trained.id))
    assert requests == 4
    assert not list(tmp_path.glob("another machine's/*.sqlite"))


def test_through_a_workspace_one_object_is_put_by_at_most_3_requests(no_chance, asked, trained, monkeypatch):
    asked(lambda workspace: workspace.runs.count())
    later(monkeypatch, 5)
    calls = {
        "a new root": lambda ws: ws.projects.put(padre.Project(name="new")),
        "new, below a name": lambda ws: ws.experiments.put(padre.Experiment(name="new", project="iris")),
        "new, below an id": lambda ws: ws.runs.put(padre.Run(execution=trained.execution, status="finished")),
        "in a run": lambda ws: ws.metrics.put(padre.Metric(run=trained.id, name="auc", value=1.0)),
        "fields of one that others made": lambda ws: ws.experiments.put(
            padre.Experiment(name="svc", project="iris", title="a title")
        ),
    }
    counted = {}
    for name, call in calls.items():
        _, counted[name] = asked(call)
        later(monkeypatch, 5)
    experiment, _ = asked(lambda workspace: workspace.experiments.get("iris/svc"))
    experiment.title = "another"
    _, counted["one that was got"] = asked(lambda workspace: workspace.experiments.put(experiment))
    assert {name: count for name, count in counted.items() if count > 3} == {}


def test_what_another_machine_just_made_is_not_made_again(asked, trained, opened, monkeypatch):
    asked(lambda workspace: workspace.runs.count())
    with padre.Workspace(opened()) as other:
        theirs = other.experiments.put(padre.Experiment(name="new", project="iris", title="theirs"))
    later(monkeypatch, 5)
    ours, _ = asked(
        lambda workspace: workspace.experiments.put(padre.Experiment(name="new", project="iris", description="ours"))
    )
    assert (ours.id, ours.title, ours.description) == (theirs.id, "theirs", "ours")
    found, _ = asked(lambda workspace: workspace.experiments.get("iris/new"))
    assert (found.title, found.description) == ("theirs", "ours")


def test_what_was_deleted_above_an_object_hides_it_at_once_on_the_same_machine_and_elsewhere_after_a_look(
    asked, trained, opened, monkeypatch, tmp_path
):
    asked(lambda workspace: workspace.runs.count())

    def get(workspace):
        return workspace.runs.get(trained.id)

    with padre.Workspace(opened()) as other:
        other.projects.delete("iris")
        later(monkeypatch, 2)
        with pytest.raises(padre.NotFoundError, match="hidden"):
            asked(get)
        with pytest.raises(padre.NotFoundError):
            asked(lambda workspace: workspace.experiments.get("iris/svc"))
        other.projects.restore("iris")
    later(monkeypatch, 2)
    assert asked(get)[0].id == trained.id
    monkeypatch.setenv("PADRE_CACHE", str(tmp_path / "another machine's"))
    with padre.Workspace(opened()) as other:
        other.projects.delete("iris")
    later(monkeypatch, 61)
    with pytest.raises(padre.NotFoundError, match="hidden"):
        asked(get)
    with padre.Workspace(opened()) as other:
        other.projects.restore("iris")
    assert asked(get)[0].id == trained.id, "that something is gone is believed of no index"


def test_nothing_is_put_below_what_another_machine_deleted_a_moment_ago(asked, trained, opened, monkeypatch, tmp_path):
    asked(lambda workspace: workspace.runs.count())
    monkeypatch.setenv("PADRE_CACHE", str(tmp_path / "another machine's"))
    with padre.Workspace(opened()) as other:
        old = other.experiments.get("iris/svc")
        other.experiments.delete(old)
    code, _ = asked(lambda ws: ws.codes.put(padre.Code(type="command", command=("train",))))
    later(monkeypatch, 5)
    with pytest.raises(padre.ConflictError, match="deleted"):
        asked(lambda ws: ws.executions.put(padre.Execution(experiment=old.id, code=code.id)))
    run, _ = asked(lambda ws: ws.start_run("iris/svc"))
    run.finish()
    again, _ = asked(lambda ws: ws.experiments.get("iris/svc"))
    assert again.id != old.id
    assert again.id in run.object.ancestors


def test_what_lies_in_one_run_is_put_together(opened, no_chance):
    backend = opened()
    run = backend.put(samples.run())
    before = backend.store.total
    ids = [run_child_id(run.id, "metric", str(number)) for number in range(100)]
    results = backend.put_many([Write(samples.record("metric", id, {}, (run.id,)), ABSENT) for id in ids])
    assert all(result.etag for result in results)
    assert backend.store.total - before == 3


def test_a_store_that_others_write_to_is_merged_by_40_openings_in_few_requests(opened, bucket):
    backends = []
    for _ in range(40):
        backends.append(opened())
        backends[-1].put(samples.run(), if_match=ABSENT)
        backends[-1].close()
    assert max(backend.store.total for backend in backends) <= 60
    assert sum(backend.store.total for backend in backends) <= 40 * 8
    assert len(list(bucket.list("log/"))) < 40
    assert opened(readonly=True).count("run", Query()) == 40
