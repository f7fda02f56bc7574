"""Stores that other workloads read, each made once by a process of its own."""

from typing import Any

from benchmarks.meter import Meter
from benchmarks.workloads.data import BATCH, TAGS, AnySubject, Facts, accuracy, parameters, value


def runs(subject: AnySubject, meter: Meter, size: int) -> None:
    """`size` runs with two metrics of one point each; slow trackers store as many as their budget allows."""
    subject.open()
    ids = []
    for numbers in meter.chunks(size):
        for number in numbers:

            def body(run: Any, number: int = number) -> None:
                subject.log_point(run, "accuracy", accuracy(number), 0)
                subject.log_point(run, "loss", 1 - accuracy(number), 0)

            ids.append(subject.run(parameters(number), TAGS, body))
    subject.close()
    subject.settle()
    Facts(ids).save(subject.folder)


def many_runs(subject: AnySubject, meter: Meter, size: int) -> None:
    """The same at a size that one call for each run would take too long for: in bulk, as a copy stores runs."""
    subject.open()
    ids: list[str] = []
    for numbers in meter.chunks(size, BATCH):
        made = [(parameters(n), {"accuracy": accuracy(n), "loss": 1 - accuracy(n)}) for n in numbers]
        ids += subject.put_runs(made, TAGS)
    subject.close()
    subject.settle()
    Facts(ids).save(subject.folder)


def points(subject: AnySubject, meter: Meter, size: int) -> None:
    """One run with `size` points of one metric, or as many as the budget allows."""
    subject.open()
    count = 0

    def body(run: Any) -> None:
        nonlocal count
        for steps in meter.chunks(size, BATCH):
            subject.log_points(run, "loss", [value(step) for step in steps], steps)
            count = steps.stop

    run_id = subject.run(parameters(0), TAGS, body)
    subject.close()
    subject.settle()
    Facts([run_id], count).save(subject.folder)
