"""Progress bars on standard error, where somebody is looking."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Bytes = Callable[[int, int | None], object]
"""Called with the bytes that are done and, where it is known, how many there are."""

Phases = Callable[[str, int, int], object]
"""Called with what is done now, how much of it, and of how many; 0 while nobody knows."""


@contextmanager
def byte_bar(label: str) -> Iterator[Bytes]:
    """A bar for bytes that go in or out."""
    if not sys.stderr.isatty():
        yield _silent_bytes
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def phase_bar() -> Iterator[Phases]:
    """A bar for each phase of long work."""
    if not sys.stderr.isatty():
        yield _silent_phases
        return
    from rich.console import Console
    from rich.progress import Progress, TaskID

    with Progress(console=Console(stderr=True), transient=True) as progress:
        tasks: dict[str, TaskID] = {}

        def tell(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = progress.add_task(phase, total=None)
            progress.update(tasks[phase], completed=done, total=total or None)

        yield tell


def _silent_bytes(done: int, total: int | None) -> None:
    """Tells nobody."""


def _silent_phases(phase: str, done: int, total: int) -> None:
    """Tells nobody."""
