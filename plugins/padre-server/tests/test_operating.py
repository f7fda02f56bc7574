"""What the page on running a server prints for nginx and systemd works as it stands there, but for places and ports."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import urllib3

import padre_core as padre
from padre_http.client import Client as PadreClient
from padre_http.secret import Secret

from .serving import Served, Start, wait_for

PAGE = Path(__file__).parents[3] / "docs" / "server.md"
NAME = "lab.example.org"
PASSWORD = "correct horse battery"  # of this test alone


def needed(program: str, package: str) -> str:
    """Where a program is; a test that needs it is skipped without it, and fails in CI."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin")
    if found is None:
        message = f"{program} is not installed: apt-get install {package}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return found


def printed(language: str) -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def replaced(text: str, **changes: str) -> str:
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


@dataclass
class Lab:
    """A server behind nginx.

    Attributes:
        url: Of nginx, by a name that both certificate and server know.
        ca_file: The certificate to trust.
    """

    served: Served
    url: str
    ca_file: str


@pytest.fixture(scope="module")
def lab(start: Start, tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[Lab]:
    program = needed("nginx", "nginx-light")
    folder = tmp_path_factory.mktemp("nginx")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={NAME}"]
    names = ["-addext", f"subjectAltName=DNS:{NAME},DNS:localhost", "-keyout", "lab.key", "-out", "lab.pem"]
    subprocess.run([*command, *names], cwd=folder, check=True, capture_output=True)
    served, port = start("--allow-host", NAME, "--behind-proxy", "--workers", "2"), free_port()
    site = replaced(
        printed("nginx"),
        **{
            "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
            "/etc/ssl/lab.pem": str(folder / "lab.pem"),
            "/etc/ssl/lab.key": str(folder / "lab.key"),
            "http://127.0.0.1:8421": served.url,
        },
    )
    kept = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off;\nuser {'root' if os.getuid() == 0 else os.getlogin()};\npid {folder}/pid;\n"
        f"error_log {folder}/error.log;\nevents {{}}\nhttp {{\naccess_log off;\n{kept}{site}}}\n"
    )
    process = subprocess.Popen([program, "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")])
    url = f"padre+https://localhost:{port}"
    client = PadreClient(url, ca_file=str(folder / "lab.pem"))
    wait_for(lambda: process.poll() is not None or client.online())
    client.close()
    assert process.poll() is None, (folder / "error.log").read_text()
    yield Lab(served, url, str(folder / "lab.pem"))
    process.terminate()
    process.wait()


def test_all_that_a_team_does_works_behind_nginx(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PADRE_STATE", str(tmp_path / "state"))
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "large.bin").write_bytes(os.urandom(9_000_000))
    for number in range(50):
        (folder / f"{number}.txt").write_text(f"file {number}")
    with padre.open(lab.url, token=lab.served.token, ca_file=lab.ca_file) as workspace:
        with workspace.start_run("iris/svc", parameters={"C": 1.0}) as run:
            run.log_points("loss", [1 / (step + 1) for step in range(50_000)])
            run.log("a line")
            run.log_artifacts(folder)
        assert len(workspace.runs.points(run.id, "loss").values) == 50_000
        paths = workspace.artifacts.download(str(run.id), tmp_path / "back")
        assert {path.name: path.read_bytes() for path in paths} == {
            path.name: path.read_bytes() for path in folder.iterdir()
        }
        assert [found.id for found in workspace.runs.list(where="parameters.C == 1")] == [run.id]
        with pytest.raises(padre.NotFoundError):
            workspace.runs.get("01a22090-6e00-709a-b590-b83da4f53f26")


def test_a_long_filter_in_a_url_passes_nginx(lab: Lab) -> None:
    pool = urllib3.PoolManager(ca_certs=lab.ca_file, retries=False)
    where = " or ".join(f"tags.stage=='{'x' * 60}{number}'" for number in range(120))
    answer = pool.request(
        "GET", f"{lab.url.removeprefix('padre+')}/v1/runs", fields={"where": where},
        headers={"Authorization": f"Bearer {lab.served.token}"},
    )  # fmt: skip
    assert (answer.status, answer.json()["records"]) == (200, [])


def test_the_server_is_called_by_the_name_that_nginx_has(lab: Lab) -> None:
    port = lab.url.rpartition(":")[2]
    pool = urllib3.HTTPSConnectionPool(
        "127.0.0.1", int(port), ca_certs=lab.ca_file, server_hostname=NAME, assert_hostname=NAME, retries=False
    )
    assert pool.request("GET", "/v1/info", headers={"Host": NAME}).status == 200
    assert pool.request("GET", "/v1/info", headers={"Host": "evil.example"}).status == 403


def test_the_audit_log_names_the_client_and_not_nginx_or_what_the_client_says(lab: Lab) -> None:
    command = [sys.executable, "-m", "padre_core", "server", "user", "add", "ada", "--role", "editor"]
    state = str(lab.served.folder / "state")
    subprocess.run(
        [*command, "--store", lab.served.store, "--state", state],
        input=f"{PASSWORD}\n{PASSWORD}\n",
        text=True,
        check=True,
    )
    client = PadreClient(lab.url, ca_file=lab.ca_file)
    assert client.sign_in("ada", Secret(PASSWORD)).user == "ada"
    client.call("POST", "/v1/sync", headers={"X-Forwarded-For": "203.0.113.7"}, body=b"{}", attempts=1)
    client.close()
    file = lab.served.folder / "state" / "audit.jsonl"
    wait_for(lambda: "POST /v1/sync" in file.read_text())  # the line follows the answer
    audit = file.read_text()
    assert '"client":"127.0.0.1"' in audit
    assert "203.0.113.7" not in audit


def test_an_upload_goes_on_when_nginx_cut_it(lab: Lab) -> None:
    pool = urllib3.PoolManager(ca_certs=lab.ca_file, retries=False)
    url, headers = lab.url.removeprefix("padre+"), {"Authorization": f"Bearer {lab.served.token}"}
    upload = pool.request("POST", f"{url}/v1/uploads", headers=headers).json()["id"]

    def cut() -> Iterator[bytes]:
        yield bytes(2_000_000)
        raise ConnectionAbortedError

    sent = {**headers, "Content-Type": "application/octet-stream", "Upload-Offset": "0", "Content-Length": "4000000"}
    with pytest.raises(urllib3.exceptions.ProtocolError):
        pool.request("PATCH", f"{url}/v1/uploads/{upload}", body=cut(), headers=sent)
    pool.clear()
    wait_for(lambda: pool.request("GET", f"{url}/v1/uploads/{upload}", headers=headers).json()["offset"] > 0)


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
    parser.read_string(printed("ini").replace("\\\n", " "))
    return parser


def test_the_unit_starts_a_server_that_sigterm_ends_in_time(tmp_path: Path) -> None:
    service = unit()["Service"]
    program, *arguments = shlex.split(service["ExecStart"])
    assert Path(program).name == "padre"
    command = [
        str(Path(sys.executable).with_name("padre")),
        *(part.replace("/srv/padre", str(tmp_path)) for part in arguments),
    ]
    name, _, cache = service["Environment"].partition("=")
    environment = {**os.environ, name: cache.replace("/srv/padre", str(tmp_path))}
    with subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        url = process.stdout.readline().rpartition(" ")[2].strip()
        wait_for(lambda: urllib3.request("GET", f"{url}/readyz", retries=False).status == 200)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) in (0, -signal.SIGTERM)
        assert time.monotonic() - began < int(service["TimeoutStopSec"])
    assert service["ReadWritePaths"] == "/srv/padre", "where all that the command names lies"
    assert {path.name for path in tmp_path.iterdir()} <= {"store", "state", "cache"}


def test_systemd_finds_no_fault_in_the_unit(tmp_path: Path) -> None:
    program = needed("systemd-analyze", "systemd")
    text = replaced(printed("ini"), **{"/opt/padre/bin/padre": sys.executable, "User=padre": "User=root"})
    (tmp_path / "padre.service").write_text(text)
    done = subprocess.run(
        [program, "verify", str(tmp_path / "padre.service")], capture_output=True, text=True, check=False
    )
    said = [line for line in done.stderr.splitlines() if "padre.service" in line]
    assert (done.returncode, said) == (0, [])
