"""A store on this machine, and what travels between it and a server."""

import random
from typing import Any

from benchmarks.meter import Meter
from benchmarks.workloads.data import TAGS, AnySubject, nothing, parameters, value

REPEATS = 5


def shipped(subject: AnySubject, meter: Meter, size: int) -> None:
    """Log points one call each; from the first call until the server has all."""
    subject.open()
    subject.run(parameters(0), TAGS, nothing)
    sent = 0

    def body(run: Any) -> None:
        nonlocal sent
        meter.start("all")
        for steps in meter.chunks(size, 100):
            for step in steps:
                subject.log_point(run, "loss", value(step), step)
            sent = steps.stop

    run_id = subject.run(parameters(1), TAGS, body)
    subject.close()
    meter.stop("all")
    subject.open()
    if len(subject.read_points(run_id, "loss")) != sent:
        raise AssertionError("the server does not have all points")
    subject.close()


def beside_shipping(subject: AnySubject, meter: Meter, size: int) -> None:
    """One call, in a loop that takes long enough for the background to send what it logs; not its end."""
    subject.open()

    def body(run: Any) -> None:
        meter.start("call")
        for steps in meter.chunks(size, 1000):
            for step in steps:
                subject.log_point(run, "loss", step * 0.5, step)
        meter.stop("call")

    subject.run(parameters(0), TAGS, body)
    subject.close()
    meter.record("call", meter.figures["call"].value / size)


def exchange(subject: AnySubject, meter: Meter, size: int) -> None:
    """Send an experiment to a server, and fetch it into an empty store: runs with 200 points and 300 KB each."""
    source = subject.folder.parent / "source"
    source.mkdir()
    chance = random.Random(7)
    subject.open()
    for number in range(size):
        file = source / f"{number:06}.bin"
        file.write_bytes(chance.randbytes(300_000))

        def body(run: Any, file: Any = file) -> None:
            subject.log_points(run, "loss", [value(step) for step in range(200)], range(200))
            subject.put_files(run, file)

        subject.run(parameters(number), TAGS, body)
        file.unlink()
    for name in ("push", "fetch"):
        meter.start(name)
        subject.push() if name == "push" else subject.fetch(subject.folder.parent / "other")
        meter.stop(name)
    meter.record("both", meter.figures["push"].value + meter.figures["fetch"].value)
    subject.close()


def sync(subject: AnySubject, meter: Meter, size: int) -> None:
    """Bring two stores of many runs to the same that are so already, and after one run was changed."""
    subject.open()
    ids = [
        subject.run(parameters(number), TAGS, lambda run: subject.log_points(run, "loss", [1.0, 0.5], range(2)))
        for number in range(size)
    ]
    subject.push()
    meter.start("first")
    subject.synchronise()
    meter.stop("first")
    meter.p50("nothing", [subject.synchronise] * REPEATS)
    clocks = []
    for number in range(REPEATS):
        subject.change(ids[size // 2], number)
        meter.start("one run")
        subject.synchronise()
        meter.stop("one run")
        clocks.append(meter.figures["one run"].value)
    meter.record("one run", sorted(clocks)[REPEATS // 2])
    subject.close()
