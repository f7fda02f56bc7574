"""Ctrl-C and SIGTERM while something travels to or from a server that does not answer any more."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

import padre_core as padre

PADRE = [sys.executable, "-m", "padre_core"]
GOING_ON = "padre: interrupted; what arrived is stored, and the same command goes on with the rest\n"
COPYING = "padre: interrupted; what was copied stays in the target, and the same command copies the rest\n"


pytestmark = pytest.mark.usefixtures("interruptible")


@pytest.fixture(autouse=True)
def here(server, proxy, monkeypatch, tmp_path):
    """A folder whose store has the remote `lab`."""
    monkeypatch.setenv("PADRE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PADRE_TOKEN", f"{proxy.url.removeprefix('padre+')} {server.token}")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "padre.toml").write_text(f'url = "store"\n[remotes.lab]\nurl = "{proxy.url}"\npolicy = "manual"\n')
    padre.open(remotes={}).close()


def fill(url):
    with padre.open(url, remotes={}) as workspace:
        for number in range(5):
            with workspace.start_run("iris/svc", parameters={"number": number}) as run:
                run.log_points("loss", [1.0, 0.5])
                run.log("done")


def stop(command, hangs, proxy, number):
    """Runs a command until an answer stays away, then stops it."""
    proxy.spoil("hang", only=hangs)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*PADRE, *command], **pipes) as process:
        while proxy.left and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(number)
        out, err = process.communicate()
    return process.returncode, out, err


def run(*command):
    return subprocess.run([*PADRE, *command], check=False, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("command", "hangs", "number"),
    [
        (["push", "iris"], b"/v1/records/put", signal.SIGINT),
        (["push", "iris"], b"/v1/streams", signal.SIGTERM),
        (["pull"], b"/v1/streams/read", signal.SIGINT),
        (["sync", "--everything"], b"/v1/records/get", signal.SIGINT),
    ],
    ids=["push", "push SIGTERM", "pull", "sync"],
)
def test_what_travels_between_two_stores_is_stopped_at_once_and_goes_on_later(command, hangs, number, proxy):
    fill("store" if command[0] == "push" else proxy.url)
    assert stop(command, hangs, proxy, number) == (128 + number, "", GOING_ON)
    again = run(*command)
    assert again.returncode == 0, again.stderr
    with padre.open() as workspace:
        assert workspace.runs.count() == 5
        assert list(workspace.verify()) == list(workspace.remotes.verify("lab")) == []


def test_a_copy_is_stopped_at_once_and_goes_on_later(proxy):
    fill("store")
    assert stop(["copy", "store", proxy.url], b"/streams/", proxy, signal.SIGINT) == (130, "", COPYING)
    copied = run("copy", "store", proxy.url)
    assert copied.returncode == 0, copied.stderr
    assert "points:  10\n" in copied.stdout
