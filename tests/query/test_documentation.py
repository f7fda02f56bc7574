"""The page on filters shows what happens."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from padre_core.query import parse
from padre_core.query.fields import STATISTICS

PAGE = (Path(__file__).parents[2] / "docs" / "filters.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", PAGE, re.DOTALL)


def test_every_snippet_prints_what_stands_below_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for code, output in SNIPPETS:
        exec(compile(code, "docs/filters.md", "exec"), names)
        assert capsys.readouterr().out == output
    assert len(SNIPPETS) == 3


@pytest.mark.parametrize("text", re.findall(r"`([a-z_.\"/]+(?: not)? (?:[=!<>]+|in|matches) [^`]+)`", PAGE))
def test_every_filter_in_the_text_is_one(text: str) -> None:
    assert parse(text, "run")


def test_every_summary_is_named() -> None:
    assert all(f"`{name}`" in PAGE for name in STATISTICS)
