"""The hooks: five for each kind of object, two that shape requests, and the events.

Services call a CRUD hook once for each object; core's storage implementation answers last. Extensions stand around
it with `@padre_core.hookimpl(wrapper=True)`: what is before their `yield` runs before the storage, what is behind it
sees, and may replace, what is returned. `docs/extensions.md` has an example of each.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import pluggy

from padre_core.backends.backend import Backend, Page
from padre_core.backends.bytestore import IfMatch
from padre_core.objects.kinds import kinds
from padre_core.objects.record import Record

if TYPE_CHECKING:
    from padre_core.query.model import Expression, Query

PROJECT = "padre"

hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function of an extension as the implementation of the hook of its name."""

_hookspec = pluggy.HookspecMarker(PROJECT)


class Action(StrEnum):
    """What a request is about to do."""

    CREATE = "create"
    GET = "get"
    UPDATE = "update"
    DELETE = "delete"
    LIST = "list"

    @property
    def writes(self) -> bool:
        """Whether it changes the store."""
        return self in (Action.CREATE, Action.UPDATE, Action.DELETE)


class Ref(NamedTuple):
    """Which object is meant; for a listing `id` is None."""

    kind: str
    id: str | None = None


class Request(NamedTuple):
    """What a service asks for. New fields may be added; those that are here stay.

    Attributes:
        record: What is to be stored. In `padre_prepare` it has no etag yet. In a `get` the old version that is asked
            for, as in a history; None means the newest one.
        if_match: The version that is to be replaced, or `ABSENT`.
        actor: The name of the user.
        query: What a listing is limited to.
    """

    action: Action
    ref: Ref
    backend: Backend
    record: Record | None = None
    if_match: IfMatch = None
    actor: str | None = None
    query: Query | None = None


class ObjectChanged(NamedTuple):
    """That an object was stored.

    Attributes:
        action: `create`, `update`, `delete`, `restore` or `move`.
        record: As it is stored now.
    """

    action: str
    record: Record
    actor: str | None = None


class Started(NamedTuple):
    """That a run began."""

    run: str
    name: str | None = None


class Stopped(NamedTuple):
    """That a run ended.

    Attributes:
        status: `finished`, `failed` or `killed`.
        seconds: How long it took.
    """

    run: str
    status: str
    seconds: float | None = None


class Progressed(NamedTuple):
    """That a run, or a long operation of a workspace, got further.

    Attributes:
        total: None while nobody knows.
        phase: What is being done.
        run: None for an operation of the workspace itself.
    """

    current: float
    total: float | None = None
    phase: str | None = None
    run: str | None = None


class Logged(NamedTuple):
    """That a run logged a line of text."""

    run: str
    level: str
    text: str


Event = ObjectChanged | Started | Stopped | Progressed | Logged


def create(request: Request) -> Record:  # type: ignore[empty-body]  # core's storage answers
    """Stores the first version of a {kind}: `request.record`, if nothing is there.

    Wrap it to validate, authorise or audit. It may not be answered without wrapping: a write could then succeed
    with nothing stored.
    """


def get(request: Request) -> Record:  # type: ignore[empty-body]
    """Returns the {kind} of `request.ref`, which may be a tombstone.

    Wrap it to authorise or to redact what is read; answer it early (without `wrapper=True`) to serve a cache.
    """


def update(request: Request) -> Record:  # type: ignore[empty-body]
    """Stores a new version of a {kind}: `request.record`, if the stored one is `request.if_match`.

    Edits, moves and restores come here. Wrap it to validate, authorise or audit.
    """


def delete(request: Request) -> Record:  # type: ignore[empty-body]
    """Stores the tombstone of a {kind}: `request.record`, if the stored one is `request.if_match`.

    Wrap it to authorise or audit.
    """


def list(request: Request) -> Page:  # type: ignore[empty-body]
    """Returns the page of {folder} that `request.query` asks for.

    Wrap it to redact what is read; answer it early to serve a cache. To hide objects use `padre_scope`, which keeps
    pages full and counts right.
    """


class Shaping:
    """Hooks that shape requests before they are carried out."""

    @_hookspec
    def padre_prepare(self, request: Request) -> Record | None:
        """Returns `request.record` with another content, or None to leave it as it is.

        Called before each create and update, extension by extension, each with what the one before made of it, and
        before the hash is taken. Use `dataclasses.replace(request.record, content=...)`. Only the content counts; what
        identifies the object must stay.
        """

    @_hookspec
    def padre_scope(self, request: Request) -> Expression | str | None:
        """Returns a filter that limits what may be read of a kind, or None for no limit.

        Filters of several extensions are joined with `and`. They are added to every listing and count, and checked
        whenever an object, its streams or its files are read; what they hide looks as if it were not there.
        """


class Events:
    """What happened. Told once at most, to each subscriber by itself: one that raises is logged and hurts nobody."""

    @_hookspec
    def padre_object_changed(self, event: ObjectChanged) -> None:
        """Called after an object was created, updated, deleted, restored or moved by this workspace."""

    @_hookspec
    def padre_started(self, event: Started) -> None:
        """Called after a run began."""

    @_hookspec
    def padre_stopped(self, event: Stopped) -> None:
        """Called after a run ended, however it ended."""

    @_hookspec
    def padre_progress(self, event: Progressed) -> None:
        """Called when a run, or a long operation such as a copy, got further."""

    @_hookspec
    def padre_logged(self, event: Logged) -> None:
        """Called after a run logged a line of text. Points pass no hook."""


CRUD: dict[Action, Callable[[Request], Any]] = {
    Action.CREATE: create,
    Action.GET: get,
    Action.UPDATE: update,
    Action.DELETE: delete,
    Action.LIST: list,
}

EVENT_HOOKS: dict[type, str] = {
    ObjectChanged: "padre_object_changed",
    Started: "padre_started",
    Stopped: "padre_stopped",
    Progressed: "padre_progress",
    Logged: "padre_logged",
}


def hook_name(kind: str, action: Action) -> str:
    """The name of a CRUD hook, such as `padre_run_create`."""
    return f"padre_{kind}_{action}"


def crud_specs() -> type:
    """The CRUD hooks of all registered kinds, as pluggy takes them."""
    specs = type("Crud", (), {})
    texts = {action: inspect.cleandoc(function.__doc__ or "") for action, function in CRUD.items()}
    for model in kinds():
        for action, function in CRUD.items():
            spec = types.FunctionType(function.__code__, function.__globals__, hook_name(model.kind, action))
            spec.__doc__ = texts[action].format(kind=model.kind, folder=model.folder)
            spec.__annotations__ = function.__annotations__
            setattr(specs, spec.__name__, _hookspec(spec, firstresult=True))
    return specs


class HookInfo(NamedTuple):
    """A hook as `padre hooks` shows it."""

    name: str
    signature: str
    text: str


def describe() -> Iterator[HookInfo]:
    """All hooks, those of the kinds first."""
    for holder in (crud_specs(), Shaping, Events):
        for name, function in vars(holder).items():
            if name.startswith("padre_"):
                signature = str(inspect.signature(function)).replace("(self, ", "(").replace("'", "")
                yield HookInfo(name, signature, inspect.cleandoc(function.__doc__ or ""))
