"""The suite for byte stores, continued: threads, and what capabilities promise."""

from __future__ import annotations

import itertools
import threading
import tracemalloc
from functools import partial
from typing import Any

import pytest

from padre_core.backends.bytestore import ABSENT, ByteStore
from padre_core.errors import ConflictError, ReadOnlyError
from padre_core.testing import together
from padre_core.testing.bytestores import ByteStoreSuite, claim, count_up, keys, listed, put_keys
from padre_core.testing.suite import Budget, Opening


class Threads(ByteStoreSuite, level="base"):
    """Many threads on one opened store."""

    def test_threads_that_write_different_keys_lose_none(self, store: ByteStore, budget: Budget) -> None:
        def write(thread: int) -> None:
            for number in range(budget.rounds):
                store.write(f"thread-{thread}/{number:03}", b"%d" % number)

        together.threads(*(partial(write, thread) for thread in range(budget.threads)))
        assert len(keys(store)) == budget.threads * budget.rounds

    def test_a_reader_sees_the_old_bytes_or_the_new(self, store: ByteStore, budget: Budget) -> None:
        size = 200_000
        store.write("key", b"\xff" * size)
        written = threading.Event()

        def write() -> None:
            try:
                for number in range(budget.rounds):
                    store.write("key", bytes([number % 256]) * size)
            finally:
                written.set()

        def read() -> None:
            while not written.is_set():
                data = store.read("key").data
                # Not `==`: pytest would look for the difference of 200,000 bytes for minutes.
                assert data.count(data[:1]) == len(data) == size, "a reader saw a mixture of two writes"

        together.threads(write, read, read)

    def test_what_a_thread_wrote_it_reads(self, store: ByteStore, budget: Budget) -> None:
        def write_and_read(thread: int) -> None:
            for number in range(budget.rounds):
                version = store.write(f"key-{thread}", b"%d" % number)
                item = store.read(f"key-{thread}")
                assert (item.data, item.version) == (b"%d" % number, version), "a stale read"

        together.threads(*(partial(write_and_read, thread) for thread in range(budget.threads)))


class Conditions(ByteStoreSuite, level="conditional_write"):
    """`if_match`, alone and in races."""

    def test_a_key_is_made_only_where_none_is(self, store: ByteStore) -> None:
        version = store.write("key", b"first", if_match=ABSENT)
        with pytest.raises(ConflictError):
            store.write("key", b"second", if_match=ABSENT)
        assert store.read("key") == store.read("key")
        assert (store.read("key").data, store.read("key").version) == (b"first", version)

    def test_a_deleted_key_is_absent(self, store: ByteStore) -> None:
        store.write("key", b"first")
        store.delete("key")
        store.write("key", b"second", if_match=ABSENT)
        assert store.read("key").data == b"second"

    def test_a_write_that_names_the_present_version_succeeds(self, store: ByteStore) -> None:
        version = store.write("key", b"first")
        store.write("key", b"second", if_match=version)
        assert store.read("key").data == b"second"

    def test_a_write_that_names_an_older_version_changes_nothing(self, store: ByteStore) -> None:
        older = store.write("key", b"first")
        newer = store.write("key", b"later")
        with pytest.raises(ConflictError):
            store.write("key", b"second", if_match=older)
        assert (store.read("key").data, store.read("key").version) == (b"later", newer)

    def test_a_version_of_a_missing_key_does_not_hold(self, store: ByteStore) -> None:
        version = store.write("key", b"first")
        store.delete("key")
        with pytest.raises(ConflictError):
            store.write("key", b"second", if_match=version)
        assert keys(store) == []

    def test_threads_that_count_lose_no_update(self, store: ByteStore, budget: Budget) -> None:
        store.write("count", b"0")
        together.threads(*[lambda: count_up(store, "count", budget.rounds)] * budget.threads)
        assert int(store.read("count").data) == budget.threads * budget.rounds

    def test_of_threads_that_make_one_key_one_succeeds(self, store: ByteStore, budget: Budget) -> None:
        for number in range(budget.rounds):
            won = together.threads(
                *(partial(claim, store, f"key-{number}", b"%d" % thread) for thread in range(budget.threads))
            )
            assert won.count(True) == 1
            assert store.read(f"key-{number}").data == b"%d" % won.index(True)


class Reopening(ByteStoreSuite, level="persistent"):
    """What is there when the store is opened again."""

    def test_what_was_written_is_there_when_the_store_is_opened_again(self, store: ByteStore, opening: Opening) -> None:
        put_keys(store)
        store.write("b", b"again")
        store.delete("a-b")
        with store.open_writer(lambda: "blob") as file:
            file.write(b"bytes")
        before = {entry.key: (entry.version, store.read(entry.key).data) for entry in listed(store)}
        opening.close(store)
        again = opening()
        assert {entry.key: (entry.version, again.read(entry.key).data) for entry in listed(again)} == before

    def test_versions_do_not_come_back_after_opening_again(self, store: ByteStore, opening: Opening) -> None:
        versions = []
        for number in range(3):
            versions += [store.write("key", b"%d-a" % number), store.write("key", b"%d-b" % number)]
            opening.close(store)
            store = opening()
        assert len(set(versions)) == 6

    def test_a_store_opened_for_reading_gives_what_is_there_and_takes_nothing(
        self, store: ByteStore, opening: Opening
    ) -> None:
        store.write("key", b"data")
        opening.close(store)
        reader = opening(readonly=True)
        assert reader.read("key").data == b"data"
        assert keys(reader) == ["key"]
        try:
            reader.write("key", b"other")
        except ReadOnlyError:
            assert reader.read("key").data == b"data"


class Processes(ByteStoreSuite, level="multi_process"):
    """Several processes, each with an opening of its own."""

    def test_processes_see_what_another_wrote(
        self, store: ByteStore, url: str, options: dict[str, Any], budget: Budget
    ) -> None:
        store.write("key", b"from here")
        job = {"job": "exchange", "url": url, "options": options, "key": "key"}
        answers = together.processes([{**job, "answer": f"answer-{number}"} for number in range(budget.processes)])
        assert answers == ["from here"] * budget.processes
        assert keys(store, "answer") == [f"answer-{n}" for n in range(budget.processes)]

    def test_processes_that_count_lose_no_update(
        self, store: ByteStore, url: str, options: dict[str, Any], budget: Budget
    ) -> None:
        self.require(store.capabilities, "conditional_write")
        store.write("count", b"0")
        job = {"job": "count", "url": url, "options": options, "key": "count", "times": budget.rounds}
        together.processes([job] * budget.processes)
        assert int(store.read("count").data) == budget.processes * budget.rounds

    def test_of_processes_that_make_one_key_one_succeeds(
        self, store: ByteStore, url: str, options: dict[str, Any], budget: Budget
    ) -> None:
        self.require(store.capabilities, "conditional_write")
        wanted = [f"key-{number}" for number in range(budget.rounds)]
        job = {"job": "claim", "url": url, "options": options, "keys": wanted}
        won = together.processes([{**job, "name": str(number)} for number in range(budget.processes)])
        assert sorted(itertools.chain(*won)) == sorted(wanted)
        for number, mine in enumerate(won):
            assert all(store.read(key).data == b"%d" % number for key in mine)


class Streaming(ByteStoreSuite, level="streaming"):
    """Large values through bounded memory."""

    def test_large_bytes_pass_through_bounded_memory(self, store: ByteStore, budget: Budget) -> None:
        chunk = bytes(range(256)) * 4096
        count = budget.large // len(chunk)
        tracemalloc.start()
        try:
            with store.open_writer(lambda: "large") as target:
                for _ in range(count):
                    target.write(chunk)
            with store.open_reader("large") as source:
                sizes = [len(part) for part in iter(lambda: source.read(len(chunk)), b"")]
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert sum(sizes) == count * len(chunk)
        assert peak < budget.large // 4, f"{peak} bytes of memory for {budget.large} bytes of data"


class Feed(ByteStoreSuite, level="change_feed"):
    """`changes` tells what is new without a listing."""

    def test_the_feed_tells_every_key_that_was_written_or_deleted(self, store: ByteStore) -> None:
        start = store.changes(None)
        assert start is not None
        store.write("one", b"1")
        store.write("two", b"2")
        first = store.changes(start[1])
        assert first is not None
        assert set(first[0]) == {"one", "two"}
        store.delete("one")
        store.write("two", b"2")
        second = store.changes(first[1])
        assert second is not None
        assert set(second[0]) == {"one", "two"}
        assert store.changes(second[1]) == ((), second[1])
