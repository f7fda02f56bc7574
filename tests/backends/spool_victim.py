"""Writes to a store until it is killed, and says what was acknowledged.

`python spool_victim.py URL JOB`: `log` logs points and lines for ever; `put N` is killed behind the N-th object, before
the note of it; `train N` runs N runs of one experiment.
"""

from __future__ import annotations

import os
import signal
import sys

import padre_core as padre
from padre_core.backends import notes, spooled
from padre_core.objects import canonical
from padre_core.plugins import open_backend
from padre_core.testing import samples


def log(url: str) -> None:
    spooled.PACE = (0.01, 0.01)
    backend = open_backend(url)
    spool = backend._spool  # type: ignore[attr-defined]
    spool._pace = spooled.PACE
    run = backend.put(samples.run(status="running")).id
    writer = backend.open_writer(run)
    for number in range(10**9):
        samples.log(writer, 1)
        if number % 50 == 0:
            print(run, writer.id, number + 1, flush=True)


def put(url: str, count: int) -> None:
    backend = open_backend(url)

    def killed(*arguments: object, **options: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with backend.batch("some"):
        for _ in range(count):
            print(backend.put(samples.run()).id, flush=True)
        notes.write_notes = killed  # type: ignore[assignment]


def train(url: str, count: int) -> None:
    canonical.now = lambda: os.environ["NOW"]  # a machine whose clock is wrong by years
    with padre.open(url) as workspace:
        for number in range(count):
            with workspace.start_run("iris/svc", parameters={"number": number}) as run:
                run.log_metric("loss", number)
            print(run.id, flush=True)


if __name__ == "__main__":
    {"log": log, "put": put, "train": train}[sys.argv[2]](sys.argv[1], *map(int, sys.argv[3:]))
