"""The large files of a repository elsewhere: the batch API of Git LFS and its `basic` transfers."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

from padre_core.errors import (
    AccessDeniedError,
    AuthenticationError,
    BackendError,
    CorruptObjectError,
    NotFoundError,
    PadreError,
    UnavailableError,
    UnsupportedError,
)
from padre_core.progress import Tell, telling
from padre_git.address import Address
from padre_git.lfs import CHUNK, MAX_PLAIN, THRESHOLD, LocalFiles, Pointer

BATCH = 100

_UPLOADING, _DOWNLOADING = "uploading large files", "downloading large files"
_MEDIA = "application/vnd.git-lfs+json"
_ANSWER = 16 * 1024 * 1024
_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/\d{1,18}")


@dataclass(frozen=True, slots=True)
class Way:
    """How the large files of a repository elsewhere are reached.

    Attributes:
        endpoint: The URL of its LFS API.
        headers: That sign in there, and only there.
    """

    endpoint: str
    headers: Mapping[str, str]


class Remote:
    """The large files of a repository elsewhere, by the batch API and its `basic` transfers. Safe for threads.

    Args:
        way: Asked for what to do, `upload` or `download`, before each batch.
        branch: Which branch is meant; servers may ask.
        idle: For how many seconds the server may be silent.
    """

    def __init__(self, way: Callable[[str], Way], branch: str, *, idle: float, authority: str | None = None) -> None:
        self._way, self._branch, self._idle = way, branch, idle
        context = ssl.create_default_context(cafile=authority)
        self._opener = urllib.request.build_opener(_NoRedirect, urllib.request.HTTPSHandler(context=context))

    def upload(self, pointers: Sequence[Pointer], files: LocalFiles) -> None:
        """Sends the files that the other side lacks and this one has.

        Raises:
            UnsupportedError: It has no LFS.
            PadreError: It refuses, or is away.
        """
        here = [pointer for pointer in pointers if files.path(pointer.digest).exists()]
        done, total = 0, sum(pointer.size for pointer in here)
        with telling() as tell:
            for way, item, actions in self._batches("upload", here):
                if "upload" in actions:
                    with files.path(item.digest).open("rb") as source:
                        counted = _Counted(source, done, total, tell)
                        self._send(way, actions["upload"], "PUT", counted, item.size)
                    if "verify" in actions:
                        body = json.dumps({"oid": item.digest, "size": item.size}).encode()
                        self._send(way, actions["verify"], "POST", io.BytesIO(body), len(body), _MEDIA)
                done += item.size

    def download(self, pointer: Pointer, files: LocalFiles) -> None:
        """Brings a file here.

        Raises:
            NotFoundError: The other side does not have it.
            CorruptObjectError: It sends other bytes.
            UnavailableError: It breaks off; what has come stays, and the next call goes on there.
        """
        for way, item, actions in self._batches("download", [pointer]):
            if "download" not in actions:
                raise CorruptObjectError(f"{way.endpoint} does not say where the large file {item.digest} is")
            with files.incomplete(item.digest) as target:
                if target is None:
                    return
                begun = target.seek(0, os.SEEK_END)
                if not self._complete(way, actions["download"], item, target):
                    # What was here before may be what is wrong: a loss of power leaves zeros.
                    target.truncate(0)
                    if not begun or not self._complete(way, actions["download"], item, target):
                        files.discard(target)
                        raise CorruptObjectError(
                            f"{way.endpoint} sends other bytes than those of {item.digest}; not kept"
                        )
                files.keep(target, item.digest)

    def _complete(self, way: Way, action: Any, item: Pointer, target: BinaryIO) -> bool:
        """Writes on at the end of what is here, however often the answer breaks off; whether all bytes are right."""
        hashed = hashlib.sha256()
        target.seek(0)
        while chunk := target.read(CHUNK):
            hashed.update(chunk)
        while (begin := target.tell()) < item.size:
            hashed = self._receive(way, action, item, target, hashed)
            if (reached := target.tell()) <= begin:
                raise UnavailableError(f"{way.endpoint} broke off after {reached:,} bytes; they are kept, try again")
        return target.tell() == item.size and hashed.hexdigest() == item.digest

    def _receive(self, way: Way, action: Any, item: Pointer, target: BinaryIO, hashed: Any) -> Any:
        """Writes what one answer holds; gives the hash of all that is here then."""
        url, headers = _target(way, action)
        begin = target.tell()
        more = {"Range": f"bytes={begin}-"} if begin else {}
        with self._ask(way, _request(url, {**headers, **more})) as answer:
            found = _RANGE.fullmatch(answer.headers.get("Content-Range", "")) if answer.status == 206 else None
            if found is None or int(found[1]) != begin:  # the whole file: the server has no ranges
                begin, hashed = 0, hashlib.sha256()
                target.seek(0)
                target.truncate(0)
            left = item.size - begin
            with telling() as tell:
                while left >= 0 and (chunk := _next(answer)):
                    left -= len(chunk)
                    hashed.update(chunk)
                    target.write(chunk)
                    tell(_DOWNLOADING, item.size - left, item.size)
        return hashed

    def probe(self, pointer: Pointer) -> None:
        """Asks whether a file would be taken, and changes nothing.

        Raises:
            UnsupportedError: There is no LFS.
        """
        for _ in self._batches("upload", [pointer]):
            pass

    def _batches(self, operation: str, pointers: Sequence[Pointer]) -> Iterator[tuple[Way, Pointer, dict[str, Any]]]:
        """What to do for each file, as the server says."""
        for start in range(0, len(pointers), BATCH):
            way = self._way(operation)
            part = {pointer.digest: pointer for pointer in pointers[start : start + BATCH]}
            body = {
                "operation": operation,
                "transfers": ["basic"],
                "hash_algo": "sha256",
                "ref": {"name": f"refs/heads/{self._branch}"},
                "objects": [{"oid": pointer.digest, "size": pointer.size} for pointer in part.values()],
            }
            headers = {**way.headers, "Accept": _MEDIA, "Content-Type": _MEDIA}
            request = _request(f"{way.endpoint}/objects/batch", headers, "POST", json.dumps(body).encode())
            with self._ask(way, request, api=True) as answer:
                data = answer.read(_ANSWER)
            for digest, actions in _objects(way, data):
                if digest in part:
                    yield way, part[digest], actions

    def _send(
        self,
        way: Way,
        action: Any,
        method: str,
        source: BinaryIO | _Counted,
        size: int,
        media: str = "application/octet-stream",
    ) -> None:
        url, headers = _target(way, action)
        named = {name.lower() for name in headers}
        extra = {"Content-Length": str(size), **({} if "content-type" in named else {"Content-Type": media})}
        with self._ask(way, _request(url, {**headers, **extra}, method, source)) as answer:
            answer.read(CHUNK)

    def _ask(self, way: Way, request: urllib.request.Request, *, api: bool = False) -> HTTPResponse:
        where = way.endpoint
        try:
            return cast("HTTPResponse", self._opener.open(request, timeout=self._idle))
        except urllib.error.HTTPError as error:
            with error:
                raise _meaning(where, error.code, api=api) from None
        except (OSError, HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise UnavailableError(
                f"{where} cannot be reached ({reason}); large files are kept here, try again"
            ) from None


class _Counted:
    """A file that tells how much of several was read by then."""

    def __init__(self, file: BinaryIO, done: int, total: int, tell: Tell) -> None:
        self._file, self._done, self._total, self._tell = file, done, total, tell

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._done += len(data)
        self._tell(_UPLOADING, self._done, self._total)
        return data


def endpoint_of(address: Address) -> str:
    """Where a server has the LFS API of a repository, by git-lfs's rule."""
    url = address.url.rstrip("/")
    return f"{url}/info/lfs" if url.endswith(".git") else f"{url}.git/info/lfs"


def basic(user: str, token: str) -> dict[str, str]:
    """The header that signs in with a name and a token."""
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{token}'.encode()).decode()}"}


def _next(answer: HTTPResponse) -> bytes:
    """The next bytes; none at the end, and none where the answer breaks off: who counts them can tell."""
    try:
        return answer.read(CHUNK)
    except (OSError, HTTPException):
        return b""


def _request(url: str, headers: Mapping[str, str], method: str = "GET", body: Any = None) -> urllib.request.Request:
    return urllib.request.Request(url, body, dict(headers), method=method)  # noqa: S310  only http and https get here


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **named: Any) -> None:
        return None


def _target(way: Way, action: Any) -> tuple[str, dict[str, str]]:
    """The URL of an action and the headers for it; what signs in at the endpoint goes to no other server."""
    try:
        url = str(action["href"])
        headers = {str(name): str(value) for name, value in (action.get("header") or {}).items()}
        parts, own = urlsplit(url), urlsplit(way.endpoint)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise CorruptObjectError(f"{way.endpoint} answers with something that is no LFS") from None
    same = (parts.scheme, parts.netloc) == (own.scheme, own.netloc)
    if not same and parts.scheme != "https":
        raise AccessDeniedError(f"{way.endpoint} sends large files over {parts.scheme[:20]!r}, which is not followed")
    if any("\n" in text or "\r" in text for pair in headers.items() for text in pair):
        raise CorruptObjectError(f"{way.endpoint} answers with something that is no LFS")
    signed = {name.lower() for name in headers}
    if same and "authorization" not in signed:
        headers |= way.headers
    return url, headers


def _objects(way: Way, data: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        answer = json.loads(data)
        if answer.get("transfer", "basic") != "basic":
            raise UnsupportedError(f"{way.endpoint} wants the LFS transfer {answer['transfer']!r:.40} (not yet)")
        for item in answer["objects"]:
            problem = item.get("error")
            if problem:
                code, text = int(problem.get("code", 0)), str(problem.get("message", ""))[:200]
                known = NotFoundError if code in (404, 410) else BackendError
                raise known(f"{way.endpoint}: the large file {str(item['oid'])[:64]}: {text} ({code})")
            yield str(item["oid"]), dict(item.get("actions") or {})
    except PadreError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError):
        raise CorruptObjectError(f"{way.endpoint} answers with something that is no LFS") from None


def _meaning(where: str, status: int, *, api: bool) -> PadreError:
    if status == 401:
        return AuthenticationError(
            f"{where}: you are not signed in; use git's credential helper or PADRE_GIT_TOKEN, with the right to write"
        )
    if api and status in (404, 405, 406, 415, 501):
        return UnsupportedError(
            f"{where}: this repository has no Git LFS, so it cannot hold files of {THRESHOLD >> 20} MiB and more: turn "
            f"LFS on there, or open it with lfs=False to keep up to {MAX_PLAIN // 1_000_000} MB a file in git itself"
        )
    if status == 403:
        return AccessDeniedError(f"{where}: you may not do this; does your token have the right to write?")
    if status in (404, 410):
        return NotFoundError(f"{where}: the large file is not there")
    if status in (413, 422):
        return BackendError(f"{where} does not take the large file ({status})")
    if status in (301, 302, 303, 307, 308):
        return BackendError(f"{where} redirects elsewhere, which is not followed; use its new address")
    if status in (429, 507, 509) or status >= 500:
        return UnavailableError(f"{where} cannot take or give large files now ({status}); they wait here, try again")
    return BackendError(f"{where} answers {status}")
