"""Filters and orders are read as the grammar says, and what is no filter is shown to its writer."""

from __future__ import annotations

import contextlib
import math
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from padre_core.errors import InvalidObjectError
from padre_core.query import (
    And,
    Compare,
    Expression,
    Field,
    In,
    Matches,
    Not,
    Operator,
    Or,
    Order,
    check,
    check_order,
    parse,
    parse_order,
    unparse,
    unparse_order,
)

A, B, C = (Compare(Field((name,)), Operator.EQ, 1) for name in "abc")

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8) | st.sampled_from(
    ["x", "and", "in", "true", "inf", 'a"b', "a\\", "a.b", "it's", "train/loss", " ", "é", "_1", "1"]
)
fields = st.lists(names, min_size=1, max_size=4).map(lambda path: Field(tuple(path)))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
scalars = texts | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.just(-math.inf)
leaves = (
    st.builds(Compare, fields, st.sampled_from(Operator), scalars)
    | st.builds(In, fields, st.lists(scalars, min_size=1, max_size=3).map(tuple))
    | st.builds(Matches, fields, texts)
)
expressions: st.SearchStrategy[Expression] = st.recursive(
    leaves,
    lambda inner: (
        st.builds(Not, inner)
        | st.lists(inner, min_size=2, max_size=3).map(lambda items: And(tuple(items)))
        | st.lists(inner, min_size=2, max_size=3).map(lambda items: Or(tuple(items)))
    ),
    max_leaves=8,
)


@given(expressions)
@example(Not(Not(A)))
@example(And((And((A, B)), C)))
@example(Compare(Field(("x",)), Operator.LT, -0.0))
@example(Compare(Field(("not",)), Operator.EQ, 'it\'s "quoted" \\ \n'))
def test_an_expression_survives_being_written_and_read(expression: Expression) -> None:
    assert parse(unparse(expression)) == expression


@given(st.lists(st.builds(Order, fields, st.booleans()), min_size=1, max_size=8))
def test_an_order_survives_being_written_and_read(order: list[Order]) -> None:
    assert parse_order(unparse_order(order)) == tuple(order)


@given(
    st.text()
    | st.lists(st.sampled_from([*"()=<>!.,-'\" \\x1", "and", "or", "not", "in", "matches", " a "])).map("".join)
)
def test_any_text_is_a_filter_or_an_invalid_object_error(text: str) -> None:
    with contextlib.suppress(InvalidObjectError):
        parse(text, "run")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a == 1 or b == 1 and c == 1", Or((A, And((B, C))))),
        ("(a == 1 or b == 1) and c == 1", And((Or((A, B)), C))),
        ("not a == 1 and b == 1", And((Not(A), B))),
        ("not (a == 1 and b == 1)", Not(And((A, B)))),
        ("a==1and b==1", And((A, B))),
        ("a not in (1, 2.0, 'x', true)", Not(In(Field(("a",)), (1, 2.0, "x", True)))),
        ("a not matches 'x*'", Not(Matches(Field(("a",)), "x*"))),
        ('a."b.c"."d e".and >= -1e3', Compare(Field(("a", "b.c", "d e", "and")), Operator.GE, -1000.0)),
        ("a < -inf", Compare(Field(("a",)), Operator.LT, -math.inf)),
        (r"a == 'it\'s\n'", Compare(Field(("a",)), Operator.EQ, "it's\n")),
        ("größe > 1", Compare(Field(("größe",)), Operator.GT, 1)),
        ("a > 9223372036854775807", Compare(Field(("a",)), Operator.GT, 2**63 - 1)),
    ],
)
def test_the_grammar(text: str, expected: Expression) -> None:
    found = parse(text)
    assert found == expected
    assert repr(found) == repr(expected)  # 1, 1.0 and True are equal to Python, but not to a filter


def test_an_order_is_fields_with_a_minus_for_the_greatest_first() -> None:
    assert parse_order('-metrics.accuracy.last, name,tags."x y"') == (
        Order(Field(("metrics", "accuracy", "last")), descending=True),
        Order(Field(("name",))),
        Order(Field(("tags", "x y"))),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("metrics.m.lst > 1", "has no summary 'lst'; did you mean 'last'?\n  metrics.m.lst > 1\n            ^^^"),
        ("name == 'a' and\nstatsu == 'x'", "no field 'statsu'; did you mean 'status'?\n  statsu == 'x'\n  ^^^^^^"),
        ("accuracy > 1", "a run has no field 'accuracy'; there are "),
        ("loss > 1", "; a metric is named metrics.loss.last, a parameter parameters.loss"),
        ("environment.pyton == '3'", "environment of a run has no field 'pyton'; did you mean 'python'?"),
        ("metrics.loss < 1", "say which summary of the metric, such as metrics.loss.last (last, min, "),
        ("metrics.train/loss.last < 1", 'is quoted: metrics."train/loss".last'),
        ('tags.a-b == "x"', "is quoted"),
        ("metrics.train.loss.last < 1", 'is quoted, such as metrics."train.loss".last'),
        ("environment == 1", "environment has parts: name one, such as environment."),
        ("parameters == 1", "parameters has parts: name one, such as parameters.key"),
        ("command == 'x'", "filters see single values, not what command holds"),
        ("status.x == 1", "status has no parts\n  status.x == 1\n         ^"),
        ("id.x == 'x'", "id has no parts"),
        ("name = 'x'", "expected ==, !=, <, <=, >, >=, 'in' or 'matches'; write == to compare\n  name = 'x'\n       ^"),
        ("name == 'x", "this text has no closing quote\n  name == 'x\n          ^^"),
        ("name == x", "expected a number, true, false, or text in quotes\n  name == x\n          ^"),
        ("name == True", "write true"),
        ("name == nan", "NaN compares with nothing"),
        ("name == null", "what is missing compares with nothing"),
        ("name == 'a' && name == 'b'", "expected 'and', 'or' or the end; write 'and'"),
        ("(name == 'a'", "expected 'and', 'or' or ')'\n  (name == 'a'\n              ^"),
        ("name in 'a'", "expected '('"),
        ("name in ()", "expected a number"),
        ("name matches 1", "expected a pattern as text"),
        ("name not == 1", "expected 'in' or 'matches'"),
        ("not", "expected a field, 'not' or '('"),
        ("", "expected a field, 'not' or '('"),
        ("name.", "expected the next part of the field"),
        (r"name == 'a\d'", r"\d is no escape; write \\ for a backslash"),
        ("name == 99999999999999999999", "does not fit into 64 bits; write 99999999999999999999.0"),
        ("created_at > 5", "expected a time as text, such as"),
        ("created_at > 'yesterday'", "expected a time as text, such as"),
        ("name == '\ud800'", "a lone surrogate is not valid text"),
        ("name == '" + "a" * 1024 + "'", "a text has fewer than 1024 characters"),
        ("(" * 40 + "name == 'a'" + ")" * 40, "nested deeper than 32 levels"),
        ("not " * 40 + "name == 'a'", "nested deeper than 32 levels"),
        ("name == 'a'" + " or name == 'a'" * 200, "more than 200 conditions"),
        ("name in (" + "1," * 1000 + "1)", "more than 1000 values"),
        ("a" * 20_001, "at most 20000 characters, not 20001"),
    ],
)  # fmt: skip
def test_what_is_no_filter_is_shown_with_its_place_and_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(InvalidObjectError) as caught:
        parse(text, "run")
    assert str(caught.value).startswith("filter: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "expected a field"), ("name desc", "write - before the field"), ("nmae", "did you mean 'name'?"),
     ("name name", "expected a comma or the end"), (",".join(["name"] * 9), "at most 8 fields, not 9")],
)  # fmt: skip
def test_what_is_no_order_is_shown_too(text: str, message: str) -> None:
    with pytest.raises(InvalidObjectError, match="order: ") as caught:
        parse_order(text, "run")
    assert message in str(caught.value)


def test_a_long_filter_is_shown_around_the_fault_only() -> None:
    text = "name == 'a' and " * 100 + "nmae == 'b'" + " and name == 'a'" * 50
    with pytest.raises(InvalidObjectError) as caught:
        parse(text, "run")
    line, carets = str(caught.value).splitlines()[1:]
    assert len(line) < 150
    assert line[carets.index("^") :].startswith("nmae")
    assert carets.count("^") == 4


def test_control_characters_do_not_reach_the_terminal_through_an_error() -> None:
    with pytest.raises(InvalidObjectError) as caught:
        parse("name == 'a' \x1b[31m", "run")
    assert "\x1b" not in str(caught.value)


def test_other_kinds_have_their_own_fields() -> None:
    assert parse("owner_kind == 'run' and size > 10", "artifact")
    assert parse("formats.csv.size > 10 and version == 'x'", "dataset")
    with pytest.raises(InvalidObjectError, match="a dataset has no field 'metrics'"):
        parse("metrics.loss.last > 1", "dataset")


def test_keys_are_compared_in_the_form_in_which_they_are_stored() -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    for field in ("parameters.{}", "tags.{}", "metrics.{}.last"):
        assert parse(field.format(f'"{decomposed}"') + " == 1", "run") == parse(f"{field.format(composed)} == 1")


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("2026", "2026"),
        ("2026-11-23T09:30", "2026-11-23T09:30"),
        ("2026-11-23T09:30:00Z", "2026-11-23T09:30:00.000000Z"),
        ("2026-11-23 09:30:00", "2026-11-23T09:30:00.000000Z"),
        ("2026-11-23T09:30:00.5+01:00", "2026-11-23T08:30:00.500000Z"),
    ],
)
def test_times_are_turned_into_the_beginning_of_a_stored_time(given: str, stored: str) -> None:
    assert parse(f"started_at >= '{given}'", "run") == Compare(Field(("started_at",)), Operator.GE, stored)


def test_expressions_that_no_text_was_parsed_to_are_checked_the_same_way() -> None:
    text = "not (created_at in ('2026-11-23 10:00', '2026') or name matches 'a*') and tags.x == 1"
    assert check(parse(text), "run") == parse(text, "run")
    with pytest.raises(InvalidObjectError, match="did you mean 'name'"):
        check(parse("nmae == 1"), "run")
    assert check_order(parse_order("-name"), "run") == parse_order("-name")
    with pytest.raises(InvalidObjectError, match="did you mean 'name'"):
        check_order(parse_order("nmae"), "run")


@pytest.mark.parametrize("text", ["'" + "\\" * 19_000, "(" * 19_000, "a." * 9_000, "1" * 19_000, '"\\"' * 6_000])
def test_hostile_text_is_refused_quickly(text: str) -> None:
    start = time.process_time()
    with pytest.raises(InvalidObjectError):
        parse(text)
    assert time.process_time() - start < 1


def test_where_an_object_lies_needs_an_id_and_is_no_order() -> None:
    id = "6f2b4c1e-0c58-5a41-9d38-0a4f7c1f2d11"
    assert parse(f'within."{id}" == true', "run") == Compare(Field(("within", id)), Operator.EQ, True)
    for wrong in ("within == true", 'within."up" == true', f'within."{id}".name == true'):
        with pytest.raises(InvalidObjectError):
            parse(wrong, "run")
    with pytest.raises(InvalidObjectError, match="no order"):
        parse_order(f'within."{id}"', "run")
