import os
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from padre_core.errors import BackendError
from padre_core.streams import filesystems, points
from padre_core.streams import log as log_module
from padre_core.streams.columns import make_points
from padre_core.streams.log import AHEAD, POINT_TAG, SLOT, FrameKind, LogReader, LogWriter, point_columns
from padre_core.streams.view import LogView


@pytest.fixture(params=["preallocated", "elsewhere"], autouse=True)
def place(request, monkeypatch):
    """Where a file cannot be preallocated, and no memory map be trusted, as on macOS and on network disks."""
    if request.param == "elsewhere":
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
        monkeypatch.setattr(log_module, "is_local", lambda folder: False)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "0123456789abcdef-000001"


def read(path):
    reader = LogReader(path)
    try:
        return list(reader.new_frames()), reader
    finally:
        reader.close()


def test_frames_come_back_in_the_order_of_writing(path):
    log = LogWriter(path)
    log.append(FrameKind.WRITER, 1, b"who")
    for step in range(5000):
        log.point(3 | POINT_TAG, step, step * 2, step / 4)
    log.append(FrameKind.RECORD, 0, b"x" * 1000)
    log.point(3 | POINT_TAG, -1, 0, 1.0)
    frames, _ = read(path)
    single = [frame for frame in frames if frame.kind == FrameKind.POINT]
    assert [frame.kind for frame in frames if frame.kind != FrameKind.POINT] == [FrameKind.WRITER, FrameKind.RECORD]
    assert sum(frame.count for frame in single) == 5001
    steps = [step for frame in single for step in point_columns(frame)[0]]
    assert steps == [*range(5000), -1]
    log.close()


def test_a_reader_sees_each_record_once_and_at_once(path):
    log = LogWriter(path)
    reader = LogReader(path)
    seen = []
    for number in range(10):
        log.append(FrameKind.RECORD, 0, b"%d" % number)
        log.point(POINT_TAG, 0, 0, 0.0)
        if number % 3 == 0:
            seen += [frame.payload for frame in reader.new_records()]
    seen += [frame.payload for frame in reader.new_records()]
    assert seen == [b"%d" % number for number in range(10)]
    assert reader.new_records() == []
    reader.close()
    log.close()


def test_a_log_is_live_as_long_as_its_writer_has_it_open(path):
    log = LogWriter(path)
    reader = LogReader(path)
    assert reader.is_live()
    assert not reader.take_over()
    log.close()
    assert not reader.is_live()
    assert reader.take_over()
    reader.close()


def fill(path):
    log = LogWriter(path)
    ends = []
    for number in range(30):
        if number % 3:
            log.point(number | POINT_TAG, number, 1, 2.0)
        else:
            log.append(FrameKind.RECORD, 0, bytes([number]) * (number * 7 + 1))
        ends.append(log.next)
    log.close()
    return ends


def contents(path):
    frames, reader = read(path)
    return [
        item
        for frame in frames
        for item in (list(point_columns(frame)[0]) if frame.kind == FrameKind.POINT else [frame.payload])
    ], reader


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(1, 200))
def test_a_torn_tail_is_cut(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("log") / "0123456789abcdef-000001"
    ends = fill(path)
    whole, _ = contents(path)
    end = min(SLOT + cut * 8, ends[-1] * SLOT)
    with path.open("r+b") as file:
        file.seek(end)
        file.write(b"\0" * (ends[-1] * SLOT - end))
    kept, reader = contents(path)
    assert kept == whole[: len(kept)]
    assert len(kept) >= sum(stop * SLOT <= end for stop in ends)
    assert not reader.damaged


BLOBS = [bytes([number]) * size for number, size in enumerate((0, 31, 32, 33, 4096, 16384), start=1)]


def test_blobs_that_are_written_together_come_back_between_other_frames(path):
    log = LogWriter(path)
    log.append(FrameKind.RECORD, 0, b"before")
    slots = log.append_blobs(BLOBS)
    log.append(FrameKind.RECORD, 0, b"after")
    frames, reader = read(path)
    assert [frame.payload for frame in frames] == [b"before", *BLOBS, b"after"]
    assert [frame.slot for frame in frames[1:-1]] == slots
    assert not reader.damaged
    log.close()


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(SLOT, 24 * 1024))
def test_of_blobs_that_are_written_together_a_kill_leaves_the_first_ones(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("log") / "0123456789abcdef-000001"
    log = LogWriter(path)
    slots = log.append_blobs(BLOBS)
    log.close()
    data = path.read_bytes()
    path.write_bytes(data[:cut] + bytes(len(data) - cut))
    frames, reader = read(path)
    ends = [*slots[1:], log.next]
    assert len(frames) >= sum(end * SLOT <= cut for end in ends)
    assert [frame.payload for frame in frames] == BLOBS[: len(frames)]
    assert not reader.damaged


def test_a_bad_middle_is_known_and_the_rest_read(path):
    ends = fill(path)
    whole, _ = contents(path)
    with path.open("r+b") as file:
        file.seek((ends[9] + 1) * SLOT - 4)
        file.write(struct.pack("<I", 7))
    kept, reader = contents(path)
    assert reader.damaged
    assert kept == whole[:10] + whole[11:]


def test_records_are_found_when_their_chain_is_broken(path):
    ends = fill(path)
    with path.open("r+b") as file:
        file.seek((ends[14] + 1) * SLOT - 1)
        file.write(b"\xff")
    reader = LogReader(path)
    payloads = [frame.payload for frame in reader.new_records()]
    assert [payload[:1] for payload in payloads] == [bytes([number]) for number in range(0, 30, 3) if number != 15]
    assert sum(frame.count for frame in reader.new_frames() if frame.kind == FrameKind.POINT) == 20
    reader.close()


def block(first, count=1000):
    return next(points.encode(first, make_points("loss", range(first, first + count), None, None, first)))


def test_a_block_of_points_that_is_not_sound_is_known_by_its_own_checksum_and_the_rest_read(path):
    log = LogWriter(path)
    log.append(FrameKind.WRITER, 1, b'["run","0123456789abcdef",0,0,0]')
    slots = [log.append(FrameKind.BLOCK, 1, block(first)) for first in (0, 1000, 2000)]
    log.close()
    with path.open("r+b") as file:
        file.seek((slots[1] + 1) * SLOT + 20_000)
        (byte,) = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))
    view = LogView(path)
    view.scan()
    assert view.reader.damaged
    assert [columns.values[0] for _, columns in view.writers[1].parts] == [0, 2000]
    view.reader.close()


def test_blocks_in_frames_of_the_first_kind_are_read(path):
    log = LogWriter(path)
    log.append(FrameKind.WRITER, 1, b'["run","0123456789abcdef",0,0,0]')
    log.append(FrameKind.POINTS, 1, block(0, 10))
    log.close()
    view = LogView(path)
    view.scan()
    assert [len(columns) for _, columns in view.writers[1].parts] == [10]
    view.reader.close()


def test_a_block_that_was_torn_from_the_end_is_no_damage(path):
    log = LogWriter(path)
    log.append(FrameKind.WRITER, 1, b'["run","0123456789abcdef",0,0,0]')
    slot = log.append(FrameKind.BLOCK, 1, block(0))
    end = log.next
    log.close()
    with path.open("r+b") as file:
        file.seek((slot + 1) * SLOT + 4096)
        file.write(bytes((end - slot - 1) * SLOT - 4096))
    view = LogView(path)
    view.scan()
    assert (view.writers[1].parts, view.reader.damaged) == ([], False)
    view.reader.close()


def test_what_is_no_log_is_read_as_empty(path):
    path.write_bytes(b"not a log" * 100)
    assert read(path)[0] == []
    path.write_bytes(b"")
    assert read(path)[0] == []


def test_a_log_of_the_same_name_is_never_overwritten(path):
    LogWriter(path).close()
    with pytest.raises(BackendError, match="cannot be made"):
        LogWriter(path)


def test_a_full_log_says_so(path):
    log = LogWriter(path, need=100)
    assert log.room(100)
    assert not log.room(log.slots * SLOT)
    log.close()


def test_what_is_written_to_a_log_that_is_synced_is_sent_ahead_to_the_disk(path, monkeypatch):
    sent = []

    def start_writing(fd, offset, size):
        sent.append((offset, offset + size))
        filesystems.start_writing(fd, offset, size)

    monkeypatch.setattr("padre_core.streams.log.start_writing", start_writing)
    log = LogWriter(path)
    payload = b"x" * 100_000
    for _ in range(20):
        log.append(FrameKind.RECORD, 0, payload)
    assert not sent  # nobody may ever sync it
    log.sync()
    for _ in range(20):
        log.append(FrameKind.RECORD, 0, payload)
    log.append_blobs([payload] * 20)
    log.sync()
    assert len(sent) == 2
    assert all(end - start >= AHEAD for start, end in sent)
    assert [start for start, _ in sent] == [0, *(end for _, end in sent[:-1])]
    frames, reader = read(path)
    assert [frame.payload for frame in frames] == [payload] * 60
    assert not reader.damaged
    log.close()
