"""Whatever a network does: each effect happens exactly once or is reported, and nothing waits for ever."""

from __future__ import annotations

import time

import pytest
from http_calls import calls
from http_proxy import FAULTS, Proxy

from padre_core.errors import BackendError, PadreError, UnavailableError
from padre_http import blobs, transport
from padre_http.backend import HttpBackend

NAMES = (
    "create", "edit", "put without a condition", "delete", "put_many", "get", "get_many", "query", "count", "changes",
    "set_envelope", "append points", "append lines", "append_streams", "read_streams", "read_stream",
    "write a small blob", "write_blobs",
    "begin an upload", "send a part", "commit an upload", "open_blob", "read_blobs", "has_blobs", "sync", "live_runs",
)  # fmt: skip


FAR_TOO_LONG = 60
"""Seconds: far more than any of these calls may take, and far less than what the faults would take."""


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Short pauses, and small parts, so that a blob has several."""
    monkeypatch.setattr(transport, "BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(blobs, "CHUNK", 16_384)


@pytest.fixture(scope="module")
def spoiled(stable, tmp_path_factory):
    """A server, and a proxy in front of it."""
    server = stable.start("memory://http-faults", tmp_path_factory.mktemp("server"))
    proxy = Proxy(server.url)
    yield server, proxy
    proxy.close()
    stable.stop(server)


@pytest.fixture
def server(spoiled):
    return spoiled[0]


@pytest.fixture
def proxy(spoiled):
    yield spoiled[1]
    spoiled[1].spoil_all(None)
    spoiled[1].spoil()


@pytest.fixture
def direct(server):
    with server.open() as backend:
        yield backend


@pytest.fixture
def through(server, proxy):
    """A backend behind the proxy, with enough time for each call on a busy machine."""
    with HttpBackend(proxy.url, token=server.token) as backend:
        yield backend


def test_all_calls_are_tried(direct):
    assert tuple(call.name for call in calls(direct)) == NAMES


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", NAMES)
def test_one_fault_changes_nothing(direct, proxy, through, name, fault):
    call = next(call for call in calls(direct) if call.name == name)
    proxy.spoil(fault, only=call.path)
    result = call.do(through)
    assert proxy.left == 0
    call.done(direct, result)


@pytest.mark.parametrize("fault", ["refuse", "reset after the server acted", "500", "busy", "garbage"])
@pytest.mark.parametrize("name", NAMES)
def test_what_never_works_is_reported_and_done_once_at_most(direct, proxy, through, name, fault):
    call = next(call for call in calls(direct) if call.name == name)
    proxy.spoil_all(fault)
    with pytest.raises(BackendError):
        call.do(through)
    if call.undone is not None and "acted" not in fault:
        call.undone(direct)
    proxy.spoil_all(None)
    call.done(direct, call.do(through))


@pytest.mark.parametrize("fault", ["hang", "drip"])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_waits_longer_than_its_time(direct, proxy, server, name, fault):
    call = next(call for call in calls(direct) if call.name == name)
    with HttpBackend(proxy.url, token=server.token) as through:
        through.client.timeout = 0.3
        proxy.spoil_all(fault)
        began = time.monotonic()
        with pytest.raises(PadreError):
            call.do(through)
        assert time.monotonic() - began < FAR_TOO_LONG


def test_a_probe_takes_two_seconds_at_most(proxy, through):
    proxy.spoil_all("drip")
    began = time.monotonic()
    assert not through.client.online()
    with pytest.raises(UnavailableError):
        through.ping()
    assert time.monotonic() - began < FAR_TOO_LONG
    proxy.spoil_all(None)
    end = time.monotonic() + 60
    while not through.client.online():
        assert time.monotonic() < end
