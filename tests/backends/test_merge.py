import itertools

import pytest

from padre_core.backends.bytestore import ABSENT
from padre_core.backends.merge import resolve
from padre_core.errors import AlreadyExistsError, ConflictError
from padre_core.objects import record
from padre_core.objects.record import Tombstone

AT = "2026-11-23T12:00:00.000000Z"
LATER = "2026-11-24T12:00:00.000000Z"
ID = "018f3a5e-0000-7000-8000-000000000000"


def first(content=b'{"name":"a"}', at=AT, by="ada"):
    return record.first("project", ID, content, (), by=by, at=at)


def edit(before, content, at=AT, by="ada"):
    return record.successor(before, content, by=by, at=at)


def bury(before, deletion="d"):
    return record.successor(before, before.content, by="ada", at=AT, deleted=Tombstone(deletion, AT, "ada"))


def heads(current):
    return current.etag, [item.etag for item in current.conflicts]


def stored(*versions):
    current = None
    for version in versions:
        current = resolve(current, version, None)
    return current


def test_a_new_object_begins_at_version_one():
    assert resolve(None, first(), ABSENT).version == 1


def test_a_retry_changes_nothing():
    one = edit(first(), b'{"name":"b"}')
    current = stored(first(), one)
    assert resolve(current, one, first().etag) is current
    assert resolve(current, first(), ABSENT) is current
    assert current.version == 2


def test_a_stale_version_is_refused():
    current = stored(first(), edit(first(), b'{"name":"b"}'))
    with pytest.raises(ConflictError, match="get it again"):
        resolve(current, edit(first(), b'{"name":"c"}'), first().etag)


def test_absent_is_refused_where_something_else_is():
    with pytest.raises(AlreadyExistsError):
        resolve(stored(first()), first(b'{"name":"b"}'), ABSENT)


def test_a_version_of_nothing_is_refused():
    with pytest.raises(ConflictError):
        resolve(None, first(), first().etag)


def test_what_follows_on_the_head_replaces_it_even_over_several_versions():
    two = edit(first(), b'{"name":"b"}')
    three = edit(two, b'{"name":"c"}')
    current = stored(first(), three)
    assert current.etag == three.etag
    assert current.conflicts == ()


def test_what_has_diverged_is_kept_with_the_same_head_in_either_order():
    ours, theirs = edit(first(), b'{"name":"b"}'), edit(first(), b'{"name":"c"}')
    one, other = stored(first(), ours, theirs), stored(first(), theirs, ours)
    assert one.etag == other.etag == max(ours.etag, theirs.etag)
    assert {item.etag for item in one.conflicts} == {min(ours.etag, theirs.etag)}
    assert one.conflicts == other.conflicts


def test_a_version_made_from_both_ends_the_conflict():
    ours, theirs = edit(first(), b'{"name":"b"}'), edit(first(), b'{"name":"c"}')
    current = stored(first(), ours, theirs)
    parents = (current.etag, current.conflicts[0].etag)
    etag = record.make_etag(parents, record.canonical.digest(b'{"name":"d"}'), None)
    solved = record.replace(
        current, content=b'{"name":"d"}', etag=etag, lineage=(*parents, *current.lineage), conflicts=()
    )
    after = resolve(current, solved, current.etag)
    assert after.etag == etag
    assert after.conflicts == ()


def test_equal_content_is_never_a_conflict():
    ours = edit(edit(first(), b'{"name":"x"}'), b'{"name":"b"}')
    theirs = edit(first(), b'{"name":"b"}')
    current = stored(first(), ours, theirs)
    assert current.etag == ours.etag
    assert theirs.etag in current.lineage
    assert current.conflicts == ()
    record.check(current)


def test_stamps_merge_to_the_earliest_creation_and_the_latest_update():
    current = stored(first(at=LATER, by="bob"), first(at=AT, by="ada"))
    assert (current.created_at, current.created_by) == (AT, "ada")
    assert (current.updated_at, current.updated_by) == (LATER, "bob")


def test_what_the_store_notes_survives_a_put():
    current = record.replace(stored(first()), envelope={"lab": {"url": "x"}})
    assert resolve(current, edit(first(), b'{"name":"b"}'), None).envelope == current.envelope


def test_a_tombstone_is_a_version_like_any_other():
    grave = record.successor(first(), first().content, by="ada", at=AT, deleted=Tombstone("d", AT, "ada"))
    current = resolve(stored(first()), grave, first().etag)
    assert current.deleted.id == "d"
    assert resolve(current, grave, first().etag) is current


def test_an_edit_beats_a_delete_in_either_order():
    grave = record.successor(first(), first().content, by="ada", at=AT, deleted=Tombstone("d", AT, "ada"))
    grave = record.successor(grave, grave.content, by="ada", at=AT, deleted=Tombstone("e", AT, "ada"))
    edited = edit(first(), b'{"name":"b"}')
    one, other = stored(first(), grave, edited), stored(first(), edited, grave)
    assert one.etag == other.etag == edited.etag
    assert [item.content for item in one.conflicts] == [item.content for item in other.conflicts] == [grave.content]


def test_of_two_heads_that_know_each_other_the_one_whose_delete_lost_gives_way():
    lost, won = sorted((edit(first(), b'{"name":"b"}'), edit(first(), b'{"name":"c"}')), key=lambda made: made.etag)
    grave = bury(won)
    before, after = stored(lost, won), stored(lost, grave)
    assert heads(before) == (won.etag, [lost.etag])
    assert heads(after) == (lost.etag, [grave.etag])
    assert heads(resolve(before, after, None)) == heads(resolve(after, before, None)) == heads(after)


def test_a_head_that_gives_way_to_one_it_knows_is_still_guarded_by_its_etag():
    lost, won = sorted((edit(first(), b'{"name":"b"}'), edit(first(), b'{"name":"c"}')), key=lambda made: made.etag)
    before, after = stored(lost, won), stored(lost, bury(won))
    with pytest.raises(ConflictError):
        resolve(before, after, first().etag)


def test_two_stores_come_to_the_same_whatever_each_of_them_saw_before():
    ours, theirs = edit(first(), b'{"name":"b"}'), edit(first(), b'{"name":"c"}')
    versions = (ours, theirs, bury(ours), bury(theirs, "e"), edit(ours, b'{"name":"d"}'))
    seen = [stored(*order) for count in range(1, 6) for order in itertools.permutations(versions, count)]
    apart = {str(heads(current)): current for current in seen}.values()
    for one, other in itertools.combinations(apart, 2):
        assert heads(resolve(one, other, None)) == heads(resolve(other, one, None))


def test_two_deletes_of_one_content_agree():
    one, other = (
        record.successor(first(), first().content, by="ada", at=AT, deleted=Tombstone(id, AT, "ada")) for id in "de"
    )
    current = stored(first(), one, other)
    assert current.etag == max(one.etag, other.etag)
    assert min(one.etag, other.etag) in current.lineage
    assert current.conflicts == ()


def test_a_base_keeps_its_body_while_the_local_version_is_another():
    current = record.replace(stored(first()), envelope={"remotes": {"lab": {"base": first().etag}}})
    after = resolve(current, edit(first(), b'{"name":"b"}'), first().etag)
    assert after.envelope["bodies"] == {first().etag: '{"name":"a"}'}
    again = resolve(after, edit(after, b'{"name":"c"}'), after.etag)
    assert again.envelope == after.envelope


def test_two_copies_of_one_version_come_to_the_same_lineage_and_conflicts():
    conflict = record.Conflict("2-0123456789abcdef", (), b'{"name":"z"}')
    head = edit(first(), b'{"name":"b"}')
    one = record.replace(head, conflicts=(conflict,))
    other = record.replace(head, lineage=(*head.lineage, conflict.etag))
    for current in (stored(one, other), stored(other, one)):
        assert current.conflicts == ()
        assert conflict.etag in current.lineage


def test_a_version_that_a_losing_one_was_made_from_is_known():
    ours, theirs = edit(first(), b'{"name":"b"}'), edit(first(), b'{"name":"c"}')
    later = edit(theirs, theirs.content.replace(b"c", b"d"))
    grave = record.successor(later, later.content, by="ada", at=AT, deleted=Tombstone("d", AT, "ada"))
    current = stored(first(), ours, grave)
    assert [item.etag for item in current.conflicts] == [grave.etag]
    for known in (theirs, later):
        assert resolve(current, known, current.etag) is current
        assert resolve(known, current, None).conflicts == current.conflicts
