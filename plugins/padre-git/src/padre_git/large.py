"""The large files of a clone: sent before the commits that speak of them, fetched when somebody reads them."""

from __future__ import annotations

import json
import threading
from typing import Any
from urllib.parse import urlsplit

from padre_core.errors import AccessDeniedError, BackendError, NotFoundError, UnsupportedError
from padre_core.hosts import is_loopback
from padre_git import lfs, lfs_api
from padre_git.branch import Branch
from padre_git.lfs import LocalFiles, Pointer
from padre_git.lfs_api import Remote, Way
from padre_git.transport import Transport
from padre_git.trees import differing, find


class CloneFiles:
    """Brings large files between a clone and where it comes from. Safe for threads.

    Args:
        endpoint: Where the other side has its LFS API, if not where git-lfs looks for it.
    """

    def __init__(
        self, transport: Transport, files: LocalFiles, branch: str, *, idle: float, endpoint: str | None = None
    ) -> None:
        self._transport, self._files, self._endpoint = transport, files, endpoint
        self._near = lfs.local_files(transport.address) if transport.address.protocol == "file" else None
        self._remote = Remote(self._way, branch, idle=idle, authority=transport.authority())
        self._lock = threading.Lock()
        self._headers: dict[str, str] | None = None
        self._taken = False

    def accept(self, pointer: Pointer) -> None:
        """Asks once whether the other side takes large files; while it is away, they are taken here.

        Raises:
            UnsupportedError: It has no LFS.
        """
        if self._near is None and not self._taken:
            try:
                self._remote.probe(pointer)
            except UnsupportedError:
                raise
            except BackendError:
                return
            self._taken = True

    def fetch(self, pointer: Pointer) -> None:
        """Brings a file here.

        Raises:
            NotFoundError: The other side does not have it.
        """
        if self._near is None:
            self._remote.download(pointer, self._files)
            return
        lfs.copy_files([pointer], self._near, self._files)
        if not self._files.path(pointer.digest).exists():
            raise NotFoundError(f"{self._transport.address.url} does not have the large file {pointer.digest}")

    def send(self, branch: Branch, before: str | None, after: str) -> None:
        """Sends the files that a commit speaks of and an earlier one does not."""
        pointers = list(_pointers(branch, before, after))
        if self._near is not None:
            lfs.copy_files(pointers, self._files, self._near)
        elif pointers:
            self._remote.upload(pointers, self._files)

    def _way(self, operation: str) -> Way:
        address = self._transport.address
        if address.protocol == "ssh" and self._endpoint is None:
            return _told(address.url, self._transport.authenticate(operation))
        with self._lock:
            if self._headers is None:
                found = self._transport.credentials()
                self._headers = {} if found is None else lfs_api.basic(*found)
            return Way(self._endpoint or lfs_api.endpoint_of(address), self._headers)


def _pointers(branch: Branch, before: str | None, after: str) -> list[Pointer]:
    old, new = (None if commit is None else branch.tree(commit) for commit in (before, after))
    found = []
    for key in differing(old, new, where=branch.url):
        entry = find(new, key) if key.startswith("blobs/") else None
        if entry is not None and branch.size(entry.id, key) <= lfs.MAX_POINTER:
            pointer = lfs.pointer_at(key, branch.data(entry.id, key))
            if pointer is not None:
                found.append(pointer)
    return found


def _told(url: str, answer: bytes) -> Way:
    """What `git-lfs-authenticate` says."""
    try:
        data: Any = json.loads(answer)
        href = str(data["href"])
        headers = {str(name): str(value) for name, value in (data.get("header") or {}).items()}
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UnsupportedError(f"{url} has no Git LFS over ssh; give the URL of its API as lfs_url=") from None
    parts = urlsplit(href)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        raise AccessDeniedError(f"{url} names an LFS API without TLS, which is not used")
    return Way(href.rstrip("/"), headers)
