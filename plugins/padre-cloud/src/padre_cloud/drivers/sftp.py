"""Folders on servers that are reached by SSH."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import paramiko
from fsspec.implementations.sftp import SFTPFileSystem

from padre_cloud.drivers.base import check_options
from padre_cloud.drivers.folders import FolderDriver
from padre_core.errors import AccessDeniedError, AuthenticationError, UnavailableError

_CONNECT = (
    "allow_agent", "auth_timeout", "banner_timeout", "channel_timeout", "compress", "disabled_algorithms",
    "key_filename", "known_hosts", "look_for_keys", "passphrase", "password", "pkey", "port", "timeout", "username",
)  # fmt: skip


class _Sftp(SFTPFileSystem):  # type: ignore[misc]  # fsspec has no types
    """fsspec's filesystem, but it speaks only to hosts whose keys are known."""

    def _connect(self) -> None:
        self.client = paramiko.SSHClient()
        self.client.load_system_host_keys()
        if known := self.ssh_kwargs.pop("known_hosts", None):
            self.client.load_host_keys(str(Path(known).expanduser()))
        self.client.set_missing_host_key_policy(paramiko.RejectPolicy())
        self.client.connect(self.host, **self.ssh_kwargs)
        self.ftp = self.client.open_sftp()


class SftpDriver(FolderDriver):
    """A folder; a version is made of time and size.

    Times are in whole seconds, so a file that replaces another is made at least a second younger than that.
    """

    def connect(self) -> str:
        parts = urlsplit(self.place.url.removeprefix("fsspec+"))
        check_options(self.place, SFTPFileSystem, self._options, _CONNECT, {"ssh_kwargs", "host_key_policy"})
        self._times: dict[str, int] = {}
        given = {"username": parts.username, "port": parts.port, "timeout": self.limits.timeout, **self._options}
        try:
            self._fs = _Sftp(
                parts.hostname, skip_instance_cache=True, **{name: value for name, value in given.items() if value}
            )
        except paramiko.AuthenticationException:
            raise self._unknown() from None
        except paramiko.BadHostKeyException:
            raise AccessDeniedError(f"{self.place.url}: the server's key is not the one in known_hosts") from None
        except (paramiko.SSHException, OSError, EOFError) as error:
            if "No authentication methods" in str(error):
                raise self._unknown() from None
            if "known_hosts" in str(error):
                raise AccessDeniedError(
                    f"{self.place.url}: the server's key is not in known_hosts: `ssh {parts.hostname}` once, or name a "
                    "file that has it as known_hosts="
                ) from None
            raise UnavailableError(f"{self.place.url}: no connection: {type(error).__name__}") from None
        self._fs.ftp.get_channel().settimeout(self.limits.timeout)
        return f"/{self.place.folder}".rstrip("/")

    def _unknown(self) -> AuthenticationError:
        return AuthenticationError(
            f"{self.place.url}: the server does not know you: check the user, the agent and key_filename"
        )

    def lost(self, error: Exception) -> bool:
        closed = isinstance(error, OSError) and "closed" in str(error).lower()
        return closed or isinstance(error, paramiko.SSHException) or super().lost(error)

    def cat(self, fs: Any, path: str, start: int, end: int) -> bytes:
        with fs.ftp.open(path, "rb") as file:  # whose reads ask for the next 32 KB only when the last have come
            return b"".join(file.readv([(start, end - start)]))

    def create(self, fs: Any, path: str) -> Any:
        file = super().create(fs, path)
        file.set_pipelined(True)  # else it waits for an answer every 32 KB; what was refused is raised at the end
        return file

    def replace(self, fs: Any, source: str, target: str) -> None:
        before = self._times.pop(target, 0)
        with contextlib.suppress(FileNotFoundError):
            before = max(before, fs.ftp.stat(target).st_mtime)
        when = max(int(time.time()), before + 1)
        fs.ftp.utime(source, (when, when))
        fs.ftp.posix_rename(source, target)

    def delete(self, key: str, version: str | None = None) -> None:
        path = f"{self.root}/{key}"
        when = self.mapped(key, lambda fs: fs.ftp.stat(path).st_mtime)
        super().delete(key)
        self._times[path] = when  # a file that is made again there must not look like this one

    def close(self) -> None:
        with self._lock:
            if self._fs is not None:
                self._fs.client.close()
        super().close()
