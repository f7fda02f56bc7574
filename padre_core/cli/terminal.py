"""What reaches the terminal: tables for people, JSON for programs, and never a control character of a stored text."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click

# Controls (which steer terminals), line separators, characters that reorder text, and lone surrogates.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_UNSAFE_BUT_LINES = re.compile(_UNSAFE.pattern.replace("\x00-\x1f", "\x00-\x09\x0b-\x1f"))


def safe(text: object) -> str:
    r"""A stored text on one line, with `\x1b` in the place of an escape character, and all others alike."""
    return _UNSAFE.sub(_escape, str(text))


def safe_lines(text: str) -> str:
    """Like `safe`, but line feeds stay."""
    return _UNSAFE_BUT_LINES.sub(_escape, text)


def print_json(value: Any) -> None:
    """One JSON document on one line; NaN and infinities stand as bare `NaN`, `Infinity` and `-Infinity`."""
    from padre_core.objects import canonical  # `padre --help` needs no models

    # JSON escapes C0 controls itself; in its texts all others may be escaped as well.
    text = canonical.to_json(value).decode()
    click.echo(_UNSAFE.sub(lambda match: f"\\u{ord(match.group()):04x}", text))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Rows under headings: drawn in colour on a terminal, as plain aligned columns elsewhere."""
    cells = [[_cell(value) for value in row] for row in rows]
    if sys.stdout.isatty():
        _draw(headings, cells)
        return
    table = [[safe(heading) for heading in headings], *cells]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """One `name: value` a line, values below each other."""
    pairs = [(name, safe_lines(str(value))) for name, value in fields]
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        first, *rest = value.split("\n")
        click.echo(f"{safe(name)}:".ljust(width + 2) + first)
        for line in rest:
            click.echo(" " * (width + 2) + line)


def _draw(headings: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    # The first column names the object, and is there to be copied: it is never cut.
    columns = [
        Column(Text(heading, style="bold"), no_wrap=number == 0, overflow="fold")
        for number, heading in enumerate(headings)
    ]
    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for row in cells:
        table.add_row(*map(Text, row))
    Console().print(table)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    return format(value, ".6g") if isinstance(value, float) else safe(value)


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code == 0x0A:
        return "\\n"
    if code == 0x09:
        return "\\t"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
