"""Runs and points going in."""

import os
import threading
from typing import Any

from benchmarks.meter import Meter
from benchmarks.workloads.data import BATCH, TAGS, AnySubject, nothing, parameters, value


def create(subject: AnySubject, meter: Meter, size: int) -> None:
    """Create and finish runs: until the last is acknowledged, and until the store is closed."""
    subject.open()
    meter.start("acknowledged", "closed")
    for numbers in meter.chunks(size):
        for number in numbers:
            subject.run(parameters(number), TAGS, nothing)
    meter.stop("acknowledged")
    subject.close()
    meter.stop("closed")


def points(subject: AnySubject, meter: Meter, size: int) -> None:
    """Log points one call each; the clock runs from the first call to the closed store."""
    subject.open()

    def body(run: Any) -> None:
        meter.start("all")
        for steps in meter.chunks(size, 100):
            for step in steps:
                subject.log_point(run, "loss", step * 0.5, step)

    subject.run(parameters(0), TAGS, body)
    subject.close()
    meter.stop("all")


def points_beside(subject: AnySubject, meter: Meter, size: int) -> None:
    """The same while another thread of the process computes; the figure is one call."""
    subject.open()
    busy = threading.Event()
    busy.set()

    def compute() -> None:
        total = 0
        while busy.is_set():
            total += 1

    def body(run: Any) -> None:
        thread = threading.Thread(target=compute)
        thread.start()
        meter.start("call")
        for steps in meter.chunks(size, 100):
            for step in steps:
                subject.log_point(run, "loss", step * 0.5, step)
        meter.stop("call")
        busy.clear()
        thread.join()

    subject.run(parameters(0), TAGS, body)
    subject.close()
    meter.record("call", meter.figures["call"].value / size)


def batches(subject: AnySubject, meter: Meter, size: int) -> None:
    """Log points in batches of 1,000 lists of Python numbers; from the first batch to the closed store."""
    values = [value(step) for step in range(BATCH)]
    subject.open()

    def body(run: Any) -> None:
        meter.start("all")
        for steps in meter.chunks(size, BATCH):
            subject.log_points(run, "loss", values[: len(steps)], steps)

    subject.run(parameters(0), TAGS, body)
    subject.close()
    meter.stop("all")


def footprint(subject: AnySubject, meter: Meter, size: int) -> None:
    """Files on disk for each finished run with points and lines, beyond those that the first run brings."""

    def body(run: Any) -> None:
        subject.log_points(run, "loss", [value(step) for step in range(10)], range(10))
        subject.log_line(run, "epoch 0 done")

    counts = []
    for runs in (1, size):
        subject.open()
        for number in range(runs):
            subject.run(parameters(number), TAGS, body)
        subject.close()
        counts.append(sum(len(names) for _, _, names in os.walk(subject.folder)))
    meter.record("files", (counts[1] - counts[0]) / size)
