"""What filters and orders mean."""

from __future__ import annotations

import fnmatch
import math
import random
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from padre_core import Run
from padre_core.objects import canonical
from padre_core.objects.identity import object_id
from padre_core.objects.record import first
from padre_core.objects.summary import summarise
from padre_core.query import Field, flatten, matches, parse, parse_order, sort_key, values_of, wildcard

ID = object_id("run", None, "x")


def values(**entries: Any) -> dict[tuple[str, ...], Any]:
    return {("id",): ID, **{(name,): value for name, value in entries.items()}}


@pytest.mark.parametrize(
    ("text", "value", "result"),
    [
        ("x == 1", 1.0, True),
        ("x == 1", True, False),
        ("x == true", True, True),
        ("x == true", 1, False),
        ("x < true", False, True),
        ("x == '1'", 1, False),
        ("x != '1'", 1, False),
        ("x != 2", 1, True),
        ("x == 9007199254740993", 9007199254740992.0, False),
        ("x > 9007199254740992.0", 9007199254740993, True),
        ("x < inf", 2**63 - 1, True),
        ("x == -inf", -math.inf, True),
        ("x != 1", math.nan, False),
        ("x in (1, 2)", math.nan, False),
        ("not x == 1", math.nan, True),
        ("not x == 1", None, True),
        ("x != 1", None, False),
        ("x > 'Z'", "a", True),
        ("x > '\uffff'", "\U0001f600", True),
        ("x in ('a', 1)", 1, True),
        ("x in ('a', 1)", True, False),
        ("x matches '*'", "", True),
        ("x matches '*'", 1, False),
        ("x matches 'a.c'", "abc", False),
        ("x == 1 and x == 2 or x == 3", 3, True),
    ],
)
def test_comparisons(text: str, value: Any, result: bool) -> None:
    known = values(x=value) if value is not None else values()
    assert matches(parse(text), known) is result


@given(st.text("ab*", max_size=8), st.text("ab", max_size=10))
def test_a_star_stands_for_any_text(pattern: str, text: str) -> None:
    assert wildcard(pattern, text) == fnmatch.fnmatchcase(text, pattern)


@pytest.mark.parametrize("pattern", ["a?", "[a]", "a.", "%", "_", "^a$"])
def test_all_else_stands_for_itself(pattern: str) -> None:
    assert wildcard(pattern, pattern)
    assert not wildcard(pattern, "aa")
    assert not wildcard(pattern, "a")


def test_patterns_take_linear_time() -> None:
    start = time.process_time()
    assert not wildcard("*a" * 500 + "*b", "a" * 100_000)
    assert time.process_time() - start < 1


def test_values_come_by_type_then_nan_then_what_is_missing_in_both_directions() -> None:
    ascending = [-math.inf, 1, 1.5, 2**53, 2**53 + 1, math.inf, "", "Z", "a", False, True]
    objects = [values(x=value) for value in [*ascending, math.nan]] + [values()]
    random.Random(0).shuffle(objects)
    up = sorted(objects, key=lambda item: sort_key(parse_order("x"), item))
    down = sorted(objects, key=lambda item: sort_key(parse_order("-x"), item))
    assert [item.get(("x",)) for item in up[:-2]] == ascending
    assert [item.get(("x",)) for item in down[:-2]] == ascending[::-1]
    for found in (up, down):
        assert math.isnan(found[-2]["x",])
        assert ("x",) not in found[-1]


def test_ties_are_broken_by_id_ascending_also_in_a_descending_order() -> None:
    objects = [{("id",): id, ("x",): 1} for id in "cab"]
    found = sorted(objects, key=lambda item: sort_key(parse_order("-x"), item))
    assert [item["id",] for item in found] == ["a", "b", "c"]


def test_without_an_order_the_time_of_creation_counts() -> None:
    objects = [{("id",): "a", ("created_at",): "2"}, {("id",): "b", ("created_at",): "1"}]
    assert [item["id",] for item in sorted(objects, key=lambda item: sort_key((), item))] == ["b", "a"]


def test_nested_dicts_are_leaves_by_path_and_lists_are_left_out() -> None:
    content = {"a": {"b": {"c": 1}, "d": [1, {"e": 2}], "f": None}, "g.h": True, "big": 2**63}
    assert dict(flatten(content)) == {("a", "b", "c"): 1, ("g.h",): True}


def test_long_texts_are_seen_by_their_beginning() -> None:
    assert flatten({"a": "x" * 5000}) == [(("a",), "x" * 1024)]


def test_an_object_shows_its_fields_defaults_stamps_and_summaries() -> None:
    run = Run(
        execution=object_id("execution", None, "x"),
        parameters={"C": 1, "optimizer": {"lr": 0.1}},
        tags={"a/b": "x"},
        environment={"python": "3.11", "hostname": "h"},
        started_at="2026-11-23T10:00:00+01:00",
    )
    record = first("run", ID, run.content(), (), by="me", at=canonical.now())
    record = replace(record, summaries=(summarise("loss", "w", [0, 1], [0, 1], [2.0, 1.0]),))
    seen = values_of(record)
    assert matches(parse("parameters.C == 1 and parameters.optimizer.lr < 0.2 and tags.'a/b' == 'x'", "run"), seen)
    assert matches(parse("environment.python == '3.11' and started_at == '2026-11-23T09:00:00Z'", "run"), seen)
    assert matches(parse("metrics.loss.last == 1 and metrics.loss.max == 2 and metrics.loss.count == 2", "run"), seen)
    assert matches(parse(f"id == '{ID}' and created_by == 'me' and created_at >= '2026'", "run"), seen)
    assert matches(parse("status == 'created'", "run"), seen), "what the content leaves out has its default"
    assert Field(("name",)).path not in seen
