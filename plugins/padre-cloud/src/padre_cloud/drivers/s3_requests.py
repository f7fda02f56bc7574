"""Requests to a bucket of S3: by the client of s3fs, or past it.

A request by the client takes some milliseconds of processor time, most of them to fill in a model of the request and
to parse the answer. What concerns a single object needs neither, so the thread that asks makes the request itself: to
the address that the client would ask, with its headers and its credentials, by botocore's HTTP.
"""

from __future__ import annotations

import datetime as dt
import re
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

import botocore
from aiobotocore.httpsession import AIOHTTPSession
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, AWSRequest
from botocore.exceptions import ClientError, NoCredentialsError
from botocore.httpchecksum import apply_request_checksum
from s3fs import S3FileSystem

from padre_cloud.drivers.cloud import without_repeats
from padre_cloud.drivers.s3_connections import Connections
from padre_cloud.drivers.s3_signing import Signer

KNOWN_SECONDS = 60
"""How long a way is taken to be the way; the client renews credentials minutes before they expire."""

_CODE = re.compile(rb"<Code>(\w{1,100})</Code>")
_MESSAGE = re.compile(rb"<Message>([^<]{1,300})")
_OF_THE_BODY = re.compile("x-amz-(checksum|content|decoded|trailer)")


class Session(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore has no types
    """The connections of a client, and such as go the same way for threads to use."""

    def __init__(self, **way: Any) -> None:
        super().__init__(**way)
        way.pop("connector_args", None)
        self.plain = Connections(**way)

    async def _get_session(self, proxy_url: str | None) -> Any:
        return without_repeats(await super()._get_session(proxy_url))


class Run(Protocol):
    """Waits for a coroutine on the loop of the client."""

    def __call__(self, coroutine: Any, what: str) -> Any: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; the names of headers are in any case."""

    headers: Mapping[str, str]
    data: bytes


@dataclass(frozen=True, slots=True)
class _Way:
    """How the client would make a request.

    Attributes:
        url: Of the bucket; a key follows.
        headers: All that the options ask for.
        checksum: Of the body, in botocore's words.
        auth: Signs a request, unless it goes unsigned.
        signer: Does the same in less time, where it can.
        until: The moment on the monotonic clock from which on it must be looked at anew.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    checksum: Mapping[str, str] | None
    auth: Any
    signer: Signer | None
    region: str
    session: Connections
    until: float

    def send(self, key: str, headers: Mapping[str, str], data: bytes, query: str) -> tuple[int, Answer]:
        """Makes a request, and returns the status with the answer."""
        made = {**self.headers, **headers}
        if self.checksum is not None:
            apply_request_checksum({
                "headers": made, "body": data, "context": {"checksum": {"request_algorithm": self.checksum}}
            })  # fmt: skip
        url = f"{self.url}{quote(key, safe='/~')}{f'?{query}' if query else ''}"
        answer = self.session.send(self._prepared(url, made, data))
        # Past `content`, which reads by small pieces and joins them.
        return answer.status_code, Answer(answer.headers, answer.raw.read(decode_content=False))

    def _prepared(self, url: str, headers: dict[str, str], data: bytes) -> AWSPreparedRequest:
        if self.signer is None:
            request = AWSRequest(self.method, url, headers, data or None, stream_output=True)
            if self.auth is not None:
                self.auth.add_auth(request)
            return request.prepare()
        parts = urlsplit(url)
        signed = self.signer.signed(self.method, parts.path, parts.query, headers, data, at=dt.datetime.now(dt.UTC))
        return AWSPreparedRequest(self.method, url, signed, data or None, stream_output=True)


class _SeenError(Exception):
    """Carries what a client is about to sign, so that it is not sent."""

    def __init__(self, seen: dict[str, Any]) -> None:
        super().__init__()
        self.seen = seen


class Requests:
    """Requests to a bucket. All methods may be called from several threads at once."""

    def __init__(self, fs: S3FileSystem, bucket: str, run: Run) -> None:
        self._fs, self.bucket, self._run = fs, bucket, run
        self._ways: dict[str, _Way] = {}
        self._learning = threading.Lock()

    async def call(self, operation: str, **arguments: Any) -> Any:
        """Makes a request by the client; not by the methods of s3fs, which would repeat it."""
        method = getattr(await self._fs.set_session(), operation)
        payer = self._fs.req_kw
        return await method(**self._fs._get_s3_method_kwargs(method, payer, Bucket=self.bucket, **arguments))

    def ask(
        self, operation: str, key: str, headers: Mapping[str, str] | None = None, data: bytes = b"", query: str = ""
    ) -> Answer:
        """Makes a request for an object past the client, again if the bucket turns out to be in another region.

        Never to be called from the loop.

        Args:
            operation: The method of the client that would do this.
            headers: Further ones.
            query: What follows the key and a question mark in the URL, escaped.

        Raises:
            ClientError: It was refused.
            Exception: There was no answer, or half of one; of botocore, or of urllib3.
        """
        way = self._way(operation)
        status, answer = way.send(key, headers or {}, data, query)
        if status >= 300 and answer.headers.get("x-amz-bucket-region", way.region) != way.region:
            way = self._elsewhere(operation, key)
            status, answer = way.send(key, headers or {}, data, query)
        if status >= 300:
            error = {
                name: found[1].decode(errors="replace") if (found := pattern.search(answer.data)) else ""
                for name, pattern in (("Code", _CODE), ("Message", _MESSAGE))
            }
            raise ClientError({"Error": error, "ResponseMetadata": {"HTTPStatusCode": status}}, operation)
        return answer

    def forget(self) -> None:
        """Learns all ways anew, for the client is another one."""
        with self._learning:
            self._ways.clear()

    def close(self) -> None:
        """Ends the connections."""
        for way in [*self._ways.values()]:
            way.session.close()

    def _way(self, operation: str) -> _Way:
        way = self._ways.get(operation)
        if way is None or way.until < time.monotonic():
            with self._learning:
                way = self._ways.get(operation)
                if way is None or way.until < time.monotonic():
                    way = self._ways[operation] = self._run(self._learned(operation), "the way to the bucket")
        return way

    def _elsewhere(self, operation: str, key: str) -> _Way:
        """The way to a bucket that is in another region; the client asks for that, and then knows it."""
        self._run(self._redirected(key), key)
        self.forget()
        return self._way(operation)

    async def _redirected(self, key: str) -> None:
        try:
            await self.call("head_object", Key=key)
        except ClientError as error:
            # What is to be known about the key, the request itself will say.
            if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
                raise

    async def _learned(self, operation: str) -> _Way:
        client = await self._fs.set_session()
        mark = secrets.token_hex(16)
        arguments: dict[str, Any] = {"PartNumber": 1, "UploadId": mark} if operation == "upload_part" else {}

        def look(request: AWSRequest, **seen: Any) -> None:
            if mark in request.url:
                raise _SeenError({"request": request, **seen})

        client.meta.events.register("before-sign.s3", look, unique_id=mark)
        try:
            await self.call(operation, Key=mark, **arguments)
        except _SeenError as caught:
            return await _way_of(client, mark, **caught.seen)
        finally:
            client.meta.events.unregister("before-sign.s3", unique_id=mark)
        raise AssertionError(f"{operation} was not signed")


async def _way_of(
    client: Any, mark: str, *, request: AWSRequest, request_signer: Any, signature_version: Any, **seen: Any
) -> _Way:
    asked = request.context.get("signing", {})
    region = asked.get("region") or seen["region_name"]
    auth = None
    if signature_version is not botocore.UNSIGNED:
        auth = await request_signer.get_auth_instance(
            asked.get("signing_name") or seen["signing_name"], region, signature_version
        )
        if auth.credentials is None:
            raise NoCredentialsError
    signer = Signer(auth, request) if type(auth) is S3SigV4Auth else None
    headers = {
        name: value
        for name, value in request.headers.items()
        if (lower := name.lower()) == "user-agent" or (lower.startswith("x-amz-") and not _OF_THE_BODY.match(lower))
    }
    sums = request.context.get("checksum", {})
    checksum, by_default = sums.get("request_algorithm"), sums.get("request_algorithm_header")
    if by_default and signer is not None and not signer.open:  # the signature vouches for the body, and nobody asked
        headers.pop(by_default["name"], None)
        checksum = None
    return _Way(
        method=request.method,
        url=request.url.partition(mark)[0],
        headers=headers,
        checksum={**checksum, "in": "header"} if isinstance(checksum, dict) else None,
        auth=auth,
        signer=signer,
        region=region,
        session=client._endpoint.http_session.plain,
        until=time.monotonic() + KNOWN_SECONDS,
    )
