"""Four processes that write to one store."""

from importlib import import_module
from multiprocessing import Queue, get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

from benchmarks.meter import Meter
from benchmarks.workloads.data import BATCH, TAGS, AnySubject, parameters, value

PROCESSES = 4


def four_writers(subject: AnySubject, meter: Meter, size: int) -> None:
    """Create runs in one store at once, each with 1,000 points in one batch; imports come before the clock."""
    subject.open()
    subject.close()
    context = get_context("spawn")
    barrier = context.Barrier(PROCESSES + 1, timeout=120)
    done = context.Queue()
    writers = [
        context.Process(target=write_beside, args=(type(subject), subject.folder, meter.budget, size, barrier, done))
        for _ in range(PROCESSES)
    ]
    for writer in writers:
        writer.start()
    barrier.wait()
    meter.start("all")
    for writer in writers:
        writer.join()
        if writer.exitcode:
            raise RuntimeError(f"a writer ended with {writer.exitcode}")
    meter.scale = PROCESSES * size / sum(done.get() for _ in writers)
    meter.stop("all")


def write_beside(
    kind: type[AnySubject], folder: Path, budget: float, size: int, barrier: Barrier, done: "Queue[int]"
) -> None:
    """What each of the four processes does."""
    subject = kind(folder)
    for name in subject.late_imports:
        import_module(name)
    values = [value(step) for step in range(BATCH)]
    count = 0
    barrier.wait()
    subject.open()
    for numbers in Meter(budget).chunks(size, 1):
        for number in numbers:
            subject.run(
                parameters(number),
                TAGS,
                lambda run: subject.log_points(run, "loss", values, range(BATCH)),
            )
            count += 1
    subject.close()
    done.put(count)
