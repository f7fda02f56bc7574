"""Two copies of one store that were changed apart, brought together file by file.

Whoever keeps the open layout where copies diverge, such as in branches of a repository, says what each side and their
last common state hold; what they come to follows the same rules as everything else that diverges, see
`docs/local-first.md`. Neither side's records are lost: a version that loses stays beside the head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from padre_core.backends import layout
from padre_core.backends.tree import Part, chains, decode_part, encode_part, joined, same_summaries, summaries_with
from padre_core.errors import CorruptObjectError, InvalidObjectError
from padre_core.objects import envelope
from padre_core.objects.record import Record, encode
from padre_core.objects.references import Ref
from padre_core.sync.kin import generations
from padre_core.sync.merge import join, revived

Files = Mapping[str, bytes]
"""The files of a folder by name."""

Heads = dict[Ref, Record]


@dataclass
class Copies:
    """The merge of two copies; hand in every file that differs, then ask what must be `uncovered`.

    Attributes:
        made: The records that neither side had, by the key of their file.
    """

    made: list[tuple[str, Record]] = field(default_factory=list)
    _sides: tuple[_Side, _Side] = field(default_factory=lambda: (_Side(), _Side()))

    def one_sided(self, key: str, changed: bytes, base: bytes | None, *, ours: bool) -> None:
        """Notes a file of records that only one side changed, which is taken as it is."""
        self._sides[not ours].note(_heads(key, changed), _heads(key, base))

    def file(self, key: str, ours: bytes, theirs: bytes, base: bytes | None) -> bytes:
        """What a file comes to that both sides changed."""
        if not layout.is_record_key(key):
            return max(ours, theirs, key=lambda data: (len(data), data))
        one, other, before = _heads(key, ours), _heads(key, theirs), _heads(key, base)
        self._sides[0].note(one, before)
        self._sides[1].note(other, before)
        if one is None or other is None:  # damaged: `verify` names it, unless the other side is sound
            return theirs if one is None else ours
        merged = self._records(key, one, other, before or {})
        return _encoded(key, merged, ours, theirs)

    def run(self, run: str, ours: Files, theirs: Files, base: Files) -> dict[str, bytes]:
        """What the folder of a run comes to if both sides changed something in it."""
        folder = layout.run_folder(run)
        key = f"{folder}run.json"
        heads = [_head(key, files.get("run.json"), ("run", run)) for files in (ours, theirs)]
        vacant = [head is not None and head.vacant for head in heads]
        if vacant[0] != vacant[1]:
            # Removed here and changed there: what is changed comes back, and whole.
            kept, gone = (theirs, ours) if vacant[0] else (ours, theirs)
            return self._whole(folder, kept, gone)
        merged = {
            name: found
            for name in sorted({*ours, *theirs})
            if layout.parse_segment(name) is None
            and (found := self._named(folder, name, ours, theirs, base)) is not None
        }
        evicted = max((head.evicted for head in heads if head is not None), default=0)
        lives = [0 if head is None else head.evicted for head in heads]
        segments = _segments((ours, theirs), base, lives, evicted)
        merged.update(segments)
        if "run.json" in merged and "run.json" in ours and "run.json" in theirs:
            merged["run.json"] = self._summarised(key, merged["run.json"], (ours, theirs), segments)
        return merged

    def uncovered(self, look: Callable[[str], bytes | None]) -> dict[str, bytes]:
        """Files with what one side deleted though the other changed or made something below it: that lives again.

        Unless the name was given anew meanwhile: what was changed then stays hidden, and stored.

        Args:
            look: What lies under a key after the merge.
        """
        found: dict[str, bytes] = {}
        for side, other in (self._sides, self._sides[::-1]):
            for ref, grave in side.graves.items():
                key = layout.record_key(*ref)
                data = found.get(key) or look(key)
                head = _head(key, data, ref)
                if ref[1] not in other.above or data is None or head is None or head.deleted is None:
                    continue
                if _has_rival(grave, look):
                    continue
                living = replace(revived(head), version=head.version + 1)
                self.made.append((key, living))
                found[key] = _encoded(key, {**(_heads(key, data) or {}), ref: living}, data, data)
        return found

    def _named(self, folder: str, name: str, ours: Files, theirs: Files, base: Files) -> bytes | None:
        """What a file comes to that is no part of a stream; None if it was removed."""
        one, other, before = ours.get(name), theirs.get(name), base.get(name)
        if other in (one, before):
            return one
        if one == before:
            return other
        if one is None or other is None:  # changed beats removed
            return one or other
        return self.file(folder + name, one, other, before)

    def _records(self, key: str, ours: Heads, theirs: Heads, base: Heads) -> Heads:
        merged: Heads = {}
        for ref in sorted({*ours, *theirs}):
            one, other, before = ours.get(ref), theirs.get(ref), base.get(ref)
            if one is None or other is None:
                only = one or other
                if only is not None and (before is None or encode(only) != encode(before)):
                    merged[ref] = only
                continue
            merged[ref] = _merged(one, other, before)
            if encode(merged[ref]) not in (encode(one), encode(other)):
                self.made.append((key, merged[ref]))
        return merged

    def _whole(self, folder: str, kept: Files, gone: Files) -> dict[str, bytes]:
        """The files of one side, with versions above those of the other."""
        files = dict(kept)
        for name in ("run.json", "children.json"):
            key = folder + name
            heads, older = _heads(key, kept.get(name)), _heads(key, gone.get(name)) or {}
            if heads is None:
                continue
            for ref, head in heads.items():
                if ref in older and older[ref].version >= head.version:
                    heads[ref] = replace(head, version=older[ref].version + 1)
                    self.made.append((key, heads[ref]))
            files[name] = _encoded(key, heads, kept[name], kept[name])
        return files

    def _summarised(self, key: str, data: bytes, sides: tuple[Files, Files], segments: Files) -> bytes:
        """The run's record with what all its points come to, if the sides differ in them."""
        heads = [head for side in (data, *(files["run.json"] for files in sides)) for head in _values(key, side)]
        points = [{name: part for name, part in side.items() if name.endswith(".points")} for side in sides]
        if not heads or points[0] == points[1]:
            return data
        parts = (part for name, found in segments.items() if name.endswith(".points") for part in _parts(name, found))
        summaries = summaries_with((), joined(parts))
        if same_summaries(summaries, heads[0].summaries):
            return data
        version = max(heads[0].version, 1 + max((head.version for head in heads[1:]), default=0))
        head = replace(heads[0], summaries=summaries, version=version)
        self.made[:] = [item for item in self.made if item[0] != key]
        self.made.append((key, head))
        return encode(head) + b"\n"


@dataclass
class _Side:
    """What one side did since the two were the same.

    Attributes:
        graves: What it deleted.
        above: The ids of all that stands above what it changed or made.
    """

    graves: Heads = field(default_factory=dict)
    above: set[str] = field(default_factory=set)

    def note(self, heads: Heads | None, base: Heads | None) -> None:
        for ref, head in (heads or {}).items():
            before = (base or {}).get(ref)
            if before is not None and before.etag == head.etag:
                continue
            if head.deleted is not None:
                self.graves[ref] = head
            elif not head.vacant:
                self.above.update(head.ancestors)


def _merged(ours: Record, theirs: Record, base: Record | None) -> Record:
    """What two records of one object come to; one of the two if it holds all that is in the other."""
    newest = max(ours.version, theirs.version)
    if ours.vacant or theirs.vacant:
        if ours.vacant and theirs.vacant:
            return ours if ours.version >= theirs.version else theirs
        living, trace = (theirs, ours) if ours.vacant else (ours, theirs)
        if base is not None and encode(base) == encode(living):
            return trace
        return replace(living, version=newest + 1)
    lineages = [(record.etag, *record.lineage) for record in (ours, theirs)]
    common = base is not None and not base.vacant and all(base.etag in lineage for lineage in lineages)
    try:
        head = join(ours, theirs, base.content if common and base is not None else None)
    except InvalidObjectError:  # theirs is not what its etag says, or ours is not: `verify` names it
        return ours
    larger = ours if _seen(ours) >= _seen(theirs) else theirs
    notes = envelope.merged(ours.envelope, theirs.envelope, f"{ours.kind} {ours.id}")
    head = replace(
        head,
        envelope=notes,
        summaries=larger.summaries,
        evicted=max(ours.evicted, theirs.evicted),
        version=newest,
    )
    for side, other in ((ours, theirs), (theirs, ours)):
        if side.version > other.version and encode(side) == encode(head):
            return side
    return ours if encode(ours) == encode(theirs) else replace(head, version=newest + 1)


def _seen(record: Record) -> int:
    return sum(summary.count for summary in record.summaries)


def _segments(sides: Sequence[Files], base: Files, lives: Sequence[int], evicted: int) -> dict[str, bytes]:
    """The parts of a run's streams that count on either side, by writer without overlaps.

    Args:
        lives: After which eviction each side's parts count.
        evicted: After which they do from now on.
    """
    found: dict[tuple[str, str], list[dict[int, bytes]]] = {}
    for place, files in enumerate(sides):
        there = sides[1 - place]
        for name, data in files.items():
            segment = layout.parse_segment(name)
            if segment is None or segment.evicted != lives[place]:
                continue
            if name not in there and base.get(name) == data:
                continue  # removed there
            pair = found.setdefault((segment.writer, segment.stream), [{}, {}])
            pair[place][segment.first] = data
    merged: dict[str, bytes] = {}
    for (writer, stream), (one, other) in found.items():
        for first, data in _united(writer, stream, one, other).items():
            suffix = f"-{evicted}" if evicted else ""
            merged[f"{writer}-{first}{suffix}.{stream}"] = data
    return merged


def _united(writer: str, stream: str, one: dict[int, bytes], other: dict[int, bytes]) -> dict[int, bytes]:
    """All parts of a writer's stream. A writer only adds, so mostly one side has all that the other has."""
    merged: dict[int, bytes] = {}
    for first in sorted({*one, *other}):
        shorter, longer = sorted((one.get(first, b""), other.get(first, b"")), key=len)
        if not longer.startswith(shorter):
            return _joined(writer, stream, one, other)
        merged[first] = longer
    return merged


def _joined(writer: str, stream: str, one: dict[int, bytes], other: dict[int, bytes]) -> dict[int, bytes]:
    parts: list[Part] = []
    for side in (one, other):
        for first, data in side.items():
            parts += _parts(f"{writer}-{first}.{stream}", data)
    merged: dict[int, bytes] = {}
    for chain in chains(joined(parts)):
        pieces = (piece for segment in chain for piece in encode_part(segment.first, segment.columns))
        merged[chain[0].first] = b"".join(pieces)
    return merged


def _parts(name: str, data: bytes) -> Iterator[Part]:
    """What a part of a stream holds, up to where it is damaged."""
    segment = layout.parse_segment(name)
    if segment is None:
        return
    try:
        for first, columns in decode_part(segment.stream, data, name):
            yield segment.writer, first, columns
    except CorruptObjectError:
        return  # `verify` names it


def _heads(key: str, data: bytes | None) -> Heads | None:
    """The records of a file; None if there is none, or it is damaged."""
    if data is None or not layout.is_record_key(key):
        return None
    try:
        return {(record.kind, record.id): record for record in layout.decode_records(key, data)}
    except (CorruptObjectError, InvalidObjectError):
        return None


def _values(key: str, data: bytes) -> list[Record]:
    return list((_heads(key, data) or {}).values())


def _head(key: str, data: bytes | None, ref: Ref) -> Record | None:
    return (_heads(key, data) or {}).get(ref)


def _encoded(key: str, heads: Heads, *present: bytes) -> bytes:
    """The file of some records; one that is there already if it says the same."""
    records: Iterable[Record] = heads.values()
    if key.endswith("/children.json"):
        return layout.encode_children(list(records)) if heads else present[0]
    (record,) = records
    return encode(record) + b"\n"


def _has_rival(grave: Record, look: Callable[[str], bytes | None]) -> bool:
    """Whether a living object has the name of a deleted one."""
    for ref in generations(grave):
        key = layout.record_key(*ref)
        head = _head(key, look(key), ref)
        if head is None:
            return False
        if ref[1] != grave.id and head.deleted is None and not head.vacant:
            return True
    return False
