"""Blobs of a store with logs: small ones lie in a log at first, larger ones are files at once."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

from padre_core.backends import blobs, layout
from padre_core.backends.bytestore import ByteStore
from padre_core.errors import NotFoundError
from padre_core.objects import canonical
from padre_core.objects.base import BlobReference
from padre_core.objects.identity import check_digest
from padre_core.streams.journal import Journal

SMALL_BLOB = 16 * 1024
"""Up to how many bytes a blob is acknowledged in the log: a file of its own costs as much as twenty records."""


class LoggedBlobs:
    """Finds blobs in the logs and in the tree."""

    def __init__(self, store: ByteStore, journal: Journal) -> None:
        self._store, self._journal = store, journal
        self._loose = False
        self.after_fork()

    def after_fork(self) -> None:
        """Forgets what the parent's threads held."""
        self._syncing = threading.Lock()

    def write(self, source: BinaryIO, media_type: str = "application/octet-stream") -> BlobReference:
        """Acknowledges what is left in a file."""
        start = blobs.read_start(source, SMALL_BLOB + 1)
        if len(start) > SMALL_BLOB:
            reference = blobs.write_blob(self._store, source, media_type, start)
            self._loose = True
            return reference
        digest = canonical.digest(start)
        self._journal.put_blobs([(digest, start)])
        return BlobReference(digest=digest, media_type=media_type, size=len(start))

    def write_many(self, data: Sequence[bytes], digests: Sequence[str] | None) -> list[BlobReference]:
        """Acknowledges blobs that are in memory, the small ones in one go; see `Backend.write_blobs`."""
        references = blobs.named(data, digests)
        pairs = [(one.digest, part) for one, part in zip(references, data, strict=True)]
        self._journal.put_blobs(pair for pair in pairs if len(pair[1]) <= SMALL_BLOB)
        large = [(layout.blob_key(digest), part) for digest, part in pairs if len(part) > SMALL_BLOB]
        if large:
            self._store.write_new(large)
            self._loose = True
        return references

    def sync(self) -> None:
        """Returns when the files of blobs survive the loss of power, before the records that speak of them do."""
        with self._syncing:  # whoever finds nothing to sync must know that another thread has done it, not begun it
            if self._loose:
                self._loose = False
                try:
                    self._store.sync()
                except BaseException:
                    self._loose = True
                    raise

    def open(self, digest: str) -> BinaryIO:
        """A blob, wherever it is, as a file that checks its digest."""
        check_digest(digest)
        data = self._journal.blob(digest)
        if data is None:
            try:
                return blobs.open_blob(self._store, digest)
            except NotFoundError:
                self.logged()
                data = self._journal.blob(digest)
        if data is None:
            return blobs.open_blob(self._store, digest)  # folded meanwhile, or never there
        return blobs.verified(io.BytesIO(data), digest)

    def known(self, digests: Iterable[str]) -> set[str]:
        """Those of some digests of which there is a blob."""
        asked = set(digests)
        logged = asked & self.logged()
        renew = not self._journal.readonly
        stored = {digest for digest in asked - logged if blobs.has_blob(self._store, digest, renew=renew)}
        if stored and renew:
            self._loose = True  # who wrote them may not have synced them yet
        return logged | stored

    def all(self) -> Iterator[str]:
        """The digests of all blobs."""
        logged = self.logged()
        for digest in blobs.list_blobs(self._store):
            logged.discard(digest)
            yield digest
        yield from logged

    def logged(self) -> set[str]:
        """The digests of all blobs in the logs."""
        with self._journal.lock:
            self._journal.scan()
            return {digest for view in self._journal.views.values() for digest in view.blobs}
