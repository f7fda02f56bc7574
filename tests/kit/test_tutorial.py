"""The tutorial plugin in the docs is the one that is tested, and as short as the docs say."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "tutorial_plugin"


@pytest.mark.parametrize("name", ["padre_sqlite.py", "pyproject.toml", "test_padre_sqlite.py"])
def test_the_docs_show_the_file_as_it_is(name):
    language = "toml" if name.endswith(".toml") else "python"
    text = (EXAMPLE / name).read_text()
    assert f"`{name}`:\n\n```{language}\n{text}```\n" in (ROOT / "docs" / "plugins.md").read_text()


def test_the_plugin_has_at_most_40_lines_and_its_test_at_most_10():
    assert len((EXAMPLE / "padre_sqlite.py").read_text().splitlines()) <= 40
    assert len((EXAMPLE / "test_padre_sqlite.py").read_text().splitlines()) <= 10
