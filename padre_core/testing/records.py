"""The backend suite's part on records: versions, lineages, tombstones, envelopes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from padre_core.backends.backend import Backend, Note, Write
from padre_core.backends.bytestore import ABSENT
from padre_core.errors import ConflictError, InvalidObjectError, NotFoundError
from padre_core.objects import canonical
from padre_core.objects.kinds import kinds
from padre_core.objects.record import LINEAGE, Record, make_etag, successor
from padre_core.plugins import open_backend
from padre_core.testing import samples
from padre_core.testing.samples import deleted, edited, project
from padre_core.testing.suite import Opening, Suite

UNKNOWN = project("never stored").id


class BackendSuite(Suite):
    """A suite that is given a backend."""

    def open(self, url: str, **options: Any) -> Backend:
        return open_backend(url, **options)

    @pytest.fixture
    def backend(self, request: pytest.FixtureRequest, opening: Opening) -> Backend:
        """The backend, opened and empty."""
        backend: Backend = self.opened(request, opening)
        return backend


def core(record: Record) -> Record:
    """What of a record is the same in every store."""
    return replace(record, version=0, envelope={}, summaries=())


class Storing(BackendSuite, level="base"):
    """Putting and getting."""

    def test_a_record_of_every_kind_comes_back_as_it_was_put(self, backend: Backend) -> None:
        records = samples.one_of_each_kind()
        heads = [backend.put(record) for record in records]
        assert [core(head) for head in heads] == records
        assert [backend.get(record.kind, record.id) for record in records] == heads

    @pytest.mark.parametrize("name", samples.VALUES)
    def test_every_value_survives_unchanged(self, backend: Backend, name: str) -> None:
        record = project(metadata={name: samples.VALUES[name]})
        backend.put(record)
        assert backend.get("project", record.id).content == record.content

    def test_deep_and_large_content_survives(self, backend: Backend) -> None:
        record = project(metadata={"deep": samples.deep(), "large": "数" * 1_000_000})
        backend.put(record)
        same = backend.get("project", record.id).content == record.content
        assert same

    def test_stamps_and_ancestors_survive(self, backend: Backend) -> None:
        above = tuple(project(name).id for name in "ab")
        record = replace(
            samples.record("experiment", UNKNOWN, {"name": "x"}, above, by="ünï"),
            updated_at="2031-12-31T23:59:59.999999Z", updated_by='"; drop',
        )  # fmt: skip
        backend.put(record)
        assert core(backend.get("experiment", UNKNOWN)) == record

    @pytest.mark.parametrize("kind", [model.kind for model in kinds()])
    def test_what_was_never_stored_is_not_found(self, backend: Backend, kind: str) -> None:
        backend.put(project())
        with pytest.raises(NotFoundError):
            backend.get(kind, UNKNOWN)

    def test_an_id_belongs_to_its_kind(self, backend: Backend) -> None:
        record = backend.put(project())
        with pytest.raises(NotFoundError):
            backend.get("dataset", record.id)

    @pytest.mark.parametrize("id", samples.HOSTILE_IDS)
    def test_a_hostile_id_is_refused_and_nothing_is_stored(self, backend: Backend, id: str) -> None:
        with pytest.raises(InvalidObjectError):
            backend.put(samples.record("project", id))
        with pytest.raises((InvalidObjectError, NotFoundError)):
            backend.get("project", id)
        assert backend.changes().entries == ()

    def test_an_unknown_kind_is_refused(self, backend: Backend) -> None:
        with pytest.raises(InvalidObjectError):
            backend.put(samples.record("../spell", UNKNOWN))
        assert backend.changes().entries == ()

    def test_content_that_does_not_belong_to_the_etag_is_refused(self, backend: Backend) -> None:
        head = backend.put(project())
        with pytest.raises(InvalidObjectError):
            backend.put(replace(edited(head, title="one"), content=b'{"title":"two"}'))
        assert backend.get("project", head.id) == head

    def test_many_are_got_in_the_order_asked_for(self, backend: Backend) -> None:
        one, two = backend.put(project("one")), backend.put(project("two"))
        found = backend.get_many([("project", two.id), ("run", UNKNOWN), ("project", one.id), ("project", two.id)])
        assert found == [two, None, one, two]

    def test_of_many_writes_each_stands_by_itself(self, backend: Backend) -> None:
        head = backend.put(project("one"))
        wrong = replace(project("two"), content=b"{}")
        writes = [Write(edited(head, title="new")), Write(wrong), Write(project("three"))]
        first, second, third = backend.put_many(writes)
        assert isinstance(first, Record)
        assert isinstance(second, InvalidObjectError)
        assert isinstance(third, Record)
        assert backend.get("project", head.id) == first
        assert backend.get("project", third.id) == third

    def test_a_repository_is_the_view_of_one_kind(self, backend: Backend) -> None:
        head = backend.projects.put(project())
        assert backend.projects.get(head.id) == backend.get("project", head.id) == head

    def test_a_backend_tells_what_it_is(self, backend: Backend, opening: Opening) -> None:
        info = backend.info()
        assert info.durability in ("process", "power", "spooled")
        assert info.capabilities == backend.capabilities
        assert not info.readonly
        backend.ping()
        assert opening().info().store == info.store

    def test_closing_twice_is_no_error(self, backend: Backend) -> None:
        backend.put(project())
        backend.close()
        backend.close()


class Versions(BackendSuite, level="base"):
    """What a put comes to."""

    def test_a_newer_version_replaces_the_older(self, backend: Backend) -> None:
        first = backend.put(project())
        second = edited(first, title="second")
        assert core(backend.put(second)) == core(second)
        assert core(backend.get("project", first.id)) == core(second)

    def test_each_write_of_an_object_counts_up_its_version(self, backend: Backend) -> None:
        first = backend.put(project())
        second = backend.put(edited(first, title="second"))
        third = backend.set_envelope("project", first.id, {"lab": {"url": "x"}})
        assert [first.version, second.version, third.version] == [1, 2, 3]

    def test_putting_the_same_version_again_changes_nothing(self, backend: Backend) -> None:
        head = backend.put(project())
        assert backend.put(project()) == head
        assert backend.get("project", head.id) == head

    def test_a_retry_of_an_older_version_succeeds_and_changes_nothing(self, backend: Backend) -> None:
        first = backend.put(project())
        second = edited(first, title="second")
        backend.put(second, if_match=first.etag)
        third = backend.put(edited(second, title="third"))
        assert backend.put(second, if_match=first.etag) == third
        assert backend.put(project(), if_match=ABSENT) == third

    def test_versions_may_arrive_in_any_order(self, backend: Backend) -> None:
        first = project()
        second = edited(first, title="second")
        third = edited(second, title="third")
        for version in (second, third, first):
            head = backend.put(version)
        assert core(head) == third

    @pytest.mark.parametrize("swapped", [False, True])
    def test_of_diverged_versions_the_greater_etag_is_head_and_the_other_is_kept(
        self, backend: Backend, swapped: bool
    ) -> None:
        base = project()
        ours, theirs = edited(base, title="ours"), edited(edited(base, title="x"), title="theirs")
        for version in (theirs, ours) if swapped else (ours, theirs):
            head = backend.put(version)
        assert (head.etag, head.content) == (theirs.etag, theirs.content)
        (lost,) = backend.get("project", base.id).conflicts
        assert (lost.etag, lost.content, lost.lineage) == (ours.etag, ours.content, ours.lineage)

    def test_equal_content_made_twice_is_no_conflict(self, backend: Backend) -> None:
        first = project()
        back = edited(edited(first, title="away"), title=None)
        same = replace(edited(first, title=None), content=back.content)
        backend.put(same)
        head = backend.put(back)
        assert head.conflicts == ()
        assert head.etag == back.etag
        assert {same.etag, first.etag} <= set(head.lineage)

    def test_a_version_made_from_both_ends_the_conflict(self, backend: Backend) -> None:
        base = project()
        ours, theirs = edited(base, title="ours"), edited(base, title="theirs")
        backend.put(ours)
        head = backend.put(theirs)
        content = canonical.to_json({"name": "sample", "title": "both"})
        parents = sorted((ours.etag, theirs.etag))
        merged = replace(
            head, content=content, conflicts=(), etag=make_etag(parents, canonical.digest(content), None),
            lineage=(*parents, base.etag),
        )  # fmt: skip
        assert backend.put(merged, if_match=head.etag).conflicts == ()
        assert backend.put(ours).etag == merged.etag

    def test_conflicts_travel_with_the_record(self, backend: Backend) -> None:
        base = project()
        ours, theirs = sorted((edited(base, title="a"), edited(base, title="b")), key=lambda record: record.etag)
        backend.put(ours)
        sent = backend.put(theirs)
        other = project("other")
        moved = replace(sent, id=other.id, version=0)
        assert backend.put(moved).conflicts == sent.conflicts
        assert backend.get("project", other.id).conflicts == sent.conflicts

    def test_a_long_history_keeps_its_newest_ancestors(self, backend: Backend) -> None:
        head = backend.put(project())
        etags = [head.etag]
        for number in range(LINEAGE + 3):
            head = backend.put(edited(head, title=str(number)), if_match=head.etag)
            etags.insert(0, head.etag)
        assert backend.get("project", head.id).lineage[:LINEAGE] == tuple(etags[1 : LINEAGE + 1])

    def test_a_run_may_move_to_another_parent(self, backend: Backend) -> None:
        old, new = project("old").id, project("new").id
        run = backend.put(replace(samples.run(), ancestors=(old,)))
        backend.put(successor(run, b'{"moved":true}', by=None, at=samples.AT, ancestors=(new,)))
        assert backend.get("run", run.id).ancestors == (new,)


class Tombstones(BackendSuite, level="base"):
    """Deleted objects are versions too."""

    def test_a_deleted_object_is_got_with_its_tombstone_and_last_content(self, backend: Backend) -> None:
        head = backend.put(project(title="kept"))
        backend.put(deleted(head), if_match=head.etag)
        found = backend.get("project", head.id)
        assert found.deleted is not None
        assert (found.deleted.id, found.content) == ("deletion-1", head.content)

    def test_a_repeated_delete_is_known_as_the_same(self, backend: Backend) -> None:
        head = backend.put(project())
        tombstone = backend.put(deleted(head), if_match=head.etag)
        assert backend.put(deleted(head), if_match=head.etag) == tombstone

    def test_a_version_after_the_tombstone_restores(self, backend: Backend) -> None:
        head = backend.put(project())
        tombstone = backend.put(deleted(head))
        backend.put(successor(tombstone, head.content, by=None, at=samples.AT), if_match=tombstone.etag)
        restored = backend.get("project", head.id)
        assert restored.deleted is None
        assert restored.content == head.content
        assert restored.etag not in (head.etag, tombstone.etag)

    def test_a_tombstone_of_what_was_never_here_is_stored(self, backend: Backend) -> None:
        tombstone = deleted(project())
        backend.put(tombstone)
        assert core(backend.get("project", tombstone.id)) == tombstone


class Envelopes(BackendSuite, level="base"):
    """What a store notes about remotes."""

    ENVELOPE = {"lab": {"url": "https://lab.example.org/é", "etag": "1-0123456789abcdef", "base": '{"a":NaN}'}}

    def test_an_envelope_is_kept_and_changes_neither_etag_nor_content(self, backend: Backend) -> None:
        head = backend.put(project())
        noted = backend.set_envelope("project", head.id, self.ENVELOPE)
        assert noted.envelope == self.ENVELOPE
        assert backend.get("project", head.id) == noted
        assert core(noted) == core(head)

    def test_an_envelope_outlives_puts_and_can_be_emptied(self, backend: Backend) -> None:
        head = backend.put(project())
        backend.set_envelope("project", head.id, self.ENVELOPE)
        assert backend.put(edited(head, title="new")).envelope == self.ENVELOPE
        assert backend.set_envelope("project", head.id, {}).envelope == {}

    def test_an_envelope_that_is_put_stays_behind(self, backend: Backend) -> None:
        assert backend.put(replace(project(), envelope=self.ENVELOPE, version=7)).envelope == {}

    def test_notes_of_a_write_are_kept_at_most_of_what_is_new(self, backend: Backend) -> None:
        there = backend.put(project("there"))
        sent = [project("there"), edited(there, title="new title"), project("new")]
        for head in backend.put_many([Write(record, notes=self.ENVELOPE) for record in sent]):
            assert isinstance(head, Record)
            assert head.envelope in (({},) if head.id == there.id else ({}, self.ENVELOPE))
            assert backend.get("project", head.id).envelope == head.envelope

    def test_what_is_not_there_has_no_envelope(self, backend: Backend) -> None:
        with pytest.raises(NotFoundError):
            backend.set_envelope("project", UNKNOWN, self.ENVELOPE)

    def test_an_envelope_is_not_replaced_when_something_was_written_meanwhile(self, backend: Backend) -> None:
        head = backend.put(project())
        backend.set_envelope("project", head.id, self.ENVELOPE, if_version=head.version)
        with pytest.raises(ConflictError):
            backend.set_envelope("project", head.id, {}, if_version=head.version)
        assert backend.get("project", head.id).envelope == self.ENVELOPE

    def test_many_envelopes_are_set_each_by_itself(self, backend: Backend) -> None:
        first, second = backend.put(project("first")), backend.put(project("second"))
        notes = [
            Note("project", second.id, self.ENVELOPE, second.version + 1),
            Note("project", UNKNOWN, self.ENVELOPE),
            Note("project", first.id, self.ENVELOPE, first.version),
        ]
        stale, missing, noted = backend.set_envelopes(notes)
        assert isinstance(stale, ConflictError)
        assert isinstance(missing, NotFoundError)
        assert noted == backend.get("project", first.id)
        assert backend.get("project", first.id).envelope == self.ENVELOPE
        assert backend.get("project", second.id).envelope == {}
