"""Starting real servers, each a process of its own on a free port of this machine, and talking to them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3

from padre_server.database import Database
from padre_server.rights import GRANTABLE
from padre_server.tokens import Tokens


@dataclass
class Answer:
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return self.json["error"]


@dataclass
class Client:
    """Sends what it is told to, with a token or without."""

    url: str
    token: str | None = None
    pool: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False, timeout=60))

    def __call__(
        self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None, **query: Any
    ) -> Answer:
        sent = dict(headers or {})
        if self.token is not None:
            sent.setdefault("Authorization", f"Bearer {self.token}")
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        fields = {name: str(value) for name, value in query.items()}
        target = self.url + path
        if fields:
            target += "?" + urlencode(fields)
        response = self.pool.request(method, target, body=body, headers=sent, redirect=False)
        return Answer(response.status, response.headers, response.data)

    def as_(self, token: str | None) -> Client:
        return Client(self.url, token, self.pool)


@dataclass
class Served:
    """A running server, its store, and what it printed."""

    folder: Path
    store: str
    process: subprocess.Popen[str]
    url: str
    token: str | None
    errors: Path

    @property
    def client(self) -> Client:
        return Client(self.url, self.token)

    @contextmanager
    def tokens(self) -> Iterator[Tokens]:
        with closing(Database(self.folder / "state" / "server.db")) as database:
            yield Tokens(database)

    def make_token(self, *scopes: str, projects: tuple[str, ...] = ("*",), **options: Any) -> str:
        with self.tokens() as tokens:
            return tokens.create("test", scopes=scopes or GRANTABLE, projects=projects, **options)[0]

    def close(self) -> None:
        if self.process.stdout is not None:
            self.process.stdout.close()

    def active(self) -> int:
        """How many requests are being worked on, but for this one."""
        found = re.search(rb"^padre_requests_active\{.*\} (\d+)$", self.client("GET", "/metrics").body, re.MULTILINE)
        assert found
        return int(found[1]) - 1

    def log(self) -> str:
        return self.errors.read_text()

    def stop(self, number: int = signal.SIGTERM, *, wait: float = 120) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(wait)


Start = Callable[..., Served]


def start_server(
    folder: Path, *options: str, store: str | None = None, environment: dict[str, str] | None = None
) -> Served:
    store = store or f"file://{folder / 'store'}"
    folder.mkdir(parents=True, exist_ok=True)
    errors = folder / "errors.log"
    command = [sys.executable, "-c", "import sys; from padre_core.cli import main; main()", "serve"]
    log = errors.open("a")
    process = subprocess.Popen(
        [*command, "--store", store, "--state", str(folder / "state"), "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    log.close()
    try:
        return _started(folder, store, process, errors)
    except BaseException:
        process.kill()
        process.wait()
        raise


def _started(folder: Path, store: str, process: subprocess.Popen[str], errors: Path) -> Served:
    """The server, as soon as it answers."""
    assert process.stdout is not None
    url = process.stdout.readline().removeprefix("listening on ").strip()
    assert url.startswith("http"), errors.read_text()
    known = folder / "token"
    if not known.exists():
        known.write_text(process.stdout.readline().removeprefix("token ").strip())
    served = Served(folder, store, process, url, known.read_text() or None, errors)
    if url.startswith("http:"):
        wait_for(lambda: served.client("GET", "/readyz").status == 200)
    return served


def wait_for(condition: Callable[[], bool], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except urllib3.exceptions.HTTPError:
            if time.monotonic() > end:
                raise
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
