"""The tree of the open layout on a byte store: where records and streams rest."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from padre_core.backends import layout
from padre_core.backends.backend import Segment
from padre_core.backends.bytestore import ABSENT, ByteStore, IfMatch, Pieces
from padre_core.errors import CorruptObjectError, NotFoundError
from padre_core.objects.canonical import to_json
from padre_core.objects.identity import run_of
from padre_core.objects.record import Record, decode, encode
from padre_core.objects.summary import WriterSummary, extend, summarise
from padre_core.streams import lines, points
from padre_core.streams.columns import Columns, Lines, Points, Stream, concatenate, stream_of

Part = tuple[str, int, Columns]
"""A writer, the sequence number of its first entry here, and the entries."""

WHOLE = 1000
"""From how many points on a block goes from a log into a file as it is: to make larger ones of it costs more than to
read it costs more."""


class Tree:
    """Reads and writes the files of the open layout. As safe for threads as the store is."""

    def __init__(self, store: ByteStore) -> None:
        self.store = store

    def head(self, kind: str, id: str) -> Record | None:
        """The record of an object, if it is in the tree."""
        run = run_of(id)
        if run is not None:
            return self.child(kind, id, self.children(run))
        key = layout.record_key(kind, id)
        try:
            data = self.store.read(key).data
        except NotFoundError:
            return None
        return layout.decode_head(kind, id, key, data)

    def children(self, run: str) -> dict[bytes, bytes]:
        """The lines of what lives in a run, by id."""
        key = layout.children_key(run)
        try:
            lines = layout.split_lines(key, self.store.read(key).data)
        except NotFoundError:
            return {}
        return {line.partition(b'"id":"')[2].partition(b'"')[0]: line for line in lines}

    def child(self, kind: str, id: str, children: Mapping[bytes, bytes]) -> Record | None:
        """The record of an object that lives in a run, if it is among those of the run."""
        line = children.get(id.encode())
        if line is None:
            return None
        record = decode(line, layout.record_key(kind, id))
        return record if record.kind == kind and record.id == id else None

    def records(self, key: str) -> tuple[list[Record], IfMatch]:
        """The records of a file and its version; nothing and `ABSENT` where there is none."""
        try:
            item = self.store.read(key)
        except NotFoundError:
            return [], ABSENT
        return layout.decode_records(key, item.data), item.version

    def write(self, key: str, records: list[Record], if_match: IfMatch = None) -> str:
        """Replaces a file of records and returns its version."""
        if key.endswith("/children.json"):
            return self.store.write(key, layout.encode_children(records), if_match=if_match)
        (record,) = records
        return self.store.write(key, encode(record) + b"\n", if_match=if_match)

    def has_run(self, run: str) -> bool:
        """Whether anything of a run is in the tree: its record, what lives in it, or a part of a stream."""
        return next(self.store.list(layout.run_folder(run)), None) is not None

    def begin(
        self, runs: Iterable[tuple[Record, Iterable[Sequence[Segment]], list[Record]]]
    ) -> Iterator[list[tuple[str, Record]] | None]:
        """Writes runs of which the tree holds nothing, and gives all records of each with the versions of their files.

        Args:
            runs: The record of each, never evicted, its streams in chains, and the records of what lives in it; best
                in the order of the runs' folders.

        Returns:
            None, with nothing written, for a run of which there is something.
        """
        runs = list(runs)
        begun = self.store.write_folders(
            {
                **{_segment_key(record.id, chain, 0): _pieces(chain) for chain in streams},
                **({layout.children_key(record.id): [layout.encode_children(children)]} if children else {}),
                layout.record_key("run", record.id): [encode(record) + b"\n"],
            }
            for record, streams, children in runs
        )
        for (record, _, children), versions in zip(runs, begun, strict=True):
            if versions is None:
                yield None
            else:
                yield [(versions[-1], record), *((versions[-2], child) for child in children)]

    def segments(self, run: str, stream: Stream, evicted: int) -> dict[str, list[tuple[int, str, int]]]:
        """First sequence number, key and size of each part of a stream, in order, by writer.

        Args:
            evicted: As the run's record says; parts from before that eviction count no more.
        """
        found: dict[str, list[tuple[int, str, int]]] = {}
        for entry in self.store.list(layout.run_folder(run)):
            name = layout.parse_segment(entry.key)
            if name is not None and (name.stream, name.evicted) == (stream, evicted):
                found.setdefault(name.writer, []).append((name.first, entry.key, entry.size))
        return {writer: sorted(parts) for writer, parts in sorted(found.items())}

    def last_eviction(self, run: str) -> int:
        """When a run was last evicted, as far as its streams tell: for a run whose record cannot be read."""
        names = (layout.parse_segment(entry.key) for entry in self.store.list(layout.run_folder(run)))
        return max((name.evicted for name in names if name is not None), default=0)

    def sweep(self, run: str, evicted: int) -> None:
        """Removes what a run's streams held before an eviction."""
        for entry in list(self.store.list(layout.run_folder(run))):
            name = layout.parse_segment(entry.key)
            if name is not None and name.evicted < evicted:
                self.store.delete(entry.key)

    def parts(self, run: str, stream: Stream, evicted: int, known: Mapping[str, int] | None = None) -> Iterator[Part]:
        """All that the tree holds of a stream; of each writer, files that hold only what is known are left out.

        Raises:
            CorruptObjectError: Something is damaged; raised after all that can be read.
        """
        damage: CorruptObjectError | None = None
        for writer, files in self.segments(run, stream, evicted).items():
            begin = (known or {}).get(writer, 0)
            for place, (_, key, _) in enumerate(files):
                if place + 1 < len(files) and files[place + 1][0] <= begin:
                    continue
                try:
                    for first, columns in decode_part(stream, self.store.read(key).data, key):
                        yield writer, first, columns
                except CorruptObjectError as error:
                    damage = damage or error
        if damage:
            raise damage

    def extend(self, run: str, chain: Sequence[Segment], evicted: int, *, append: bool) -> int:
        """Adds to a stream what it does not hold yet and returns the next sequence number.

        Args:
            chain: Parts of one writer of which each follows on the one before. Where they begin behind the end, a gap
                stays and the entries keep their numbers.
            append: Whether to let the last file grow instead of adding one.
        """
        writer, stream = chain[0].writer, stream_of(chain[0].columns)
        start, key, sound = self.end(run, writer, stream, evicted)
        news = [rest for segment in chain if (rest := segment.behind(start))]
        if not news:
            return start
        if append and key is not None and news[0].first == start:
            self.store.append(key, _encoded(news), at=sound)
        else:
            self.store.write(_segment_key(run, news, evicted), _encoded(news))
        return news[-1].end

    def end(self, run: str, writer: str, stream: Stream, evicted: int) -> tuple[int, str | None, int]:
        """The next sequence number, the last file, and how many of its bytes are sound."""
        files = self.segments(run, stream, evicted).get(writer)
        return self._end(stream, *files[-1][:2]) if files else (0, None, 0)

    def ends(self, run: str, stream: Stream, evicted: int) -> dict[str, int]:
        """The next sequence number of each writer, from the last file of each."""
        files = self.segments(run, stream, evicted)
        return {writer: self._end(stream, *parts[-1][:2])[0] for writer, parts in files.items()}

    def _end(self, stream: Stream, next_: int, key: str) -> tuple[int, str, int]:
        data = self.store.read(key).data
        sound = sound_size(stream, data)
        for first, columns in decode_part(stream, data[:sound], key):
            next_ = first + len(columns)
        return next_, key, sound


def _segment_key(run: str, chain: Sequence[Segment], evicted: int) -> str:
    """Where a chain lies that follows on nothing."""
    writer, first, columns = chain[0].writer, chain[0].first, chain[0].columns
    return layout.segment_key(run, writer, first, stream_of(columns), evicted)


def _encoded(chain: Sequence[Segment]) -> bytes:
    return b"".join(_pieces(chain))


def _pieces(chain: Sequence[Segment]) -> Pieces:
    return [part for segment in chain for part in encode_part(segment.first, segment.columns)]


def encode_part(first: int, columns: Columns) -> Iterable[bytes | memoryview]:
    """Columns as the bytes of a stream's file, in pieces."""
    return [lines.encode(first, columns)] if isinstance(columns, Lines) else points.encode(first, columns)


def decode_part(stream: Stream, data: bytes, where: str) -> Iterator[tuple[int, Columns]]:
    """What the bytes of a stream's file hold; see the decoders of the two streams."""
    return points.decode(data, where) if stream == "points" else lines.decode(data, where)


def sound_size(stream: Stream, data: bytes) -> int:
    """The size of the part of a stream's file that ends with a complete and sound entry."""
    return points.complete(data) if stream == "points" else lines.complete(data)


def joined(parts: Iterable[Part], known: Mapping[str, int] | None = None) -> Iterator[Segment]:
    """Parts without their overlaps, by writer, then by stream and sequence; of each writer what is not known."""
    place, next_ = ("", ""), 0
    for writer, first, columns in sorted(parts, key=lambda part: (part[0], stream_of(part[2]), part[1])):
        if place != (writer, stream_of(columns)):
            place, next_ = (writer, stream_of(columns)), (known or {}).get(writer, 0)
        segment = Segment(writer, first, columns).behind(next_)
        if segment is not None:
            yield segment
            next_ = segment.end


def chains(segments: Iterable[Segment]) -> Iterator[list[Segment]]:
    """Segments in groups of which each follows on the one before; in a group small ones are put together."""
    return (list(_put_together(chain, WHOLE)) for chain in _unbroken(segments))


def _unbroken(segments: Iterable[Segment]) -> Iterator[list[Segment]]:
    chain: list[Segment] = []
    for segment in segments:
        if chain and not _follows(chain[-1], segment):
            yield chain
            chain = []
        chain.append(segment)
    if chain:
        yield chain


def _put_together(chain: list[Segment], whole: int) -> Iterator[Segment]:
    """Few segments instead of many; what was read as a block of `whole` points or more stays one, as it is."""
    group: list[Segment] = []
    size = 0
    for segment in chain:
        columns = segment.columns
        alone = isinstance(columns, Points) and columns.block is not None and len(columns) >= whole
        if group and (alone or size + len(columns) > points.MAX_POINTS):
            yield _one(group)
            group, size = [], 0
        group.append(segment)
        size += points.MAX_POINTS if alone else len(columns)
    yield _one(group)


def _one(segments: list[Segment]) -> Segment:
    if len(segments) == 1:
        return segments[0]
    return segments[0]._replace(columns=concatenate([segment.columns for segment in segments]))


def _follows(before: Segment, after: Segment) -> bool:
    return (
        before.writer == after.writer
        and stream_of(before.columns) == stream_of(after.columns)
        and before.end == after.first
    )


def folded(summaries: Iterable[WriterSummary], writer: str) -> int:
    """How many points of a writer some summaries speak of."""
    return sum(summary.count for summary in summaries if summary.writer == writer)


def summaries_with(summaries: Iterable[WriterSummary], parts: Iterable[Segment]) -> tuple[WriterSummary, ...]:
    """Summaries after more points came; points that they speak of already are left out."""
    found = {(summary.metric, summary.writer): summary for summary in summaries}
    counts: dict[str, int] = {}
    pointed = _unbroken(part for part in parts if isinstance(part.columns, Points))
    for part in itertools.chain.from_iterable(_put_together(chain, points.MAX_POINTS) for chain in pointed):
        if not isinstance(part.columns, Points):
            continue
        seen = counts.setdefault(part.writer, folded(found.values(), part.writer))
        skip = max(0, seen - part.first)
        if skip >= len(part.columns):
            continue
        columns = part.columns.skip(skip) if skip else part.columns
        for metric in columns.metrics:
            steps, times, values = columns.of(metric)
            if not len(values):
                continue
            place = (metric, part.writer)
            if place in found:
                found[place] = extend(found[place], steps, times, values)
            else:
                found[place] = summarise(metric, part.writer, steps, times, values)
        counts[part.writer] = seen + len(columns)
    return tuple(found[place] for place in sorted(found))


def with_summaries(record: Record, parts: Iterable[Segment]) -> Record:
    """A run's record with the summaries of its points brought up to date."""
    summaries = summaries_with(record.summaries, parts)
    return record if same_summaries(summaries, record.summaries) else replace(record, summaries=summaries)


def same_summaries(one: Iterable[WriterSummary], other: Iterable[WriterSummary]) -> bool:
    """Whether summaries are equal; NaN equals NaN."""
    return to_json([item.as_json() for item in one]) == to_json([item.as_json() for item in other])
