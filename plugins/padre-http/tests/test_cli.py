from __future__ import annotations

import io
import json
import stat
from contextlib import closing
from dataclasses import dataclass

import pytest

import padre_core as padre
from padre_core.cli import main
from padre_http.client import Client
from padre_http.tokens import default_path


@dataclass
class Result:
    code: int
    out: str
    err: str


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Runs `padre` in this process, with something on standard input."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, given=""):
        monkeypatch.setattr("sys.argv", ["padre", *arguments])
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given.encode())))
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Result(ended.value.code or 0, captured.out, captured.err)

    return run


def test_a_person_signs_in_with_a_token_and_out_again(command, server):
    signed_in = command("login", server.url, "--with-token", given=server.token + "\n")
    assert (signed_in.code, signed_in.out.startswith("signed in to http://127.0.0.1:")) == (0, True)
    assert stat.S_IMODE(default_path().stat().st_mode) == 0o600
    who = command("whoami", server.url, "--json")
    assert "admin" in json.loads(who.out)["scopes"]
    assert command("whoami", server.url).out.startswith("server:")
    assert command("logout", server.url).code == 0
    gone = command("whoami", server.url)
    assert (gone.code, "padre login" in gone.err) == (5, True)
    assert server.token not in signed_in.out + signed_in.err + who.out + gone.err


def test_a_token_may_come_from_a_file(command, server, tmp_path):
    path = tmp_path / "token"
    path.write_text(server.token)
    path.chmod(0o644)
    assert command("login", server.url, "--token-file", str(path)).code == 5
    path.chmod(0o600)
    assert command("login", server.url, "--token-file", str(path)).code == 0


def test_a_token_cannot_be_given_where_everybody_sees_it(command, server):
    assert command("login", server.url, "--with-token", server.token).code == 2
    assert command("login", server.url, "--token", server.token).code == 2


def test_a_wrong_password_and_a_wrong_token_are_refused_and_not_kept(command, server):
    assert command("login", server.url, "--name", "ada", given="wrong\n").code == 5
    assert command("login", server.url, "--with-token", given="padre_wrong").code == 5
    assert not default_path().exists()


def test_a_server_must_be_named_and_be_there(command, monkeypatch):
    assert command("whoami").code == 2
    assert command("login", "padre+http://127.0.0.1:9").code == 6
    assert command("login", "http://lab.example.org").code == 2
    monkeypatch.setenv("PADRE_URL", "padre+http://127.0.0.1:9")
    assert command("whoami").code == 6


def test_every_command_takes_a_server_for_a_store(command, server, tmp_path):
    command("login", server.url, "--with-token", given=server.token)
    store = f"--store={server.url}"
    assert command("put", store, "--kind", "experiment", given='{"name": "svc", "project": "iris"}').code == 0
    with padre.open(server.url) as workspace, workspace.start_run("iris/svc", parameters={"C": 1.0}) as run:
        run.log_metric("loss", 0.5)
        run.log("a line")
    assert "svc" in command("ls", store, "experiments").out
    assert "loss" in command("show", store, run.id).out
    assert "0.5" in command("points", store, run.id, "loss").out
    assert "a line" in command("log", store, run.id).out
    assert run.id in command("search", store, "metrics.loss.last < 1").out
    with padre.open(server.url) as workspace:
        url = workspace.runs.url(run.id)
        assert workspace.runs.get(url).id == run.id
    assert url == f"{server.url.removeprefix('padre+')}/v1/runs/{run.id}"
    assert run.id in command("show", store, url).out
    assert command("verify", store).code == 0
    assert command("copy", server.url, str(tmp_path / "copy")).code == 0
    assert command("rm", store, run.id).code == 0
    assert command("restore", store, run.id).code == 0


def test_signing_in_and_out_is_told_to_programs_too(command, server):
    signed_in = command("login", server.url, "--with-token", "--json", given=server.token)
    assert json.loads(signed_in.out) == {"server": server.url.removeprefix("padre+"), "user": "first"}
    assert json.loads(command("logout", server.url, "--json").out) == {"server": server.url.removeprefix("padre+")}


def test_a_purge_over_http_is_refused_and_says_where_to_do_it(command, server):
    command("login", server.url, "--with-token", given=server.token)
    with padre.open(server.url) as workspace:
        workspace.projects.put(padre.Project(name="iris"))
        workspace.projects.delete("iris")
        with pytest.raises(padre.UnsupportedError, match="where the store itself is"):
            workspace.purge()
    for more in ([], ["--dry-run"], ["--yes"]):
        refused = command("purge", f"--store={server.url}", "--older-than", "0", *more)
        assert (refused.code, refused.out) == (7, "")
        assert "`padre purge --store …`" in refused.err


def test_a_person_signs_in_with_a_password_and_stays_signed_in(command, server, tmp_path):
    (state,) = (path.parent for path in tmp_path.glob("server-*/server.db"))
    added = command(
        "server", "user", "add", "ada", "--role", "editor", "--project", "*", "--state", str(state),
        "--password-stdin", given="correct horse battery staple\n",
    )  # fmt: skip
    assert (added.code, added.err) == (0, "")
    assert command("login", server.url, "--name", "ada", given="correct horse\n").code == 5
    signed_in = command("login", server.url, "--name", "ada", given="correct horse battery staple\n")
    assert signed_in.out.endswith(" as ada\n")
    (kept,) = json.loads(default_path().read_text()).values()
    assert kept["renew_at"] is not None
    with closing(Client(server.url)) as client:
        session = client.refresh()
        assert session.user == client.whoami().user == "ada"
    assert json.loads(command("whoami", server.url, "--json").out)["user"] == "ada"
    assert "correct horse" not in signed_in.out + signed_in.err + default_path().read_text()
    assert kept["token"] not in default_path().read_text()
