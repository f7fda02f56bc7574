import contextlib
import io
import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from padre_core.cli.terminal import print_json, safe, safe_lines

REORDERING = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def is_harmless(text):
    return all(
        unicodedata.category(character) not in ("Cc", "Cs") and character not in REORDERING for character in text
    )


@given(st.text(st.characters(exclude_categories=())))
def test_no_text_steers_a_terminal(text):
    assert is_harmless(safe(text))
    assert "\n" not in safe(text)
    assert is_harmless(safe_lines(text).replace("\n", ""))


@given(st.text(st.characters(categories=("L", "N", "S", "Zs"))))
def test_ordinary_text_is_shown_as_it_is(text):
    assert safe(text) == text


@given(st.recursive(st.text() | st.integers(-(2**63), 2**63 - 1) | st.none(), st.lists))
def test_json_is_harmless_and_says_the_same(value):

    with contextlib.redirect_stdout(io.StringIO()) as output:
        print_json(value)
    line = output.getvalue().removesuffix("\n")
    assert is_harmless(line)
    assert json.loads(line) == value
