"""A place in the cloud as a byte store."""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, BinaryIO, TypeVar

from padre_cloud import places
from padre_cloud.drivers import open_driver
from padre_cloud.drivers.base import PART, BusyError, Driver, ExpiredError, Limits, Part, pause
from padre_cloud.files import open_reader, open_writer
from padre_cloud.probe import obeys_conditions, obeys_deletes
from padre_cloud.settings import options_of
from padre_core.backends.blobs import is_fresh
from padre_core.backends.bytestore import ABSENT, Absent, ByteStore, Entry, IfMatch, Item, Progress
from padre_core.backends.capabilities import Capabilities
from padre_core.errors import (
    AlreadyExistsError,
    AuthenticationError,
    ConflictError,
    InvalidObjectError,
    NotFoundError,
    UnavailableError,
)

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")
Given = TypeVar("Given")

_OF_PARENTS: list[object] = []
"""What a fork copied: it must not be freed here, for that would close what the parent goes on using."""

ABANDONED = 24 * 3600
"""Seconds after which an upload that did not end counts as left behind."""


class CloudStore(ByteStore):
    """A bucket, a container or a folder on a server: `s3://bucket/folder`, `gs://…`, `az://…`, `sftp://…` and others.

    Many processes and machines may use it at once where the provider has conditional writes. That is found out when
    the store is opened for writing, once for each place and machine. Where they are missing, the store is read-only
    unless the caller says `single_writer=True`.

    Args:
        timeout: Seconds for one request.
        attempts: How often a request is made before the store counts as unavailable.
        concurrency: Requests on their way at once.
        options: For the fsspec filesystem, such as `endpoint_url`; what is not given is taken from `cloud.toml` in the
            user's settings, and from fsspec's own configuration.

    Raises:
        InvalidObjectError: The URL holds a password, or more than a place.
        UnsupportedError: The scheme is not allowed, or an option unknown.
        PluginLoadError: The provider's filesystem is not installed; the message says what to install.
    """

    dated = True

    def __init__(
        self,
        url: str,
        *,
        readonly: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(url, readonly=readonly)
        self._place = places.parse(url)
        self.url = self._place.url
        options = {**options_of(self.url), **options}
        self.single_writer = bool(options.pop("single_writer", False))
        timeout = float(options.pop("timeout", Limits.timeout))
        attempts = int(options.pop("attempts", Limits.attempts))
        concurrency = int(options.pop("concurrency", Limits.concurrency))
        if not (timeout > 0 and attempts >= 1 and 1 <= concurrency <= 256):
            raise InvalidObjectError(f"{url}: timeout is above 0, attempts from 1 on, concurrency from 1 to 256")
        self._limits = Limits(timeout, attempts, concurrency)
        self.together = concurrency
        self._options: Mapping[str, Any] = options
        self._writing = threading.RLock()
        self._connect()
        driver = self._driver
        self.rereads = PART + 1 if driver.rereads else 0
        self.capabilities = Capabilities(
            persistent=driver.persistent,
            multi_process=driver.persistent,
            shared=driver.persistent,
            conditional_write=driver.conditional and (readonly or obeys_conditions(driver)),
            streaming=driver.persistent,
            presign=driver.presigns,
        )

    def _connect(self) -> None:
        self._process = os.getpid()
        self._made = open_driver(self._place, self._options, self._limits)
        self._pool = ThreadPoolExecutor(self._limits.concurrency, thread_name_prefix="padre-cloud")

    @property
    def _driver(self) -> Driver:
        if self._process != os.getpid():  # connections and loops are not for the child of a fork
            self._writing = threading.RLock()
            _OF_PARENTS.append((self._made, self._pool))
            self._connect()
        return self._made

    def read(self, key: str) -> Item:
        part = self._repeat(lambda: self._driver.read(key))
        return Item(part.data, part.version)

    def read_many(self, keys: Iterable[str]) -> Iterator[Item | None]:
        return self._ahead(self._there, keys)

    def read_starts(self, keys: Iterable[str], length: int) -> Iterator[bytes | None]:
        def start(key: str) -> bytes | None:
            with contextlib.suppress(NotFoundError):
                return self.read_range(key, 0, length)
            return None

        return self._ahead(start, keys)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        if not length:
            self.stat(key)
            return b""
        return self._repeat(lambda: self._driver.read(key, start, start + length)).data

    def write(self, key: str, data: bytes, *, if_match: IfMatch = None) -> str:
        driver = self._driver
        guarded = if_match is not None and not (self.capabilities.conditional_write and driver.persistent)
        lost = False

        def attempt() -> str:
            nonlocal lost
            try:
                if guarded:
                    self._check(key, if_match)
                return driver.write(key, data, if_match)
            except BusyError:
                raise
            except UnavailableError:
                lost = True
                raise
            except ConflictError:
                # After a lost answer the one who was faster may have been ourselves.
                if lost and (there := self._there(key)) is not None and there.data == data:
                    return there.version
                raise

        with self._writing if guarded else contextlib.nullcontext():
            try:
                return self._repeat(attempt)
            except AlreadyExistsError:
                raise
            except ConflictError as error:
                if isinstance(if_match, Absent):
                    raise AlreadyExistsError(f"{self.url} has {key} already") from error
                raise

    def _check(self, key: str, if_match: IfMatch) -> None:
        """Looks whether a condition holds, for the one writer of a store that cannot."""
        try:
            version = self._driver.stat(key).version
        except NotFoundError:
            version = None
        if version is not None if isinstance(if_match, Absent) else version != if_match:
            raise ConflictError(f"{key} in {self.url} was changed meanwhile")

    def _there(self, key: str) -> Item | None:
        try:
            return self.read(key)
        except NotFoundError:
            return None

    def delete(self, key: str) -> None:
        with contextlib.suppress(NotFoundError):
            self._repeat(lambda: self._driver.delete(key))

    def delete_many(self, keys: Iterable[str]) -> None:
        if self._driver.deletes_many:
            together = list(keys)
            self._repeat(lambda: self._driver.delete_many(together))
            return
        for _ in self._ahead(self.delete, keys):
            pass

    def delete_unchanged(self, entries: Sequence[Entry]) -> Iterator[Entry]:
        if not self._deletes_unchanged:
            yield from super().delete_unchanged(entries)
            return
        for entry, gone in zip(entries, self._ahead(self._removed, entries), strict=True):
            if gone:
                yield entry

    @functools.cached_property
    def _deletes_unchanged(self) -> bool:
        return self._repeat(lambda: obeys_deletes(self._driver))

    def _removed(self, entry: Entry) -> bool:
        if not self.is_unchanged(entry):
            return False
        try:
            self._driver.delete(entry.key, entry.version)
        except (ConflictError, NotFoundError):  # somebody needs it, or was faster
            return False
        except UnavailableError as error:
            # Not tried again: it may be gone, and the same bytes may be there again by now, under the same version.
            logger.info("%s: whether %s is removed is not known: %s", self.url, entry.key, error)
            return False
        return True

    def list(self, prefix: str, *, after: str = "") -> Iterator[Entry]:
        last = after
        failed = 0
        while True:
            try:
                for entry in self._driver.list(prefix, last):
                    if not _hidden(entry.key):
                        yield entry
                    last, failed = entry.key, 0
                return
            except ExpiredError:
                failed += 1
                if failed > 1:
                    raise
                self._driver.refresh()
            except UnavailableError:
                failed += 1
                if failed >= self._limits.attempts:
                    raise
                time.sleep(pause(failed))

    def stat(self, key: str) -> Entry:
        return self._repeat(lambda: self._driver.stat(key))

    def open_reader(self, key: str) -> BinaryIO:
        def read(start: int, end: int, *, version: str | None = None) -> Part:
            return self._repeat(lambda: self._driver.read(key, start, end, version=version))

        return open_reader(read, self._pool)

    def open_writer(self, key: Callable[[], str]) -> AbstractContextManager[BinaryIO]:
        return open_writer(key, self._write_new, self.send)

    def _write_new(self, key: str, data: bytes) -> None:
        """Stores bytes under a key that follows from them.

        Who saw the same bytes there when they were old, and is about to remove them, must see that they are not: where
        they would have the same version again they are not written over, but renewed.
        """
        if not (self._driver.versions_follow_bytes and self.capabilities.conditional_write):
            self.write(key, data)
            return
        for _ in range(self._limits.attempts):
            try:
                self.write(key, data, if_match=ABSENT)
                return
            except AlreadyExistsError:
                with contextlib.suppress(NotFoundError):
                    there = self.stat(key)
                    if there.size == len(data) and (is_fresh(there) or self._touch(key)):
                        return
                    break
        self.write(key, data)

    def send(self, key: str, file: BinaryIO, size: int) -> None:
        try:
            there = self.stat(key)
            if there.size == size and (is_fresh(there) or self._touch(key)):
                return
        except NotFoundError:
            pass
        self._repeat(lambda: self._driver.upload(key, file, size))

    def write_new(self, items: Iterable[tuple[str, bytes]]) -> None:
        def write(item: tuple[str, bytes]) -> None:
            self._write_new(*item)

        for _ in self._ahead(write, items):
            pass

    def renew(self, key: str) -> None:
        if not self._touch(key):
            super().renew(key)

    def _touch(self, key: str) -> bool:
        return self._repeat(lambda: self._driver.touch(key))

    def presign(self, key: str, seconds: int) -> str:
        return self._driver.presign(key, seconds)

    def maintain(self, progress: Progress) -> dict[str, int]:
        progress("looking for uploads that did not end", 0, 0)
        count = self._repeat(lambda: self._driver.tidy(ABANDONED))
        return {"unfinished uploads removed": count} if count else {}

    def close(self) -> None:
        if self._process == os.getpid():
            self._pool.shutdown()
            self._made.close()

    def _repeat(self, call: Callable[[], Answer]) -> Answer:
        """Makes a call again while the provider cannot be reached, and once if credentials have expired."""
        refreshed = False
        for attempt in itertools.count(1):
            try:
                return call()
            except ExpiredError as error:
                if refreshed:
                    raise AuthenticationError(str(error)) from error
                refreshed = True
                self._driver.refresh()
            except UnavailableError:
                if attempt >= self._limits.attempts:
                    raise
                time.sleep(pause(attempt))
        raise AssertionError

    def _ahead(self, call: Callable[[Given], Answer], given: Iterable[Given]) -> Iterator[Answer]:
        """The answers in the order of what is given, while the next ones are asked for already."""
        pending: deque[Future[Answer]] = deque()
        todo = iter(given)
        try:
            while True:
                for one in itertools.islice(todo, 2 * self._limits.concurrency - len(pending)):
                    pending.append(self._pool.submit(call, one))
                if not pending:
                    return
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _hidden(key: str) -> bool:
    """Whether a key is none of a store: temporary files, and what others put there to stand for folders."""
    return key.endswith("/") or key.startswith(".") or "/." in key
