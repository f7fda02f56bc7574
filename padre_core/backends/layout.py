"""The open layout, version 1: which key holds what. `docs/layout.md` says it for people."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final, NamedTuple

from padre_core.errors import CorruptObjectError, InvalidObjectError
from padre_core.objects import canonical
from padre_core.objects.identity import check_digest, check_id, is_id, run_of
from padre_core.objects.kinds import kind_of, kinds
from padre_core.objects.record import Record, decode, decode_edited, encode, successor
from padre_core.objects.references import is_named
from padre_core.streams.columns import Stream

FORMAT: Final = 1
MARKER: Final = "padre.json"
LOG: Final = "log/"
SNAPSHOTS: Final = "snapshots/"
BLOBS: Final = "blobs/"
RUNS: Final = "runs/"
QUARANTINE: Final = "quarantine/"

_SEGMENT = re.compile(r"([0-9a-f]{16})-(\d{1,19})(?:-(\d{1,19}))?\.(points|lines)")


def shard(id: str) -> str:
    """The two folders that an id's last hex digits choose; ids that begin with a time would fill one after another."""
    return f"{id[-4:-2]}/{id[-2:]}"


def check_reference(kind: str, id: str) -> None:
    """Checks that `record_key` knows a key for a record, without making it.

    Raises:
        InvalidObjectError: The id is none, or there is no such kind.
    """
    check_id(id)
    if run_of(id) is None:
        kind_of(kind)


def record_key(kind: str, id: str) -> str:
    """The key that holds a record: its own file, or the file of the run that it lives in.

    Raises:
        InvalidObjectError: The id is none, or there is no such kind.
    """
    check_id(id)
    run = run_of(id)
    if run is not None:
        return f"{RUNS}{shard(run)}/{run}/children.json"
    if kind == "run":
        return f"{RUNS}{shard(id)}/{id}/run.json"
    return f"{kind_of(kind).folder}/{shard(id)}/{id}.json"


def children_key(run: str) -> str:
    """The key of the file that holds what lives in a run."""
    return f"{run_folder(run)}children.json"


def run_folder(run: str) -> str:
    """The prefix of all keys of a run."""
    return f"{RUNS}{shard(check_id(run))}/{run}/"


class SegmentName(NamedTuple):
    """What the key of a part of a run's stream says; `evicted` is that of the run's record when it was written."""

    writer: str
    first: int
    stream: Stream
    evicted: int


def segment_key(run: str, writer: str, first: int, stream: Stream, evicted: int) -> str:
    """The key of a part of a run's stream. What was written before an eviction never shares a key with what follows."""
    return f"{run_folder(run)}{writer}-{first}{f'-{evicted}' if evicted else ''}.{stream}"


def parse_segment(key: str) -> SegmentName | None:
    """What a key says; None if it is that of no part of a stream."""
    found = _SEGMENT.fullmatch(key.rpartition("/")[2])
    if found is None:
        return None
    return SegmentName(found[1], int(found[2]), "points" if found[4] == "points" else "lines", int(found[3] or 0))


def blob_key(digest: str) -> str:
    """The key of a blob."""
    check_digest(digest)
    return f"{BLOBS}{digest[-2:]}/{digest}"


def is_record_key(key: str) -> bool:
    """Whether a key holds records."""
    return key.endswith(".json") and key != MARKER


def encode_children(records: list[Record]) -> bytes:
    """The file of what lives in a run: a JSON array with one record a line, by kind and id."""
    lines = [encode(record) for record in sorted(records, key=lambda record: (record.kind, record.id))]
    return b"[\n%b\n]\n" % b",\n".join(lines)


def split_lines(key: str, data: bytes) -> list[bytes]:
    """The record lines of a file.

    Raises:
        CorruptObjectError: The file is not of the layout.
    """
    if not key.endswith("/children.json"):
        if not data.endswith(b"}\n"):
            raise CorruptObjectError(f"{key} is damaged: it does not end as a record does")
        return [data[:-1]]
    if not (data.startswith(b"[\n") and data.endswith(b"\n]\n")):
        raise CorruptObjectError(f"{key} is damaged: it is not a list of records")
    lines = data[2:-3].split(b"\n")
    if any(not line.endswith(b"},") for line in lines[:-1]) or not lines[-1].endswith(b"}"):
        raise CorruptObjectError(f"{key} is damaged: it is not a list of records")
    return [line.removesuffix(b",") for line in lines]


def decode_head(kind: str, id: str, key: str, data: bytes) -> Record:
    """The record of an object from the file that holds it alone.

    Raises:
        CorruptObjectError: The file or the record in it is damaged, or belongs elsewhere.
    """
    (line,) = split_lines(key, data)
    record = decode(line, key)
    if record.id != id or record.kind != kind:
        raise _misplaced(record, key)
    return record


def decode_records(key: str, data: bytes) -> list[Record]:
    """The records of a file.

    Raises:
        CorruptObjectError: The file or a record in it is damaged, or belongs elsewhere.
    """
    records = [decode(line, key) for line in split_lines(key, data)]
    for record in records:
        if record_key(record.kind, record.id) != key:
            raise _misplaced(record, key)
    return records


def _misplaced(record: Record, key: str) -> CorruptObjectError:
    return CorruptObjectError(f"{key} holds the {record.kind} {record.id}, which belongs elsewhere")


def encode_marker(store: str) -> bytes:
    """The file that makes a folder a store."""
    data = canonical.to_json({"format": FORMAT, "store": store})
    return b'{"check":"%b",%b\n' % (canonical.digest(data)[:16].encode(), data[1:])


def decode_marker(data: bytes, where: str) -> str:
    """The id of the store.

    Raises:
        InvalidObjectError: A newer padre-core made it.
        CorruptObjectError: It is not what `encode_marker` wrote.
    """
    try:
        values = canonical.from_json(data)
        format, store = values["format"], str(values["store"])
    except (KeyError, TypeError, ValueError):
        raise CorruptObjectError(f"{where}: {MARKER} is damaged; take it from a copy of the store") from None
    if not isinstance(format, int) or format > FORMAT:
        raise InvalidObjectError(
            f"{where} has format {format}, newer than {FORMAT}: upgrade padre-core to open it; nothing was changed"
        )
    if not is_id(store) or data != encode_marker(store):  # files on this machine are named after it
        raise CorruptObjectError(f"{where}: {MARKER} is damaged; take it from a copy of the store")
    return store


def record_prefixes() -> Iterator[str]:
    """The prefixes below which records lie; what lives in runs lies with them."""
    return (f"{model.folder}/" for model in kinds() if "run" not in model.parents or model.kind == "artifact")


def accept_edits(key: str, data: bytes) -> list[Record]:
    """The records of a file that somebody edited by hand; each that was changed becomes a new version.

    Raises:
        CorruptObjectError: The file holds no records, or content that its kind does not allow.
    """
    records = []
    for line in split_lines(key, data):
        try:
            record = decode(line, key)
        except CorruptObjectError:
            before = decode_edited(line, key)
            try:
                object = kind_of(before.kind).from_content(before.content)
                content = object.content()
            except InvalidObjectError as error:
                raise CorruptObjectError(f"{key} cannot be taken as edited: {error}") from None
            if object.parent_reference != before.parent or not is_named(before, object):
                raise CorruptObjectError(
                    f"{key} cannot be taken as edited: what names the {before.kind} {before.id} never changes; "
                    "put it back, and make a new one"
                ) from None
            after = successor(before, content, by=None, at=canonical.now())
            record = replace(after, version=before.version + 1)
        records.append(record)
    return records
