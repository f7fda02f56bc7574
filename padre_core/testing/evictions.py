"""The backend suite's part on evictions: local copies that go, and may come again."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from padre_core.backends.backend import Backend, Problem
from padre_core.backends.bytestore import ABSENT
from padre_core.errors import ConflictError, NotFoundError, ReadOnlyError, UnsupportedError
from padre_core.objects.identity import run_child_id
from padre_core.objects.record import Record
from padre_core.query.model import Deleted, Query
from padre_core.streams.columns import Line, Lines
from padre_core.testing import samples, together
from padre_core.testing.records import UNKNOWN, BackendSuite, core
from padre_core.testing.samples import edited, project
from padre_core.testing.suite import Budget, Opening

WRITER = "0123456789abcdef"


class Refusals(BackendSuite, level="base"):
    """A backend need not be able to do it."""

    def test_a_backend_that_cannot_evict_says_so(self, backend: Backend) -> None:
        if backend.capabilities.eviction:
            pytest.skip("this store can")
        head = backend.put(project())
        with pytest.raises(UnsupportedError):
            backend.evict("project", head.id, if_match=head.etag)
        assert backend.get("project", head.id) == head


class Evictions(BackendSuite, level="eviction"):
    """What was evicted is as if it had never been here."""

    @pytest.fixture
    def stored(self, backend: Backend) -> Record:
        """A run with ten points, two lines, and two metrics."""
        run = backend.put(samples.run(name="run", execution=UNKNOWN))
        log(backend, run.id, 10)
        for name in ("a", "b"):
            backend.put(child(run, name))
        return backend.get("run", run.id)

    def test_what_was_evicted_is_neither_got_nor_found(self, backend: Backend) -> None:
        records = [backend.put(record) for record in samples.one_of_each_kind()]
        for record in reversed(records):
            assert shown(backend, record.kind) == [record.id]
            backend.evict(record.kind, record.id, if_match=record.etag)
            assert shown(backend, record.kind) == []
            with pytest.raises(NotFoundError):
                backend.get(record.kind, record.id)
            with pytest.raises(NotFoundError):
                backend.set_envelope(record.kind, record.id, {"lab": {"url": "x"}})
        assert backend.get_many([(record.kind, record.id) for record in records]) == [None] * len(records)
        assert backend.changes().entries == ()
        assert problems(backend) == []

    def test_what_was_evicted_comes_again_as_it_was(self, backend: Backend) -> None:
        first = backend.put(project())
        head = backend.put(edited(first, title="second"))
        backend.set_envelope("project", head.id, {"lab": {"url": "x"}})
        backend.evict("project", head.id, if_match=head.etag)
        again = backend.put(head, if_match=ABSENT)
        assert core(again) == core(head)
        assert backend.get("project", head.id) == again
        assert again.envelope == {}
        assert shown(backend, "project") == [head.id]
        assert backend.put(first) == again
        assert [change.etag for change in backend.changes().entries] == [head.etag]

    def test_another_version_may_come_in_its_place(self, backend: Backend) -> None:
        first = backend.put(project())
        head = backend.put(edited(first, title="second"))
        assert backend.count("project", Query()) == 1
        backend.evict("project", head.id, if_match=head.etag)
        backend.put(first)
        assert core(backend.get("project", first.id)) == core(first)
        (found,) = backend.query("project", Query()).records
        assert core(found) == core(first)
        latest = backend.put(edited(first, title="other"), if_match=first.etag)
        assert (backend.get("project", first.id), latest.conflicts) == (latest, ())

    def test_an_edit_of_what_was_evicted_does_not_hold(self, backend: Backend) -> None:
        head = backend.put(project())
        backend.evict("project", head.id, if_match=head.etag)
        with pytest.raises(ConflictError):
            backend.put(edited(head, title="late"), if_match=head.etag)
        assert shown(backend, "project") == []

    def test_another_version_than_the_head_is_not_evicted(self, backend: Backend) -> None:
        first = backend.put(project())
        head = backend.put(edited(first, title="second"))
        with pytest.raises(ConflictError):
            backend.evict("project", head.id, if_match=first.etag)
        assert backend.get("project", head.id) == head
        assert shown(backend, "project") == [head.id]

    def test_what_is_not_here_is_not_evicted(self, backend: Backend) -> None:
        with pytest.raises(NotFoundError):
            backend.evict("project", UNKNOWN, if_match=project().etag)

    def test_an_eviction_may_be_repeated(self, backend: Backend) -> None:
        head = backend.put(project())
        for _ in range(2):
            backend.evict("project", head.id, if_match=head.etag)
        assert shown(backend, "project") == []

    def test_what_lies_beside_it_stays(self, backend: Backend, stored: Record) -> None:
        other = backend.put(samples.run(name="other", execution=UNKNOWN))
        log(backend, other.id, 3)
        one, two = child(stored, "a"), child(stored, "b")
        backend.evict("metric", one.id, if_match=one.etag)
        assert shown(backend, "metric") == [two.id]
        backend.evict("metric", two.id, if_match=two.etag)
        backend.evict("run", stored.id, if_match=stored.etag)
        assert shown(backend, "run") == [other.id]
        assert len(samples.points_by_writer(backend, other.id)[WRITER]) == 3
        assert backend.count("run", Query()) == 1
        assert problems(backend) == []

    def test_the_streams_of_a_run_go_with_it(self, backend: Backend, stored: Record) -> None:
        evict_whole(backend, stored)
        assert samples.points_by_writer(backend, stored.id) == {}
        assert samples.lines_by_writer(backend, stored.id) == {}
        assert backend.stream_ends(stored.id, "points") == {}
        assert problems(backend) == []

    @pytest.mark.parametrize("streams_first", [False, True])
    def test_a_run_may_come_again_with_fewer_points(
        self, backend: Backend, stored: Record, streams_first: bool
    ) -> None:
        assert backend.query("run", Query()).records[0].summaries
        for count in (4, 2):
            evict_whole(backend, stored)
            if streams_first:
                log(backend, stored.id, count)
            head = backend.put(stored)
            assert core(head) == core(stored)
            if not streams_first:
                log(backend, stored.id, count)
            assert len(samples.points_by_writer(backend, stored.id)[WRITER]) == count
            for found in (backend.get("run", stored.id), *backend.query("run", Query()).records):
                assert [summary.count for summary in found.summaries] == [count]
        assert problems(backend) == []

    def test_a_run_that_came_again_is_written_as_ever(self, backend: Backend, stored: Record) -> None:
        evict_whole(backend, stored)
        backend.put(stored)
        writer = backend.open_writer(stored.id)
        samples.log(writer, 5)
        writer.close()
        points, lines = samples.logged(5)
        assert samples.points_by_writer(backend, stored.id) == {writer.id: points}
        assert samples.lines_by_writer(backend, stored.id) == {writer.id: lines}

    def test_a_run_that_a_living_process_writes_stays(self, backend: Backend, stored: Record) -> None:
        if backend.live_runs() is None:
            pytest.skip("this store cannot tell which runs are written")
        writer = backend.open_writer(stored.id)
        for record in (child(stored, "a"), stored):
            with pytest.raises(ConflictError):
                backend.evict(record.kind, record.id, if_match=record.etag)
        assert core(backend.get("run", stored.id)) == core(stored)
        writer.close()
        evict_whole(backend, stored)
        assert shown(backend, "run") == []

    def test_blobs_stay(self, backend: Backend) -> None:
        blob = backend.write_blob(io.BytesIO(b"bytes"))
        head = backend.put(project(file=blob.model_dump(mode="json")))
        backend.evict("project", head.id, if_match=head.etag)
        assert backend.open_blob(blob.digest).read() == b"bytes"
        assert problems(backend) == []

    def test_of_an_edit_and_an_eviction_of_one_version_one_succeeds(self, backend: Backend, budget: Budget) -> None:
        self.require(backend.capabilities, "conditional_write")

        def attempt(change: Callable[[], object]) -> bool:
            try:
                change()
            except (ConflictError, NotFoundError):
                return False
            return True

        for number in range(budget.rounds):
            head = backend.put(project(str(number)))
            edit = partial(backend.put, edited(head, title="new"), if_match=head.etag)
            evict = partial(backend.evict, "project", head.id, if_match=head.etag)
            changed, evicted = together.threads(partial(attempt, edit), partial(attempt, evict))
            assert changed != evicted
            assert (backend.get_many([("project", head.id)]) == [None]) == evicted

    def test_what_was_evicted_is_gone_when_the_store_is_opened_again(
        self, backend: Backend, stored: Record, opening: Opening
    ) -> None:
        self.require(backend.capabilities, "persistent")
        assert shown(backend, "run") == [stored.id]
        opening.close(backend)
        again = opening()
        evict_whole(again, stored)
        opening.close(again)
        last = opening()
        assert (shown(last, "run"), shown(last, "metric")) == ([], [])
        assert samples.points_by_writer(last, stored.id) == {}
        assert problems(last) == []
        last.put(stored)
        log(last, stored.id, 2)
        opening.close(last)
        (found,) = opening().query("run", Query()).records
        assert (core(found), [summary.count for summary in found.summaries]) == (core(stored), [2])

    def test_another_opening_sees_what_goes_and_what_comes_again(
        self, backend: Backend, stored: Record, opening: Opening
    ) -> None:
        self.require(backend.capabilities, "multi_process")
        other = opening()
        assert (shown(other, "run"), len(shown(other, "metric"))) == ([stored.id], 2)
        evict_whole(backend, stored)
        assert (shown(other, "run"), shown(other, "metric")) == ([], [])
        with pytest.raises(NotFoundError):
            other.get("run", stored.id)
        assert samples.points_by_writer(other, stored.id) == {}
        log(other, stored.id, 3)
        other.put(stored)
        assert [summary.count for summary in backend.get("run", stored.id).summaries] == [3]
        assert shown(backend, "run") == [stored.id]

    def test_a_store_opened_for_reading_keeps_what_it_has(self, backend: Backend, opening: Opening) -> None:
        self.require(backend.capabilities, "persistent")
        head = backend.put(project())
        opening.close(backend)
        reader = opening(readonly=True)
        with pytest.raises(ReadOnlyError):
            reader.evict("project", head.id, if_match=head.etag)
        assert reader.get("project", head.id) == head


def child(run: Record, name: str) -> Record:
    """A metric of a run."""
    id = run_child_id(run.id, "metric", name, None, None)
    return replace(samples.record("metric", id, {"name": name}), ancestors=(run.id,))


def log(backend: Backend, run: str, count: int) -> None:
    """Points and two lines, as a transfer brings them."""
    assert backend.append_stream(run, WRITER, 0, samples.points(count)) == count
    assert backend.append_stream(run, WRITER, 0, Lines((Line(0, "INFO", "one"), Line(1, "INFO", "two")))) == 2


def evict_whole(backend: Backend, run: Record) -> None:
    """Evicts a run after its metrics, as far as these are there."""
    for name in ("a", "b"):
        (metric,) = backend.get_many([("metric", child(run, name).id)])
        if metric is not None:
            backend.evict("metric", metric.id, if_match=metric.etag)
    backend.evict("run", run.id, if_match=run.etag)


def shown(backend: Backend, kind: str) -> list[str]:
    """The ids of all objects of a kind that queries find, with a check that counts agree."""
    query = Query(deleted=Deleted.INCLUDE)
    found = [record.id for record in backend.query(kind, query).records]
    assert backend.count(kind, query) == len(found)
    return found


def problems(backend: Backend) -> list[Problem]:
    """What the store finds wrong with itself; blobs that nobody refers to any more are not."""
    try:
        return [problem for problem in backend.verify() if problem.code != "unused-blob"]
    except UnsupportedError:
        return []
