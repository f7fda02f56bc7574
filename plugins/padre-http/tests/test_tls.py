"""TLS with certificates made for the test."""

from __future__ import annotations

import contextlib

import pytest

from padre_core.errors import BackendError, UnavailableError
from padre_http.client import Client

from .tls_server import made_certificate, serving


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return made_certificate(tmp_path_factory.mktemp("certificate"), "localhost")


@pytest.fixture
def port(certificate):
    with serving(certificate) as port:
        yield port


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
