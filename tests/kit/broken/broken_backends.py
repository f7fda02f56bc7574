"""Backends of which each breaks one promise."""

import array
import io
import itertools
import math
import time
import unicodedata
from dataclasses import replace

from padre_core.backends.backend import Backend, Page, Segment
from padre_core.backends.layout import record_key
from padre_core.backends.memory import MemoryStore
from padre_core.backends.store import ByteStoreBackend
from padre_core.errors import ConflictError, NotFoundError
from padre_core.objects import canonical
from padre_core.objects.record import Tombstone, successor
from padre_core.streams.columns import Lines


class Sound(ByteStoreBackend):
    """Breaks nothing; what the others are made of."""

    def __init__(self, url, *, readonly=False, durability="power", **options):
        super().__init__(MemoryStore(url, **options), readonly=readonly)


class IgnoresConditions(Sound):
    def put(self, record, *, if_match=None):
        return super().put(record)


class LosesUpdates(Sound):
    """Checks the head first, and writes later."""

    def put(self, record, *, if_match=None):
        if isinstance(if_match, str):
            if self.get(record.kind, record.id).etag != if_match:
                raise ConflictError(record.id)
            time.sleep(0.0005)
            if_match = None
        return super().put(record, if_match=if_match)


class ForgetsTheLoser(Sound):
    def put(self, record, *, if_match=None):
        super().put(record, if_match=if_match)
        return self._replace(record.kind, record.id, lambda head: replace(head, conflicts=()))


class TheLastOneWins(Sound):
    def put(self, record, *, if_match=None):
        def write(head):
            return replace(record, version=head.version + 1 if head else 1)

        return self._replace(record.kind, record.id, write)


class CountsRetries(Sound):
    def put(self, record, *, if_match=None):
        super().put(record, if_match=if_match)
        return self._replace(record.kind, record.id, lambda head: replace(head, version=head.version + 1))


class BelievesEtags(Sound):
    def put(self, record, *, if_match=None):
        return self._replace(
            record.kind, record.id, lambda head: replace(record, version=head.version + 1 if head else 1)
        )


class KeepsIntegersAsFloats(Sound):
    def get(self, kind, id):
        record = super().get(kind, id)
        return replace(record, content=canonical.to_json(_floats(record.data())))


class NormalisesText(Sound):
    def get(self, kind, id):
        record = super().get(kind, id)
        return replace(record, content=unicodedata.normalize("NFC", record.content.decode()).encode())


class KeepsNoNaN(Sound):
    def get(self, kind, id):
        record = super().get(kind, id)
        return replace(record, content=record.content.replace(b"NaN", b"null"))


class HidesTombstones(Sound):
    def get(self, kind, id):
        record = super().get(kind, id)
        if record.deleted:
            raise NotFoundError(id)
        return record


class MakesVersionsOfEnvelopes(Sound):
    def set_envelope(self, kind, id, envelope, **condition):
        head = super().set_envelope(kind, id, envelope, **condition)
        return self._replace(kind, id, lambda _: replace(head, etag=f"{head.revision + 1}-{'0' * 16}"))


class SendsEnvelopesOn(Sound):
    def put(self, record, *, if_match=None):
        head = super().put(record, if_match=if_match)
        return self.set_envelope(record.kind, record.id, record.envelope) if record.envelope else head


class StopsAtTheFirstError(Sound):
    def put_many(self, writes):
        return [self.put(write.record, if_match=write.if_match) for write in writes]


class AcceptsGaps(Sound):
    def append_stream(self, run, writer, first, columns):
        return self.tree.extend(run, [Segment(writer, first, columns)], 0, append=False)


class AddsTwice(Sound):
    def append_stream(self, run, writer, first, columns):
        end = self.tree.end(run, writer, "lines" if isinstance(columns, Lines) else "points", 0)[0]
        if first > end:
            raise ConflictError(run, next=end)
        return super().append_stream(run, writer, end, columns)


class StoresStreamsOfTheFirstRunAlone(Sound):
    def append_streams(self, parts):
        super().append_streams([part for part in parts if part[0] == parts[0][0]])


class ReadsAllStreamsAnew(Sound):
    def read_streams(self, stream, known):
        return super().read_streams(stream, {run: {} for run in known})


class DropsNaNPoints(Sound):
    def append_stream(self, run, writer, first, columns):
        if not isinstance(columns, Lines):
            values = array.array("d", [0.0 if math.isnan(value) else value for value in columns.values])
            columns = replace(columns, values=values)
        return super().append_stream(run, writer, first, columns)


class MixesWriters(Sound):
    def append_stream(self, run, writer, first, columns):
        return super().append_stream(run, "0" * 16, first, columns)


class HasNoSummaries(Sound):
    def append_stream(self, run, writer, first, columns):
        end = super().append_stream(run, writer, first, columns)
        self._replace("run", run, lambda head: replace(head, summaries=()))
        return end


class LosesTheLastByte(Sound):
    def open_blob(self, digest):
        return io.BytesIO(self.store.read(f"blobs/{digest[-2:]}/{digest}").data[:-1])


class HasEveryBlob(Sound):
    def has_blobs(self, digests):
        return set(digests)


class SortsBlobs(Sound):
    def read_blobs(self, digests, *, check=True):
        return iter(sorted(super().read_blobs(digests, check=check)))


class TrustsDigests(Sound):
    def write_blobs(self, blobs, *, digests=None):
        return super().write_blobs(blobs)


class PagesByOffset(Sound):
    def query(self, kind, query):
        start = int(query.cursor or 0)
        everything = super().query(kind, replace(query, cursor=None, limit=100_000)).records
        part = everything[start : start + query.limit]
        more = start + query.limit < len(everything)
        return Page(part, str(start + query.limit) if more else None)


class OrdersBackwards(Sound):
    def query(self, kind, query):
        return super().query(
            kind, replace(query, order=tuple(replace(o, descending=not o.descending) for o in query.order))
        )


class FindsAll(Sound):
    def query(self, kind, query):
        return super().query(kind, replace(query, where=None))


class CountsAPage(Sound):
    def count(self, kind, query):
        return len(self.query(kind, replace(query, limit=20)).records)


class FindsWhatLiesBelowTheDeleted(Sound):
    def query(self, kind, query):
        page = super().query(kind, replace(query, deleted="include"))
        wanted = [
            record
            for record in page.records
            if query.deleted == "include" or bool(record.deleted) == (query.deleted == "only")
        ]
        return Page(tuple(wanted), page.cursor)


class MissesChanges(Sound):
    def changes(self, cursor=None, *, limit=1000):
        part = super().changes(cursor, limit=limit)
        return replace(part, entries=tuple(itertools.compress(part.entries, itertools.cycle([1, 0]))))


class TellsNoReset(Sound):
    def changes(self, cursor=None, *, limit=1000):
        return replace(super().changes(cursor, limit=limit), reset=False)


class EvictsByDeleting(Sound):
    """Also the tombstone is a trace, and it is told."""

    def evict(self, kind, id, *, if_match):
        super().put(successor(self.get(kind, id), b"{}", by=None, at="", deleted=Tombstone("evicted", "")))


class EvictsTheRecordAlone(Sound):
    def evict(self, kind, id, *, if_match):
        if self.get(kind, id).etag != if_match:
            raise ConflictError(id)
        self.store.delete(record_key(kind, id))


class EvictsUnseen(Sound):
    """Checks the head first, and removes later."""

    def evict(self, kind, id, *, if_match):
        if self.get(kind, id).etag != if_match:
            raise ConflictError(id)
        time.sleep(0.0005)
        super().evict(kind, id, if_match=self.get(kind, id).etag)


class EvictsForEver(Sound):
    def put(self, record, *, if_match=None):
        head = self._head(record.kind, record.id)
        return record if head and head.vacant else super().put(record, if_match=if_match)


def _floats(value):
    if isinstance(value, dict):
        return {key: _floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_floats(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


BROKEN: dict[type[Backend], tuple[str, str]] = {
    IgnoresConditions: ("conditional_write", "test_a_put_that_names_an_older_version_changes_nothing"),
    LosesUpdates: ("conditional_write", "test_threads_that_edit_one_object_lose_no_update"),
    ForgetsTheLoser: ("base", "test_of_diverged_versions_the_greater_etag_is_head_and_the_other_is_kept"),
    TheLastOneWins: ("base", "test_versions_may_arrive_in_any_order"),
    CountsRetries: ("base", "test_putting_the_same_version_again_changes_nothing"),
    BelievesEtags: ("base", "test_content_that_does_not_belong_to_the_etag_is_refused"),
    KeepsIntegersAsFloats: ("base", "test_every_value_survives_unchanged"),
    NormalisesText: ("base", "test_every_value_survives_unchanged"),
    KeepsNoNaN: ("base", "test_every_value_survives_unchanged"),
    HidesTombstones: ("base", "test_a_deleted_object_is_got_with_its_tombstone_and_last_content"),
    MakesVersionsOfEnvelopes: ("base", "test_an_envelope_is_kept_and_changes_neither_etag_nor_content"),
    SendsEnvelopesOn: ("base", "test_an_envelope_that_is_put_stays_behind"),
    StopsAtTheFirstError: ("base", "test_of_many_writes_each_stands_by_itself"),
    AcceptsGaps: ("base", "test_a_gap_is_refused_with_the_number_that_is_expected"),
    AddsTwice: ("base", "test_what_is_stored_already_is_skipped"),
    StoresStreamsOfTheFirstRunAlone: ("base", "test_the_streams_of_many_runs_are_stored_and_read_together"),
    ReadsAllStreamsAnew: ("base", "test_the_streams_of_many_runs_are_stored_and_read_together"),
    DropsNaNPoints: ("base", "test_points_come_back_with_every_bit"),
    MixesWriters: ("base", "test_writers_do_not_mix"),
    HasNoSummaries: ("base", "test_summaries_follow_the_points_and_are_no_version"),
    LosesTheLastByte: ("base", "test_a_blob_comes_back_under_its_digest"),
    HasEveryBlob: ("base", "test_the_store_tells_which_blobs_it_has"),
    SortsBlobs: ("base", "test_the_small_ones_of_some_blobs_come_in_the_order_asked_for"),
    TrustsDigests: ("base", "test_blobs_are_stored_under_the_digests_that_others_gave_them_if_they_are_theirs"),
    PagesByOffset: ("base", "test_what_does_not_change_between_pages_is_seen_once"),
    OrdersBackwards: ("base", "test_orders_are_those_of_the_evaluator"),
    FindsAll: ("base", "test_filters_find_what_the_evaluator_finds"),
    CountsAPage: ("base", "test_filters_find_what_the_evaluator_finds"),
    FindsWhatLiesBelowTheDeleted: ("base", "test_what_lies_below_a_deleted_object_counts_as_deleted"),
    EvictsByDeleting: ("eviction", "test_what_was_evicted_is_neither_got_nor_found"),
    EvictsTheRecordAlone: ("eviction", "test_the_streams_of_a_run_go_with_it"),
    EvictsUnseen: ("eviction", "test_of_an_edit_and_an_eviction_of_one_version_one_succeeds"),
    EvictsForEver: ("eviction", "test_what_was_evicted_comes_again_as_it_was"),
    MissesChanges: ("change_feed", "test_the_feed_begins_with_all_objects"),
    TellsNoReset: ("change_feed", "test_an_unknown_cursor_begins_anew_and_says_so"),
}
