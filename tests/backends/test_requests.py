"""How many requests a bucket is asked, by a store that counts them."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import pytest

import padre_core as padre
from padre_core.backends import spooled
from padre_core.backends.backend import Write
from padre_core.backends.bytestore import ABSENT, UNBORN
from padre_core.backends.memory import MemoryStore
from padre_core.backends.spooled import SpooledBackend
from padre_core.objects.identity import run_child_id
from padre_core.query.model import Query
from padre_core.testing import samples
from padre_core.testing.counting import CountingStore

CLOUD = Path(__file__).parents[2] / "docs" / "cloud.md"


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("PADRE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PADRE_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(
        spooled, "PACE", (600.0, 600.0)
    )  # on a busy machine a run takes longer, and is shipped meanwhile


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


def ours(text):
    """The figures of the table in the docs."""
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| ")]
    return {name.strip(): int(count) for name, count in rows if count.strip().isdecimal()}


def test_the_table_in_the_docs_says_what_is_counted(opened, bucket):
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
    fill(opened, sessions=40, runs=1)
    search(opened(readonly=True))
    with counting("open and search, nothing new"):
        search(again(readonly=True))
    fill(opened, sessions=3, runs=1)
    with counting("open and search, three new notes"):
        search(again(readonly=True))
    assert counted.items() <= ours(CLOUD.read_text()).items()


def test_the_table_in_the_docs_says_what_a_run_costs():
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
        backend._recent.clear()
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


def test_a_run_of_100_000_points_costs_at_most_20_requests(opened):
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


def test_one_object_is_put_by_at_most_3_requests(opened):
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


def test_what_lies_in_one_run_is_put_together(opened):
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
    assert len(list(bucket.list("log/"))) == 1
    assert len(search(opened(readonly=True)).records) == 20
