"""A process of the multi-process tests: opens a store by its URL and does one job when it is told to.

Reads a job as a line of JSON, answers `ready` when the store is open, waits for a line, and answers the result.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from padre_core.backends.backend import Backend
from padre_core.backends.bytestore import ABSENT, ByteStore
from padre_core.errors import ConflictError
from padre_core.plugins import open_backend
from padre_core.testing import bytestores, samples


def exchange(store: ByteStore, job: dict[str, Any]) -> str:
    """Reads a key and writes another."""
    data = store.read(job["key"]).data
    store.write(job["answer"], data)
    return data.decode()


def count(store: ByteStore, job: dict[str, Any]) -> None:
    """Counts by compare-and-swap."""
    bytestores.count_up(store, job["key"], job["times"])


def claim(store: ByteStore, job: dict[str, Any]) -> list[str]:
    """Makes keys that others want too."""
    return [key for key in job["keys"] if bytestores.claim(store, key, job["name"].encode())]


def edit(backend: Backend, job: dict[str, Any]) -> None:
    """Counts in an object by `if_match`."""
    samples.count_up(backend, job["kind"], job["id"], job["times"])


def create(backend: Backend, job: dict[str, Any]) -> list[str]:
    """Puts objects that others put too; answers those that it made."""
    made = []
    for name in job["names"]:
        try:
            backend.put(samples.project(name, title=job["title"]), if_match=ABSENT)
            made.append(name)
        except ConflictError:
            continue
    return made


def log(backend: Backend, job: dict[str, Any]) -> str:
    """Logs points and lines to a run; answers the writer."""
    writer = backend.open_writer(job["run"])
    samples.log(writer, job["times"])
    writer.close()
    return writer.id


BYTE_STORE_JOBS = {"exchange": exchange, "count": count, "claim": claim}
BACKEND_JOBS = {"edit": edit, "create": create, "log": log}


def main() -> None:
    """Does the job that stands on the first line of the input."""
    job = json.loads(sys.stdin.readline())
    url, options, name = job["url"], job["options"], job["job"]
    if name in BYTE_STORE_JOBS:
        store = bytestores.open_bytestore(url, **options)
        _begin()
        result: Any = BYTE_STORE_JOBS[name](store, job)
        store.close()
    else:
        with open_backend(url, **options) as backend:
            _begin()
            result = BACKEND_JOBS[name](backend, job)
    _say(json.dumps(result))


def _begin() -> None:
    _say("ready")
    sys.stdin.readline()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
