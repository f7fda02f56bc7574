"""Starting: what works at once, and what is refused."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import trustme
import urllib3

from padre_http.wire.records import encode_record
from padre_server.audit import Audit

from .samples import path, project
from .serving import Client, Served, Start, wait_for


def refused(*options: str, folder: Path) -> str:
    """What a server that does not start says."""
    found = subprocess.run(
        [sys.executable, "-c", "from padre_core.cli import main; main()", "serve", "--port", "0", "--state",
         str(folder / "state"), "--store", f"file://{folder / 'store'}", *options],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert found.returncode != 0
    assert "Traceback" not in found.stderr
    return found.stderr


def test_the_first_start_prints_a_token_once(start: Start) -> None:
    served = start()
    assert str(served.token).startswith("padre_")
    assert len(str(served.token)) == len("padre_") + 43
    assert served.client("GET", "/v1/whoami").json["scopes"] == ["read", "write", "delete", "admin"]
    assert served.stop() == 0
    again = start(folder=served.folder)
    assert again.client("GET", "/v1/whoami").status == 200
    again.process.terminate()
    assert again.process.stdout is not None
    assert "padre_" not in again.process.stdout.read()


def test_a_server_says_that_it_lives_and_what_it_is(served: Served) -> None:
    nobody = served.client.as_(None)
    assert nobody("GET", "/healthz").json == {"status": "ok"}
    assert nobody("GET", "/readyz").json == {"status": "ready"}
    assert nobody("GET", "/v1/info").json["store"] is None
    info = served.client("GET", "/v1/info").json
    assert info["store"]["durability"] == "power"
    assert str(served.folder) not in str(info)


def test_metrics_are_for_administrators(served: Served) -> None:
    assert served.client.as_(None)("GET", "/metrics").status == 401
    assert served.client.as_(served.make_token("read"))("GET", "/metrics").status == 403
    text = served.client("GET", "/metrics").body.decode()
    assert 'route="GET /readyz",status="200"' in text


def test_metrics_may_be_opened_to_this_machine(start: Start) -> None:
    assert start("--public-metrics").client.as_(None)("GET", "/metrics").status == 200


def test_other_machines_are_served_with_tls_only(tmp_path: Path) -> None:
    assert "tokens would travel in the clear" in refused("--host", "0.0.0.0", folder=tmp_path)
    assert "both --tls-cert and --tls-key" in refused("--tls-cert", "x", folder=tmp_path)


def test_other_machines_are_served_without_tls_if_the_operator_says_so(start: Start) -> None:
    served = start("--host", "0.0.0.0", "--plain-http")
    assert served.url.startswith("http://0.0.0.0:")
    assert served.client("GET", "/v1/whoami").status == 200


def test_tls_in_the_process(start: Start, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    key, chain = tmp_path / "key.pem", tmp_path / "chain.pem"
    certificate.private_key_pem.write_to_path(key)
    certificate.cert_chain_pems[0].write_to_path(chain)
    served = start("--tls-cert", str(chain), "--tls-key", str(key))
    assert served.url.startswith("https://")
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    client = Client(served.url, served.token, urllib3.PoolManager(retries=False, timeout=60, ssl_context=trust))
    wait_for(lambda: client("GET", "/readyz").status == 200)
    assert client("GET", "/v1/whoami").status == 200


def test_what_is_wrong_with_the_store_is_said_at_once(tmp_path: Path) -> None:
    assert "nosuch" in refused("--store", "nosuch://x", folder=tmp_path)
    (tmp_path / "store").write_text("no folder")
    assert "padre:" in refused(folder=tmp_path)


def test_a_taken_port_is_said(served: Served, tmp_path: Path) -> None:
    port = served.url.rpartition(":")[2]
    assert "cannot listen" in refused("--port", port, folder=tmp_path)


def test_the_first_token_is_printed_by_the_first_start_that_gets_its_port(
    served: Served, start: Start, tmp_path: Path
) -> None:
    port = served.url.rpartition(":")[2]
    assert "cannot listen" in refused("--port", port, folder=tmp_path)
    assert str(start(folder=tmp_path).token).startswith("padre_")


def test_a_port_that_cannot_be_is_refused(tmp_path: Path) -> None:
    assert "65536" in refused("--port", "65536", folder=tmp_path)


def test_several_processes_need_a_store_for_several(tmp_path: Path) -> None:
    assert "--workers 1" in refused("--store", "memory://", "--workers", "2", folder=tmp_path)


@pytest.mark.parametrize("limit", ["speed=3", "uploads=-1", "body_seconds=nan", "header_seconds=inf", "uploads"])
def test_limits_that_there_are_not_are_refused(limit: str, tmp_path: Path) -> None:
    assert "expected a limit" in refused("--limit", limit, folder=tmp_path)


def test_a_certificate_that_cannot_be_used_is_said_before_the_server_listens(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.pem")
    assert "cannot be used for TLS: No such file" in refused(
        "--tls-cert", missing, "--tls-key", missing, folder=tmp_path
    )
    (tmp_path / "odd.pem").write_text("no certificate")
    odd = str(tmp_path / "odd.pem")
    assert "cannot be used for TLS: " in refused("--tls-cert", odd, "--tls-key", odd, folder=tmp_path)
    assert not (tmp_path / "state").exists(), "no token was made that nobody saw"


def test_a_key_with_a_password_is_refused_and_not_asked_for(tmp_path: Path) -> None:
    key, chain = tmp_path / "key.pem", tmp_path / "chain.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-subj", "/CN=localhost", "-passout", "pass:secret"]
    subprocess.run([*make, "-keyout", str(key), "-out", str(chain)], check=True, capture_output=True)
    assert "has a password" in refused("--tls-cert", str(chain), "--tls-key", str(key), folder=tmp_path)


def test_a_state_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    assert "--state" in refused("--state", "/dev/null/state", folder=tmp_path)


def test_a_store_in_memory_is_served_too(start: Start) -> None:
    served = start(store="memory://served")
    assert served.client("GET", "/v1/projects/count").json == {"count": 0}


def test_a_read_only_server_answers_reads_and_refuses_writes(start: Start) -> None:
    record, other = project(), project()
    first = start()
    first.client("PUT", path(record), encode_record(record))
    first.stop()
    served = start("--readonly", folder=first.folder)
    assert served.client("GET", path(record)).status == 200
    assert served.client("GET", "/v1/projects/count").json == {"count": 1}
    answer = served.client("PUT", path(other), encode_record(other))
    assert (answer.status, answer.error) == (403, "ReadOnlyError")
    empty = {"Content-Type": "application/octet-stream"}
    blob = served.client("PUT", f"/v1/blobs/{hashlib.sha256().hexdigest()}", b"", headers=empty)
    assert (blob.status, blob.error) == (403, "ReadOnlyError")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
def test_what_the_audit_log_has_no_room_for_is_in_the_server_s_log(caplog: pytest.LogCaptureFixture) -> None:
    with closing(Audit(Path("/dev/full"))) as audit:
        audit.note("ada", "sign-in")
    assert '"who":"ada"' in caplog.text
