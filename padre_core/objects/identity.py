"""Where ids come from: names, parents and content, never a server."""

from __future__ import annotations

import functools
import itertools
import os
import re
import unicodedata
import uuid

from padre_core.errors import InvalidObjectError
from padre_core.objects.canonical import canonical_json, digest

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "padre-core")

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_ID = re.compile(rf"{_UUID}(-[0-9a-f]{{16}})?")
_DIGEST = re.compile(r"[0-9a-f]{64}")
# C0 and C1 controls, line separators, and the characters that reorder text on a screen.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")

NEIGHBOURS = 32
"""How many runs that a process makes one after the other lie in one folder of a store."""

_made = itertools.count()
_first_place = int.from_bytes(os.urandom(2), "little")
_STRIDE = 40503
"""Odd, so that all places come before one comes again; large, so that those that follow lie far apart."""

_FEW = 100
"""Of so many keys at most it is remembered that they are sound together."""

Key = str | int | None


def object_id(kind: str, parent: str | None, *key: Key, generation: int = 0) -> str:
    """The id of an object outside of runs: a UUIDv5 of its kind, its parent's id and its key.

    Args:
        generation: How many objects of that key were deleted before this one was made.
    """
    parts: list[object] = [kind, parent, *map(_normal, key)]
    if generation:
        parts.append(generation)
    return str(uuid.uuid5(NAMESPACE, canonical_json(parts).decode()))


def run_child_id(run: str, kind: str, *key: Key) -> str:
    """The id of what lives in a run: the run's id and 16 hex digits of the kind and key."""
    hash = digest(canonical_json([kind, *map(_normal, key)]))
    return f"{run}-{hash[:16]}"


def child_id(kind: str, above: str | None, parent: str | None, key: tuple[Key, ...], number: int) -> str:
    """The id of an object, wherever it lies.

    Args:
        above: The kind of the parent.
        number: How many objects of this key were deleted before this one was made.
    """
    if above == "run" and parent is not None:
        return run_child_id(parent, kind, *key, *([number] if number else []))
    return object_id(kind, parent, *key, generation=number)


def run_of(id: str) -> str | None:
    """The run that an object of this id lives in; None for any other id."""
    return id[:36] if len(id) == 53 else None


def is_run_id(id: str) -> bool:
    """Whether an id was made at random, as those of runs are, and no others."""
    return len(id) == 36 and id[14] == "7"


def new_run_id() -> str:
    """A UUIDv7: unique, and ordered by the time of its making.

    Its last digits say in which folder of a store the run lies. Those that a process makes one after the other share
    them: folders of their own would take it longer than the runs, and a store has fewer of them so.
    """
    from uuid_utils import uuid7  # loads native code, which readers never need

    place = _first_place + next(_made) // NEIGHBOURS * _STRIDE
    return f"{str(uuid7())[:-4]}{place & 0xFFFF:04x}"


def is_id(text: str) -> bool:
    """Whether a text has the form of an object's id."""
    return _ID.fullmatch(text) is not None


def is_digest(text: str) -> bool:
    """Whether a text has the form of a blob's digest: 64 lower-case hex digits of a sha-256."""
    return _DIGEST.fullmatch(text) is not None


def check_id(text: str) -> str:
    """Returns the id, or raises `InvalidObjectError`: nothing but ids becomes a key in a store."""
    if not isinstance(text, str) or not is_id(text):
        raise InvalidObjectError(f"{text!r:.80} is not an object id: expected a lower-case UUID")
    return text


def check_digest(text: str) -> str:
    """Returns the digest, or raises `InvalidObjectError`."""
    if not isinstance(text, str) or not is_digest(text):
        raise InvalidObjectError(f"{text!r:.80} is not a blob digest: expected 64 hex digits of a sha-256")
    return text


def check_key(text: object) -> str:
    """A metric's, component's, output's, parameter's or tag's key in NFC; it may hold `/`.

    Raises:
        ValueError: It is empty, longer than 255 UTF-8 bytes, or holds control or bidi characters.
    """
    if type(text) is not str:
        if not isinstance(text, str):
            raise ValueError(f"expected text, not {type(text).__name__}")
        # What is remembered is given to all who ask for an equal text, such as a member of an enumeration.
        text = str.__str__(text)
    return _check_key(text)


def check_keys(keys: tuple[object, ...]) -> tuple[str, ...]:
    """The same for the keys of a mapping; the message says which."""
    return _check_few(keys) if len(keys) <= _FEW else tuple(map(_check_one, keys))


def check_distinct(keys: tuple[object, ...]) -> tuple[str, ...]:
    """The same, where none of the keys may stand for another.

    Raises:
        ValueError: Two of them are one key in NFC.
    """
    found = check_keys(keys)
    if len(set(found)) < len(found):
        twice = next(key for key in found if found.count(key) > 1)
        raise ValueError(f"the key {twice!r:.80} is there twice, in different Unicode forms")
    return found


@functools.lru_cache(maxsize=256)  # the same keys come with every run
def _check_few(keys: tuple[object, ...]) -> tuple[str, ...]:
    return tuple(map(_check_one, keys))


def _check_one(key: object) -> str:
    try:
        return check_key(key)
    except ValueError as error:
        raise ValueError(f"the key {key!r:.80} {error}") from None


@functools.lru_cache(maxsize=4096)
def _check_key(text: str) -> str:
    if text.isascii() and text.isprintable() and 0 < len(text) <= 255:
        return text
    text = unicodedata.normalize("NFC", text)
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError("holds a lone surrogate, which is not valid text") from None
    if not 0 < size <= 255:
        raise ValueError(f"must have 1 to 255 UTF-8 bytes, has {size}")
    if unsafe := _UNSAFE.search(text):
        raise ValueError(f"holds the control or bidi character U+{ord(unsafe.group()):04X}")
    return text


def check_name(text: object) -> str:
    """The name of a project, experiment or dataset, in NFC; like a key, but without `/`.

    Raises:
        ValueError: It is no key, holds `/`, or looks like an id, `.` or `..`.
    """
    name = check_key(text)
    if "/" in name:
        raise ValueError("must not hold '/': give the parent by itself, such as project='vision/digits'")
    if is_id(name):
        raise ValueError("must not look like an object id")
    if name in (".", ".."):
        raise ValueError("must not be '.' or '..'")
    return name


def _normal(part: Key) -> Key:
    return unicodedata.normalize("NFC", part) if isinstance(part, str) and not part.isascii() else part
