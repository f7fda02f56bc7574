"""The rules that stand below the table."""

import io
import threading
from dataclasses import replace

import pytest

from padre_core.backends.bytestore import ABSENT
from padre_core.backends.logged import LoggedBackend
from padre_core.errors import ConflictError, CorruptObjectError, InvalidObjectError, NotFoundError, UnavailableError
from padre_core.objects import record as records
from padre_core.objects.artifact import Artifact
from padre_core.objects.envelope import Intent
from padre_core.objects.identity import new_run_id, object_id, run_child_id
from padre_core.objects.run import Run
from padre_core.streams.columns import Line, Lines, make_points
from padre_core.sync import Action, CursorFile, conflicted, decision, resolved
from padre_core.sync.kin import needed

from .sides import AT, buried, edited, engine, entry, experiment, find, memory, project, put, ref, shown, without_notes
from .wire import Fate, Wire


class Away(Wire):
    """A remote that cannot be reached."""

    def __init__(self, backend):
        super().__init__(backend, Fate(), network=True)
        self.away = True

    def _call(self, name, *args, **options):
        if self.away:
            raise UnavailableError("the network is away")
        return super()._call(name, *args, **options)

    def info(self):
        return self._call("info")


@pytest.fixture
def two(places):
    """Two people's stores and the remote between them."""
    open_local, open_remote = places
    return open_local(), open_local(), open_remote()


def sync(*engines, everything=False):
    for made in engines:
        report = made.sync(everything=everything)
        assert not report.failed
        assert not report.away


def both(two, *made):
    """Engines of two people who have some objects in common."""
    one, other, remote = two
    for each in made:
        put(one, each)
    engines = engine(one, ("lab", remote)), engine(other, ("lab", remote))
    sync(*engines, everything=True)
    return engines


def a_run(above=(), **fields):
    made = Run(execution="0" * 36, **fields)
    return records.first("run", new_run_id(), made.content(), above, by="ada", at=AT)


def values(backend, run):
    return [value for part in backend.read_stream(run.id, "points") for value in part.columns.values]


# Merging


def test_changes_of_different_fields_and_keys_merge(two):
    one, other, _ = two
    made = project(tags={"a": "1", "b": "1"})
    mine, theirs = both(two, made)
    put(one, edited(find(one, made), title="t", tags={"a": "2", "b": "1"}))
    put(other, edited(find(other, made), description="d", tags={"a": "1", "c": "1"}))
    sync(mine, theirs, mine)
    assert find(one, made).data() == {
        "name": "iris", "title": "t", "description": "d", "tags": {"a": "2", "c": "1"},
    }  # fmt: skip
    assert shown(one, made) == shown(other, made)
    assert find(one, made).conflicts == ()


def test_the_same_field_changed_on_both_sides_keeps_both_versions(two):
    one, other, remote = two
    made = project()
    mine, theirs = both(two, made)
    put(one, edited(find(one, made), title="one"))
    put(other, edited(find(other, made), title="other"))
    sync(mine, theirs, mine)
    assert shown(one, made) == shown(other, made) == shown(remote, made)
    head = find(one, made)
    assert {head.data()["title"], records.replace(head, content=head.conflicts[0].content).data()["title"]} == {
        "one", "other",
    }  # fmt: skip
    ((_, listed),) = conflicted(one)
    assert listed.fields == {head.conflicts[0].etag: ("title",)}


def test_a_resolution_ends_a_conflict_on_all_sides(two):
    one, other, remote = two
    made = project()
    mine, theirs = both(two, made)
    put(one, edited(find(one, made), title="one", description="of one"))
    put(other, edited(find(other, made), title="other", description="of other"))
    sync(mine, theirs, mine)
    head = find(one, made)
    lost = head.conflicts[0]
    content = decision(head, fields={"title": lost.etag})
    solved = put(one, resolved(head, content, by="ada", at=AT))
    sync(mine, theirs)
    assert set(solved.lineage[:2]) == {head.etag, lost.etag}
    assert solved.data()["title"] != head.data()["title"]
    assert solved.data()["description"] == head.data()["description"]
    assert shown(one, made) == shown(other, made) == shown(remote, made) == (solved.etag, False, frozenset())


def test_only_a_conflict_can_be_resolved_and_only_with_its_versions(two):
    one = two[0]
    put(one, project())
    with pytest.raises(InvalidObjectError):
        decision(find(one, project()))


def test_the_base_body_is_kept_while_dirty_and_goes_when_clean(two):
    one = two[0]
    made = project()
    (mine, _) = both(two, made)
    put(one, edited(find(one, made), title="t"))
    assert find(one, made).envelope["bodies"] == {made.etag: made.content.decode()}
    sync(mine)
    assert "bodies" not in find(one, made).envelope


def test_a_placeholder_gives_way_to_real_content(two):
    one, other, remote = two
    put(one, project())
    put(other, project(title="real", description="too"))
    mine, theirs = engine(one, ("lab", remote)), engine(other, ("lab", remote))
    sync(mine, theirs, mine)
    assert find(one, project()).data()["title"] == "real"
    assert shown(one, project()) == shown(other, project())
    assert find(one, project()).conflicts == ()


def test_equal_content_made_apart_is_never_a_conflict(two):
    one, other, remote = two
    put(one, edited(project(title="x"), title="same"))
    put(other, edited(edited(project(), title="y"), title="same"))
    mine, theirs = engine(one, ("lab", remote)), engine(other, ("lab", remote))
    sync(mine, theirs, mine)
    head = find(one, project())
    assert head.conflicts == ()
    assert shown(one, project()) == shown(other, project()) == shown(remote, project())
    assert head.revision == 3


def test_long_work_offline_is_still_a_successor(two):
    one, other, _ = two
    made = project()
    mine, theirs = both(two, made)
    for number in range(100):
        put(one, edited(find(one, made), title=str(number)))
    sync(mine, theirs)
    assert find(other, made).data()["title"] == "99"
    assert find(other, made).conflicts == ()


# Deleting


def test_an_edit_beats_a_delete_in_either_order(two):
    one, other, remote = two
    for first_edits in (True, False):
        made = project(f"p{first_edits}")
        mine, theirs = both(two, made)
        put(one, edited(find(one, made), title="edited"))
        put(other, buried(find(other, made)))
        sync(*((mine, theirs) if first_edits else (theirs, mine)), mine, theirs)
        head = find(remote, made)
        assert head.deleted is None
        assert head.data()["title"] == "edited"
        assert head.conflicts == ()
        assert shown(one, made) == shown(other, made) == shown(remote, made)


@pytest.mark.parametrize("editor_first", [True, False])
def test_a_descendant_edited_elsewhere_brings_back_what_was_deleted_above_it(two, editor_first):
    one, other, remote = two
    above = project()
    made = experiment(above)
    mine, theirs = both(two, above, made)
    put(one, buried(find(one, above)))
    put(other, edited(find(other, made), title="edited"))
    sync(*((theirs, mine) if editor_first else (mine, theirs)), mine, theirs)
    for side in (one, other, remote):
        assert find(side, above).deleted is None
        assert find(side, made).data()["title"] == "edited"


def test_a_new_descendant_brings_back_what_was_deleted_above_it(two):
    one, other, remote = two
    above = project()
    mine, theirs = both(two, above)
    put(one, buried(find(one, above)))
    sync(mine)
    put(other, experiment(above))
    sync(theirs, mine)
    assert find(remote, above).deleted is None
    assert find(one, above).deleted is None


def test_what_was_made_before_the_delete_on_the_same_side_stays_hidden(two):
    one, _, remote = two
    above = project()
    mine, _ = both(two, above)
    put(one, experiment(above))
    put(one, buried(find(one, above)))
    sync(mine)
    assert find(remote, above).deleted is not None
    assert find(remote, experiment(above)) is not None


def test_an_edit_below_a_name_that_lives_again_stays_hidden_and_is_listed(two):
    one, other, remote = two
    above = project()
    made = experiment(above)
    mine, theirs = both(two, above, made)
    put(one, buried(find(one, above)))
    content = above.content
    put(one, records.first("project", object_id("project", None, "iris", generation=1), content, (), by="a", at=AT))
    sync(mine)
    put(other, edited(find(other, made), title="edited"))
    sync(theirs)
    assert find(remote, above).deleted is not None
    assert find(remote, made).data()["title"] == "edited"
    assert [found.ref for _, found in conflicted(other) if found.hidden] == [ref(made)]


def test_two_deletes_agree(two):
    one, other, remote = two
    made = project()
    mine, theirs = both(two, made)
    put(one, buried(find(one, made), "one"))
    put(other, buried(find(other, made), "other"))
    sync(mine, theirs, mine)
    assert shown(one, made) == shown(other, made) == shown(remote, made)
    assert find(one, made).conflicts == ()


def test_put_by_name_ends_local_only_with_a_version_that_follows_the_tombstone(two):
    one, _, remote = two
    made = project(title="same")
    mine, _ = both(two, made)
    mine.delete(ref(made), mode="remote")
    sync(mine)
    grave = find(remote, made)
    assert grave.deleted is not None
    mine.push([ref(made)])
    assert find(remote, made).lineage[0] == grave.etag
    assert find(remote, made).content == made.content
    assert entry(one, made).intent is Intent.TRACK


def test_put_by_name_brings_back_what_others_had_edited_before_they_deleted_it(two):
    one, other, remote = two
    made = project(title="old")
    mine, theirs = both(two, made)
    put(other, edited(find(other, made), title="newer"))
    theirs.delete(ref(made))
    mine.push([ref(made)])
    for side in (one, remote):
        assert find(side, made).deleted is None
        assert find(side, made).data()["title"] == "newer"


def test_what_lies_below_a_local_only_object_does_not_travel(two):
    one, _, remote = two
    above = project()
    mine, _ = both(two, above)
    mine.delete(ref(above), mode="remote")
    put(one, experiment(above))
    sync(mine)
    assert find(remote, experiment(above)) is None
    assert find(remote, above).deleted is not None


def test_a_delete_is_refused_when_another_version_was_shown(two):
    _, other, _ = two
    made = project()
    mine, theirs = both(two, made)
    put(other, edited(find(other, made), title="new"))
    sync(theirs)
    fresh = engine(memory(), ("lab", two[2]))
    with pytest.raises(ConflictError):
        fresh.delete(ref(made), shown=made.etag)
    with pytest.raises(ConflictError):
        mine.delete(ref(made))


def test_force_deletes_the_last_copy(two):
    _, _, remote = two
    put(remote, project())
    fresh = engine(memory(), ("lab", remote))
    fresh.delete(ref(project()), mode="remote", force=True)
    assert find(remote, project()).deleted is not None


def test_what_stands_above_what_travels_is_not_read_again_if_it_travels_too(monkeypatch):
    backend = memory()
    above = put(backend, project())
    below = put(backend, experiment(above))
    asked = []
    get_many = backend.get_many
    monkeypatch.setattr(backend, "get_many", lambda refs: asked.extend(refs) or get_many(refs))
    assert needed(backend, {ref(above): above, ref(below): below}) == set()
    assert needed(backend, {ref(below): below}) == {ref(above)}
    assert asked == [ref(above)]


# Streams and blobs


def test_streams_are_united_and_grow_in_both_directions(two):
    one, other, remote = two
    run = a_run()
    mine, theirs = both(two, run)
    one.append_stream(run.id, "a" * 16, 0, make_points("loss", [1.0, 2.0], None, None, 0))
    one.append_stream(run.id, "a" * 16, 0, Lines((Line(1, "INFO", "one"),)))
    other.append_stream(run.id, "b" * 16, 0, make_points("loss", [3.0], None, None, 0))
    sync(mine, theirs, mine)
    one.append_stream(run.id, "a" * 16, 2, make_points("loss", [4.0], None, None, 2))
    sync(mine, theirs)
    assert values(one, run) == values(other, run) == values(remote, run) == [1.0, 2.0, 4.0, 3.0]
    assert other.stream_ends(run.id, "lines") == {"a" * 16: 1}
    assert list(mine.verify("lab")) == []


def test_a_deleted_run_still_takes_points(two):
    one, other, remote = two
    run = a_run()
    mine, theirs = both(two, run)
    put(one, buried(find(one, run)))
    sync(mine)
    other.append_stream(run.id, "b" * 16, 0, make_points("loss", [3.0], None, None, 0))
    sync(theirs, mine)
    assert values(remote, run) == values(one, run) == [3.0]


def with_blob(backend, text):
    run = a_run()
    blob = backend.write_blob(io.BytesIO(text))
    made = Artifact(owner=run.id, path="model", digest=blob.digest, size=blob.size)
    id = run_child_id(run.id, "artifact", "model")
    put(backend, run)
    return put(backend, records.first("artifact", id, made.content(), (run.id,), by="ada", at=AT)), blob.digest


def test_blobs_travel_before_what_names_them_and_only_where_missing(two):
    one, other, remote = two
    _, digest = with_blob(one, b"x" * 100_000)
    mine, theirs = engine(one, ("lab", remote)), engine(other, ("lab", remote))
    report = mine.sync()
    assert (report.tally.blobs, report.tally.bytes) == (1, 100_000)
    with_blob(one, b"x" * 100_000)
    assert mine.sync().tally.blobs == 0
    sync(theirs, everything=True)
    with other.open_blob(digest) as file:
        assert file.read() == b"x" * 100_000
    assert list(theirs.verify("lab")) == []


def test_a_damaged_object_does_not_keep_others_from_travelling(two):
    one, _, remote = two
    artifact, digest = with_blob(one, b"whole")
    made = project()
    put(one, made)

    class Damaged(Wire):
        def open_blob(self, name):
            return io.BufferedReader(io.BytesIO(b"broken"))

        def read_blobs(self, digests, *, check=True):
            return iter(() if check else [(name, b"broken") for name in digests])

    report = engine(Damaged(one, Fate(), network=False), ("lab", remote)).sync()
    assert [step.ref for step in report.failed] == [ref(artifact)]
    assert isinstance(report.failed[0].error, CorruptObjectError)
    assert not remote.has_blobs([digest])
    assert find(remote, artifact) is None
    assert find(remote, made) is not None
    assert not engine(one, ("lab", remote)).sync().failed
    assert remote.has_blobs([digest]) == {digest}


class Spoiled(Wire):
    """A store in which one run's streams cannot be read, nor added to."""

    def __init__(self, backend, run, error):
        super().__init__(backend, Fate(), network=True)
        self.run, self.error = run, error

    def read_streams(self, stream, known):
        if self.run in known:
            raise self.error
        return super().read_streams(stream, known)

    def append_stream(self, run, *args):
        if run == self.run:
            raise self.error
        return super().append_stream(run, *args)


@pytest.mark.parametrize("where", ["here", "there"])
@pytest.mark.parametrize("error", [CorruptObjectError("damaged"), InvalidObjectError("no such metric here")])
def test_an_error_in_the_streams_of_one_run_is_shown_and_keeps_no_other_from_travelling(two, where, error):
    one, _, remote = two
    runs = [a_run() for _ in range(3)]
    for run in runs:
        put(one, run)
    engine(one, ("lab", remote)).sync()
    for run in runs:
        one.append_stream(run.id, "a" * 16, 0, make_points("loss", [1.0], None, None, 0))
    put(one, project())
    bad = runs[1]
    sides = [one, remote]
    sides[where == "there"] = Spoiled(sides[where == "there"], bad.id, error)
    cursors = CursorFile()
    mine = engine(sides[0], ("lab", sides[1]), cursors=cursors)
    assert [step.ref for step in mine.sync().failed] == [ref(bad)]
    assert [values(remote, run) for run in runs] == [[1.0], [], [1.0]]
    assert find(remote, project()) is not None
    assert [(step.ref, str(step.error)) for step in mine.status().failed] == [(ref(bad), str(error))]
    healed = engine(one, ("lab", remote), cursors=cursors)
    sync(healed)
    assert values(remote, bad) == [1.0]
    assert not healed.status().failed


@pytest.mark.parametrize("where", ["here", "there"])
def test_a_record_that_cannot_be_read_is_shown_and_keeps_no_other_from_travelling(two, where):
    one, _, remote = two
    bad, good = project(), project("good")
    put(one, bad)
    cursors = CursorFile()
    engine(one, ("lab", remote)).sync()
    put(one, edited(find(one, bad), title="newer"))
    put(one, good)

    class Unreadable(Wire):
        def get(self, *asked):
            if asked == ref(bad):
                raise CorruptObjectError("damaged")
            return super().get(*asked)

    sides = [one, remote]
    sides[where == "there"] = Unreadable(sides[where == "there"], Fate(), network=True)
    mine = engine(sides[0], ("lab", sides[1]), cursors=cursors)
    assert [step.ref for step in mine.sync().failed] == [ref(bad)]
    assert find(remote, good) is not None
    assert [step.ref for step in mine.status().failed] == [ref(bad)]
    sync(engine(one, ("lab", remote), cursors=cursors))
    assert find(remote, bad).data()["title"] == "newer"


# Subtrees


def test_put_and_get_of_an_object_bring_what_is_above_below_and_beside(two):
    one, other, remote = two
    above, aside = project(), project("aside")
    made = experiment(above)
    run = a_run((above.id, made.id, object_id("execution", made.id, "code")))
    for each in (above, aside, made, run):
        put(one, each)
    engine(one, ("lab", remote), auto=False).push([ref(made)])
    assert find(remote, aside) is None
    assert all(find(remote, each) for each in (above, made, run))
    engine(other, ("lab", remote)).get(ref(made))
    assert all(find(other, each) for each in (above, made, run))
    assert entry(one, made).url == remote.object_url(*ref(made))


def test_get_of_a_clean_object_fetches_what_is_new_below_it(two):
    one, other, _ = two
    above = project()
    mine, theirs = both(two, above)
    put(one, experiment(above))
    sync(mine)
    theirs.get(ref(above))
    assert find(other, experiment(above)) is not None


def test_a_manual_remote_gets_only_what_was_named_and_what_lies_below(two):
    one, _, remote = two
    above, aside = project(), project("aside")
    put(one, above)
    put(one, aside)
    manual = engine(one, ("lab", remote), auto=False)
    sync(manual)
    assert find(remote, above) is None
    manual.push([ref(above)])
    put(one, experiment(above))
    put(one, edited(find(one, aside), title="t"))
    sync(manual)
    assert find(remote, experiment(above)) is not None
    assert find(remote, aside) is None


# Remotes that are away


def test_what_stands_above_what_was_named_brings_nothing_else_to_a_manual_remote(two):
    one, _, remote = two
    above = put(one, project())
    named, beside = put(one, experiment(above, "named")), put(one, experiment(above, "beside"))
    mine = engine(one, ("lab", remote), auto=False)
    assert not mine.push([ref(named)]).failed
    put(one, edited(above, title="follows"))
    put(one, edited(named, title="follows"))
    sync(mine, mine)
    sync(mine, everything=True)
    assert find(remote, above).data()["title"] == find(remote, named).data()["title"] == "follows"
    assert find(remote, beside) is None
    assert not mine.push([ref(above)]).failed
    late = put(one, experiment(above, "late"))
    sync(mine)
    assert None not in (find(remote, beside), find(remote, late))


def test_a_put_for_a_remote_that_is_away_is_noted_and_done_later(two):
    one, _, remote = two
    put(one, project())
    away = Away(remote)
    made = engine(one, ("lab", away), auto=False)
    assert list(made.push([ref(project())]).away) == ["lab"]
    assert entry(one, project()).intent is Intent.TRACK
    away.away = False
    sync(made)
    assert find(remote, project()) is not None


def test_get_is_stale_while_remotes_are_away(two):
    one, _, remote = two
    mine = engine(one, ("lab", Away(remote)))
    with pytest.raises(UnavailableError):
        mine.get(ref(project()))
    put(one, project())
    assert mine.get(ref(project())).stale
    assert not mine.get(ref(project()), refresh="never").stale
    with pytest.raises(UnavailableError):
        mine.get(ref(project()), refresh="required")
    with pytest.raises(NotFoundError):
        mine.get(ref(project("other")), refresh="never")


@pytest.mark.parametrize("knows", ["nothing", "that it is kept here only"])
def test_get_is_stale_when_all_that_answer_have_nothing_to_do_with_the_object(two, knows):
    one, other, remote = two
    made = put(one, project())
    both_there = engine(one, ("lab", remote), ("nas", other), auto=False)
    assert not both_there.push([ref(made)], remotes=["lab"]).failed
    if knows != "nothing":
        assert not both_there.push([ref(made)], remotes=["nas"]).failed
        both_there.delete(ref(made), mode="remote", remotes=["nas"])
    away = engine(one, ("lab", Away(remote)), ("nas", other), auto=False)
    assert away.get(ref(made)).stale
    with pytest.raises(UnavailableError):
        away.get(ref(made), refresh="required")


def test_a_delete_on_a_remote_that_is_away_is_pending_and_done_later(two):
    one, _, remote = two
    made = project()
    both(two, made)
    away = Away(remote)
    mine = engine(one, ("lab", away))
    assert mine.delete(ref(made), mode="remote").pending == ("lab",)
    assert find(one, made).deleted is None
    away.away = False
    sync(mine, mine)
    assert find(remote, made).deleted is not None
    assert find(one, made).deleted is None
    assert entry(one, made).intent is Intent.LOCAL_ONLY


def test_a_pending_delete_is_refused_if_the_remote_changed_meanwhile(two):
    one, other, remote = two
    made = project()
    _, theirs = both(two, made)
    away = Away(remote)
    mine = engine(one, ("lab", away))
    mine.delete(ref(made), mode="remote")
    put(other, edited(find(other, made), title="new"))
    sync(theirs)
    away.away = False
    (failed,) = mine.sync().failed
    assert isinstance(failed.error, ConflictError)
    assert find(remote, made).deleted is None
    assert entry(one, made).refusal is not None


def test_delete_all_and_local_of_a_clean_object_work_while_remotes_are_away():
    one, remote = memory(), memory()
    made, kept = project(), project("kept")
    put(one, made)
    put(one, kept)
    sync(engine(one, ("lab", remote)))
    mine = engine(one, ("lab", Away(remote)))
    assert mine.delete(ref(made)).pending == ("lab",)
    assert find(one, made).deleted is not None
    mine.delete(ref(kept), mode="local")
    assert find(one, kept) is None


# Several remotes


def test_fan_out_heals_a_remote_that_lagged(two):
    one, other, remote = two
    made = project()
    away = Away(other)
    mine = engine(one, ("lab", remote), ("nas", away))
    put(one, made)
    assert list(mine.sync().away) == ["nas"]
    put(one, edited(find(one, made), title="t"))
    away.away = False
    sync(mine)
    assert shown(one, made) == shown(remote, made) == shown(other, made)
    assert entry(one, made, "lab").base == entry(one, made, "nas").base == find(one, made).etag


@pytest.mark.parametrize("change", ["edit", "delete", "older stamps"])
def test_what_a_later_remote_brings_goes_to_the_earlier_ones_in_the_same_sync(two, change):
    one, other, remote = two
    made = project()
    nas = memory()
    put(one, made)
    mine = engine(one, ("nas", nas), ("lab", remote))
    theirs = engine(other, ("lab", remote))
    sync(mine)
    sync(theirs, everything=True)
    head = find(other, made)
    if change == "older stamps":
        put(other, replace(experiment(made), created_at="2020-01-01T00:00:00.000000Z"))
        put(one, experiment(made))
    else:
        put(other, edited(head, title="t") if change == "edit" else buried(head))
    sync(theirs)
    sync(mine)
    found = experiment(made) if change == "older stamps" else made
    assert shown(nas, found) == shown(one, found) == shown(remote, found)
    assert find(nas, found).created_at == find(remote, found).created_at
    assert not list(mine.verify("nas"))


def test_times_that_differ_on_a_remote_are_brought_to_the_same(two):
    one, _, remote = two
    mine = engine(one, ("lab", remote))
    put(one, project())
    sync(mine)
    remote.put(replace(find(remote, project()), created_at="2020-01-01T00:00:00.000000Z"))
    assert list(mine.verify("lab"))
    sync(mine)
    assert not list(mine.verify("lab"))
    assert find(one, project()).created_at == "2020-01-01T00:00:00.000000Z"


def test_reads_fall_back_in_order(two):
    _, other, remote = two
    put(other, project())
    fresh = memory()
    got = engine(fresh, ("lab", Away(remote)), ("nas", other)).get(ref(project()))
    assert not got.stale
    assert find(fresh, project()) is not None


def test_two_remotes_that_diverged_come_to_the_same_through_one_store(two):
    one, lab, nas = two
    made = project()
    mine = engine(one, ("lab", lab), ("nas", nas))
    put(one, made)
    sync(mine)
    put(lab, edited(find(lab, made), title="at the lab"))
    put(nas, edited(find(nas, made), title="at home"))
    sync(mine, mine)
    assert shown(one, made) == shown(lab, made) == shown(nas, made)
    assert len(find(one, made).conflicts) == 1


# Refusals, cursors, processes


def test_what_a_remote_refuses_for_good_is_noted_and_tried_again_after_the_next_edit(two):
    one, _, remote = two
    put(one, project())
    put(one, project("fine"))

    class Picky(Wire):
        asked = 0

        def put(self, record, **options):
            if record.id == project().id and b"good" not in record.content:
                self.asked += 1
                raise InvalidObjectError("no such title here")
            return super().put(record, **options)

    picky = Picky(remote, Fate(), network=True)
    mine = engine(one, ("lab", picky))
    assert [step.ref for step in mine.sync().failed] == [ref(project())]
    assert find(remote, project("fine")) is not None
    assert entry(one, project()).refusal.error == "InvalidObjectError"
    assert [(step.ref, str(step.error)) for step in mine.status().failed] == [(ref(project()), "no such title here")]
    asked = picky.asked
    assert [step.ref for step in mine.sync(background=True).failed] == [ref(project())]
    assert picky.asked == asked
    assert [step.ref for step in mine.sync().failed] == [ref(project())]
    assert picky.asked == asked + 1
    put(one, edited(find(one, project()), title="good"))
    sync(mine)
    assert find(remote, project()).data()["title"] == "good"
    assert entry(one, project()).refusal is None


def test_a_sync_with_nothing_to_do_asks_for_no_record(two):
    one, _, remote = two
    for number in range(30):
        put(one, project(f"p{number}"))
    mine = engine(one, ("lab", remote))
    sync(mine)

    counting = Counting(remote)
    sync(engine(one, ("lab", counting), cursors=mine.cursors))
    assert set(counting.calls) == {"changes"}


class Counting(Wire):
    """A remote that remembers what it was called for."""

    def __init__(self, backend):
        super().__init__(backend, Fate(), network=True)
        self.calls = []

    def _call(self, name, *args, **options):
        self.calls.append(name)
        return super()._call(name, *args, **options)


def finished(above, number):
    """An experiment with a run that ended, and its points."""
    made = experiment(above, f"e{number}")
    return made, a_run((*made.ancestors, made.id), status="finished")


def many(one, count=4):
    """A project in which there is more than goes together in one request."""
    above = put(one, project())
    runs = []
    for number in range(count):
        made, run = finished(above, number)
        put(one, made)
        runs.append(put(one, run))
        one.append_stream(run.id, "a" * 16, 0, make_points("loss", [1.0, 0.5], None, None, 0))
    return above, runs


@pytest.mark.parametrize("way", ["push", "pull"])
def test_what_went_one_way_as_a_whole_is_not_compared_again_by_the_first_sync(two, monkeypatch, way):
    one, _, remote = two
    monkeypatch.setattr("padre_core.sync.stores.NOTED", 2)
    many(one if way == "push" else remote)
    mine = engine(one, ("lab", remote))
    assert not getattr(mine, way)().failed
    counting = Counting(remote)
    sync(engine(one, ("lab", counting), cursors=mine.cursors))
    assert set(counting.calls) == {"changes"}


def test_what_others_change_while_a_push_goes_on_is_seen_by_the_first_sync(two, monkeypatch):
    one, _, remote = two
    monkeypatch.setattr("padre_core.sync.stores.NOTED", 2)
    above, _ = many(one)

    class Meanwhile(Wire):
        """A remote where somebody else changes what was pushed before the push is over."""

        changed = False

        def changes(self, *args, **options):
            if not self.changed and find(remote, above) is not None:
                self.changed = True
                put(remote, edited(find(remote, above), title="theirs"))
            return super().changes(*args, **options)

    mine = engine(one, ("lab", Meanwhile(remote, Fate(), network=True)))
    assert not mine.push().failed
    sync(engine(one, ("lab", remote), cursors=mine.cursors))
    assert find(one, above).data()["title"] == "theirs"


def test_points_that_only_the_remote_has_of_what_was_pushed_come_with_the_first_sync(two, monkeypatch):
    one, _, remote = two
    monkeypatch.setattr("padre_core.sync.stores.NOTED", 2)
    _, runs = many(one)
    put(remote, without_notes(runs[0]))
    remote.append_stream(runs[0].id, "b" * 16, 0, make_points("loss", [7.0], None, None, 0))
    mine = engine(one, ("lab", remote))
    assert not mine.push().failed
    assert 7.0 not in values(one, runs[0])
    sync(engine(one, ("lab", remote), cursors=mine.cursors))
    assert 7.0 in values(one, runs[0])


def test_what_is_fetched_is_noted_in_the_step_that_stores_it(two):
    one, _, remote = two
    made = put(remote, project())
    assert not engine(one, ("lab", remote)).pull().failed
    assert entry(one, made).base == made.etag
    if isinstance(one, LoggedBackend):  # others are told by a second step
        assert find(one, made).version == 1


def test_what_lives_in_a_run_travels_with_it_and_after_what_lies_outside_of_runs(two, monkeypatch):
    one, _, remote = two
    monkeypatch.setattr("padre_core.sync.passes.CHUNK", 3)
    put(one, project())
    for number in range(4):
        run = put(one, a_run())
        for path in range(number + 1):  # the last one has more than has room in a chunk
            blob = one.write_blob(io.BytesIO(b"%d" % path))
            made = Artifact(owner=run.id, path=f"{path}", digest=blob.digest, size=blob.size)
            id = run_child_id(run.id, "artifact", *made.key())
            put(one, records.first("artifact", id, made.content(), (run.id,), by="ada", at=AT))
    chunks = []

    class Chunks(Wire):
        def put_many(self, writes):
            chunks.append([write.record for write in writes])
            return super().put_many(writes)

    assert not engine(one, ("lab", Chunks(remote, Fate(), network=True))).sync().failed
    assert [[record.kind for record in chunk] for chunk in chunks[:1]] == [["project"]]
    families = {}
    for place, chunk in enumerate(chunks[1:]):
        for record in chunk:
            families.setdefault(record.parent or record.id, []).append((place, record.kind))
    found = sorted(families.values(), key=len)
    assert [[kind for _, kind in family] for family in found] == [
        ["run", *["artifact"] * count] for count in (1, 2, 3, 4)
    ]
    assert [len({place for place, _ in family}) for family in found] == [1, 1, 2, 2]


def test_what_a_push_has_settled_is_not_asked_for_again_when_it_stands_above_others(two, monkeypatch):
    one, _, remote = two
    monkeypatch.setattr("padre_core.sync.passes.CHUNK", 2)
    above = put(one, project())
    for number in range(6):
        put(one, experiment(above, f"e{number}"))
    asked = []

    class Asked(Wire):
        def get(self, *ref):
            asked.append(ref)
            return super().get(*ref)

    report = engine(one, ("lab", Asked(remote, Fate(), network=True))).push([ref(above)])
    assert not report.failed
    assert len(asked) == len(set(asked)) + 1  # what is named is looked at before, for a tombstone


def test_lost_cursors_cost_one_comparison_and_nothing_else(two, tmp_path):
    one, _, remote = two
    made = project()
    put(one, made)
    path = tmp_path / "state" / "cursors.json"
    sync(engine(one, ("lab", remote), cursors=CursorFile(path)))
    path.write_bytes(b"not json")
    put(remote, edited(find(remote, made), title="new"))
    sync(engine(one, ("lab", remote), cursors=CursorFile(path)))
    assert find(one, made).data()["title"] == "new"


def test_two_processes_that_sync_at_once_do_each_thing_once(two):
    one, _, remote = two
    for number in range(40):
        put(one, project(f"p{number}"))
        put(one, edited(project(f"p{number}"), title="t"))
    engines = [engine(one, ("lab", remote)) for _ in range(2)]
    reports = []
    threads = [threading.Thread(target=lambda made=made: reports.append(made.sync())) for made in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [report.failed for report in reports] == [[], []]
    heads = [find(remote, project(f"p{number}")) for number in range(40)]
    assert {head.version for head in heads} == {1}
    assert all(find(one, head).conflicts == () for head in heads)


def test_a_put_during_a_sync_keeps_the_base_that_the_sync_agrees_on(two):
    one, _, remote = two
    made = project()
    both(two, made)
    put(one, edited(find(one, made), title="first"))

    class Meanwhile(Wire):
        done = False

        def put(self, record, **options):
            head = super().put(record, **options)
            if not self.done:
                self.done = True
                put(one, edited(find(one, made), title="second"))
            return head

    sync(engine(one, ("lab", Meanwhile(remote, Fate(), network=True))))
    head = find(one, made)
    noted = entry(one, made)
    assert head.data()["title"] == "second"
    assert b"first" in head.envelope["bodies"][noted.base].encode()


def test_status_and_dry_runs_change_nothing(two):
    one, _, remote = two
    put(one, project())
    put(remote, project("theirs"))
    report = engine(one, ("lab", remote)).status()
    assert {step.ref: step.action for step in report.steps["lab"]} == {
        ref(project()): Action.UPLOAD,
        ref(project("theirs")): Action.FETCH,
    }
    assert find(remote, project()) is None
    assert find(one, project()).envelope == {}


def test_sync_and_status_of_what_is_named_leave_the_rest_alone(two):
    one, _, remote = two
    named, other = project("named"), project("other")
    below = experiment(named)
    for each in (named, below, other):
        put(one, each)
    mine = engine(one, ("lab", remote))
    assert {step.ref for step in mine.status([ref(named)]).steps["lab"]} == {ref(named), ref(below)}
    assert {step.ref for step in mine.sync([ref(named)], dry=True).steps["lab"]} == {ref(named), ref(below)}
    assert find(remote, named) is None
    sync_of_named = mine.sync([ref(named)])
    assert not sync_of_named.failed
    assert find(remote, below) is not None
    assert find(remote, other) is None
    put(remote, edited(find(remote, below), title="theirs"))
    mine.sync([ref(named)])
    assert find(one, below).data()["title"] == "theirs"
    sync(mine)
    assert find(remote, other) is not None


def test_progress_tells_objects_and_bytes(two):
    one, _, remote = two
    with_blob(one, b"x" * 10)
    seen = []
    mine = engine(one, ("lab", remote), progress=lambda tally: seen.append(replace(tally)))
    mine.sync()
    assert (seen[-1].done, seen[-1].total, seen[-1].bytes) == (2, 2, 10)


def test_verify_names_what_differs(two):
    one, _, remote = two
    made, lost = project(), project("lost")
    mine, _ = both(two, made)
    put(one, lost)
    put(remote, edited(find(remote, made), title="new"))
    assert {problem.where for problem in mine.verify("lab")} == {f"project {made.id}", f"project {lost.id}"}


def test_an_unknown_remote_is_named_with_those_that_are_there(two):
    with pytest.raises(InvalidObjectError, match="the remotes are: lab"):
        engine(two[0], ("lab", two[2])).push(remotes=["lba"])


def test_a_record_is_put_with_if_match(two):
    one, _, remote = two
    put(one, project())

    class Watched(Wire):
        conditions = []

        def put(self, record, *, if_match=None):
            self.conditions.append(if_match)
            return super().put(record, if_match=if_match)

    watched = Watched(remote, Fate(), network=True)
    sync(engine(one, ("lab", watched)))
    put(one, edited(find(one, project()), title="t"))
    sync(engine(one, ("lab", watched)))
    assert watched.conditions == [ABSENT, project().etag]


@pytest.mark.parametrize("content", [b"{", b'{"name":"iris","unknown":1}'])
def test_what_a_remote_sends_and_is_no_object_is_not_stored(two, content):
    one, _, remote = two
    made = project()
    both(two, made, project("fine"))
    sent = records.successor(find(remote, made), content, by="eve", at=AT)

    class Hostile(Wire):
        def get(self, kind, id):
            return sent if id == made.id else super().get(kind, id)

    put(remote, edited(find(remote, made), title="new"))
    put(remote, edited(find(remote, project("fine")), title="new"))
    report = engine(one, ("lab", Hostile(remote, Fate(), network=True))).sync()
    assert [step.ref for step in report.failed] == [ref(made)]
    assert find(one, made).content == made.content
    assert find(one, project("fine")).data()["title"] == "new"
