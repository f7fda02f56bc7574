"""What scripts give as parameters: what stands for text becomes text, and a refusal names the parameter."""

import datetime as dt
from pathlib import Path

import pytest

import padre_core as padre


@pytest.fixture
def run(workspace):
    with workspace.start_run("iris/svc") as run:
        yield run


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (Path("/data/iris.csv"), "/data/iris.csv"),
        (dt.date(2026, 11, 29), "2026-11-29"),
        (dt.datetime(2026, 11, 29, tzinfo=dt.UTC), "2026-11-29T00:00:00.000000Z"),
    ],
)
def test_paths_and_dates_are_stored_as_text(workspace, run, value, stored):
    run.log_parameters({"value": value, "within": [value]})
    assert workspace.runs.get(run.id).parameters == {"value": stored, "within": [stored]}


@pytest.mark.parametrize("value", [{1}, b"x", object(), 1j, dict])
def test_a_parameter_that_cannot_be_stored_is_named(run, value):
    with pytest.raises(padre.InvalidObjectError, match=r"optimizer.rate: \w+ is not JSON; give text"):
        run.log_parameters({"C": 1, "optimizer": {"rate": value}})
    assert run.object.parameters == {}


def test_a_tag_that_is_no_text_is_named(run):
    with pytest.raises(padre.InvalidObjectError, match="stage: a tag is text"):
        run.set_tags({"stage": 1})


@pytest.mark.parametrize("key", [1, "", "a\x00b"])
def test_a_key_that_is_malformed_is_named(run, key):
    with pytest.raises(padre.InvalidObjectError, match="the key "):
        run.log_parameters({key: 1})
