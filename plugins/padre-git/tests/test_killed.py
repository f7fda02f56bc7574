"""kill -9 while a clone stores, pushes, fetches and merges."""

import os
import random
import signal
import subprocess
import sys
import time

from padre_core.workspace import Workspace
from padre_git import transport
from padre_git.clone import CloneBackend

from .by_hand import bare, fsck

ROUNDS = int(os.environ.get("PADRE_GIT_KILLS", "8"))

VICTIM = """
import itertools, sys
import padre_core as padre
from padre_core.workspace import Workspace
from padre_git import branch, tidying
from padre_git.clone import CloneBackend

branch._TIDY, tidying.FEW = 1, 2  # packs are merged all the time
url, clone, begin = sys.argv[1], sys.argv[2], int(sys.argv[3])
with Workspace(CloneBackend(url, clone=clone, linger=0.05)) as lab:
    for number in itertools.count(begin):
        lab.projects.put(padre.Project(name=f"p{number}"))
        print(number, flush=True)
        if number % 3 == 0:
            lab.backend.publish()
        elif number % 3 == 1:
            lab.backend.pull()
"""


def test_what_was_acknowledged_is_there_after_kills_and_both_repositories_are_sound(tmp_path, monkeypatch):
    monkeypatch.setattr(transport, "_SETTLED", 0.0)
    there = bare(tmp_path / "lab.git")
    url = f"git+{there.as_uri()}"
    dice = random.Random(7)
    acknowledged: set[str] = set()
    next_ = 0
    for round_ in range(ROUNDS):
        clone = tmp_path / f"clone{round_ % 2}.git"
        command = [sys.executable, "-c", VICTIM, url, str(clone), str(next_)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(dice.uniform(0, 0.6))
        os.kill(process.pid, signal.SIGKILL)
        said = (first + process.stdout.read()).split()
        process.stdout.close()
        process.wait()
        acknowledged |= {f"p{int(number)}" for number in said}
        next_ += len(said) + 1
        fsck(clone)
        fsck(there)
    clones = [Workspace(CloneBackend(url, clone=tmp_path / f"clone{side}.git")) for side in (0, 1)]
    for clone in (*clones, *clones):
        clone.backend.publish()
        clone.backend.pull()
    for clone in clones:
        assert acknowledged <= {project.name for project in clone.projects.list()}
        clone.close()
    assert len(acknowledged) >= ROUNDS
    for repository in (there, tmp_path / "clone0.git", tmp_path / "clone1.git"):
        fsck(repository)
        assert not list(repository.glob("padre-transfer-*"))


def test_what_a_killed_transfer_left_is_swept_and_one_that_goes_on_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(transport, "_SETTLED", 0.0)
    bare(tmp_path / "lab.git")
    with Workspace(CloneBackend(f"git+{(tmp_path / 'lab.git').as_uri()}", clone=tmp_path / "a.git")) as lab:
        (tmp_path / "a.git" / "padre-transfer-dead" / "objects").mkdir(parents=True)
        with lab.backend.transport._folder([]) as alive:
            lab.backend.transport.sweep()
            assert list((tmp_path / "a.git").glob("padre-transfer-*")) == [alive]
