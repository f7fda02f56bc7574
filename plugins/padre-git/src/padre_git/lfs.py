"""Large files: their bytes lie beside the repository, by Git LFS, and a pointer lies in it.

PaDRe names blobs by their sha-256, and so does LFS. So a pointer under `blobs/` is one only if it speaks of the very
blob that its name says, and what a user stored never passes for one.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import ssl
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import unquote, urlsplit

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
from padre_core.streams.filesystems import datasync, sync_folder
from padre_git.address import Address

THRESHOLD = 8 * 1024 * 1024
"""From how many bytes on a blob is kept by LFS: git reads and packs files as a whole."""

MAX_PLAIN = 100_000_000
"""How long a blob may be in a repository without LFS; GitHub refuses longer ones."""

MAX_POINTER = 1024
CHUNK = 1024 * 1024
BATCH = 100

_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-[^\n]*\n)*oid sha256:([0-9a-f]{64})\nsize (\d{1,18})\n"
)
_MEDIA = "application/vnd.git-lfs+json"
_ANSWER = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Pointer:
    """What stands in the repository for a large file."""

    digest: str
    size: int

    def encode(self) -> bytes:
        """The text of it, as `git lfs` writes it."""
        return b"version https://git-lfs.github.com/spec/v1\noid sha256:%b\nsize %d\n" % (
            self.digest.encode(),
            self.size,
        )


def pointer_at(key: str, data: bytes) -> Pointer | None:
    """The pointer that lies under a blob's key; None if the blob itself does."""
    found = _POINTER.fullmatch(data) if len(data) <= MAX_POINTER else None
    if found is None or not key.startswith("blobs/") or found[1].decode() != key.rpartition("/")[2]:
        return None
    return Pointer(found[1].decode(), int(found[2]))


def attributes(before: bytes, digests: Iterable[str]) -> bytes:
    """The `.gitattributes` of a folder of blobs after some of them became pointers."""
    lines = {f"{digest} filter=lfs diff=lfs merge=lfs -text".encode() for digest in digests}
    return b"".join(b"%b\n" % line for line in sorted({*before.splitlines(), *lines}))


class LocalFiles:
    """The large files of a repository on this machine, where `git lfs` looks for them too."""

    def __init__(self, repository: Path) -> None:
        self.folder = repository / "lfs"

    def path(self, digest: str) -> Path:
        """Where a file lies if it is here."""
        return self.folder / "objects" / digest[:2] / digest[2:4] / digest

    def open(self, digest: str) -> BinaryIO | None:
        """The file; None if it is not here."""
        try:
            fd = os.open(self.path(digest), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BackendError(f"the large file {digest} cannot be read: {error.strerror}") from error
        return os.fdopen(fd, "rb", buffering=0)

    @contextlib.contextmanager
    def spool(self) -> Iterator[BinaryIO]:
        """A file for bytes on their way, which is removed unless `keep` took it."""
        place = self.folder / "tmp"
        place.mkdir(parents=True, exist_ok=True)
        fd, name = tempfile.mkstemp(prefix="padre-", dir=place)
        os.close(fd)
        with open(name, "w+b") as file:
            try:
                yield cast("BinaryIO", file)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name)

    def keep(self, spooled: BinaryIO, digest: str) -> None:
        """Makes a file of what was spooled; it survives the loss of power afterwards."""
        spooled.flush()
        datasync(spooled.fileno())
        target = self.path(digest)
        missing = [folder for folder in (target.parent, *target.parent.parents) if not folder.exists()]
        target.parent.mkdir(parents=True, exist_ok=True)
        os.chmod(spooled.name, 0o644)
        os.replace(spooled.name, target)
        for folder in (target.parent, *(path.parent for path in missing)):
            sync_folder(folder)


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
        for way, item, actions in self._batches("upload", [p for p in pointers if files.path(p.digest).exists()]):
            if "upload" not in actions:
                continue
            with files.path(item.digest).open("rb") as source:
                self._send(way, actions["upload"], "PUT", source, item.size)
            if "verify" in actions:
                body = json.dumps({"oid": item.digest, "size": item.size}).encode()
                self._send(way, actions["verify"], "POST", io.BytesIO(body), len(body), _MEDIA)

    def download(self, pointer: Pointer, files: LocalFiles) -> None:
        """Brings a file here.

        Raises:
            NotFoundError: The other side does not have it.
            CorruptObjectError: It sends other bytes.
        """
        for way, item, actions in self._batches("download", [pointer]):
            if "download" not in actions:
                raise CorruptObjectError(f"{way.endpoint} does not say where the large file {item.digest} is")
            url, headers = _target(way, actions["download"])
            with self._ask(way, _request(url, headers)) as answer, files.spool() as target:
                hashed = hashlib.sha256()
                left = item.size
                while left >= 0 and (chunk := answer.read(CHUNK)):
                    left -= len(chunk)
                    hashed.update(chunk)
                    target.write(chunk)
                if left or hashed.hexdigest() != item.digest:
                    raise CorruptObjectError(f"{way.endpoint} sends other bytes than those of {item.digest}; not kept")
                files.keep(target, item.digest)

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
        source: BinaryIO,
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


def endpoint_of(address: Address) -> str:
    """Where a server has the LFS API of a repository, by git-lfs's rule."""
    url = address.url.rstrip("/")
    return f"{url}/info/lfs" if url.endswith(".git") else f"{url}.git/info/lfs"


def basic(user: str, token: str) -> dict[str, str]:
    """The header that signs in with a name and a token."""
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{token}'.encode()).decode()}"}


def copy_files(pointers: Iterable[Pointer], source: LocalFiles, target: LocalFiles) -> None:
    """Copies files between repositories on this machine, those that the one has and the other lacks."""
    for pointer in pointers:
        if target.path(pointer.digest).exists():
            continue
        file = source.open(pointer.digest)
        if file is not None:
            with file, target.spool() as spooled:
                shutil.copyfileobj(file, spooled, CHUNK)
                target.keep(spooled, pointer.digest)


def local_files(address: Address) -> LocalFiles:
    """The large files of a repository that a `file` address names."""
    path = Path(unquote(urlsplit(address.url).path))
    return LocalFiles(path / ".git" if (path / ".git").is_dir() else path)


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
