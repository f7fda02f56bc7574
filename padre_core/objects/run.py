"""Runs: one pass of an execution, with its parameters, environment and fate."""

import functools
from collections.abc import Iterable
from enum import StrEnum
from typing import ClassVar, Self

from pydantic import Field, ValidationError

from padre_core.errors import InvalidObjectError
from padre_core.objects import canonical
from padre_core.objects.base import BlobReference, JsonMap, PadreObject, Part, Reference, Time
from padre_core.objects.record import Record
from padre_core.objects.summary import Summary, combine

_RUNNING = b'"status":"running"'

_LONG = 16 * 1024
"""From so many bytes on the JSON of an environment is not remembered."""


class RunStatus(StrEnum):
    """Where a run stands; `lost` is derived by readers when its writer is gone, and never stored."""

    CREATED = "created"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    KILLED = "killed"
    LOST = "lost"

    @property
    def ended(self) -> bool:
        """Whether nothing more is expected of the run."""
        return self not in (RunStatus.CREATED, RunStatus.RUNNING)


class Environment(Part):
    """Where a run ran. Environment variables are never part of it.

    Attributes:
        packages: Installed distributions as text, `name==version` in each line. Runs that share them share the blob.
        commit: The git commit of the working folder's repository, if any.
        changes: sha-256 over the uncommitted changes of that repository.
    """

    changes: str | None = None
    commit: str | None = None
    hostname: str | None = None
    packages: BlobReference | None = None
    platform: str | None = None
    processors: int | None = None
    python: str | None = None


class RunError(Part):
    """Why a run failed."""

    message: str
    traceback: str | None = None
    type: str


class Progress(Part):
    """How far the work has come, in the unit of the caller."""

    current: float
    phase: str | None = None
    total: float | None = None


class Run(PadreObject, init=False):
    """One pass of an execution.

    Attributes:
        parent: The id of the run that this one is a part of; it is no ancestor.
        command: The command line, with values of secret-looking options replaced by `***`.
        started_at: In UTC, as `ended_at`; a `datetime` must name its zone, text without one is in UTC.
        progress: As last noted when the run ended; `runs.progress` follows a run while it works.
        moved_from: The ids of executions that the run belonged to before, oldest first.
    """

    kind: ClassVar[str] = "run"
    folder: ClassVar[str] = "runs"
    parents: ClassVar[tuple[str, ...]] = ("execution",)
    parent_field: ClassVar[str | None] = "execution"

    execution: Reference
    parent: Reference | None = None
    parameters: JsonMap = Field(default_factory=dict)
    command: tuple[str, ...] | None = None
    environment: Environment | None = None
    status: RunStatus = RunStatus.CREATED
    started_at: Time | None = None
    ended_at: Time | None = None
    progress: Progress | None = None
    error: RunError | None = None
    moved_from: tuple[str, ...] = ()

    @classmethod
    def from_stored(cls, contents: Iterable[bytes]) -> list[Self]:
        """As for all kinds; runs whose environments are equal to the letter share one: it is two fifths of a run."""
        contents = tuple(contents)
        parts = [_without_environment(content) for content in contents]
        try:
            runs = super().from_stored([content for content, _ in parts])
        except InvalidObjectError:
            return super().from_stored(contents)  # says what is wrong, and where
        for run, (_, environment) in zip(runs, parts, strict=True):
            if environment is not None and run.environment is None:
                run.__dict__["environment"] = environment
                run.__pydantic_fields_set__.add("environment")
        return runs

    @property
    def metrics(self) -> dict[str, Summary]:
        """What the run's points came to, by metric, when the run was read; `runs.metrics` looks anew."""
        return combine(self._stored.record.summaries) if self._stored else {}


def _without_environment(content: bytes) -> tuple[bytes, Environment | None]:
    """The content of a run without its environment, and that; all of it where it does not look as services write it."""
    start = content.find(b"{", 1)
    if content[start - 15 : start] not in (b',"environment":', b'{"environment":'):
        return content, None
    end = content.find(b'},"e', start) + 1  # in canonical order the error follows, or the execution
    environment = _environment(content[start:end]) if end - start < _LONG else None
    return (content, None) if environment is None else (content[: start - 14] + content[end + 1 :], environment)


@functools.lru_cache(maxsize=64)
def _environment(text: bytes) -> Environment | None:
    """The environment of a JSON text; None if the text is not one, and no more."""
    try:
        found: Environment = Environment.__pydantic_validator__.validate_json(text)
    except ValidationError:
        return None
    return found


def is_running(record: Record) -> bool:
    """Whether a record says that a run goes on."""
    return record.kind == "run" and _says_running(record.content)


@functools.lru_cache(maxsize=64)  # asked of a run whenever something is stored in it
def _says_running(content: bytes) -> bool:
    if _RUNNING not in content:
        return False
    # Behind a comma it is a key, for in a text its quotes were escaped. What is left from there on is the rest of an
    # object only if the key is one of the run itself, as it mostly is.
    rest = content.rpartition(b"," + _RUNNING)[2]
    try:
        found = canonical.from_json(b"{%b%b" % (_RUNNING, rest))
    except ValueError:
        found = canonical.from_json(content)
    return bool(found.get("status") == RunStatus.RUNNING)
