"""The hooks of one workspace: core's storage, the extensions around it, and the subscribers of events."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import pluggy

from padre_core import query
from padre_core.backends.backend import Page
from padre_core.errors import InvalidObjectError, PluginError
from padre_core.hookspecs import (
    CRUD,
    EVENT_HOOKS,
    PROJECT,
    Action,
    Event,
    Events,
    Request,
    Shaping,
    crud_specs,
    hook_name,
    hookimpl,
)
from padre_core.objects.kinds import kinds
from padre_core.objects.record import Record
from padre_core.plugins import CORE

if TYPE_CHECKING:
    from padre_core.query.model import Expression, Query

logger = logging.getLogger(__name__)


class Storage:
    """Core's answer to every CRUD hook: what the backend of the request says."""

    def __init__(self) -> None:
        for (kind, action), answer in _answers().items():
            setattr(self, hook_name(kind, action), answer)


@hookimpl(trylast=True)
def _get(request: Request) -> Record:
    return request.record or request.backend.get(request.ref.kind, cast("str", request.ref.id))


@hookimpl(trylast=True)
def _put(request: Request) -> Record:
    return request.backend.put(cast("Record", request.record), if_match=request.if_match)


@hookimpl(trylast=True)
def _list(request: Request) -> Page:
    return request.backend.query(request.ref.kind, cast("Query", request.query))


def _answers() -> dict[tuple[str, Action], Callable[..., Any]]:
    answers = {Action.GET: _get, Action.LIST: _list}
    return {(model.kind, action): answers.get(action, _put) for model in kinds() for action in CRUD}


class Hooks:
    """The extensions of a workspace; which ones they are does not change after opening.

    Attributes:
        extended: There are any; without, a backend may be asked for many records at once.

    Raises:
        PluginError: An extension implements a hook that there is not, or answers a write without wrapping it.
    """

    def __init__(self, extensions: Iterable[tuple[str, object]] = ()) -> None:
        found = [*extensions]
        self.extended = bool(found)
        self._callers: Mapping[tuple[str, Action], Callable[..., Any]] = _answers()
        self._prepare: tuple[pluggy.HookImpl, ...] = ()
        self._scope: tuple[pluggy.HookImpl, ...] = ()
        self._events: dict[str, tuple[pluggy.HookImpl, ...]] = dict.fromkeys(EVENT_HOOKS.values(), ())
        if found:  # else there is nobody to ask but core, and making a manager takes half the time of opening
            self._ask_all(_manager(found))

    def _ask_all(self, manager: pluggy.PluginManager) -> None:
        callers = {(kind, action): getattr(manager.hook, hook_name(kind, action)) for kind, action in self._callers}
        for (_, action), caller in callers.items():
            if action.writes:
                _check_wrapped(caller)
        self._callers = callers
        self._prepare = _in_order(manager.hook.padre_prepare)
        self._scope = _in_order(manager.hook.padre_scope)
        self._events = {name: _in_order(getattr(manager.hook, name)) for name in EVENT_HOOKS.values()}

    def call(self, request: Request) -> Any:
        """Passes a request through its hook: to the extensions, and last to core's storage.

        Raises:
            PluginError: An extension returned what the hook does not.
        """
        result = self._callers[request.ref.kind, request.action](request=request)
        if not isinstance(result, Page if request.action is Action.LIST else Record):
            name = hook_name(request.ref.kind, request.action)
            raise PluginError(f"an extension made {name} return {type(result).__name__}; see `padre hooks`")
        return result

    @property
    def prepares(self) -> bool:
        """Whether an extension may change what is written."""
        return bool(self._prepare)

    def prepare(self, request: Request, extend: Callable[[Record], Request]) -> Record:
        """What the extensions make of a record that is to be written.

        Args:
            extend: Makes the request for the next extension from a record.
        """
        for implementation in self._prepare:
            changed = _answer(implementation, Record, request=request)
            if changed is not None:
                request = extend(changed)
        return cast("Record", request.record)

    @property
    def scoped(self) -> bool:
        """Whether an extension may limit what is read."""
        return bool(self._scope)

    def scope(self, request: Request) -> Expression | None:
        """The filter that limits what may be read of a kind; None if there is none.

        Raises:
            PluginError: An extension returned what is no filter of the kind.
        """
        limits: list[Expression] = []
        for implementation in self._scope:
            limit = _answer(implementation, str | query.Expression, request=request)
            if limit is not None:
                try:
                    limits.append((query.parse if isinstance(limit, str) else query.check)(limit, request.ref.kind))
                except InvalidObjectError as error:
                    raise PluginError(f"the extension {implementation.plugin_name} limits reading: {error}") from error
        return all_of(limits)

    def listens(self, event: type[Event]) -> bool:
        """Whether anybody subscribed to a kind of event."""
        return bool(self._events[EVENT_HOOKS[event]])

    def emit(self, event: Event) -> None:
        """Tells each subscriber; what one raises is logged with its name and reaches nobody."""
        name = EVENT_HOOKS[type(event)]
        for implementation in self._events[name]:
            try:
                _call(implementation, event=event)
            except Exception:
                logger.exception("the extension %s failed in %s", implementation.plugin_name, name)


def all_of(items: Sequence[Expression]) -> Expression | None:
    """The conditions joined with `and`."""
    return (items[0] if len(items) == 1 else query.And(tuple(items))) if items else None


def _manager(extensions: Sequence[tuple[str, object]]) -> pluggy.PluginManager:
    """A manager that knows all hooks, core's storage and the extensions."""
    manager = pluggy.PluginManager(PROJECT)
    for specs in (crud_specs(), Shaping, Events):
        manager.add_hookspecs(specs)
    manager.register(Storage(), CORE)
    for name, extension in extensions:
        _register(manager, name, extension)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(f"{error}; `padre hooks` lists the hooks that there are") from error
    return manager


def _register(manager: pluggy.PluginManager, name: str, extension: object) -> None:
    if isinstance(extension, type):
        raise PluginError(f"the extension {name} is a class: pass an object of it")
    try:
        manager.register(extension, name)
    except (pluggy.PluginValidationError, ValueError) as error:
        raise PluginError(f"the extension {name} cannot be used: {error}; see `padre hooks`") from error


def _check_wrapped(caller: pluggy.HookCaller) -> None:
    for implementation in caller.get_hookimpls():
        wrapped = implementation.wrapper or implementation.hookwrapper
        if not wrapped and implementation.plugin_name != CORE:
            raise PluginError(
                f"the extension {implementation.plugin_name} answers {caller.name} itself, so that nothing might be "
                "stored: mark it with @hookimpl(wrapper=True) and pass on what `yield` gives"
            )


def _in_order(caller: pluggy.HookCaller) -> tuple[pluggy.HookImpl, ...]:
    """The implementations in the order of calling."""
    implementations = tuple(reversed(caller.get_hookimpls()))
    for implementation in implementations:
        if implementation.wrapper or implementation.hookwrapper:
            raise PluginError(
                f"the extension {implementation.plugin_name} wraps {caller.name}, which each extension answers alone"
            )
    return implementations


def _answer(implementation: pluggy.HookImpl, expected: Any, **arguments: Any) -> Any:
    """What an extension returns, if it is what was expected, or None."""
    found = _call(implementation, **arguments)
    if found is not None and not isinstance(found, expected):
        name, hook = implementation.plugin_name, implementation.function.__name__
        raise PluginError(f"the extension {name} returns {type(found).__name__} from {hook}; see `padre hooks`")
    return found


def _call(implementation: pluggy.HookImpl, **arguments: Any) -> Any:
    return implementation.function(*[arguments[name] for name in implementation.argnames])
