"""Byte stores of which each breaks one promise."""

import itertools
import time

from padre_core.backends.bytestore import ABSENT, ByteStore, Entry, Item
from padre_core.backends.capabilities import Capabilities
from padre_core.backends.memory import MemoryStore
from padre_core.errors import ConflictError, NotFoundError


class LosesUpdates(MemoryStore):
    """Checks the version first, and writes later."""

    def write(self, key, data, *, if_match=None):
        if if_match is None:
            return super().write(key, data)
        try:
            here = self.read(key).version
        except NotFoundError:
            here = ABSENT
        if here != if_match:
            raise ConflictError(key)
        time.sleep(0.0001)
        return super().write(key, data)


class IgnoresConditions(MemoryStore):
    def write(self, key, data, *, if_match=None):
        return super().write(key, data)


class WritesInHalves(MemoryStore):
    def write(self, key, data, *, if_match=None):
        before = self._space.items.get(key)
        if before is not None and if_match is None and len(data) > 1:
            half = len(data) // 2
            self._space.items[key] = Item(data[:half] + before.data[half:], before.version)
            time.sleep(0.0001)
        return super().write(key, data, if_match=if_match)


class Forgets(MemoryStore):
    """Says that it is persistent, and begins anew."""

    capabilities = Capabilities(persistent=True, conditional_write=True)

    def __init__(self, url, **arguments):
        super().__init__("memory://", **arguments)


class ListsAsFoldersAreWalked(MemoryStore):
    def list(self, prefix, *, after=""):
        return iter(sorted(super().list(prefix, after=after), key=lambda entry: entry.key.split("/")))


class NamesVersionsBySize(MemoryStore):
    def write(self, key, data, *, if_match=None):
        super().write(key, data, if_match=if_match)
        item = self._space.items[key] = Item(data, f"v{len(data)}")
        return item.version


class CountsVersionsAnew(MemoryStore):
    capabilities = Capabilities(persistent=True, conditional_write=True)

    def __init__(self, url, **arguments):
        super().__init__(url, **arguments)
        self._space.versions = itertools.count(1)


class ReadsFromACache(MemoryStore):
    def __init__(self, url, **arguments):
        super().__init__(url, **arguments)
        self._cache = {}

    def read(self, key):
        return self._cache.setdefault(key, super().read(key))


class KeepsNoEmptyBytes(MemoryStore):
    def write(self, key, data, *, if_match=None):
        return super().write(key, data or b"\n", if_match=if_match)


class KeepsText(MemoryStore):
    def write(self, key, data, *, if_match=None):
        return super().write(key, data.replace(b"\r\n", b"\n"), if_match=if_match)


class ListsTheKeyAfter(MemoryStore):
    def list(self, prefix, *, after=""):
        return (entry for entry in super().list(prefix) if entry.key >= after)


class ListsFoldersOnly(MemoryStore):
    def list(self, prefix, *, after=""):
        folder = prefix if prefix.endswith("/") or not prefix else prefix + "/"
        return super().list(folder, after=after)


class ListsOnePage(MemoryStore):
    def list(self, prefix, *, after=""):
        return itertools.islice(super().list(prefix, after=after), 1000)


class TellsWrongSizes(MemoryStore):
    def list(self, prefix, *, after=""):
        return (Entry(entry.key, entry.version, entry.size + 1) for entry in super().list(prefix, after=after))


class RaisesItsOwnErrors(MemoryStore):
    def read(self, key):
        return self._space.items[key]


class RaisesForMissingDeletes(MemoryStore):
    def delete(self, key):
        self.read(key)
        super().delete(key)


class IgnoresTheMissing(MemoryStore):
    """Takes a version of what is not there for none."""

    def write(self, key, data, *, if_match=None):
        return super().write(key, data, if_match=if_match if key in self._space.items else None)


class KeepsWhatFailed(MemoryStore):
    def open_writer(self, key):
        writer = super().open_writer(key)
        exit_ = type(writer).__exit__
        type(writer).__exit__ = lambda self, *exception: exit_(self, None, None, None)
        return writer


class AppendsAtTheEnd(MemoryStore):
    def append(self, key, data, *, at):
        before = b"" if at == 0 else self.read(key).data
        self.write(key, before + data)


class BuffersAll(MemoryStore):
    capabilities = Capabilities(conditional_write=True, streaming=True)


class IsOnlyHere(MemoryStore):
    """Says that other processes see it."""

    capabilities = Capabilities(conditional_write=True, multi_process=True)


class TellsNoDeletes(MemoryStore):
    capabilities = Capabilities(conditional_write=True, change_feed=True)

    def delete(self, key):
        super().delete(key)
        self._space.changed = [other for other in self._space.changed if other != key]


class TakesAnyOption(MemoryStore):
    def __init__(self, url, *, readonly=False, **options):
        super().__init__(url, readonly=readonly)


class SwallowsErrorsInBatches(MemoryStore):
    def batch(self, message, actor=None):
        import contextlib

        return contextlib.suppress(Exception)


BROKEN: dict[type[ByteStore], tuple[str, str]] = {
    LosesUpdates: ("conditional_write", "test_threads_that_count_lose_no_update"),
    IgnoresConditions: ("conditional_write", "test_a_write_that_names_an_older_version_changes_nothing"),
    IgnoresTheMissing: ("conditional_write", "test_a_version_of_a_missing_key_does_not_hold"),
    WritesInHalves: ("base", "test_a_reader_sees_the_old_bytes_or_the_new"),
    Forgets: ("persistent", "test_what_was_written_is_there_when_the_store_is_opened_again"),
    CountsVersionsAnew: ("persistent", "test_versions_do_not_come_back_after_opening_again"),
    ListsAsFoldersAreWalked: ("base", "test_keys_are_listed_in_byte_order"),
    ListsTheKeyAfter: ("base", "test_a_listing_goes_on_behind_a_key_that_need_not_exist"),
    ListsFoldersOnly: ("base", "test_a_prefix_is_text_and_need_not_end_at_a_slash"),
    ListsOnePage: ("base", "test_a_long_listing_is_complete"),
    TellsWrongSizes: ("base", "test_entries_tell_version_and_size_of_each_key"),
    NamesVersionsBySize: ("base", "test_other_bytes_have_a_version_that_was_not_there_before"),
    ReadsFromACache: ("base", "test_what_a_thread_wrote_it_reads"),
    KeepsNoEmptyBytes: ("base", "test_bytes_come_back_as_they_were_written"),
    KeepsText: ("base", "test_bytes_come_back_as_they_were_written"),
    RaisesItsOwnErrors: ("base", "test_a_missing_key_is_not_found"),
    RaisesForMissingDeletes: ("base", "test_deleting_what_is_not_there_is_no_error"),
    KeepsWhatFailed: ("base", "test_a_writer_whose_block_raises_stores_nothing"),
    AppendsAtTheEnd: ("base", "test_appending_keeps_the_bytes_before_the_place_and_no_others"),
    TakesAnyOption: ("base", "test_an_unknown_option_is_refused"),
    SwallowsErrorsInBatches: ("base", "test_an_error_leaves_a_batch_as_it_was_raised"),
    BuffersAll: ("streaming", "test_large_bytes_pass_through_bounded_memory"),
    IsOnlyHere: ("multi_process", "test_processes_that_count_lose_no_update"),
    TellsNoDeletes: ("change_feed", "test_the_feed_tells_every_key_that_was_written_or_deleted"),
}
