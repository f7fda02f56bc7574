"""Kill -9 in the middle of push and pull: nothing acknowledged is lost, and the next sync finishes the work."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from padre_core.objects.identity import object_id

from .victim import RUN, opened, set_field

pytestmark = pytest.mark.crash

ROUNDS = int(os.environ.get("PADRE_SYNC_KILLS", "200"))
ROUNDS_A_STORE = 25


@pytest.fixture(scope="module")
def zygote(tmp_path_factory):
    state = {name: str(tmp_path_factory.mktemp(name)) for name in ("cache", "state", "config")}
    environment = {**os.environ, **{f"PADRE_{name.upper()}": place for name, place in state.items()}}
    process = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("victim.py")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    yield process
    process.stdin.close()
    process.wait()
    process.stdout.close()


def begin(folder):
    """Lets both sides know the object that both change, so that they have a base to merge by."""
    local, remote, engine = opened(folder)
    with local, remote:
        set_field(local, "both", "title", 0)
        engine.sync()


def kill_after(zygote, seconds, folder, seed, report):
    zygote.stdin.write(json.dumps({"folder": str(folder), "seed": seed, "report": str(report)}) + "\n")
    zygote.stdin.flush()
    pid = int(zygote.stdout.readline())
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    assert int(zygote.stdout.readline()) == signal.SIGKILL, "the process failed by itself"


def facts(report):
    """The last of what was acknowledged of each thing."""
    found = {}
    for line in report.read_text().splitlines(True) if report.exists() else ():
        if line.endswith("\n"):
            *thing, value = json.loads(line)
            found[tuple(thing)] = value
    return found


def lost(side, known):
    """What a side does not have of what was acknowledged."""
    ends = side.stream_ends(RUN, "points")
    for (what, *thing), value in known.items():
        if what == "field":
            head = side.get("project", object_id("project", None, thing[0]))
            if head.conflicts or int(head.data().get(thing[1], 0)) < value:
                yield thing, value, head
        elif what == "points" and ends.get(thing[0], 0) < value:
            yield thing, value, ends
        elif what == "artifact":
            side.get("artifact", thing[0])
            if not side.has_blobs([value]):
                yield thing, value


@pytest.mark.parametrize(("remote", "share"), [("folder", 3), ("server", 1)])
def test_nothing_acknowledged_is_lost_and_the_next_sync_finishes(remote, share, zygote, tmp_path, request, monkeypatch):
    for name in ("config", "state"):
        monkeypatch.setenv(f"PADRE_{name.upper()}", str(tmp_path / name))
    seed = int(os.environ.get("PADRE_CRASH_SEED", time.time_ns() % 1_000_000_000))
    chance = random.Random(seed)
    known = {}
    for number in range(ROUNDS * share // 4):
        seed += 1
        if number % ROUNDS_A_STORE == 0:
            folder = tmp_path / f"stores-{number}"
            folder.mkdir()
            known = {}
            if remote == "server":
                server = request.getfixturevalue("servers")([(folder / "remote").as_uri(), str(folder / "state")])
                (folder / "server.json").write_text(json.dumps(server))
            begin(folder)
        report = tmp_path / f"report-{seed}"
        kill_after(zygote, chance.choice([0.02, 0.1, 0.3]) * chance.random(), folder, seed, report)
        known.update(facts(report))
        local, there, engine = opened(folder)
        with local, there:
            done = engine.sync()
            assert not done.failed
            engine.pull()
            assert list(engine.verify("lab")) == [], f"PADRE_CRASH_SEED={seed - 1}"
            assert list(lost(local, known)) == list(lost(there, known)) == [], f"PADRE_CRASH_SEED={seed - 1}"
