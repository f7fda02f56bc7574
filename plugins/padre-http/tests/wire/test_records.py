from __future__ import annotations

import json
import math
import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from padre_core.backends.backend import Page, Write
from padre_core.backends.bytestore import ABSENT
from padre_core.errors import ConflictError, InvalidObjectError, NotFoundError, PadreError
from padre_core.objects import canonical
from padre_core.objects.record import Conflict, Record, Tombstone, first, make_etag, successor
from padre_core.objects.summary import Point, WriterSummary, summarise
from padre_core.plugins import open_backend
from padre_core.testing import samples
from padre_http.wire import records

AT = "2026-01-02T03:04:05.000006Z"
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
contents = st.dictionaries(st.text(max_size=10) | st.just("content"), json_values, max_size=4)


def project(name: str = "sample", **content: object) -> Record:
    return replace(samples.project(name, **content), version=0)


def run() -> Record:
    return replace(samples.run(), version=0)


def rich() -> Record:
    before = first("run", run().id, b'{"name":"a"}', (project().id,), by="ä", at=AT)
    record = successor(before, b'{"name":"b"}', by=None, at=AT, deleted=Tombstone("deletion", AT, "x"))
    return replace(
        record,
        version=0,
        conflicts=(Conflict("3-0123456789abcdef", (before.etag,), b'{"content":{"a":1},"b":[1e+16]}'),),
        envelope={"lab": {"content": {"url": "x"}}},
        summaries=(
            summarise("loss", "0" * 16, [1, 2], [1, 2], [math.nan, math.inf]),
            WriterSummary("content", "f" * 16, 1, 0, Point(1, 2, -0.0), Point(1, 2, 0.1), 1.0, 0, 2.0, 0, 3.0),
        ),
    )


@given(contents)
def test_a_record_comes_back_with_every_byte(content: dict[str, object]) -> None:
    record = replace(project(), content=canonical.to_json(canonical.plain(content)))
    record = replace(record, etag=make_etag((), record.hash, None))
    assert records.decode_record(records.encode_record(record)) == record


@pytest.mark.parametrize("write", [canonical.to_json, canonical.canonical_json])
def test_the_bytes_of_a_content_stay_as_they_were_hashed(write: object) -> None:
    content = write(canonical.plain({"values": samples.VALUES, "content": samples.deep()}))  # type: ignore[operator]
    record = first("project", project().id, content, (), by=None, at=AT)
    assert records.decode_record(records.encode_record(record)).content == content


def test_all_of_a_record_travels() -> None:
    record = replace(rich(), version=7)
    assert repr(records.decode_record(records.encode_record(record, envelope=True))) == repr(record)


def test_what_a_store_notes_for_itself_travels_only_when_it_is_meant_to() -> None:
    found = records.decode_record(records.encode_record(replace(rich(), version=7)))
    assert (found.version, found.envelope) == (0, {})


def test_a_record_is_json_that_others_can_read() -> None:
    found = json.loads(records.encode_record(rich()))
    assert found["content"] == {"name": "b"}
    assert found["deleted"] == {"id": "deletion", "at": AT, "by": "x"}


def test_a_record_that_another_program_wrote_is_read_whatever_the_order_of_its_keys() -> None:
    record = project("sample", title="ä", values=[1.5, -0.0, 2**53 + 1])
    text = json.dumps(json.loads(records.encode_record(record)), sort_keys=True, indent=2)
    assert records.decode_record(text.encode()) == record


@pytest.mark.parametrize("text", [b'"content":{\n', b'"content":{"a":1},"content":{'])
def test_a_content_in_another_form_becomes_that_of_the_etag(text: bytes) -> None:
    record = project(title="x")
    assert records.decode_record(records.encode_record(record).replace(b'"content":{', text)) == record


@pytest.mark.parametrize(
    "change",
    [
        (b'"content":{', b'"content":{"x":1,'),
        (b'"content":{', b'"content":[{'),
        (b'"content":{', b'"content":{"n":99999999999999999999,'),
        (b'"content":{', b'"content":' + b'{"a":' * 5000 + b"{"),
        (b'"id":"', b'"id":"../'),
        (b'"kind":"project"', b'"kind":"../x"'),
        (b'"kind":"project"', b'"kind":7'),
        (b'"etag":"1-', b'"etag":"x-'),
        (b'"created_at":"2026-01', b'"created_at":"2026-99'),
        (b'"created_at":"2026-01', b'"created_at":"  2026-01'),
        (b'"ancestors":[', b'"ancestors":["x"'),
        (b'"lineage":[', b'"lineage":["x"'),
        (b'"deleted":null', b'"deleted":[]'),
        (b'"deleted":null', b'"summaries":[["loss"]]'),
        (b'"deleted":null', b'"conflicts":[{"etag":"1-0123456789abcdef","lineage":[],"content":"{\\n}"}]'),
        (b'"deleted":null', b'"envelope":"7"'),
        (b"{", b"["),
        (b"{", b"\xff"),
    ],
)
def test_what_is_no_sound_record_is_refused(change: tuple[bytes, bytes]) -> None:
    data = records.encode_record(project(title="x"))
    assert change[0] in data
    with pytest.raises(InvalidObjectError):
        records.decode_record(data.replace(*change, 1))


@given(st.binary(max_size=60), st.integers(0, 400), st.integers(0, 40))
def test_damage_is_refused_or_harmless(noise: bytes, start: int, length: int) -> None:
    data = records.encode_record(rich(), envelope=True)
    try:
        record = records.decode_record(data[:start] + noise + data[start + length :])
    except InvalidObjectError:
        return
    assert records.decode_record(records.encode_record(record, envelope=True)).content == record.content


def decoded(data: bytes) -> Page:
    lines, cursor = records.split_page(data)
    return Page(tuple(records.decode_records(lines)), cursor)


def test_pages_come_back_in_their_order() -> None:
    page = Page((project("a"), project('b",\n"cursor":')), 'next"')
    assert decoded(records.encode_page(page)) == page
    assert decoded(records.encode_page(Page(()))) == Page(())
    assert json.loads(records.encode_page(page))["cursor"] == 'next"'


def test_a_page_that_another_program_wrote_is_read() -> None:
    page = Page((project("a"), project("b")), None)
    assert decoded(json.dumps(json.loads(records.encode_page(page)), indent=1).encode()) == page


@pytest.mark.parametrize("key", ["content", "id", "etag"])
def test_a_page_is_read_whatever_the_order_of_the_keys_of_a_record(key: str) -> None:
    page = Page((project("a"), project("b")), None)
    lines, _ = records.split_page(records.encode_page(page))
    data = json.loads(lines[1])
    lines[1] = json.dumps(data | {key: data.pop(key)}, separators=(",", ":")).encode()
    assert records.decode_records(lines) == list(page.records)


@pytest.mark.parametrize(
    "change",
    [
        (b'"content":{', b'"content":{"x":1,'),
        (b'"id":"', b'"id":"../'),
        (b'"etag":"1-', b'"etag":"2-'),
        (b'"deleted":null', b'"summaries":[["loss"]]'),
        (b'"deleted":null', b'"deleted":null},{"kind":"run"'),
    ],
)
def test_a_page_with_one_unsound_record_is_refused(change: tuple[bytes, bytes]) -> None:
    lines, _ = records.split_page(records.encode_page(Page((project("a"), project("b")), None)))
    assert change[0] in lines[1]
    with pytest.raises(InvalidObjectError):
        records.decode_records([lines[0], lines[1].replace(*change, 1)])


@pytest.mark.parametrize("content", [b'{"n":99999999999999999999}', b"[]", b'{"a":' * 40 + b"1" + b"}" * 40])
def test_no_store_keeps_a_content_of_a_page_that_it_would_not_make(content: bytes) -> None:
    hostile = replace(project(), content=content)
    hostile = replace(hostile, etag=make_etag((), hostile.hash, None))
    (record,) = records.decode_records([records.encode_record(hostile)])
    with open_backend("memory://hostile") as store, pytest.raises(InvalidObjectError, match="content"):
        store.put(record)


def test_heads_come_back_with_their_gaps() -> None:
    heads = [None, project("a"), None]
    assert records.decode_heads(records.encode_heads(heads)) == heads
    refs = [("project", project("a").id), ("nothing", "../x")]
    assert records.decode_refs(records.encode_refs(refs)) == refs


def test_writes_come_back_with_their_conditions() -> None:
    record = project("a")
    writes = [Write(record), Write(record, ABSENT), Write(record, record.etag)]
    assert records.decode_writes(records.encode_writes(writes)) == writes
    assert records.decode_writes(records.encode_writes([])) == []


def test_one_bad_write_of_many_stands_by_itself() -> None:
    record = project("a")
    data = records.encode_writes([Write(record), Write(replace(record, etag="1-0123456789abcdef")), Write(record)])
    found = records.decode_writes(data)
    assert [isinstance(item, InvalidObjectError) for item in found] == [False, True, False]


def test_results_come_back_as_heads_and_errors() -> None:
    results: list[Record | PadreError] = [project("a"), ConflictError("x", next=3), NotFoundError("y")]
    found = records.decode_results(records.encode_results(results))
    assert [repr(item) for item in found] == [repr(item) for item in results]


def test_a_batch_is_bounded() -> None:
    with pytest.raises(InvalidObjectError):
        records.decode_refs(records.encode_refs([("project", "x")] * (records.MAX_BATCH + 1)))
    with pytest.raises(InvalidObjectError):
        records.decode_heads(records.encode_heads([None] * (records.MAX_BATCH + 1)))


def test_conditions_come_back_from_headers() -> None:
    record = project("a")
    for condition in (None, ABSENT, record.etag):
        headers = records.condition_headers(condition)
        assert records.condition_of(headers.get("If-Match"), headers.get("If-None-Match")) == condition


def test_the_tag_of_an_answer_serves_as_a_condition() -> None:
    record = project("a")
    tag = records.entity_tag(record.etag, records.encode_record(record))
    assert records.condition_of(tag, None) == record.etag
    assert tag != records.entity_tag(record.etag, records.encode_record(replace(record, updated_by="x")))


@pytest.mark.parametrize(
    "headers", [("x", None), ('"a", "b"', None), ("W/x", None), (None, '"a"'), ('"a"', "*"), ("", None), ("*", None)]
)
def test_other_conditions_are_refused(headers: tuple[str | None, str | None]) -> None:
    with pytest.raises(InvalidObjectError):
        records.condition_of(*headers)


MANY = b'{"a":[' + b"[]," * 3_000_000 + b"0]}"
"""More values than an object may hold."""


def with_content(content: bytes) -> bytes:
    return records.encode_record(replace(samples.project("iris"), content=content))


@pytest.mark.parametrize(
    ("decode", "body"),
    [
        (records.decode_record, with_content(MANY)),
        (records.decode_record, with_content(MANY) + b" "),
        (records.decode_record, with_content(b"{}")[:-1] + b',"other":' + MANY + b"}"),
        (records.decode_record, with_content(b"{}").replace(b',"content"', b',"summaries":%b,"content"' % MANY[5:-1])),
        (records.decode_writes, b'{"writes":[{"other":' + MANY + b"}]}"),
        (records.decode_writes, b'{"writes":[\n{}\n],"other":' + MANY + b"}"),
        (
            records.decode_record,
            with_content(b"{}").replace(b'"kind"', b'"envelope":"%b","kind"' % MANY.replace(b'"', b'\\"')),
        ),
    ],
)
def test_what_would_take_many_times_its_size_is_not_read(decode, body):
    tracemalloc.start()
    try:
        with pytest.raises(InvalidObjectError, match="values"):
            decode(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6 * len(body)
