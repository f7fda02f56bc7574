"""Runs: their streams, their fate, and moving them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from padre_core import query
from padre_core.backends.bytestore import ABSENT, UNBORN, Absent
from padre_core.errors import ConflictError, CorruptObjectError, InvalidObjectError
from padre_core.objects import canonical
from padre_core.objects.base import Handle
from padre_core.objects.execution import Execution
from padre_core.objects.identity import check_id, new_run_id
from padre_core.objects.kinds import kinds
from padre_core.objects.record import Record
from padre_core.objects.run import Progress, Run, RunStatus
from padre_core.objects.summary import Summary, combine
from padre_core.services.listing import Row, row
from padre_core.services.lookup import Key
from padre_core.services.naming import Look
from padre_core.services.records import describe, restore_call
from padre_core.services.series import Series, series_of
from padre_core.services.service import Service
from padre_core.streams.columns import Line, Lines, metric_name
from padre_core.streams.writer import StreamWriter

if TYPE_CHECKING:
    from padre_core.query.model import Expression

PROGRESS = "PROGRESS"


class RunService(Service[Run]):
    """Stores and finds runs, and reads their points and lines."""

    def points(self, run: Run | Handle | str, metric: str) -> Series:
        """The points of a metric as columns; empty if there are none.

        Raises:
            CorruptObjectError: Fewer can be read than the run's summary speaks of.
        """
        record = self._seen(run)
        found = series_of(metric_name(metric), self.backend.read_stream(record.id, "points"))
        known = sum(summary.count for summary in record.summaries if summary.metric == metric)
        if len(found) < known:
            raise CorruptObjectError(
                f"{known - len(found)} of {known} points of {metric!r} in run {record.id} are damaged or missing; "
                "`padre verify` says where: take those files from a copy of the store"
            )
        return found

    def metrics(self, run: Run | Handle | str) -> dict[str, Summary]:
        """Count, first, last, minimum, maximum and mean of each metric that the run has points of."""
        return combine(self._seen(run).summaries)

    def packages(self, run: Run | Handle | str) -> dict[str, str]:
        """The distributions that were installed where the run ran, name to version; empty if nobody noted them."""
        environment = self.get(run).environment
        if environment is None or environment.packages is None:
            return {}
        with self.backend.open_blob(environment.packages.digest) as file:
            lines = file.read().decode().splitlines()
        return dict(line.split("==", 1) for line in lines)

    def lines(self, run: Run | Handle | str) -> list[Line]:
        """The lines that the run logged, by time."""
        return [line for line in self._lines(run) if line.level != PROGRESS]

    def progress(self, run: Run | Handle | str) -> Progress | None:
        """How far the run has come; None if it never told."""
        told = [line for line in self._lines(run) if line.level == PROGRESS]
        if not told:
            return self.get(run, refresh="never").progress
        current, total, phase = canonical.from_json(told[-1].text)
        return Progress(current=current, total=total, phase=phase)

    def open_writer(self, run: Run | Handle | str) -> StreamWriter:
        """A new writer of the run's points and lines, for this process; close it when the work is done."""
        return self.backend.open_writer(self._seen(run).id)

    def move(self, run: Run | Handle | str, execution: Execution | str) -> Run:
        """Puts a run, with all that lives in it, below another execution; ids stay.

        Raises:
            NotFoundError: There is no such run or execution.
            ConflictError: Somebody changed the run meanwhile.
        """
        before = self._seen(run)
        target = self._services["execution"].get(execution, refresh="never")
        if before.parent == target.id:
            return self._load(before)
        ancestors = self.records.place("execution", target.id)
        moved = self.model.from_content(before.content)
        moved.moved_from = (*moved.moved_from, moved.execution)
        moved.execution = target.id
        with self.backend.batch(f"Move run {before.id}", self.records.actor):
            after = self.records.update(before, moved.content(), action="move", ancestors=ancestors)
            for child in self._children(before.id):
                below = (*ancestors, *child.ancestors[len(before.ancestors) :])
                self.records.update(child, child.content, action="move", ancestors=below)
        return self._load(after)

    def _children(self, run: str) -> list[Record]:
        everything = query.Query(within=run, deleted=query.Deleted.INCLUDE)
        models = [model for model in kinds() if "run" in model.parents]
        return [record for model in models for record in self.records.all(model.kind, everything)]

    def _lines(self, run: Run | Handle | str) -> list[Line]:
        parts = self.backend.read_stream(self._seen(run).id, "lines")
        lines = [line for part in parts for line in cast("Lines", part.columns).lines]
        return sorted(lines, key=lambda line: line.time)

    def _identify(self, draft: Run, above: str | None, parent: str | None, look: Look) -> tuple[str, Record | None]:
        if draft.id is None:
            return new_run_id(), None
        head = look("run", check_id(draft.id))
        if head is not None and head.deleted is not None:
            raise ConflictError(f"{describe(head)} was deleted; bring it back with {restore_call(head)}")
        if head is not None and head.parent != parent:
            raise InvalidObjectError(f"{describe(head)} belongs to another execution; use workspace.runs.move")
        return draft.id, head

    def _absence(self, draft: Run) -> Absent:
        return UNBORN if draft.id is None else ABSENT

    def _key(self, object: Run) -> Key:
        return ()  # the id is all: a run's name is no more than a label

    def _generations(self, object: Run) -> Sequence[Record]:
        head = None if object.id is None else self.records.peek("run", object.id)
        return [] if head is None else [head]

    def _check_links(self, draft: Run, before: Record | None) -> None:
        if draft.parent is not None and (before is None or before.data().get("parent") != draft.parent):
            self.records.place("run", check_id(draft.parent))

    def _checked(self, draft: Run) -> bytes:
        if draft.status is RunStatus.LOST:  # derived when it was read; nobody knows how the run ended
            draft.__dict__["status"] = RunStatus.RUNNING
        return super()._checked(draft)

    def _load_page(self, records: Sequence[Record]) -> Sequence[Run]:
        runs = super()._load_page(records)
        running = [run for run in runs if run.status is RunStatus.RUNNING]
        live = self.backend.live_runs({str(run.id) for run in running}) if running else None
        for run in running:
            if live is not None and run.id not in live:
                run.__dict__["status"] = RunStatus.LOST
        return runs

    def _row(self, object: Run) -> Row:
        values = row(object)
        for name, summary in object.metrics.items():
            statistics = summary._asdict()
            del statistics["metric"]
            values.update({f"metrics.{name}.{statistic}": value for statistic, value in statistics.items()})
        return values

    def _rewrite(self, where: Expression) -> Expression:
        """Stored is only that a run is running; whether its writer lives is known here."""
        from padre_core.services.fate import mentions_status, with_lost  # who asks for nothing needs no conditions

        return with_lost(where, self.backend.live_runs()) if mentions_status(where) else where
