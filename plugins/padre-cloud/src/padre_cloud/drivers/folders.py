"""Any other filesystem that fsspec has, by what all of them can do."""

from __future__ import annotations

import datetime as dt
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, TypeVar

import fsspec

from padre_cloud.drivers.base import PART, Driver, Limits, Part, check_options
from padre_cloud.places import Place
from padre_core.backends.bytestore import Entry, IfMatch
from padre_core.errors import (
    AccessDeniedError,
    BackendError,
    ConflictError,
    NotFoundError,
    PadreError,
    UnavailableError,
    UnsupportedError,
)

Answer = TypeVar("Answer")

_ETAGS = ("ETag", "etag", "generation", "version_id", "checksum")
_TIMES = ("mtime", "LastModified", "modified", "last_modified", "updated", "modify", "created")
_FOLDERS = frozenset(["arrow_hdfs", "file", "ftp", "hdfs", "local", "sftp", "smb", "webdav", "webdavs", "webhdfs"])
"""Where a file is written bit by bit, and moved over another in one step."""


class FolderDriver(Driver):
    """A folder of a filesystem.

    Few of them are safe to use from several threads, and none says whether it is; so one call is made at a time.
    """

    def __init__(self, place: Place, options: dict[str, Any], limits: Limits) -> None:
        super().__init__(place, limits)
        self._options = options
        self._lock = threading.RLock()
        self._made: set[str] = set()
        self._fs: Any = None
        self._moves = (place.scheme, *place.chain)[-1] in _FOLDERS
        # Of memory this process is the only user, so that a lock is as good as a condition.
        self.conditional = place.scheme == "memory"
        self.persistent = place.scheme != "memory"
        self.root = self.connect()

    def connect(self) -> str:
        """Makes the filesystem, and returns the path of the store in it."""
        url = self.place.url.removeprefix("fsspec+")
        if self.place.chain:
            return self._connect_chain(url)
        cls = fsspec.get_filesystem_class(self.place.scheme)
        check_options(self.place, cls, self._options, {"host", "username", "port"})
        self._fs = cls(**{**cls._get_kwargs_from_urls(url), **self._options, "skip_instance_cache": True})
        return str(cls._strip_protocol(url)).rstrip("/")

    def _connect_chain(self, url: str) -> str:
        """The same for filesystems that stand upon each other; each takes the options under its scheme."""
        if unknown := sorted(self._options.keys() - set(self.place.chain)):
            raise UnsupportedError(
                f"{self.place.url}: unknown option {unknown[0]!r:.80} (impossible); each scheme of a chain has one"
            )
        named = {scheme: {**self._options.get(scheme, {}), "skip_instance_cache": True} for scheme in self.place.chain}
        self._fs, root = fsspec.url_to_fs(url, **named)
        return str(root).rstrip("/")

    def mapped(self, what: str, call: Callable[[Any], Answer]) -> Answer:
        """Makes a call of the filesystem, which is connected again if it was lost; turns its errors into PaDRe's."""
        with self._lock:
            try:
                if self._fs is None:
                    self.connect()
                return call(self._fs)
            except PadreError:
                raise
            except (FileNotFoundError, NotADirectoryError):
                raise NotFoundError(f"{self.place.url} has no {what}") from None
            except PermissionError:
                raise AccessDeniedError(f"{self.place.url}: permission denied for {what}") from None
            except Exception as error:  # noqa: BLE001  # drivers raise whatever their libraries do
                if self.lost(error):
                    self._fs = None
                    raise UnavailableError(
                        f"{self.place.url}: no answer for {what}: {type(error).__name__}; try again"
                    ) from None
                raise BackendError(f"{self.place.url}: {what}: {type(error).__name__}") from None

    def lost(self, error: Exception) -> bool:
        """Whether the error says that the connection is lost."""
        return isinstance(error, ConnectionError | TimeoutError | EOFError)

    def read(self, key: str, start: int = 0, end: int | None = None, *, version: str | None = None) -> Part:
        path = f"{self.root}/{key}"

        def call(fs: Any) -> Part:
            info = fs.info(path)  # first: bytes that are newer than their version are read again, older ones never
            if info["type"] != "file":
                raise NotFoundError(f"{self.place.url} has no {key}")
            now, size = self.version(info), int(info["size"])
            if version not in (None, now):
                raise ConflictError(f"{key} in {self.place.url} was changed meanwhile")
            stop = size if end is None else min(end, size)
            ranged = start or stop < size
            if ranged and start >= stop:
                return Part(b"", now, size)
            return Part(self.cat(fs, path, start, stop) if ranged else fs.cat_file(path), now, size)

        return self.mapped(key, call)

    def cat(self, fs: Any, path: str, start: int, end: int) -> bytes:
        """A range of bytes."""
        with fs.open(path, "rb", cache_type="none") as file:
            file.seek(start)
            data: bytes = file.read(end - start)
            return data

    def write(self, key: str, data: bytes, if_match: IfMatch = None) -> str:
        def put(fs: Any, path: str) -> None:
            fs.pipe_file(path, data)

        return self.mapped(key, lambda fs: self._put(fs, key, put))

    def upload(self, key: str, file: BinaryIO, size: int) -> None:
        def put(fs: Any, path: str) -> None:
            file.seek(0)
            with self.create(fs, path) as target:
                try:
                    shutil.copyfileobj(file, target, PART)
                except BaseException:
                    if not self._moves:
                        target.discard()
                    raise
            if not self._moves:
                target.commit()

        self.mapped(key, lambda fs: self._put(fs, key, put))

    def create(self, fs: Any, path: str) -> Any:
        """A file to write into from its start."""
        return fs.open(path, "wb", block_size=PART, autocommit=self._moves)

    def _put(self, fs: Any, key: str, put: Callable[[Any, str], None]) -> str:
        path = f"{self.root}/{key}"
        folder, _, name = path.rpartition("/")
        if folder not in self._made:
            fs.makedirs(folder, exist_ok=True)
            self._made.add(folder)
        if not self._moves:
            put(fs, path)
            return self.version(fs.info(path))
        temporary = f"{folder}/.{name[:100]}-{secrets.token_hex(6)}.tmp"
        try:
            put(fs, temporary)
            self.replace(fs, temporary, path)
        except FileNotFoundError:
            self._made.discard(folder)
            raise
        return self.version(fs.info(path))

    def replace(self, fs: Any, source: str, target: str) -> None:
        """Moves a file over another in one step."""
        fs.mv(source, target)

    def delete(self, key: str, version: str | None = None) -> None:
        self.mapped(key, lambda fs: fs.rm_file(f"{self.root}/{key}"))

    def stat(self, key: str) -> Entry:
        info = self.mapped(key, lambda fs: fs.info(f"{self.root}/{key}"))
        if info["type"] != "file":
            raise NotFoundError(f"{self.place.url} has no {key}")
        return self._entry(key, info)

    def list(self, prefix: str, after: str) -> Iterator[Entry]:
        folder, slash, start = prefix.rpartition("/")
        return self._walk(folder + slash, start, after)

    def touch(self, key: str) -> bool:
        # Where there is one writer, nobody removes under its hands what it is about to name.
        return not self.conditional

    def _walk(self, folder: str, start: str, after: str) -> Iterator[Entry]:
        """What lies in a folder (empty, or with a slash at its end) under names that begin with `start`."""
        for name, info in self._scan(folder):
            key = folder + name
            if not name.startswith(start) or name.startswith("."):
                continue
            if info["type"] == "directory":
                if key + "/" > after[: len(key) + 1] or after.startswith(key + "/"):
                    yield from self._walk(key + "/", "", after)
            elif key > after:
                yield self._entry(key, info)

    def _scan(self, folder: str) -> Sequence[tuple[str, Any]]:
        """The entries of a folder in the byte order of the keys that they lead to."""
        try:
            path = f"{self.root}/{folder}".rstrip("/")
            found = self.mapped(folder or "the listing", lambda fs: self.entries(fs, path or "/"))
        except NotFoundError:
            return []
        named = [(str(item["name"]).rstrip("/").rpartition("/")[2], item) for item in found]
        here = path.rpartition("/")[2]
        if len(named) == 1 and named[0][0] == here and named[0][1]["type"] == "file":
            return []  # a file is listed as itself
        return sorted(named, key=lambda item: item[0] + "/" if item[1]["type"] == "directory" else item[0])

    def entries(self, fs: Any, path: str) -> Sequence[Any]:
        """What lies in a folder now, past any cache."""
        fs.invalidate_cache()
        found: Sequence[Any] = fs.ls(path, detail=True)
        return found

    def _entry(self, key: str, info: Any) -> Entry:
        return Entry(key, self.version(info), int(info["size"]), self._time(info))

    @staticmethod
    def _time(info: Any) -> float | None:
        """When something was written, where the filesystem tells a time and not only a text."""
        when = next((info[name] for name in _TIMES if info.get(name)), None)
        if isinstance(when, dt.datetime):
            return when.timestamp()
        return float(when) if isinstance(when, int | float) else None

    def version(self, info: Any) -> str:
        """What changes with each write, as far as the filesystem has such a thing."""
        for name in _ETAGS:
            if info.get(name):
                return str(info[name])
        for name in _TIMES:
            if info.get(name):
                when = info[name]
                return f"{when.timestamp() if hasattr(when, 'timestamp') else when}-{info['size']}"
        raise BackendError(f"{self.place.url}: the filesystem tells neither etags nor times, so changes cannot be seen")

    def close(self) -> None:
        with self._lock:
            self._fs = None
