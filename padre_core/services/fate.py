"""Whether a run is lost, in filters: stores know only that nobody ended it."""

from __future__ import annotations

from padre_core.objects.run import RunStatus
from padre_core.query.model import And, Compare, Expression, Field, In, Not, Operator, Or

_STATUS = Field(("status",))
_ID = Field(("id",))


def mentions_status(where: Expression) -> bool:
    """Whether a filter depends on how runs fared."""
    match where:
        case And(items) | Or(items):
            return any(map(mentions_status, items))
        case Not(item):
            return mentions_status(item)
        case _:
            return where.field.path[0] == "status"


def with_lost(where: Expression, live: set[str] | None) -> Expression:
    """The filter as stores can answer it, by which runs are alive; None if nobody can tell."""
    match where:
        case And(items):
            return And(tuple(with_lost(item, live) for item in items))
        case Or(items):
            return Or(tuple(with_lost(item, live) for item in items))
        case Not(item):
            return Not(with_lost(item, live))
        case Compare(field, Operator.EQ, value) if field == _STATUS:
            return _status_is(value, live)
        case Compare(field, Operator.NE, value) if field == _STATUS:
            return Not(_status_is(value, live))
        case In(field, values) if field == _STATUS:
            return Or(tuple(_status_is(value, live) for value in values))
        case _:
            return where


def _status_is(value: object, live: set[str] | None) -> Expression:
    text = str(value)
    running = Compare(_STATUS, Operator.EQ, RunStatus.RUNNING.value)
    if live is None or text not in (RunStatus.RUNNING, RunStatus.LOST):
        return Compare(_STATUS, Operator.EQ, text)
    alive = In(_ID, tuple(sorted(live)))
    return And((running, alive if text == RunStatus.RUNNING else Not(alive)))
