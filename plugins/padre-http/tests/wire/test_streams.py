from __future__ import annotations

import array
import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from padre_core.backends.backend import Segment
from padre_core.errors import BackendError, CorruptObjectError, InvalidObjectError, UnavailableError
from padre_core.streams import points as blocks
from padre_core.streams.columns import Columns, Line, Lines, Points, concatenate, stream_of
from padre_core.streams.writer import columns_of
from padre_core.testing import samples
from padre_http.wire import streams

WRITER = "0123456789abcdef"
names = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), min_size=1, max_size=8)
int64 = st.integers(-(2**63), 2**63 - 1)
many_points = st.lists(st.tuples(names, int64, int64, st.floats()), min_size=1, max_size=20).map(columns_of)
times = st.integers(0, 4_000_000_000_000_000)
many_lines = st.lists(st.builds(Line, times, st.sampled_from(samples.LEVELS), st.text(max_size=20)), min_size=1).map(
    lambda lines: Lines(tuple(lines))
)


def bits(columns: Columns) -> object:
    if isinstance(columns, Lines):
        return columns.lines
    keys = columns.keys or [0] * len(columns)
    values = [struct.pack("<d", value) for value in columns.values]
    return list(zip([columns.metrics[key] for key in keys], columns.steps, columns.times, values, strict=True))


@given(many_points | many_lines, st.integers(0, 2**40))
def test_columns_come_back_with_every_bit(columns: Columns, first: int) -> None:
    data = streams.encode_columns(first, columns)
    assert bits(streams.decode_columns(stream_of(columns), first, data)) == bits(columns)


def test_long_columns_come_back_as_one() -> None:
    columns = samples.points(blocks.MAX_POINTS + 5)
    same = streams.decode_columns("points", 3, streams.encode_columns(3, columns)) == columns
    assert same


@pytest.mark.parametrize("stream", ["points", "lines"])
def test_nothing_is_a_part_without_entries(stream: str) -> None:
    found = streams.decode_columns(stream, 7, b"")  # type: ignore[arg-type]
    assert (len(found), stream_of(found)) == (0, stream)


@given(many_points | many_lines, st.binary(max_size=20), st.integers(0, 300), st.integers(0, 30))
def test_damaged_columns_are_refused(columns: Columns, noise: bytes, start: int, length: int) -> None:
    data = streams.encode_columns(0, columns)
    damaged = data[:start] + noise + data[start + length :]
    if damaged in (data, b""):
        return
    try:
        found = streams.decode_columns(stream_of(columns), 0, damaged)
    except InvalidObjectError:
        return
    # Only what was cut between two lines is whole.
    assert isinstance(found, Lines)
    assert data.startswith(damaged) or found.lines != ()


@pytest.mark.parametrize(
    "columns",
    [
        Points(("a",), array.array("I", [1]), array.array("q", [1]), array.array("q", [1]), array.array("d", [1])),
        Points(("a", "a"), array.array("I", [1]), array.array("q", [1]), array.array("q", [1]), array.array("d", [1])),
        Points(("a", "b"), None, array.array("q", [1]), array.array("q", [1]), array.array("d", [1])),
        Points((), None, array.array("q", [1]), array.array("q", [1]), array.array("d", [1])),
        Points(("",), None, array.array("q", [1]), array.array("q", [1]), array.array("d", [1])),
        Points(("\n",), None, array.array("q", [1]), array.array("q", [1]), array.array("d", [1])),
        Points(("a" * 256,), None, array.array("q", [1]), array.array("q", [1]), array.array("d", [1])),
        Lines((Line(1, "LOUD\n", "x"),)),
        Lines((Line(1, "", "x"),)),
    ],
)
def test_hostile_columns_are_refused(columns: Columns) -> None:
    with pytest.raises(InvalidObjectError):
        streams.decode_columns(stream_of(columns), 0, streams.encode_columns(0, columns))


def test_a_part_that_begins_elsewhere_or_has_gaps_is_refused() -> None:
    part = streams.encode_columns(4, samples.points(2))
    with pytest.raises(InvalidObjectError):
        streams.decode_columns("points", 3, part)
    with pytest.raises(InvalidObjectError):
        streams.decode_columns("points", 4, part + part)
    with pytest.raises(InvalidObjectError):
        streams.decode_columns("points", 2**63 - 1, streams.encode_columns(2**63 - 1, samples.points(2)))


def test_segments_come_back_as_they_are() -> None:
    segments = [Segment(WRITER, 0, samples.odd_points()), Segment("f" * 16, 9, samples.points(3))]
    data = b"".join(streams.encode_segments(segments))
    found = list(streams.decode_segments("points", io.BytesIO(data).read))
    assert [(item.writer, item.first, bits(item.columns)) for item in found] == [
        (item.writer, item.first, bits(item.columns)) for item in segments
    ]


def test_long_segments_travel_in_frames_of_bounded_size() -> None:
    lines = Lines(tuple(Line(number, "INFO", "x" * 50_000) for number in range(100)))
    frames = list(streams.encode_segments([Segment(WRITER, 5, lines)]))
    assert max(map(len, frames)) < 2 * streams.PART_TEXT
    found = list(streams.decode_segments("lines", io.BytesIO(b"".join(frames)).read))
    assert found[0].first == 5
    assert concatenate([item.columns for item in found]) == lines


def test_an_error_ends_a_stream_after_what_was_read() -> None:
    def damaged() -> object:
        yield Segment(WRITER, 0, samples.points(3))
        raise CorruptObjectError("a block is damaged")

    data = b"".join(streams.encode_segments(damaged()))  # type: ignore[arg-type]
    found = streams.decode_segments("points", io.BytesIO(data).read)
    assert len(next(found).columns) == 3
    with pytest.raises(CorruptObjectError, match="a block is damaged"):
        next(found)


def test_a_stream_that_was_cut_is_no_stream() -> None:
    data = b"".join(streams.encode_segments([Segment(WRITER, 0, samples.points(3))]))
    for end in (0, 10, 40, 60, len(data) - 1, len(data) - 36):
        with pytest.raises(UnavailableError):
            list(streams.decode_segments("points", io.BytesIO(data[:end]).read))


@given(st.binary(max_size=40), st.integers(0, 200), st.integers(0, 40))
def test_damaged_frames_are_noticed(noise: bytes, start: int, length: int) -> None:
    data = b"".join(streams.encode_segments([Segment(WRITER, 0, samples.points(3))]))
    damaged = data[:start] + noise + data[start + length :]
    if damaged.startswith(data):
        return
    with pytest.raises(BackendError):
        list(streams.decode_segments("points", io.BytesIO(damaged).read))


def test_streams_of_many_runs_come_back_each_with_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "BODY", 1000)
    one, other = samples.run().id, samples.run().id
    lines = Lines(tuple(Line(place, "INFO", "text") for place in range(3)))
    parts = [(one, Segment(WRITER, 0, samples.points(20))), (one, Segment(WRITER, 7, lines))]
    parts += [(other, Segment(WRITER, 3, samples.points(30))), (one, Segment("a" * 16, 0, lines))]
    bodies = list(streams.encode_bodies(parts))
    assert len(bodies) > 1
    assert sum(count for _, count in bodies) == 56
    found = [part for body, _ in bodies for part in streams.decode_parts(io.BytesIO(body).read)]
    assert [(run, part.writer, part.first, bits(part.columns)) for run, part in found] == [
        (run, part.writer, part.first, bits(part.columns)) for run, part in parts
    ]


@given(st.data())
def test_streams_of_many_runs_that_were_cut_or_damaged_give_no_wrong_part(data: st.DataObject) -> None:
    run = "018f3a5e-0000-7000-8000-000000000000"
    sent = [(run, Segment(WRITER, 0, samples.points(5))), (run, Segment(WRITER, 5, samples.points(5, start=5)))]
    body = bytearray(b"".join(streams.encode_parts(sent)))
    place = data.draw(st.integers(0, len(body) - 1))
    if data.draw(st.booleans()):
        del body[place:]
    else:
        body[place] ^= data.draw(st.integers(1, 255))
    found: list[tuple[str, Segment]] = []
    with pytest.raises((UnavailableError, BackendError)):
        found.extend(streams.decode_parts(io.BytesIO(body).read))
    kept = [(of, part.first, bits(part.columns)) for of, part in found]
    assert kept == [(of, part.first, bits(part.columns)) for of, part in sent][: len(kept)]
