"""Servers under test: started before the clocks, stopped after them."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

PATIENCE = 120


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(
    command: Sequence[str], ready: str, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[int]:
    """Runs a server for the length of the block, from its first answer on; gives its process id.

    Args:
        ready: A URL that it answers with 200 when it can be used.
        log: Where its output goes.
    """
    with log.open("ab") as output:
        server = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, **(environment or {})}, start_new_session=True
        )
    try:
        wait(server, ready, log)
        yield server.pid
    finally:
        server.terminate()
        server.wait(PATIENCE)


def wait(server: "subprocess.Popen[bytes]", ready: str, log: Path) -> None:
    """Returns when the server answers."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urlopen(ready, timeout=5) as answer:  # noqa: S310  # our own server on loopback
                answer.read()
            return
        except (URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"the server does not answer: {log.read_text(errors='replace')[-2000:]}")
