"""Metrics: those that were put, and those that follow from points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from padre_core import query
from padre_core.errors import NotFoundError
from padre_core.objects.base import Handle, PadreObject, Stored
from padre_core.objects.identity import run_child_id, run_of
from padre_core.objects.metric import Metric
from padre_core.objects.record import Record, first
from padre_core.objects.summary import combine
from padre_core.services.service import Service

if TYPE_CHECKING:
    from padre_core.query.model import Expression, Query


class MetricService(Service[Metric]):
    """Stores and finds metrics. Each metric that a run has points of is listed, with its `summary`."""

    def count(
        self,
        where: str | Expression | None = None,
        *,
        within: PadreObject | Handle | str | None = None,
        deleted: bool = False,
    ) -> int:
        return sum(1 for _ in self.list(where, within=within, deleted=deleted))

    def _fetch(self, asked: Query) -> tuple[Sequence[Metric], str | None]:
        everything = query.Query(within=asked.within, deleted=query.Deleted.INCLUDE)
        known = {record.id for record in self.records.all(self.kind, everything)}
        runs = {run.id: run for run in self._runs(asked)}
        news = (item for run in runs.values() for item in derived(run) if item.id not in known)
        found = {item.id: item for item in news if self.records.in_scope(item)}
        if asked.where is not None:
            found = {id: item for id, item in found.items() if query.matches(asked.where, query.values_of(item))}
        for record in self.records.all(self.kind, replace(asked, limit=1000)):
            found[record.id] = record
        ordered = sorted(found.values(), key=lambda item: (query.sort_key(asked.order, query.values_of(item)), item.id))
        return self._load_page(ordered), None

    def _runs(self, asked: Query) -> Iterator[Record]:
        yield from self.records.all("run", query.Query(within=asked.within, deleted=asked.deleted))
        run = None if asked.within is None else self.records.peek("run", asked.within)
        if run is not None and self.records.in_scope(run):
            yield run

    def _read(self, id: str) -> Record:
        try:
            return super()._read(id)
        except NotFoundError:
            run = run_of(id)
            if run is None or self.records.peek(self.kind, id) is not None:
                raise
            for record in derived(self.records.get("run", run)):
                if record.id == id and self.records.in_scope(record):
                    return record
            raise

    def _load_page(self, records: Sequence[Record]) -> Sequence[Metric]:
        runs: dict[str, Record | None] = {}
        metrics = super()._load_page(records)
        for metric, record in zip(metrics, records, strict=True):
            if not record.version:
                metric._bind(Stored(record, derived=True))
            if metric.run not in runs:
                runs[metric.run] = self.records.peek("run", metric.run)
            run = runs[metric.run]
            if run is not None and metric.split is None and metric.computation is None:
                metric._summary = combine(run.summaries).get(metric.name)
        return metrics


def derived(run: Record) -> Iterator[Record]:
    """The metrics that follow from a run's points, as records that no store holds."""
    for name in combine(run.summaries):
        metric = Metric(name=name, run=run.id)
        id = run_child_id(run.id, Metric.kind, *metric.key())
        ancestors = (*run.ancestors, run.id)
        yield first(Metric.kind, id, metric.content(), ancestors, by=run.created_by, at=run.created_at)
