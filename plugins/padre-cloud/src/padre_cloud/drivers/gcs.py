"""Google Cloud Storage, by the JSON API with the session and the credentials of gcsfs."""

from __future__ import annotations

import asyncio
import datetime as dt
import io
import json
import math
import os
import secrets
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, NoReturn
from urllib.parse import quote

import aiohttp

from padre_cloud.drivers.base import PART, ExpiredError, Part, fail, no_bucket
from padre_cloud.drivers.cloud import CloudDriver, without_repeats
from padre_cloud.unfinished import unfinished
from padre_core.backends.bytestore import Absent, Entry, IfMatch
from padre_core.errors import AuthenticationError, ConflictError, UnavailableError

# Else gcsfs asks each bucket for its type over gRPC, at an address that no setting changes.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")

from gcsfs import GCSFileSystem  # reads the variable at import
from google.auth.exceptions import GoogleAuthError


class _AnswerError(Exception):
    """An answer with an error status."""

    def __init__(self, status: int, reason: str, bucket: bool) -> None:
        super().__init__(status)
        self.status, self.reason, self.bucket = status, reason, bucket


class GcsDriver(CloudDriver):
    """A bucket, or a prefix in it; a version is a generation."""

    filesystem = GCSFileSystem
    conditional = True
    presigns = True

    @property
    def endpoint(self) -> str:
        return str(self._options.get("endpoint_url") or os.environ.get("STORAGE_EMULATOR_HOST", ""))

    async def _ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        **parameters: Any,
    ) -> tuple[Mapping[str, str], bytes]:
        """The headers of the answer by their names in lower case, with its `status`, and its body.

        What only reads is asked once more where the server has closed the connection that was kept.
        """
        try:
            return await self._once(method, url, headers, data, parameters)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if method != "GET" or isinstance(error, aiohttp.ClientConnectorError):
                raise
        return await self._once(method, url, headers, data, parameters)

    async def _once(
        self, method: str, url: str, headers: Mapping[str, str] | None, data: bytes | None, parameters: dict[str, Any]
    ) -> tuple[Mapping[str, str], bytes]:
        without_repeats(await self.fs._set_session())
        if not url.startswith("http"):
            url = f"{self.fs._location}{url}"
        async with self.fs.session.request(
            method, url, params=self.fs._get_params(parameters), headers=self.fs._get_headers(headers),
            data=data and io.BytesIO(data),
            timeout=aiohttp.ClientTimeout(self.limits.timeout),
        ) as answer:  # fmt: skip
            body = await answer.read()
            if answer.status >= 400:
                said = body.decode(errors="replace")
                # Only the bucket can be missing where an object is made, however the server says it.
                missing = answer.status == 404 and method == "POST" and url.endswith(f"/upload{self._objects}")
                raise _AnswerError(answer.status, str(answer.reason), missing or "bucket does not exist" in said)
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return headers | {"status": str(answer.status)}, body

    @property
    def _objects(self) -> str:
        return f"/storage/v1/b/{self.bucket}/o"

    def _object(self, key: str, way: str = "") -> str:
        return f"{way}{self._objects}/{quote(self._prefix + key, safe='')}"

    def read(self, key: str, start: int = 0, end: int | None = None, *, version: str | None = None) -> Part:
        return self.run(self._read(key, start, end, version), key)

    async def _read(self, key: str, start: int, end: int | None, version: str | None) -> Part:
        ranged = start or end is not None
        headers = {"Range": f"bytes={start}-{'' if end is None else end - 1}"} if ranged else {}
        try:
            answer, data = await self._ask(
                "GET", self._object(key, "/download"), headers=headers, alt="media", ifGenerationMatch=version
            )
        except _AnswerError as error:
            if error.status != 416:
                raise
            entry = await self._stat(key)  # nothing is there, or no byte
            return Part(b"", entry.version, entry.size)
        size = int(answer["content-range"].rpartition("/")[2]) if "content-range" in answer else len(data)
        return Part(data, answer["x-goog-generation"], size)

    def write(self, key: str, data: bytes, if_match: IfMatch = None) -> str:
        condition = "0" if isinstance(if_match, Absent) else if_match
        if condition is not None and not condition.isdecimal():
            raise ConflictError(f"{key} in {self.place.url} was changed meanwhile")  # no generation looks so
        return self.run(self._write(key, data, condition), key)

    async def _write(self, key: str, data: bytes, condition: str | None) -> str:
        mark = secrets.token_hex(16)
        kind = b"--%b\r\nContent-Type: %b\r\n\r\n%b\r\n"
        named = json.dumps({"name": self._prefix + key}).encode()
        parts = (
            kind % (mark.encode(), b"application/json; charset=UTF-8", named),
            kind % (mark.encode(), b"application/octet-stream", data),
            b"--%b--\r\n" % mark.encode(),
        )
        _, body = await self._ask(
            "POST", f"/upload{self._objects}", data=b"".join(parts), uploadType="multipart",
            ifGenerationMatch=condition, headers={"Content-Type": f"multipart/related; boundary={mark}"},
        )  # fmt: skip
        return str(json.loads(body)["generation"])

    def delete(self, key: str, version: str | None = None) -> None:
        self.run(self._ask("DELETE", self._object(key), ifGenerationMatch=version), key)

    def list(self, prefix: str, after: str) -> Iterator[Entry]:
        fields = "items(name,generation,size,updated),nextPageToken"
        where: dict[str, Any] = {
            "prefix": self._prefix + prefix,
            "startOffset": self._prefix + after if after else None,
        }
        token = None
        while True:
            asked = self._ask("GET", self._objects, **where, pageToken=token, fields=fields)
            _, body = self.run(asked, prefix or "the listing")
            page = json.loads(body)
            for item in page.get("items", ()):
                key = item["name"][len(self._prefix) :]
                if key > after:
                    yield _entry(key, item)
            token = page.get("nextPageToken")
            if not token:
                return

    def stat(self, key: str) -> Entry:
        return self.run(self._stat(key), key)

    async def _stat(self, key: str) -> Entry:
        _, body = await self._ask("GET", self._object(key))
        item = json.loads(body)
        return _entry(key, item)

    def upload(self, key: str, file: BinaryIO, size: int) -> None:
        self.run(self._upload(key, file, size), key, timeout=math.inf)

    async def _upload(self, key: str, file: BinaryIO, size: int) -> None:
        """By a resumable session: after a failed part, or in another process, the server says how much it has."""
        with unfinished(self.place.url, key, size) as upload:
            sent = None if upload.session is None else await self._still_held(upload.session, size)
            if upload.session is None or sent is None:
                sent = 0
                upload.begin(await self._begin(key))
            session = str(upload.session)
            while sent is not None and sent < size:
                try:
                    sent = await self._send(session, file, sent, size)
                except (_AnswerError, aiohttp.ClientError, OSError):
                    sent = await self.patiently(lambda: self._held(session, size), key)
        entry = await self._stat(key)
        if entry.size != size:
            await self._ask("DELETE", self._object(key))
            raise UnavailableError(f"{self.place.url}: the upload of {key} was torn; try again")

    async def _begin(self, key: str) -> str:
        """Makes a session."""
        answer, _ = await self.patiently(
            lambda: self._ask(
                "POST", f"/upload{self._objects}", name=self._prefix + key, uploadType="resumable",
            ),
            key,
        )  # fmt: skip
        return answer["location"]

    async def _still_held(self, session: str, size: int) -> int | None:
        """How much an earlier session holds; None if it has ended, whatever became of what it stored."""
        try:
            return await self._held(session, size)
        except (_AnswerError, aiohttp.ClientError, OSError):
            return None

    async def _send(self, session: str, file: BinaryIO, start: int, size: int) -> int:
        """Sends one part, and returns where the next one begins."""
        data = await asyncio.to_thread(_read_at, file, start)
        end = start + len(data)
        await self._ask("PUT", session, data=data, headers={"Content-Range": f"bytes {start}-{end - 1}/{size}"})
        return end

    async def _held(self, session: str, size: int) -> int | None:
        """How many bytes of an upload the server has; None if all."""
        answer, _ = await self._ask("PUT", session, headers={"Content-Range": f"bytes */{size}"})
        if answer["status"] != "308":
            return None
        held = answer.get("range", "")
        return int(held.rpartition("-")[2]) + 1 if held else 0

    def touch(self, key: str) -> bool:
        place = self._object(key)
        _, body = self.run(self._ask("POST", f"{place}/rewriteTo{place.removeprefix('/storage/v1')}"), key)
        return bool(json.loads(body)["done"])

    def failed(self, error: Exception, what: str) -> NoReturn:
        if isinstance(error, _AnswerError):
            if error.bucket or (error.status == 404 and what == "the listing"):
                no_bucket(self.place)
            if error.status == 401:
                raise ExpiredError(f"{self.place.url}: the credentials are not valid, or no longer") from None
            fail(what, error.status, error.reason, self.place)
        if isinstance(error, GoogleAuthError):
            raise AuthenticationError(
                f"{self.place.url}: no valid credentials: run `gcloud auth application-default login`, or set "
                "GOOGLE_APPLICATION_CREDENTIALS"
            ) from None
        if isinstance(error, aiohttp.ClientError | OSError):
            raise UnavailableError(f"{self.place.url}: no answer for {what}: {type(error).__name__}") from None
        fail(what, 400, type(error).__name__, self.place)


def _entry(key: str, item: Mapping[str, Any]) -> Entry:
    at = dt.datetime.fromisoformat(item["updated"]).timestamp()
    return Entry(key, str(item["generation"]), int(item["size"]), at)


def _read_at(file: BinaryIO, place: int) -> bytes:
    file.seek(place)
    return file.read(PART)
