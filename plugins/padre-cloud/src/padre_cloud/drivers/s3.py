"""Amazon S3 and what speaks like it, by the client of s3fs."""

from __future__ import annotations

import asyncio
import email.utils
import math
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, NoReturn

import aiohttp
import botocore.exceptions
import urllib3.exceptions
from s3fs import S3FileSystem

from padre_cloud.drivers import s3_uploads
from padre_cloud.drivers.base import BusyError, ExpiredError, Limits, Part, fail, no_bucket
from padre_cloud.drivers.cloud import CloudDriver
from padre_cloud.drivers.s3_requests import Answer, Requests, Session
from padre_cloud.places import Place
from padre_core.backends.bytestore import Absent, Entry, IfMatch
from padre_core.errors import (
    AccessDeniedError,
    AuthenticationError,
    BackendError,
    ConflictError,
    NotFoundError,
    PadreError,
    UnavailableError,
)

_OF_S3FS = {
    "session", "default_block_size", "default_fill_cache", "default_cache_type",
    "cache_regions", "max_concurrency", "fixed_upload_size", "local_expiry_check", "batch_size",
}  # fmt: skip
"""Options that say how s3fs lists and reads files, which it does for no store."""

_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
_UNKNOWN = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"}
_LOST = (
    botocore.exceptions.ConnectionError,
    botocore.exceptions.HTTPClientError,
    botocore.exceptions.IncompleteReadError,
    aiohttp.ClientError,
    urllib3.exceptions.HTTPError,
    asyncio.TimeoutError,
    OSError,
)


class _RangeError(BackendError):
    """There is no byte in a range, or no such key."""


class S3Driver(CloudDriver):
    """A bucket, or a prefix in it.

    A version is an etag, which follows from the bytes: the same bytes written again may have the same one.
    """

    filesystem = S3FileSystem
    conditional = True
    versions_follow_bytes = True
    presigns = True
    deletes_many = True
    rereads = True

    def __init__(self, place: Place, options: dict[str, Any], limits: Limits) -> None:
        config = {
            "connect_timeout": limits.timeout,
            "read_timeout": limits.timeout,
            "max_pool_connections": 2 * limits.concurrency,
            **(options.get("config_kwargs") or {}),
            "http_session_cls": Session,
            "retries": {"total_max_attempts": 1},  # the store repeats, and knows then that an answer may be lost
        }
        super().__init__(place, {**options, "config_kwargs": config}, limits, further={"profile"}, without=_OF_S3FS)
        self._requests = Requests(self.fs, self.bucket, self.run)

    @property
    def endpoint(self) -> str:
        return str(self.fs.endpoint_url or self.fs.client_kwargs.get("endpoint_url") or "")

    def _ask(self, operation: str, key: str, headers: dict[str, str] | None = None, data: bytes = b"") -> Answer:
        try:
            answer = self._requests.ask(operation, self._prefix + key, headers, data)
        except Exception as error:  # noqa: BLE001  # what kind of error it is, `failed` knows
            self.failed(error, key)
        if operation != "delete_object" and "ETag" not in answer.headers:
            raise UnavailableError(f"{self.place.url}: what answered for {key} is no S3; is there a login or a proxy?")
        return answer

    def read(self, key: str, start: int = 0, end: int | None = None, *, version: str | None = None) -> Part:
        headers = {"If-Match": version} if version else {}
        if start or end is not None:
            headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        try:
            answer = self._ask("get_object", key, headers)
        except _RangeError:
            entry = self.stat(key)  # nothing is there, or no byte
            return Part(b"", entry.version, entry.size)
        whole = answer.headers.get("Content-Range")
        return Part(answer.data, answer.headers["ETag"], int(whole.rpartition("/")[2]) if whole else len(answer.data))

    def write(self, key: str, data: bytes, if_match: IfMatch = None) -> str:
        condition = {}
        if isinstance(if_match, Absent):
            condition["If-None-Match"] = "*"
        elif if_match is not None:
            condition["If-Match"] = if_match
        try:
            return self._ask("put_object", key, condition, data).headers["ETag"]
        except NotFoundError as error:  # there is nothing whose version could be the one that is named
            raise ConflictError(str(error)) from None

    def delete(self, key: str, version: str | None = None) -> None:
        self._ask("delete_object", key, {"If-Match": version} if version else None)

    def list(self, prefix: str, after: str) -> Iterator[Entry]:
        where: dict[str, Any] = {"Prefix": self._prefix + prefix}
        if after:
            where["StartAfter"] = self._prefix + after
        while True:
            page = self.run(self._requests.call("list_objects_v2", **where), prefix or "the listing")
            for item in page.get("Contents", ()):
                yield Entry(
                    item["Key"][len(self._prefix) :], item["ETag"], item["Size"], item["LastModified"].timestamp()
                )
            if not page.get("IsTruncated"):
                return
            where["ContinuationToken"] = page["NextContinuationToken"]

    def stat(self, key: str) -> Entry:
        found = self._ask("head_object", key).headers
        at = email.utils.parsedate_to_datetime(found["Last-Modified"]).timestamp()
        return Entry(key, found["ETag"], int(found["Content-Length"]), at)

    def upload(self, key: str, file: BinaryIO, size: int) -> None:
        self.run(s3_uploads.upload(self, self._requests, self._prefix + key, file, size), key, timeout=math.inf)

    def touch(self, key: str) -> bool:
        entry = self.stat(key)
        path = self._prefix + key
        try:
            # An upload of one part has an etag that nothing else has; a copy of it has that of the bytes.
            if entry.version.endswith('-1"'):
                source = {"Bucket": self.bucket, "Key": path}
                copy = self._requests.call("copy_object", Key=path, CopySource=source, MetadataDirective="REPLACE")
                self.run(copy, key)
            else:
                self.run(s3_uploads.copy_as_part(self._requests, path, entry.size), key)
        except (AccessDeniedError, BackendError) as error:
            if isinstance(error, UnavailableError):
                raise
            return False  # it has more than 5 GB, or may be written but not read
        return True

    def delete_many(self, keys: Sequence[str]) -> None:
        for start in range(0, len(keys), 1000):
            some = keys[start : start + 1000]
            answer = self.run(self._requests.call("delete_objects", Delete={
                "Objects": [{"Key": self._prefix + key} for key in some], "Quiet": True,
            }), f"{len(some)} keys")  # fmt: skip
            for error in answer.get("Errors", ()):
                self.failed(botocore.exceptions.ClientError({"Error": error}, "DeleteObjects"), error.get("Key", ""))

    def tidy(self, seconds: float) -> int:
        return self.run(s3_uploads.tidy(self._requests, self._prefix, seconds), "unfinished uploads")

    def refresh(self) -> None:
        self.run(self.fs.set_session(refresh=True), "the credentials")
        self._requests.forget()

    def failed(self, error: Exception, what: str) -> NoReturn:
        if isinstance(error, PadreError):
            raise error
        if isinstance(error, botocore.exceptions.ClientError):
            code = str(error.response.get("Error", {}).get("Code", ""))
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if code in _EXPIRED:
                raise ExpiredError(f"{self.place.url}: the credentials have expired; sign in again") from None
            if code in _UNKNOWN:
                raise AuthenticationError(f"{self.place.url}: {code}: the credentials are not valid there") from None
            if code == "NoSuchBucket":
                no_bucket(self.place)
            if code == "InvalidRange":
                raise _RangeError(f"{self.place.url} has no such bytes of {what}") from None
            if code in ("ConditionalRequestConflict", "OperationAborted"):
                raise BusyError(f"{what} in {self.place.url} is being written by another; try again") from None
            fail(what, status, code, self.place, str(error.response.get("Error", {}).get("Message", "")))
        if isinstance(error, botocore.exceptions.NoCredentialsError | botocore.exceptions.PartialCredentialsError):
            raise AuthenticationError(
                f"{self.place.url}: no credentials were found: run `aws configure`, set AWS_PROFILE or "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            ) from None
        if isinstance(error, _LOST):
            raise UnavailableError(f"{self.place.url}: no answer for {what}: {type(error).__name__}") from None
        fail(what, 400, type(error).__name__, self.place)

    def close(self) -> None:
        self._requests.close()
        client = self.fs._s3
        if client is not None and self.fs.loop.is_running():
            self.run(client.close(), "the connections")
