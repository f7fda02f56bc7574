"""State machines: any history of calls leaves a store as a simple model says."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)

from padre_core.backends.backend import Backend
from padre_core.backends.bytestore import ABSENT, ByteStore
from padre_core.errors import ConflictError, NotFoundError
from padre_core.objects.record import Record, successor
from padre_core.query.model import Deleted, Query
from padre_core.testing import samples
from padre_core.testing.bytestores import KEYS, ByteStoreSuite, listed
from padre_core.testing.bytestores import keys as listed_keys
from padre_core.testing.records import BackendSuite, core
from padre_core.testing.suite import Budget, Opening

keys = st.sampled_from(KEYS)


class Bytes(RuleBasedStateMachine):
    """A byte store beside a dict."""

    def __init__(self, opening: Opening) -> None:
        super().__init__()
        self.opening = opening
        self.store: ByteStore = opening()
        for key in listed_keys(self.store):
            self.store.delete(key)
        self.model: dict[str, bytes] = {}
        self.versions: dict[str, str] = {}

    def teardown(self) -> None:
        self.opening.close(self.store)

    @rule(key=keys, data=st.binary(max_size=64))
    def write(self, key: str, data: bytes) -> None:
        self.versions[key] = self.store.write(key, data)
        self.model[key] = data

    @precondition(lambda self: self.store.capabilities.conditional_write)
    @rule(key=keys, data=st.binary(max_size=64), absent=st.booleans())
    def write_if_it_matches(self, key: str, data: bytes, absent: bool) -> None:
        condition = ABSENT if absent else self.versions.get(key, "no-version")
        if absent == (key in self.model):
            with pytest.raises(ConflictError):
                self.store.write(key, data, if_match=condition)
        else:
            self.versions[key] = self.store.write(key, data, if_match=condition)
            self.model[key] = data

    @rule(key=keys)
    def delete(self, key: str) -> None:
        self.store.delete(key)
        self.model.pop(key, None)
        self.versions.pop(key, None)

    @rule(key=keys)
    def read(self, key: str) -> None:
        if key in self.model:
            item = self.store.read(key)
            assert (item.data, item.version) == (self.model[key], self.versions[key])
        else:
            with pytest.raises(NotFoundError):
                self.store.read(key)

    @rule(prefix=st.sampled_from(["", "a", "a/", "runs/", "zz"]), after=st.sampled_from(["", *KEYS]))
    def list(self, prefix: str, after: str) -> None:
        found = [(entry.key, entry.version) for entry in listed(self.store, prefix, after)]
        expected = sorted(key for key in self.model if key.startswith(prefix) and key > after)
        assert found == [(key, self.versions[key]) for key in expected]

    @precondition(lambda self: self.store.capabilities.persistent)
    @rule()
    def open_again(self) -> None:
        self.opening.close(self.store)
        self.store = self.opening()


class Versions(RuleBasedStateMachine):
    """A backend beside a dict of heads; every known version may be put again at any time."""

    known = Bundle("known")

    def __init__(self, opening: Opening, serial: Callable[[], int]) -> None:
        super().__init__()
        self.opening = opening
        self.backend: Backend = opening()
        self.history = serial()
        self.heads: dict[str, Record] = {}
        self.evicted: dict[str, Record] = {}
        self.writers: dict[str, int] = {}
        self.first = self.backend.put(samples.run())
        self.run = self.first.id

    def teardown(self) -> None:
        self.opening.close(self.backend)

    @rule(target=known, name=st.sampled_from("abc"))
    def create(self, name: str) -> Record:
        record = samples.project(f"{self.history}-{name}")
        if record.id in self.evicted:
            return record
        self.backend.put(record)
        self.heads.setdefault(record.id, record)
        return record

    @rule(target=known, before=known, title=st.text(max_size=3))
    def edit_the_head(self, before: Record, title: str) -> Record:
        if before.id in self.evicted:
            return before
        head = self.heads[before.id]
        record = samples.edited(head, title=title)
        if head.deleted:
            record = successor(head, record.content, by=None, at=samples.AT)
        self.backend.put(record, if_match=head.etag)
        self.heads[before.id] = record
        return record

    @rule(target=known, before=known, deletion=st.uuids())
    def delete(self, before: Record, deletion: Any) -> Record:
        if before.id in self.evicted:
            return before
        record = samples.deleted(self.heads[before.id], str(deletion))
        self.backend.put(record)
        self.heads[before.id] = record
        return record

    @precondition(lambda self: self.backend.capabilities.conditional_write)
    @rule(before=known, title=st.text(max_size=3))
    def edit_what_is_no_longer_the_head(self, before: Record, title: str) -> None:
        if before.id in self.evicted or before.etag == self.heads[before.id].etag:
            return
        late = samples.edited(before, title="late " + title)
        with pytest.raises(ConflictError):
            self.backend.put(late, if_match=before.etag)

    @rule(before=known)
    def put_a_known_version_again(self, before: Record) -> None:
        if before.id not in self.evicted:
            self.backend.put(before)

    @precondition(lambda self: self.backend.capabilities.eviction)
    @rule(before=known)
    def evict(self, before: Record) -> None:
        if before.id in self.heads:
            head = self.evicted[before.id] = self.heads.pop(before.id)
            self.backend.evict("project", head.id, if_match=head.etag)

    @precondition(lambda self: self.evicted)
    @rule()
    def download(self) -> None:
        for record in self.evicted.values():
            self.backend.put(record, if_match=ABSENT)
        self.heads.update(self.evicted)
        self.evicted.clear()

    @precondition(lambda self: self.backend.capabilities.eviction)
    @rule()
    def evict_the_run_and_download_it_without_its_points(self) -> None:
        self.backend.evict("run", self.run, if_match=self.first.etag)
        self.backend.put(self.first)
        self.writers.clear()

    @rule(writer=st.sampled_from(["0" * 16, "f" * 16]), count=st.integers(1, 40), back=st.integers(0, 10))
    def log(self, writer: str, count: int, back: int) -> None:
        next_ = self.writers.get(writer, 0)
        first = max(0, next_ - back)
        expected = max(next_, first + count)
        assert self.backend.append_stream(self.run, writer, first, samples.points(count, start=first)) == expected
        self.writers[writer] = expected

    @precondition(lambda self: self.backend.capabilities.persistent)
    @rule()
    def open_again(self) -> None:
        self.opening.close(self.backend)
        self.backend = self.opening()

    @rule()
    def every_head_is_as_the_model_says(self) -> None:
        for id, head in self.heads.items():
            found = core(self.backend.get("project", id))
            assert (found.etag, found.content, found.deleted) == (head.etag, head.content, head.deleted)
            assert found.conflicts == ()

    @rule()
    def listings_are_as_the_model_says(self) -> None:
        for deleted in Deleted:
            found = self.backend.query("project", Query(deleted=deleted)).records
            known = self.heads.keys() | self.evicted.keys()
            mine = {record.id: record.etag for record in found if record.id in known}
            assert mine == {
                id: head.etag
                for id, head in self.heads.items()
                if deleted is Deleted.INCLUDE or (head.deleted is not None) == (deleted is Deleted.ONLY)
            }

    @rule()
    def streams_are_as_the_model_says(self) -> None:
        found = samples.points_by_writer(self.backend, self.run)
        assert found == {
            writer: [("loss", step, step / 7) for step in range(count)] for writer, count in self.writers.items()
        }


def run_machine(machine: Callable[[], RuleBasedStateMachine], budget: Budget) -> None:
    """Tries histories within a budget."""
    run_state_machine_as_test(
        machine,  # type: ignore[arg-type]  # a factory serves as well as a class
        settings=settings(
            max_examples=budget.examples,
            stateful_step_count=budget.steps,
            deadline=None,
            database=None,
            print_blob=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


class ByteHistories(ByteStoreSuite, level="base"):
    """Any history of calls on a byte store."""

    def test_any_history_of_calls_leaves_what_the_model_says(
        self, store: ByteStore, opening: Opening, budget: Budget
    ) -> None:
        run_machine(functools.partial(Bytes, opening), budget)


class RecordHistories(BackendSuite, level="base"):
    """Any history of calls on a backend."""

    def test_any_history_of_calls_leaves_what_the_model_says(
        self, backend: Backend, opening: Opening, budget: Budget
    ) -> None:
        histories = iter(range(1_000_000))
        run_machine(functools.partial(Versions, opening, functools.partial(next, histories)), budget)
