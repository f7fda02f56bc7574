"""A run while it works: what a training script writes to, and how it ends."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NoReturn, Self

from padre_core.errors import ConflictError, InvalidObjectError, PadreError, UnsupportedError
from padre_core.hookspecs import Stopped
from padre_core.objects.artifact import Artifact
from padre_core.objects.base import Handle
from padre_core.objects.computation import Computation
from padre_core.objects.dataset import Dataset
from padre_core.objects.identity import run_child_id
from padre_core.objects.output import Output
from padre_core.objects.run import Run, RunError, RunStatus
from padre_core.objects.split import Split
from padre_core.services.checking import checked_entries
from padre_core.services.files import Source
from padre_core.streams.columns import now
from padre_core.tracking.ending import outcome
from padre_core.tracking.files import walk
from padre_core.tracking.home import Home
from padre_core.tracking.streams import RunStreams

_ATTEMPTS = 100

active: set[ActiveRun] = set()
"""The runs that this process has not ended."""


class ActiveRun(RunStreams, Handle):
    """One process's opening of a run; `start_run` makes it.

    A `with` block ends the run as the block ends: `finished`; `failed`, with type, message and traceback of the
    exception; or `killed` by `KeyboardInterrupt` or an exit with another code than 0. Without `with`, call `finish`.
    A run that is still active when the workspace closes or the interpreter exits is ended then: `failed` or `killed`
    if an uncaught exception is the reason, else `finished`. Only the process that started a run ends it, not one that
    was forked from it or joined it.

    Attributes:
        object: The run's record as this process last read or wrote it.
    """

    def __init__(self, home: Home, run: Run, *, joined: bool = False) -> None:
        super().__init__(home, str(run.id))
        self.object: Run = run
        self._joined = joined
        self._began = now()
        self._ordinals: dict[str, int] = {}
        active.add(self)

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Adds parameters to the run; one that is there already gets the new value."""
        added = checked_entries("parameters", parameters)
        self._change(lambda run: setattr(run, "parameters", {**run.parameters, **added}))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Adds tags to the run; one that is there already gets the new text."""
        added = checked_entries("tags", tags)
        self._change(lambda run: setattr(run, "tags", {**run.tags, **added}))

    def log_artifact(self, source: Source, path: str | None = None) -> Artifact:
        """Stores a file.

        Args:
            source: The file, its path, or bytes.
            path: What to call it within the run, with `/`; by default the file's name.
        """
        self._current_writer()
        return self._home.artifacts.upload(self.id, source, path=path)

    def log_artifacts(self, folder: str | os.PathLike[str]) -> list[Artifact]:
        """Stores all regular files below a folder, under their paths within it.

        Links are not followed, so that nothing from elsewhere is stored; they, and whatever else is no readable regular
        file, are left out and named in a warning in the run's log.
        """
        self._current_writer()
        left_out: list[str] = []

        def files() -> Iterator[tuple[str, BinaryIO]]:
            for path, stream in walk(Path(folder)):
                if stream is None:
                    left_out.append(path)
                else:
                    yield path, stream

        with self._home.records.backend.batch(f"Artifacts of run {self.id}", self._home.records.actor):
            stored = self._home.artifacts.upload_all(self.id, files())
        if left_out:
            self.log(f"not stored, for they are no regular files or may not be read: {', '.join(left_out)}", "WARNING")
        return stored

    def log_output(
        self, name: str, rows: Mapping[str, Sequence[Any]] | None = None, value: Any = None, split: int | None = None
    ) -> Output:
        """Stores results, either one line for each row of the data or a structured value.

        Args:
            rows: Columns of equal length, such as `row`, `truth`, `prediction`, from which any metric can be computed.
            value: Anything that JSON can hold.
            split: The number of the split that the results belong to.
        """
        self._current_writer()
        if (rows is None) == (value is None):
            raise InvalidObjectError(f"log_output({name!r}): give either rows or a value")
        return self._home.outputs.put(Output(name=name, run=self.id, split=split, value=value), rows=rows)

    def log_split(
        self,
        number: int,
        *,
        train: Iterable[int] = (),
        validation: Iterable[int] = (),
        test: Iterable[int] = (),
        dataset: Dataset | str | None = None,
    ) -> Split:
        """Stores which rows were for training, validation and test.

        Args:
            number: Counts the splits of the run, from 0.
            dataset: The dataset whose rows are meant.
        """
        self._current_writer()
        fields: dict[str, Any] = {"train": train, "validation": validation, "test": test, "dataset": dataset}
        return self._home.splits.put(Split(run=self.id, number=number, **fields))

    def log_computation(self, component: str, *, ordinal: int | None = None, **fields: Any) -> Computation:
        """Stores what one component of the pipeline did.

        Args:
            ordinal: By default the first from 0 on that is free; processes that share a run should say it.
            fields: `predecessors`, `split`, `parameters`, `result`; see `padre_core.Computation`.
        """
        self._current_writer()
        with self._lock:
            if ordinal is None:
                ordinal = self._free_ordinal(component)
            computation = Computation(run=self.id, component=component, ordinal=ordinal, **fields)
            return self._home.computations.put(computation)

    def finish(self, status: RunStatus | str = RunStatus.FINISHED) -> Run:
        """Ends the run; it is then as durable as the store promises.

        Args:
            status: `finished`, `failed` or `killed`.

        Raises:
            ConflictError: The run has ended.
        """
        if status not in (RunStatus.FINISHED, RunStatus.FAILED, RunStatus.KILLED):
            raise InvalidObjectError(f"finish: {status!r:.80} is none of finished, failed and killed")
        self._end(RunStatus(status), None)
        return self.object

    def _close(self, error: BaseException | None = None) -> None:
        """Ends the run as an exception or its absence says, if nobody did; leaves it to the process that started it."""
        if self.ended:
            return
        status, reason = outcome(error)
        if not self._joined:
            self._end(status, reason)
            return
        if reason is not None:
            self.log(reason.traceback or reason.message, "ERROR")
        self._close_writer()
        self._forget()

    def _change(self, change: Callable[[Run], object]) -> None:
        """Changes the run's record, again if others changed it meanwhile.

        Raises:
            ConflictError: The run has ended.
        """
        self._current_writer()
        with self._lock:
            for _ in range(_ATTEMPTS):
                before = self.object.etag
                change(self.object)
                try:
                    self.object = self._home.runs.put(self.object)
                    return
                except ConflictError:
                    self.object = self._home.runs.get(self.id, refresh="never")
                    if self.object.etag == before:
                        raise
            raise ConflictError(f"run {self.id} is changed too often by others; try again")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self._close()
            return
        try:
            self._close(error)
        except PadreError as failure:
            # The script's own exception must come through.
            error.add_note(f"PaDRe could not store the end of run {self.id}: {failure}")

    def __reduce__(self) -> NoReturn:
        raise UnsupportedError(
            f"a run is not sent to another process (impossible): open the workspace there with "
            f"padre.open({self._home.records.url!r}), and join the run with start_run(resume={self.id!r})"
        )

    def __repr__(self) -> str:
        return f"<ActiveRun {self.id} {self.object.status}>"

    def _end(self, status: RunStatus, error: RunError | None) -> None:
        def end(run: Run) -> None:
            run.__dict__.update(status=status, ended_at=datetime.now(UTC))  # past validation, which they need not
            if error is not run.error:
                run.error = error
            if self._progress is not None:
                run.progress = self._progress

        with self._lock:
            with self._home.records.backend.batch(f"End of run {self.id}", self._home.records.actor):
                self.flush()
                self._change(end)
            self._close_writer()
        self._forget()
        self._home.records.hooks.emit(Stopped(self.id, status, (now() - self._began) / 1_000_000))

    def _after_fork(self) -> None:
        """In the child, which has only joined the run of its parent."""
        self._joined = True
        self._forget_writer()

    def _forget(self) -> None:
        active.discard(self)

    def _free_ordinal(self, component: str) -> int:
        kind, peek = Computation.kind, self._home.records.peek
        taken = self._ordinals.get(component, 0)
        free = next(n for n in itertools.count(taken) if peek(kind, run_child_id(self.id, kind, component, n)) is None)
        self._ordinals[component] = free
        return free
