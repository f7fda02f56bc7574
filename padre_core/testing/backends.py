"""The two suites that plugin authors subclass."""

from __future__ import annotations

from padre_core.testing import (
    bytestore_levels,
    bytestores,
    evictions,
    failures,
    machines,
    queries,
    record_levels,
    records,
    streams,
)


class ByteStoreTests(
    bytestores.Bytes,
    bytestores.Listings,
    bytestores.Files,
    bytestore_levels.Threads,
    bytestore_levels.Conditions,
    bytestore_levels.Reopening,
    bytestore_levels.Processes,
    bytestore_levels.Streaming,
    bytestore_levels.Feed,
    failures.Failures,
    machines.ByteHistories,
):
    """What a `ByteStore` is held to; subclass it with a fixture `url`."""


class BackendTests(
    records.Storing,
    records.Versions,
    records.Tombstones,
    records.Envelopes,
    record_levels.Conditions,
    record_levels.Reopening,
    record_levels.Processes,
    streams.Streams,
    streams.Blobs,
    streams.LargeBlobs,
    streams.ReopenedStreams,
    queries.Queries,
    queries.Feed,
    queries.ReopenedQueries,
    queries.SharedQueries,
    evictions.Refusals,
    evictions.Evictions,
    machines.RecordHistories,
):
    """What a `Backend` is held to, core's own over a byte store included; subclass it with a fixture `url`."""
