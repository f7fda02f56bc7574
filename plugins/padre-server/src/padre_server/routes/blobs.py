"""Blobs: which there are, reading whole or in parts, and writing in one go."""

from __future__ import annotations

import hashlib
import io
import itertools
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO

from padre_core import CorruptObjectError, InvalidObjectError, NotFoundError
from padre_core.backends.blobs import verified
from padre_core.objects.identity import check_digest
from padre_http.wire.blobs import (
    BLOBS,
    BYTES,
    LISTING,
    MAX_BLOBS,
    MAX_DIGESTS,
    MAX_SIZE,
    Commit,
    decode_blobs,
    decode_digests,
    encode_commit,
    encode_digests,
    encode_listing,
    encode_many,
)
from padre_server.body import PART
from padre_server.call import Answer, Call, started
from padre_server.errors import RangeError, TooLargeError
from padre_server.rights import Scope
from padre_server.route import Body, Parameter, Reply, Route
from padre_server.schemas import ref

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def _has(call: Call) -> Answer:
    digests = filter(call.access.sees_blob, decode_digests(call.body))
    return Answer(encode_digests(sorted(call.state.backend.has_blobs(digests))))


def _get_many(call: Call) -> Answer:
    digests = list(filter(call.access.sees_blob, decode_digests(call.body)))
    return Answer(started(encode_many(call.state.backend.read_blobs(digests, check=False))), media_type=BLOBS)


def _list(call: Call) -> Answer:
    access, digests = call.access, call.state.backend.blobs()
    seen = digests if access.reads_all else filter(access.sees_blob, digests)
    return Answer(encode_listing(seen), media_type=LISTING)


def _get(call: Call) -> Answer:
    digest = check_digest(call.path["digest"])
    if not call.access.sees_blob(digest):
        raise NotFoundError(f"the store has no blob {digest}")
    headers = {
        "ETag": f'"{digest}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, immutable, max-age=31536000",
        "Content-Disposition": f'attachment; filename="{digest}"',
    }
    file = call.state.backend.open_blob(digest)
    try:
        size = file.seek(0, io.SEEK_END)
        if call.has_already(headers["ETag"]):
            file.close()
            return Answer(status=304, headers=headers)
        start, end = _range(call.headers.get("range"), size)
        file.seek(start)
    except BaseException:
        file.close()
        raise
    if end - start < size:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        return Answer(_part(file, end - start), 206, BYTES, headers, end - start)
    return Answer(_whole(verified(file, digest)), 200, BYTES, headers, size)


def _range(text: str | None, size: int) -> tuple[int, int]:
    """The first byte and the one behind the last; several ranges, and what is none, mean the whole, as HTTP has it."""
    match = _RANGE.fullmatch(text.strip()) if text else None
    if match is None or match.groups() == ("", ""):
        return 0, size
    first, last = match.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if start >= end:
        raise RangeError(f"the range lies outside of the blob, which has {size} bytes")
    return start, end


def _whole(file: BinaryIO) -> Iterator[bytes]:
    """All of a file; its last part comes after the check of the whole, so that a damaged blob never looks complete."""
    with file:
        part = file.read(PART)
        while part:
            following = file.read(PART)
            yield part
            part = following


def _part(file: BinaryIO, length: int) -> Iterator[bytes]:
    with file:
        while length and (part := file.read(min(PART, length))):
            length -= len(part)
            yield part


@dataclass
class _Receiving:
    """A blob that comes in one go: what is small stays in memory."""

    call: Call
    digest: str

    def __post_init__(self) -> None:
        self._hash = hashlib.sha256()
        self._file: BinaryIO = io.BytesIO()
        self._stack = ExitStack()

    def write(self, data: bytes) -> None:
        uploads = self.call.state.uploads
        if isinstance(self._file, io.BytesIO) and self._file.tell() + len(data) > PART:
            head = self._file.getvalue()
            self._file = self._stack.enter_context(uploads.scratch())
            uploads.append(self._file, head)
        self._hash.update(data)
        uploads.append(self._file, data)

    def finish(self) -> Answer:
        with self._stack:
            if self._hash.hexdigest() != self.digest:
                raise InvalidObjectError(f"what arrived is not {self.digest}: nothing was stored")
            self._file.seek(0)
            return Answer(encode_commit(store(self.call, self._file, self.digest)))

    def abort(self) -> None:
        self._stack.close()


def store(call: Call, file: BinaryIO, digest: str) -> Commit:
    """Stores what is left in a file, which has this digest; the caller may read it from then on.

    It is as durable as the store promises when this returns, for another process of the server may store what names it.
    """
    with call.state.backend.batch("Store a blob", call.caller.name):
        reference = call.state.backend.write_blob(file)
    if reference.digest != digest:  # the disk changed it between the check and now
        raise CorruptObjectError(f"the blob {digest} was damaged on its way into the store: send it again")
    if not call.access.reads_all:
        call.state.visibility.grant(call.caller.subject, [digest])
    return Commit(digest, reference.size)


def _put(call: Call) -> _Receiving:
    return _Receiving(call, check_digest(call.path["digest"]))


def _put_many(call: Call) -> Answer:
    blobs = list(itertools.islice(decode_blobs(call.body), MAX_DIGESTS + 1))
    if len(blobs) > MAX_DIGESTS:
        raise TooLargeError(f"at most {MAX_DIGESTS} blobs come in one body")
    call.state.uploads.check_room(len(call.body))
    digests = [digest for digest, _ in blobs]
    with call.state.backend.batch(f"Store {len(blobs)} blobs", call.caller.name):
        call.state.backend.write_blobs([data for _, data in blobs], digests=digests)
    if not call.access.reads_all:
        call.state.visibility.grant(call.caller.subject, digests)
    return Answer(encode_digests(digests))


_DIGESTS = {"digests": ["0" * 64]}
_BLOB = Reply("The bytes, always as an attachment.", media_type=BYTES, headers=("ETag", "Accept-Ranges"))
_NONE_MATCH = Parameter("If-None-Match", "The ETag of what the client has.", header=True)

ROUTES = (
    Route(
        "GET", "/v1/blobs", Scope.READ, "Lists the digests of all blobs that the caller may read.", _list,
        {200: Reply("A digest a line, in no particular order, and a line `end`.", media_type=LISTING)},
    ),
    Route(
        "POST", "/v1/blobs", Scope.WRITE, "Stores many small blobs.", _put_many,
        {200: Reply("Their digests, in order.", schema=ref("Digests"), example=_DIGESTS)},
        (507,), body=Body((BLOBS,), MAX_BLOBS),
    ),
    Route(
        "POST", "/v1/blobs/has", Scope.READ, "Says which blobs are there.", _has,
        {200: Reply("Those of the digests that are.", schema=ref("Digests"), example=_DIGESTS)},
        body=Body(limit=1024 * 1024, schema=ref("Digests"), example=_DIGESTS),
    ),
    Route(
        "POST", "/v1/blobs/get", Scope.READ, "Gives many small blobs.", _get_many,
        {200: Reply("Those of up to 1 MiB, in the order of the request, as they are stored: who reads them checks "
                    "their digests. The others are to be got one by one.", media_type=BLOBS)},
        body=Body(limit=1024 * 1024, schema=ref("Digests"), example=_DIGESTS),
    ),
    Route(
        "GET", "/v1/blobs/{digest}", Scope.READ, "Gives a blob, or a range of it.", _get,
        {200: _BLOB, 206: _BLOB, 304: Reply("The client has it.", media_type=None)}, (404, 416),
        (Parameter("Range", "Such as `bytes=0-1023`.", header=True), _NONE_MATCH),
    ),
    Route(
        "PUT", "/v1/blobs/{digest}", Scope.WRITE, "Stores a blob in one go.", _put,
        {200: Reply("Its digest and size.", schema=ref("Blob"), example={"digest": "0" * 64, "size": 1024})}, (507,),
        body=Body((BYTES,), MAX_SIZE, streamed=True),
    ),
)  # fmt: skip
