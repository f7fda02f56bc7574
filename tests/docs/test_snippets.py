"""Every python and console snippet of the README and the docs runs, and prints what is shown behind it.

In a console snippet lines that begin with `$ ` are commands and the others what they print; behind a python snippet a
text snippet shows what it prints. `…` stands for any text. Commands that CI runs by itself are not run again. An `sh`
snippet has hosts and folders of the reader's own, and is not run; the plugins' tests run the same commands elsewhere.
"""

import itertools
import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ELSEWHERE = re.compile(r"(make|git clone|cd|pip install|padre serve|python -m benchmarks)\b")
FENCE = re.compile(r"^```(\w+)?[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Snippet:
    line: int
    language: str
    code: str
    shown: str | None


def snippets(document):
    text = document.read_text()
    found = list(FENCE.finditer(text))
    for match, following in itertools.zip_longest(found, found[1:]):
        language, code = match[1], match[2]
        line = text.count("\n", 0, match.start()) + 1
        if language == "python" and "--8<--" not in code:
            behind = following is not None and not text[match.end() : following.start()].strip()
            yield Snippet(line, "python", code, following[2] if behind and following[1] == "text" else None)
        elif language == "console":
            commands = [part.removeprefix("$ ") for part in code.splitlines() if part.startswith("$ ")]
            assert commands, f"{document.name}:{line}: no line begins with '$ '"
            if not all(map(ELSEWHERE.match, commands)):
                shown = "".join(f"{part}\n" for part in code.splitlines() if not part.startswith("$ "))
                yield Snippet(line, "console", code, shown)


def fits(shown, printed):
    lines = (re.escape(line.rstrip()).replace("…", ".*") for line in shown.rstrip().splitlines())
    return re.fullmatch("\n".join(lines), "\n".join(line.rstrip() for line in printed.rstrip().splitlines()), re.DOTALL)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_snippets_run_and_print_what_is_shown(document, tmp_path):
    asked = list(snippets(document))
    if not asked:
        return
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    own = {f"PADRE_{name}": str(tmp_path / name.lower()) for name in ("CACHE", "CONFIG", "STATE")}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("driver.py")), document.name],
        cwd=tmp_path,
        input=json.dumps([asdict(snippet) for snippet in asked]),
        env=os.environ | {"PATH": path, "COLUMNS": "120"} | own,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outputs = json.loads((tmp_path / "report.json").read_text())
    for snippet, printed in zip(asked, outputs, strict=False):
        place = f"{document.name}:{snippet.line}"
        assert printed is not None, f"{place} failed:\n{done.stderr}"
        if snippet.shown is not None:
            assert fits(snippet.shown, printed), f"{place} printed:\n{printed}"


def test_the_readme_and_the_start_page_have_snippets():
    for name in ("README.md", "docs/index.md"):
        assert list(snippets(ROOT / name)), name
