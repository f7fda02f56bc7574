"""Bounds of what goes into one body."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from padre_http.wire import bundled


@given(st.lists(st.integers(0, 20), max_size=30), st.integers(1, 15), st.integers(1, 5))
def test_bundles_hold_all_in_order_and_no_more_than_fits_unless_one_alone_is_too_heavy(
    items: list[int], weight: int, count: int
) -> None:
    bundles = list(bundled(items, int, weight=weight, count=count))
    assert [item for bundle in bundles for item in bundle] == items
    assert all(1 <= len(bundle) <= count for bundle in bundles)
    assert all(sum(bundle) <= weight or len(bundle) == 1 for bundle in bundles)
    # What begins a bundle had no room in the one before.
    for full, next_ in itertools.pairwise(bundles):
        assert len(full) == count or sum(full) + next_[0] > weight
