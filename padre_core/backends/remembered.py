"""What one opening of a store last saw of the files of records in it, so that few requests are made."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from padre_core.backends.bytestore import IfMatch
from padre_core.objects.record import Record

PULSE_SECONDS = 1.0
"""How long it is believed what was read of an object, where only what is above it or whose streams these are counts."""

BATCH_SECONDS = 5.0
"""How long it is believed within a batch, where one call looks at the same objects again and again."""

_FILES = 256


@dataclass(frozen=True, slots=True)
class File:
    """A file of records as it was last read or written here, or that there was none.

    Attributes:
        at: When that was, by the monotonic clock.
    """

    records: tuple[Record, ...]
    version: IfMatch
    at: float

    def head(self, kind: str, id: str) -> Record | None:
        """One of the records."""
        return next((record for record in self.records if record.kind == kind and record.id == id), None)

    def within(self, seconds: float) -> bool:
        """Whether it was seen not long ago."""
        return time.monotonic() - self.at < seconds


class Remembered:
    """The files that were last seen, by key. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[str, File] = {}
        self._batches = threading.local()

    def get(self, key: str) -> File | None:
        """A file as it was last seen, however long ago."""
        return self._files.get(key)

    def in_batch(self, key: str) -> File | None:
        """A file that the batch of this thread saw not long ago."""
        file = self.seen.get(key)
        return file if file is not None and file.within(BATCH_SECONDS) else None

    def note(self, key: str, records: Sequence[Record], version: IfMatch, *, at: float | None = None) -> None:
        """Takes up what a file holds, now or when it is said."""
        file = self.seen[key] = File(tuple(records), version, time.monotonic() if at is None else at)
        with self._lock:
            if len(self._files) >= _FILES:
                self._files.clear()
            if records:
                self._files[key] = file

    def forget(self, key: str) -> None:
        """Drops a file that is no longer as it was seen."""
        self.seen.pop(key, None)
        with self._lock:
            self._files.pop(key, None)

    def clear(self) -> None:
        """Drops all."""
        with self._lock:
            self._files.clear()

    @property
    def batched(self) -> bool:
        """Whether this thread is in a batch."""
        return bool(getattr(self._batches, "depth", 0))

    @contextlib.contextmanager
    def batch(self, seen: dict[str, File] | None = None) -> Iterator[None]:
        """Around calls that belong together; may be nested.

        Args:
            seen: What the batch of another thread has seen, of which this one does a part.
        """
        self._batches.depth = getattr(self._batches, "depth", 0) + 1
        if self._batches.depth == 1:
            self._batches.seen = {} if seen is None else seen
        try:
            yield
        finally:
            self._batches.depth -= 1
            if not self._batches.depth:
                self._batches.seen = None

    @property
    def seen(self) -> dict[str, File]:
        """What the batch that this thread is in has seen."""
        seen: dict[str, File] | None = getattr(self._batches, "seen", None)
        return {} if seen is None else seen
