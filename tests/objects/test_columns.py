import contextlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from padre_core.errors import InvalidObjectError
from padre_core.objects import canonical, columns

cells = (
    st.integers(-(2**63), 2**63 - 1) | st.floats() | st.booleans() | st.none() | st.text(st.characters(codec="utf-8"))
)


@given(st.integers(0, 5).flatmap(lambda rows: st.dictionaries(
    st.text("abc", min_size=1), st.lists(cells, min_size=rows, max_size=rows), min_size=1)))  # fmt: skip
def test_columns_come_back_with_their_types(table):
    again = columns.decode(columns.encode(table))
    assert list(again) == list(table)
    assert canonical.to_json(again) == canonical.to_json(table)
    assert [[type(cell) for cell in column] for column in again.values()] == [
        [type(cell) for cell in column] for column in table.values()
    ]


def test_arrays_and_probabilities_are_columns_of_numbers():
    data = columns.encode({"truth": np.array([1, 0]), "probabilities": np.array([[0.25, 0.75], [1.0, math.inf]])})
    assert columns.decode(data) == {"truth": [1, 0], "probabilities": [[0.25, 0.75], [1.0, math.inf]]}
    assert b"json" not in data


@pytest.mark.parametrize("table", [{}, {"a": [1], "b": [1, 2]}, {"": [1]}, {"a": [object()]}])
def test_what_is_no_table_is_refused(table):
    with pytest.raises(InvalidObjectError):
        columns.encode(table)


@given(st.binary())
def test_any_bytes_give_columns_or_a_typed_error(data):
    with pytest.raises(InvalidObjectError):
        columns.decode(data)


@given(st.integers(0, 200), st.integers(0, 7))
def test_damaged_columns_give_columns_or_a_typed_error(place, bit):
    data = bytearray(columns.encode({"a": [1, 2, 3], "b": ["x", "y", None], "c": [[1.0], [2.0], [3.0]]}))
    data[place % len(data)] ^= 1 << bit
    with contextlib.suppress(InvalidObjectError):
        assert isinstance(columns.decode(bytes(data)), dict)
