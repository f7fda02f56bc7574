"""What a host's name says by itself, without asking anybody. For plugins whose stores are elsewhere."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether a host is this machine for sure, so that what is sent there crosses no network."""
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def is_ipv6(host: str) -> bool:
    """Whether a host is an IPv6 address, without brackets and without a zone."""
    address = _address(host)
    return address is not None and address.version == 6 and "%" not in host


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
