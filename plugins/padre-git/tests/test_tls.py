"""Over TLS, with a certificate that is trusted and one that is not."""

import io
import ssl

import pytest
import trustme

import padre_core as padre
from padre_git.lfs import THRESHOLD

from .by_hand import bare
from .git_server import serving
from .lfs_server import Lfs


@pytest.fixture
def authority():
    return trustme.CA()


@pytest.fixture
def server(tmp_path, authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    bare(tmp_path / "srv" / "lab.git")
    with serving(tmp_path / "srv", {"ada": "secret"}, context) as server:
        Lfs(server)
        yield server


def test_a_store_and_its_large_files_travel_over_tls(server, authority, tmp_path, monkeypatch):
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    settings = tmp_path / "gitconfig"
    settings.write_text(f"[http]\n\tsslCAInfo = {tmp_path / 'authority.pem'}\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    monkeypatch.delenv("GIT_SSL_CAINFO", raising=False)  # it would be stronger
    url, data = f"{server.url}/lab.git", b"x" * THRESHOLD
    with padre.open(url, clone=tmp_path / "a.git", user="ada", token="secret") as lab:
        digest = lab.backend.write_blob(io.BytesIO(data)).digest
    with (
        padre.open(url, clone=tmp_path / "b.git", user="ada", token="secret") as lab,
        lab.backend.open_blob(digest) as file,
    ):
        assert file.read() == data


def test_a_certificate_that_nobody_vouches_for_is_no_server(server, tmp_path, monkeypatch):
    settings = tmp_path / "gitconfig"
    settings.write_text("[http]\n\tsslVerify = false\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    monkeypatch.setenv("GIT_SSL_NO_VERIFY", "1")
    with pytest.raises(padre.UnavailableError, match="certificate"):
        padre.open(f"{server.url}/lab.git", clone=tmp_path / "a.git", user="ada", token="secret")
    assert server.requests == []
