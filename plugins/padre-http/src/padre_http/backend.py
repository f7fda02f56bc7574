"""A store on a server, as core sees it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any, BinaryIO
from urllib.parse import quote

from padre_core.backends.backend import Backend, Changes, Info, Page, Problem, Segment, Write
from padre_core.backends.bytestore import IfMatch
from padre_core.errors import (
    BackendError,
    InvalidObjectError,
    NotFoundError,
    PadreError,
    ReadOnlyError,
    UnavailableError,
    UnsupportedError,
)
from padre_core.objects import canonical
from padre_core.objects.base import BlobReference
from padre_core.objects.identity import check_digest, check_id
from padre_core.objects.kinds import kind_of
from padre_core.objects.record import Record
from padre_core.query.model import Query
from padre_core.streams.columns import STREAMS, Columns, Stream, stream_of
from padre_core.streams.spool import Part, Spool, SpoolWriter, Waiting, folder_for
from padre_http import blobs
from padre_http.blobs import upload_many
from padre_http.client import Client
from padre_http.pages import Pages
from padre_http.transport import Answer, Resumes
from padre_http.wire import bundled, errors, info, queries, records, streams

_AWAY: set[str] = set()
"""Servers that did not answer this process when it last opened a store on them."""

OPTIONS = ("token", "token_file", "timeout", "ca_file")


class HttpBackend(Backend):
    """A store on a PaDRe server: `padre+https://host[:port]`, or `padre+http://` on this machine.

    Options:
        token, token_file, timeout, ca_file: See `padre_http.client.Client`.
    """

    def __init__(self, url: str, *, readonly: bool = False, durability: str = "power", **options: Any) -> None:
        for name in options:
            if name not in OPTIONS:
                raise UnsupportedError(f"{name!r:.40} is no option of padre-http; the options are {', '.join(OPTIONS)}")
        self.client = Client(url, **options)
        self._local = threading.local()
        self._pages = Pages(self._page)
        try:
            store = self._reached().store
            if store is None:  # asked without a token, or with one that says nothing
                self.client.whoami()
                raise BackendError(f"{self.client.url} does not say what its store is")
        except BaseException:
            self.client.close()
            raise
        self.url = f"padre+{self.client.url}"
        self.readonly = readonly or store.readonly
        self._together = info.TOGETHER in self.client.info.features  # older servers are asked for one thing at a time
        self._info = store.model_copy(update={"readonly": self.readonly}).info(self.url, streams="spooled")
        self.capabilities = self._info.capabilities
        self._spool = Spool(folder_for(self.client.url, store.store), self._send, beat=self._beat)
        if not self.readonly:
            self._spool.recover()

    def _reached(self) -> info.ServerInfo:
        """What the server says of itself; one that was away when it was last wanted is asked once, not patiently."""
        url, attempts = self.client.url, self.client.attempts
        if url in _AWAY:
            self.client.attempts = 1
        try:
            found = self.client.info
        except UnavailableError:
            _AWAY.add(url)
            raise
        finally:
            self.client.attempts = attempts
        _AWAY.discard(url)
        return found

    def get(self, kind: str, id: str) -> Record:
        return self._record(self._ask("GET", _place(kind, id)), kind, id)

    def put(self, record: Record, *, if_match: IfMatch = None) -> Record:
        self._writable()
        place = _place(record.kind, record.id)
        headers = records.condition_headers(if_match)
        answer = self._ask("PUT", place, records.encode_record(record), headers)
        return self._record(answer, record.kind, record.id)

    def get_many(self, refs: Sequence[tuple[str, str]]) -> list[Record | None]:
        found: list[Record | None] = []
        for kind, id in refs:
            _place(kind, id)
        batch = self.client.info.limits.batch
        for start in range(0, len(refs), batch):
            part = refs[start : start + batch]
            answer = self._ask("POST", "/v1/records/get", records.encode_refs(part))
            heads = self.client.read(records.decode_heads, answer.body)
            self._fits(
                [head is None or (head.kind, head.id) == ref for head, ref in zip(heads, part, strict=False)], part
            )
            found += heads
        return found

    def put_many(self, writes: Sequence[Write]) -> list[Record | PadreError]:
        self._writable()
        results: list[Record | PadreError] = []
        for part in self._bundled(writes):
            answer = self._ask("POST", "/v1/records/put", records.encode_writes(part))
            heads = self.client.read(records.decode_results, answer.body)
            pairs = zip(heads, part, strict=False)
            self._fits(
                [isinstance(head, PadreError) or _ref(head) == _ref(write.record) for head, write in pairs], part
            )
            results += heads
        return results

    def query(self, kind: str, query: Query) -> Page:
        if query.limit < 1:
            raise InvalidObjectError(f"a page holds at least one object, not {query.limit}")
        lines, cursor = self.client.read(records.split_page, self._pages.take(kind, query))
        if cursor is not None:
            self._moves_on(query.cursor, cursor)
            self._pages.begin(kind, replace(query, cursor=cursor, limit=query.limit - len(lines)))
        found = self.client.read(records.decode_records, lines)
        self._fits([record.kind == kind for record in found], found)
        return Page(tuple(found), cursor)

    def _page(self, kind: str, query: Query) -> bytes:
        """The answer with the objects of a page."""
        return self._ask("POST", f"/v1/{kind_of(kind).folder}/search", queries.encode_query(query)).body

    def count(self, kind: str, query: Query) -> int:
        answer = self._ask("POST", f"/v1/{kind_of(kind).folder}/count", queries.encode_query(query))
        return self.client.read(queries.decode_count, answer.body)

    def changes(self, cursor: str | None = None, *, limit: int = 1000) -> Changes:
        place = "" if cursor is None else f"&cursor={quote(cursor, safe='')}"
        answer = self._ask("GET", f"/v1/changes?limit={min(limit, queries.MAX_PAGE)}{place}")
        part = self.client.read(queries.decode_changes, answer.body)
        if part.more:
            self._moves_on(cursor, part.cursor)
        return part

    def append_stream(self, run: str, writer: str, first: int, columns: Columns) -> int:
        self._writable()
        stream = stream_of(columns)
        place = f"/v1/runs/{check_id(run)}/streams/{streams.check_writer(writer)}"
        next_ = first
        for part in streams.split_columns(columns):
            body = streams.encode_columns(next_, part)
            answer = self._ask("POST", f"{place}?first={next_}", body, media_type=streams.MEDIA_TYPES[stream])
            end = self.client.read(streams.decode_next, answer.body)
            if end < next_ + len(part):
                raise BackendError(f"{self.url} acknowledged {end} entries of {next_ + len(part)}")
            next_ += len(part)
        return max(next_, end) if len(columns) else next_

    def open_writer(self, run: str) -> SpoolWriter:  # type: ignore[override]  # the same contract by structure
        self._writable()
        return self._spool.open_writer(check_id(run))

    def waiting(self) -> list[Waiting]:
        return self._spool.waiting(self._many_ends)

    def read_stream(self, run: str, stream: Stream) -> Iterator[Segment]:
        place, headers = f"/v1/runs/{check_id(run)}/{stream}", {"Accept": streams.SEGMENTS}
        self._spool.ship_quietly()
        last, next_ = "", 0
        resumes = Resumes(self.client.timeout)
        while True:
            with self.client.stream(place, headers=headers) as answer:
                try:
                    for part in streams.decode_segments(stream, answer.read):
                        fresh = _behind(part, last, next_)
                        if fresh is not None:
                            last, next_ = fresh.writer, fresh.first + len(fresh.columns)
                            resumes.renew()
                            yield fresh
                    return
                except UnavailableError:  # it broke on its way: what came before is not given again
                    if not resumes.more():
                        raise

    def append_streams(self, parts: Sequence[tuple[str, Segment]]) -> None:
        self._writable()
        if not self._together:
            super().append_streams(parts)
            return
        checked = ((check_id(run), streams.checked(part)) for run, part in parts)
        for body, sent in streams.encode_bodies(checked):
            stored = self.client.read(
                queries.decode_count, self._ask("POST", "/v1/streams", body, media_type=streams.SEGMENTS).body
            )
            if stored != sent:
                raise BackendError(f"{self.url} acknowledged {stored} entries of {sent}")

    def read_streams(self, stream: Stream, known: Mapping[str, Mapping[str, int]]) -> Iterator[tuple[str, Segment]]:
        self._spool.ship_quietly()
        if not self._together:
            yield from super().read_streams(stream, known)
            return
        runs = list(known)
        for start in range(0, len(runs), batch := self.client.info.limits.batch):
            yield from self._read_streams(
                stream, {check_id(run): dict(known[run]) for run in runs[start : start + batch]}
            )

    def _read_streams(self, stream: Stream, left: dict[str, dict[str, int]]) -> Iterator[tuple[str, Segment]]:
        """Reads on behind the last part where a connection breaks."""
        resumes = Resumes(self.client.timeout)
        while True:
            with self.client.stream("/v1/streams/read", streams.encode_known(stream, left)) as answer:
                try:
                    for run, part in streams.decode_parts(answer.read):
                        if run not in left or stream_of(part.columns) != stream:
                            raise BackendError(f"{self.url} sent other streams than those that were asked for")
                        while (done := next(iter(left))) != run:
                            del left[done]
                        fresh = part.behind(left[run].get(part.writer, 0))
                        if fresh is not None:
                            left[run][part.writer] = fresh.end
                            resumes.renew()
                            yield run, fresh
                    return
                except UnavailableError:
                    if not resumes.more():
                        raise

    def stream_ends(self, run: str, stream: Stream) -> dict[str, int]:
        (ends,) = self.many_ends([run])
        return ends[stream]

    def many_ends(self, runs: Sequence[str]) -> list[dict[Stream, dict[str, int]]]:
        self._spool.ship_quietly()
        return self._many_ends(runs)

    def _many_ends(self, runs: Sequence[str]) -> list[dict[Stream, dict[str, int]]]:
        if not self._together:
            return [{stream: self._end_by_reading(run, stream) for stream in STREAMS} for run in runs]
        found: list[dict[Stream, dict[str, int]]] = []
        for start in range(0, len(runs), batch := self.client.info.limits.batch):
            part = [check_id(run) for run in runs[start : start + batch]]
            answer = self._ask("POST", "/v1/streams/ends", streams.encode_runs(part))
            ends = self.client.read(streams.decode_ends, answer.body)
            self._fits([True] * len(ends), part)
            found += ends
        return found

    def _end_by_reading(self, run: str, stream: Stream) -> dict[str, int]:
        try:
            return super().stream_ends(run, stream)
        except NotFoundError:
            return {}

    def has_blobs(self, digests: Iterable[str]) -> set[str]:
        return blobs.has(self.client, [check_digest(digest) for digest in digests])

    def write_blobs(self, blobs: Sequence[bytes], *, digests: Sequence[str] | None = None) -> list[BlobReference]:
        self._writable()
        if not self._together:
            return super().write_blobs(blobs, digests=digests)
        return upload_many(self.client, blobs, digests)

    def read_blobs(self, digests: Sequence[str], *, check: bool = True) -> Iterator[tuple[str, bytes]]:
        if not self._together:
            return super().read_blobs(digests, check=check)
        return blobs.download_many(self.client, [check_digest(digest) for digest in digests], check=check)

    def write_blob(self, source: BinaryIO, *, media_type: str = "application/octet-stream") -> BlobReference:
        self._writable()
        return blobs.upload(self.client, source, media_type)

    def open_blob(self, digest: str) -> BinaryIO:
        return blobs.download(self.client, check_digest(digest))

    def blobs(self) -> Iterator[str]:
        return blobs.listing(self.client)

    def set_envelope(self, kind: str, id: str, envelope: Mapping[str, Any], *, if_version: int | None = None) -> Record:
        self._writable()
        place = f"{_place(kind, id)}/envelope{'' if if_version is None else f'?if_version={if_version}'}"
        return self._record(self._ask("PUT", place, canonical.to_json(canonical.plain(envelope))), kind, id)

    def info(self) -> Info:
        return self._info

    def live_runs(self, among: AbstractSet[str] | None = None) -> set[str] | None:
        return self.client.read(info.decode_runs, self._ask("GET", "/v1/live").body)

    def pulse(self) -> object | None:
        return getattr(self._local, "pulse", None)

    def sync(self) -> None:
        self._spool.ship()
        self.client.read(queries.decode_done, self._ask("POST", "/v1/sync", b"{}").body)

    def ping(self) -> None:
        self.client.probe()

    def refresh(self, *, accept_edits: bool = False) -> int:
        self._writable()
        answer = self._ask("POST", "/v1/refresh", canonical.to_json({"accept_edits": accept_edits}))
        return self.client.read(queries.decode_refreshed, answer.body)

    def verify(self, *, quarantine: bool = False) -> Iterator[Problem]:
        if quarantine:
            self._writable()
        with self.client.stream(f"/v1/verify{'?quarantine=true' if quarantine else ''}") as answer:
            for line in iter(answer.readline, b""):
                if line.strip() == b"{}":
                    return
                if errors.is_error(line):
                    raise self.client.read(errors.decode_error, line)
                yield self.client.read(info.decode_problem, line)
        raise BackendError(f"{self.url} ended before it had verified everything; run it again")

    def object_url(self, kind: str, id: str) -> str:
        return self.client.origin.object_url(kind_of(kind).folder, id)

    def object_at(self, url: str) -> tuple[str, str] | None:
        return self.client.origin.object_at(url)

    def close(self) -> None:
        try:
            self._spool.close()
        finally:
            self.client.close()

    def _send(self, part: Part) -> None:
        self.append_stream(part.run, part.writer, part.first, part.columns)

    def _beat(self, run: str, writer: str) -> None:
        """Tells the server that a writer lives: with a part of no entries."""
        place = f"/v1/runs/{run}/streams/{writer}?first=0"
        self.client.post(place, b"", media_type=streams.MEDIA_TYPES["points"], attempts=1)

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        media_type: str = "application/json",
    ) -> Answer:
        answer = self.client.call(method, path, body, headers=headers, media_type=media_type)
        # What the store was like when this thread last heard of it, so that it need not ask to know.
        self._local.pulse = answer.headers.get(records.PULSE.lower())
        return answer

    def _record(self, answer: Answer, kind: str, id: str) -> Record:
        record = self.client.read(records.decode_record, answer.body)
        self._fits([_ref(record) == (kind, id)], (record,))
        return record

    def _fits(self, each: Sequence[bool], asked: Sequence[object]) -> None:
        if not all(each) or len(each) != len(asked):
            raise BackendError(f"{self.url} answered with other objects than those that were asked for")

    def _moves_on(self, before: str | None, after: str) -> None:
        if before == after:
            raise BackendError(f"{self.url} gave one cursor again and again, so its list would never end")

    def _bundled(self, writes: Sequence[Write]) -> Iterator[list[Write]]:
        """Writes in batches that a server takes."""
        limits = self.client.info.limits
        return bundled(writes, _size, weight=limits.json_body // 2, count=limits.batch)

    def _writable(self) -> None:
        if self.readonly:
            raise ReadOnlyError(f"{self.url} was opened for reading only")


def _behind(part: Segment, writer: str, next_: int) -> Segment | None:
    """What of a segment comes after an entry of a writer, when a stream is read again."""
    if part.writer != writer:
        return part if part.writer > writer else None
    known = max(0, next_ - part.first)
    return Segment(writer, part.first + known, part.columns.skip(known)) if known < len(part.columns) else None


def _ref(record: Record) -> tuple[str, str]:
    return record.kind, record.id


def _size(write: Write) -> int:
    """About how many bytes a write takes on the wire."""
    return len(write.record.content) + sum(len(item.content) for item in write.record.conflicts) * 2 + 4096


def _place(kind: str, id: str) -> str:
    return f"/v1/{kind_of(kind).folder}/{check_id(id)}"
