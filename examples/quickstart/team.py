"""A server of a team and somebody who signs in, for the scripts beside it."""

import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

STORE, STATE = "padre-team-store", "padre-team-server"


@contextmanager
def serving(port: str = "0") -> Iterator[str]:
    """Runs `padre serve`, on a free port unless one is named, and gives its address."""
    words = [sys.executable, "-P", "-m", "padre_core", "serve", "--store", STORE, "--state", STATE, "--port", port]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().removeprefix("listening on ").strip()
        finally:
            server.terminate()


@contextmanager
def signed_in(address: str) -> Iterator[None]:
    """Adds a user to the server and signs in as her, for the length of the block."""
    password = secrets.token_urlsafe()
    command("server", "user", "add", "ana", "--role", "editor", "--password-stdin", "--state", STATE, send=password)
    print(command("login", address, "--name", "ana", send=password))
    try:
        yield
    finally:
        print(command("logout", address))
        command("server", "user", "rm", "ana", "--state", STATE)


def command(*words: str, send: str = "") -> str:
    """What a `padre` command prints."""
    line = [sys.executable, "-P", "-m", "padre_core", *words]
    return subprocess.run(line, input=send, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
