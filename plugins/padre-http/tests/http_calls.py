"""Every kind of call, with what it must come to, whatever happens on the way."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from padre_core.backends.backend import Backend, Segment, Write
from padre_core.backends.bytestore import ABSENT
from padre_core.objects.record import Record
from padre_core.query.model import Query
from padre_core.streams.columns import Line, Lines
from padre_core.testing import samples

WRITER = "0123456789abcdef"
DATA = bytes(range(256)) * 40

_serial = itertools.count()

Check = Callable[[Backend, Any], None]


@dataclass(frozen=True)
class Call:
    """A call, and what it does to the store.

    Attributes:
        path: A part of its request that tells it from others that belong to it.
        do: The call; its result is what it returns.
        done: Checks that the effect is there exactly once, and that the result says so.
        undone: Checks that nothing has happened; None for calls that only read.
    """

    name: str
    path: bytes
    do: Callable[[Backend], Any]
    done: Check
    undone: Callable[[Backend], None] | None = None


def calls(store: Backend) -> Iterator[Call]:
    """All calls, on fresh objects of a store that is reached without faults."""
    yield from _records(store)
    yield from _streams(store)
    yield from _blobs()
    yield Call("sync", b"/v1/sync", lambda backend: backend.sync(), lambda backend, result: None)
    yield Call("live_runs", b"/v1/live", lambda backend: backend.live_runs(), lambda backend, result: None)


def _records(store: Backend) -> Iterator[Call]:
    new, other = _project("new"), _project("other")
    kept = store.put(_project("kept"))
    edit = samples.edited(kept, title="edited")
    late = samples.edited(kept, title="late")
    gone = samples.deleted(store.put(_project("gone")))

    def is_head(record: Record) -> Check:
        def check(backend: Backend, result: Record) -> None:
            head = backend.get(record.kind, record.id)
            assert (head.etag, head.conflicts) == (record.etag, ())
            assert result.etag == record.etag

        return check

    def is_missing(*records: Record) -> Callable[[Backend], None]:
        def check(backend: Backend) -> None:
            assert backend.get_many([(record.kind, record.id) for record in records]) == [None] * len(records)

        return check

    yield Call("create", b"PUT ", lambda b: b.put(new, if_match=ABSENT), is_head(new), is_missing(new))
    yield Call("edit", b"PUT ", lambda b: b.put(edit, if_match=kept.etag), is_head(edit))
    yield Call("put without a condition", b"PUT ", lambda b: b.put(late), lambda b, result: None)
    yield Call("delete", b"PUT ", lambda b: b.put(gone), is_head(gone))
    yield Call(
        "put_many",
        b"/v1/records/put",
        lambda b: b.put_many([Write(other, ABSENT), Write(other, None)]),
        lambda b, result: is_head(other)(b, result[0]),
        is_missing(other),
    )
    yield Call("get", b"GET /v1/projects/", lambda b: b.get("project", kept.id), lambda b, r: _same(r.id, kept.id))
    refs = [("project", kept.id), ("project", "0" * 8 + kept.id[8:])]
    yield Call("get_many", b"/v1/records/get", lambda b: b.get_many(refs), lambda b, r: _same(r[1], None))
    yield Call("query", b"/search", lambda b: b.query("project", Query(limit=2)), lambda b, r: _same(len(r.records), 2))
    yield Call("count", b"/count", lambda b: b.count("project", Query()), lambda b, r: _same(r > 0, True))
    yield Call("changes", b"/v1/changes", lambda b: b.changes(), lambda b, r: _same(len(r.entries) > 0, True))
    note = {"lab": {"url": "x"}}
    yield Call(
        "set_envelope",
        b"/envelope",
        lambda b: b.set_envelope("project", kept.id, note),
        lambda b, r: _same(b.get("project", kept.id).envelope, note),
    )


def _project(name: str) -> Record:
    return samples.project(f"{name} {next(_serial)}")


def _streams(store: Backend) -> Iterator[Call]:
    run, full = store.put(samples.run()).id, store.put(samples.run()).id
    lines = Lines(tuple(Line(number, "INFO", f"line {number}") for number in range(5)))
    store.append_stream(full, WRITER, 0, samples.points(500))
    expected = [("loss", step, step / 7) for step in range(500)]

    yield Call(
        "append points",
        b"/streams/",
        lambda b: b.append_stream(run, WRITER, 0, samples.points(500)),
        lambda b, r: _same((r, samples.points_by_writer(b, run)), (500, {WRITER: expected})),
        lambda b: _same(samples.points_by_writer(b, run), {}),
    )
    yield Call(
        "append lines",
        b"/streams/",
        lambda b: b.append_stream(run, WRITER, 0, lines),
        lambda b, r: _same((r, samples.lines_by_writer(b, run)), (5, {WRITER: [f"line {n}" for n in range(5)]})),
        lambda b: _same(samples.lines_by_writer(b, run), {}),
    )
    sent = [(run, Segment(WRITER, 0, samples.points(500))), (run, Segment(WRITER, 0, lines))]
    yield Call(
        "append_streams",
        b"POST /v1/streams ",
        lambda b: b.append_streams(sent),
        lambda b, r: _same(b.many_ends([run]), [{"points": {WRITER: 500}, "lines": {WRITER: 5}}]),
        lambda b: _same(samples.points_by_writer(b, run), {}),
    )
    yield Call(
        "read_streams",
        b"POST /v1/streams/read ",
        lambda b: sum(len(part.columns) for _, part in b.read_streams("points", {full: {WRITER: 100}})),
        lambda b, r: _same(r, 400),
    )
    yield Call(
        "read_stream",
        b"/points",
        lambda b: samples.points_by_writer(b, full),
        lambda b, r: _same(r, {WRITER: expected}),
    )


def _blobs() -> Iterator[Call]:
    def is_there(data: bytes) -> Check:
        def check(backend: Backend, result: Any) -> None:
            with backend.open_blob(result.digest) as file:
                assert file.read() == data
            assert result.size == len(data)
            assert list(backend.blobs()).count(result.digest) == 1

        return check

    mark = b"%d" % next(_serial)
    small, large = mark + b"small" * 50, mark + DATA * 3
    yield Call("write a small blob", b"/v1/blobs/", lambda b: b.write_blob(io.BytesIO(small)), is_there(small))
    several = [small + b"%d" % number for number in range(3)]
    yield Call("write_blobs", b"POST /v1/blobs ", lambda b: b.write_blobs(several)[1], is_there(several[1]))
    for name, path in (
        ("begin an upload", b"POST /v1/uploads "),
        ("send a part", b"PATCH /v1/uploads/"),
        ("commit an upload", b"/commit"),
    ):
        yield Call(name, path, lambda b: b.write_blob(io.BytesIO(large)), is_there(large))

    def read(backend: Backend) -> bytes:
        digest = backend.write_blob(io.BytesIO(DATA)).digest
        with backend.open_blob(digest) as file:
            return file.read()

    yield Call("open_blob", b"GET /v1/blobs/", read, lambda b, r: _same(r, DATA))
    yield Call(
        "read_blobs",
        b"POST /v1/blobs/get ",
        lambda b: list(b.read_blobs([blob.digest for blob in b.write_blobs(several)])),
        lambda b, r: _same([data for _, data in r], several),
    )
    yield Call("has_blobs", b"/v1/blobs/has", lambda b: b.has_blobs(["0" * 64]), lambda b, r: _same(r, set()))


def _same(found: object, expected: object) -> None:
    assert found == expected
