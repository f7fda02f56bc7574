"""Runs and points coming back, and going for good."""

import random
from functools import partial

from benchmarks.meter import Meter
from benchmarks.workloads.data import AnySubject, Facts, accuracy, value


def read(subject: AnySubject, meter: Meter, size: int) -> None:
    """Open the store and read all points of one metric."""
    facts = Facts.of(subject.folder)
    meter.scale = size / facts.points
    meter.start("all")
    subject.open()
    values = subject.read_points(facts.ids[0], "loss")
    meter.stop("all")
    if len(values) != facts.points or values[facts.points - 1] != value(facts.points - 1):
        raise AssertionError(f"{len(values)} of {facts.points} points came back")
    subject.close()


def list_runs(subject: AnySubject, meter: Meter, size: int) -> None:
    """List all runs as objects in an open store, once; then once more."""
    facts = Facts.of(subject.folder)
    subject.open()
    meter.scale = size / len(facts.ids)
    meter.start("first")
    count = len(subject.list_runs())
    meter.stop("first")
    if count != len(facts.ids):
        raise AssertionError(f"{count} of {len(facts.ids)} runs came back")
    meter.p50("again", [subject.list_runs])
    subject.close()


def search(subject: AnySubject, meter: Meter, size: int) -> None:
    """Searches for the top 20 in an open store, each with another bound."""
    facts = Facts.of(subject.folder)
    subject.open()
    meter.scale = size / len(facts.ids)
    expected = sum(number % 10 == 3 and accuracy(number) > 0.5 for number in range(len(facts.ids)))
    if len(subject.search(0.5, "m3", 20)) != min(expected, 20):
        raise AssertionError("the search does not find what is there")
    meter.p50("p50", (partial(subject.search, 0.5 + number / 100, "m3", 20) for number in range(20)))
    subject.close()


def get(subject: AnySubject, meter: Meter, size: int) -> None:
    """Get runs by id in an open store, in no order, each once."""
    facts = Facts.of(subject.folder)
    ids = some(facts)
    subject.open()
    meter.scale = size / len(facts.ids)
    meter.p50("p50", (partial(subject.get, run_id) for run_id in ids), p99="p99")
    subject.close()


def delete(subject: AnySubject, meter: Meter, size: int) -> None:
    """Delete a quarter of the runs in an open store."""
    ids = Facts.of(subject.folder).ids
    subject.open()
    meter.scale = size / len(ids)
    meter.start("all")
    subject.delete(ids[: len(ids) // 4])
    meter.stop("all")
    subject.close()


def growth(subject: AnySubject, meter: Meter, _size: int) -> None:
    """What must not grow with the store: get, a page of a list, a search by an index; and a search without one.

    Each is done once before its clock starts, for what a process does once does not grow; and a search finds as much in
    the small store as in the large one.
    """
    ids = some(Facts.of(subject.folder))
    subject.open()
    subject.get(ids[0])
    meter.p50("get", (partial(subject.get, run_id) for run_id in ids))
    subject.first_page()
    meter.p50("page", [subject.first_page] * 40)
    if len(subject.search(0.6, "m3", 20)) < min(20, len(ids) // 30):
        raise AssertionError("the search finds less than there is")
    meter.p50("search", (partial(subject.search, 0.5 + number / 1000, "m3", 20) for number in range(100)))
    subject.search_all()
    meter.p50("any search", [subject.search_all] * 10)
    subject.close()


def some(facts: Facts) -> list[str]:
    """Up to 200 ids, spread over the store."""
    return random.Random(7).sample(facts.ids, min(200, len(facts.ids)))
