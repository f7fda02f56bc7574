"""The pages of listings, of which the next one is asked for while its reader uses this one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from padre_core.query.model import Query

PART = 500
"""How many objects a page holds at most: those of one request."""


class _Coming(NamedTuple):
    """A full page that was asked for."""

    kind: str
    cursor: str
    process: int
    body: Future[bytes]


class Pages:
    """Answers with a page each; one is on its way at most. Safe for threads.

    Args:
        ask: Gives the answer for a query.
    """

    def __init__(self, ask: Callable[[str, Query], bytes]) -> None:
        self._ask = ask
        self._coming: _Coming | None = None

    def take(self, kind: str, query: Query) -> bytes:
        """The answer for a query.

        It may be on its way: by the very cursor that its listing gave, not one like it of another, and only for the
        process that asked for it.
        """
        coming = self._coming
        if (
            coming is not None
            and query.cursor is coming.cursor
            and query.limit >= PART
            and (kind, os.getpid()) == (coming.kind, coming.process)
        ):
            self._coming = None
            return coming.body.result()
        return self._ask(kind, replace(query, limit=min(query.limit, PART)))

    def begin(self, kind: str, query: Query) -> None:
        """Asks in a thread for what is left of a listing, if that fills a page."""
        if query.cursor is not None and query.limit >= PART:
            body = _started(partial(self._ask, kind, replace(query, limit=PART)))
            self._coming = _Coming(kind, query.cursor, os.getpid(), body)


def _started(call: Callable[[], bytes]) -> Future[bytes]:
    """What a call gives that another thread makes; unlike one of a pool, it keeps no process alive."""
    future: Future[bytes] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001  # raised where it is awaited
            future.set_exception(error)

    threading.Thread(target=work, name="padre-http-page", daemon=True).start()
    return future
