"""Full disks, failing disks, read-only folders, stores that are gone."""

import contextlib
import os
import shutil
from io import BytesIO

import pytest

import padre_core as padre

from .conftest import fill


def test_a_full_disk_is_an_error_and_earlier_data_stays_readable(small_disk, check):
    folder = small_disk / "store"
    fill(folder)
    made = []
    workspace = padre.open(folder)
    with pytest.raises(padre.BackendError, match="space"):  # it fails sometime
        for number in range(10_000):
            project = padre.Project(name=f"p{number}", description="x" * 50_000)
            made.append(workspace.projects.put(project).name)
    check(workspace)
    assert {project.name for project in workspace.projects.list()} == {"iris", *made}
    with contextlib.suppress(padre.BackendError):  # what cannot be folded stays in the log
        workspace.close()
    with padre.open(folder, readonly=True) as reader:
        check(reader)
        assert {project.name for project in reader.projects.list()} == {"iris", *made}


def test_points_on_a_full_disk_are_kept_or_refused(small_disk, check):
    folder = small_disk / "store"
    fill(folder)
    filler = small_disk / "filler"
    workspace = padre.open(folder)
    run = workspace.start_run("iris/svc", name="second")
    filler.write_bytes(bytes(1_000_000))
    with pytest.raises(OSError, match="space"):
        filler.write_bytes(bytes(10_000_000))
    logged = 0
    with pytest.raises(padre.BackendError):  # it fails sometime
        for _ in range(1_000_000):
            run.log_metric("loss", float(logged))
            logged += 1
    descriptors = len(os.listdir("/dev/fd"))
    for _ in range(20):
        with pytest.raises(padre.BackendError):
            run.log_points("loss", [0.0] * 100_000)
    assert len(os.listdir("/dev/fd")) == descriptors
    with padre.open(folder, readonly=True) as reader:
        values = list(reader.runs.points(run.id, "loss").values)
        assert values == [float(number) for number in range(logged)]
        check(reader)
    filler.unlink()
    run.log_metric("loss", float(logged))
    run.finish()
    workspace.close()
    with padre.open(folder, readonly=True) as reader:
        assert len(reader.runs.points(run.id, "loss").values) == logged + 1
        assert reader.runs.get(run.id).status == "finished"


@pytest.mark.parametrize("small_disk", ["24m"], indirect=True)  # a log of the usual size fits, and all runs into it
@pytest.mark.parametrize("pages", [0, 1, 2, 5, 30, 100])
def test_runs_that_a_full_disk_keeps_from_the_tree_stay_in_the_log_until_there_is_room(small_disk, pages, check):
    folder = small_disk / "store"
    fill(folder)
    workspace = padre.open(folder)
    for number in range(COUNT):
        with workspace.start_run("iris/svc", name=f"run-{number}") as run:
            run.log_points("loss", [float(number)] * 100)
            run.log(f"line {number}")
            run.log_split(0, train=[number])
    assert folded(folder) == 1, "all but what was stored before waits in the log"
    filler = fill_up(small_disk, pages)
    with pytest.raises(padre.BackendError, match="space"):
        workspace.backend.fold()
    assert folded(folder) <= COUNT
    everything_is_there(workspace)
    with pytest.raises(padre.BackendError, match="space"):
        workspace.close()
    with padre.open(folder, readonly=True) as reader:
        check(reader)
        everything_is_there(reader)
    filler.unlink()
    with padre.open(folder) as again:
        everything_is_there(again)
        assert list(again.verify()) == []
    assert folded(folder) == COUNT + 1
    assert not [path for path in folder.rglob("*") if path.name.startswith(".") or path.suffix == ".tmp"]
    with padre.open(folder, readonly=True) as reader:
        check(reader)
        everything_is_there(reader)


COUNT = 60


def everything_is_there(workspace):
    """Fails unless each run is whole."""
    runs = [run for run in workspace.runs.list() if run.name != "first"]
    assert sorted(run.name for run in runs) == sorted(f"run-{number}" for number in range(COUNT))
    splits = {split.run: split.train for split in workspace.splits.list()}
    for run in runs:
        number = int(run.name.removeprefix("run-"))
        assert run.status == "finished"
        assert run.metrics["loss"].count == 100
        assert list(workspace.runs.points(run, "loss").values) == [float(number)] * 100
        assert [line.text for line in workspace.runs.lines(run)] == [f"line {number}"]
        assert list(splits[run.id]) == [number]


def folded(folder):
    """How many runs have come into the tree."""
    return len(list(folder.glob("runs/*/*/*/run.json")))


def fill_up(disk, pages):
    """Writes a file that leaves only so many pages of a disk."""
    filler = disk / "filler"
    state = os.statvfs(disk)
    filler.write_bytes(bytes((state.f_bavail - pages) * state.f_bsize))
    assert os.statvfs(disk).f_bavail == pages
    return filler


def test_an_artifact_that_does_not_fit_leaves_nothing(small_disk, check):
    folder = small_disk / "store"
    fill(folder)
    with padre.open(folder) as workspace:
        (run,) = workspace.runs.list()
        with pytest.raises(padre.BackendError, match="space"):
            workspace.artifacts.upload(run, BytesIO(bytes(8_000_000)), path="large")
        check(workspace)
        workspace.artifacts.upload(run, BytesIO(bytes(100_000)), path="small")
        assert [problem for problem in workspace.verify() if problem.code != "unused-blob"] == []
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < 1_000_000


def test_a_disk_that_fails_is_an_error_and_the_rest_stays_readable(store, unreadable, check):
    (file,) = store.glob("runs/*/*/*/run.json")
    (blob,) = [path for path in store.glob("blobs/*/*") if path.read_bytes() == b"bytes of a model"]
    with padre.open(store, readonly=True) as workspace:
        (run,) = workspace.runs.list()
        with unreadable(file), pytest.raises(padre.BackendError):
            workspace.runs.get(run.id)
        (artifact,) = workspace.artifacts.list(within=run)
        with unreadable(blob), pytest.raises(padre.BackendError):
            workspace.artifacts.read(artifact)
        with unreadable(file):
            assert workspace.experiments.get("iris/svc").title == "é"
        check(workspace)


def test_a_read_only_folder_says_how_to_read_it(store, read_only, check):
    with read_only(store):
        with pytest.raises(padre.AccessDeniedError, match="readonly=True"), padre.open(store) as workspace:
            check(workspace)
            workspace.projects.put(padre.Project(name="new"))
        with padre.open(store, readonly=True) as workspace:
            check(workspace)
            with pytest.raises(padre.ReadOnlyError):
                workspace.projects.put(padre.Project(name="new"))


def test_a_folder_that_becomes_read_only_is_an_error(store, read_only, check):
    with padre.open(store) as workspace:
        with read_only(store):
            workspace.projects.count()
            check(workspace)
        workspace.projects.put(padre.Project(name="new"))
    with padre.open(store, readonly=True) as workspace:
        assert workspace.projects.get("new").name == "new"


def test_a_removed_store_is_an_error_of_padre_and_is_not_made_again(store):
    workspace = padre.open(store)
    workspace.projects.put(padre.Project(name="new"))
    shutil.rmtree(store)
    with pytest.raises(padre.PadreError):
        workspace.experiments.get("iris/svc")
    with pytest.raises(padre.PadreError):  # acknowledged in the log that is gone, or refused
        workspace.runs.put(padre.Run(execution="iris/none"))
        workspace.close()
    with pytest.raises(padre.PadreError):
        padre.open(store, readonly=True)
    assert not store.exists()
