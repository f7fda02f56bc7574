"""The page on the HTTP API is what the route table says."""

from __future__ import annotations

from pathlib import Path

from padre_server.reference import reference
from padre_server.settings import Limits

DOCS = Path(__file__).parents[3] / "docs"


def test_the_page_on_the_api_is_current() -> None:
    assert (DOCS / "http-api.md").read_text() == reference(), "run: python -m padre_server.reference > docs/http-api.md"


def test_every_limit_that_an_operator_can_change_is_documented() -> None:
    text = (DOCS / "server.md").read_text()
    assert [name for name in Limits.__slots__ if f"`{name}`" not in text] == []
