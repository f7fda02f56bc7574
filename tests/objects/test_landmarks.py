import array
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from padre_core.objects.canonical import to_json
from padre_core.objects.landmarks import plain, with_numpy

numpy = pytest.importorskip("numpy")

special = st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 1e308, 0.1])
rows = st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 3), special | st.floats()), min_size=1)
many = st.integers(1, 40)


@given(rows, many, special)
def test_numpy_finds_the_same_to_the_bit(rows, many, total):
    steps, times, values = zip(*rows * many, strict=True)
    columns = array.array("q", steps), array.array("q", times), array.array("d", values)
    with numpy.errstate(all="ignore"):
        assert to_json(with_numpy(numpy, *columns, total)) == to_json(plain(*columns, total))
