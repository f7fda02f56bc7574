"""Canonical JSON: one text for one content, so that hashes agree on every machine."""

from __future__ import annotations

import functools
import hashlib
import json
import marshal
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from json.encoder import encode_basestring
from typing import Any

import pydantic_core
from pydantic import BaseModel

from padre_core.errors import InvalidObjectError
from padre_core.objects.indices import Indices

MAX_DEPTH = 32
MAX_CONTENT = 16 * 1024 * 1024
MAX_VALUES = 2_000_000
"""How many values JSON from elsewhere may hold: as an object of Python's, `[]` takes twenty times as much as text."""

_SMALL = 16 * 1024
_INT64 = 2**63
_LEAVES = frozenset((float, bool, type(None)))
_FLAT = _LEAVES | {int, str}

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def canonical_json(value: Any) -> bytes:
    """The one JSON text of a value whose keys are sorted, in UTF-8 and without spaces.

    What is hashed is written by the standard library, whose numbers and escapes are the same in all versions.
    NaN and infinities stand as `NaN`, `Infinity` and `-Infinity`.
    """
    return _encode(value).encode()


def to_json(value: Any) -> bytes:
    """JSON without spaces in UTF-8, for what is not hashed: four times as fast, but other versions may differ."""
    return pydantic_core.to_json(value, inf_nan_mode="constants")


def from_json(data: bytes | str, *, shared: bool = False) -> Any:
    """The value of a JSON text, `NaN` and infinities included.

    Args:
        shared: Many such texts have short strings in common, not only keys, of which there should be one copy.

    Raises:
        ValueError: It is not JSON.
    """
    return pydantic_core.from_json(data, allow_inf_nan=True, cache_strings="all" if shared else "keys")


def digest(data: bytes) -> str:
    """The sha-256 of the bytes in hex digits."""
    return hashlib.sha256(data).hexdigest()


def in_utc(time: datetime) -> datetime:
    """The same time in UTC.

    Raises:
        InvalidObjectError: It names no zone, or is before the year 1 or after 9999.
    """
    if time.tzinfo is None:
        raise InvalidObjectError(f"the time {time} names no zone; `datetime.now(UTC)` and `.astimezone()` give one")
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise InvalidObjectError(f"the time {time} is before the year 1 or after 9999 in UTC") from None


def read_time(text: str) -> datetime:
    """The time of an ISO 8601 text that somebody wrote; where it names no zone, it is in UTC.

    Raises:
        ValueError: It is none.
    """
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def format_time(time: datetime) -> str:
    """A time as text in UTC of fixed width, so that text order is time order; see `in_utc`."""
    return in_utc(time).isoformat("T", "microseconds")[:26] + "Z"


parse_time = datetime.fromisoformat
"""The time that `format_time` wrote."""


def now() -> str:
    """The present time as stored text."""
    return datetime.now(UTC).isoformat("T", "microseconds")[:26] + "Z"


def _as_meant(time: datetime) -> str:
    return format_time(time) if time.tzinfo else time.isoformat()  # of no zone, it is no moment


# The last three are for subclasses, such as enumerations and numpy.float64.
_CONVERTERS: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (datetime, _as_meant), (date, date.isoformat), (os.PathLike, os.fspath), (Indices, str),
    (str, str), (int, int), (float, float),
)  # fmt: skip


def plain(value: Any, where: str = "value", depth: int = 0) -> Any:
    """The value as plain JSON data with all keys sorted.

    NumPy scalars and arrays become numbers and lists, dates and paths text.

    Args:
        where: What to call the value in an error, such as `parameters.optimizer`.

    Raises:
        InvalidObjectError: It holds what JSON cannot, an integer beyond 64 bits, or too many levels.
    """
    kind = type(value)
    if kind is str:
        if not value.isascii():
            _check_text(value, where)
        return value
    if kind in _LEAVES:
        return value
    if kind is int:
        if not -_INT64 <= value < _INT64:
            size = value.bit_length()
            raise InvalidObjectError(f"{where}: an integer of {size} bits and a sign is over 64; store it as text")
        return value
    if depth > MAX_DEPTH:
        raise InvalidObjectError(f"{where}: nested deeper than {MAX_DEPTH} levels")
    return _way(kind)(value, where, depth)  # type: ignore[arg-type]  # mypy takes a type for unhashable


def is_plain(value: Any, depth: int = 0) -> bool:
    """Whether what `from_json` gave may be stored, which `plain` would return as it is, but for the order of keys."""
    if depth > MAX_DEPTH:
        return False
    for item in value.values() if type(value) is dict else value:
        kind = type(item)
        if kind is int:
            if not -_INT64 <= item < _INT64:
                return False
        elif (kind is dict or kind is list) and not is_plain(item, depth + 1):
            return False
    return True


def check_size(data: bytes, where: str) -> None:
    """Checks that JSON is small enough to be read; commas and brackets in its texts count as well.

    Raises:
        InvalidObjectError: It is not.
    """
    if len(data) > MAX_CONTENT:
        limit = f"{len(data) / 2**20:.1f} MiB are too much for one object (at most {MAX_CONTENT // 2**20} MiB)"
        raise InvalidObjectError(f"{where}: {limit}; store large data as an artifact")
    if len(data) > MAX_VALUES and sum(map(data.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise InvalidObjectError(f"{where}: more than {MAX_VALUES:,} values are too many; store them as an artifact")


def check_content(data: bytes) -> None:
    """Checks that bytes from elsewhere are what a store may keep as an object's content.

    Raises:
        InvalidObjectError: They are no JSON object, several lines, too many, or hold what `plain` refuses.
    """
    check_size(data, "content")
    if b"\n" in data:  # in a store, a record is a line
        raise InvalidObjectError("content: not in one line")
    try:
        value = from_json(data)
    except ValueError:
        raise InvalidObjectError("content: not JSON") from None
    if not isinstance(value, dict):
        raise InvalidObjectError("content: not a JSON object")
    if not is_plain(value):
        plain(value, "content")  # says what is wrong


def plain_fields(model: BaseModel, where: str = "", depth: int = 0) -> dict[str, Any]:
    """The fields of a model that differ from their defaults, as plain JSON data, sorted by name."""
    values = model.__dict__
    prefix = f"{where}." if where else ""
    return {
        name: value if _is_leaf(value) else plain(value, prefix + name, depth + 1)
        for name, default in _layout(type(model))
        if (value := values[name]) is not default and (type(value) is not type(default) or value != default)
    }


class _Recent(dict[Any, Any]):
    """What was made of the last hundred things or so."""

    def __setitem__(self, key: Any, value: Any) -> None:
        if len(self) >= 128:
            self.clear()
        super().__setitem__(key, value)


_texts = _Recent()
"""JSON by the exact content of flat collections: the end of a run repeats its beginning, and runs repeat each other."""

_models = _Recent()
"""Models that never change and their JSON, by the identity of the model."""


def fields_json(model: BaseModel) -> bytes:
    """The canonical JSON of what `plain_fields` gives.

    Raises:
        InvalidObjectError: A value cannot be stored.
    """
    values = model.__dict__
    pairs = [
        f'"{name}":{_writer(type(value))(value, name)}'  # type: ignore[arg-type]  # as above
        for name, default in _layout(type(model))
        if (value := values[name]) is not default and (type(value) is not type(default) or value != default)
    ]
    return f"{{{','.join(pairs)}}}".encode()


@functools.lru_cache(maxsize=256)
def _writer(kind: type) -> Callable[[Any, str], str]:
    """What writes the canonical JSON of a field, by the exact type of its value."""
    if kind is datetime:
        return lambda value, where: f'"{format_time(value)}"'
    if kind is dict or kind is tuple:
        return _collection_text
    if issubclass(kind, str):  # enumerations, too
        return lambda value, where: encode_basestring(plain(value, where, 1))
    return _model_text if issubclass(kind, BaseModel) else _plain_text


def _plain_text(value: Any, where: str) -> str:
    return _encode(plain(value, where, 1))


def _collection_text(values: Any, where: str) -> str:
    try:
        exact = marshal.dumps(values, 2)
    except ValueError:  # something in it is none of JSON's own
        exact = b""
    text: str | None = _texts.get(exact)
    if text is None:
        text = _plain_text(values, where)
        items = values.values() if type(values) is dict else values
        # Flat ones only: what marshal makes of NumPy's numbers does not tell their types apart.
        if 0 < len(exact) <= _SMALL and _FLAT.issuperset(map(type, items)):
            _texts[exact] = text
    return text


def _model_text(model: BaseModel, where: str) -> str:
    known = _models.get(id(model))
    if known is not None and known[0] is model:
        return str(known[1])
    text = _encode(plain_fields(model, where, 1))
    if _never_changes(model):
        _models[id(model)] = model, text
    return text


def _never_changes(model: BaseModel) -> bool:
    try:
        hash(model)
    except TypeError:
        return False
    return True


@functools.lru_cache(maxsize=256)
def _way(kind: type) -> Callable[[Any, str, int], Any]:
    """How values of a type that JSON does not know become plain."""
    if issubclass(kind, Mapping):
        return _plain_mapping
    if issubclass(kind, BaseModel):
        return plain_fields
    if issubclass(kind, list | tuple):
        return _plain_items
    for base, convert in _CONVERTERS:
        if issubclass(kind, base):
            return lambda value, where, depth: plain(convert(value), where, depth)
    return _plain_other


def _plain_mapping(values: Mapping[Any, Any], where: str, depth: int) -> dict[str, Any]:
    for key in values:
        if not isinstance(key, str):
            raise InvalidObjectError(f"{where}: the key {key!r:.80} is not text")
        if not key.isascii():
            _check_text(key, where)
    return {
        str(key): value if _is_leaf(value := values[key]) else plain(value, f"{where}.{key}", depth + 1)
        for key in sorted(values)
    }


def _is_leaf(value: Any) -> bool:
    """Whether a value surely is plain; spares most values the naming of their place."""
    kind = type(value)
    return kind in _LEAVES or (kind is str and value.isascii())


def _plain_items(values: Sequence[Any], where: str, depth: int) -> list[Any]:
    return [plain(item, f"{where}[{number}]", depth + 1) for number, item in enumerate(values)]


def _plain_other(value: Any, where: str, depth: int) -> Any:
    if hasattr(value, "tolist"):  # NumPy
        return plain(value.tolist(), where, depth + 1)
    raise InvalidObjectError(
        f"{where}: {type(value).__name__} is not JSON; give text, such as str() of it, numbers, lists or dicts, "
        "or store a file as an artifact"
    )


@functools.cache
def _layout(model: type[BaseModel]) -> tuple[tuple[str, Any], ...]:
    """The names and defaults of a model's fields, sorted by name, without the bookkeeping of objects."""
    outside: frozenset[str] = getattr(model, "outside_content", frozenset())
    fields = model.model_fields.items()
    return tuple(
        (name, field.get_default(call_default_factory=True)) for name, field in sorted(fields) if name not in outside
    )


def _check_text(text: str, where: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidObjectError(f"{where}: holds a lone surrogate, which is not valid text") from None
