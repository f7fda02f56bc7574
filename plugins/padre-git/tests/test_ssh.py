"""Through a real sshd on loopback, with a key made for the test."""

import getpass
import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import time

import pytest

import padre_core as padre
from padre_git.lfs import THRESHOLD

from .by_hand import bare
from .git_server import serving
from .lfs_server import Lfs

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"

pytestmark = pytest.mark.skipif(
    not (os.path.exists(SSHD) and shutil.which("ssh-keygen")) and not os.environ.get("CI"),
    reason="needs sshd (Debian's openssh-server)",
)


@pytest.fixture(scope="module")
def sshd(tmp_path_factory, free_port):
    folder = tmp_path_factory.mktemp("ssh")
    for name in ("host", "user", "stranger"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    shutil.copy(folder / "user.pub", folder / "authorized")
    port = free_port()
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
        f"PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
        f"SetEnv PATH={folder}/bin:{os.environ['PATH']}\n"
    )
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "config")], stderr=log)
    (folder / "known").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    end = time.monotonic() + 60
    while not listens(port):
        assert process.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < end, "sshd does not listen"
        time.sleep(0.05)
    yield folder, port
    process.terminate()
    process.wait()


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def ssh(folder, key="user", known="known"):
    return (
        f"ssh -F none -o BatchMode=yes -o UserKnownHostsFile={folder / known} -o IdentitiesOnly=yes -i {folder / key}"
    )


@pytest.fixture
def url(sshd, tmp_path, monkeypatch):
    folder, port = sshd
    monkeypatch.setenv("GIT_SSH_COMMAND", ssh(folder))
    return f"git+ssh://{getpass.getuser()}@127.0.0.1:{port}{bare(tmp_path / 'lab.git')}"


def test_what_one_clone_stores_another_reads(url, tmp_path):
    with padre.open(url, clone=tmp_path / "a.git") as lab, lab.start_run("iris/svc") as run:
        run.log_metric("loss", 0.25)
    with padre.open(url, clone=tmp_path / "b.git") as lab:
        assert lab.runs.points(run.id, "loss").values.tolist() == [0.25]


def test_a_key_that_the_server_does_not_know_is_no_way_in(url, sshd, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_SSH_COMMAND", ssh(sshd[0], key="stranger"))
    with pytest.raises(padre.AuthenticationError, match="key that the server knows"):
        padre.open(url, clone=tmp_path / "a.git")


def test_a_server_with_another_key_than_is_known_is_not_trusted(url, sshd, tmp_path, monkeypatch):
    folder, port = sshd
    (folder / "wrong").write_text(f"[127.0.0.1]:{port} {(folder / 'stranger.pub').read_text()}")
    monkeypatch.setenv("GIT_SSH_COMMAND", ssh(folder, known="wrong"))
    with pytest.raises(padre.AuthenticationError, match="Host key verification failed"):
        padre.open(url, clone=tmp_path / "a.git")


def test_a_repository_that_is_not_there_says_so(url, tmp_path):
    with pytest.raises(padre.NotFoundError, match="no such repository"):
        padre.open(url.replace("lab.git", "other.git"), clone=tmp_path / "a.git")


def test_large_files_go_where_the_server_says_over_ssh(url, sshd, tmp_path):
    data = b"x" * THRESHOLD
    digest = hashlib.sha256(data).hexdigest()
    with serving(tmp_path / "none") as server:
        lfs = Lfs(server)
        answer = json.dumps({"href": f"{server.origin}/lab/info/lfs", "header": {"X-Signed": "yes"}})
        script = sshd[0] / "bin" / "git-lfs-authenticate"
        script.parent.mkdir(exist_ok=True)
        script.write_text(f"#!/bin/sh\necho \"$@\" >> {tmp_path}/asked\nprintf '%s' '{answer}'\n")
        script.chmod(0o755)
        with padre.open(url, clone=tmp_path / "a.git") as lab:
            lab.backend.write_blob(io.BytesIO(data))
            lab.backend.publish()
        assert lfs.files == {digest: data}
        with padre.open(url, clone=tmp_path / "b.git") as lab, lab.backend.open_blob(digest) as file:
            assert file.read() == data
        asked = (tmp_path / "asked").read_text().splitlines()
        path = str(tmp_path / "lab.git").lstrip("/")
        assert set(asked) == {f"{path} upload", f"{path} download"}
