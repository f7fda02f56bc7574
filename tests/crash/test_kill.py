"""Kill -9 in the middle of anything: nothing acknowledged is lost, nothing half-written is seen."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import padre_core as padre

from .ledger import disagreements, seen

pytestmark = pytest.mark.crash

ROUNDS = int(os.environ.get("PADRE_CRASH_ROUNDS", "300"))
ROUNDS_A_STORE = 20


class Zygote:
    """The warm process that victims are forked from."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("victim.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def start(self, url: str, seed: int | None, report: Path) -> int:
        """Forks a victim, or without a seed somebody who only opens the store; returns the process id."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"url": url, "seed": seed, "report": str(report)}) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def kill(self, pid: int) -> None:
        """Kills it, and fails the test if it was dead already."""
        os.kill(pid, signal.SIGKILL)
        assert self._answer() == signal.SIGKILL, "the process failed by itself"

    def _answer(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def zygotes(tmp_path_factory):
    os.environ["PADRE_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    made = [Zygote(), Zygote()]
    yield made
    for zygote in made:
        zygote.process.stdin.close()
        zygote.process.wait()
        zygote.process.stdout.close()
    del os.environ["PADRE_CACHE"]


def kill_somebody(zygotes: list[Zygote], url: str, folder: Path, seed: int) -> list[tuple[str, Path]]:
    """Lets one or two processes work and kills them, then some who open the store; returns names and reports."""
    chance = random.Random(seed)
    victims = []
    for number, zygote in enumerate(zygotes[: chance.choice([1, 1, 2])]):
        name = 2 * seed + number
        victims.append((zygote, zygote.start(url, name, folder / str(name)), f"v{name}"))
    for zygote, pid, _ in victims:
        time.sleep(chance.choice([0.01, 0.03, 0.1]) * chance.random())
        zygote.kill(pid)
    for _ in range(chance.choice([0, 1, 1, 3])):
        pid = zygotes[0].start(url, None, folder / "unused")
        time.sleep(chance.choice([0.01, 0.02]) * chance.random())
        zygotes[0].kill(pid)
    return [(name, folder / name[1:]) for _, _, name in victims]


def check_repository(folder: Path) -> None:
    command = ["git", "fsck", "--strict", "--no-dangling"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("scheme", ["file", "git+file"])
def test_nothing_acknowledged_is_lost_and_nothing_half_written_is_seen(zygotes, tmp_path, scheme):
    seed = int(os.environ.get("PADRE_CRASH_SEED", time.time_ns() % 1_000_000_000))
    for epoch in range(-(-ROUNDS // ROUNDS_A_STORE)):
        url = f"{scheme}://{tmp_path}/store-{epoch}"
        reports: list[tuple[str, Path]] = []
        for _ in range(ROUNDS_A_STORE):
            seed += 1
            new = kill_somebody(zygotes, url, tmp_path, seed)
            reports += new
            with padre.open(url) as workspace:
                for name, report in new:
                    assert disagreements(report, seen(workspace, name)) == [], f"PADRE_CRASH_SEED={seed - 1}"
        with padre.open(url, readonly=True) as workspace:
            for name, report in reports:
                assert disagreements(report, seen(workspace, name)) == [], f"in the end, up to seed {seed}"
            problems = [problem for problem in workspace.verify() if problem.code != "unused-blob"]
            assert problems == [], f"up to seed {seed}"
        if scheme == "git+file":
            check_repository(tmp_path / f"store-{epoch}")
