"""The two suites that plugin authors subclass."""

from __future__ import annotations

from padre_core.testing import bytestores, failures, machines, queries, records, streams


class ByteStoreTests(
    bytestores.Bytes,
    bytestores.Listings,
    bytestores.Files,
    bytestores.Threads,
    bytestores.Conditions,
    bytestores.Reopening,
    bytestores.Processes,
    bytestores.Streaming,
    bytestores.Feed,
    failures.Failures,
    machines.ByteHistories,
):
    """What a `ByteStore` is held to; subclass it with a fixture `url`."""


class BackendTests(
    records.Storing,
    records.Versions,
    records.Tombstones,
    records.Envelopes,
    records.Conditions,
    records.Reopening,
    records.Processes,
    streams.Streams,
    streams.Blobs,
    streams.LargeBlobs,
    streams.ReopenedStreams,
    queries.Queries,
    queries.Feed,
    queries.ReopenedQueries,
    queries.SharedQueries,
    machines.RecordHistories,
):
    """What a `Backend` is held to, core's own over a byte store included; subclass it with a fixture `url`."""
