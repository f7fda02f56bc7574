"""Records, points and lines to test with."""

from __future__ import annotations

import math
import secrets
from typing import Any

from padre_core.backends.backend import Backend
from padre_core.errors import ConflictError
from padre_core.objects import canonical
from padre_core.objects.identity import new_run_id, object_id, run_child_id
from padre_core.objects.kinds import kinds
from padre_core.objects.record import Record, Tombstone, first, successor
from padre_core.streams.columns import Line, Lines, Points, make_points
from padre_core.streams.writer import StreamWriter, columns_of

AT = "2026-01-02T03:04:05.000006Z"
"""When the sample records were made."""

VALUES: dict[str, Any] = {
    "nan": math.nan,
    "infinity": math.inf,
    "minus infinity": -math.inf,
    "minus zero": -0.0,
    "smallest": 5e-324,
    "greatest": 1.7976931348623157e308,
    "tenth": 0.1,
    "int64": [2**63 - 1, -(2**63), 2**53 + 1, 0],
    "empty": ["", [], {}, None],
    "false": [False, True, 0, 1, 0.0, 1.0],
    "control": "\0\x01\t\r\n\x1f\x7f\x85\u2028",
    "quotes": '"\'`\\ %s {} $HOME ../.. \',"content":{} <b>&amp;',
    "unicode": "naïve é e\u0301 数字 \U0001f98b \u202eabc\u202c \ufeff\ufffe\U0010ffff",
    "numbers in text": ["1", "NaN", "Infinity", "null", "1e400"],
    "": {"": {"é": 1, "e\u0301": 2, "E": 3, "e": 4}},
}
"""JSON values that stores are known to change or lose."""

HOSTILE_IDS = (
    "", ".", "..", "../../escape", "/etc/passwd", "..%2f..%2fescape", "%2e%2e", "a\0b", "a\nb", "CON", ".git",
    "\u202e", "é", "x" * 5000, "00000000-0000-0000-0000-000000000000/..", "00000000-0000-0000-0000-00000000000G",
    "' OR 1=1 --", "*", "{}",
)  # fmt: skip


def deep(levels: int = 30) -> Any:
    """A value inside lists and objects in turn."""
    value: Any = "core"
    for level in range(levels):
        value = [value] if level % 2 else {"in": value}
    return value


def record(
    kind: str, id: str, content: dict[str, Any] | None = None, ancestors: tuple[str, ...] = (), *, by: str | None = None
) -> Record:
    """The first version of any object; backends do not look at what the content says."""
    return first(kind, id, canonical.to_json(canonical.plain(content or {})), ancestors, by=by, at=AT)


def project(name: str = "sample", *, by: str | None = None, **content: Any) -> Record:
    """The first version of a project."""
    return record("project", object_id("project", None, name), {"name": name, **content}, by=by)


def run(**content: Any) -> Record:
    """The first version of a run with an id of its own."""
    return record("run", new_run_id(), content)


def one_of_each_kind() -> list[Record]:
    """A record of every registered kind; those that live in a run have an id of it."""
    parent = run()
    inside = {model.kind for model in kinds() if model.parents == ("run",)}
    return [parent] + [
        record(model.kind, run_child_id(parent.id, model.kind, "x"), {"kind": model.kind}, (parent.id,))
        if model.kind in inside
        else record(model.kind, object_id(model.kind, None, "x"), {"kind": model.kind})
        for model in kinds()
        if model.kind != "run"
    ]


def edited(before: Record, **content: Any) -> Record:
    """The version that follows another, with some fields set."""
    return successor(before, canonical.to_json(canonical.plain({**before.data(), **content})), by="editor", at=AT)


def deleted(before: Record, deletion: str = "deletion-1") -> Record:
    """The tombstone that follows a version."""
    return successor(before, before.content, by="editor", at=AT, deleted=Tombstone(deletion, AT, "editor"))


def count_up(backend: Backend, kind: str, id: str, times: int) -> None:
    """Adds one to `count` by `if_match`, again and again."""
    mine = secrets.token_hex(8)  # two equal edits of one version would be one and the same
    done = 0
    while done < times:
        head = backend.get(kind, id)
        try:
            backend.put(edited(head, count=head.data()["count"] + 1, by=mine), if_match=head.etag)
            done += 1
        except ConflictError:
            continue


def points(count: int, metric: str = "loss", start: int = 0) -> Points:
    """Points of one metric, each of another step, time and value."""
    steps = range(start, start + count)
    return make_points(metric, [step / 7 for step in steps], steps, [1_000_000 + step for step in steps], 0)


def odd_points() -> Points:
    """Points of several metrics with values, steps and names that stores are known to change."""
    values = [math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.7976931348623157e308, 0.1, 1.0]
    steps = [2**63 - 1, -(2**63), -1, 0, 0, 1, 2**53 + 1, 7]
    names = ["loss", "train/loss", "数", "a.b", "loss", "x'y\"z", "loss", "e" * 255]
    return columns_of(list(zip(names, steps, steps, values, strict=True)))


def odd_lines() -> list[Line]:
    """Lines with texts that stores are known to change."""
    texts = ["", " ", "two\nlines\r\n", "\0\x1b[31m", "naïve 数 \U0001f98b", '{"json": "\\n"}', "long " * 20_000]
    return [Line(number - 1, level, text) for number, (level, text) in enumerate(zip(LEVELS * 2, texts, strict=False))]


LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def log(writer: StreamWriter, times: int) -> None:
    """Logs points one by one and in columns, and lines."""
    for number in range(times):
        writer.point("loss", number, number / 7, 1_000_000 + number)
        writer.points(points(3, "accuracy", 3 * number))
        writer.line(Line(number, "INFO", f"line {number}"))


def logged(times: int) -> tuple[list[tuple[str, int, float]], list[str]]:
    """What `log` writes: points as (metric, step, value), and texts."""
    expected: list[tuple[str, int, float]] = []
    for number in range(times):
        expected.append(("loss", number, number / 7))
        expected += [("accuracy", step, step / 7) for step in range(3 * number, 3 * number + 3)]
    return expected, [f"line {number}" for number in range(times)]


def points_by_writer(backend: Backend, run: str) -> dict[str, list[tuple[str, int, float]]]:
    """All points of a run as (metric, step, value), in the order of writing."""
    found: dict[str, list[tuple[str, int, float]]] = {}
    for segment in backend.read_stream(run, "points"):
        columns = segment.columns
        assert isinstance(columns, Points)
        mine = found.setdefault(segment.writer, [])
        assert segment.first == len(mine), "segments overlap or leave a gap"
        keys = columns.keys or [0] * len(columns)
        mine.extend(zip([columns.metrics[key] for key in keys], columns.steps, columns.values, strict=True))
    return found


def lines_by_writer(backend: Backend, run: str) -> dict[str, list[str]]:
    """The texts of all lines of a run, in the order of writing."""
    found: dict[str, list[str]] = {}
    for segment in backend.read_stream(run, "lines"):
        columns = segment.columns
        assert isinstance(columns, Lines)
        mine = found.setdefault(segment.writer, [])
        assert segment.first == len(mine), "segments overlap or leave a gap"
        mine.extend(line.text for line in columns.lines)
    return found
