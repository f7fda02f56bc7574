"""Files going in and coming back."""

import os
import random
from hashlib import file_digest
from pathlib import Path

from benchmarks.meter import Meter
from benchmarks.workloads.data import TAGS, AnySubject, nothing, parameters


def large_file(subject: AnySubject, meter: Meter, size: int) -> None:
    """Store one file of `size` MB, and copy it out of the store again."""
    move_files(subject, meter, make_file(subject.folder.parent / "source", size))


def make_file(folder: Path, size: int) -> Path:
    """A file of `size` MB that cannot be compressed."""
    folder.mkdir()
    block = random.Random(7).randbytes(1 << 20)
    with (folder / "model.bin").open("wb") as file:
        for number in range(size):
            file.write(number.to_bytes(8, "big") + block[8:])
    return folder / "model.bin"


def travel(subject: AnySubject, meter: Meter, size: int) -> None:
    """How far memory rises above rest, on both sides, while one file goes to the server and comes back."""
    source = make_file(subject.folder.parent / "source", size)
    target = subject.folder.parent / "target"
    target.mkdir()
    sides = {"client": os.getpid(), "server": int(subject.server or 0)}
    subject.open()
    subject.run(parameters(0), TAGS, nothing)
    rest = {name: memory(process, "VmRSS") for name, process in sides.items()}
    run_id = subject.run(parameters(1), TAGS, lambda run: subject.put_files(run, source))
    subject.fetch_files(run_id, target)
    for name, process in sides.items():
        meter.record(name, memory(process, "VmHWM") - rest[name])
    subject.close()


def memory(process: int, field: str) -> int:
    """A figure of a process in bytes: what it holds now (VmRSS), or the most it ever held (VmHWM)."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


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
