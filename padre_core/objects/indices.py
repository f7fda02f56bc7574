"""Row numbers, stored as ranges."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

from pydantic import GetCoreSchemaHandler
from pydantic_core import core_schema


class Indices(Sequence[int]):
    """Row numbers in their given order, kept as ranges of consecutive numbers.

    `Indices([0, 1, 2, 7])` is kept, and stored as JSON, as `"0-2,7"`. Reads as a sequence of ints; `numpy.asarray`
    turns it into an array of int64.
    """

    __slots__ = ("_ranges",)

    def __init__(self, rows: Iterable[int] = ()) -> None:
        if isinstance(rows, Indices):
            self._ranges: tuple[range, ...] = rows._ranges
        elif isinstance(rows, range) and rows.step == 1 and rows.start >= 0:
            self._ranges = (rows,) if rows else ()
        else:
            self._ranges = tuple(_ranges(rows))

    @classmethod
    def parse(cls, text: str) -> Indices:
        """Reads what `str()` wrote.

        Raises:
            ValueError: The text is not of that form.
        """
        ranges = []
        for part in text.split(",") if text else ():
            first, dash, last = part.partition("-")
            if not (first.isdecimal() and first.isascii() and (not dash or (last.isdecimal() and last.isascii()))):
                raise ValueError(f"{part!r:.40} is not a row number or range such as 0-99")
            start, end = int(first), int(last) if dash else int(first)
            if end < start or end >= 2**63:
                raise ValueError(f"{part!r:.40} is not a range: its end must not lie before its start")
            ranges.append(range(start, end + 1))
        indices = cls()
        indices._ranges = tuple(ranges)
        return indices

    def __str__(self) -> str:
        return ",".join(f"{part.start}-{part.stop - 1}" if len(part) > 1 else str(part.start) for part in self._ranges)

    def __repr__(self) -> str:
        return f"Indices({str(self)!r})"

    def __len__(self) -> int:
        return sum(map(len, self._ranges))

    def __iter__(self) -> Iterator[int]:
        for part in self._ranges:
            yield from part

    @overload
    def __getitem__(self, position: int) -> int: ...
    @overload
    def __getitem__(self, position: slice) -> Sequence[int]: ...
    def __getitem__(self, position: int | slice) -> int | Sequence[int]:
        return list(self)[position]

    def __contains__(self, row: object) -> bool:
        return any(row in part for part in self._ranges)

    def __eq__(self, other: object) -> bool:
        return self._ranges == other._ranges if isinstance(other, Indices) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._ranges)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _validate, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )


def _validate(value: Any) -> Indices:
    if isinstance(value, str):
        return Indices.parse(value)
    if isinstance(value, Iterable):
        return Indices(value)
    raise ValueError(f"expected row numbers, not {type(value).__name__}")


def _ranges(rows: Iterable[int]) -> Iterator[range]:
    start = end = None
    for row in rows.tolist() if hasattr(rows, "tolist") else rows:
        if not isinstance(row, int) or isinstance(row, bool) or not 0 <= row < 2**63 - 1:
            way = "; numpy.flatnonzero turns a mask into row numbers" if isinstance(row, bool) else ""
            raise ValueError(f"{row!r:.40} is not a row number: expected integers from 0 on{way}")
        if start is None or end is None:
            start = row
        elif row != end:
            yield range(start, end)
            start = row
        end = row + 1
    if start is not None and end is not None:
        yield range(start, end)
