import array
import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from padre_core.errors import CorruptObjectError, InvalidObjectError
from padre_core.streams import lines, points
from padre_core.streams.columns import Line, Lines, Points, make_points
from padre_core.streams.writer import columns_of

int64 = st.integers(-(2**63), 2**63 - 1)
rows = st.lists(st.tuples(st.sampled_from(["loss", "train/ü", "c"]), int64, int64, st.floats()), min_size=1)
texts = st.lists(
    st.builds(Line, st.integers(0, 2**50), st.sampled_from(["INFO", "ERROR"]), st.text(st.characters(codec="utf-8")))
)


def raw(columns: Points):
    return (
        [columns.metrics[key] for key in columns.keys or [0] * len(columns)],
        columns.steps.tobytes(),
        columns.times.tobytes(),
        columns.values.tobytes(),
    )


@given(rows, st.integers(0, 2**40))
def test_points_come_back_to_the_bit(entries, first):
    columns = columns_of(entries)
    ((start, again),) = points.decode(b"".join(points.encode(first, columns)), "here")
    assert start == first
    assert raw(again) == raw(columns)


def test_long_columns_become_several_blocks():
    columns = make_points("loss", range(points.MAX_POINTS + 1), None, None, 0)
    parts = list(points.decode(b"".join(points.encode(5, columns)), "here"))
    assert [(first, len(part)) for first, part in parts] == [
        (5, points.MAX_POINTS),
        (5 + points.MAX_POINTS, 1),
    ]


@given(rows, rows, st.data())
def test_every_flipped_bit_of_points_is_found_and_the_rest_read(before, after, data):
    head = b"".join(points.encode(0, columns_of(before)))
    tail = b"".join(points.encode(len(before), columns_of(after)))
    damaged = bytearray(head + tail)
    place = data.draw(st.integers(0, len(damaged) - 1))
    damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    found = []
    torn = points.complete(bytes(damaged)) < len(damaged)
    try:
        found.extend(points.decode(bytes(damaged), "here"))
    except CorruptObjectError:
        torn = True
    assert torn
    assert all(raw(part) in (raw(columns_of(before)), raw(columns_of(after))) for _, part in found)
    if place >= len(head):
        assert found


@given(rows, st.integers(1, 200))
def test_a_torn_block_at_the_end_is_left_out(entries, cut):
    block = b"".join(points.encode(0, columns_of(entries)))
    torn = block + block[: min(cut, len(block) - 1)]
    assert len(list(points.decode(torn, "here"))) == 1
    assert points.complete(torn) == len(block)


@given(texts, st.integers(0, 2**40))
def test_lines_come_back(entries, first):
    data = lines.encode(first, Lines(tuple(entries)))
    found = list(lines.decode(data, "here"))
    assert found == ([(first, Lines(tuple(entries)))] if entries else [])
    assert lines.complete(data) == len(data)


@given(texts.filter(len), st.data())
def test_every_flipped_bit_of_lines_is_found(entries, data):
    damaged = bytearray(lines.encode(0, Lines(tuple(entries))))
    place = data.draw(st.integers(0, len(damaged) - 1))
    damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    whole = True
    try:
        list(lines.decode(bytes(damaged), "here"))
    except CorruptObjectError:
        whole = False
    assert not whole or lines.complete(bytes(damaged)) < len(damaged)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data):
    for decode in (points.decode, lines.decode):
        with contextlib.suppress(CorruptObjectError):
            assert list(decode(data, "here")) == []


def test_columns_of_arrays_and_lists_agree():
    numpy = pytest.importorskip("numpy")
    one = make_points("loss", [1, 2.5], [3, 4], [5, 6], 0)
    other = make_points("loss", numpy.array([1, 2.5]), numpy.array([3, 4], "int32"), numpy.array([5, 6]), 0)
    assert raw(one) == raw(other)
    assert make_points("loss", [1, 2], None, None, 7).steps == array.array("q", [7, 8])


@pytest.mark.parametrize(
    ("values", "steps"), [(["a"], None), ([1], [1, 2]), ([None], None), ([1], [0.5]), ([1], [2**63])]
)
def test_what_are_no_points_is_refused(values, steps):
    with pytest.raises(InvalidObjectError, match="log_points"):
        make_points("loss", values, steps, None, 0)


@given(rows, st.integers(0, 2**40))
def test_a_block_that_was_read_is_written_as_it_was_or_under_another_number(entries, first):
    block = b"".join(points.encode(first, columns_of(entries)))
    ((_, again),) = points.decode(block, "here")
    assert list(points.encode(first, again)) == [block]
    ((moved, third),) = points.decode(b"".join(points.encode(first + 1, again)), "here")
    assert (moved, raw(third)) == (first + 1, raw(again))


def test_points_that_were_changed_after_they_were_read_are_written_as_they_are_now():
    ((_, found),) = points.decode(b"".join(points.encode(0, columns_of([("a", 1, 10, 0.5)]))), "here")
    changed = replace(found, values=array.array("d", [0.25]))
    ((_, again),) = points.decode(b"".join(points.encode(0, changed)), "here")
    assert list(again.values) == [0.25]


def test_steps_beyond_64_bits_with_a_sign_are_refused():
    numpy = pytest.importorskip("numpy")
    with pytest.raises(InvalidObjectError, match="steps"):
        make_points("loss", [1.0], numpy.array([2**63], "uint64"), None, 0)


def test_one_metric_of_many_is_picked_in_order():
    columns = columns_of([("a", 1, 10, 0.5), ("b", 1, 11, 0.6), ("a", 2, 12, 0.7)])
    assert [list(column) for column in columns.of("a")] == [[1, 2], [10, 12], [0.5, 0.7]]
    assert [list(column) for column in columns.of("c")] == [[], [], []]
