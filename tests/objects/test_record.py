from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from padre_core.errors import CorruptObjectError, InvalidObjectError
from padre_core.objects import canonical, record
from padre_core.objects.record import Conflict, Tombstone
from padre_core.objects.summary import summarise

AT = "2026-11-23T12:00:00.000000Z"
ID = "018f3a5e-0000-7000-8000-000000000000"


def first(content=b'{"name":"a"}'):
    return record.first("project", ID, content, ("p",), by="ada", at=AT)


def test_an_etag_follows_from_the_documented_rule():
    made = first()
    digest = canonical.digest(canonical.canonical_json([[], canonical.digest(made.content), None]))
    assert made.etag == f"1-{digest[:16]}"


def test_the_same_edit_of_the_same_version_has_the_same_etag_everywhere():
    one = record.successor(first(), b'{"name":"b"}', by="ada", at=AT)
    other = record.successor(first(), b'{"name":"b"}', by="bob", at="2030-01-01T00:00:00.000000Z")
    assert one.etag == other.etag
    assert one.lineage == (first().etag,)
    assert one.revision == 2


def test_a_tombstone_differs_from_an_edit():
    edit = record.successor(first(), first().content, by=None, at=AT)
    grave = record.successor(first(), first().content, by=None, at=AT, deleted=Tombstone("d", AT))
    assert edit.etag != grave.etag


def test_a_lineage_is_bounded():
    head = first()
    for _ in range(100):
        head = record.successor(head, head.content, by=None, at=AT)
    assert len(head.lineage) == record.LINEAGE
    record.check(head)


def test_content_that_does_not_belong_to_the_etag_is_refused():
    with pytest.raises(InvalidObjectError, match="does not belong to version"):
        record.check(replace(first(), content=b'{"name":"b"}'))


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b'{"a":\n1}', b'{"a":18446744073709551616}', b'{"a":' * 99 + b"1" + b"}" * 99]
)
def test_content_that_no_object_has_is_refused_even_if_its_etag_fits(content):
    alien = replace(first(), content=content, etag=record.make_etag((), canonical.digest(content), None))
    with pytest.raises(InvalidObjectError, match="content"):
        record.check(alien)
    record.check(replace(alien), plain=True)


def full():
    summary = summarise('"content":', "0" * 16, [1, 2], [5, 6], [float("nan"), 1.0])
    made = first(b'{"metadata":{"content":{"x":1}},"name":"a"}')
    return replace(
        made,
        lineage=("1-0123456789abcdef",),
        deleted=Tombstone("d", AT, '"content":'),
        created_by=',"content":{',
        conflicts=(Conflict("2-0123456789abcdef", (), b'{"content":1}'),),
        version=7,
        envelope={"lab": {"content": {"a": [1.5, None]}}},
        summaries=(summary,),
    )


def test_a_record_comes_back_from_its_line_with_all_its_parts():
    line = record.encode(full())
    assert b"\n" not in line
    assert record.encode(record.decode(line, "here")) == line
    assert record.decode(line, "here").content == full().content
    assert record.decode(line, "here").envelope == full().envelope
    assert record.decode(line, "here").conflicts == full().conflicts


@given(st.data())
def test_every_flipped_bit_of_a_line_is_found(data):
    line = bytearray(record.encode(full()))
    place = data.draw(st.integers(0, len(line) - 1))
    line[place] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(CorruptObjectError):
        record.decode(bytes(line), "here")


@given(st.binary(max_size=200))
def test_any_bytes_give_a_record_or_a_typed_error(data):
    with pytest.raises(CorruptObjectError):
        record.decode(data, "here")
    with pytest.raises(CorruptObjectError):
        record.decode_edited(data, "here")


def test_a_lineage_keeps_the_newest_versions_and_older_ones_that_a_remote_acknowledged():
    version = record.first("project", ID, b"{}", (), by=None, at=AT)
    base = version.etag
    version = replace(version, envelope={"remotes": {"lab": {"intent": "track", "base": base}}})
    for number in range(3 * record.LINEAGE):
        version = record.successor(version, b'{"n":%d}' % number, by=None, at=AT)
    assert len(version.lineage) == record.LINEAGE + 1
    assert version.lineage[-1] == base
    record.check(version)
