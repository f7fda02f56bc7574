"""Folders on WebDAV servers."""

from __future__ import annotations

import inspect
from typing import Any
from urllib.parse import urlsplit

import httpx
from webdav4.client import HTTPError
from webdav4.fsspec import WebdavFileSystem

from padre_cloud.drivers.base import check_options
from padre_cloud.drivers.folders import FolderDriver
from padre_core.errors import AccessDeniedError, AuthenticationError, InvalidObjectError
from padre_core.hosts import is_loopback


class WebdavDriver(FolderDriver):
    """A folder; a version is the server's etag, or made of time and size."""

    def connect(self) -> str:
        parts = urlsplit(self.place.url.removeprefix("fsspec+"))
        client = inspect.signature(httpx.Client.__init__).parameters
        check_options(
            self.place, WebdavFileSystem, self._options, {*client, "http_client"}, {"base_url", "client", "client_opts"}
        )
        scheme = "https" if self.place.scheme == "webdavs" else "http"
        if scheme == "http" and not is_loopback(parts.hostname or ""):
            raise InvalidObjectError(f"{self.place.url}: only servers on this machine are spoken to openly: webdavs://")
        options = {"timeout": self.limits.timeout, **self._options}
        if isinstance(options.get("auth"), list):
            options["auth"] = tuple(options["auth"])
        self._fs = WebdavFileSystem(f"{scheme}://{parts.netloc}", skip_instance_cache=True, **options)
        return self.place.folder

    def mapped(self, what: str, call: Any) -> Any:
        def checked(fs: Any) -> Any:
            try:
                return call(fs)
            except HTTPError as error:
                status = error.response.status_code
                if status == 401:
                    raise AuthenticationError(
                        f"{self.place.url}: the server does not know you: give auth=(user, password)"
                    ) from None
                if status == 403:
                    raise AccessDeniedError(f"{self.place.url}: permission denied for {what}") from None
                if status in (408, 429) or status >= 500:
                    raise ConnectionError from None
                raise

        return super().mapped(what, checked)

    def lost(self, error: Exception) -> bool:
        return isinstance(error, httpx.TransportError) or super().lost(error)

    def replace(self, fs: Any, source: str, target: str) -> None:
        fs.client.move(source, target, overwrite=True)

    def close(self) -> None:
        with self._lock:
            if self._fs is not None:
                self._fs.client.http.close()
        super().close()
