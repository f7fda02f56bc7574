"""From the text of a filter or an order to what it means; the grammar is in `docs/filters.md`."""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

from padre_core.errors import InvalidObjectError
from padre_core.query.fields import FieldError, check_field, check_order, check_time, is_time
from padre_core.query.leaves import MAX_TEXT
from padre_core.query.model import And, Compare, Expression, Field, In, Matches, Not, Operator, Or, Order, Scalar

MAX_LENGTH = 20_000
MAX_DEPTH = 32
MAX_VALUES = 1000
MAX_TERMS = 200
MAX_ORDER = 8

KEYWORDS = frozenset({"and", "or", "not", "in", "matches", "true", "false", "inf"})

_HINTS = {
    "=": "write == to compare",
    "<>": "write != for unequal",
    "&": "write 'and'",
    "&&": "write 'and'",
    "|": "write 'or'",
    "||": "write 'or'",
    "!": "write 'not'",
    "~": "write 'matches' and a pattern with *",
    "like": "write 'matches' and a pattern with *",
    "is": "write == to compare",
    "asc": "ascending is how it is anyway",
    "desc": "write - before the field for the greatest first",
    "nan": "NaN compares with nothing",
    "NaN": "NaN compares with nothing",
    "None": "what is missing compares with nothing",
    "null": "what is missing compares with nothing",
    "True": "write true",
    "False": "write false",
    "AND": "write 'and'",
    "OR": "write 'or'",
    "NOT": "write 'not'",
    "IN": "write 'in'",
}
_IN_NAMES = frozenset("/-:@%+#")
"""What names often have in them, and what follows no field."""

_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "'": "'"}


class _Token(NamedTuple):
    """`kind` is name, number, quoted, symbol, other or end."""

    kind: str
    text: str
    start: int
    end: int


def parse(text: str, kind: str | None = None) -> Expression:
    """Reads a filter, such as `metrics.accuracy.last > 0.9 and not tags.stage == "draft"`.

    Args:
        kind: The kind of the objects that it is for; None leaves its fields unchecked.

    Raises:
        InvalidObjectError: It is no filter, is too large, or names what objects of the kind do not have; the message
            shows the place.
    """
    parser = _Parser("filter", text, kind)
    expression = parser.alternatives(0)
    parser.finish("'and', 'or' or the end")
    return expression


def parse_order(text: str, kind: str | None = None) -> tuple[Order, ...]:
    """Reads an order: fields, separated by commas, with `-` before those whose greatest comes first.

    Raises:
        InvalidObjectError: As for `parse`.
    """
    parser = _Parser("order", text, kind)
    order = [parser.ordered()]
    while parser.accept(","):
        order.append(parser.ordered())
    parser.finish("a comma or the end")
    if len(order) > MAX_ORDER:
        raise InvalidObjectError(f"order: at most {MAX_ORDER} fields, not {len(order)}")
    return tuple(order) if kind is None else check_order(order, kind)


class _Parser:
    """Recursive descent, as deep as the parentheses are."""

    def __init__(self, label: str, text: str, kind: str | None) -> None:
        if not isinstance(text, str):
            raise InvalidObjectError(f"{label}: expected text, not {type(text).__name__}")
        if len(text) > MAX_LENGTH:
            raise InvalidObjectError(f"{label}: at most {MAX_LENGTH} characters, not {len(text)}")
        self.label, self.text, self.kind = label, text, kind
        self.tokens = iter([_Token(match.lastgroup or "", match[0], *match.span()) for match in _scan(text)])
        self.token = self._next()
        self.terms = 0

    def alternatives(self, depth: int) -> Expression:
        items = [self.conjunction(depth)]
        while self.accept("or"):
            items.append(self.conjunction(depth))
        return items[0] if len(items) == 1 else Or(tuple(items))

    def conjunction(self, depth: int) -> Expression:
        items = [self.negation(depth)]
        while self.accept("and"):
            items.append(self.negation(depth))
        return items[0] if len(items) == 1 else And(tuple(items))

    def negation(self, depth: int) -> Expression:
        if depth > MAX_DEPTH:
            raise self.error(f"nested deeper than {MAX_DEPTH} levels")
        if self.accept("not"):
            return Not(self.negation(depth + 1))
        if self.accept("("):
            inner = self.alternatives(depth + 1)
            self.expect(")", "'and', 'or' or ')'")
            return inner
        return self.condition()

    def condition(self) -> Expression:
        self.terms += 1
        if self.terms > MAX_TERMS:
            raise self.error(f"more than {MAX_TERMS} conditions")
        field = self.field("a field, 'not' or '('")
        time = self.kind is not None and is_time(self.kind, field)
        negated = self.accept("not")
        found: Expression
        if self.accept("in"):
            self.expect("(", "'('")
            values = [self.value(time)]
            while self.accept(","):
                values.append(self.value(time))
                if len(values) > MAX_VALUES:
                    raise self.error(f"more than {MAX_VALUES} values")
            self.expect(")", "',' or ')'")
            found = In(field, tuple(values))
        elif self.accept("matches"):
            if self.token.kind != "quoted":
                raise self.error('expected a pattern as text, such as "svc*"')
            found = Matches(field, self.quoted())
        elif not negated and self.token.kind == "symbol" and self.token.text in list(Operator):
            comparison = Operator(self.take().text)
            found = Compare(field, comparison, self.value(time))
        else:
            symbols = "" if negated else "==, !=, <, <=, >, >=, "
            raise self.error(f"expected {symbols}'in' or 'matches'")
        return Not(found) if negated else found

    def ordered(self) -> Order:
        descending = self.accept("-")
        return Order(self.field("a field"), descending)

    def field(self, expected: str) -> Field:
        tokens = [self.token]
        path = [self.part(expected, first=True)]
        while self.accept("."):
            tokens.append(self.token)
            path.append(self.part("the next part of the field; a part that is no plain name is quoted"))
        if self.token.text in _IN_NAMES and not self.text[self.token.start - 1].isspace():
            raise self.error(
                'a name with other characters than letters, digits and _ is quoted: metrics."train/loss".last'
            )
        field = Field(tuple(path))
        if self.kind is None:
            return field
        try:
            return check_field(self.kind, field)
        except FieldError as error:
            raise self.error(str(error), tokens[error.part]) from None

    def part(self, expected: str, *, first: bool = False) -> str:
        if self.token.kind == "quoted":
            return self.quoted()
        if self.token.kind != "name" or (first and self.token.text in KEYWORDS):
            raise self.error(f"expected {expected}")
        return self.take().text

    def value(self, time: bool) -> Scalar:
        token = self.token
        value = self.scalar()
        if not time:
            return value
        try:
            return check_time(value)
        except InvalidObjectError as error:
            raise self.error(str(error), token) from None

    def scalar(self) -> Scalar:
        token = self.token
        if token.kind == "quoted":
            return self.quoted()
        if token.kind == "number":
            return self.number(self.take().text)
        negative = self.accept("-")
        if self.accept("inf"):
            return float("-inf" if negative else "inf")
        if not negative and token.text in ("true", "false") and token.kind == "name":
            return self.take().text == "true"
        raise self.error("expected a number, true, false, or text in quotes", token)

    def number(self, text: str) -> int | float:
        if not text.lstrip("-").isdecimal():
            return float(text)
        if len(text) > 20 or not -(2**63) <= int(text) < 2**63:
            raise self.error(f"{text:.30} does not fit into 64 bits; write {text[:30]}.0 to compare with a float")
        return int(text)

    def quoted(self) -> str:
        token = self.take()
        text = re.sub(r"\\(.)", lambda match: self.unescape(match[1], token), token.text[1:-1], flags=re.DOTALL)
        if len(text) >= MAX_TEXT:
            raise self.error(f"a text has fewer than {MAX_TEXT} characters", token)
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise self.error("a lone surrogate is not valid text", token)
        return text

    def unescape(self, character: str, token: _Token) -> str:
        if character not in _ESCAPES:
            raise self.error(f"\\{character} is no escape; write \\\\ for a backslash", token)
        return _ESCAPES[character]

    def accept(self, text: str) -> bool:
        found = self.token.text == text and self.token.kind in ("name", "symbol")
        if found:
            self.take()
        return found

    def expect(self, text: str, expected: str) -> None:
        if not self.accept(text):
            raise self.error(f"expected {expected}")

    def take(self) -> _Token:
        token, self.token = self.token, self._next()
        return token

    def finish(self, expected: str) -> None:
        if self.token.kind != "end":
            raise self.error(f"expected {expected}")

    def error(self, message: str, token: _Token | None = None) -> InvalidObjectError:
        token = token or self.token
        if token.kind == "other" and token.text[0] in "\"'":
            message = "this text has no closing quote"
        elif token.kind != "quoted" and token.text in _HINTS:
            message = f"{message}; {_HINTS[token.text]}"
        return InvalidObjectError(f"{self.label}: {message}\n{_excerpt(self.text, token)}")

    def _next(self) -> _Token:
        return next(self.tokens, _Token("end", "", len(self.text), len(self.text)))


def _scan(text: str) -> list[re.Match[str]]:
    return [match for match in _tokens().finditer(text) if match.lastgroup]


@functools.cache
def _tokens() -> re.Pattern[str]:
    return re.compile(
        r"""
        \s+
        | (?P<number> -?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)? )
        | (?P<name> [^\W\d]\w* )
        | (?P<quoted> "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' )
        | (?P<symbol> == | != | <= | >= | <(?!>) | > | [(),.\-] )
        | (?P<other> ["'].* | <> | && | \|\| | . )
        """,
        re.VERBOSE | re.DOTALL,
    )


def _excerpt(text: str, token: _Token) -> str:
    """The line around a token, and carets under it."""
    start = max(text.rfind("\n", 0, token.start) + 1, token.start - 60)
    line = text[start : token.start + 60].partition("\n")[0]
    shown = "".join(character if character.isprintable() else " " for character in line)
    width = max(1, min(token.end, start + len(line)) - token.start)
    return f"  {shown}\n  {' ' * (token.start - start)}{'^' * width}"
