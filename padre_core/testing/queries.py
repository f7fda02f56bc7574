"""The backend suite's part on queries and the change feed."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial

import pytest

from padre_core.backends.backend import Backend, Change, Segment, Write
from padre_core.backends.bytestore import UNBORN
from padre_core.errors import InvalidObjectError
from padre_core.objects.record import Record
from padre_core.query import matches, parse, parse_order, sort_key, values_of
from padre_core.query.model import Deleted, Query
from padre_core.streams.columns import make_points
from padre_core.testing import samples, together
from padre_core.testing.records import BackendSuite
from padre_core.testing.samples import deleted, edited, project
from padre_core.testing.suite import Budget, Opening

FILTERS = (
    "status == 'finished'",
    "status != 'finished'",
    "not status == 'finished'",
    "name == 'run 3' or name == 'run 5'",
    "parameters.C > 10",
    "parameters.C >= 10 and parameters.C <= 40",
    "parameters.C == 1",
    "parameters.C == 1.0",
    "parameters.C != 1",
    "parameters.C in (1, 2.5, 'text')",
    "parameters.big == 9007199254740993",
    "parameters.big > 9007199254740992.0",
    "parameters.big < 9007199254740993",
    "parameters.mixed > 0",
    "parameters.mixed >= 'a'",
    "parameters.mixed == true",
    "not parameters.mixed > 0",
    "parameters.nested.depth == 2",
    "parameters.'odd key/é' == 'x'",
    'tags.who == ""',
    "tags.who matches '*é*'",
    "tags.who matches 'a*a'",
    "not tags.who matches '*'",
    "metadata.note > 'Z'",
    "metrics.loss.last < 0.5",
    "metrics.loss.max == 1e999 or metrics.loss.min < -1",
    "metrics.'train/loss'.count >= 3 and not parameters.C > 20",
    "not (metrics.loss.mean > 0 or tags.who == 'b')",
    "created_at > '2026-01-01' and created_at < '2026-01-02T03:04:06'",
    "created_by == 'somebody'",
    "parameters.C > 5 and status in ('failed', 'finished') and not tags.who == 'a' or name == 'run 0'",
)

ORDERS = (
    "", "name", "-name", "-parameters.C", "parameters.mixed", "-parameters.mixed", "metrics.loss.last",
    "-metrics.loss.last", "status,-parameters.C", "-tags.who,created_at", "id",
)  # fmt: skip

MIXED = (1, -1, 0.5, math.nan, "a", "Z", "", True, False, None, 2**63 - 1, "é", math.inf)
LOSSES = ([0.1], [0.9, 0.2], [math.nan], [0.3, math.nan], [-math.inf, 1.0], [math.inf], [-0.0])
STATUSES = ("finished", "failed", "running", "created")


def some_runs(count: int = 60) -> list[Record]:
    """Runs of which each lacks something and differs in something."""
    execution = samples.record("execution", project("execution").id).id
    runs = []
    for number in range(count):
        parameters: dict[str, object] = {"mixed": MIXED[number % len(MIXED)], "nested": {"depth": number % 3}}
        if number % 4:
            parameters["C"] = number if number % 2 else number + 0.5
        if number % 5 == 0:
            parameters["big"] = 2**53 + number // 5
        if number % 7 == 0:
            parameters["odd key/é"] = "x"
        content = {
            "execution": execution,
            "name": f"run {number}",
            "parameters": parameters,
            "status": STATUSES[number % len(STATUSES)],
            "tags": {} if number % 3 == 0 else {"who": ("", "a", "b", "aé", "aba")[number % 5]},
            "metadata": {"note": ("a", "B", "ß", "Zz")[number % 4]},
        }
        time = f"2026-01-0{1 + number % 3}T03:04:05.{number % 10:06}Z"
        run = samples.record("run", samples.run().id, content, (execution,), by=("somebody", None)[number % 2])
        runs.append(replace(run, created_at=time, updated_at=time))
    return runs


def oracle(records: Iterable[Record], where: str = "", order: str = "") -> list[str]:
    """The names of the records that a query finds, in its order, by the evaluator of `padre_core.query`."""
    keyed = [(record, values_of(record)) for record in records]
    if where:
        expression = parse(where, "run")
        keyed = [(record, values) for record, values in keyed if matches(expression, values)]
    orders = parse_order(order, "run") if order else ()
    keyed.sort(key=lambda item: sort_key(orders, item[1]))
    return [record.data()["name"] for record, _ in keyed]


def make_query(where: str = "", order: str = "", *, limit: int = 1000) -> Query:
    """A query on runs."""
    return Query(
        where=parse(where, "run") if where else None, order=parse_order(order, "run") if order else (), limit=limit
    )


def pages(backend: Backend, kind: str, query: Query) -> Iterator[list[Record]]:
    """The pages of a listing."""
    while True:
        page = backend.query(kind, query)
        assert len(page.records) <= query.limit
        yield list(page.records)
        if page.cursor is None:
            return
        query = replace(query, cursor=page.cursor)


def names(pages: Iterable[list[Record]]) -> list[str]:
    """The names of all records of some pages."""
    return [record.data()["name"] for page in pages for record in page]


class Queries(BackendSuite, level="base"):
    """Filters, orders, pages and counts; `padre_core.query` says what they mean."""

    @pytest.fixture
    def runs(self, backend: Backend) -> list[Record]:
        """What is stored."""
        runs = some_runs()
        stored = {}
        for result in backend.put_many([Write(run, UNBORN) for run in runs]):
            assert isinstance(result, Record)
            stored[result.id] = result
        parts = []
        for number, run in enumerate(runs):
            if number % 3 == 0:
                losses = LOSSES[number % len(LOSSES)]
                columns = make_points("loss", losses, None, [0] * len(losses), 0)
                parts.append((run.id, Segment("0" * 16, 0, columns)))
            if number % 4 == 0:
                parts.append((run.id, Segment("f" * 16, 0, samples.points(2 + number % 3, "train/loss"))))
        backend.append_streams(parts)
        stored |= {id: backend.get("run", id) for id, _ in parts}
        return list(stored.values())

    def test_filters_find_what_the_evaluator_finds(self, backend: Backend, runs: list[Record]) -> None:
        for where in FILTERS:
            expected = oracle(runs, where)
            assert names([list(backend.query("run", make_query(where)).records)]) == expected, where
            assert backend.count("run", make_query(where)) == len(expected), where

    def test_orders_are_those_of_the_evaluator(self, backend: Backend, runs: list[Record]) -> None:
        for order in ORDERS:
            assert names(pages(backend, "run", make_query("", order))) == oracle(runs, "", order), order

    def test_pages_join_without_gap_or_repetition(self, backend: Backend, runs: list[Record]) -> None:
        where = "not status == 'failed'"
        for order in ORDERS:
            expected = oracle(runs, where, order)
            for limit in (7, len(expected) - 1, len(expected), len(expected) + 1):
                assert names(pages(backend, "run", make_query(where, order, limit=limit))) == expected, (order, limit)

    def test_pages_of_one_object_join_too(self, backend: Backend, runs: list[Record]) -> None:
        order = "-parameters.mixed"
        assert names(pages(backend, "run", make_query("", order, limit=1))) == oracle(runs, "", order)

    def test_records_in_a_listing_are_those_that_get_returns(self, backend: Backend, runs: list[Record]) -> None:
        found = {record.id: record for page in pages(backend, "run", make_query(limit=25)) for record in page}
        assert {id: repr(record) for id, record in found.items()} == {run.id: repr(run) for run in runs}

    def test_what_does_not_change_between_pages_is_seen_once(self, backend: Backend, runs: list[Record]) -> None:
        stay, move = runs[:30], runs[30:]
        seen: list[str] = []
        for number, page in enumerate(pages(backend, "run", make_query("", "name", limit=9))):
            seen += [record.id for record in page]
            moved = move[number]
            backend.put(edited(backend.get("run", moved.id), name=f"{'az'[number % 2]}{number}"))
            backend.put(replace(samples.run(name=f"run {number}{number}"), ancestors=moved.ancestors))
            assert number < 60, "the listing does not end"
        assert sorted(id for id in seen if id in {run.id for run in stay}) == sorted(run.id for run in stay)

    def test_an_edit_changes_what_is_found(self, backend: Backend, runs: list[Record]) -> None:
        run = backend.put(edited(runs[3], status="killed", parameters={"C": -7}, tags={}))
        assert names([list(backend.query("run", make_query("status == 'killed'")).records)]) == [run.data()["name"]]
        expected = oracle([run if other.id == run.id else other for other in runs], "parameters.C < 10", "parameters.C")
        assert names(pages(backend, "run", make_query("parameters.C < 10", "parameters.C"))) == expected

    def test_more_points_change_what_is_found(self, backend: Backend, runs: list[Record]) -> None:
        query = make_query("metrics.fresh.last == 2.5 and metrics.fresh.count == 2")
        assert backend.count("run", query) == 0
        writer = backend.open_writer(runs[1].id)
        writer.point("fresh", 0, 1.5, 0)
        writer.point("fresh", 1, 2.5, 1)
        writer.close()
        assert names([list(backend.query("run", query).records)]) == ["run 1"]

    def test_within_is_at_any_depth(self, backend: Backend) -> None:
        top, middle, other = project("top"), project("middle"), project("other")
        backend.put(top)
        backend.put(replace(middle, ancestors=(top.id,)))
        backend.put(replace(project("low"), ancestors=(top.id, middle.id)))
        backend.put(other)
        found = [names(pages(backend, "project", Query(within=id))) for id in (top.id, middle.id, other.id)]
        assert [sorted(group) for group in found] == [["low", "middle"], ["low"], []]

    def test_a_filter_says_below_which_objects(self, backend: Backend) -> None:
        top, other = project("top"), project("other")
        low, lower = (
            replace(project("low"), ancestors=(top.id,)),
            replace(project("lower"), ancestors=(top.id, other.id)),
        )
        for record in (top, other, low, lower):
            backend.put(record)
        filters = (
            f'within."{top.id}" == true',
            f'within."{low.id}" == true or within."{other.id}" == true',
            f'not within."{top.id}" == true',
            f'within."{top.id}" == true and name matches "low*"',
            f'within."{top.id}" != true or within."{top.id}" == "true"',
        )
        found = [sorted(names(pages(backend, "project", make_query(text, limit=1)))) for text in filters]
        assert found == [["low", "lower", "top"], ["low", "lower", "other"], ["other"], ["low", "lower"], []]
        assert [backend.count("project", make_query(text)) for text in filters] == [len(group) for group in found]

    def test_what_lies_below_a_deleted_object_counts_as_deleted(self, backend: Backend) -> None:
        top = backend.put(project("top"))
        backend.put(replace(project("low"), ancestors=(top.id,)))
        gone = backend.put(project("gone"))
        backend.put(project("here"))
        backend.put(deleted(top))
        backend.put(deleted(gone))
        found = {which: sorted(names(pages(backend, "project", Query(deleted=which)))) for which in Deleted}
        assert found == {
            Deleted.EXCLUDE: ["here"],
            Deleted.ONLY: ["gone", "low", "top"],
            Deleted.INCLUDE: ["gone", "here", "low", "top"],
        }
        assert [backend.count("project", Query(deleted=which)) for which in Deleted] == [1, 3, 4]

    def test_an_empty_store_finds_nothing(self, backend: Backend) -> None:
        assert backend.query("run", make_query()).records == ()
        assert backend.query("run", make_query()).cursor is None
        assert backend.count("run", make_query()) == 0

    @pytest.mark.parametrize("cursor", ["", "garbage", "0", "é" * 50, "' OR 1=1", "W10=", "[]", "null"])
    def test_a_cursor_that_is_none_is_refused(self, backend: Backend, cursor: str) -> None:
        backend.put_many([Write(samples.run(), UNBORN) for _ in range(6)])
        with pytest.raises(InvalidObjectError):
            backend.query("run", replace(make_query(limit=5), cursor=cursor))


class Feed(BackendSuite, level="change_feed"):
    """`changes` tells everything that happened, at least once."""

    def test_the_feed_begins_with_all_objects(self, backend: Backend) -> None:
        heads = [backend.put(record) for record in samples.one_of_each_kind()]
        heads[0] = backend.put(deleted(heads[0]))
        assert set(follow(backend, None)[0]) == {Change(head.kind, head.id, head.etag) for head in heads}

    def test_from_a_cursor_on_only_what_is_new_comes(self, backend: Backend) -> None:
        first = backend.put(project("first"))
        backend.put(project("second"))
        _, cursor = follow(backend, None)
        assert follow(backend, cursor)[0] == []
        head = backend.put(edited(first, title="new"))
        third = backend.put(project("third"))
        news, later = follow(backend, cursor)
        assert [(change.id, change.etag) for change in news] == [(head.id, head.etag), (third.id, third.etag)]
        assert follow(backend, later)[0] == []

    def test_the_feed_comes_in_parts(self, backend: Backend) -> None:
        heads = [backend.put(project(str(number))) for number in range(11)]
        news, _ = follow(backend, None, limit=4)
        assert sorted(change.id for change in news) == sorted(head.id for head in heads)

    def test_an_unknown_cursor_begins_anew_and_says_so(self, backend: Backend) -> None:
        head = backend.put(project())
        part = backend.changes("not-a-cursor")
        assert part.reset
        assert [change.id for change in part.entries] == [head.id]

    def test_nothing_is_missed_while_threads_write(self, backend: Backend, budget: Budget) -> None:
        done = threading.Event()
        seen: dict[str, str] = {}

        def write(thread: int) -> dict[str, str]:
            heads = [backend.put(project(f"{thread}-{number}")) for number in range(budget.rounds)]
            return {head.id: backend.put(edited(head, title="new")).etag for head in heads}

        def write_all() -> None:
            for heads in together.threads(*(partial(write, thread) for thread in range(budget.threads))):
                expected.update(heads)
            done.set()

        def watch() -> None:
            cursor: str | None = None
            ended = False
            while not ended:
                ended = done.is_set()
                news, cursor = follow(backend, cursor)
                seen.update((change.id, change.etag) for change in news)

        expected: dict[str, str] = {}
        together.threads(write_all, watch)
        assert seen == expected


class ReopenedQueries(BackendSuite, level="persistent"):
    """Queries and the feed when the store is opened again."""

    def test_queries_and_cursors_go_on_when_the_store_is_opened_again(self, backend: Backend, opening: Opening) -> None:
        runs = [backend.put(run) for run in some_runs(20)]
        _, cursor = follow(backend, None)
        opening.close(backend)
        again = opening()
        assert names(pages(again, "run", make_query("parameters.C > 5", "-name"))) == oracle(
            runs, "parameters.C > 5", "-name"
        )
        head = again.put(edited(runs[0], name="new"))
        assert head.id in {change.id for change in follow(again, cursor)[0]}


class SharedQueries(BackendSuite, level="multi_process"):
    """What another opening of the store wrote is found at once."""

    def test_what_another_opening_wrote_is_found(self, backend: Backend, opening: Opening) -> None:
        other = opening()
        run = other.put(some_runs(1)[0])
        assert names(pages(backend, "run", make_query())) == ["run 0"]
        writer = other.open_writer(run.id)
        writer.point("loss", 0, 0.25, 0)
        writer.flush()
        assert backend.count("run", make_query("metrics.loss.last == 0.25")) == 1
        other.put(edited(other.get("run", run.id), name="other"))
        assert names(pages(backend, "run", make_query("name == 'other'"))) == ["other"]


def follow(backend: Backend, cursor: str | None, *, limit: int = 1000) -> tuple[list[Change], str]:
    """All changes since a cursor, and the next one."""
    news: list[Change] = []
    while True:
        part = backend.changes(cursor, limit=limit)
        assert len(part.entries) <= limit
        news += part.entries
        cursor = part.cursor
        if not part.more:
            return news, cursor
