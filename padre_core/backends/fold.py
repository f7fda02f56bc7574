"""Folding: from a log into the tree."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from padre_core.backends import layout
from padre_core.backends.backend import Segment
from padre_core.backends.blobs import has_blob
from padre_core.backends.bytestore import ABSENT, ByteStore, IfMatch
from padre_core.backends.listing import Entry
from padre_core.backends.merge import newest
from padre_core.backends.tree import Tree, chains, joined, summaries_with, with_summaries
from padre_core.backends.verify import set_aside
from padre_core.errors import CorruptObjectError
from padre_core.objects.record import Record, encode
from padre_core.objects.summary import WriterSummary
from padre_core.streams.journal import is_log
from padre_core.streams.view import LoggedWriter, LogView

Head = Callable[[str, str], Record | None]


def fold_log(view: LogView, tree: Tree, head: Head) -> tuple[list[Entry], bool]:
    """Brings what a log holds into the tree; doing it twice, or the half of it again, does no harm.

    The caller holds the lock for folding, and removes the log when the tree is safe.

    Args:
        view: The log; it is closed afterwards.
        head: The newest record of an object, wherever it is.

    Returns:
        The head of each object that the log speaks of, after the version of its file. Also those that were in the
        tree already: who folded before may have died before it noted them. And whether the log is damaged.
    """
    try:
        view.poll()
        view.scan()
        return list(_fold(view, tree, head)), view.reader.damaged
    finally:
        view.reader.close()


def adopt_logs(store: ByteStore, folder: Path) -> None:
    """Takes over the logs that lie in the tree of a store whose own are elsewhere, to be folded like those of the dead.

    They were in a folder that was put under git, say, before all that it had acknowledged was folded.
    """
    for entry in store.list(layout.LOG):
        name = entry.key.removeprefix(layout.LOG)
        if is_log(name) and not (folder / name).exists():
            temporary = folder / f".{name}"
            temporary.write_bytes(store.read(entry.key).data)
            temporary.rename(folder / name)


def _fold(view: LogView, tree: Tree, head: Head) -> Iterator[Entry]:
    for digest in view.blobs:  # before the records that speak of them
        data = view.blob(digest)
        if data is not None and not has_blob(tree.store, digest, renew=True):
            tree.store.write(layout.blob_key(digest), data)
    files: dict[str, list[Record]] = {}
    runs: dict[str, list[LoggedWriter]] = {}
    for writer in view.writers.values():
        if writer.parts:  # else it was only introduced here, or ended: its run is in the log before
            runs.setdefault(writer.run, []).append(writer)
    for record in view.records.values():
        if record.kind == "run":
            runs.setdefault(record.id, [])
        else:
            files.setdefault(layout.record_key(record.kind, record.id), []).append(record)
    begun: set[str] = set()
    for entries in _begin(runs, files, view, tree):
        begun.add(entries[0][1].id)
        yield from entries
    for run, writers in runs.items():
        if run in begun:
            files.pop(layout.children_key(run), None)
            continue
        after = view.records.get(("run", run))
        if after is None or any(writer.evicted > after.evicted for writer in writers):
            after = head("run", run)
        yield from _fold_run(run, writers, after, tree)
    for key, records in files.items():
        yield from _merge(key, records, tree)


def _begin(
    runs: Mapping[str, list[LoggedWriter]], files: Mapping[str, list[Record]], view: LogView, tree: Tree
) -> Iterator[list[Entry]]:
    """Folds those runs of which the tree holds nothing yet, which are most, in the order of their folders.

    Returns:
        Of each its record, and behind it what lives in it.
    """
    begun: list[tuple[Record, list[list[Segment]], list[Record]]] = []
    for run in sorted(runs, key=layout.run_folder):
        record = view.records.get(("run", run))
        if record is None or record.evicted or any(writer.evicted for writer in runs[run]):
            continue
        news = _since(0, runs[run])
        if any(chain[0].first for chain in news):
            continue  # it goes on
        if news or record.summaries:
            record = with_summaries(replace(record, summaries=()), itertools.chain.from_iterable(news))
        begun.append((record, news, files.get(layout.children_key(run), [])))
    return filter(None, tree.begin(begun))


def _fold_run(run: str, writers: list[LoggedWriter], after: Record | None, tree: Tree) -> Iterator[Entry]:
    key = layout.record_key("run", run)
    before: Record | None = None
    version: IfMatch = ABSENT
    summaries: Sequence[WriterSummary] = ()
    held = tree.has_run(run)  # most were never folded before
    if held:
        present, version = _rested(key, tree)
        before = next(iter(present), None)
    after = newest(after, before)
    evicted = after.evicted if after is not None else 0
    news = _since(evicted, writers)
    if held:
        if evicted:
            tree.sweep(run, evicted)
        if before is not None and before.evicted == evicted:
            summaries = before.summaries
        else:
            summaries = summaries_with((), joined(tree.parts(run, "points", evicted)))
    for chain in news:
        tree.extend(run, chain, evicted, append=True)
    if after is None:
        return
    if news or summaries or after.summaries:
        after = with_summaries(replace(after, summaries=summaries), itertools.chain.from_iterable(news))
    if before is None or encode(after) != encode(before):
        version = tree.write(key, [after])
    yield str(version), after


def _since(evicted: int, writers: list[LoggedWriter]) -> list[list[Segment]]:
    """What writers wrote since an eviction of their run."""
    heard = [writer for writer in writers if writer.evicted == evicted]
    return list(chains(joined((item.writer, first, columns) for item in heard for first, columns in item.parts)))


def _merge(key: str, records: list[Record], tree: Tree) -> Iterator[Entry]:
    present, version = _rested(key, tree)
    heads = {(record.kind, record.id): record for record in present}
    news = 0
    for record in records:
        before = heads.get((record.kind, record.id))
        head = newest(record, before)
        if head is not None and head is not before:
            heads[record.kind, record.id] = head
            news += 1
    if news:
        version = tree.write(key, list(heads.values()))
    for record in records:
        yield str(version), heads[record.kind, record.id]


def _rested(key: str, tree: Tree) -> tuple[list[Record], IfMatch]:
    try:
        return tree.records(key)
    except CorruptObjectError:
        # What cannot be read is kept beside the store's files, and makes way for what was acknowledged since.
        set_aside(tree.store, key)
        return [], ABSENT
