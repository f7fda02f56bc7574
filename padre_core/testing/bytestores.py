"""The suite for byte stores: what `ByteStore` promises, test by test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO

import pytest

from padre_core.backends.bytestore import ABSENT, ByteStore, Entry, Pieces
from padre_core.backends.layout import MARKER, encode_marker
from padre_core.errors import ConflictError, NotFoundError, PadreError, UnsupportedError
from padre_core.plugins import backend_class, check_url, scheme_of
from padre_core.testing.suite import Opening, Suite

KEYS = ("a-b", "a.b", "a/b", "a/b-1", "a/b.json", "a0", "aa/b/c", "b", "runs/00/ff/x/run.json", "z_Z")
"""In byte order, which is not the order in which a folder is walked."""

DATA = (b"", b"\0", b"text\r\n", bytes(range(256)), "naïve – 数".encode(), b"\xff" * 1_000_000)


def open_bytestore(url: str, **options: Any) -> ByteStore:
    """Opens a byte store by its URL, without the backend that core makes of it.

    Raises:
        AssertionError: The scheme is served by a `Backend`; the suite for that is `BackendTests`.
    """
    found = backend_class(scheme_of(check_url(url)))
    assert issubclass(found, ByteStore), f"{found.__qualname__} is no ByteStore: test it with BackendTests"
    return found(url, **options)


class ByteStoreSuite(Suite):
    """A suite that is given a byte store."""

    def open(self, url: str, **options: Any) -> ByteStore:
        return open_bytestore(url, **options)

    @pytest.fixture
    def store(self, request: pytest.FixtureRequest, opening: Opening) -> ByteStore:
        """The byte store, opened, with nothing in it but `padre.json`, which core always writes first."""
        store: ByteStore = self.opened(request, opening)
        store.write(MARKER, encode_marker("00000000-0000-0000-0000-000000000000"))
        return store


def listed(store: ByteStore, prefix: str = "", after: str = "") -> list[Entry]:
    """What a store lists, without `padre.json`."""
    return [entry for entry in store.list(prefix, after=after) if entry.key != MARKER]


def keys(store: ByteStore, prefix: str = "", after: str = "") -> list[str]:
    """The keys that a store lists, without `padre.json`."""
    return [entry.key for entry in listed(store, prefix, after)]


def put_keys(store: ByteStore) -> dict[str, str]:
    """Writes something under each of `KEYS`, in an order of no meaning, and returns the versions."""
    return {key: store.write(key, key.encode()) for key in sorted(KEYS, key=lambda key: key[::-1])}


def count_up(store: ByteStore, key: str, times: int) -> None:
    """Adds one to a number under a key by compare-and-swap, again and again."""
    done = 0
    while done < times:
        item = store.read(key)
        try:
            store.write(key, b"%d" % (int(item.data) + 1), if_match=item.version)
            done += 1
        except ConflictError:
            continue


def claim(store: ByteStore, key: str, data: bytes) -> bool:
    """Whether this caller made the key."""
    try:
        store.write(key, data, if_match=ABSENT)
    except ConflictError:
        return False
    return True


class Bytes(ByteStoreSuite, level="base"):
    """Reading, writing, deleting."""

    @pytest.mark.parametrize("data", DATA, ids=len)
    def test_bytes_come_back_as_they_were_written(self, store: ByteStore, data: bytes) -> None:
        store.write("key", data)
        same = store.read("key").data == data  # pytest would take minutes to show how a megabyte differs
        assert same

    def test_a_write_returns_the_version_that_read_stat_and_list_tell(self, store: ByteStore) -> None:
        version = store.write("folder/key", b"four")
        (entry,) = listed(store)
        assert (entry.key, entry.version, entry.size) == ("folder/key", version, 4)
        assert store.stat("folder/key") == entry
        assert store.read("folder/key").version == version

    def test_other_bytes_have_a_version_that_was_not_there_before(self, store: ByteStore) -> None:
        versions = [store.write("key", data) for data in (b"one", b"two", b"six", b"ten")]
        assert len(set(versions)) == 4

    def test_a_version_is_told_until_the_next_write(self, store: ByteStore) -> None:
        version = store.write("key", b"one")
        store.write("other", b"two")
        assert store.read("key").version == version == store.stat("key").version

    def test_shorter_bytes_replace_longer_ones_whole(self, store: ByteStore) -> None:
        store.write("key", b"long" * 1000)
        store.write("key", b"short")
        assert store.read("key").data == b"short"

    @pytest.mark.parametrize(
        "method",
        [
            lambda store: store.read("folder/missing"),
            lambda store: store.stat("folder/missing"),
            lambda store: store.read_range("folder/missing", 0, 1),
            lambda store: store.open_reader("folder/missing").read(),
        ],
        ids=["read", "stat", "read_range", "open_reader"],
    )
    def test_a_missing_key_is_not_found(self, store: ByteStore, method: Callable[[ByteStore], Any]) -> None:
        store.write("folder/key", b"data")
        with pytest.raises(NotFoundError):
            method(store)

    def test_new_folders_are_stored_whole_and_those_that_are_there_stay(self, store: ByteStore) -> None:
        store.write("runs/b/old", b"old")
        folders: list[dict[str, Pieces]] = [
            {f"runs/{name}/points": [b"1", memoryview(b"2")], f"runs/{name}/run.json": [name.encode()]}
            for name in ("a", "b", "c/d")
        ]
        versions = list(store.write_folders(folders))
        a, d = ([store.stat(f"runs/{name}/{file}").version for file in ("points", "run.json")] for name in ("a", "c/d"))
        assert versions == [a, None, d]
        assert [entry.key for entry in listed(store)] == [
            "runs/a/points", "runs/a/run.json", "runs/b/old", "runs/c/d/points", "runs/c/d/run.json",
        ]  # fmt: skip
        assert [store.read(f"runs/{name}/run.json").data for name in ("a", "c/d")] == [b"a", b"c/d"]
        assert store.read("runs/c/d/points").data == b"12"

    def test_a_deleted_key_is_gone(self, store: ByteStore) -> None:
        put_keys(store)
        store.delete("a/b")
        with pytest.raises(NotFoundError):
            store.read("a/b")
        assert keys(store) == [key for key in KEYS if key != "a/b"]

    def test_deleting_what_is_not_there_is_no_error(self, store: ByteStore) -> None:
        store.delete("folder/missing")
        store.write("folder/key", b"data")
        store.delete("folder/missing")
        assert store.read("folder/key").data == b"data"

    def test_a_key_can_be_written_again_after_its_deletion(self, store: ByteStore) -> None:
        before = store.write("folder/key", b"one")
        store.delete("folder/key")
        assert store.write("folder/key", b"two") != before
        assert store.read("folder/key").data == b"two"

    def test_keys_may_be_300_characters_long(self, store: ByteStore) -> None:
        key = "/".join(["k" * 99] * 3) + "x"
        store.write(key, b"data")
        assert store.read(key).data == b"data"
        assert keys(store, "k") == [key]

    def test_many_keys_are_read_in_the_order_asked_for(self, store: ByteStore) -> None:
        put_keys(store)
        found = store.read_many(["b", "missing", "a-b", "b"])
        assert [item and item.data for item in found] == [b"b", None, b"a-b", b"b"]

    def test_the_starts_of_many_keys_are_read_in_the_order_asked_for(self, store: ByteStore) -> None:
        put_keys(store)
        store.write("empty", b"")
        assert list(store.read_starts(["b", "missing", "a-b", "empty"], 2)) == [b"b", None, b"a-", b""]

    @pytest.mark.parametrize(
        ("start", "length", "expected"),
        [(0, 4, b"0123"), (3, 4, b"3456"), (8, 100, b"89"), (10, 1, b""), (50, 1, b""), (4, 0, b"")],
    )
    def test_a_range_ends_where_the_bytes_end(self, store: ByteStore, start: int, length: int, expected: bytes) -> None:
        store.write("key", b"0123456789")
        assert store.read_range("key", start, length) == expected

    def test_an_unknown_option_is_refused(self, store: ByteStore, opening: Opening) -> None:
        with pytest.raises(PadreError):
            opening(no_such_option=1)

    def test_a_batch_keeps_what_was_written_in_it(self, store: ByteStore) -> None:
        with store.batch("two keys", "somebody"):
            store.write("one", b"1")
            assert store.read("one").data == b"1"
            store.write("two", b"2")
        assert keys(store) == ["one", "two"]

    def test_an_error_leaves_a_batch_as_it_was_raised(self, store: ByteStore) -> None:
        with pytest.raises(LookupError), store.batch("fails"):
            raise LookupError


class Listings(ByteStoreSuite, level="base"):
    """What is there, in which order."""

    def test_an_empty_store_lists_nothing(self, store: ByteStore) -> None:
        assert keys(store) == []
        assert list(store.list("runs/")) == []

    def test_keys_are_listed_in_byte_order(self, store: ByteStore) -> None:
        put_keys(store)
        assert keys(store) == sorted(KEYS)

    def test_entries_tell_version_and_size_of_each_key(self, store: ByteStore) -> None:
        versions = put_keys(store)
        assert {entry.key: (entry.version, entry.size) for entry in listed(store)} == {
            key: (version, len(key)) for key, version in versions.items()
        }

    @pytest.mark.parametrize("prefix", ["a", "a/", "a/b", "a/b.", "aa/b/", "runs/00/f", "nothing/", "a/b.json/"])
    def test_a_prefix_is_text_and_need_not_end_at_a_slash(self, store: ByteStore, prefix: str) -> None:
        put_keys(store)
        assert keys(store, prefix) == [key for key in KEYS if key.startswith(prefix)]

    @pytest.mark.parametrize("after", ["a/b", "a/b-", "a", "aa/b/c", "b", "zz", "0"])
    def test_a_listing_goes_on_behind_a_key_that_need_not_exist(self, store: ByteStore, after: str) -> None:
        put_keys(store)
        assert keys(store, "", after) == [key for key in KEYS if key > after]

    @pytest.mark.parametrize("after", ["", "a/b", "a/b-1", "a/c", "A", "z"])
    def test_prefix_and_after_hold_together(self, store: ByteStore, after: str) -> None:
        put_keys(store)
        expected = [key for key in KEYS if key.startswith("a/") and key > after]
        assert keys(store, "a/", after) == expected

    def test_a_long_listing_is_complete(self, store: ByteStore) -> None:
        written = [f"n/{number:04}" for number in range(1200)]
        for key in written:
            store.write(key, b"")
        assert keys(store, "n/") == written

    def test_keys_that_stay_are_listed_once_while_others_come_and_go(self, store: ByteStore) -> None:
        stay = [f"stays/{number:03}" for number in range(50)]
        for key in stay:
            store.write(key, b"")
        seen = []
        for number, entry in enumerate(store.list("stays/")):
            seen.append(entry.key)
            store.write(f"stays/{number:03}-new", b"")
            store.delete(f"stays/{number - 2:03}-new")
            assert number < 500, "the listing does not end"
        assert [key for key in seen if not key.endswith("-new")] == stay


class Files(ByteStoreSuite, level="base"):
    """Bytes as files, and growing them."""

    def test_a_reader_gives_all_bytes(self, store: ByteStore) -> None:
        store.write("key", bytes(range(256)) * 100)
        with store.open_reader("key") as file:
            assert file.read(3) == b"\0\1\2"
            assert file.read() == (bytes(range(256)) * 100)[3:]
            assert file.read() == b""

    def test_a_writer_asks_for_the_key_when_the_block_ends(self, store: ByteStore) -> None:
        written = bytearray()
        with store.open_writer(lambda: f"size-{len(written)}") as file:
            for part in (b"one", b"", b"three" * 1000):
                file.write(part)
                written += part
        assert store.read(f"size-{len(written)}").data == written

    def test_a_writer_of_nothing_stores_empty_bytes(self, store: ByteStore) -> None:
        with store.open_writer(lambda: "key"):
            pass
        assert store.read("key").data == b""

    def test_nothing_is_seen_of_a_writer_before_its_end(self, store: ByteStore) -> None:
        with store.open_writer(lambda: "blobs/00/x") as file:
            file.write(b"half" * 100_000)
            assert list(store.list("blobs/")) == []

    def test_a_writer_whose_block_raises_stores_nothing(self, store: ByteStore) -> None:
        def fail(file: BinaryIO) -> None:
            file.write(b"half")
            raise LookupError

        with pytest.raises(LookupError), store.open_writer(lambda: "key") as file:
            fail(file)
        assert keys(store) == []

    def test_appending_keeps_the_bytes_before_the_place_and_no_others(self, store: ByteStore) -> None:
        try:
            store.append("folder/key", b"one", at=0)
        except UnsupportedError as error:
            pytest.skip(str(error))
        store.append("folder/key", b"two-torn", at=3)
        assert store.read("folder/key").data == b"onetwo-torn"
        store.append("folder/key", b"three", at=6)
        assert store.read("folder/key").data == b"onetwothree"
