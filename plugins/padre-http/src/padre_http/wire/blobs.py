"""Blobs on the wire: which are there, uploads in parts, and many small ones in one body.

The body of many is, for each, its size (4 bytes, little endian), its sha-256 (32 bytes) and its bytes. An answer of
many ends with a size of 2**32 - 1 and 32 zeros; without that it was cut.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from padre_core.backends.backend import SMALL_BLOB
from padre_core.errors import InvalidObjectError, UnavailableError
from padre_core.objects import canonical
from padre_core.objects.identity import check_digest
from padre_http.wire.shapes import LENIENT, STRICT, Digest, parse

BYTES: Final = "application/octet-stream"
BLOBS: Final = "application/vnd.padre.blobs"
LISTING: Final = "text/plain"

MAX_BLOBS: Final = 16 * 1024 * 1024
"""The greatest body of many blobs, in bytes."""

MAX_DIGESTS: Final = 10_000
"""How many digests one request or answer holds at most."""

MAX_SIZE: Final = 2**48

PART: Final = 1024 * 1024
"""About how many bytes of an answer of many are in memory at a time."""

_HEADER = struct.Struct("<I32s")
_END = _HEADER.pack(2**32 - 1, bytes(32))

UploadId = Annotated[str, Field(pattern="^[A-Za-z0-9_-]{16,64}$")]
Size = Annotated[int, Field(ge=0, le=MAX_SIZE)]


@with_config(LENIENT)
class _Digests(TypedDict):
    digests: Annotated[list[Digest], Field(max_length=MAX_DIGESTS)]


@with_config(LENIENT)
class _Upload(TypedDict):
    id: UploadId
    offset: Size


@with_config(STRICT)
class _Commit(TypedDict):
    digest: Digest
    size: Size


_DIGESTS, _UPLOAD, _COMMIT = TypeAdapter(_Digests), TypeAdapter(_Upload), TypeAdapter(_Commit)


@dataclass(frozen=True, slots=True)
class Upload:
    """A blob of which the server has `offset` bytes."""

    id: str
    offset: int


@dataclass(frozen=True, slots=True)
class Commit:
    """What an upload must come to, so that it becomes a blob; and what a stored blob is."""

    digest: str
    size: int


def encode_digests(digests: Iterable[str]) -> bytes:
    """Digests, as a request or as an answer."""
    return canonical.to_json({"digests": list(digests)})


def decode_digests(data: bytes) -> list[str]:
    """The digests of a JSON text.

    Raises:
        InvalidObjectError: It holds none, or too many.
    """
    return parse(_DIGESTS, data, "digests")["digests"]


def encode_listing(digests: Iterable[str]) -> Iterator[bytes]:
    """All digests, in any order, in parts: one a line, with a line `end` behind them."""
    remaining = iter(digests)
    while part := list(itertools.islice(remaining, 1000)):
        yield b"".join(b"%b\n" % digest.encode() for digest in part)
    yield b"end\n"


def decode_listing(lines: Iterable[bytes]) -> Iterator[str]:
    """The digests of a listing, from its lines.

    Raises:
        UnavailableError: It was cut before its end.
        InvalidObjectError: A line is no digest.
    """
    for line in lines:
        text = line.rstrip(b"\n").decode("ascii", "replace")
        if text == "end":
            return
        yield check_digest(text)
    raise UnavailableError("the answer was cut before its end; try again")


def encode_upload(upload: Upload) -> bytes:
    """The state of an upload."""
    return canonical.to_json({"id": upload.id, "offset": upload.offset})


def decode_upload(data: bytes) -> Upload:
    """The state of an upload in a JSON text.

    Raises:
        InvalidObjectError: There is none.
    """
    return Upload(**parse(_UPLOAD, data, "upload"))


def encode_commit(commit: Commit) -> bytes:
    """What an upload must come to."""
    return canonical.to_json({"digest": commit.digest, "size": commit.size})


def decode_commit(data: bytes) -> Commit:
    """What an upload must come to, from a JSON text.

    Raises:
        InvalidObjectError: It does not say so.
    """
    return Commit(**parse(_COMMIT, data, "commit"))


def encode_blobs(blobs: Iterable[tuple[str, bytes]]) -> bytes:
    """Many small blobs and their digests as one body."""
    return b"".join(itertools.chain.from_iterable(_framed(bytes.fromhex(digest), data) for digest, data in blobs))


def decode_blobs(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The digest and the bytes of each blob in a body, as they came: who stores them checks them.

    Raises:
        InvalidObjectError: The body is too large or cut.
    """
    if len(data) > MAX_BLOBS:
        raise InvalidObjectError(f"blobs: {len(data)} bytes are too many for one body, at most {MAX_BLOBS} are read")
    offset = 0
    while offset < len(data):
        if offset + _HEADER.size > len(data):
            raise InvalidObjectError("blobs: the body was cut")
        size, digest = _HEADER.unpack_from(data, offset)
        offset += _HEADER.size
        blob = data[offset : offset + size]
        offset += size
        if len(blob) < size:
            raise InvalidObjectError("blobs: the body was cut")
        yield digest.hex(), blob


def encode_many(blobs: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """Blobs and their digests as an answer, in parts of bounded size."""
    parts: list[bytes] = []
    size = 0
    for digest, data in blobs:
        parts += _framed(bytes.fromhex(digest), data)
        size += len(data)
        if size >= PART or len(parts) >= PART // 256:
            yield b"".join(parts)
            parts, size = [], 0
    yield b"".join([*parts, _END])


def decode_many(read: Callable[[int], bytes]) -> Iterator[tuple[str, bytes]]:
    """The blobs of an answer, each with its digest, as they came: who stores or shows them checks them.

    Args:
        read: Gives as many bytes as it is asked for, fewer only at the end.

    Raises:
        UnavailableError: It was cut before its end.
        InvalidObjectError: A blob is too large.
    """
    while (head := read(_HEADER.size)) != _END:
        if len(head) < _HEADER.size:
            raise UnavailableError("the answer was cut before its end; try again")
        size, digest = _HEADER.unpack(head)
        if size > SMALL_BLOB:
            raise InvalidObjectError(f"blobs: {size} bytes are too many for one of many, at most {SMALL_BLOB} are read")
        data = read(size) if size else b""
        if len(data) < size:
            raise UnavailableError("the answer was cut before its end; try again")
        yield digest.hex(), data


def _framed(digest: bytes, data: bytes) -> tuple[bytes, bytes]:
    return _HEADER.pack(len(data), digest), data
