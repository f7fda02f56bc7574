"""Azure Blob Storage, by the client of adlfs."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Coroutine, Iterator
from typing import Any, BinaryIO, NoReturn

from adlfs import AzureBlobFileSystem
from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.storage.blob import BlobBlock

from padre_cloud.drivers.base import ExpiredError, Limits, Part, fail, no_bucket
from padre_cloud.drivers.cloud import Answer, CloudDriver, without_repeats
from padre_cloud.places import Place
from padre_core.backends.bytestore import Absent, Entry, IfMatch
from padre_core.errors import AuthenticationError, ConflictError, NotFoundError, UnavailableError

_SIGN_IN = (
    "no credentials that can be used were found: run `az login` and name the account, or set "
    "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME and one of its keys"
)

_ONCE = {"retry_total": 0}
"""The store repeats, and knows then that an answer may be lost."""


class AzureDriver(CloudDriver):
    """A container, or a prefix in it; a version is an etag."""

    filesystem = AzureBlobFileSystem
    conditional = True
    presigns = True

    def __init__(self, place: Place, options: dict[str, Any], limits: Limits) -> None:
        if account := place.host.partition("@")[2]:
            options.setdefault("account_name", account.partition(".")[0])
        super().__init__(place, options, limits)

    def _connect(self) -> None:
        try:
            super()._connect()
        except ValueError:  # which is what adlfs raises where no account is named, or none that it can use
            raise AuthenticationError(f"{self.place.url}: {_SIGN_IN}") from None

    @property
    def endpoint(self) -> str:
        return str(self.fs.service_client.url).partition("?")[0]

    def run(self, coroutine: Coroutine[Any, Any, Answer], what: str, timeout: float | None = None) -> Answer:
        async def prepared() -> Answer:
            transport = self.fs.service_client._pipeline._transport
            await transport.open()
            without_repeats(transport.session)
            return await coroutine

        return super().run(prepared(), what, timeout)

    def _blob(self, key: str) -> Any:
        return self.fs.service_client.get_blob_client(self.bucket, self._prefix + key)

    def read(self, key: str, start: int = 0, end: int | None = None, *, version: str | None = None) -> Part:
        return self.run(self._read(key, start, end, version), key)

    async def _read(self, key: str, start: int, end: int | None, version: str | None) -> Part:
        ranged = {"offset": start, "length": None if end is None else end - start} if start or end is not None else {}
        try:
            answer = await self._blob(key).download_blob(**ranged, **_condition(version), **_ONCE)
        except HttpResponseError as error:
            if error.status_code != 416:
                raise
            entry = await self._stat(key)  # nothing is there, or no byte
            return Part(b"", entry.version, entry.size)
        data = await answer.readall()
        found = answer.properties
        size = int(found.content_range.rpartition("/")[2]) if found.content_range else len(data)
        return Part(data, found.etag.strip('"'), size)

    def write(self, key: str, data: bytes, if_match: IfMatch = None) -> str:
        absent = isinstance(if_match, Absent)
        condition = {} if absent else _condition(if_match)
        file = io.BytesIO(data)
        answer = self.run(
            self._blob(key).upload_blob(file, length=len(data), overwrite=not absent, **condition, **_ONCE), key
        )
        return str(answer["etag"].strip('"'))

    def delete(self, key: str, version: str | None = None) -> None:
        self.run(self._blob(key).delete_blob(**_condition(version), **_ONCE), key)

    def list(self, prefix: str, after: str) -> Iterator[Entry]:
        client = self.fs.service_client.get_container_client(self.bucket)
        pages = client.list_blobs(name_starts_with=self._prefix + prefix, **_ONCE).by_page()
        while page := self.run(_next(pages), prefix or "the listing"):
            for item in page:
                key = item.name[len(self._prefix) :]
                if key > after:
                    yield Entry(key, item.etag.strip('"'), item.size, item.last_modified.timestamp())

    def stat(self, key: str) -> Entry:
        return self.run(self._stat(key), key)

    async def _stat(self, key: str) -> Entry:
        found = await self._blob(key).get_blob_properties(**_ONCE)
        return Entry(key, found.etag.strip('"'), found.size, found.last_modified.timestamp())

    def upload(self, key: str, file: BinaryIO, size: int) -> None:
        self.run(self._upload(key, file, size), key, timeout=math.inf)

    async def _upload(self, key: str, file: BinaryIO, size: int) -> None:
        """In blocks that are named by their bytes: those that are there need not be sent again."""
        blob = self._blob(key)
        try:
            _, left = await self.patiently(lambda: blob.get_block_list("all", **_ONCE), key)
        except NotFoundError:
            left = []
        there = {block.id for block in left}

        async def send(number: int, data: bytes) -> BlobBlock:
            name = f"{number:05}-{hashlib.sha256(data).hexdigest()[:48]}"
            if name not in there:
                await self.patiently(lambda: blob.stage_block(name, io.BytesIO(data), len(data), **_ONCE), key)
            return BlobBlock(block_id=name)

        blocks = await self.parts(file, size, send)
        await self.patiently(lambda: blob.commit_block_list(blocks, **_ONCE), key)

    def touch(self, key: str) -> bool:
        self.run(self._blob(key).set_blob_metadata({}, **_ONCE), key)
        return True

    def failed(self, error: Exception, what: str) -> NoReturn:
        code = str(getattr(error, "error_code", None) or type(error).__name__).rpartition(".")[2]
        if code in ("ContainerNotFound", "ContainerBeingDeleted", "ContainerDisabled"):
            no_bucket(self.place)
        if code == "BlobAlreadyExists":
            raise ConflictError(f"{self.place.url} has {what} already") from None
        if isinstance(error, ClientAuthenticationError) and getattr(error, "status_code", None) == 401:
            raise ExpiredError(f"{self.place.url}: the credentials are not valid, or no longer") from None
        if isinstance(error, ClientAuthenticationError) and error.status_code is None:
            raise AuthenticationError(f"{self.place.url}: {_SIGN_IN}") from None
        if isinstance(error, HttpResponseError):
            fail(what, error.status_code, code, self.place)
        if isinstance(error, ServiceRequestError | ServiceResponseError | AzureError | OSError):
            raise UnavailableError(f"{self.place.url}: no answer for {what}: {type(error).__name__}") from None
        fail(what, 400, type(error).__name__, self.place)


def _condition(version: str | Absent | None) -> dict[str, Any]:
    return {"etag": f'"{version}"', "match_condition": MatchConditions.IfNotModified} if version else {}


async def _next(pages: Any) -> list[Any] | None:
    """The next page of a listing, which is never empty; None after the last."""
    async for page in pages:
        if items := [item async for item in page]:
            return items
    return None
