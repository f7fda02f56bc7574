from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from padre_http.backend import HttpBackend
from padre_http.client import Client

# Test modules share helpers that stand beside them, under names that no other folder of tests has.
sys.path.append(str(Path(__file__).parent))

STABLE = Path(__file__).parent / "stable.py"

_serial = itertools.count()


@dataclass(frozen=True)
class Address:
    """A running server, and the token of its administrator."""

    url: str
    token: str

    @property
    def options(self) -> dict[str, str]:
        return {"token": self.token}

    def open(self, **options: object) -> HttpBackend:
        return HttpBackend(self.url, **{**self.options, **options})


class Stable:
    """The process in which all servers run that nobody kills."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def start(self, store: str, state: Path, age: str = "new") -> Address:
        """Starts a server of a store, with a state folder of its own."""
        return Address(**self._ask([store, str(state), age]))

    def stop(self, address: Address) -> None:
        """Ends a server."""
        self._ask(address.url)

    def _ask(self, task: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@pytest.fixture(autouse=True)
def own_settings(tmp_path, monkeypatch):
    """Keeps tokens and spools out of the user's folders."""
    monkeypatch.setenv("PADRE_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("PADRE_STATE", str(tmp_path / "state"))


@pytest.fixture(scope="session")
def stable() -> Iterator[Stable]:
    """Where servers are started."""
    process = subprocess.Popen(
        [sys.executable, str(STABLE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    with process:
        yield Stable(process)
        process.kill()


@pytest.fixture
def serve(stable: Stable, tmp_path: Path) -> Iterator[Callable[..., Address]]:
    """Starts servers of stores, which end with the test."""
    started: list[Address] = []

    def start(store: str, age: str = "new") -> Address:
        started.append(stable.start(store, tmp_path / f"server-{next(_serial)}", age))
        return started[-1]

    yield start
    for address in started:
        stable.stop(address)


@pytest.fixture
def server(serve: Callable[..., Address]) -> Address:
    """A server of a new store in memory."""
    return serve(f"memory://http-{next(_serial)}")


class Served:
    """A server of a folder, in a process of its own that may be killed and started again on the same port."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder, self.port = folder, port
        self._process: subprocess.Popen[str] | None = None
        self.token = ""
        self.start()

    @property
    def address(self) -> Address:
        return Address(f"padre+http://127.0.0.1:{self.port}", self.token)

    @property
    def uploads(self) -> list[Path]:
        """The files of unfinished uploads."""
        return [path for path in self._folder.glob("state/uploads/*") if path.is_file()]

    def start(self) -> None:
        """Starts it, and waits until it listens."""
        code = "from padre_core.cli import main; main()"
        store = (self._folder / "store").as_uri()
        options = [f"--store={store}", f"--state={self._folder / 'state'}", f"--port={self.port}"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, "serve", *options], stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert self._process.stdout is not None
        while not self.token:
            line = self._process.stdout.readline()
            assert line, "the server did not start"
            word, _, value = line.strip().rpartition(" ")
            if "token" in word:
                self.token = value
        with contextlib.closing(Client(self.address.url)) as client:
            while not client.online():
                assert self._process.poll() is None, "the server did not start"
                time.sleep(0.05)

    def kill(self) -> None:
        """Ends it as kill -9 does."""
        assert self._process is not None
        with self._process:
            self._process.kill()


@pytest.fixture
def proxy(server: Any) -> Iterator[Any]:
    """Between a client and the test's server; passes on what it is not told to spoil."""
    from http_proxy import Proxy  # beside this file, which is in the path only now

    proxy = Proxy(server.url)
    yield proxy
    proxy.close()


@pytest.fixture
def served(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Served]:
    """A server that a test may kill."""
    server = Served(tmp_path / "served", free_port())
    yield server
    server.kill()
