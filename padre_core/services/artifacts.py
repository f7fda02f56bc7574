"""Artifacts: files in and out."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from padre_core import query
from padre_core.backends.blobs import read_start
from padre_core.errors import InvalidObjectError
from padre_core.objects.artifact import Artifact
from padre_core.objects.base import Handle, PadreObject, meant
from padre_core.objects.identity import is_run_id
from padre_core.pausing import collector_paused
from padre_core.services.files import Progress, Source, Target, open_source, pieces
from padre_core.services.service import Service

if TYPE_CHECKING:
    from mimetypes import MimeTypes

UNKNOWN = "application/octet-stream"

SMALL = 64 * 1024
"""Files up to this size are stored and fetched together; stored so many at once, and so many bytes."""
GROUP_FILES = 1000
GROUP_BYTES = 4 * 1024 * 1024


class ArtifactService(Service[Artifact]):
    """Stores and finds artifacts, and moves their bytes."""

    def upload(
        self,
        owner: PadreObject | Handle | str,
        source: Source,
        *,
        path: str | None = None,
        media_type: str | None = None,
        owner_kind: str = "run",
        progress: Progress | None = None,
    ) -> Artifact:
        """Stores a file with an object; the same path again stores a new version of it.

        Args:
            owner: The object, or its id or name path.
            path: What to call it within the owner; by default the name of the file.
            owner_kind: What kind of object an id or name path means.

        Raises:
            InvalidObjectError: The source names no regular file, or the path is missing or malformed.
        """
        name = path if path is not None else _name(source)
        above = meant(owner)
        kind = above.kind if isinstance(above, PadreObject) else owner_kind
        draft = Artifact(owner=owner, owner_kind=kind, path=name, digest="0" * 64, size=0)  # type: ignore[arg-type]
        media_type = media_type or _type_of(draft.path)
        _, id = self._resolve_parent(draft, create=True)
        if id is not None:
            self.records.place(kind, id)
        with open_source(source, progress) as file:
            blob = self.backend.write_blob(file, media_type=media_type)
        # Past validation: the backend says so.
        draft.__dict__.update(digest=blob.digest, size=blob.size, media_type=media_type)
        return self.put(draft)

    def upload_all(self, run: str, files: Iterable[tuple[str, BinaryIO]]) -> list[Artifact]:
        """Stores files with a run under their paths, many small ones in one go.

        Args:
            run: Its id.
            files: Each is read before the next one is asked for.
        """
        stored: list[Artifact] = []
        small: list[tuple[str, bytes]] = []
        size = 0
        for path, file in files:
            start = read_start(file, SMALL + 1)
            if len(start) > SMALL:
                file.seek(0)
                stored.append(self.upload(run, file, path=path))
                continue
            small.append((path, start))
            size += len(start)
            if len(small) == GROUP_FILES or size > GROUP_BYTES:
                stored += self._upload_small(run, small)
                small, size = [], 0
        return stored + self._upload_small(run, small)

    def _upload_small(self, run: str, files: Sequence[tuple[str, bytes]]) -> list[Artifact]:
        if not files:
            return []
        self.records.place("run", run)
        with collector_paused():
            drafts = [_draft(run, path) for path, _ in files]
            for draft, blob in zip(drafts, self.backend.write_blobs([data for _, data in files]), strict=True):
                draft.__dict__.update(digest=blob.digest, size=blob.size)  # past validation: the backend says so
            return list(self._put_new(drafts))

    def open(self, artifact: Artifact | str) -> BinaryIO:
        """The bytes of an artifact as a file, which checks their digest when it is read to the end.

        Raises:
            NotFoundError: The artifact, or its bytes, are not here.
        """
        return self.backend.open_blob(self.get(artifact, refresh="never").digest)

    def read(self, artifact: Artifact | str) -> bytes:
        """The bytes of an artifact.

        Raises:
            CorruptObjectError: They are not what was stored.
        """
        with self.open(artifact) as file:
            return file.read()

    def presign(self, artifact: Artifact | str, seconds: int = 3600) -> str:
        """A URL by which whoever has it fetches an artifact without PaDRe, for so many seconds, such as in a browser.

        Raises:
            UnsupportedError: The store has no such URLs; buckets have.
            AuthenticationError: The store's credentials cannot sign.
        """
        return self.backend.presign_blob(self.get(artifact, refresh="never").digest, seconds)

    def download(
        self,
        object: PadreObject | Handle | str,
        to: str | os.PathLike[str],
        *,
        progress: Progress | None = None,
    ) -> list[Path]:
        """Writes an artifact, or all artifacts of an object, below a folder, and returns the paths.

        Args:
            object: An artifact or its id; or the object that the artifacts belong to, or its id.

        Raises:
            InvalidObjectError: A stored path would leave the folder.
            BackendError: A file cannot be written.
        """
        root = Path(to)
        artifacts = self._artifacts_of(object)
        waiting: dict[str, list[Artifact]] = {}
        for artifact in artifacts:
            waiting.setdefault(artifact.digest, []).append(artifact)
        small = [digest for digest, same in waiting.items() if same[0].size <= SMALL]
        with contextlib.closing(Target(root)) as target:
            for digest, data in self.backend.read_blobs(small):
                for artifact in waiting.pop(digest):
                    target.create(artifact.path, [data], artifact.size, progress)
            for artifact in itertools.chain.from_iterable(waiting.values()):
                with self.backend.open_blob(artifact.digest) as source:
                    target.create(artifact.path, pieces(source), artifact.size, progress)
        return [root.joinpath(*artifact.path.split("/")) for artifact in artifacts]

    def _artifacts_of(self, object: PadreObject | Handle | str) -> list[Artifact]:
        if isinstance(object, Artifact):
            return [self.get(object, refresh="never")]
        if isinstance(object, str) and "://" in object:
            return [self.get(object, refresh="never")]
        owner = self.container(object)
        if isinstance(object, str) and self.records.peek(self.kind, owner) is not None:
            return [self.get(owner, refresh="never")]
        if is_run_id(owner):  # what is in a run needs no index
            return list(self.list(within=owner))
        return list(self.list(query.Compare(query.Field(("owner",)), query.Operator.EQ, owner)))


def _draft(run: str, path: str) -> Artifact:
    """An artifact whose bytes are not stored yet, so that a path that will not do leaves none behind."""
    return Artifact(owner=run, path=path, digest="0" * 64, size=0, media_type=_type_of(path))


def _type_of(path: str) -> str:
    """The media type that the endings of a file's name stand for."""
    _, _, endings = path.rpartition("/")[2].lstrip(".").partition(".")
    return _type_of_endings(endings)


@functools.lru_cache(maxsize=1024)  # those of a folder are few
def _type_of_endings(endings: str) -> str:
    return _known_types().guess_type(f"file.{endings}")[0] or UNKNOWN


def _name(source: Source) -> str:
    if isinstance(source, str | os.PathLike):
        return Path(source).name
    if not isinstance(source, bytes | bytearray | memoryview) and not hasattr(source, "read"):
        raise InvalidObjectError(f"expected the path of a file, bytes or a binary file, not {type(source).__name__}")
    raise InvalidObjectError("give the path= under which the bytes are to be stored")


@functools.cache
def _known_types() -> MimeTypes:
    from mimetypes import MimeTypes

    return MimeTypes()  # the tables of the machine would make types differ between machines
