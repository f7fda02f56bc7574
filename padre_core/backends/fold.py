"""Folding: from a log into the tree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from padre_core.backends import layout
from padre_core.backends.backend import Segment
from padre_core.backends.tree import Part, Tree, joined, summaries_with, with_summaries
from padre_core.backends.verify import set_aside
from padre_core.errors import CorruptObjectError
from padre_core.objects.record import Record, encode
from padre_core.streams.journal import LogView

Head = Callable[[str, str], Record | None]


def fold_log(path: Path, tree: Tree, head: Head) -> list[tuple[str, Record]]:
    """Brings what a log holds into the tree; doing it twice, or the half of it again, does no harm.

    The caller holds the lock for folding, and removes the log when the tree is safe.

    Args:
        head: The newest record of an object, wherever it is.

    Returns:
        The records that were written, each after the version of its file.
    """
    view = LogView(path)
    try:
        view.poll()
        view.scan()
        return _fold(view, tree, head)
    finally:
        view.reader.close()


def _fold(view: LogView, tree: Tree, head: Head) -> list[tuple[str, Record]]:
    files: dict[str, list[Record]] = {}
    runs: dict[str, list[Part]] = {}
    for writer in view.writers.values():
        parts = runs.setdefault(writer.run, [])
        parts += [(writer.writer, first, columns) for first, columns in writer.parts]
    for record in view.records.values():
        if record.kind == "run":
            runs.setdefault(record.id, [])
        else:
            files.setdefault(layout.record_key(record.kind, record.id), []).append(record)
    written = []
    for run, parts in runs.items():
        written += _fold_run(run, list(joined(parts)), view.records.get(("run", run)) or head("run", run), tree)
    for key, records in files.items():
        written += _merge(key, records, tree)
    return written


def _fold_run(run: str, segments: list[Segment], after: Record | None, tree: Tree) -> list[tuple[str, Record]]:
    key = layout.record_key("run", run)
    before = next(iter(_records(key, tree)), None)
    summaries = before.summaries if before else summaries_with((), joined(tree.parts(run, "points")))
    for segment in segments:
        tree.extend(run, segment.writer, segment.first, segment.columns, append=True)
    if after is None:
        return []
    if before is not None and before.version >= after.version:
        after = before
    after = with_summaries(replace(after, summaries=summaries), segments)
    if before is not None and encode(after) == encode(before):
        return []
    return [(tree.write(key, [after]), after)]


def _merge(key: str, records: list[Record], tree: Tree) -> list[tuple[str, Record]]:
    present = {(record.kind, record.id): record for record in _records(key, tree)}
    news = [record for record in records if _is_news(record, present.get((record.kind, record.id)))]
    if not news:
        return []
    present.update({(record.kind, record.id): record for record in news})
    version = tree.write(key, list(present.values()))
    return [(version, record) for record in news]


def _is_news(record: Record, present: Record | None) -> bool:
    return present is None or present.version < record.version


def _records(key: str, tree: Tree) -> list[Record]:
    try:
        return tree.records(key)[0]
    except CorruptObjectError:
        # What cannot be read is kept beside the store's files, and makes way for what was acknowledged since.
        set_aside(tree.store, key)
        return []
