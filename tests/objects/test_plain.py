"""What may be stored: the quick check of what came as JSON agrees with the one that makes data plain."""

from hypothesis import given
from hypothesis import strategies as st

from padre_core.errors import InvalidObjectError
from padre_core.objects import canonical

EDGES = st.sampled_from([2**63 - 1, 2**63, -(2**63), -(2**63) - 1])
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | EDGES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


def nested(levels):
    value = {}
    for level in range(levels):
        value = {"a": value} if level % 2 else [value]
    return value


@given(JSON | st.integers(canonical.MAX_DEPTH - 2, canonical.MAX_DEPTH + 2).map(nested))
def test_the_quick_check_takes_what_plain_takes(value):
    read = canonical.from_json(canonical.to_json({"field": value}))
    try:
        canonical.plain(read)
    except InvalidObjectError:
        assert not canonical.is_plain(read)
    else:
        assert canonical.is_plain(read)
