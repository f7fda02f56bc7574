"""What is new on both sides since the last time: cursors into the change feeds, which are hints and nothing more."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from padre_core.backends.backend import Backend
from padre_core.objects import canonical
from padre_core.objects.references import Ref

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Cursors:
    """How far a remote was synced.

    Attributes:
        stores: The ids of both stores; cursors say nothing about others.
        waiting: Objects that could not be finished, and why.
    """

    stores: tuple[str, str]
    local: str | None = None
    remote: str | None = None
    waiting: Mapping[Ref, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class News:
    """What a feed says since a cursor.

    Attributes:
        etags: Of what changed; of all objects if `whole`.
        whole: Whether the feed began anew, because there was no cursor or it was no longer known.
    """

    etags: Mapping[Ref, str]
    cursor: str
    whole: bool


class CursorFile:
    """Cursors in a file of the user's state folder, or in memory only; a damaged or lost file costs one comparison."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._kept: dict[str, Cursors] = {}

    def load(self, remote: str, stores: tuple[str, str]) -> Cursors:
        """The cursors of a remote; empty ones if none are known of these two stores."""
        kept = self._read().get(remote)
        return kept if kept is not None and kept.stores == stores else Cursors(stores)

    def save(self, remote: str, cursors: Cursors) -> None:
        """Notes cursors; what is lost, on a full disk or of two saved at once, costs a second look."""
        self._kept = {**self._read(), remote: cursors}
        if self.path is None:
            return
        data = {
            name: {
                "stores": kept.stores,
                "local": kept.local,
                "remote": kept.remote,
                "waiting": [(*ref, why) for ref, why in sorted(kept.waiting.items())],
            }
            for name, kept in self._kept.items()
        }
        try:
            _replace(self.path, canonical.to_json(data))
        except OSError as error:
            logger.warning("what was synced is not noted in %s, and is compared again: %s", self.path, error.strerror)

    def _read(self) -> dict[str, Cursors]:
        if self.path is None:
            return self._kept
        try:
            data = canonical.from_json(self.path.read_bytes())
            return {
                str(name): Cursors(
                    stores=(str(kept["stores"][0]), str(kept["stores"][1])),
                    local=kept["local"],
                    remote=kept["remote"],
                    waiting={(str(kind), str(id)): str(why) for kind, id, why in kept["waiting"]},
                )
                for name, kept in data.items()
            }
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
            return {}


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(name, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def news(backend: Backend, cursor: str | None) -> News:
    """What changed since a cursor, or all if there is none."""
    etags: dict[Ref, str] = {}
    whole = cursor is None
    more = True
    while more:
        part = backend.changes(cursor)
        if part.reset:
            etags, whole = {}, True
        etags.update({(change.kind, change.id): change.etag for change in part.entries})
        cursor, more = part.cursor, part.more
    return News(etags, cursor or "", whole)


def past_own(backend: Backend, cursor: str | None, own: Mapping[Ref, str | None]) -> str | None:
    """A cursor moved past what this sync wrote itself, up to the first page with anything else."""
    while True:
        part = backend.changes(cursor)
        if part.reset or any(own.get((change.kind, change.id)) != change.etag for change in part.entries):
            return cursor
        cursor = part.cursor
        if not part.more:
            return cursor
