"""Through a proxy that the environment names: a tunnel, in which nothing can be read, or a clear refusal."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from padre_core.errors import AuthenticationError, BackendError, InvalidObjectError, UnavailableError
from padre_http import transport
from padre_http.client import Client

from .tls_server import made_certificate, serving

NAME = "lab.example.org"
TOKEN = "padre_canary"
URL = f"padre+https://{NAME}"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    monkeypatch.setattr(transport, "BACKOFF_SECONDS", 0.01)
    for name in ("https_proxy", "http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    """That of a server that only the proxy knows how to reach."""
    return made_certificate(tmp_path_factory.mktemp("certificate"), NAME)


class TunnelProxy:
    """A proxy that opens tunnels to one server, whatever name is asked for, and keeps what it could read.

    Attributes:
        answer: What it says instead of opening a tunnel.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self.answer: bytes | None = None
        self.read = b""
        self.asked: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                part = client.recv(1)
                if not part:
                    return
                head += part
            self.read += head
            self.asked.append(head.partition(b"\r\n")[0].decode())
            if self.answer is not None:
                client.sendall(self.answer)
                client.recv(1)
                return
            with socket.create_connection(("127.0.0.1", self._target)) as upstream:
                client.sendall(b"HTTP/1.1 200 Connection established\r\nX-A: b\r\n\r\n")
                threading.Thread(target=self._pump, args=(upstream, client), daemon=True).start()
                self._pump(client, upstream)

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while part := source.recv(65_536):
                self.read += part
                target.sendall(part)


@pytest.fixture
def tunnel(certificate) -> Iterator[TunnelProxy]:
    """A proxy in front of the server."""
    with serving(certificate) as port, contextlib.closing(TunnelProxy(port)) as proxy:
        yield proxy


@pytest.fixture
def make(certificate) -> Iterator:
    """Makes clients that trust the server."""
    with contextlib.ExitStack() as stack:

        def made(url: str = URL, **options):
            client = Client(url, token=TOKEN, ca_file=str(certificate[0]), attempts=2, **options)
            stack.callback(client.close)
            return client

        yield made


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("scheme", ["http://", ""])
def test_a_tunnel_is_used_and_shows_no_token(tunnel, make, monkeypatch, variable, scheme):
    monkeypatch.setenv(variable, f"{scheme}127.0.0.1:{tunnel.port}")
    assert make().info.version == "1"
    assert tunnel.asked == [f"CONNECT {NAME}:443 HTTP/1.1"]
    assert TOKEN.encode() not in tunnel.read
    assert b"authorization" not in tunnel.read.lower()


def test_credentials_of_the_proxy_go_to_the_proxy(tunnel, make, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", f"http://ada:p%40ss@127.0.0.1:{tunnel.port}")
    make().probe(60)
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"ada:p@ss") in tunnel.read


@pytest.mark.parametrize("exception", [NAME, ".example.org", "*"])
def test_servers_that_no_proxy_names_are_reached_directly(tunnel, make, monkeypatch, exception):
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{tunnel.port}")
    monkeypatch.setenv("NO_PROXY", exception)
    with pytest.raises(UnavailableError):  # there is no such name
        make(timeout=2).get("/v1/info")
    assert tunnel.asked == []


def test_this_machine_is_reached_directly(tunnel, monkeypatch, server):
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{tunnel.port}")
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{tunnel.port}")
    with server.open() as backend:
        backend.client.probe(60)
    with contextlib.closing(Client("padre+https://localhost:1", token=TOKEN, attempts=1)) as client:
        assert not client.online()
    assert tunnel.asked == []


def test_a_proxy_that_wants_credentials_says_so_without_showing_any(tunnel, make, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", f"http://ada:canary@127.0.0.1:{tunnel.port}")
    tunnel.answer = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(AuthenticationError, match="wants a name and a password") as caught:
        make().get("/v1/info")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "timeout", "error", "text"),
    [
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", 60, UnavailableError, "answered 502"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", 60, BackendError, "NO_PROXY="),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", 60, BackendError, "is no HTTP proxy"),
        (b"HTTP/1.1 200 OK", 2, UnavailableError, "in time"),
        (b"x" * 100_000, 60, UnavailableError, "cannot be reached"),
    ],
)
def test_a_proxy_that_opens_no_tunnel_ends_the_call_in_time(tunnel, make, monkeypatch, answer, timeout, error, text):
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{tunnel.port}")
    tunnel.answer = answer
    with pytest.raises(error, match=text):
        make(timeout=timeout).get("/v1/info")
    assert TOKEN.encode() not in tunnel.read


@pytest.mark.parametrize(
    "url", ["socks5://ada:canary@proxy:1080", "https://ada:canary@proxy:3128", "http://", "http://x:y"]
)
def test_a_proxy_of_another_kind_is_refused_at_once(monkeypatch, url):
    monkeypatch.setenv("HTTPS_PROXY", url)
    with pytest.raises(InvalidObjectError, match="HTTPS_PROXY") as caught:
        Client(URL, token=TOKEN)
    assert "canary" not in str(caught.value)
