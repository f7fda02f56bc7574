"""The content of an object is the canonical JSON of its fields, whatever was written before it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import padre_core as padre
from padre_core.errors import InvalidObjectError
from padre_core.objects import canonical
from padre_core.objects.run import Environment, Progress

KEYS = st.text(min_size=1, max_size=3)
LEAVES = st.none() | st.booleans() | st.floats() | st.text() | st.integers(-(2**63), 2**63 - 1)
MAPS = st.dictionaries(KEYS, LEAVES | st.lists(LEAVES, max_size=3) | st.dictionaries(KEYS, LEAVES), max_size=4)
LOOK_ALIKE = [1, 1.0, True, 0, 0.0, -0.0, False, "1", None, float("nan"), 2**53, float(2**53)]


def run_with(parameters):
    run = padre.Run(execution="")
    run.__dict__["parameters"] = parameters
    return run


@given(MAPS)
def test_content_is_the_canonical_json_of_the_plain_fields(parameters):
    run = run_with(parameters)
    for _ in range(2):
        assert run.content() == canonical.canonical_json(canonical.plain_fields(run))


def test_values_that_are_equal_and_of_different_types_keep_their_own_text():
    for value in LOOK_ALIKE * 2:
        run = run_with({"a": value})
        assert run.content() == canonical.canonical_json(canonical.plain_fields(run))


@pytest.mark.parametrize("value", [0.0, -0.0])
def test_parts_that_are_equal_keep_their_own_text(value):
    run = padre.Run(execution="", progress=Progress(current=value))
    assert canonical.canonical_json(value) in run.content()


def test_arrays_of_the_same_bytes_keep_their_own_text():
    np = pytest.importorskip("numpy")
    for kind in ("int64", "float64", "int64"):
        run = run_with({"a": np.zeros(1, "int64").view(kind), "b": np.ones(1, "int64").view(kind)[0]})
        assert run.content() == canonical.canonical_json(canonical.plain_fields(run))


def test_what_was_changed_in_place_is_in_the_next_content():
    run = padre.Run(execution="", parameters={"a": 1}, tags={"b": "c"})
    before = run.content()
    run.parameters["a"] = 2
    assert run.content() == before.replace(b'"a":1', b'"a":2')


def test_a_part_that_is_shared_is_written_for_each_object():
    environment = Environment(python="3.13.0", processors=4)
    contents = {padre.Run(execution="", name=name, environment=environment).content() for name in ("a", "b")}
    assert len(contents) == 2
    assert all(b'"environment":{"processors":4,"python":"3.13.0"}' in content for content in contents)


@pytest.mark.parametrize("value", [2**63, "\ud800", b"bytes", {1: 2}, object()])
def test_what_cannot_be_stored_is_refused_every_time(value):
    run = run_with({"a": value})
    for _ in range(2):
        with pytest.raises(InvalidObjectError, match=r"parameters\.a"):
            run.content()


def test_keys_that_are_no_text_are_refused():
    for key in (1, b"a", None):
        with pytest.raises(InvalidObjectError, match="is not text"):
            run_with({key: 1}).content()
