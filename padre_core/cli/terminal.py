"""What reaches the terminal: tables for people, JSON for programs, and never a control character of a stored text."""

from __future__ import annotations

import codecs
import io
import os
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click

# Controls (which steer terminals), line separators, characters that reorder text, and lone surrogates.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_NOT_ASCII = re.compile("[^ -~]")  # a range up to the last character would take longer to compile than all else here
_UNSAFE_BUT_LINES = re.compile(_UNSAFE.pattern.replace("\x00-\x1f", "\x00-\x09\x0b-\x1f"))

_ENOUGH = 8
"""As many characters of a column, or all of it, are shown beside others at least."""


json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")


def open_output() -> None:
    """Makes output possible where the caller closed it, and escapes what its encoding does not have."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  # until the end
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


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
    unsafe = _UNSAFE if _is_unicode(sys.stdout) else _NOT_ASCII
    click.echo(unsafe.sub(_json_escape, text))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Rows under headings: drawn in colour on a terminal that is wide enough, as plain aligned columns elsewhere."""
    cells = [[_cell(value) for value in row] for row in rows]
    table = [[safe(heading) for heading in headings], *cells]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    least = widths[0] + sum(1 + min(width, _ENOUGH) for width in widths[1:])
    if sys.stdout.isatty() and least <= shutil.get_terminal_size().columns:
        _draw(headings, cells)
        return
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
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"
    return format(value, ".6g") if isinstance(value, float) else safe(value)


def _is_unicode(stream: Any) -> bool:
    return codecs.lookup(getattr(stream, "encoding", None) or "utf-8").name.startswith("utf-")


def _json_escape(match: re.Match[str]) -> str:
    units = match.group().encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[place : place + 2].hex()}" for place in range(0, len(units), 2))


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code == 0x0A:
        return "\\n"
    if code == 0x09:
        return "\\t"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
