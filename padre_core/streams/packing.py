"""Columns of numbers as bytes, little endian, and back."""

from __future__ import annotations

import array
import sys
from collections.abc import Iterable
from typing import Any, TypeAlias

Column: TypeAlias = "array.array[Any] | memoryview[Any]"
"""Numbers of one type; a view of what was read, where that spares a copy."""


def packed(column: Column) -> memoryview:
    """The bytes of a column, which must not grow as long as somebody holds them."""
    if sys.byteorder == "big":
        column = array.array(memoryview(column).format, column)
        column.byteswap()
    return memoryview(column).cast("B")


def unpacked(code: str, data: bytes | memoryview) -> array.array[Any]:
    """A column of some bytes; `code` is its type as in `array.array`."""
    column: array.array[Any] = array.array(code)
    column.frombytes(data)
    if sys.byteorder == "big":
        column.byteswap()
    return column


def viewed(code: str, data: memoryview) -> Column:
    """The same without a copy, where the machine has this order of bytes."""
    return unpacked(code, data) if sys.byteorder == "big" else data.cast(code)  # type: ignore[call-overload]  # a code


def put_together(code: str, columns: Iterable[Column]) -> array.array[Any]:
    """One column after the other as one."""
    whole: array.array[Any] = array.array(code)
    for column in columns:
        whole.frombytes(memoryview(column).cast("B"))
    return whole
