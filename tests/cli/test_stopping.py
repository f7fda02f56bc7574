"""Ctrl-C and SIGTERM in the middle of commands that work on a store alone, as processes of their own."""

import fcntl
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import padre_core as padre
from padre_core.plugins import open_backend

PADRE = [sys.executable, "-m", "padre_core"]
BLOBS = 400
PROBLEMS = 2 * BLOBS  # each is damaged, and no object names it
"""What is told of so many does not fit into a pipe."""

CHECKING = "padre: interrupted; only what was told above is known, and the same command checks everything anew\n"


pytestmark = pytest.mark.usefixtures("interruptible")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PADRE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PADRE_URL", "store")
    return tmp_path


@pytest.fixture
def damaged():
    """A store with so many damaged files that `verify` waits for whoever reads what it tells."""
    with open_backend("store", durability="process") as backend:
        backend.write_blobs([str(number).encode() for number in range(BLOBS)])
    for blob in Path("store/blobs").glob("*/*"):
        blob.write_bytes(b"another")


def start(name, **options):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "bufsize": 1}
    return subprocess.Popen([*PADRE, name], **pipes | options)


def verify(**options):
    """A process that has begun to tell what is wrong, and cannot go on before that is read."""
    process = start("verify", **options)
    assert process.stdout.readline()
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"])
def test_a_check_that_is_stopped_says_how_to_go_on(damaged, number, code):
    with verify() as process:
        process.send_signal(number)
        assert process.wait() == code
        assert process.stderr.read() == CHECKING
    with open_backend("store") as backend:
        assert len(list(backend.verify())) == PROBLEMS


def test_whoever_starts_a_command_may_let_it_ignore_ctrl_c(damaged):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with verify() as process:
        process.send_signal(signal.SIGINT)
        assert process.stdout.read().count("\n") == PROBLEMS - 1
        assert process.stderr.read() == f"{PROBLEMS} problems\n"
    assert process.returncode == 1


def test_a_bar_is_taken_away_and_the_cursor_comes_back(damaged):
    terminal, side = pty.openpty()
    with verify(stderr=side, env={**os.environ, "TERM": "xterm"}) as process:
        os.close(side)
        shown = b""
        while b"checking" not in shown:
            shown += os.read(terminal, 4096)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
    while CHECKING.strip().encode() not in shown:
        shown += os.read(terminal, 4096)
    os.close(terminal)
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")


def waits_for_a_lock(process):
    """Whether a process stands in the queue of a lock that another has."""
    waiting = (line.split() for line in Path("/proc/locks").read_text().splitlines() if "->" in line)
    return any(str(process.pid) in words for words in waiting)


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="this system does not show who waits for a lock")
def test_maintenance_that_waits_for_somebody_is_stopped_at_once(folder):
    with padre.open("store") as workspace:
        workspace.projects.put(padre.Project(name="iris"))
    with open("store/log/fold", "ab") as fold:
        fcntl.flock(fold, fcntl.LOCK_EX)
        with start("maintain") as process:
            while not waits_for_a_lock(process):
                assert process.poll() is None
            process.send_signal(signal.SIGINT)
            out, err = process.communicate()
    line = "padre: interrupted; the store says what it said before, and the same command does the rest\n"
    assert (process.returncode, out, err) == (130, "", line)
    assert subprocess.run([*PADRE, "maintain"], check=False).returncode == 0
