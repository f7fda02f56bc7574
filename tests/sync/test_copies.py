"""Two copies of one store that were changed apart."""

import array
from dataclasses import replace

import pytest

from padre_core.backends import layout
from padre_core.objects.identity import object_id
from padre_core.objects.project import Project
from padre_core.objects.record import Record, decode, encode, first, successor, vacancy
from padre_core.streams import points
from padre_core.streams.columns import Points
from padre_core.sync.copies import Copies
from padre_core.sync.merge import tombstone

AT = "2026-01-01T00:00:00.000000Z"
RUN = "01a22088-3e7b-76a2-8e32-c936b311daad"
WRITER = "0123456789abcdef"


def project(name="iris", parent=None, **fields) -> Record:
    id = object_id("project", parent, name)
    content = Project(name=name, parent=parent, **fields).content()
    return replace(first("project", id, content, (parent,) if parent else (), by="ada", at=AT), version=1)


def edited(record, **fields):
    content = Project(**{**record.data(), **fields}).content()
    after = successor(record, content, by="ada", at=AT)
    return replace(after, version=record.version + 1)


def file(record):
    return encode(record) + b"\n"


def merged(ours, theirs, base=None, copies=None):
    key = layout.record_key("project", ours.id)
    data = (copies or Copies()).file(key, file(ours), file(theirs), file(base) if base else None)
    return decode(data[:-1], key)


def test_changes_of_different_fields_are_both_kept():
    base = project()
    head = merged(edited(base, description="ours"), edited(base, tags={"by": "them"}), base)
    assert head.data() == {"description": "ours", "name": "iris", "tags": {"by": "them"}}
    assert head.version > 2
    assert not head.conflicts


def test_changes_of_one_field_stay_beside_each_other_whichever_side_merges():
    base = project()
    one, other = edited(base, description="one"), edited(base, description="other")
    head, again = merged(one, other, base), merged(other, one, base)
    assert (head.etag, head.conflicts) == (again.etag, again.conflicts)
    assert {head.etag, head.conflicts[0].etag} == {one.etag, other.etag}


def test_a_newer_version_wins_with_a_version_above_both():
    base = project()
    ours = replace(edited(base, description="ours"), version=9)
    newer = replace(edited(edited(base, description="ours"), description="newer"), version=3)
    head = merged(ours, newer, base)
    assert (head.etag, head.version) == (newer.etag, 10)


def test_an_edit_beats_a_delete():
    base = project()
    grave = replace(tombstone(base, "ada"), version=2)
    head = merged(grave, edited(base, description="new"), base)
    assert head.deleted is None
    assert head.data()["description"] == "new"


def test_an_edit_below_what_the_other_side_deleted_brings_it_back():
    base = project()
    grave = replace(tombstone(base, "ada"), version=2)
    below = project("below", parent=base.id)
    copies = Copies()
    copies.one_sided(layout.record_key("project", base.id), file(grave), file(base), ours=True)
    copies.one_sided(layout.record_key("project", below.id), file(below), None, ours=False)
    tree = {layout.record_key("project", base.id): file(grave)}
    ((key, data),) = copies.uncovered(tree.get).items()
    assert key in tree
    assert decode(data[:-1], key).deleted is None


def test_unless_the_name_lives_again():
    base = project()
    grave = replace(tombstone(base, "ada"), version=2)
    next_id = object_id("project", None, "iris", generation=1)
    rival = replace(first("project", next_id, base.content, (), by="ada", at=AT), version=1)
    below = project("below", parent=base.id)
    copies = Copies()
    copies.one_sided(layout.record_key("project", base.id), file(grave), file(base), ours=True)
    copies.one_sided(layout.record_key("project", below.id), file(below), None, ours=False)
    tree = {layout.record_key("project", record.id): file(record) for record in (grave, rival)}
    assert copies.uncovered(tree.get) == {}


def test_an_eviction_gives_way_to_a_change():
    base = project()
    theirs = edited(base, description="new")
    head = merged(vacancy(base), theirs, base)
    assert (head.etag, head.vacant) == (theirs.etag, False)
    assert head.version > vacancy(base).version


def test_a_damaged_side_gives_way_to_a_sound_one():
    base = project()
    key = layout.record_key("project", base.id)
    assert Copies().file(key, b"{damaged}\n", file(base), None) == file(base)


def part(first_, values):
    count = len(values)
    steps, times = array.array("q", range(first_, first_ + count)), array.array("q", [0] * count)
    columns = Points(("loss",), None, steps, times, array.array("d", values))
    return b"".join(points.encode(first_, columns))


@pytest.fixture
def run_record():
    return replace(first("run", RUN, b'{"execution":"%s"}' % project().id.encode(), (), by="ada", at=AT), version=1)


def names(prefix):
    return f"{prefix}-0.points"


def test_points_of_different_writers_are_united_and_counted(run_record):
    base = {"run.json": file(run_record)}
    ours = {**base, names(WRITER): part(0, [1.0, 2.0])}
    theirs = {**base, names("f" * 16): part(0, [3.0])}
    files = Copies().run(RUN, ours, theirs, base)
    assert files.keys() == {"run.json", names(WRITER), names("f" * 16)}
    head = decode(files["run.json"][:-1], "run.json")
    assert sorted(summary.count for summary in head.summaries) == [1, 2]


def test_of_two_parts_of_one_writer_the_longer_stays(run_record):
    base = {"run.json": file(run_record), names(WRITER): part(0, [1.0])}
    ours = {**base, names(WRITER): part(0, [1.0]) + part(1, [2.0])}
    theirs = {**base, "children.json": b"[\n\n]\n"}
    files = Copies().run(RUN, ours, theirs, base)
    assert files[names(WRITER)] == ours[names(WRITER)]


def test_a_run_that_was_evicted_here_and_grew_there_comes_back_whole(run_record):
    base = {"run.json": file(run_record), names(WRITER): part(0, [1.0])}
    ours = {"run.json": file(vacancy(run_record))}
    theirs = {**base, names(WRITER): part(0, [1.0]) + part(1, [2.0])}
    files = Copies().run(RUN, ours, theirs, base)
    head = decode(files["run.json"][:-1], "run.json")
    assert not head.vacant
    assert head.version > vacancy(run_record).version
    assert files[names(WRITER)] == theirs[names(WRITER)]
