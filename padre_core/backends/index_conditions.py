"""Conditions as pieces of SQL.

Values stand in columns without a type, so that SQLite keeps them as they are given and orders them as filters do:
NaN (as NULL), numbers (integers and floats compared exactly), texts (by code point), bools (as blobs).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from padre_core.backends.index_file import pack, stored
from padre_core.objects.identity import is_id
from padre_core.query.model import And, Compare, Expression, In, Matches, Operator, Scalar


class Sql(NamedTuple):
    """A piece of a statement, and the values for its question marks."""

    text: str
    values: tuple[Any, ...] = ()


def join(*parts: Sql | str) -> Sql:
    """One piece of several, one behind the other."""
    pieces = [part if isinstance(part, Sql) else Sql(part) for part in parts]
    return Sql("".join(piece.text for piece in pieces), tuple(value for piece in pieces for value in piece.values))


def between(separator: str, parts: Sequence[Sql]) -> Sql:
    """One piece of several, with a text between them."""
    return Sql(separator.join(part.text for part in parts), tuple(value for part in parts for value in part.values))


def conjuncts(item: Expression) -> Iterator[Expression]:
    """The conditions that must all hold."""
    if isinstance(item, And):
        for part in item.items:
            yield from conjuncts(part)
    else:
        yield item


def by_id(item: Expression) -> bool:
    """Whether a condition names whole ids."""
    named = isinstance(item, In) or (isinstance(item, Compare) and item.operator is Operator.EQ)
    return named and isinstance(item, Compare | In) and item.field.path == ("id",)


def holds(item: Compare | In | Matches, column: str) -> Sql:
    """A condition on a column, in a form that an index on it follows."""
    if column in ("id", "d.id") and isinstance(item, Matches):
        return _like_id(column, item.pattern)
    if column in ("id", "d.id") and not by_id(item):
        column = f"id_text({column})"
    elif column in ("id", "d.id"):
        wanted = [item.value] if isinstance(item, Compare) else item.values if isinstance(item, In) else ()
        return _among(column, [pack(value) for value in wanted if isinstance(value, str) and is_id(value)])
    match item:
        case In(values=values):
            return _among(column, [stored(value) for value in values if value == value])
        case Matches(pattern=pattern):
            return _like(column, pattern)
    return _compare(column, item.operator, item.value)


def _compare(column: str, operator: Operator, value: Scalar) -> Sql:
    if value != value:
        return Sql("0")
    sign = "=" if operator is Operator.EQ else str(operator)
    text = f"{column} {sign} ?"
    # The types follow one another, so a comparison ends where the next type begins: '' is the least text, x'' blob.
    if operator is not Operator.EQ:
        upward, downward = operator in (Operator.GT, Operator.GE), operator in (Operator.LT, Operator.LE)
        if isinstance(value, bool):
            text += "" if upward else f" AND {column} >= x''"
        elif isinstance(value, str):
            text += "" if upward else f" AND {column} >= ''"
            text += "" if downward else f" AND {column} < x''"
        else:
            text += "" if downward else f" AND {column} < ''"
    return Sql(f"({text})", (stored(value),))


def _among(column: str, values: Sequence[Any]) -> Sql:
    return Sql(f"{column} IN ({', '.join('?' * len(values))})", tuple(values))


def _like(column: str, pattern: str) -> Sql:
    first, *middle = pattern.split("*")
    if not middle:
        return Sql(f"{column} = ?", (pattern,))
    last = middle.pop()
    end = _successor(first)
    parts = [Sql(f"({column} >= ? AND {column} < ", (first,)), Sql("x''") if end is None else Sql("?", (end,))]
    # What only looks for one text needs no more; else it spares most of what follows.
    longest = max((*middle, last), key=len)
    if longest:
        parts.append(Sql(f" AND instr({column}, ?)", (longest,)))
    if last or len(middle) > 1 or (first and longest):
        parts += [Sql(" AND "), _glob(column, pattern)]
    return join(*parts, ")")


def _glob(column: str, pattern: str) -> Sql:
    exact = f"wildcard(?, {column})"
    # GLOB is much faster than a call of Python, but takes texts to end at their first NUL, and not any length.
    if "\0" in pattern or len(pattern) > 1024:
        return Sql(exact, (pattern,))
    glob = pattern.replace("[", "[[]").replace("?", "[?]")
    return Sql(f"CASE instr({column}, char(0)) WHEN 0 THEN {column} GLOB ? ELSE {exact} END", (glob, pattern))


def _like_id(column: str, pattern: str) -> Sql:
    digits = max(pattern.split("*"), key=len).replace("-", "").upper()
    return Sql(f"(instr(hex({column}), ?) AND wildcard(?, id_text({column})))", (digits, pattern))


def _successor(prefix: str) -> str | None:
    """The least text that is greater than all with a prefix; None if there is none."""
    prefix = prefix.rstrip("\U0010ffff")
    if not prefix:
        return None
    following = ord(prefix[-1]) + 1
    return prefix[:-1] + chr(0xE000 if following == 0xD800 else following)  # surrogates are no text
