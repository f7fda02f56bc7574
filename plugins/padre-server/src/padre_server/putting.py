"""How records that clients send reach the store: checked, through the server's extensions, never altered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from padre_core import ObjectChanged, PadreError, Request, kind_of
from padre_core.backends.backend import Write
from padre_core.backends.bytestore import ABSENT
from padre_core.hookspecs import Action, Ref
from padre_core.objects.record import Record
from padre_server.call import Call
from padre_server.rights import Scope


def put(call: Call, write: Write) -> Record:
    """Stores a version in the name of the caller, and returns the head that results."""
    write = _checked(call, write)
    if not call.state.workspace.hooks.extended:
        return call.state.backend.put(write.record, if_match=write.if_match)
    return _through_hooks(call, write)


def put_many(call: Call, writes: Sequence[Write | PadreError]) -> list[Record | PadreError]:
    """Stores each version by itself, with one barrier for all; what is an error already stays one."""
    backend, caller = call.state.backend, call.caller
    unlimited = all(caller.everywhere(scope) for scope in (Scope.READ, Scope.WRITE, Scope.DELETE))
    if unlimited and not call.state.workspace.hooks.extended:
        return _past_hooks(call, writes)
    results: list[Record | PadreError] = []
    with backend.batch(f"Store {len(writes)} objects", caller.name):
        for write in writes:  # one by one, for each may be what the next one lies in or refers to
            try:
                results.append(write if isinstance(write, PadreError) else put(call, write))
            except PadreError as error:
                results.append(error)
    return results


def _past_hooks(call: Call, writes: Sequence[Write | PadreError]) -> list[Record | PadreError]:
    checked: list[Write | PadreError] = []
    for write in writes:
        try:
            checked.append(write if isinstance(write, PadreError) else _checked(call, write))
        except PadreError as error:
            checked.append(error)
    backend = call.state.backend
    with backend.batch(f"Store {len(writes)} objects", call.caller.name):
        stored = iter(backend.put_many([item for item in checked if isinstance(item, Write)]))
    return [next(stored) if isinstance(item, Write) else item for item in checked]


def _checked(call: Call, write: Write) -> Write:
    record = replace(write.record, envelope={}, summaries=(), version=0)
    kind_of(record.kind)
    call.allow(Scope.DELETE if record.deleted else Scope.WRITE)
    call.access.check_write(record)
    return replace(write, record=record)


def _through_hooks(call: Call, write: Write) -> Record:
    record, state = write.record, call.state
    if write.if_match is ABSENT:
        action = Action.CREATE
    elif record.deleted:
        action = Action.DELETE
    else:
        held = state.backend.get_many([(record.kind, record.id)])[0]
        action = Action.CREATE if held is None else Action.UPDATE
    request = Request(action, Ref(record.kind, record.id), state.backend, record, write.if_match, call.caller.name)
    head: Record = state.workspace.hooks.call(request)
    if state.workspace.hooks.listens(ObjectChanged):
        state.workspace.hooks.emit(ObjectChanged(action.value, head, call.caller.name))
    return head
