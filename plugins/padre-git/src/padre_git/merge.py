"""What two diverged branches come to: object by object, in memory, looking only at what differs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from padre_core.backends import layout
from padre_core.errors import CorruptObjectError, InvalidObjectError
from padre_core.objects.record import Record, encode
from padre_core.sync.copies import Copies
from padre_git.branch import MARKER
from padre_git.trees import BLOB_MODES, differing, find, walk

if TYPE_CHECKING:
    from padre_git.branch import Branch
    from padre_git.packs import Pack

_RUN = re.compile(r"runs/[0-9a-f]{2}/[0-9a-f]{2}/([0-9a-f-]{36})/")
_NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f\\\u202a-\u202e\u2066-\u2069]{1,300}")

MAX_NEW = 5_000_000
"""How many files one fetch may bring: a tree of a kilobyte may hold itself a million times."""

Logged = Mapping[str, list[Record]]
"""Records that only logs hold, by the file that they belong to."""


def check_tree(branch: Branch, before: Any, after: Any, where: str) -> None:
    """Checks what came from elsewhere, as far as it is new, before anything is done with it.

    Raises:
        CorruptObjectError: It holds what no store does: links, submodules, names that would hide, or too much.
        InvalidObjectError: It is no store, or one of a newer format.
    """
    found = find(after, MARKER)
    if found is None:
        raise InvalidObjectError(f"{where} has no {MARKER}, so it is no store: choose another branch with branch=")
    layout.decode_marker(after[MARKER].data, where)
    for count, key in enumerate(differing(before, after, where=branch.url)):
        if count >= MAX_NEW:
            raise CorruptObjectError(f"{where} holds more than {MAX_NEW} new files; nothing of it was taken up")
        found = find(after, key)
        bad = found is not None and (found.mode not in BLOB_MODES or ".git" in key.lower().split("/"))
        if bad or not _NAME.fullmatch(key):
            raise CorruptObjectError(
                f"{where} holds {key!a:.100}, which is no plain file with a plain name; nothing of it was taken up"
            )


@dataclass
class TreeMerge:
    """The merge of our branch with another one, as changes to our tree.

    Args:
        ours: The trees; `base` is the one that both were made from.
        logged: What only logs of this clone hold counts as ours.
        pack: Where new files wait.

    Attributes:
        entries: The blob that each key shall hold; None removes it.
    """

    branch: Branch
    ours: Any
    theirs: Any
    base: Any
    logged: Logged
    pack: Pack
    entries: dict[str, str | None] = field(default_factory=dict)
    _copies: Copies = field(default_factory=Copies)

    def run(self) -> None:
        """Fills `entries`."""
        changed_there = list(differing(self.base, self.theirs, where=self.branch.url))
        changed_here = {*differing(self.base, self.ours, where=self.branch.url), *self.logged}
        if not changed_here:
            self._take(changed_there)
            return
        shared = {folder for key in changed_there if (folder := _run_folder(key))}
        shared &= {folder for key in changed_here if (folder := _run_folder(key))}
        for folder in sorted(shared):
            self._run(folder)
        rest = [key for key in changed_there if _run_folder(key) not in shared]
        both = [key for key in rest if key in changed_here and key != MARKER]
        for key in both:
            self._file(key)
        self._take([key for key in rest if key not in both])
        self._note([key for key in rest if key not in both], ours=False)
        there = set(changed_there)
        self._note([key for key in changed_here if key not in there and _run_folder(key) not in shared], ours=True)
        for key, data in self._copies.uncovered(self._look).items():
            self.entries[key] = self._add(data)

    def made(self) -> list[Record]:
        """The records that neither side had."""
        return [record for _, record in self._copies.made]

    def _take(self, keys: Iterable[str]) -> None:
        for key in keys:
            found = find(self.theirs, key)
            self.entries[key] = None if found is None else found.id

    def _file(self, key: str) -> None:
        """A file that both sides changed; what one removed and the other changed stays."""
        ours, theirs, base = self._ours(key), self._data(self.theirs, key), self._data(self.base, key)
        if theirs is None or ours == theirs:
            return
        if ours is None:
            self._take([key])
            return
        if key.endswith(".gitattributes"):
            merged = b"".join(sorted({*ours.splitlines(keepends=True), *theirs.splitlines(keepends=True)}))
        else:
            merged = self._copies.file(key, ours, theirs, base)
        if merged != self._data(self.ours, key):
            self.entries[key] = self._add(merged)

    def _run(self, folder: str) -> None:
        ours, theirs, base = (self._files(tree, folder) for tree in (self.ours, self.theirs, self.base))
        here = dict(ours)
        for name in ("run.json", "children.json"):
            data = self._ours(folder + name)
            if data is not None:
                here[name] = data
        if not here or not theirs:
            merged: Mapping[str, bytes] = here or theirs
        else:
            merged = self._copies.run(folder.rstrip("/").rpartition("/")[2], here, theirs, base)
        for name in sorted({*ours, *merged}):
            data = merged.get(name)
            if data != ours.get(name):
                self.entries[folder + name] = None if data is None else self._add(data)

    def _note(self, keys: Iterable[str], *, ours: bool) -> None:
        for key in keys:
            if layout.is_record_key(key):
                data = self._ours(key) if ours else self._data(self.theirs, key)
                if data is not None:
                    self._copies.one_sided(key, data, self._data(self.base, key), ours=ours)

    def _ours(self, key: str) -> bytes | None:
        """What a file holds here, with what only the logs hold."""
        data = self._data(self.ours, key)
        news = self.logged.get(key)
        if not news:
            return data
        present = layout.decode_records(key, data) if data is not None else []
        heads = {(record.kind, record.id): record for record in present}
        for record in news:
            before = heads.get((record.kind, record.id))
            if before is not None and before.evicted == record.evicted:
                record = replace(record, summaries=before.summaries)
            heads[record.kind, record.id] = record
        if key.endswith("/children.json"):
            return layout.encode_children(list(heads.values()))
        (head,) = heads.values()
        return encode(head) + b"\n"

    def _look(self, key: str) -> bytes | None:
        """What a file holds after the merge."""
        if key in self.entries:
            id = self.entries[key]
            if id is None:
                return None
            waiting = self.pack.get(id)
            return self.branch.data(id, key) if waiting is None else waiting
        return self._ours(key)

    def _add(self, data: bytes) -> str:
        return self.pack.add("blob", data)

    def _data(self, tree: Any, key: str) -> bytes | None:
        found = find(tree, key)
        return None if found is None or not found.regular else self.branch.data(found.id, key)

    def _files(self, tree: Any, folder: str) -> dict[str, bytes]:
        entries = walk(tree, folder, where=self.branch.url)
        return {found.key[len(folder) :]: self.branch.data(found.id, found.key) for found in entries if found.regular}


def _run_folder(key: str) -> str | None:
    found = _RUN.match(key)
    return found[0] if found else None
