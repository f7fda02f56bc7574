"""The index answers what the evaluator in Python says, on any records, filters, orders and pages."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from padre_core.backends import index_search
from padre_core.backends.index import Index
from padre_core.objects import canonical
from padre_core.objects.identity import object_id
from padre_core.objects.record import Record, Tombstone, make_etag
from padre_core.objects.summary import summarise
from padre_core.query import (
    And,
    Compare,
    Deleted,
    Expression,
    Field,
    In,
    Matches,
    Not,
    Operator,
    Or,
    Order,
    Query,
    matches,
    sort_key,
    values_of,
)

CONTAINERS = [object_id("experiment", None, str(number)) for number in range(3)]
EXECUTIONS = {object_id("execution", parent, "code"): parent for parent in CONTAINERS}
TEXTS = ["", "a", "a*", "ab", "abc", "b", "é", "\U0001f600", "\uffff", "a\x00b", "5", "true", "0x", "\U0010ffff"]

numbers = st.sampled_from([0, 1, -1, 5, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)]) | st.sampled_from(
    [0.0, -0.0, 1.0, 0.5, 5.0, 2.0**53, 2.0**63, 1e300, math.inf, -math.inf, math.nan]
)
texts = st.sampled_from(TEXTS)
scalars = numbers | texts | st.booleans()
fields = st.sampled_from(
    [
        ("parameters", "x"), ("parameters", "y"), ("parameters", "nested", "z"), ("tags", "t"), ("status",), ("name",),
        ("metrics", "m", "last"), ("metrics", "m", "min"), ("metrics", "m", "count"), ("metrics", "n", "mean"),
        ("created_at",), ("updated_at",), ("created_by",), ("id",), ("execution",), ("parameters", "never"),
    ]
).map(Field)  # fmt: skip
patterns = st.lists(st.sampled_from(["*", "a", "b", "?", "é", "[", "\U0010ffff", "\ud7ff"]), max_size=4).map("".join)
operators = st.sampled_from(list(Operator))
ids = [object_id("run", None, str(number)) for number in range(40)]
literals = scalars | st.sampled_from(ids) | st.sampled_from(["created", "failed", "2026-01", "nobody"])
leaves = (
    st.builds(Compare, fields, operators, literals)
    | st.builds(In, fields, st.lists(literals, max_size=3).map(tuple))
    | st.builds(Matches, fields, patterns)
)
expressions: st.SearchStrategy[Expression] = st.recursive(
    leaves,
    lambda inner: (
        st.builds(Not, inner)
        | st.lists(inner, min_size=2, max_size=3).map(lambda items: And(tuple(items)))
        | st.lists(inner, min_size=2, max_size=3).map(lambda items: Or(tuple(items)))
    ),
    max_leaves=5,
)
orders = st.lists(st.builds(Order, fields, st.booleans()), max_size=3, unique_by=lambda item: item.field).map(tuple)


def sparse(**entries: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=entries)


@st.composite
def runs(draw: st.DrawFn, id: str) -> Record:
    execution = draw(st.sampled_from(list(EXECUTIONS)))
    content: dict[str, Any] = draw(
        sparse(
            name=texts,
            status=st.sampled_from(["running", "failed"]),
            parameters=sparse(x=scalars, y=scalars | st.none(), nested=sparse(z=scalars), list=st.just([1])),
            tags=sparse(t=texts),
        )
    )
    data = canonical.to_json({"execution": execution, **content})
    points = draw(st.lists(st.sampled_from([0.5, 1.0, math.nan, math.inf, -3.0]), max_size=3))
    writers = draw(st.integers(1, 2))
    summaries = tuple(
        summarise("m", f"w{writer}", range(len(points)), range(len(points)), points)
        for writer in range(writers if points else 0)
    )
    stamps = draw(st.tuples(*[st.sampled_from(["", "2026-01-01T00:00:00.000000Z", "2026-02-01T00:00:00.000000Z"])] * 2))
    deleted = draw(st.sampled_from([None, None, None, Tombstone("d", "2026-01-01T00:00:00.000000Z")]))
    ancestors = (EXECUTIONS[execution], execution)
    return Record(
        "run", id, data, make_etag((), canonical.digest(data), None), ancestors, deleted=deleted, version=1,
        created_at=stamps[0], updated_at=stamps[1], created_by=draw(st.sampled_from([None, "me", "nobody"])),
        summaries=summaries,
    )  # fmt: skip


def container(kind: str, id: str, ancestors: tuple[str, ...], *, deleted: bool, version: int = 1) -> Record:
    tombstone = Tombstone("d", "2026-01-01T00:00:00.000000Z") if deleted else None
    return Record(kind, id, b"{}", "1-0000000000000000", ancestors, deleted=tombstone, version=version)


@st.composite
def stores(draw: st.DrawFn) -> list[Record]:
    records: list[Record] = [draw(runs(id)) for id in ids[: draw(st.integers(0, 12))]]
    for execution, experiment in EXECUTIONS.items():
        records.append(container("execution", execution, (experiment,), deleted=draw(st.booleans())))
        records.append(container("experiment", experiment, (), deleted=draw(st.integers(0, 3)) == 0))
    return draw(st.permutations(records))


queries = st.builds(
    Query,
    where=st.none() | expressions,
    within=st.none() | st.sampled_from([*CONTAINERS, *EXECUTIONS, ids[0], "nothing"]),
    order=orders,
    limit=st.integers(1, 5),
    deleted=st.sampled_from(Deleted),
)


def expected(records: list[Record], query: Query) -> list[str]:
    gone = {record.id for record in records if record.deleted}

    def wanted(record: Record) -> bool:
        hidden = record.deleted is not None or not gone.isdisjoint(record.ancestors)
        return (
            record.kind == "run"
            and (query.deleted is Deleted.INCLUDE or hidden == (query.deleted is Deleted.ONLY))
            and (query.within is None or query.within in record.ancestors)
            and (query.where is None or matches(query.where, values_of(record)))
        )

    found = sorted(filter(wanted, records), key=lambda record: sort_key(query.order, values_of(record)))
    return [record.id for record in found]


def paged(index: Index, query: Query) -> list[str]:
    found: list[str] = []
    while True:
        page = index.query("run", query)
        assert len(page.records) <= query.limit
        found += [record.id for record in page.records]
        if page.cursor is None:
            return found
        assert len(page.records) == query.limit
        query = replace(query, cursor=page.cursor)


@pytest.fixture(
    params=[(1000, 500), (3, 500), (0, 10_000), (0, 1)], ids=["all are rare", "some are rare", "walk", "walk given up"]
)
def ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes the ways for large numbers with small ones."""
    monkeypatch.setattr(index_search, "RARE", request.param[0])
    monkeypatch.setattr(index_search, "PATIENCE", request.param[1])
    monkeypatch.setattr(index_search, "PEEK", request.param[0] or 5)


@pytest.mark.usefixtures("ways")
@settings(max_examples=30, deadline=None)
@given(records=stores(), query=queries)
def test_pages_and_counts_are_those_of_the_evaluator(records: list[Record], query: Query) -> None:
    index = Index(None)
    index.put(records)
    assert paged(index, query) == expected(records, query)
    assert index.count("run", query) == len(expected(records, query))
    index.close()


X, MEAN = Field(("parameters", "x")), Field(("metrics", "m", "mean"))
ONE, TEXT, HIGH = Compare(X, Operator.EQ, 1), Matches(X, "a*"), Compare(MEAN, Operator.GT, 0)


@pytest.mark.usefixtures("ways")
@pytest.mark.parametrize("where", [Not(ONE), Not(Or((ONE, HIGH, TEXT))), Not(HIGH), Or((ONE, TEXT)), And((TEXT, HIGH))])
@pytest.mark.parametrize("order", [(X,), (MEAN, X), (Field(("created_at",)), MEAN, X)])
def test_a_negation_finds_what_lacks_the_field_or_has_nan_there_whatever_the_order(
    where: Expression, order: tuple[Field, ...]
) -> None:
    (execution, experiment), *_ = EXECUTIONS.items()
    records = [
        Record(
            "run", id, canonical.to_json({"execution": execution, "parameters": {} if x is None else {"x": x}}),
            f"1-{number:016x}", (experiment, execution), version=1, created_at="2026-01-01T00:00:00.000000Z",
            summaries=() if point is None else (summarise("m", "w", [0], [0], [point]),),
        )
        for number, (id, (x, point)) in enumerate(
            zip(ids, itertools.product([1, 2, "a", "b", math.nan, None], [1.0, -1.0, math.nan, None]), strict=False)
        )
    ]  # fmt: skip
    index = Index(None)
    index.put(records)
    query = Query(where=where, order=tuple(map(Order, order)), limit=5)
    assert paged(index, query) == expected(records, query) != []
    assert index.count("run", query) == len(expected(records, query))
    index.close()


@pytest.mark.usefixtures("ways")
@settings(max_examples=30, deadline=None)
@given(before=stores(), after=stores(), query=queries)
def test_updates_leave_nothing_of_the_old_state(before: list[Record], after: list[Record], query: Query) -> None:
    index = Index(None)
    index.put(before)
    after = [replace(record, version=2) for record in after]
    index.put(after)
    heads = {(record.kind, record.id): record for record in [*before, *after]}
    # Summaries only ever grow, as points do.
    for record in before:
        head = heads[record.kind, record.id]
        kept = {(item.metric, item.writer): item for item in record.summaries}
        for item in head.summaries:
            old = kept.get((item.metric, item.writer))
            if old is None or item.count >= old.count:
                kept[item.metric, item.writer] = item
        heads[record.kind, record.id] = replace(head, summaries=tuple(kept[key] for key in sorted(kept)))
    assert paged(index, query) == expected(list(heads.values()), query)
    for record in heads.values():
        index.remove(record.kind, record.id)
    assert index.count("run", replace(query, where=None, within=None, deleted=Deleted.INCLUDE)) == 0
    tables = ("head", "object", "value", "metric")
    assert [index._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables] == [0] * 4
    index.close()


@pytest.mark.usefixtures("ways")
@settings(max_examples=30, deadline=None)
@given(records=stores(), others=stores(), query=queries, data=st.data())
def test_what_keeps_its_key_between_pages_is_seen_exactly_once(
    records: list[Record], others: list[Record], query: Query, data: st.DataObject
) -> None:
    index = Index(None)
    index.put(records)
    lasting = expected(records, query)
    known = {record.id for record in records}
    inserted = [record for record in others if record.kind == "run" and record.id not in known]
    seen: list[str] = []
    while True:
        page = index.query("run", query)
        seen += [record.id for record in page.records]
        if page.cursor is None:
            break
        query = replace(query, cursor=page.cursor)
        if inserted and data.draw(st.booleans()):
            index.put([inserted.pop()])
    assert [id for id in seen if id in known] == lasting
    assert len(seen) == len(set(seen))
    index.close()
