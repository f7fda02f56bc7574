"""Files going in and coming back."""

import random
from hashlib import file_digest
from pathlib import Path

from benchmarks.meter import Meter
from benchmarks.workloads.data import TAGS, AnySubject, parameters


def large_file(subject: AnySubject, meter: Meter, size: int) -> None:
    """Store one file of `size` MB, and copy it out of the store again."""
    source = subject.folder.parent / "source" / "model.bin"
    source.parent.mkdir()
    block = random.Random(7).randbytes(1 << 20)
    with source.open("wb") as file:
        for number in range(size):
            file.write(number.to_bytes(8, "big") + block[8:])
    move_files(subject, meter, source)


def small_files(subject: AnySubject, meter: Meter, size: int) -> None:
    """Store a folder of files of 4 KB, and copy it out of the store again."""
    source = subject.folder.parent / "source"
    source.mkdir()
    for number in range(size):
        (source / f"{number:04}.bin").write_bytes(number.to_bytes(8, "big") * 512)
    move_files(subject, meter, source)


def move_files(subject: AnySubject, meter: Meter, source: Path) -> None:
    """Put and fetch; whether the bytes are right is looked at when the clocks stand."""
    target = subject.folder.parent / "target"
    target.mkdir()
    subject.open()
    meter.start("put")
    run_id = subject.run(parameters(0), TAGS, lambda run: subject.put_files(run, source))
    meter.stop("put")
    if subject.supports("fetch_files"):
        subject.settle()
        meter.start("fetch")
        subject.fetch_files(run_id, target)
        meter.stop("fetch")
        meter.record("put and fetch", meter.figures["put"].value + meter.figures["fetch"].value)
        if digests(source if source.is_dir() else source.parent) != digests(target):
            raise AssertionError("what came back is not what was put")
    subject.close()


def digests(folder: Path) -> list[str]:
    """Of all files below, sorted."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                found.append(file_digest(file, "sha256").hexdigest())
    return sorted(found)
