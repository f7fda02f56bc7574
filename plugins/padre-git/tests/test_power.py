"""The loss of power at any moment: git finds the repository sound, and all that was acknowledged is there.

The states that it may leave are made from the calls of a real process; see `power`.
"""

import json
import os
import random
import shutil
import sys

import pytest

import padre_core as padre
from padre_core.workspace import Workspace
from padre_git import transport
from padre_git.clone import CloneBackend

from . import power
from .by_hand import bare, fsck

CUTS = int(os.environ.get("PADRE_GIT_CUTS", "12"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.crash,
    pytest.mark.skipif(
        sys.platform != "linux" or (not shutil.which("strace") and not os.environ.get("CI")),
        reason="needs strace, which is of Linux",
    ),
]

BEGIN = """
import contextlib, itertools, json, os, sys
from pathlib import Path
import padre_core as padre
import padre_git.branch, padre_git.repository, padre_git.store, padre_git.tidying
import padre_core.streams.log
from padre_core.workspace import Workspace
from padre_git.clone import CloneBackend

root, snaps = Path(sys.argv[1]), Path(sys.argv[2])
numbers = itertools.count()
padre_git.branch._TIDY, padre_git.tidying.FEW = 2, 3  # packs are merged all the time
padre_git.store.THRESHOLD = 150_000


def say(word, **what):
    os.write(1, f"# {word} {json.dumps(what)}\\n".encode())


def snap():
    "Tells what is in the logs, which no call tells."
    for log in root.glob("*.git/padre/**/log/*-*"):
        with contextlib.suppress(FileNotFoundError):  # it was folded meanwhile
            number = next(numbers)
            (snaps / str(number)).write_bytes(log.read_bytes().rstrip(b"\\0"))
            os.write(1, f"# snap {number} {log}\\n".encode())


def watch(place, name):
    real = getattr(place, name)

    def watched(fd):
        snap()
        real(fd)

    setattr(place, name, watched)


watch(padre_core.streams.log, "datasync")
watch(padre_git.branch, "sync_all")


def project(lab, name):
    lab.projects.put(padre.Project(name=name))
    snap()
    say("project", name=name)


def run(lab, name, *sizes):
    with lab.start_run("iris/svc", name=name, parameters={"C": len(sizes)}) as run:
        run.log_points("loss", [0.5, 0.25])
        for number, size in enumerate(sizes):
            file = snaps.parent / f"{number}.bin"
            file.write_bytes(bytes([number]) * size)
            run.log_artifact(file)
    snap()
    say("run", id=run.id, name=name, sizes=sizes)
"""

MACOS = """
import fcntl
del os.posix_fallocate, os.posix_fadvise, os.O_TMPFILE  # which it lacks, as it does syncfs
fcntl.F_FULLFSYNC = 51  # refused here, as it is there on some network disks
sys.platform = "darwin"
"""

ALONE = """
with padre.open(f"git+{(root / 'lab.git').as_uri()}?branch=team/lab", linger=0) as lab:
    say("opened")
    run(lab, "a")
    project(lab, "one")
    run(lab, "b", 100, 20_000)
    lab.backend.store.branch.tag("published", None, None, power=True)
    say("tag", name="published")
    run(lab, "c", 200_000)
    lab.projects.delete("one")
    say("deleted", name="one")
    for number in range(5):
        run(lab, f"d{number}")
"""

CLONE = """
url = sys.argv[3]
with Workspace(CloneBackend(url, clone=snaps.parent / "other.git", linger=0)) as other:
    project(other, "o")
    other.backend.publish()
    with Workspace(CloneBackend(url, clone=root / "lab.git", linger=0)) as lab:
        say("opened")
        for number in range(3):
            run(lab, f"a{number}", 20_000)
            project(other, f"o{number}")
            other.backend.publish()
            lab.backend.pull()
            project(lab, f"p{number}")
            lab.backend.publish()
        run(lab, "b", 200_000)
        lab.backend.publish()
"""


def states(tmp_path, cuts, script, *arguments):
    """Some of what the loss of power may leave, and what was acknowledged by then."""
    root, snaps, trace = (tmp_path / name for name in ("disk", "snaps", "trace"))
    root.mkdir()
    snaps.mkdir()
    power.record([sys.executable, "-c", BEGIN + script, str(root), str(snaps), *arguments], trace)
    told = list(power.calls(trace))
    disk = power.Disk(root, snaps)
    moments = [place for place, call in enumerate(told) if disk.take(call)]
    assert disk.said[-1].startswith(("run", "project")), "the trace is not whole"
    dice = random.Random(os.environ.get("PADRE_GIT_SEED", "7"))
    chosen = sorted(dice.sample(moments, min(cuts, len(moments))))
    disk = power.Disk(root, snaps)
    begin = 0
    for number, moment in enumerate(chosen):
        for call in told[begin : moment + 1]:
            disk.take(call)
        begin = moment + 1
        for how in ("nothing", "names", "some", "some"):
            left = tmp_path / f"left-{number}"
            disk.leave(left, how, dice)
            call = told[moment]
            yield left, disk.said, f"{how} after {moment}: {call.name}({call.arguments[:200]})"
            shutil.rmtree(left)


def acknowledged(said):
    return [(word, json.loads(what)) for word, _, what in (line.partition(" ") for line in said)]


def check(lab, said):
    """All that was acknowledged is there."""
    projects, runs = {found.name for found in lab.projects.list()}, {found.id: found for found in lab.runs.list()}
    told = acknowledged(said)
    gone = {what["name"] for word, what in told if word == "deleted"}
    for word, what in told:
        if word == "project" and what["name"] != "one":
            assert what["name"] in projects
        elif word == "run":
            assert runs[what["id"]].name == what["name"]
            assert runs[what["id"]].status == "finished"
            assert runs[what["id"]].parameters == {"C": len(what["sizes"])}
            assert list(lab.runs.points(what["id"], "loss").values) == [0.5, 0.25]
            files = sorted(lab.artifacts.list(f"owner == '{what['id']}'"), key=lambda artifact: artifact.path)
            assert [lab.artifacts.read(file) for file in files] == [
                bytes([number]) * size for number, size in enumerate(what["sizes"])
            ]
    assert not gone & projects


@pytest.mark.parametrize("system", ["", MACOS], ids=["linux", "macos"])
def test_the_loss_of_power_leaves_a_sound_repository_that_holds_all_that_was_acknowledged(tmp_path, system):
    for left, said, moment in states(tmp_path, CUTS, system + ALONE):
        try:
            repository = left / "lab.git"
            if repository.exists():
                fsck(repository)
            with padre.open(f"git+{repository.as_uri()}?branch=team/lab", linger=0) as lab:
                check(lab, said)
                lab.projects.put(padre.Project(name="after"))
                tags = lab.backend.store.branch.tags()
                assert ("tag", {"name": "published"}) not in acknowledged(said) or tags == ["published"]
            fsck(repository)
        except Exception as error:
            error.add_note(moment)
            raise


def test_the_loss_of_power_in_a_clone_loses_nothing_that_it_acknowledged_and_it_goes_on_exchanging(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(transport, "_SETTLED", 0.0)
    url = f"git+{bare(tmp_path / 'bare.git').as_uri()}"
    for left, said, moment in states(tmp_path, max(1, CUTS // 10), CLONE, url):
        try:
            clone = left / "lab.git"
            if clone.exists():
                fsck(clone)
            own = [line for line in said if '"name": "o' not in line]
            if own:  # what the other clone stored is in the repository that both exchange with
                with padre.open(f"git+{clone.as_uri()}", readonly=True) as lab:
                    check(lab, own)
            with Workspace(CloneBackend(url, clone=clone, linger=0)) as lab:
                lab.backend.publish()
                lab.backend.pull()
                check(lab, said)
            fsck(clone)
        except Exception as error:
            error.add_note(moment)
            raise
