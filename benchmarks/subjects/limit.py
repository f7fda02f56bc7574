"""The machine itself: what the same bytes cost when nothing is kept but the bytes.

Not a tracker, but the least that any tracker on files must do. Where a tracker must sync that promises to survive a
power cut, so does the synced limit: once for each finished run, and once for each stored file.
"""

import os
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import ClassVar
from uuid import uuid4

from benchmarks.subject import Subject

POINT = bytes(32)
VALUES = bytes(24)
RUN = b"{}".ljust(1024)
BLOCK = 1 << 20


class Limit(Subject[int]):
    """A folder a run, with a file for its record and a file for its points; a run in progress is its descriptor."""

    sync: ClassVar[bool] = False

    def open(self) -> None:
        self.folder.mkdir(exist_ok=True)

    def close(self) -> None:
        """Everything is written through."""

    def run(self, parameters: dict[str, float | str], tags: dict[str, str], body: Callable[[int], None]) -> str:
        run_id = uuid4().hex
        (self.folder / run_id).mkdir()
        # Opened before and in its place, so that a run without points is one file.
        descriptor = os.open(self.folder / run_id / "run.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            os.write(descriptor, RUN)
            body(descriptor)
            if self.sync:
                os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        return run_id

    def log_point(self, run: int, name: str, value: float, step: int) -> None:
        os.write(run, POINT)

    def log_points(self, run: int, name: str, values: Sequence[float], steps: Sequence[int]) -> None:
        os.write(run, VALUES * len(values))

    def get(self, run_id: str) -> object:
        return (self.folder / run_id / "run.json").read_bytes()

    def put_files(self, run: int, source: Path) -> None:
        for path in sorted(source.iterdir()) if source.is_dir() else [source]:
            self.copy(path, self.folder / path.name, sync=self.sync)
        del run

    def fetch_files(self, run_id: str, target: Path) -> None:
        del run_id
        for path in self.folder.iterdir():
            if path.is_file():
                self.copy(path, target / path.name, sync=False)

    @staticmethod
    def copy(source: Path, target: Path, *, sync: bool) -> None:
        """Copy with the digest of what passes."""
        digest = sha256()
        with source.open("rb", buffering=0) as reader, target.open("xb", buffering=0) as writer:
            while block := reader.read(BLOCK):
                digest.update(block)
                writer.write(block)
            if sync:
                os.fdatasync(writer.fileno())


class SyncedLimit(Limit):
    """The same with barriers."""

    sync = True
