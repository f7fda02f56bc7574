import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from padre_core.plugins import open_backend

from .sides import memory

SERVERS = Path(__file__).parents[2] / "plugins" / "padre-http" / "tests" / "stable.py"

_numbers = itertools.count()


@pytest.fixture(scope="session")
def servers():
    """Starts a server of a store; all run in one process beside this one."""
    process = subprocess.Popen(
        [sys.executable, str(SERVERS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )

    def ask(task):
        process.stdin.write(json.dumps(task) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    with process:
        yield ask
        process.kill()


@pytest.fixture(params=["memory-memory", "memory-file", "file-file", "file-http"])
def places(request, tmp_path, monkeypatch):
    """Opens empty stores, the first of a pair as the local one, all others as remotes."""
    kinds = request.param.split("-")
    opened, addresses = [], []
    if "http" in kinds:
        monkeypatch.setenv("PADRE_CONFIG", str(tmp_path / "config"))
        monkeypatch.setenv("PADRE_STATE", str(tmp_path / "state"))

    def serve(number):
        servers = request.getfixturevalue("servers")
        addresses.append(servers([f"memory://sync-{number}", str(tmp_path / f"server-{number}")]))
        return open_backend(addresses[-1]["url"], token=addresses[-1]["token"])

    def open_next(kind):
        number = next(_numbers)
        if kind == "memory":
            made = memory()
        elif kind == "file":
            made = open_backend(str(tmp_path / f"store-{number}"), durability="process")
        else:
            made = serve(number)
        opened.append(made)
        return made

    yield lambda: open_next(kinds[0]), lambda: open_next(kinds[1])
    for backend in opened:
        backend.close()
    for address in addresses:
        request.getfixturevalue("servers")(address["url"])
