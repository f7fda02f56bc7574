"""Uploads that survive a break: begin, send parts, ask how far, commit."""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from typing import BinaryIO

from padre_core import InvalidObjectError, NotFoundError
from padre_http.wire.blobs import BYTES, MAX_SIZE, Upload, decode_commit, encode_commit, encode_upload
from padre_server.body import PART
from padre_server.call import Answer, Call
from padre_server.rights import Scope
from padre_server.route import Body, Parameter, Reply, Route
from padre_server.routes.blobs import store
from padre_server.schemas import COUNT, DIGEST, ref, struct

OFFSET = "Upload-Offset"


def _begin(call: Call) -> Answer:
    id = call.state.uploads.begin(call.caller.subject)
    return Answer(encode_upload(Upload(id, 0)), 201, headers={OFFSET: "0", "Location": f"/v1/uploads/{id}"})


def _where(call: Call) -> Answer:
    id = call.path["upload"]
    size = call.state.uploads.size(id, call.caller.subject)
    return Answer(encode_upload(Upload(id, size)), headers={OFFSET: str(size)})


@dataclass
class _Appending:
    """Part of an upload; what arrived before a break stays."""

    call: Call
    file: BinaryIO

    def write(self, data: bytes) -> None:
        self.call.state.uploads.append(self.file, data)

    def finish(self) -> Answer:
        with self.file:
            size = self.file.tell()
        return Answer(status=204, media_type=None, headers={OFFSET: str(size)})

    def abort(self) -> None:
        self.file.close()


def _append(call: Call) -> _Appending:
    text = call.headers.get(OFFSET.lower(), "")
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InvalidObjectError(f"{OFFSET}: expected how many bytes have arrived")
    return _Appending(call, call.state.uploads.open(call.path["upload"], call.caller.subject, int(text)))


def _commit(call: Call) -> Answer:
    wanted = decode_commit(call.body)
    id, subject, uploads = call.path["upload"], call.caller.subject, call.state.uploads
    try:
        file = uploads.open(id, subject, None)
    except NotFoundError:
        if not _is_there(call, wanted.digest, wanted.size):
            raise
    else:
        with file:
            _check(file, wanted.digest, wanted.size)
            store(call, file, wanted.digest)
            uploads.remove(id, subject)
    return Answer(encode_commit(wanted))


def _check(file: BinaryIO, digest: str, size: int) -> None:
    """Checks the whole, and goes back to its start."""
    arrived = os.fstat(file.fileno()).st_size
    if arrived != size:
        raise InvalidObjectError(f"{arrived} bytes have arrived, not {size}")
    hashed = hashlib.sha256()
    while part := file.read(PART):
        hashed.update(part)
    if hashed.hexdigest() != digest:
        raise InvalidObjectError(f"what arrived is not {digest}: nothing was stored")
    file.seek(0)


def _is_there(call: Call, digest: str, size: int) -> bool:
    """Whether a commit was done before, and only its answer got lost."""
    if not call.access.sees_blob(digest):
        return False
    try:
        with call.state.backend.open_blob(digest) as blob:
            return blob.seek(0, io.SEEK_END) == size
    except NotFoundError:
        return False


def _give_up(call: Call) -> Answer:
    call.state.uploads.remove(call.path["upload"], call.caller.subject)
    return Answer(status=204, media_type=None)


_GONE = {204: Reply("It is gone.", media_type=None)}

ROUTES = (
    Route(
        "POST", "/v1/uploads", Scope.WRITE, "Begins an upload in parts.", _begin,
        {201: Reply("Its id.", schema=ref("Upload"), example={"id": "0" * 32, "offset": 0},
                    headers=(OFFSET, "Location"))}, (429, 507),
        body=Body(empty=True, limit=1000),
    ),
    Route(
        "GET", "/v1/uploads/{upload}", Scope.WRITE, "Says how much of an upload has arrived.", _where,
        {200: Reply("The offset at which it goes on.", schema=ref("Upload"),
                    example={"id": "0" * 32, "offset": 1024}, headers=(OFFSET,))}, (404,),
    ),
    Route(
        "PATCH", "/v1/uploads/{upload}", Scope.WRITE, "Adds to an upload; what arrives before a break stays.", _append,
        {204: Reply("It arrived.", media_type=None, headers=(OFFSET,))}, (404, 409, 507),
        (Parameter(OFFSET, "How much has arrived before.", COUNT, header=True, required=True),),
        Body((BYTES,), MAX_SIZE, streamed=True),
    ),
    Route(
        "POST", "/v1/uploads/{upload}/commit", Scope.WRITE, "Makes a blob of an upload, whose whole is checked first.",
        _commit,
        {200: Reply("Its digest and size.", schema=ref("Blob"), example={"digest": "0" * 64, "size": 1024})},
        (404, 507),
        body=Body(limit=10_000, schema=struct({"digest": DIGEST, "size": COUNT}, strict=True),
                  example={"digest": "0" * 64, "size": 1024}),
    ),
    Route(
        "DELETE", "/v1/uploads/{upload}", Scope.WRITE, "Gives an upload up.", _give_up, _GONE,
    ),
)  # fmt: skip
