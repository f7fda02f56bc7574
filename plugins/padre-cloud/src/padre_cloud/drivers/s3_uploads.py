"""Uploads to S3 in parts; one that was interrupted goes on where it stopped."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import functools
import hashlib
from typing import Any, BinaryIO
from urllib.parse import quote

from padre_cloud.drivers.cloud import CloudDriver
from padre_cloud.drivers.s3_requests import Requests
from padre_core.errors import AccessDeniedError, NotFoundError, UnavailableError


async def upload(driver: CloudDriver, requests: Requests, key: str, file: BinaryIO, size: int) -> None:
    """Stores a file, by the upload of it that is under way or by a new one."""

    async def call(operation: str, **arguments: Any) -> Any:
        return await driver.patiently(functools.partial(requests.call, operation, Key=key, **arguments), key)

    id, done = await _begun(driver, requests, key)
    if id is None:
        id = (await call("create_multipart_upload"))["UploadId"]

    async def send(number: int, data: bytes) -> dict[str, Any]:
        etag = done.get(number + 1)
        if etag is None or etag.strip('"') != hashlib.md5(data, usedforsecurity=False).hexdigest():
            query = f"partNumber={number + 1}&uploadId={quote(id, safe='')}"
            answer = await driver.patiently(
                lambda: asyncio.to_thread(requests.ask, "upload_part", key, None, data, query), key
            )
            etag = answer.headers["ETag"]
        return {"ETag": etag, "PartNumber": number + 1}

    try:
        parts = await driver.parts(file, size, send)
        await call("complete_multipart_upload", UploadId=id, MultipartUpload={"Parts": parts})
    except NotFoundError:
        # Somebody who had the same bytes completed it, or the answer to our own completion was lost.
        try:
            await call("head_object")
        except NotFoundError:
            raise UnavailableError(f"{driver.place.url}: the upload of {key} was aborted; try again") from None


async def _begun(driver: CloudDriver, requests: Requests, key: str) -> tuple[str | None, dict[int, str]]:
    """An upload of this key that did not end, and the etags of its parts."""

    async def call(operation: str, **arguments: Any) -> Any:
        return await driver.patiently(functools.partial(requests.call, operation, **arguments), key)

    try:
        page = await call("list_multipart_uploads", Prefix=key)
    except AccessDeniedError:
        return None, {}  # whoever may write may perhaps not list
    begun = [item for item in page.get("Uploads", ()) if item["Key"] == key]
    if not begun:
        return None, {}
    id = max(begun, key=lambda item: (item["Initiated"], item["UploadId"]))["UploadId"]
    done: dict[int, str] = {}
    marker: dict[str, Any] = {}
    while True:
        parts = await call("list_parts", Key=key, UploadId=id, **marker)
        done.update({part["PartNumber"]: part["ETag"] for part in parts.get("Parts", ())})
        if not parts.get("IsTruncated"):
            return id, done
        marker = {"PartNumberMarker": parts["NextPartNumberMarker"]}


async def copy_as_part(requests: Requests, key: str, size: int) -> None:
    """Puts an object in its own place, as an upload of one part."""
    id = (await requests.call("create_multipart_upload", Key=key))["UploadId"]
    try:
        part = {"Key": key, "UploadId": id, "PartNumber": 1}
        if size:
            source = {"Bucket": requests.bucket, "Key": key}
            etag = (await requests.call("upload_part_copy", CopySource=source, **part))["CopyPartResult"]["ETag"]
        else:  # there is no range of bytes to be copied
            etag = (await requests.call("upload_part", Body=b"", **part))["ETag"]
        parts = [{"ETag": etag, "PartNumber": 1}]
        await requests.call("complete_multipart_upload", Key=key, UploadId=id, MultipartUpload={"Parts": parts})
    except BaseException:
        with contextlib.suppress(Exception):  # else it is an upload that did not end, which `tidy` removes
            await requests.call("abort_multipart_upload", Key=key, UploadId=id)
        raise


async def tidy(requests: Requests, prefix: str, seconds: float) -> int:
    """Removes the uploads below a prefix that did not end and are older than this, and returns how many."""
    before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds)
    count = 0
    where: dict[str, Any] = {"Prefix": prefix}
    while True:
        page = await requests.call("list_multipart_uploads", **where)
        for item in page.get("Uploads", ()):
            if item["Initiated"] <= before:
                await requests.call("abort_multipart_upload", Key=item["Key"], UploadId=item["UploadId"])
                count += 1
        if not page.get("IsTruncated"):
            return count
        where |= {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
