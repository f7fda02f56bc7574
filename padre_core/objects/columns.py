"""Columns as bytes: how per-row outputs are kept.

The format is one line of JSON and the columns behind it: `{"columns": [{"name", "type", "size", "width"?}, …],
"format": "padre-columns", "rows": n, "version": 1}` and a line feed. `type` is `int64`, `float64` or `bool` (little
endian, one after the other; `bool` takes a byte) or `json` (a JSON array, for text and everything else); `size` is in
bytes. A column with `width` w holds w numbers for each row, row after row.
"""

from __future__ import annotations

import array
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from padre_core.errors import InvalidObjectError
from padre_core.objects import canonical
from padre_core.objects.identity import check_key

MEDIA_TYPE = "application/vnd.padre.columns"
_CODES = {"int64": "q", "float64": "d", "bool": "b"}


def encode(columns: Mapping[str, Sequence[Any]]) -> bytes:
    """The bytes of columns of equal length, given as lists, NumPy arrays or pandas series, or as a data frame.

    Raises:
        InvalidObjectError: There is no column, lengths differ, or a value is not JSON.
    """
    columns = dict(columns.items()) if hasattr(columns, "items") else columns
    if not columns or not isinstance(columns, dict):
        raise InvalidObjectError(
            "rows: give at least one column by its name, such as {'truth': [...], 'prediction': [...]}, or a data frame"
        )
    names = [_name(name) for name in columns]
    values = [_values(name, column) for name, column in columns.items()]
    lengths = {name: len(column) for name, column in zip(names, values, strict=True)}
    if len(set(lengths.values())) > 1:
        raise InvalidObjectError(f"rows: all columns must have the same length, got {lengths}")
    encoded = [_encode(name, column) for name, column in zip(names, values, strict=True)]
    header = {
        "columns": [head for head, _ in encoded],
        "format": "padre-columns",
        "rows": len(values[0]),
        "version": 1,
    }
    return b"".join([canonical.to_json(header), b"\n", *(body for _, body in encoded)])


def decode(data: bytes) -> dict[str, list[Any]]:
    """The columns of `encode` as lists, in their order.

    Raises:
        InvalidObjectError: The bytes are not of this format.
    """
    line, newline, body = data.partition(b"\n")
    try:
        header = canonical.from_json(line if newline else b"null")
        if header["format"] != "padre-columns" or header["version"] != 1:
            raise InvalidObjectError("columns: not of format padre-columns, version 1; a newer padre-core may read it")
        columns, offset = {}, 0
        for head in header["columns"]:
            part = body[offset : offset + head["size"]]
            offset += head["size"]
            columns[head["name"]] = column = _decode(head, part)
            if len(column) != header["rows"]:
                raise InvalidObjectError(f"columns: {head['name']} has {len(column)} rows, not {header['rows']}")
    except (ValueError, TypeError, KeyError) as error:
        if isinstance(error, InvalidObjectError):
            raise
        raise InvalidObjectError("columns: the bytes are not of format padre-columns") from error
    return columns


def _name(name: object) -> str:
    try:
        return check_key(name)
    except ValueError as error:
        raise InvalidObjectError(f"rows: the column name {name!r:.80} {error}") from None


def _values(name: str, column: Any) -> list[Any]:
    values = column.tolist() if hasattr(column, "tolist") else column
    if not isinstance(values, Collection) or isinstance(values, str | bytes | Mapping):
        raise InvalidObjectError(
            f"rows: the column {name!r:.80} must be a list or an array, not {type(column).__name__}; "
            "a structured result is stored with value="
        )
    return list(values)


def _encode(name: str, column: list[Any]) -> tuple[dict[str, Any], bytes]:
    head: dict[str, Any] = {"name": name}
    flat = column
    width = _width(column)
    if width:
        head["width"] = width
        flat = [number for row in column for number in row]
    kind = _kind(flat)
    if kind is None:
        body = canonical.to_json(canonical.plain(column, name))
        return {"name": name, "size": len(body), "type": "json"}, body
    numbers = array.array(_CODES[kind], flat)
    if sys.byteorder == "big":
        numbers.byteswap()
    body = numbers.tobytes()
    return head | {"size": len(body), "type": kind}, body


def _decode(head: dict[str, Any], part: bytes) -> list[Any]:
    if head["type"] == "json":
        values = canonical.from_json(part)
        if not isinstance(values, list):
            raise InvalidObjectError(f"columns: {head['name']} is not a list")
        return values
    numbers = array.array(_CODES[head["type"]])
    numbers.frombytes(part)
    if sys.byteorder == "big":
        numbers.byteswap()
    flat: list[Any] = [bool(number) for number in numbers] if head["type"] == "bool" else numbers.tolist()
    width = head.get("width")
    return [flat[start : start + width] for start in range(0, len(flat), width)] if width else flat


def _width(column: list[Any]) -> int:
    widths = {len(row) if isinstance(row, list | tuple) else 0 for row in column}
    return widths.pop() if len(widths) == 1 else 0


def _kind(values: list[Any]) -> str | None:
    types = {type(value) for value in values}
    if types == {float}:
        return "float64"
    if types == {bool}:
        return "bool"
    if types == {int} and min(values) >= -(2**63) and max(values) < 2**63:
        return "int64"
    return None
