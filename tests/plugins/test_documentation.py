import re
from pathlib import Path

import pytest

from padre_core import hookspecs
from padre_core.objects import kinds as registry

PAGE = (Path(__file__).parents[2] / "docs" / "extensions.md").read_text()


def test_every_snippet_runs(monkeypatch, capsys):
    monkeypatch.setattr(registry, "_KINDS", dict(registry._KINDS))
    monkeypatch.setenv("PADRE_USER", "ada")
    names = {}
    for snippet in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(snippet, "docs/extensions.md", "exec"), names)
    assert capsys.readouterr().out.startswith("ada did create the project ")


@pytest.mark.parametrize(
    "hook", [name for name in vars(hookspecs.Shaping) | vars(hookspecs.Events) if "padre_" in name]
)
def test_every_hook_is_on_the_page(hook):
    assert f"`{hook}`" in PAGE


@pytest.mark.parametrize("action", list(hookspecs.Action))
def test_every_action_is_on_the_page(action):
    assert f"`padre_<kind>_{action}`" in PAGE


@pytest.mark.parametrize("event", hookspecs.EVENT_HOOKS)
def test_every_event_is_on_the_page_with_its_fields(event):
    assert f"`{event.__name__}({', '.join(event._fields)})`" in PAGE


@pytest.mark.parametrize("field", hookspecs.Request._fields)
def test_every_field_of_a_request_is_on_the_page(field):
    assert f"| `{field}` |" in PAGE
