"""The backend suite's part on records, continued: what capabilities promise."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from padre_core.backends.backend import Backend
from padre_core.backends.bytestore import ABSENT
from padre_core.errors import AlreadyExistsError, ConflictError, NotFoundError, ReadOnlyError
from padre_core.objects.identity import run_child_id
from padre_core.objects.record import Record
from padre_core.testing import samples, together
from padre_core.testing.records import BackendSuite
from padre_core.testing.samples import deleted, edited, project
from padre_core.testing.suite import Budget, Opening


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

    def test_records_are_there_when_the_store_is_opened_again(self, backend: Backend, opening: Opening) -> None:
        heads = [backend.put(record) for record in samples.one_of_each_kind()]
        heads[1] = backend.put(edited(heads[1], title="again"))
        heads[2] = backend.put(deleted(heads[2]))
        heads[3] = backend.set_envelope(heads[3].kind, heads[3].id, {"lab": {"url": "x"}})
        opening.close(backend)
        again = opening()
        assert [again.get(head.kind, head.id) for head in heads] == heads

    def test_a_store_keeps_its_id(self, backend: Backend, opening: Opening) -> None:
        before = backend.info().store
        opening.close(backend)
        assert opening().info().store == before

    def test_a_store_opened_for_reading_gives_what_is_there_and_takes_nothing(
        self, backend: Backend, opening: Opening
    ) -> None:
        head = backend.put(project())
        opening.close(backend)
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
