"""TLS with certificates made for the test."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading

import pytest

from padre_core.errors import BackendError, UnavailableError
from padre_http.client import Client
from padre_http.wire.info import ServerInfo, encode_model


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Makes a certificate of localhost, and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "certificate.pem"]
    subprocess.run([*command, *names], cwd=folder, check=True, capture_output=True)
    return folder / "certificate.pem", folder / "key.pem"


@pytest.fixture
def port(certificate):
    """A server that answers `/v1/info` over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    listener = socket.create_server(("127.0.0.1", 0))
    body = encode_model(ServerInfo(version="1"))

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), connection, context.wrap_socket(connection, server_side=True) as secure:
                while secure.recv(65_536):
                    secure.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.close()


def test_a_server_that_proves_who_it_is_is_talked_to(certificate, port):
    with contextlib.closing(Client(f"padre+https://localhost:{port}", ca_file=str(certificate[0]))) as client:
        client.probe(60)
        assert client.info.version == "1"
        assert client.get("/v1/info").status == 200


def test_a_server_that_cannot_prove_who_it_is_gets_no_token(certificate, port):
    for url, trusted in ((f"padre+https://localhost:{port}", None), (f"https://127.0.0.1:{port}", str(certificate[0]))):
        with contextlib.closing(Client(url, token="padre_secret", ca_file=trusted)) as client:
            assert not client.online()
            with pytest.raises(BackendError, match="cannot prove who it is") as caught:
                client.get("/v1/info")
            assert not isinstance(caught.value, UnavailableError)


def test_certificates_that_are_not_there_are_named(tmp_path):
    with pytest.raises(BackendError, match="missing"):
        Client("padre+https://localhost", ca_file=str(tmp_path / "missing.pem"))
