"""Which id an object has: by parent, key, and how often the name was deleted before."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

from padre_core.errors import InvalidObjectError
from padre_core.objects.base import PadreObject
from padre_core.objects.identity import Key, check_name, child_id
from padre_core.objects.record import Record
from padre_core.services.records import Records

Look = Callable[[str, str], Record | None]
"""Gives the head of an object by kind and id."""

MAX_DEPTH = 32
"""How many names a name path has at most."""


def generations(
    records: Records,
    model: type[PadreObject],
    above: str | None,
    parent: str | None,
    key: tuple[Key, ...],
    look: Look | None = None,
) -> Iterator[tuple[str, Record | None]]:
    """The ids and heads of all objects that ever had a key, oldest first; the last id is free.

    Args:
        look: How to look for one; by default `records.peek`.
    """
    for number in itertools.count():
        id = child_id(model.kind, above, parent, key, number)
        record = (look or records.peek)(model.kind, id)
        yield id, record
        if record is None:
            return


def living(found: Iterable[tuple[str, Record | None]]) -> tuple[str, Record | None]:
    """The id and head of the living one of some generations, or the id that the next one would have."""
    for id, record in found:
        if record is None or record.deleted is None:
            return id, record
    raise AssertionError("generations end with a free id")


def latest(found: Sequence[Record]) -> Record | None:
    """The living one of an object's generations, which need not be the newest; else the newest."""
    return next((record for record in found if record.deleted is None), found[-1] if found else None)


def split_path(kind: str, path: str) -> tuple[str | None, str]:
    """The path of the parent, if any, and the last name of a name path.

    Raises:
        InvalidObjectError: A part is no valid name, or there are too many.
    """
    names = path.split("/")
    if len(names) > MAX_DEPTH:
        raise InvalidObjectError(f"{path!r:.80} has more than {MAX_DEPTH} names")
    *above, last = (_checked(name, kind, path) for name in names)
    return "/".join(above) or None, last


def _checked(name: str, kind: str, path: str) -> str:
    try:
        return check_name(name)
    except ValueError as error:
        raise InvalidObjectError(f"{path!r:.80} is no {kind}: the name {name!r:.80} {error}") from None
