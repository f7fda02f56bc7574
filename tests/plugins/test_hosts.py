"""What a host's name says by itself."""

from __future__ import annotations

import pytest

from padre_core.hosts import is_ipv6, is_loopback


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.3.2.1", "::1"])
def test_this_machine_is_known(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "localhost.example.org", "127.0.0.1.example.org", "10.0.0.1", "0.0.0.0", "127.1", "::"]
)
def test_no_other_host_passes_for_this_machine(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("host", "expected"), [("::1", True), ("fe80::1", True), ("fe80::1%eth0", False), ("127.0.0.1", False)]
)
def test_an_ipv6_address_is_known_by_its_form(host: str, *, expected: bool) -> None:
    assert is_ipv6(host) is expected
