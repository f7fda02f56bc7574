"""The writer's log: what one process acknowledged and has not yet folded into the tree.

A log is a file of 32-byte slots, all little endian. Slot 0 is the header: `PADRELOG`, the version (u32), four zero
bytes, the slot of the newest record frame (u64), eight zero bytes. Then frames follow without gaps; the first empty
slot ends the log. A point is one slot:

| bytes | field |
|---|---|
| 0–7, 8–15, 16–23 | step, time (microseconds), value |
| 24–27 | 1 in the highest byte, the key of the metric in the others |
| 28–31 | CRC-32 of bytes 0–27, begun with the number of the slot |

Every other frame is a header slot (payload size, CRC-32 of the payload, slot of the record frame before this one, kind
and key, CRC as above) and its payload in the slots behind, which are written first: a frame is there when its header
slot is. A small blob's payload is its sha-256 and its bytes. The record frames are chained from the header, so that
readers find new ones without looking at points.
"""

from __future__ import annotations

import array
import errno
import fcntl
import mmap
import operator
import os
import stat
import struct
import threading
import zlib
from collections.abc import Iterator, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

from padre_core.errors import BackendError
from padre_core.streams import points
from padre_core.streams.filesystems import datasync, failure, is_local, start_writing, sync_folder, write_held
from padre_core.streams.packing import unpacked

SLOT = 32
SIZE = 8 * 1024 * 1024
SMALL = 64 * 1024
LARGE = 8 * 1024
"""From how many bytes on a call of the system costs less than the faults of new pages in a memory map."""
AHEAD = 1024 * 1024
"""How many bytes wait before they are sent on their way to the disk, so that the end of a run waits for few."""
_MAGIC = b"PADRELOG"
_VERSION = 1
_HEADER = struct.Struct("<8sI4xQ8x")
_TIP = struct.Struct("<Q")
_TIP_OFFSET = 16
_POINT = struct.Struct("<qqdI")
_FRAME = struct.Struct("<QQQI")
_CRC = struct.Struct("<I")
_SEALED = struct.Struct("<28sI")
_EMPTY = bytes(8192)
"""So much emptiness is the end of a log: two pages, where what a loss of power took away is one."""


class FrameKind(IntEnum):
    """What a frame holds; the key is the number that points and later frames refer to."""

    POINT = 1
    RECORD = 2
    WRITER = 3
    METRIC = 4
    POINTS = 5
    LINE = 6
    CLOSED = 7
    BLOB = 8
    BLOCK = 9
    """A block of points; `POINTS`, whose payload is summed up whole, is no longer written."""


POINT_TAG = FrameKind.POINT << 24
_KINDS = {int(kind): kind for kind in FrameKind}


class Frame(NamedTuple):
    """One frame; for points `payload` holds whole slots of consecutive points, and `count` says how many."""

    slot: int
    kind: FrameKind
    key: int
    payload: bytes
    count: int = 1  # type: ignore[assignment]  # hides tuple.count, which nobody needs


def _checksum(kind: FrameKind, payload: bytes | memoryview) -> int:
    return zlib.crc32(payload[:SLOT] if kind == FrameKind.BLOCK else payload)


class LogWriter:
    """The log that this process writes. Callers hold `lock`-like exclusion of their own; not safe by itself.

    Raises:
        BackendError: The file cannot be made, or the disk is full.
    """

    def __init__(self, path: Path, *, need: int = 0) -> None:
        self.path, self.name = path, path.name
        self.failed: str | None = None
        self.dirty = False
        self._open = threading.Lock()
        self._entered = False
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            raise failure(f"the log {self.name} cannot be made", error) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)  # a reader's probe may hold it for a moment
            self.slots = self._allocate(need + 4 * SLOT) // SLOT
        except OSError as error:
            os.close(self._fd)
            raise failure(f"the log {self.name} cannot be made", error) from error
        self._map = _mapped(self._fd, self.slots * SLOT) if is_local(path.parent) else _Written(self._fd)
        self._map[0:SLOT] = _HEADER.pack(_MAGIC, _VERSION, 0)
        self.next = 1
        self.end = self.slots - 1  # the last slot stays empty, for such a one ends the log
        self.tip = 0
        self._sent = 0

    def _allocate(self, need: int) -> int:
        for size in (max(SIZE, need), max(SMALL, need)):
            try:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(self._fd, 0, size)
                else:
                    os.ftruncate(self._fd, size)
                return size - size % SLOT
            except OSError as error:
                if error.errno != errno.ENOSPC or size == max(SMALL, need):
                    os.unlink(self.path)
                    raise
        raise AssertionError("unreachable")

    def room(self, size: int) -> bool:
        """Whether a payload of this size still fits."""
        return (self.next + 1) * SLOT + size <= self.end * SLOT

    def point(self, tag: int, step: int, time: int, value: float) -> None:
        """Adds a point; the caller has checked that `next` lies before `end`. `tag` is the key with `POINT_TAG`."""
        slot = self.next
        data = _POINT.pack(step, time, value, tag)
        offset = slot * SLOT
        self._map[offset : offset + SLOT] = _SEALED.pack(data, zlib.crc32(data, slot))
        self.next = slot + 1
        self.dirty = True

    def append(self, kind: FrameKind, key: int, payload: bytes | memoryview) -> int:
        """Adds a frame and returns its slot; the caller has checked that there is room."""
        slot = self.next
        start = (slot + 1) * SLOT
        if len(payload) < LARGE:
            self._map[start : start + len(payload)] = payload
        else:
            self._write(payload, start)
        head = _FRAME.pack(len(payload), _checksum(kind, payload), self.tip, kind << 24 | key)
        self._map[slot * SLOT : start] = head + _CRC.pack(zlib.crc32(head, slot))
        self.next = slot + 1 + -(-len(payload) // SLOT)
        if kind == FrameKind.RECORD:
            self.tip = slot
            self._map[_TIP_OFFSET : _TIP_OFFSET + 8] = _TIP.pack(slot)
        self.dirty = True
        return slot

    def append_blobs(self, payloads: Sequence[bytes]) -> list[int]:
        """Adds frames of blobs by one call of the system and returns their slots; the caller has checked the room.

        The bytes come into the file from the first to the last, so that who is killed meanwhile leaves no gap.
        """
        parts: list[bytes] = []
        slots: list[int] = []
        slot = self.next
        for payload in payloads:
            head = _FRAME.pack(len(payload), zlib.crc32(payload), self.tip, FrameKind.BLOB << 24)
            parts += head, _CRC.pack(zlib.crc32(head, slot)), payload, bytes(-len(payload) % SLOT)
            slots.append(slot)
            slot += 1 + -(-len(payload) // SLOT)
        self._write(b"".join(parts), self.next * SLOT)
        self.next = slot
        self.dirty = True
        return slots

    def _write(self, data: bytes | memoryview, start: int) -> None:
        write_held(self._fd, data, start)
        if self._entered and start - self._sent >= AHEAD:  # who had it synced once will have it synced again
            start_writing(self._fd, self._sent, start - self._sent)
            self._sent = start

    def sync(self) -> None:
        """Returns when all frames survive the loss of power.

        Raises:
            BackendError: The disk failed. The log is not used again: what it holds cannot be trusted to be stored.
        """
        with self._open:
            if self.failed:
                raise BackendError(self.failed)
            if not self.dirty:  # nor after it was closed: then it was folded, and the tree synced
                return
            self.dirty = False
            try:
                if not self._entered:
                    sync_folder(self.path.parent)
                    self._entered = True
                datasync(self._fd)
            except OSError as error:
                self.failed = f"the log {self.name} could not be synced: {error.strerror}; open the store again"
                raise BackendError(self.failed) from error

    def close(self) -> None:
        """Lets go of the file and of the lock on it; after a fork, of this process's copies only."""
        with self._open:
            self.dirty = False
            self._map.close()
            os.close(self._fd)


def _mapped(fd: int, size: int, *, write: bool = True) -> mmap.mmap:
    whole = mmap.mmap(fd, size, prot=mmap.PROT_READ | (mmap.PROT_WRITE if write else 0))
    if hasattr(mmap, "MADV_RANDOM"):
        whole.madvise(mmap.MADV_RANDOM)  # else the first touch may wait until megabytes of emptiness were read ahead
    return whole


class _Written:
    """The slice assignment of a memory map, by `pwrite`, where a map of the file cannot be trusted."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __setitem__(self, place: slice, data: bytes | memoryview) -> None:
        write_held(self._fd, data, place.start)

    def close(self) -> None:
        return


class LogReader:
    """Reads a log while its owner writes it, or after its owner died. Not safe for several threads at once.

    Attributes:
        damaged: Set when the header or a frame in the middle is not sound; all other frames are read.
        valid: False as long as the log is still being made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.damaged = False
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(self._fd)
            raise OSError(errno.ELOOP, "not a regular file", str(path))
        size = status.st_size
        self._map: Any = _mapped(self._fd, size, write=False) if size else b""
        self._slots = size // SLOT
        self.valid = any(self._map[:12])
        if self.valid and self._map[:12] != _HEADER.pack(_MAGIC, _VERSION, 0)[:12]:
            self.damaged = True  # frames are sound or not by themselves
        self.tip = 0
        self._next = 1

    def is_live(self) -> bool:
        """Whether the process that writes it is there: it holds the lock on the file."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        fcntl.flock(self._fd, fcntl.LOCK_UN)
        return False

    def take_over(self) -> bool:
        """Locks the log of a dead process for folding; False if its process lives, or somebody else folds it."""
        try:
            self._lock_alone()
        except OSError:
            return False
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_WILLNEED)  # it may be in memory no more
        return os.fstat(self._fd).st_nlink > 0

    def _lock_alone(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            # NFS and SMB want a file for that which may be written.
            writable = os.open(self.path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
            os.dup2(writable, self._fd, inheritable=False)
            os.close(writable)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def new_records(self) -> list[Frame]:
        """The record frames since the last call, oldest first."""
        if not self.valid:
            return []
        (tip,) = _TIP.unpack_from(self._map, _TIP_OFFSET)
        frames: list[Frame] = []
        slot = tip
        while slot > self.tip:
            frame, before = self._frame(slot)
            if frame is None or frame.kind != FrameKind.RECORD or before >= slot:
                # A chain that cannot be trusted: walk the whole log instead.
                return self._records_by_walking(tip)
            frames.append(frame)
            slot = before
        self.tip = max(self.tip, tip)
        frames.reverse()
        return frames

    def payload(self, slot: int) -> bytes | None:
        """The payload of a frame, by the slot that `new_frames` or the log's writer gave; None if it is damaged."""
        frame, _ = self._frame(slot)
        return None if frame is None else frame.payload

    def skip_records(self, tip: int) -> None:
        """Leaves out the records up to a slot: the caller knows them."""
        self.tip = tip

    def skip_frame(self, slot: int, following: int) -> bool:
        """Leaves out the frame in a slot, which the caller knows, if it is the next one; `following` is that behind."""
        if slot != self._next:
            return False
        self._next = following
        return True

    def go_on_from(self, other: LogReader) -> None:
        """Leaves out what another reader of the same log has read."""
        self.tip, self._next, self.damaged = other.tip, other._next, other.damaged

    def end_at(self, slot: int) -> None:
        """Looks no further than a slot, at which the log's writer is known to have stopped."""
        self._slots = slot

    def new_frames(self) -> Iterator[Frame]:
        """All frames since the last call, oldest first; consecutive points as one."""
        if not self.valid:
            return
        while self._next < self._slots:
            slot = self._next
            if self._map[slot * SLOT + 27] == FrameKind.POINT:
                count = self._points(slot)
                if count:
                    self._next = slot + count
                    yield Frame(slot, FrameKind.POINT, 0, self._map[slot * SLOT : (slot + count) * SLOT], count)
                    continue
            frame, _ = self._frame(slot)
            if frame is None:
                following = self._resume(slot)
                if following is None:
                    return
                self.damaged = True
                self._next = following
                continue
            self._next = slot + 1 + -(-len(frame.payload) // SLOT)
            yield frame

    def close(self) -> None:
        """Lets go of the file and of any lock taken."""
        if self._slots:
            self._map.close()
        os.close(self._fd)

    def _records_by_walking(self, tip: int) -> list[Frame]:
        resume, self._next = self._next, 1
        frames = [frame for frame in self.new_frames() if frame.kind == FrameKind.RECORD and frame.slot > self.tip]
        self._next = resume
        self.tip = max([self.tip, *(frame.slot for frame in frames)])
        return frames

    def _frame(self, slot: int) -> tuple[Frame | None, int]:
        """The frame with a header in a slot and the record frame before it; None if it is not sound."""
        if not 0 < slot < self._slots:
            return None, 0
        offset = slot * SLOT
        head = self._map[offset : offset + SLOT]
        size, payload_crc, before, tag = _FRAME.unpack_from(head)
        if zlib.crc32(head[:28], slot) != _CRC.unpack_from(head, 28)[0]:
            return None, 0
        payload = self._map[offset + SLOT : offset + SLOT + size]
        kind = _KINDS.get(tag >> 24)
        if kind is None or len(payload) != size or _checksum(kind, payload) != payload_crc:
            return None, 0
        if kind == FrameKind.BLOCK and not points.is_block(payload):
            return None, 0
        return Frame(slot, kind, tag & 0xFFFFFF, payload), before

    def _points(self, slot: int) -> int:
        """How many sound points stand in a row from a slot on."""
        stop = min(self._slots, slot + 4096)
        kinds = self._map[slot * SLOT + 27 : stop * SLOT : SLOT]
        count = len(kinds) - len(kinds.lstrip(b"\x01"))
        data = self._map[slot * SLOT : (slot + count) * SLOT]
        crcs = map(zlib.crc32, struct.unpack("28s4x" * count, data), range(slot, slot + count))
        return [*map(operator.eq, crcs, unpacked("I", data)[7::8]), False].index(False)

    def _resume(self, slot: int) -> int | None:
        """The next slot behind a bad one at which a sound frame begins; None if only emptiness follows."""
        start = slot * SLOT
        if self._map[start : start + len(_EMPTY)] == _EMPTY[: self._slots * SLOT - start]:
            return None  # readers of a live log come here again and again
        rest = self._map[start : self._slots * SLOT]
        used = slot + -(-len(rest.rstrip(b"\0")) // SLOT)
        for candidate in range(slot + 1, used):
            if self._map[candidate * SLOT + 27] == FrameKind.POINT:
                if self._points(candidate):
                    return candidate
            elif self._frame(candidate)[0] is not None:
                return candidate
        return None


def point_columns(frame: Frame) -> tuple[array.array[int], array.array[int], array.array[float], array.array[int]]:
    """Steps, times, values and tags of a frame of points."""
    integers, floats, tags = (unpacked(code, frame.payload) for code in "qdI")
    return integers[::4], integers[1::4], floats[2::4], tags[6::8]
