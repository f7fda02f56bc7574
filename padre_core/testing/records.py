"""The backend suite's part on records: versions, lineages, tombstones, envelopes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from padre_core.backends.backend import Backend, Write
from padre_core.backends.bytestore import ABSENT
from padre_core.errors import AlreadyExistsError, ConflictError, InvalidObjectError, NotFoundError, ReadOnlyError
from padre_core.objects import canonical
from padre_core.objects.identity import run_child_id
from padre_core.objects.kinds import kinds
from padre_core.objects.record import LINEAGE, Record, make_etag, successor
from padre_core.plugins import open_backend
from padre_core.testing import samples, together
from padre_core.testing.samples import deleted, edited, project
from padre_core.testing.suite import Budget, Suite

UNKNOWN = project("never stored").id


class BackendSuite(Suite):
    """A suite that is given a backend."""

    def open(self, url: str, **options: Any) -> Backend:
        return open_backend(url, **options)

    @pytest.fixture
    def backend(self, request: pytest.FixtureRequest, opening: Callable[..., Backend]) -> Backend:
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
        assert backend.get("project", record.id).content == record.content

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

    def test_a_backend_tells_what_it_is(self, backend: Backend, opening: Callable[..., Backend]) -> None:
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

    def test_what_is_not_there_has_no_envelope(self, backend: Backend) -> None:
        with pytest.raises(NotFoundError):
            backend.set_envelope("project", UNKNOWN, self.ENVELOPE)


class Conditions(BackendSuite, level="conditional_write"):
    """`if_match`, alone and in races."""

    def test_a_put_that_names_the_head_succeeds(self, backend: Backend) -> None:
        head = backend.put(project(), if_match=ABSENT)
        assert backend.put(edited(head, title="new"), if_match=head.etag).revision == 2

    def test_a_put_that_names_an_older_version_changes_nothing(self, backend: Backend) -> None:
        first = backend.put(project())
        second = backend.put(edited(first, title="second"))
        with pytest.raises(ConflictError):
            backend.put(edited(first, title="late"), if_match=first.etag)
        assert backend.get("project", first.id) == second

    def test_what_is_there_is_not_created(self, backend: Backend) -> None:
        head = backend.put(project())
        with pytest.raises(AlreadyExistsError):
            backend.put(edited(head, title="other"), if_match=ABSENT)
        assert backend.get("project", head.id) == head

    def test_a_version_of_what_is_not_there_does_not_hold(self, backend: Backend) -> None:
        record = project()
        with pytest.raises(ConflictError):
            backend.put(edited(record, title="new"), if_match=record.etag)
        with pytest.raises(NotFoundError):
            backend.get("project", record.id)

    def test_threads_that_edit_one_object_lose_no_update(self, backend: Backend, budget: Budget) -> None:
        head = backend.put(project(count=0))
        together.threads(*[partial(samples.count_up, backend, "project", head.id, budget.rounds)] * budget.threads)
        assert backend.get("project", head.id).data()["count"] == budget.threads * budget.rounds

    def test_of_threads_that_create_one_object_one_succeeds(self, backend: Backend, budget: Budget) -> None:
        def create(name: str, thread: int) -> bool:
            try:
                backend.put(project(name, title=str(thread)), if_match=ABSENT)
            except ConflictError:
                return False
            return True

        for number in range(budget.rounds):
            name = f"project {number}"
            won = together.threads(*(partial(create, name, thread) for thread in range(budget.threads)))
            assert won.count(True) == 1
            assert backend.get("project", project(name).id).data()["title"] == str(won.index(True))

    def test_threads_that_edit_children_of_one_run_lose_none(self, backend: Backend, budget: Budget) -> None:
        run = backend.put(samples.run())
        children = [replace(child, ancestors=(run.id,)) for child in _children(run.id, budget.threads)]
        for child in children:
            backend.put(child)
        together.threads(*(partial(samples.count_up, backend, "metric", child.id, budget.rounds) for child in children))
        assert {backend.get("metric", child.id).data()["count"] for child in children} == {budget.rounds}


def _children(run: str, count: int) -> list[Record]:
    return [
        samples.record("metric", run_child_id(run, "metric", str(n), None, None), {"name": str(n), "count": 0}, (run,))
        for n in range(count)
    ]


class Reopening(BackendSuite, level="persistent"):
    """What is there when the store is opened again."""

    def test_records_are_there_when_the_store_is_opened_again(
        self, backend: Backend, opening: Callable[..., Backend]
    ) -> None:
        heads = [backend.put(record) for record in samples.one_of_each_kind()]
        heads[1] = backend.put(edited(heads[1], title="again"))
        heads[2] = backend.put(deleted(heads[2]))
        heads[3] = backend.set_envelope(heads[3].kind, heads[3].id, {"lab": {"url": "x"}})
        backend.close()
        again = opening()
        assert [again.get(head.kind, head.id) for head in heads] == heads

    def test_a_store_keeps_its_id(self, backend: Backend, opening: Callable[..., Backend]) -> None:
        before = backend.info().store
        backend.close()
        assert opening().info().store == before

    def test_a_store_opened_for_reading_gives_what_is_there_and_takes_nothing(
        self, backend: Backend, opening: Callable[..., Backend]
    ) -> None:
        head = backend.put(project())
        backend.close()
        reader = opening(readonly=True)
        assert reader.info().readonly
        with pytest.raises(ReadOnlyError):
            reader.put(edited(head, title="new"))
        with pytest.raises(ReadOnlyError):
            reader.append_stream(samples.run().id, "0" * 16, 0, samples.points(1))
        assert reader.get("project", head.id) == head


class Processes(BackendSuite, level="multi_process"):
    """Several processes, each with an opening of its own."""

    def test_processes_that_edit_one_object_lose_no_update(
        self, backend: Backend, url: str, options: dict[str, Any], budget: Budget
    ) -> None:
        self.require(backend.capabilities, "conditional_write")
        head = backend.put(project(count=0))
        job = {"job": "edit", "url": url, "options": options, "kind": "project", "id": head.id, "times": budget.rounds}
        together.processes([job] * budget.processes)
        assert backend.get("project", head.id).data()["count"] == budget.processes * budget.rounds

    def test_of_processes_that_create_one_object_one_succeeds(
        self, backend: Backend, url: str, options: dict[str, Any], budget: Budget
    ) -> None:
        self.require(backend.capabilities, "conditional_write")
        names = [f"project {number}" for number in range(budget.rounds)]
        job = {"job": "create", "url": url, "options": options, "names": names}
        made = together.processes([{**job, "title": str(number)} for number in range(budget.processes)])
        assert sorted(name for names in made for name in names) == sorted(names)
        for number, mine in enumerate(made):
            assert {backend.get("project", project(name).id).data()["title"] for name in mine} <= {str(number)}

    def test_processes_that_log_to_one_run_lose_no_point(
        self, backend: Backend, url: str, options: dict[str, Any], budget: Budget
    ) -> None:
        run = backend.put(samples.run())
        job = {"job": "log", "url": url, "options": options, "run": run.id, "times": budget.rounds}
        writers = together.processes([job] * budget.processes)
        points, lines = samples.logged(budget.rounds)
        assert samples.points_by_writer(backend, run.id) == dict.fromkeys(writers, points)
        assert samples.lines_by_writer(backend, run.id) == dict.fromkeys(writers, lines)
