"""What a log that is brought into the tree did, in words: for stores that keep a history for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from padre_core.backends.store import lives_in_run
from padre_core.errors import PadreError
from padre_core.objects.record import Record
from padre_core.objects.references import ancestor_refs
from padre_core.streams.view import LogView

Head = Callable[[str, str], Record | None]

LISTED = 100
"""How many objects a message names; of more it tells the number."""

_REMEMBERED = 1024
"""How many names are remembered."""

_ENDS: Mapping[str, str] = {"running": "Start", "finished": "Finish", "failed": "Fail", "killed": "Kill"}
_ORDER = ("run", "experiment", "project", "dataset", "artifact", "metric", "output", "split", "computation")
_NAMED = ("project", "experiment")


class _Phrase(NamedTuple):
    """What was done to one object."""

    verb: str
    kind: str
    place: str


class Names:
    """What projects and experiments are called. A name is never changed, so it is looked up once.

    Args:
        head: The newest record of an object, wherever it is.
    """

    def __init__(self, head: Head) -> None:
        self._head = head
        self._known: dict[tuple[str, str], str] = {}

    def of(self, kind: str, id: str) -> str:
        """The name of an object; its id where it cannot be read."""
        known = self._known.get((kind, id))
        if known is not None:
            return known
        try:
            record = self._head(kind, id)
        except PadreError:
            record = None
        name = None if record is None else record.data().get("name")
        if name is None:
            return id
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[kind, id] = str(name)
        return str(name)


def of_log(view: LogView, names: Names, rested: Head) -> tuple[str, str | None]:
    """A message for all that a log holds, and who wrote it, if that is one user.

    The first line is for people; so are the lines behind it, one for each object, if there are several. The last lines
    are for programs, `Padre-Actor` and `Padre-Object`, as git's trailers are written.

    Args:
        names: What the projects and experiments are called.
        rested: What the tree holds of an object so far.
    """
    whole = {id for kind, id in view.records if kind == "run"}
    records = [record for record in view.records.values() if record.kind == "run" or lives_in_run(record) not in whole]
    records.sort(key=lambda record: _ORDER.index(record.kind) if record.kind in _ORDER else len(_ORDER))
    runs = {writer.run for writer in view.writers.values() if writer.parts}
    runs -= {lives_in_run(record) for record in records}
    phrases = [_phrase(record, names, rested) for record in records[:LISTED]]
    phrases += [_Phrase(_verb(record, None), record.kind, "") for record in records[LISTED:]]
    phrases += [_Phrase("Log", "run", id) for id in sorted(runs)]
    trailers = [f"Padre-Object: {record.kind} {record.id}" for record in records]
    trailers += [f"Padre-Object: run {id}" for id in sorted(runs)]
    actors = sorted({record.updated_by for record in records if record.updated_by})
    if len(trailers) > LISTED:
        trailers = [*trailers[:LISTED], f"Padre-Objects: {len(trailers)}"]
    lines = [_subject(phrases)]
    if len(phrases) > 1:
        more = [f"… and {len(phrases) - LISTED} more"] if len(phrases) > LISTED else []
        lines += ["", *(f"- {item.verb.lower()} {item.kind} {item.place}" for item in phrases[:LISTED]), *more]
    lines += ["", *(f"Padre-Actor: {actor}" for actor in actors), *trailers]
    return "\n".join(lines).rstrip() + "\n", actors[0] if len(actors) == 1 else None


def _phrase(record: Record, names: Names, rested: Head) -> _Phrase:
    try:
        before = rested(record.kind, record.id)
    except PadreError:  # it is damaged, and about to be replaced
        before = None
    verb, place = _verb(record, before), _place(record, names)
    if verb == "Update" and before is not None:
        old, new = before.data(), record.data()
        changed = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
        place += f" ({', '.join(changed)})" if changed else ""
    return _Phrase(verb, record.kind, place)


def _subject(phrases: Iterable[_Phrase]) -> str:
    groups: dict[tuple[str, str], list[str]] = {}
    for item in phrases:
        groups.setdefault((item.verb, item.kind), []).append(item.place)
    parts = [
        f"{verb} {kind} {places[0]}" if len(places) == 1 else f"{verb} {len(places)} {_plural(kind)}{_within(places)}"
        for (verb, kind), places in groups.items()
    ]
    if not parts:
        return "Store files"
    shown = parts[:2] if len(parts) < 4 else parts[:1]
    text = ", ".join([shown[0], *(part[0].lower() + part[1:] for part in shown[1:])])
    others = sum(map(len, list(groups.values())[len(shown) :]))
    return text + (f", and {others} more" if others else "")


def _verb(record: Record, before: Record | None) -> str:
    if record.vacant:
        return "Evict"
    if record.deleted is not None:
        return "Delete"
    if before is not None and before.deleted is not None:
        return "Restore"
    if record.kind == "run":
        status = str(record.data().get("status"))
        if before is None or before.data().get("status") != status:
            return _ENDS.get(status, "Update")
    return "Add" if before is None else "Update"


def _place(record: Record, names: Names) -> str:
    """What people call an object, with where it lies."""
    data = record.data()
    label = next((str(data[name]) for name in ("name", "title", "path", "component") if data.get(name)), record.id)
    above = [names.of(kind, id) for kind, id in ancestor_refs(record) if kind in _NAMED]
    if record.kind in ("project", "experiment", "dataset"):
        return _line("/".join([*above, label]))
    return _line(f"{label} of {'/'.join(above)}" if above else label)


def _line(text: str) -> str:
    """Text as a part of one line of a message, however long and strange it was."""
    clean = text if text.isprintable() else "".join(sign if sign.isprintable() else "�" for sign in text)
    return clean if len(clean) <= 120 else f"{clean[:119]}…"


def _within(places: list[str]) -> str:
    """Where several objects lie, if that is one place."""
    found = {place.partition(" of ")[2] for place in places if place}
    return f" of {found.pop()}" if len(found) == 1 and "" not in found else ""


def _plural(kind: str) -> str:
    return kind if kind.endswith("s") else f"{kind}s"
