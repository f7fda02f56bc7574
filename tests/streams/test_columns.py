"""Columns of points from what users pass."""

import sys

import pytest

from padre_core.streams.columns import make_points


@pytest.mark.parametrize("steps", [range(5, 9), range(9, 1, -2), range(2**63 - 4, 2**63)], ids=str)
def test_a_range_becomes_the_same_steps_with_and_without_numpy(steps, monkeypatch):
    pytest.importorskip("numpy", reason="needs numpy")

    with_numpy = make_points("loss", [0.0] * len(steps), steps, None, 0)
    monkeypatch.delitem(sys.modules, "numpy")
    assert list(with_numpy.steps) == list(make_points("loss", [0.0] * len(steps), steps, None, 0).steps) == list(steps)
