"""How runs begin, and what becomes of those that nobody ended."""

from __future__ import annotations

import atexit
import contextlib
import io
import logging
import os
import weakref
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from padre_core.capture import Capture, capture
from padre_core.errors import ConflictError, InvalidObjectError, NotFoundError, PadreError
from padre_core.hookspecs import Started
from padre_core.objects.code import Code
from padre_core.objects.execution import Execution
from padre_core.objects.experiment import Experiment
from padre_core.objects.run import Environment, Run, RunStatus
from padre_core.services.checking import checked_entries
from padre_core.tracking.active import ActiveRun, active
from padre_core.tracking.ending import uncaught
from padre_core.tracking.home import Home

logger = logging.getLogger(__name__)

DEFAULT_EXPERIMENT = "default/default"

_executions: weakref.WeakKeyDictionary[Home, dict[str, str]] = weakref.WeakKeyDictionary()
"""The executions of this process's code, by the experiment's id or name path."""

_environments: weakref.WeakKeyDictionary[Home, Environment] = weakref.WeakKeyDictionary()
"""The environment of this process, with a reference to its packages in the workspace's store."""


def start_run(
    home: Home,
    experiment: Experiment | str | None = None,
    *,
    parameters: Mapping[str, Any] | None = None,
    name: str | None = None,
    tags: Mapping[str, str] | None = None,
    parent: Run | ActiveRun | str | None = None,
    resume: Run | ActiveRun | str | None = None,
) -> ActiveRun:
    """Starts a run of an experiment, under the execution of this version of the code.

    Args:
        experiment: An experiment, its id, URL or name path; made if it is named and missing. None is `default/default`.
        parent: The run that this one is a part of.
        resume: A run to go on with instead of a new one, with `parameters` and `tags` added. A run that has ended, or
            was lost, is running again until it is ended here. One that another process works on is joined: that
            process will end it.

    Raises:
        InvalidObjectError: A name, parameter or tag is malformed; nothing was stored.
    """
    parameters, tags = checked_entries("parameters", parameters), checked_entries("tags", tags)
    if resume is not None:
        if experiment is not None or name is not None or parent is not None:
            raise InvalidObjectError("start_run: a resumed run keeps its experiment, name and parent; leave them out")
        return _resume(home, resume, parameters, tags)
    captured = capture()
    environment = _environments.get(home)
    draft = Run(
        execution="",
        name=name,
        parameters=parameters,
        tags=tags,
        command=captured.command,
        environment=environment,
        status=RunStatus.RUNNING,
        started_at=datetime.now(UTC),
    )
    if parent is not None:
        draft.parent = home.runs.get(parent, refresh="never").id
    if environment is None:  # it stores a file: not before all else is known to be sound
        draft.environment = _environments[home] = _environment(home, captured)
    with home.records.backend.batch(f"Start of run {name or ''}".rstrip(), home.records.actor):  # one barrier for all
        run = ActiveRun(home, _put_below(home, experiment, captured.code, draft))
    home.records.hooks.emit(Started(run.id, name))
    return run


def end_runs(home: Home | None = None, error: BaseException | None = None) -> None:
    """Ends the runs of a workspace that is about to close, or all, as the exception or its absence says.

    Raises:
        PadreError: The end of a run could not be stored; the others were ended all the same.
    """
    failure: PadreError | None = None
    for run in sorted(active, key=lambda run: run.id, reverse=True):  # parts before the runs that they are parts of
        if home is None or run._home is home:
            try:
                run._close(error)
            except PadreError as reason:
                logger.warning("the end of run %s could not be stored: %s", run.id, reason)
                failure = reason
                run._forget()  # what it stands in closes now, and what was logged is shipped by the next opening
    if failure is not None:
        raise failure


@atexit.register
def _at_exit() -> None:
    with contextlib.suppress(PadreError):  # which was logged
        end_runs(error=uncaught())


def _environment(home: Home, captured: Capture) -> Environment:
    """The environment of this process, with its packages kept in the store."""
    text = "".join(f"{name}=={version}\n" for name, version in captured.packages.items())
    packages = home.records.backend.write_blob(io.BytesIO(text.encode()), media_type="text/plain")
    return captured.environment.model_copy(update={"packages": packages})


def _put_below(home: Home, experiment: Experiment | str | None, code: Code, draft: Run) -> Run:
    """Stores a run under the execution of an experiment by a version of the code."""
    known = _executions.setdefault(home, {})
    reference = _reference(home, experiment)
    if reference in known:
        draft.__dict__["execution"] = known[reference]  # past validation, for it is an id
        try:
            return home.runs.put(draft)
        except (ConflictError, NotFoundError):
            del known[reference]  # it was deleted since, and is made again
    version = home.codes.put(code.model_copy())
    execution = home.executions.put(Execution(experiment=reference, code=str(version.id)))
    known[reference] = draft.__dict__["execution"] = str(execution.id)
    return home.runs.put(draft)


def _reference(home: Home, experiment: Experiment | str | None) -> str:
    """The id or name path of an experiment."""
    if isinstance(experiment, Experiment):
        return str(experiment.id or home.experiments.put(experiment).id)
    if isinstance(experiment, str) and "://" in experiment:
        return str(home.experiments.get(experiment, refresh="never").id)
    if isinstance(experiment, str) or experiment is None:
        return experiment or DEFAULT_EXPERIMENT
    raise InvalidObjectError(f"start_run takes an experiment, its id, URL or name path, not {experiment!r:.80}")


def _resume(
    home: Home, resume: Run | ActiveRun | str, parameters: Mapping[str, Any], tags: Mapping[str, str]
) -> ActiveRun:
    found = home.runs.get(resume, refresh="never")
    joined = found.status is RunStatus.RUNNING

    def go_on(run: Run) -> None:
        if not joined:
            run.status, run.error, run.ended_at = RunStatus.RUNNING, None, None
        run.parameters = {**run.parameters, **parameters}
        run.tags = {**run.tags, **tags}

    run = ActiveRun(home, found, joined=joined)
    run._change(go_on)
    return run


def _after_fork() -> None:
    for run in active:
        run._after_fork()


os.register_at_fork(after_in_child=_after_fork)
