"""Progress bars on standard error, where somebody is looking."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING

from padre_core.progress import Tell, watched

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from padre_core.sync import Engine, Tally

PATIENCE = 0.5
"""How many seconds work may take before a bar is shown that nobody asked for."""

Bytes = Callable[[int, int | None], object]
"""Called with the bytes that are done and, where it is known, how many there are."""


@contextmanager
def byte_bar(label: str) -> Iterator[Bytes]:
    """A bar for bytes that go in or out."""
    if not sys.stderr.isatty():
        yield _silent_bytes
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress, _within(_silent_phases):
        task = progress.add_task(label, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def phase_bar() -> Iterator[Tell]:
    """A bar for each phase of long work."""
    if not sys.stderr.isatty():
        yield _silent_phases
        return
    with _phases() as progress:
        tell = _tasks(progress)
        with _within(tell):
            yield tell


@contextmanager
def patient_bar() -> Iterator[Tell]:
    """The same for work that may as well be done at once: only what takes a while is shown."""
    if not sys.stderr.isatty():
        yield _silent_phases
        return
    begun = time.monotonic()
    with ExitStack() as stack:
        shown: list[Tell] = []

        def tell(phase: str, done: int, total: int) -> None:
            if not shown and time.monotonic() - begun >= PATIENCE:
                shown.append(_tasks(stack.enter_context(_phases())))
            for bar in shown:
                bar(phase, done, total)

        yield tell


@contextmanager
def tally_bar(engine: Engine) -> Iterator[None]:
    """A bar for what travels between a store and its remotes: objects, bytes and the time that is left."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.filesize import decimal
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with ExitStack() as stack:
        progress = stack.enter_context(Progress(*columns, console=Console(stderr=True), transient=True))
        stack.enter_context(_within(_tasks(progress)))
        task = progress.add_task("objects", total=None)

        def tell(tally: Tally) -> None:
            text = f"objects, {decimal(tally.bytes)}" if tally.bytes else "objects"
            progress.update(task, description=text, completed=tally.done, total=tally.total or None)

        engine.progress = tell
        try:
            yield
        finally:
            engine.progress = None


def _phases() -> Progress:
    from rich.console import Console
    from rich.progress import Progress

    return Progress(console=Console(stderr=True), transient=True)


def _tasks(progress: Progress) -> Tell:
    """Shows each phase that it is told of as a bar of its own."""
    tasks: dict[str, TaskID] = {}

    def tell(phase: str, done: int, total: int) -> None:
        if phase not in tasks:
            tasks[phase] = progress.add_task(phase, total=None)
        progress.update(tasks[phase], completed=done, total=total or None)

    return tell


def _within(tell: Tell) -> AbstractContextManager[None]:
    """While one bar is shown, a terminal has no room for a second one: what else goes on is told to the first."""
    return watched(lambda: nullcontext(tell))


def _silent_bytes(done: int, total: int | None) -> None:
    """Tells nobody."""


def _silent_phases(phase: str, done: int, total: int) -> None:
    """Tells nobody."""
