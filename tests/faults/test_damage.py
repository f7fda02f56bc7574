"""Bits that flip, files that are not files, folders that were moved, copied, edited and restored."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys

import pytest

import padre_core as padre
from padre_core.backends.layout import encode_marker

from .conftest import fill

ALL_BITS = "PADRE_ALL_BITS" in os.environ
"""Whether to flip every bit of a store; else one of each byte, and in large files of each third."""


def files_of(store):
    return sorted(path for path in store.rglob("*") if path.is_file() and path.parent.name != "log")


def test_verify_finds_every_flipped_bit(store):
    with padre.open(store, readonly=True) as workspace:
        assert list(workspace.verify()) == []
        for file in files_of(store):
            whole = file.read_bytes()
            missed = []
            for place in range(0, len(whole), 1 if ALL_BITS or len(whole) < 600 else 3):
                for bit in range(8) if ALL_BITS else [random.Random(place).randrange(8)]:
                    damaged = bytearray(whole)
                    damaged[place] ^= 1 << bit
                    file.write_bytes(damaged)
                    if not list(workspace.verify()):
                        missed.append((place, bit))
            file.write_bytes(whole)
            assert missed == [], f"{file.relative_to(store)} of {len(whole)} bytes"
        assert list(workspace.verify()) == []


def test_a_damaged_file_is_an_error_and_the_rest_stays_readable(store):
    for file in files_of(store):
        if file.name == "padre.json":
            continue
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2] + b"#" + whole[len(whole) // 2 + 1 :])
        with padre.open(store, readonly=True) as workspace:
            problems = list(workspace.verify())
            assert str(file.relative_to(store)) in {problem.where for problem in problems}
            readable = 0
            for service in (workspace.projects, workspace.experiments, workspace.runs, workspace.splits):
                for item in service.list():
                    try:
                        readable += service.get(item.id) == item
                    except padre.CorruptObjectError:
                        continue
            assert readable >= 3
        file.write_bytes(whole)


def test_a_sound_file_in_the_place_of_another_object_is_never_given_as_that_object(store):
    (project,) = store.glob("projects/*/*/*.json")
    (experiment,) = store.glob("experiments/*/*/*.json")
    (run,) = store.glob("runs/*/*/*/run.json")
    other = run.parent.with_name(f"{run.parent.name[:8]}-0000-7000-8000-{run.parent.name[24:]}")
    other.mkdir()
    shutil.copy(run, other)
    shutil.copy(project, experiment)
    with padre.open(store, readonly=True) as workspace:
        for service, id in ((workspace.runs, other.name), (workspace.experiments, experiment.stem)):
            with pytest.raises(padre.CorruptObjectError, match="which belongs elsewhere"):
                service.get(id)
        assert workspace.runs.get(run.parent.name).id == run.parent.name


def test_quarantine_moves_what_is_damaged_aside_and_the_rest_works(store):
    (file,) = store.glob("runs/*/*/*/children.json")
    file.write_bytes(file.read_bytes().replace(b"model.bin", b"modEl.bin"))
    with padre.open(store) as workspace:
        (problem,) = [problem for problem in workspace.verify(quarantine=True) if problem.code == "corrupt"]
        assert problem.quarantined
        assert not file.exists()
        assert (store / "quarantine" / file.relative_to(store)).exists()
        workspace.projects.put(padre.Project(name="new"))
        assert workspace.runs.count() == 1


def test_a_damaged_marker_is_refused_and_nothing_is_written(store):
    marker = store / "padre.json"
    marker.write_bytes(marker.read_bytes().replace(b'"format":1', b'"format":0'))
    before = {path: path.read_bytes() for path in files_of(store)}
    with pytest.raises(padre.PadreError):
        padre.open(store)
    assert {path: path.read_bytes() for path in files_of(store)} == before


def test_the_id_of_a_store_is_no_path(store, tmp_path, monkeypatch):
    monkeypatch.setenv("PADRE_CACHE", str(tmp_path / "cache"))
    (store / "padre.json").write_bytes(encode_marker("../elsewhere/x"))
    with pytest.raises(padre.CorruptObjectError), padre.open(store) as workspace:
        workspace.projects.count()
    assert not (tmp_path / "elsewhere").exists()


DIES = """
import os, signal, sys
import padre_core as padre
workspace = padre.open(sys.argv[1])
workspace.projects.put(padre.Project(name="logged"))
run = workspace.start_run("iris/svc", name="logged")
run.log_points("loss", [n / 7 for n in range(20)])
for n in range(20, 40):
    run.log_metric("loss", n / 7)
run.log("line")
run.log("the end of a log cannot be told from what was being written")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_flipped_bit_in_the_log_of_a_dead_process_is_told_or_harms_nothing(store, tmp_path):
    done = subprocess.run([sys.executable, "-c", DIES, store], check=False)
    assert done.returncode == -signal.SIGKILL
    (log,) = [path for path in (store / "log").iterdir() if re.fullmatch(r"[0-9a-f]{16}-\d+", path.name)]
    used = len(log.read_bytes().rstrip(b"\0"))
    chance = random.Random(1)
    for place in range(used) if ALL_BITS else [*range(24), *chance.sample(range(24, used), 40)]:
        copy = tmp_path / "copy"
        shutil.copytree(store, copy)
        with (copy / "log" / log.name).open("r+b") as file:
            file.seek(place)
            byte = file.read(1)[0]
            file.seek(place)
            file.write(bytes([byte ^ 1 << chance.randrange(8)]))
        with padre.open(copy) as workspace:
            problems = list(workspace.verify())
            runs = list(workspace.runs.list("name == 'logged'"))
            whole = bool(
                runs
                and workspace.projects.count("name == 'logged'")
                and list(workspace.runs.points(runs[0], "loss").values) == [n / 7 for n in range(40)]
                and "line" in [line.text for line in workspace.runs.lines(runs[0])]
            )
            assert whole or problems, f"the bit in byte {place} of {used} was lost without a word"
        shutil.rmtree(copy)


@pytest.mark.parametrize("make", ["symlink", "fifo", "folder"])
def test_what_is_no_file_in_the_place_of_one_is_refused(store, tmp_path, make):
    (file,) = store.glob("runs/*/*/*/run.json")
    outside = tmp_path / "outside.json"
    file.rename(outside)
    {"symlink": lambda: file.symlink_to(outside), "fifo": lambda: os.mkfifo(file), "folder": file.mkdir}[make]()
    with padre.open(store) as workspace:
        id = file.parent.name
        with pytest.raises(padre.PadreError):
            workspace.runs.get(id)
        with pytest.raises(padre.PadreError):
            workspace.runs.put(padre.Run(id=id, execution=workspace.executions.list().__iter__().__next__()))
        assert workspace.experiments.get("iris/svc").title == "é"


@pytest.mark.parametrize("make", ["symlink", "fifo"])
def test_what_is_no_file_among_the_logs_is_not_followed(store, tmp_path, check, make):
    log = store / "log" / f"{'0' * 16}-000001"
    outside = tmp_path / "outside"
    outside.write_bytes(b"secret")
    log.symlink_to(outside) if make == "symlink" else os.mkfifo(log)
    with padre.open(store, readonly=True) as workspace:
        check(workspace)
    assert outside.read_bytes() == b"secret"


def test_a_moved_store_is_the_same(store, tmp_path, check):
    with padre.open(store) as workspace:
        id = workspace.backend.info().store
    store.rename(tmp_path / "elsewhere")
    with padre.open(tmp_path / "elsewhere") as workspace:
        check(workspace)
        assert workspace.backend.info().store == id


def test_a_copy_of_a_store_that_is_being_written_holds_what_was_acknowledged(store, tmp_path, check):
    with padre.open(store) as workspace:
        run = workspace.start_run("iris/svc", name="second")
        run.log_metric("loss", 0.5)
        shutil.copytree(store, tmp_path / "copy")
        run.finish()
    with padre.open(tmp_path / "copy") as workspace:
        check(workspace)
        (run,) = workspace.runs.list("name == 'second'")
        assert run.status == "lost"
        assert list(workspace.runs.points(run, "loss").values) == [0.5]
        workspace.projects.put(padre.Project(name="only in the copy"))
    with padre.open(store) as workspace:
        assert workspace.projects.count("name == 'only in the copy'") == 0


def test_an_older_backup_in_the_place_of_a_store_answers_as_it_did(store, tmp_path, check):
    shutil.copytree(store, tmp_path / "backup")
    with padre.open(store) as workspace:
        workspace.projects.put(padre.Project(name="later"))
        workspace.experiments.put(padre.Experiment(name="svc", project="iris", title="later"))
        assert workspace.projects.count() == 2
    shutil.rmtree(store)
    shutil.copytree(tmp_path / "backup", store)
    with padre.open(store) as workspace:
        check(workspace)
        assert [project.name for project in workspace.projects.list()] == ["iris"]
        workspace.experiments.put(padre.Experiment(name="svc", project="iris", title="é", seed=1))
        assert workspace.experiments.list("seed == 1").__iter__().__next__().name == "svc"


def test_a_file_that_was_edited_by_hand_is_refused_until_it_is_accepted(store):
    (file,) = store.glob("experiments/*/*/*.json")
    file.write_bytes(file.read_bytes().replace("é".encode(), b"edited"))
    with padre.open(store) as workspace:
        with pytest.raises(padre.CorruptObjectError, match="accept-edits"):
            workspace.experiments.get("iris/svc")
        workspace.refresh(accept_edits=True)
        experiment = workspace.experiments.get("iris/svc")
        assert experiment.title == "edited"
        assert experiment.etag.startswith("2-")
        assert list(workspace.verify()) == []


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("experiments", b'"name":"svc"', b'"name":"svm"'),
        ("projects", b'"name":"iris"', b'"name":"digits"'),
        ("runs", b'"execution":"', b'"execution":"0'),
    ],
)
def test_an_edit_of_what_names_an_object_is_refused(store, kind, old, new):
    file = next(file for file in sorted(store.rglob("*.json")) if kind in file.parts and old in file.read_bytes())
    before = file.read_bytes()
    file.write_bytes(before.replace(old, new))
    with padre.open(store) as workspace, pytest.raises(padre.CorruptObjectError, match="never changes"):
        workspace.refresh(accept_edits=True)
    file.write_bytes(before)
    with padre.open(store) as workspace:
        assert list(workspace.verify()) == []


def test_a_store_without_its_folder_of_logs_is_verified(store):
    shutil.rmtree(store / "log")
    with padre.open(store, readonly=True) as workspace:
        assert list(workspace.verify()) == []


def test_two_stores_do_not_share_an_index(tmp_path, check):
    for name in ("one", "two"):
        fill(tmp_path / name)
    shutil.rmtree(tmp_path / "one")
    (tmp_path / "two").rename(tmp_path / "one")
    with padre.open(tmp_path / "one") as workspace:
        check(workspace)
        assert workspace.runs.count() == 1
