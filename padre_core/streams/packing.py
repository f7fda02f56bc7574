"""Columns of numbers as bytes, little endian, and back."""

from __future__ import annotations

import array
import sys
from typing import Any


def packed(column: array.array[Any]) -> memoryview:
    """The bytes of a column, which must not grow as long as somebody holds them."""
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    return memoryview(column).cast("B")


def unpacked(code: str, data: bytes | memoryview) -> array.array[Any]:
    """The column that some bytes are; `code` is its type as in `array.array`."""
    column: array.array[Any] = array.array(code)
    column.frombytes(data)
    if sys.byteorder == "big":
        column.byteswap()
    return column
