"""Bodies that are no JSON, for schemathesis, which loads this module: sound ones, damaged ones, and noise."""

from __future__ import annotations

import hashlib

import schemathesis
from hypothesis import strategies as st

from padre_core.backends.backend import Segment
from padre_core.streams.columns import Line, Lines, make_points
from padre_http.wire.blobs import BLOBS, encode_blobs
from padre_http.wire.streams import MEDIA_TYPES, SEGMENTS, encode_columns, encode_parts


@st.composite
def damaged(draw: st.DrawFn, sound: st.SearchStrategy[bytes]) -> bytes:
    data = bytearray(draw(sound))
    for _ in range(draw(st.integers(1, 3))):
        if data:
            data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))])


def mixed(sound: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return sound | damaged(sound) | st.binary(max_size=100)


numbers = st.integers(0, 3) | st.sampled_from([2**63 - 1, 2**62])
points = st.builds(
    lambda first, name, values: encode_columns(first, make_points(name, values, None, None, 0)),
    numbers,
    st.text("ab é数", min_size=1, max_size=5).map(str.strip).filter(bool),
    st.lists(st.floats(), min_size=1, max_size=5),
)
lines = st.builds(
    lambda first, texts: encode_columns(first, Lines(tuple(Line(0, "INFO", text) for text in texts))),
    numbers,
    st.lists(st.text(st.characters(codec="utf-8"), max_size=5), min_size=1, max_size=5),
)
blobs = st.lists(st.binary(max_size=50), max_size=5).map(
    lambda found: encode_blobs((hashlib.sha256(data).hexdigest(), data) for data in found)
)
parts = st.lists(
    st.builds(
        lambda run, name, values: (run, Segment("a" * 16, 0, make_points(name, values, None, None, 0))),
        st.sampled_from(["018f3a5e-0000-7000-8000-000000000000", "018f3a5e-0000-7000-8000-000000000001"]),
        st.sampled_from(["a", "b"]),
        st.lists(st.floats(), min_size=1, max_size=5),
    ),
    max_size=3,
).map(lambda found: b"".join(encode_parts(found)))

for media_type, sound in (
    (MEDIA_TYPES["points"], points), (MEDIA_TYPES["lines"], lines), (BLOBS, blobs), (SEGMENTS, parts),
):  # fmt: skip
    schemathesis.openapi.media_type(media_type, mixed(sound))
