"""Blobs: immutable bytes under the sha-256 of them."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import time
from collections.abc import Iterator, Sequence
from typing import BinaryIO, cast

from padre_core.backends import layout
from padre_core.backends.bytestore import GRACE, ByteStore, Entry
from padre_core.errors import CorruptObjectError, InvalidObjectError, NotFoundError
from padre_core.objects.base import BlobReference

CHUNK = 256 * 1024
"""Bytes that are read and written at once: writes of a MiB take Linux with ext4 up to ten times as long."""

FIRST = 64 * 1024
"""Most files are small, and room for a large chunk costs more than reading them."""


def read_start(source: BinaryIO, size: int) -> bytes:
    """So many bytes of a file, or all if there are fewer, however little it gives at a time."""
    data = source.read(size)
    if not data or len(data) == size:
        return data
    parts, count = [data], len(data)
    while count < size and (data := source.read(size - count)):
        parts.append(data)
        count += len(data)
    return b"".join(parts)


def write_blob(store: ByteStore, source: BinaryIO, media_type: str, start: bytes = b"") -> BlobReference:
    """Stores what is left in a file and returns its name; memory stays bounded.

    Args:
        start: What was read of the file already.

    Raises:
        InvalidObjectError: The file was changed meanwhile.
    """
    if store.rereads and not start and (size := _left(source)) >= store.rereads:
        return _write_twice_read(store, source, media_type, size)
    hashed = hashlib.sha256()
    size = 0
    chunk = start or source.read(FIRST)
    with store.open_writer(lambda: layout.blob_key(hashed.hexdigest())) as target:
        while chunk:
            hashed.update(chunk)
            target.write(chunk)
            size += len(chunk)
            chunk = source.read(CHUNK)
    return BlobReference(digest=hashed.hexdigest(), media_type=media_type, size=size)


def _left(source: BinaryIO) -> int:
    """How many bytes are left of a file on disk; 0 for what is none, and may not be there a second time."""
    try:
        about = os.fstat(source.fileno())
        return about.st_size - source.tell() if stat.S_ISREG(about.st_mode) else 0
    except (AttributeError, OSError):
        return 0


def _write_twice_read(store: ByteStore, source: BinaryIO, media_type: str, size: int) -> BlobReference:
    place = source.tell()
    hashed = hashlib.file_digest(source, "sha256").hexdigest()  # type: ignore[arg-type]  # it needs readinto alone
    size = source.tell() - place
    source.seek(place)
    store.send(layout.blob_key(hashed), cast("BinaryIO", _Unchanged(source, hashed, size)), size)
    return BlobReference(digest=hashed, media_type=media_type, size=size)


class _Unchanged:
    """A file that is read from its start to its end, whose last bytes come only if all are those of a digest."""

    def __init__(self, source: BinaryIO, digest: str, size: int) -> None:
        self._source, self._digest, self._size = source, digest, size
        self._begin = source.tell()
        self._hash, self._done = hashlib.sha256(), 0

    def seek(self, place: int) -> int:
        if place == 0:
            self._source.seek(self._begin)
            self._hash, self._done = hashlib.sha256(), 0
        elif place != self._done:
            raise ValueError("this file is read from its start to its end")
        return place

    def read(self, size: int) -> bytes:
        wanted = min(size, self._size - self._done)
        data = read_start(self._source, wanted)
        self._hash.update(data)
        self._done += len(data)
        if len(data) < wanted or (self._done == self._size and self._hash.hexdigest() != self._digest):
            raise InvalidObjectError("the file was changed while it was stored; try again when nobody writes it")
        return data


def named(blobs: Sequence[bytes], digests: Sequence[str] | None) -> list[BlobReference]:
    """What some bytes are called.

    Args:
        digests: What others call them, if anybody does.

    Raises:
        InvalidObjectError: Some have another digest.
    """
    found = [BlobReference(digest=hashlib.sha256(data).hexdigest(), size=len(data)) for data in blobs]
    for one, digest in zip(found, digests, strict=True) if digests is not None else ():
        if one.digest != digest:
            raise InvalidObjectError(f"the bytes do not belong to {digest}: they are damaged, or were changed")
    return found


def open_blob(store: ByteStore, digest: str) -> BinaryIO:
    """A blob as a file that checks its digest when read to the end.

    Raises:
        NotFoundError: There is no such blob.
    """
    try:
        return verified(store.open_reader(layout.blob_key(digest)), digest)
    except NotFoundError:
        raise NotFoundError(f"{store.url} has no blob {digest}") from None


def has_blob(store: ByteStore, digest: str, *, renew: bool = False) -> bool:
    """Whether a blob is stored.

    Args:
        renew: Who asks may be about to name it, so one that is old is made young, and the next `sync` of a store that
            loss of power must not harm waits for it: who wrote it may be another process that has not synced it yet.
    """
    try:
        entry = store.stat(layout.blob_key(digest))
        if renew and (not is_fresh(entry) or (entry.at is not None and store.durability == "power")):
            store.renew(entry.key)
    except NotFoundError:
        return False
    return True


def is_fresh(entry: Entry) -> bool:
    """Whether some bytes will stay long enough for a record to name them."""
    return entry.at is None or time.time() - entry.at < GRACE / 2


def list_blobs(store: ByteStore) -> Iterator[str]:
    """The digests of all blobs, by their last two hex digits, then by all."""
    return (entry.key.rpartition("/")[2] for entry in store.list(layout.BLOBS))


def verified(source: BinaryIO, digest: str) -> BinaryIO:
    """A file that raises `CorruptObjectError` at its end if the bytes are not those of the digest.

    A reader that seeks gives up the check.
    """
    return io.BufferedReader(_Verified(source, digest), FIRST)


class _Verified(io.RawIOBase):
    def __init__(self, source: BinaryIO, digest: str) -> None:
        self._source, self._digest = source, digest
        self._hash: hashlib._Hash | None = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._source.seekable()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._hash = None
        return self._source.seek(offset, whence)

    def tell(self) -> int:
        return self._source.tell()

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # narrower than Buffer
        count: int = self._source.readinto(buffer)  # type: ignore[attr-defined]  # every binary file has it
        if self._hash is not None:
            self._hash.update(memoryview(buffer)[:count])
            if not count and len(buffer) and self._hash.hexdigest() != self._digest:
                raise CorruptObjectError(f"the blob {self._digest} is damaged: its bytes have another digest")
        return count

    def close(self) -> None:
        if not self.closed:
            self._source.close()
        super().close()
