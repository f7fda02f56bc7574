import math

from hypothesis import given
from hypothesis import strategies as st

from padre_core.objects.canonical import to_json
from padre_core.objects.summary import WriterSummary, combine, extend, summarise

points = st.lists(
    st.tuples(st.integers(-5, 5), st.integers(0, 5), st.floats() | st.sampled_from([0.0, -0.0, math.nan])), min_size=1
)


def of(rows, writer="a"):
    steps, times, values = zip(*rows, strict=True)
    return summarise("loss", writer, steps, times, values)


@given(points, points)
def test_summaries_in_parts_equal_the_summary_of_all(before, after):
    whole = of(before + after)
    parts = extend(of(before), *zip(*after, strict=True))
    assert to_json(parts.as_json()) == to_json(whole.as_json())


@given(points)
def test_a_summary_says_what_a_person_would_count(rows):
    summary = combine([of(rows)])["loss"]
    numbers = [value for _, _, value in rows if not math.isnan(value)]
    assert summary.count == len(rows)
    ordered = sorted(enumerate(rows), key=lambda item: (item[1][0], item[1][1], item[0]))
    assert to_json(summary.first) == to_json(ordered[0][1][2])
    assert to_json(summary.last) == to_json(ordered[-1][1][2])
    if numbers:
        assert (summary.min, summary.max) == (min(numbers), max(numbers))
    else:
        assert math.isnan(summary.min)
        assert math.isnan(summary.mean)
        assert summary.min_step is None


@given(st.lists(st.tuples(st.sampled_from("abc"), points), min_size=1, max_size=3, unique_by=lambda item: item[0]))
def test_the_order_in_which_writers_are_met_does_not_matter(writers):
    parts = [of(rows, writer) for writer, rows in writers]
    assert to_json(vars_of(combine(parts))) == to_json(vars_of(combine(reversed(parts))))


def vars_of(summaries):
    return {name: [getattr(item, field) for field in item._fields] for name, item in summaries.items()}


@given(points)
def test_a_summary_comes_back_from_json(rows):
    summary = of(rows)
    assert to_json(WriterSummary.from_json(summary.as_json()).as_json()) == to_json(summary.as_json())
