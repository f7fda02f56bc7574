"""What Ctrl-C and SIGTERM do: a command ends at once, and says what holds now and how to go on."""

from __future__ import annotations

import _thread
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

GRACE = 1.0
"""How many seconds a command that is stopped has to close what it opened; then it ends as kill -9 would end it.

Stores are made for that: what was acknowledged is there, and the next open takes up what was left behind.
"""


class StoppedError(Exception):
    """The command was stopped. No KeyboardInterrupt, which click would tell of in words of its own."""


class Stop:
    """Hears for one command that it is to end.

    Attributes:
        number: The signal that came; 0 as long as none did.
        holds: What is true when the command ends before it is done, and how to go on.
    """

    def __init__(self) -> None:
        self.number = 0
        self.holds = ""
        self._untold = threading.Lock()

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Within the block Ctrl-C and SIGTERM raise `KeyboardInterrupt`, unless whoever started us ignores them."""
        numbers = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
        before = {number: signal.signal(number, self._hear) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def tell(self) -> int:
        """Tells it on standard error, once, and returns the exit code."""
        if self._untold.acquire(blocking=False):
            click.echo(self._line, err=True)
        return self._code

    @property
    def _line(self) -> str:
        # Over the `^C` of the terminal, and with the cursor that a progress bar hid.
        begin = "\r\x1b[K\x1b[?25h" if sys.stderr.isatty() else ""
        return f"{begin}padre: interrupted{'; ' * bool(self.holds)}{self.holds}"

    @property
    def _code(self) -> int:
        return 128 + (self.number or signal.SIGINT)

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        if self.number:  # somebody is in a hurry
            self._end()
        self.number = number
        _thread.start_new_thread(self._end_later, ())  # a Thread takes locks, which whoever was interrupted may hold
        raise KeyboardInterrupt

    def _end_later(self) -> None:
        time.sleep(GRACE)
        self._end()

    def _end(self) -> None:
        """Ends the process, whatever it is at; past all buffers, whose locks may be held."""
        if self._untold.acquire(blocking=False):
            os.write(sys.stderr.fileno(), f"{self._line}\n".encode())
        os._exit(self._code)


def stoppable(holds: str) -> Callable[[F], F]:
    """Says of a command that works for long what holds when it is stopped, and how to go on."""

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def command(*arguments: Any, **options: Any) -> Any:
            stop = click.get_current_context().find_object(Stop)
            if stop is not None:
                stop.holds = holds
            return function(*arguments, **options)

        return command  # type: ignore[return-value]  # as it was

    return decorate
