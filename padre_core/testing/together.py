"""Threads and processes that begin at the same moment."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, TypeVar

Result = TypeVar("Result")

TIMEOUT = 600
"""Seconds after which a race counts as a deadlock."""


def threads(*calls: Callable[[], Result]) -> list[Result]:
    """Runs each call in a thread of its own, and returns their results in order; raises what the first one raised."""
    barrier = threading.Barrier(len(calls))

    def start(call: Callable[[], Result]) -> Result:
        barrier.wait(TIMEOUT)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result(TIMEOUT) for future in [pool.submit(start, call) for call in calls]]


def processes(jobs: Sequence[dict[str, Any]]) -> list[Any]:
    """Runs each job of `padre_core.testing.worker` in a process of its own, and returns their results in order.

    All processes have opened the store before the first one begins.

    Raises:
        AssertionError: A process failed; the message is what it said.
    """
    with ExitStack() as stack:
        children = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "padre_core.testing.worker"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in jobs
        ]
        for child, job in zip(children, jobs, strict=True):
            _tell(child, json.dumps(job))
        for child in children:
            _hear(child)
        for child in children:
            _tell(child, "go")
        return [json.loads(_hear(child)) for child in children]


def _tell(child: subprocess.Popen[str], line: str) -> None:
    assert child.stdin is not None
    try:
        child.stdin.write(line + "\n")
        child.stdin.flush()
    except BrokenPipeError:
        _hear(child)


def _hear(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    assert child.stderr is not None
    line = child.stdout.readline()
    if not line:
        raise AssertionError(f"a process that uses the store failed:\n{child.stderr.read()}")
    return line
