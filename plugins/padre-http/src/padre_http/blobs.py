"""Blobs to and from a server: in parts of bounded size, going on where a connection broke."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Final, cast

from padre_core.backends.blobs import read_start, verified
from padre_core.errors import BackendError, ConflictError, InvalidObjectError, UnavailableError
from padre_core.objects.base import BlobReference
from padre_http.client import Client
from padre_http.transport import RESUMES, Answer, Resumes, Streamed
from padre_http.wire import blobs, bundled
from padre_http.wire.blobs import BYTES, Commit

CHUNK: Final = 2 * 1024 * 1024
"""How much of a blob is in memory; smaller blobs travel in one request."""

BODY: Final = 8 * 1024 * 1024
"""How many bytes of small blobs travel in one request."""

MANY: Final = 1000
"""How many small blobs travel in one request."""


def upload(client: Client, source: BinaryIO, media_type: str) -> BlobReference:
    """Stores what is left in a file and returns its name; memory stays bounded."""
    chunk = min(CHUNK, client.info.limits.chunk)
    hashed = hashlib.sha256()
    first = read_start(source, chunk)
    hashed.update(first)
    if len(first) < chunk:
        small = Commit(hashed.hexdigest(), len(first))
        _acknowledged(client, small, client.put(f"/v1/blobs/{small.digest}", first, media_type=BYTES))
        return BlobReference(digest=small.digest, media_type=media_type, size=small.size)
    id = client.read(blobs.decode_upload, client.post("/v1/uploads").body).id
    try:
        size = 0
        data = first
        while data:
            _send(client, id, size, data)
            size += len(data)
            data = read_start(source, chunk)
            hashed.update(data)
        commit = Commit(hashed.hexdigest(), size)
        _acknowledged(client, commit, client.post(f"/v1/uploads/{id}/commit", blobs.encode_commit(commit)))
    except BaseException:
        _forget(client, id)
        raise
    return BlobReference(digest=commit.digest, media_type=media_type, size=size)


def _acknowledged(client: Client, commit: Commit, answer: Answer) -> None:
    """Checks that the server says that it has the blob: whatever answers with 200 may be no PaDRe server.

    Raises:
        BackendError: It does not.
    """
    if client.read(blobs.decode_commit, answer.body) != commit:
        raise BackendError(f"{client.url} stored another blob than the one that was sent")


def upload_many(client: Client, small: Sequence[bytes], digests: Sequence[str] | None = None) -> list[BlobReference]:
    """Stores small blobs, many in one request.

    Args:
        digests: What they are by the word of others; the server checks it.
    """
    names = digests if digests is not None else [hashlib.sha256(data).hexdigest() for data in small]
    references: list[BlobReference] = []
    pairs = zip(names, small, strict=True)
    for part in bundled(pairs, lambda pair: len(pair[1]), weight=BODY, count=MANY):
        body = blobs.encode_blobs(part)
        found = client.read(blobs.decode_digests, client.post("/v1/blobs", body, media_type=blobs.BLOBS).body)
        if found != [digest for digest, _ in part]:
            raise BackendError(f"{client.url} stored other blobs than those that were sent")
        references += [BlobReference(digest=digest, media_type=BYTES, size=len(data)) for digest, data in part]
    return references


def download_many(client: Client, digests: Sequence[str], *, check: bool) -> Iterator[tuple[str, bytes]]:
    """The small ones of some blobs, many in one answer; going on behind the last one when a connection breaks.

    Args:
        check: Whether to leave out damaged ones.
    """
    for start in range(0, len(digests), blobs.MAX_DIGESTS):
        left = list(digests[start : start + blobs.MAX_DIGESTS])
        resumes = Resumes(client.timeout)
        while left:
            with client.stream("/v1/blobs/get", blobs.encode_digests(left)) as stream:
                try:
                    for digest, data in blobs.decode_many(stream.read):
                        if digest not in left:
                            raise BackendError(f"{client.url} sent other blobs than those that were asked for")
                        del left[: left.index(digest) + 1]
                        resumes.renew()
                        if not check or hashlib.sha256(data).hexdigest() == digest:
                            yield digest, data
                    break
                except UnavailableError:
                    if not resumes.more():
                        raise
                except InvalidObjectError as error:
                    raise BackendError(f"{client.url} did not answer as a PaDRe server does: {error}") from None


def download(client: Client, digest: str) -> BinaryIO:
    """A blob as a file that checks its digest when read to the end.

    Raises:
        NotFoundError: There is no such blob.
    """
    return verified(cast("BinaryIO", _Blob(client, digest)), digest)


class _Blob(io.RawIOBase):
    """A blob on a server, from any place on; asked for again, from where it broke, when a connection breaks."""

    def __init__(self, client: Client, digest: str) -> None:
        self._client, self._digest = client, digest
        self._position = 0
        self._size = 0
        self._stream: Streamed | None = None
        self._open()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        begin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        position = max(0, begin + offset)
        if position != self._position:
            self._drop()
        self._position = position
        return position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # narrower than Buffer
        wanted = min(len(buffer), self._size - self._position)
        if wanted <= 0:
            return 0
        resumes = Resumes(self._client.timeout)
        while True:
            stream = self._stream or self._open()
            try:
                data = stream.read(wanted)
                break
            except UnavailableError:
                self._stream = None
                if not resumes.more():
                    raise
        buffer[: len(data)] = data
        self._position += len(data)
        if len(data) < wanted:
            raise BackendError(f"{self._client.url} sent less of the blob {self._digest} than it said")
        if self._position >= self._size:
            self._drop()
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._drop()
        super().close()

    def _open(self) -> Streamed:
        """Asks for the bytes from the present place on."""
        start = self._position
        stream = self._client.stream(f"/v1/blobs/{self._digest}", headers={"Range": f"bytes={start}-"} if start else {})
        if stream.length is None or stream.status != (206 if start else 200):
            stream.close()
            raise BackendError(f"{self._client.url} did not say how large the blob {self._digest} is")
        self._stream, self._size = stream, start + stream.length
        return stream

    def _drop(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()


def listing(client: Client) -> Iterator[str]:
    """The digests of all blobs, as the server lists them."""
    with client.stream("/v1/blobs") as stream:
        yield from blobs.decode_listing(iter(stream.readline, b""))


def _send(client: Client, id: str, offset: int, data: bytes) -> None:
    """Adds a part to an upload. Some of it may be there already: an answer was lost, or the part came through half."""
    place, end = f"/v1/uploads/{id}", offset + len(data)
    for _ in range(RESUMES):
        rest = data[len(data) - (end - offset) :]
        try:
            answer = client.patch(place, rest, headers={"Upload-Offset": str(offset)}, media_type=BYTES)
            there = _number(answer.headers.get("upload-offset", ""))
        except ConflictError as conflict:  # what an attempt before sent has arrived
            there = conflict.next
        if there is None:
            there = client.read(blobs.decode_upload, client.get(place).body).offset
        if there == end:
            return
        if not offset <= there < end:
            raise BackendError(f"{client.url} has {there} bytes of an upload that is at {offset}; store the file again")
        offset = there
    raise UnavailableError(f"{client.url} does not take the upload's part at {offset}; try again later")


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def has(client: Client, digests: list[str]) -> set[str]:
    """Which of some blobs the server has."""
    found: set[str] = set()
    for start in range(0, len(digests), blobs.MAX_DIGESTS):
        part = digests[start : start + blobs.MAX_DIGESTS]
        answer = client.post("/v1/blobs/has", blobs.encode_digests(part))
        found |= set(client.read(blobs.decode_digests, answer.body)) & set(part)
    return found


def _forget(client: Client, id: str) -> None:
    """Lets the server forget an upload; it does so by itself after a while."""
    try:
        client.delete(f"/v1/uploads/{id}", timeout=2.0, attempts=1)
    except BackendError:
        return
