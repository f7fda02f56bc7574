"""Processes that the tests kill, or whose memory they measure."""

from __future__ import annotations

import hashlib
import io
import json
import os
import resource
import sys
import time
from pathlib import Path

from padre_core.streams.columns import Line
from padre_http import blobs
from padre_http.backend import HttpBackend

PART = os.urandom(1024 * 1024)


class Endless(io.RawIOBase):
    """Bytes without end, or that many parts of them, of which none is kept."""

    def __init__(self, parts: int | None = None, seconds: float = 0.0) -> None:
        self._parts, self._seconds = parts, seconds
        self._left = b""

    def read(self, size: int = -1) -> bytes:
        if not self._left and self._parts != 0:
            self._parts = None if self._parts is None else self._parts - 1
            time.sleep(self._seconds)
            self._left = PART
        data, self._left = self._left[:size], self._left[size:]
        return data


def log(backend: HttpBackend, run: str, stop: str) -> None:
    """Logs until it is killed; the server is told to be gone by a file."""
    writer = backend.open_writer(run)
    count = 0
    while True:
        for _ in range(10):
            writer.point("loss", count, count / 7, count + 1)
            writer.line(Line(count, "INFO", f"line {count}"))
            count += 1
        say([writer.id, count])
        if Path(stop).exists():
            time.sleep(60)


def upload(backend: HttpBackend) -> None:
    """Uploads until it is killed."""
    blobs.CHUNK = 256 * 1024
    say("begins")
    backend.write_blob(Endless(seconds=0.05))  # type: ignore[arg-type]  # as much of a file as is needed


def travel(backend: HttpBackend, megabytes: int) -> None:
    """Sends a blob there and back, and says how much memory that took at most, in bytes."""
    backend.write_blob(io.BytesIO(b"x" * 3_000_000))
    rest = peak()
    reference = backend.write_blob(Endless(megabytes))  # type: ignore[arg-type]
    up = peak() - rest
    hashed = hashlib.sha256()
    with backend.open_blob(reference.digest) as file:
        while data := file.read(1024 * 1024):
            hashed.update(data)
    say({"same": hashed.hexdigest() == reference.digest, "size": reference.size, "up": up, "down": peak() - rest})


def peak() -> int:
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else 1024 * size


def say(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    url, token, job, *arguments = json.loads(sys.argv[1])
    backend = HttpBackend(url, token=token)
    {"log": log, "upload": upload, "travel": travel}[job](backend, *arguments)
    backend.close()
