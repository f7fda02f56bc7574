"""What `list` returns: objects that are fetched page by page while somebody looks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic

from padre_core.errors import UnsupportedError
from padre_core.objects.base import PadreObject
from padre_core.pausing import collector_paused
from padre_core.services.lookup import T

if TYPE_CHECKING:
    import pandas as pd

    from padre_core.query.model import Query

PAGE = 1000
SHOWN = 50
"""How many objects a notebook shows."""

Row = dict[str, Any]


class Listing(Generic[T]):
    """The objects of a listing, fetched page by page; iterate as often as you like, each time it is asked anew.

    An object that is there all the time, and whose order does not change meanwhile, comes exactly once.
    """

    def __init__(
        self,
        fetch: Callable[[Query], tuple[Sequence[T], str | None]],
        row: Callable[[T], Row],
        query: Query,
        limit: int | None,
        name: str = "objects",
    ) -> None:
        self._fetch, self._row, self._query, self._limit, self._name = fetch, row, query, limit, name

    def __iter__(self) -> Iterator[T]:
        left, query = self._limit, self._query
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            with collector_paused():
                objects, cursor = self._fetch(replace(query, limit=size))
            yield from objects[:left]
            if cursor is None:
                return
            left = None if left is None else left - len(objects)
            query = replace(query, cursor=cursor)

    def __bool__(self) -> bool:
        """Whether there is any, which is asked of the store; how many there are, `count` of the service tells."""
        few = Listing(self._fetch, self._row, self._query, 1 if self._limit is None else min(1, self._limit))
        return next(iter(few), None) is not None

    def __repr__(self) -> str:
        return f"<Listing of {self._name}; iterate over it, or take to_rows() or to_pandas()>"

    def to_rows(self) -> list[Row]:
        """One flat dict for each object, with keys such as `parameters.C` and `metrics.loss.last`."""
        return list(map(self._row, self))

    def to_pandas(self) -> pd.DataFrame:
        """The rows as a data frame, indexed by id.

        Raises:
            UnsupportedError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise UnsupportedError("to_pandas() needs pandas: pip install 'padre-core[pandas]'") from None
        rows = self.to_rows()
        return pd.DataFrame(rows, columns=columns(rows) or ["id"]).set_index("id")

    def _repr_html_(self) -> str:
        from html import escape  # a large table that most never need

        rows = list(map(self._row, itertools.islice(self, SHOWN + 1)))
        names = columns(rows)
        more = f"<p>only the first {SHOWN} are shown</p>" if len(rows) > SHOWN else ""
        head = "".join(f"<th>{escape(name)}</th>" for name in names)
        cells = [[_text(row.get(name)) for name in names] for row in rows[:SHOWN]]
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in line)}</tr>" for line in cells)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def columns(rows: Iterable[Row]) -> list[str]:
    """The keys of all rows, in the order in which they first occur."""
    return list(dict.fromkeys(itertools.chain.from_iterable(rows)))


def row(object: PadreObject) -> Row:
    """An object as a flat dict: mappings become one key for each of their keys."""
    values: Row = {}
    for name, value in object:
        if isinstance(value, Mapping):
            values.update({f"{name}.{key}": item for key, item in value.items()})
        elif value is not None and value != ():
            values[name] = value
    return values


def _text(value: Any) -> str:
    return "" if value is None else str(value)
