"""Shares what train.py stored: a server, somebody who signs in, a copy on the server, a second process that reads it.

The server keeps its store and its users in folders beside `padre-store`, and is stopped in the end.
"""

import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import padre_core as padre

STORE, STATE = "padre-team-store", "padre-team-server"
SHARED = "quickstart/digits-sgd"


def main() -> None:
    """Serves, signs in, copies, reads elsewhere, and cleans up."""
    with serving() as address:
        password = secrets.token_urlsafe()
        command("server", "user", "add", "ana", "--role", "editor", "--password-stdin", "--state", STATE, send=password)
        print(command("login", address, "--name", "ana", send=password))
        with padre.open(f"padre+{address}") as team, padre.open(readonly=True) as workspace:
            report = padre.copy(workspace, team, within=SHARED)
            brought = f"{report.objects} objects, {report.points} points and {report.blobs} files"
            print(f"copied {brought}, and compared them")
            url = team.experiments.url(SHARED)
        reader = Path(__file__).with_name("read_shared.py")
        subprocess.run([sys.executable, "-P", reader, f"padre+{address}", url], check=True)
        print(command("logout", address))
        command("server", "user", "rm", "ana", "--state", STATE)
    print("the server has stopped")


@contextmanager
def serving() -> Iterator[str]:
    """Runs `padre serve` on a free port, and gives its address."""
    words = [sys.executable, "-P", "-m", "padre_core", "serve", "--store", STORE, "--state", STATE, "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().removeprefix("listening on ").strip()
        finally:
            server.terminate()


def command(*words: str, send: str = "") -> str:
    """What a `padre` command prints."""
    line = [sys.executable, "-P", "-m", "padre_core", *words]
    return subprocess.run(line, input=send, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
