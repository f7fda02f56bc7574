"""Records: objects in stored form, and the line of JSON that holds one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from padre_core.errors import CorruptObjectError, InvalidObjectError
from padre_core.objects import canonical
from padre_core.objects.envelope import acknowledged
from padre_core.objects.summary import StoredSummaries, WriterSummary, encode_summaries, further

LINEAGE = 32
"""How many ancestors' etags a record always keeps."""

MAX_LINEAGE = 1000


class Tombstone(NamedTuple):
    """That an object was deleted.

    Attributes:
        id: The deletion's own id, so that a repeated delete is known as the same one.
        at: UTC, as stored text.
    """

    id: str
    at: str
    by: str | None = None


class Conflict(NamedTuple):
    """A version that lost against the head and waits to be resolved."""

    etag: str
    lineage: tuple[str, ...]
    content: bytes


@dataclass(slots=True)  # not frozen, for that takes three times as long to make, and listings make thousands
class Record:
    """One object as a store holds it. Never changed but for `sound` and `line`, which say nothing new.

    Attributes:
        ancestors: Ids of the objects above it, outermost first, the parent last.
        etag: `<n>-<16 hex digits>`; equal in every store that holds this version.
        lineage: Etags of earlier versions, newest first.
        deleted: Set when this version is a tombstone; the content is then the last one.
        content: Canonical JSON, in UTF-8.
        conflicts: Versions that lost; they travel, but are outside hash and etag.
        version: Counts the writes of this object in this store. Never travels.
        envelope: What this store notes about remotes. Never travels.
        summaries: Of a run's points, for each metric and writer; derived.
        evicted: The `version` at which the object was last evicted from this store; 0 if it never was. Never travels.
        sound: That the etag is known to be that of this very content: it was made of it here, or checked.
        line: What `encode` made of it, for it is written to a log, the tree, notes and the index.
    """

    kind: str
    id: str
    content: bytes
    etag: str
    ancestors: tuple[str, ...] = ()
    lineage: tuple[str, ...] = ()
    deleted: Tombstone | None = None
    created_at: str = ""
    updated_at: str = ""
    created_by: str | None = None
    updated_by: str | None = None
    conflicts: tuple[Conflict, ...] = ()
    version: int = 0
    envelope: Mapping[str, Any] = field(default_factory=dict)
    summaries: Sequence[WriterSummary] = ()
    evicted: int = field(default=0, compare=False)
    sound: bool = field(default=False, init=False, repr=False, compare=False)
    line: bytes | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def hash(self) -> str:
        """sha-256 of the content in hex digits."""
        return canonical.digest(self.content)

    @property
    def revision(self) -> int:
        """The number before the dash of the etag."""
        return int(self.etag.partition("-")[0])

    @property
    def parent(self) -> str | None:
        """The id of the object right above it."""
        return self.ancestors[-1] if self.ancestors else None

    @property
    def vacant(self) -> bool:
        """Whether this is no version but the trace of an object that was evicted."""
        return 0 < self.evicted == self.version

    def data(self) -> dict[str, Any]:
        """The content as plain data."""
        data: dict[str, Any] = canonical.from_json(self.content)
        return data


def united(before: Record, after: Record) -> Record:
    """The newer of two records with the summaries of both; the first itself if the other adds nothing.

    What lies before an eviction adds nothing.
    """
    newer, older = (after, before) if after.version > before.version else (before, after)
    return with_further(newer, older.summaries) if newer.evicted == older.evicted else newer


def with_further(record: Record, summaries: Sequence[WriterSummary]) -> Record:
    """A run's record with those summaries that go further than its own; the record itself if none does."""
    best = further(record.summaries, summaries)
    return record if best is record.summaries else replace(record, summaries=best)


def kept(
    record: Record, *, version: int, envelope: Mapping[str, Any], summaries: Sequence[WriterSummary], evicted: int
) -> Record:
    """A record with what a store keeps beside it; the record itself if it says so already."""
    if (
        record.version == version
        and record.evicted == evicted
        and record.envelope == envelope
        and record.summaries is summaries
    ):
        return record
    return replace(record, version=version, envelope=envelope, summaries=summaries, evicted=evicted)


def make_etag(parents: Sequence[str], hash: str, deleted: str | None) -> str:
    """The etag of a version made from others.

    Args:
        parents: Etags of the versions that it was made from: none, one, or two for a merge.
        deleted: The deletion's id for a tombstone.
    """
    deletion = "null" if deleted is None else canonical.canonical_json(deleted).decode()
    # Written by hand, for it is done for every record that is written or comes from elsewhere.
    if len(parents) < 2:
        number = 1 + int(parents[0].partition("-")[0]) if parents else 1
        names = f'"{parents[0]}"' if parents else ""
    else:
        number = 1 + max(int(etag.partition("-")[0]) for etag in parents)
        names = ",".join([f'"{etag}"' for etag in sorted(parents)])
    digest = hashlib.sha256(f'[[{names}],"{hash}",{deletion}]'.encode()).hexdigest()
    return f"{number}-{digest[:16]}"


def first(
    kind: str, id: str, content: bytes, ancestors: tuple[str, ...], *, by: str | None, at: str, version: int = 0
) -> Record:
    """The first version of an object.

    Args:
        version: What a store will number it as, if that is known: then it can keep this very record.
    """
    etag = make_etag((), canonical.digest(content), None)
    return _sound(Record(kind, id, content, etag, ancestors, (), None, at, at, by, by, version=version))


def successor(
    before: Record, content: bytes, *, by: str | None, at: str, deleted: Tombstone | None = None,
    ancestors: tuple[str, ...] | None = None, version: int | None = None,
) -> Record:  # fmt: skip
    """The version that follows another: an edit, a delete or a restore.

    Args:
        version: What a store will number it as, if that is known: then it can keep this very record.
    """
    etag = make_etag((before.etag,), canonical.digest(content), deleted.id if deleted else None)
    return _sound(
        Record(
            kind=before.kind,
            id=before.id,
            content=content,
            etag=etag,
            ancestors=before.ancestors if ancestors is None else ancestors,
            lineage=_lineage(before),
            deleted=deleted,
            created_at=before.created_at,
            updated_at=max(at, before.updated_at),
            created_by=before.created_by,
            updated_by=by,
            conflicts=before.conflicts,
            version=before.version if version is None else version,
            envelope=before.envelope,
            summaries=before.summaries,
            evicted=before.evicted,
        )
    )


def vacancy(before: Record) -> Record:
    """What a store keeps of an object that it evicts: which one it was, and that older copies of it count no more."""
    version = before.version + 1
    return Record(before.kind, before.id, b"{}", before.etag, version=version, evicted=version)


def _sound(record: Record) -> Record:
    record.sound = True
    return record


def _lineage(before: Record) -> tuple[str, ...]:
    """The lineage of what follows: the newest etags, and of the older ones those that another store acknowledged."""
    if len(before.lineage) < LINEAGE:
        return (before.etag, *before.lineage)
    newest, aging, older = before.lineage[: LINEAGE - 1], before.lineage[LINEAGE - 1], before.lineage[LINEAGE:]
    kept = older if aging not in acknowledged(before.envelope) else (aging, *older)
    return (before.etag, *newest, *kept)[:MAX_LINEAGE]


def check(record: Record, *, plain: bool = False) -> None:
    """Checks that a version may be stored: that it is what its etag says, and that its content is one.

    Args:
        plain: That the content is one was found out already.

    Raises:
        InvalidObjectError: The etag or the lineage is malformed, the content does not belong to the etag, or is no
            plain JSON object.
    """
    if record.sound:
        return
    number, dash, digest = record.etag.partition("-")
    if not (dash and number.isdecimal() and len(digest) == 16) or len(record.lineage) > MAX_LINEAGE:
        raise InvalidObjectError(f"{record.kind} {record.id}: malformed etag or lineage")
    if not belongs(record):
        raise InvalidObjectError(f"{record.kind} {record.id}: the content does not belong to version {record.etag}")
    if not plain:
        canonical.check_content(record.content)
    record.sound = True


def belongs(record: Record) -> bool:
    """Whether the content is that of the etag, as far as one record can tell."""
    hash = record.hash
    deleted = record.deleted.id if record.deleted else None
    # The parents are not named, but are none, the newest ancestor, or the two newest.
    for count in (1, 0, 2):
        parents = record.lineage[:count]
        if len(parents) == count and make_etag(parents, hash, deleted) == record.etag:
            return True
    return False


def encode(record: Record) -> bytes:
    """The record as one line of JSON, with a checksum over the rest of the line, and without a line feed."""
    if record.line is None:
        record.line = _encode(record)
    return record.line


def _encode(record: Record) -> bytes:
    head: dict[str, Any] = {"kind": record.kind, "id": record.id, "version": record.version, "etag": record.etag}
    if record.ancestors:
        head["ancestors"] = record.ancestors
    if record.lineage:
        head["lineage"] = record.lineage
    if record.deleted:
        head["deleted"] = [record.deleted.id, record.deleted.at, record.deleted.by]
    head["stamps"] = [record.created_at, record.created_by, record.updated_at, record.updated_by]
    if record.evicted:
        head["evicted"] = record.evicted
    if record.conflicts:
        head["conflicts"] = [[item.etag, item.lineage, item.content.decode()] for item in record.conflicts]
    if record.envelope:
        head["envelope"] = canonical.to_json(record.envelope).decode()
    summaries = b',"summaries":%b' % encode_summaries(record.summaries) if record.summaries else b""
    rest = b'%b%b,"content":%b}' % (canonical.to_json(head)[1:-1], summaries, record.content)
    return b'{"check":"%b",%b' % (hashlib.sha256(rest).hexdigest()[:16].encode(), rest)


def decode(line: bytes, where: str) -> Record:
    """The record of a line.

    Args:
        where: What to call the line in an error, such as its key in the store.

    Raises:
        CorruptObjectError: The line is not what `encode` wrote.
    """
    rest = line[28:]
    if line[:28] != b'{"check":"%b",' % hashlib.sha256(rest).hexdigest()[:16].encode():
        raise CorruptObjectError(
            f"{where} is damaged or was edited by hand: its checksum does not fit; "
            "`padre verify` lists all such files, `padre refresh --accept-edits` takes edits as new versions"
        )
    return _parse(rest, where)


def decode_edited(line: bytes, where: str) -> Record:
    """The record of a line whose checksum does not fit, for people who edit by hand.

    Raises:
        CorruptObjectError: It is no record at all.
    """
    record = _parse(line[28:], where)
    try:
        return replace(record, summaries=tuple(record.summaries))
    except (TypeError, ValueError) as error:
        raise CorruptObjectError(f"{where} has no sound summaries: {type(error).__name__}") from error


def _parse(rest: bytes, where: str) -> Record:
    # Before the content no key is called "content": whatever users name stands there as a value or inside text.
    split = rest.find(b',"content":')
    end = rest.rfind(b',"summaries":', 0, split)
    try:
        head = canonical.from_json(b"{%b}" % rest[: split if end < 0 else end], shared=True)
        created_at, created_by, updated_at, updated_by = head["stamps"]
        deleted = head.get("deleted")
        return Record(
            head["kind"],
            head["id"],
            rest[split + 11 : -1],
            head["etag"],
            tuple(head.get("ancestors", ())),
            tuple(head.get("lineage", ())),
            Tombstone(*deleted) if deleted else None,
            created_at,
            updated_at,
            created_by,
            updated_by,
            _conflicts(head["conflicts"]) if "conflicts" in head else (),
            head["version"],
            canonical.from_json(head["envelope"]) if "envelope" in head else {},
            StoredSummaries(rest[end + 13 : split]) if end >= 0 else (),
            head.get("evicted", 0),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptObjectError(f"{where} is not a record: {type(error).__name__}") from error


def _conflicts(items: Iterable[Any]) -> tuple[Conflict, ...]:
    return tuple(Conflict(etag, tuple(lineage), content.encode()) for etag, lineage, content in items)
