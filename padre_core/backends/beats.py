"""Signs of life: which runs somebody writes, in a store whose openers share no folder.

While a process has a run open, it renews the empty object `log/<run>-<writer>.beat` now and then, and removes it at the
end. A note that speaks of a running run is such a sign too, so that a short run needs no beat. The listing of `log/`
that each query makes tells them all, and when they were written by the store's own clock. Somebody who was killed is
seen to be gone when his last sign is old, or at once on the machine where he worked, whose kernel knows.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from padre_core.backends import layout
from padre_core.backends.bytestore import ByteStore, Entry
from padre_core.errors import PadreError
from padre_core.objects.record import Record
from padre_core.objects.run import is_running

logger = logging.getLogger(__name__)

BEAT = ".beat"

BEAT_SECONDS = 60.0
"""How often a writer that is open is heard of."""

LIVE_SECONDS = 180.0
"""For how long it counts as living after that. So much the clocks of this machine and the store may differ, too."""

LEFT_SECONDS = 3600.0
"""After how long a beat is removed by maintenance that nobody removed."""

Writer = tuple[str, str]
"""A run and one who writes it; no name stands for anybody."""

Signs = dict[Writer, float]
"""When a writer was last heard of, in seconds since 1970 by the store's clock."""


def beat_key(run: str, writer: str) -> str:
    """Where a writer's beat is."""
    return f"{layout.LOG}{run}-{writer}{BEAT}"


def signs_of_beats(entries: Iterable[Entry]) -> Signs:
    """The signs that lie in `log/`."""
    found: Signs = {}
    for entry in entries:
        if entry.key.endswith(BEAT) and entry.at is not None:
            run, _, writer = entry.key.removeprefix(layout.LOG).removesuffix(BEAT).rpartition("-")
            found[run, writer] = entry.at
    return found


def signs_of_note(records: Iterable[Record], at: float | None) -> Signs:
    """The signs in a note that was written at some time."""
    if at is None or at < time.time() - LIVE_SECONDS:
        return {}
    return {(record.id, ""): at for record in records if is_running(record)}


def fresh(signs: Signs) -> Signs:
    """Those that are not too old to count."""
    begin = time.time() - LIVE_SECONDS
    return {writer: at for writer, at in signs.items() if at > begin}


def living(signs: Signs, dead: AbstractSet[Writer]) -> set[str]:
    """The runs that somebody writes.

    Args:
        dead: Those who are known to be gone.
    """
    bereft = {run for run, _ in dead}
    return {run for run, writer in fresh(signs) if (run, writer) not in dead and (writer or run not in bereft)}


def left_over(entries: Iterable[Entry]) -> set[str]:
    """The keys of beats whose writers are long gone."""
    begin = time.time() - LEFT_SECONDS
    return {entry.key for entry in entries if entry.key.endswith(BEAT) and entry.at is not None and entry.at < begin}


@dataclass(frozen=True, slots=True)
class Look:
    """When this machine last took up all that was new in a store, by its own clock, and the signs that count since."""

    at: float = 0.0
    signs: Signs = field(default_factory=dict)

    def within(self, seconds: float) -> bool:
        """Whether it was not long ago."""
        return 0 <= time.time() - self.at < seconds

    def encode(self) -> str:
        """As an index notes it."""
        return json.dumps([self.at, [[*writer, at] for writer, at in self.signs.items()]])

    @classmethod
    def decode(cls, text: str | None) -> Look:
        """What `encode` gave; a look long ago if there was none."""
        if text is None:
            return cls()
        at, signs = json.loads(text)
        return cls(at, {(run, writer): heard for run, writer, heard in signs})


class Beats:
    """The beats of one opening. Safe for threads."""

    def __init__(self, store: ByteStore) -> None:
        self._store = store
        self._start()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[Writer, float] = {}

    def beat(self, run: str, writer: str) -> None:
        """Says that a writer lives, unless that was said lately."""
        now = time.monotonic()
        with self._lock:
            if now - self._last.get((run, writer), -BEAT_SECONDS) < BEAT_SECONDS:
                return
            self._last[run, writer] = now
            silent = [other for other, at in self._last.items() if now - at > LIVE_SECONDS]
        self._store.write(beat_key(run, writer), b"")
        for other in silent:
            self.end(*other)

    def end(self, run: str, writer: str) -> None:
        """Says no longer that a writer lives. What cannot be removed now, maintenance removes."""
        with self._lock:
            known = self._last.pop((run, writer), None) is not None
        if known:
            self.remove([(run, writer)])

    def remove(self, writers: Iterable[Writer]) -> None:
        """Removes beats, such as those of processes that died."""
        try:
            self._store.delete_many(beat_key(*writer) for writer in writers)
        except PadreError as error:
            logger.info("%s: a sign of life stays until it is old: %s", self._store.url, error)

    def close(self) -> None:
        """Takes back all that is still said."""
        with self._lock:
            left, self._last = list(self._last), {}
        if left:
            self.remove(left)

    def after_fork(self) -> None:
        """Begins anew in a child."""
        self._start()
