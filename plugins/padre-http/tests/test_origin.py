from __future__ import annotations

import pytest

from padre_core.errors import InvalidObjectError
from padre_core.testing import samples
from padre_http.origin import parse_origin

ID = samples.project().id


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("padre+https://lab.example.org", "https://lab.example.org"),
        ("padre+https://LAB.example.org:443/", "https://lab.example.org"),
        ("https://lab.example.org:8443/padre/", "https://lab.example.org:8443/padre"),
        ("padre+http://127.0.0.1:8421", "http://127.0.0.1:8421"),
        ("padre+http://localhost", "http://localhost"),
        ("padre+http://[::1]:80", "http://[::1]"),
    ],
)
def test_a_server_has_one_address(url, address):
    assert parse_origin(url).url == address
    assert parse_origin(address) == parse_origin(url)


@pytest.mark.parametrize(
    "url",
    [
        "padre+http://lab.example.org", "http://10.0.0.1", "padre+http://127.0.0.1.evil.org", "padre+http://0.0.0.0",
        "padre+https://user@lab", "padre+https://user:secret@lab", "padre+https://", "padre+https:///v1", "ftp://lab",
        "padre+https://lab/?x=1", "padre+https://lab#x", "padre+https://lab/../x", "padre+https://lab:99999",
        "padre+https://lab/%2e%2e", "padre+https://la b", "padre+https://lab\r\nX: y", "padre+https://l\u0430b", "lab",
        "padre+https://[fe80::1%eth0]", "file:///etc", "",
    ],
)  # fmt: skip
def test_what_is_no_safe_address_is_refused_and_not_repeated(url):
    with pytest.raises(InvalidObjectError) as caught:
        parse_origin(url)
    assert "secret" not in str(caught.value)


def test_an_object_has_a_url_that_leads_back():
    origin = parse_origin("padre+https://lab.example.org/padre")
    url = origin.object_url("projects", ID)
    assert url == f"https://lab.example.org/padre/v1/projects/{ID}"
    assert origin.object_at(url) == ("projects", ID)


@pytest.mark.parametrize(
    "url",
    [
        f"https://lab.example.org/v1/projects/{ID}", f"http://lab.example.org/padre/v1/projects/{ID}",
        f"https://lab.example.org/padre/v1/projects/{ID}/../x", f"https://lab.example.org/padre/v1/projects/{ID}?x",
        "https://lab.example.org/padre/v1/projects/x", f"https://lab.example.org.evil.org/padre/v1/projects/{ID}",
        f"https://lab.example.org/padre/v1/{ID}", "https://lab.example.org/padre",
    ],
)  # fmt: skip
def test_a_url_of_anything_else_is_no_object_here(url):
    assert parse_origin("https://lab.example.org/padre").object_at(url) is None
