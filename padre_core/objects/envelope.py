"""Envelopes: what a store notes about an object's remotes. Outside of hash and lineage, and never sent on."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from padre_core.errors import CorruptObjectError

ACKNOWLEDGED = 32
"""How many earlier bases an entry keeps; those that are older still are in the lineage behind its newest part."""


class Intent(StrEnum):
    """What shall become of an object on a remote."""

    TRACK = "track"
    LOCAL_ONLY = "local-only"
    DELETE = "delete"


class Refusal(NamedTuple):
    """That a remote refused a version for good.

    Attributes:
        etag: The version; another one is tried again.
        error: The name of the error's class.
    """

    etag: str
    error: str
    message: str


class RemoteEntry(NamedTuple):
    """What is noted about one remote.

    Attributes:
        url: Where the object is there.
        base: The version that both sides last had.
        acknowledged: Earlier bases, newest first; lineages keep them for longer than other versions.
        hidden: Whether it is hidden below a deleted object whose name lives again, though it was edited since.
        named: Whether it was put there by name, so that what lies below it follows where not everything does.
    """

    url: str | None = None
    base: str | None = None
    intent: Intent = Intent.TRACK
    acknowledged: tuple[str, ...] = ()
    refusal: Refusal | None = None
    hidden: bool = False
    named: bool = False

    def agreed(self, etag: str) -> RemoteEntry:
        """The entry after both sides were found to have a version."""
        if self.base == etag and self.refusal is None:
            return self
        earlier = dict.fromkeys((self.base, *self.acknowledged) if self.base else self.acknowledged)
        earlier.pop(etag, None)
        return self._replace(base=etag, acknowledged=tuple(earlier)[:ACKNOWLEDGED], refusal=None)


class Envelope(NamedTuple):
    """The notes about all remotes, by the remote's name.

    Attributes:
        bodies: The contents of bases, by etag, while the local version is another.
    """

    remotes: Mapping[str, RemoteEntry] = MappingProxyType({})
    bodies: Mapping[str, bytes] = MappingProxyType({})

    def of(self, remote: str) -> RemoteEntry:
        """The entry of a remote; an empty one if nothing is noted."""
        return self.remotes.get(remote, RemoteEntry())

    def noting(self, remote: str, entry: RemoteEntry) -> Envelope:
        """The envelope with the entry of one remote replaced."""
        return self._replace(remotes={**self.remotes, remote: entry})

    def tidied(self, etag: str) -> Envelope:
        """The envelope without the bodies that no remote needs while the local version is `etag`."""
        wanted = {entry.base for entry in self.remotes.values()} - {etag}
        return self._replace(bodies={base: body for base, body in self.bodies.items() if base in wanted})

    def as_json(self) -> dict[str, Any]:
        """The envelope as a record holds it."""
        remotes = {name: _entry_as_json(entry) for name, entry in sorted(self.remotes.items())}
        found: dict[str, Any] = {"remotes": remotes} if remotes else {}
        if self.bodies:
            found["bodies"] = {etag: body.decode() for etag, body in sorted(self.bodies.items())}
        return found


def parse(data: Mapping[str, Any], where: str) -> Envelope:
    """The envelope of a record.

    Args:
        where: What to call the record in an error.

    Raises:
        CorruptObjectError: It is none that `as_json` made.
    """
    try:
        remotes = {_text(name): _entry(dict(entry)) for name, entry in data.get("remotes", {}).items()}
        bodies = {_text(etag): _text(body).encode() for etag, body in data.get("bodies", {}).items()}
        unknown = data.keys() - {"remotes", "bodies"}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CorruptObjectError(f"{where}: its notes about remotes are damaged: {type(error).__name__}") from error
    if unknown:
        raise CorruptObjectError(f"{where}: its notes about remotes hold the unknown {min(unknown)!r:.80}")
    return Envelope(remotes, bodies)


def merged(ours: Mapping[str, Any], theirs: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """The notes of two copies of one store about the same object.

    What only one of them knows stays. Where they differ about a remote, the later base is right, for both sides had
    it; an intent that keeps things from travelling is stronger than one that lets them, and that than a delete.
    """
    if ours == theirs or not theirs:
        return ours
    if not ours:
        return theirs
    one, other = parse(ours, where), parse(theirs, where)
    remotes = {name: _merged_entry(one.of(name), other.of(name)) for name in {*one.remotes, *other.remotes}}
    return Envelope(remotes, {**other.bodies, **one.bodies}).as_json()


def _merged_entry(one: RemoteEntry, other: RemoteEntry) -> RemoteEntry:
    newer, older = sorted((one, other), key=_progress, reverse=True)
    entry = newer._replace(
        url=newer.url or older.url, hidden=one.hidden or other.hidden, named=one.named or other.named
    )
    entry = entry._replace(intent=max(one.intent, other.intent, key=_CAUTION.index) if older.base else newer.intent)
    earlier = dict.fromkeys((*newer.acknowledged, *([older.base] if older.base else []), *older.acknowledged))
    earlier.pop(newer.base or "", None)
    return entry._replace(acknowledged=tuple(earlier)[:ACKNOWLEDGED])


_CAUTION = (Intent.DELETE, Intent.TRACK, Intent.LOCAL_ONLY)


def _progress(entry: RemoteEntry) -> tuple[int, str, str]:
    number, _, digest = (entry.base or "0-").partition("-")
    return int(number) if number.isdecimal() else 0, digest, entry.url or ""


def keeping_base(envelope: Mapping[str, Any], etag: str, content: bytes) -> Mapping[str, Any]:
    """The envelope when a version is about to be replaced: a base keeps its body, for a merge needs it."""
    if not envelope:
        return envelope
    bodies = envelope.get("bodies", {})
    if etag in bodies or etag not in _bases(envelope):
        return envelope
    return {**envelope, "bodies": {**bodies, etag: content.decode()}}


def acknowledged(envelope: Mapping[str, Any]) -> frozenset[str]:
    """The versions that some remote is known to have had."""
    if not envelope:
        return frozenset()
    entries = envelope.get("remotes", {}).values()
    return frozenset(_bases(envelope)).union(*(entry.get("acknowledged", ()) for entry in entries))


def _bases(envelope: Mapping[str, Any]) -> set[str]:
    return {entry["base"] for entry in envelope.get("remotes", {}).values() if "base" in entry}


def _entry_as_json(entry: RemoteEntry) -> dict[str, Any]:
    found: dict[str, Any] = {"intent": entry.intent.value}
    if entry.url is not None:
        found["url"] = entry.url
    if entry.base is not None:
        found["base"] = entry.base
    if entry.acknowledged:
        found["acknowledged"] = list(entry.acknowledged)
    if entry.refusal is not None:
        found["refusal"] = [entry.refusal.etag, entry.refusal.error, entry.refusal.message]
    if entry.hidden:
        found["hidden"] = True
    if entry.named:
        found["named"] = True
    return found


def _entry(data: dict[str, Any]) -> RemoteEntry:
    refusal = data.pop("refusal", None)
    url, base = data.pop("url", None), data.pop("base", None)
    entry = RemoteEntry(
        url=None if url is None else _text(url),
        base=None if base is None else _text(base),
        intent=Intent(data.pop("intent")),
        acknowledged=tuple(map(_text, data.pop("acknowledged", ()))),
        refusal=None if refusal is None else Refusal(*map(_text, refusal)),
        hidden=bool(data.pop("hidden", False)),
        named=bool(data.pop("named", False)),
    )
    if data:
        raise ValueError(min(data))
    return entry


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(type(value).__name__)
    return value
