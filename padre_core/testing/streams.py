"""The backend suite's part on streams and blobs."""

from __future__ import annotations

import hashlib
import io
import itertools
import struct
import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import pytest

from padre_core.backends.backend import SMALL_BLOB, Backend, Segment
from padre_core.errors import ConflictError, InvalidObjectError, NotFoundError
from padre_core.objects.summary import combine
from padre_core.streams.columns import Columns, Line, Lines, Points, Stream
from padre_core.testing import samples, together
from padre_core.testing.records import BackendSuite
from padre_core.testing.suite import Budget, Opening

WRITER = "0123456789abcdef"
OTHER = "fedcba9876543210"


def numbered(first: int, count: int) -> Lines:
    """Lines that name their place."""
    return Lines(tuple(Line(place, "INFO", f"line {place}") for place in range(first, first + count)))


class Streams(BackendSuite, level="base"):
    """Points and lines of a run, by writer."""

    @pytest.fixture
    def run(self, backend: Backend) -> str:
        """The id of a stored run."""
        return backend.put(samples.run()).id

    def test_a_run_without_entries_has_empty_streams(self, backend: Backend, run: str) -> None:
        assert list(backend.read_stream(run, "points")) == []
        assert list(backend.read_stream(run, "lines")) == []

    def test_points_come_back_with_every_bit(self, backend: Backend, run: str) -> None:
        points = samples.odd_points()
        assert backend.append_stream(run, WRITER, 0, points) == len(points)
        parts = [_bits(segment.columns) for segment in backend.read_stream(run, "points")]
        assert [*itertools.chain(*parts)] == _bits(points)

    def test_lines_come_back_with_every_character(self, backend: Backend, run: str) -> None:
        lines = Lines(tuple(samples.odd_lines()))
        assert backend.append_stream(run, WRITER, 0, lines) == len(lines)
        parts = [segment.columns for segment in backend.read_stream(run, "lines")]
        assert tuple(line for part in parts if isinstance(part, Lines) for line in part.lines) == lines.lines

    @pytest.mark.parametrize("make", [samples.points, lambda count: numbered(0, count)], ids=["points", "lines"])
    def test_what_is_stored_already_is_skipped(self, backend: Backend, run: str, make: Callable[..., Columns]) -> None:
        first = make(5)
        assert backend.append_stream(run, WRITER, 0, first) == 5
        assert backend.append_stream(run, WRITER, 0, first) == 5
        assert backend.append_stream(run, WRITER, 2, first.skip(2)) == 5
        assert len(_joined(backend, run)) == 5

    def test_of_a_part_that_overlaps_only_the_rest_is_added(self, backend: Backend, run: str) -> None:
        backend.append_stream(run, WRITER, 0, samples.points(5))
        assert backend.append_stream(run, WRITER, 3, samples.points(5, start=3)) == 8
        assert backend.append_stream(run, WRITER, 8, samples.points(2, start=8)) == 10
        assert samples.points_by_writer(backend, run) == {WRITER: [("loss", n, n / 7) for n in range(10)]}

    def test_a_gap_is_refused_with_the_number_that_is_expected(self, backend: Backend, run: str) -> None:
        backend.append_stream(run, WRITER, 0, numbered(0, 3))
        with pytest.raises(ConflictError) as caught:
            backend.append_stream(run, WRITER, 4, numbered(4, 1))
        assert caught.value.next == 3
        assert len(_joined(backend, run)) == 3

    def test_a_stream_begins_at_zero(self, backend: Backend, run: str) -> None:
        with pytest.raises(ConflictError) as caught:
            backend.append_stream(run, WRITER, 1, samples.points(1))
        assert caught.value.next == 0

    def test_writers_do_not_mix(self, backend: Backend, run: str) -> None:
        for start in (0, 4):
            for writer in (OTHER, WRITER):
                backend.append_stream(run, writer, start, samples.points(4, start=start))
                backend.append_stream(run, writer, start, numbered(start, 4))
        assert list(samples.points_by_writer(backend, run)) == [WRITER, OTHER]
        lines = [f"line {place}" for place in range(8)]
        assert samples.lines_by_writer(backend, run) == {WRITER: lines, OTHER: lines}

    def test_the_ends_of_streams_are_told_for_many_runs_at_once(self, backend: Backend, run: str) -> None:
        other = backend.put(samples.run()).id
        backend.append_stream(run, "a" * 16, 0, samples.points(5))
        backend.append_stream(run, "a" * 16, 5, samples.points(2))
        backend.append_stream(run, "b" * 16, 0, Lines((Line(1, "INFO", "one"),)))
        ends = {"points": {"a" * 16: 7}, "lines": {"b" * 16: 1}}
        assert backend.many_ends([other, run]) == [{"points": {}, "lines": {}}, ends]
        assert backend.stream_ends(run, "points") == ends["points"]

    def test_the_streams_of_many_runs_are_stored_and_read_together(self, backend: Backend, run: str) -> None:
        other, unknown = backend.put(samples.run()).id, samples.run().id
        parts = [
            (run, Segment(WRITER, 0, samples.points(5))),
            (run, Segment(WRITER, 5, samples.points(2, start=5))),
            (other, Segment(OTHER, 0, numbered(0, 3))),
            (other, Segment(WRITER, 0, samples.points(4))),
        ]
        for _ in range(2):
            backend.append_streams(parts)
        assert backend.many_ends([run, other]) == [
            {"points": {WRITER: 7}, "lines": {}},
            {"points": {WRITER: 4}, "lines": {OTHER: 3}},
        ]
        known = {other: {WRITER: 1, OTHER: 9}, unknown: {}, run: {WRITER: 6}}
        assert _places(backend, "points", known) == [
            (other, WRITER, 1),
            (other, WRITER, 2),
            (other, WRITER, 3),
            (run, WRITER, 6),
        ]
        assert _places(backend, "lines", {run: {}, other: {}}) == [(other, OTHER, place) for place in range(3)]
        assert _places(backend, "points", {run: {WRITER: 7}, other: {WRITER: 4}}) == []
        assert _places(backend, "points", {}) == []

    def test_a_gap_among_the_streams_of_many_runs_is_refused(self, backend: Backend, run: str) -> None:
        other = backend.put(samples.run()).id
        parts = [(run, Segment(WRITER, 0, numbered(0, 2))), (other, Segment(WRITER, 1, numbered(1, 1)))]
        with pytest.raises(ConflictError):
            backend.append_streams(parts)
        assert len(_joined(backend, other)) == 0

    def test_runs_do_not_mix(self, backend: Backend, run: str) -> None:
        other = backend.put(samples.run()).id
        backend.append_stream(run, WRITER, 0, numbered(0, 1))
        backend.append_stream(other, WRITER, 0, numbered(0, 2))
        assert len(_joined(backend, run)) == 1
        assert len(_joined(backend, other)) == 2

    def test_a_stream_may_arrive_before_its_run(self, backend: Backend) -> None:
        run = samples.run()
        backend.append_stream(run.id, WRITER, 0, samples.points(3))
        backend.put(run)
        assert len(_joined(backend, run.id)) == 3
        assert combine(backend.get("run", run.id).summaries)["loss"].count == 3

    @pytest.mark.parametrize("id", samples.HOSTILE_IDS)
    def test_a_hostile_run_is_refused(self, backend: Backend, id: str) -> None:
        with pytest.raises(InvalidObjectError):
            backend.append_stream(id, WRITER, 0, samples.points(1))

    def test_many_points_come_back_in_order(self, backend: Backend, run: str) -> None:
        count = 120_000
        backend.append_stream(run, WRITER, 0, samples.points(count))
        backend.append_stream(run, WRITER, count, samples.points(10, start=count))
        steps = [step for segment in backend.read_stream(run, "points") for step in segment.columns.steps]  # type: ignore[union-attr]  # points
        complete = steps == list(range(count + 10))
        assert complete

    def test_a_writer_stores_points_and_lines_in_their_order(self, backend: Backend, run: str) -> None:
        writer = backend.open_writer(run)
        samples.log(writer, 30)
        writer.flush()
        points, lines = samples.logged(30)
        assert samples.points_by_writer(backend, run) == {writer.id: points}
        assert samples.lines_by_writer(backend, run) == {writer.id: lines}
        samples.log(writer, 2)
        writer.close()
        assert len(samples.points_by_writer(backend, run)[writer.id]) == len(points) + 8

    def test_threads_that_share_a_writer_lose_no_point(self, backend: Backend, run: str, budget: Budget) -> None:
        writer = backend.open_writer(run)

        def log(thread: int) -> None:
            for step in range(budget.rounds):
                writer.point(f"metric-{thread}", step, step, step)

        together.threads(*(partial(log, thread) for thread in range(budget.threads)))
        writer.close()
        found = samples.points_by_writer(backend, run)[writer.id]
        for thread in range(budget.threads):
            mine = [step for metric, step, _ in found if metric == f"metric-{thread}"]
            assert mine == list(range(budget.rounds))

    def test_threads_with_writers_of_their_own_lose_no_point(self, backend: Backend, run: str, budget: Budget) -> None:
        def log() -> str:
            writer = backend.open_writer(run)
            samples.log(writer, budget.rounds)
            writer.close()
            return writer.id

        writers = together.threads(*[log] * budget.threads)
        points, lines = samples.logged(budget.rounds)
        assert samples.points_by_writer(backend, run) == dict.fromkeys(writers, points)
        assert samples.lines_by_writer(backend, run) == dict.fromkeys(writers, lines)

    def test_summaries_follow_the_points_and_are_no_version(self, backend: Backend, run: str) -> None:
        before = backend.get("run", run)
        backend.append_stream(run, WRITER, 0, samples.points(4))
        backend.append_stream(run, OTHER, 0, samples.points(4, start=4))
        after = backend.get("run", run)
        loss = combine(after.summaries)["loss"]
        assert (loss.count, loss.first, loss.last, loss.min, loss.max) == (8, 0.0, 1.0, 0.0, 1.0)
        assert (loss.min_step, loss.max_step) == (0, 7)
        assert loss.mean == pytest.approx(0.5)
        assert replace(after, summaries=(), version=0) == replace(before, summaries=(), version=0)


class Blobs(BackendSuite, level="base"):
    """Bytes named by their digest."""

    @pytest.mark.parametrize("data", [b"", b"\0", b"text\n", bytes(range(256)) * 20_000], ids=len)
    def test_a_blob_comes_back_under_its_digest(self, backend: Backend, data: bytes) -> None:
        written = backend.write_blob(io.BytesIO(data), media_type="text/plain; charset=utf-8")
        assert written.digest == hashlib.sha256(data).hexdigest()
        assert (written.size, written.media_type) == (len(data), "text/plain; charset=utf-8")
        with backend.open_blob(written.digest) as file:
            assert file.read() == data

    def test_only_what_is_left_in_the_file_is_stored(self, backend: Backend) -> None:
        source = io.BytesIO(b"head and body")
        source.seek(5)
        assert backend.write_blob(source).digest == hashlib.sha256(b"and body").hexdigest()

    def test_equal_bytes_are_one_blob(self, backend: Backend) -> None:
        first, second = (backend.write_blob(io.BytesIO(b"same")) for _ in range(2))
        assert first.digest == second.digest
        assert list(backend.blobs()) == [first.digest]

    def test_the_store_tells_which_blobs_it_has(self, backend: Backend) -> None:
        here = {backend.write_blob(io.BytesIO(b"%d" % number)).digest for number in range(5)}
        missing = hashlib.sha256(b"missing").hexdigest()
        assert backend.has_blobs([*here, missing]) == here
        assert set(backend.blobs()) == here
        assert len(list(backend.blobs())) == 5

    def test_the_small_ones_of_some_blobs_come_in_the_order_asked_for(self, backend: Backend) -> None:
        small = [b"", bytes(SMALL_BLOB), *(b"%d" % number for number in range(20))]
        written = [reference.digest for reference in backend.write_blobs(small)]
        large = backend.write_blob(io.BytesIO(bytes(SMALL_BLOB + 1))).digest
        missing = hashlib.sha256(b"missing").hexdigest()
        assert list(backend.read_blobs([missing, *written, large])) == list(zip(written, small, strict=True))
        assert list(backend.read_blobs([])) == []

    def test_blobs_are_stored_under_the_digests_that_others_gave_them_if_they_are_theirs(
        self, backend: Backend
    ) -> None:
        sound = [b"small", bytes(100_000)]
        digests = [hashlib.sha256(data).hexdigest() for data in sound]
        assert [blob.digest for blob in backend.write_blobs(sound, digests=digests)] == digests
        missing = hashlib.sha256(b"missing").hexdigest()
        for damaged in (b"damaged", bytes(200_000)):
            with pytest.raises(InvalidObjectError):
                backend.write_blobs([damaged], digests=[missing])
        assert backend.has_blobs([*digests, missing]) == set(digests)
        assert list(backend.read_blobs(digests, check=False)) == list(zip(digests, sound, strict=True))

    def test_a_missing_blob_is_not_found(self, backend: Backend) -> None:
        with pytest.raises(NotFoundError):
            backend.open_blob(hashlib.sha256(b"missing").hexdigest())

    @pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 65, "0" * 62 + "/x"])
    def test_a_hostile_digest_is_refused(self, backend: Backend, digest: str) -> None:
        with pytest.raises((InvalidObjectError, NotFoundError)):
            backend.open_blob(digest)

    def test_a_source_that_fails_stores_nothing(self, backend: Backend) -> None:
        with pytest.raises(LookupError):
            backend.write_blob(_Failing())
        assert list(backend.blobs()) == []


class LargeBlobs(BackendSuite, level="streaming"):
    """Large blobs through bounded memory."""

    def test_a_large_blob_passes_through_bounded_memory(self, backend: Backend, budget: Budget) -> None:
        tracemalloc.start()
        try:
            written = backend.write_blob(_Zeros(budget.large))
            with backend.open_blob(written.digest) as file:
                size = sum(len(part) for part in iter(lambda: file.read(1 << 20), b""))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert size == written.size == budget.large
        assert peak < budget.large // 4, f"{peak} bytes of memory for a blob of {budget.large} bytes"


class ReopenedStreams(BackendSuite, level="persistent"):
    """Streams and blobs when the store is opened again."""

    def test_streams_and_blobs_are_there_when_the_store_is_opened_again(
        self, backend: Backend, opening: Opening
    ) -> None:
        run = backend.put(samples.run()).id
        writer = backend.open_writer(run)
        samples.log(writer, 20)
        writer.close()
        backend.append_stream(run, WRITER, 0, samples.odd_points())
        blob = backend.write_blob(io.BytesIO(b"bytes"))
        summaries = combine(backend.get("run", run).summaries)
        opening.close(backend)
        again = opening()
        points, lines = samples.logged(20)
        assert samples.points_by_writer(again, run)[writer.id] == points
        assert samples.lines_by_writer(again, run) == {writer.id: lines}
        assert again.open_blob(blob.digest).read() == b"bytes"
        assert summaries["accuracy"].count == 60
        assert repr(combine(again.get("run", run).summaries)) == repr(summaries)

    def test_points_and_lines_in_turns_are_there_when_the_store_is_opened_again(
        self, backend: Backend, opening: Opening
    ) -> None:
        run = backend.put(samples.run()).id
        writer = backend.open_writer(run)
        samples.log(writer, 1500)
        writer.close()
        opening.close(backend)
        points, lines = samples.logged(1500)
        same = samples.points_by_writer(opening(), run) == {writer.id: points}
        assert same
        same = samples.lines_by_writer(opening(), run) == {writer.id: lines}
        assert same

    def test_a_writer_goes_on_where_it_ended(self, backend: Backend, opening: Opening) -> None:
        run = backend.put(samples.run()).id
        backend.append_stream(run, WRITER, 0, samples.points(4))
        opening.close(backend)
        again = opening()
        assert again.append_stream(run, WRITER, 2, samples.points(4, start=2)) == 6
        assert samples.points_by_writer(again, run) == {WRITER: [("loss", n, n / 7) for n in range(6)]}


def _joined(backend: Backend, run: str) -> list[object]:
    points, lines = samples.points_by_writer(backend, run), samples.lines_by_writer(backend, run)
    return [*itertools.chain(*points.values()), *itertools.chain(*lines.values())]


def _bits(columns: Columns) -> list[tuple[str, int, int, bytes]]:
    assert isinstance(columns, Points)
    names = [columns.metrics[key] for key in columns.keys or [0] * len(columns)]
    values = [struct.pack("<d", value) for value in columns.values]
    return list(zip(names, columns.steps, columns.times, values, strict=True))


class _Failing(io.BytesIO):
    """Gives some bytes, then fails."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() == 3:
            raise LookupError("the source fails")
        self.seek(self.tell() + 1)
        return b"x"


class _Zeros(io.BytesIO):
    """That many zero bytes, none of them kept."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._left = size

    def read(self, size: int | None = -1) -> bytes:
        count = self._left if size is None or size < 0 else min(size, self._left)
        self._left -= count
        return bytes(count)


def _places(backend: Backend, stream: Stream, known: Mapping[str, Mapping[str, int]]) -> list[tuple[str, str, int]]:
    """Run, writer and sequence number of each entry of many streams."""
    return [
        (run, part.writer, place)
        for run, part in backend.read_streams(stream, known)
        for place in range(part.first, part.end)
    ]
