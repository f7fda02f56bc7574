"""Users, roles, sessions and tokens, and the commands that manage them."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from padre_core import AuthenticationError, BackendError
from padre_core.objects.record import Record
from padre_http.wire.records import encode_record
from padre_server.database import Database
from padre_server.errors import DiskFullError
from padre_server.tokens import Tokens

from .samples import deleted, experiment, path, project
from .serving import Answer, Client, Served, Start, wait_for

PASSWORD = "correct horse battery staple"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def own(start: Start) -> Served:
    return start()


@pytest.fixture(scope="module")
def run(own: Served) -> Run:
    """Runs `padre server …` on the state of the server."""

    def command(*words: str, stdin: str = "", fails: bool = False) -> subprocess.CompletedProcess[str]:
        found = subprocess.run(
            [sys.executable, "-c", "from padre_core.cli import main; main()", "server", *words,
             "--state", str(own.folder / "state")],
            input=stdin, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert (found.returncode != 0) is fails, found.stderr
        return found

    return command


@pytest.fixture(scope="module")
def ada(run: Run) -> str:
    run("user", "add", "ada", "--password-stdin", stdin=f"{PASSWORD}\n")
    return "ada"


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[Tokens]:
    with closing(Database(tmp_path / "server.db")) as database:
        yield Tokens(database)


def test_a_database_of_a_newer_server_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "server.db"
    Database(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(BackendError, match="newer padre-server"):
        Database(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (99,)


def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "server.db"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(BackendError, match=r"server\.db cannot be used"):
        Database(path)


def test_a_full_disk_takes_no_token_and_harms_nothing(tmp_path: Path) -> None:
    with closing(Database(tmp_path / "server.db")) as database:
        tokens, connection = Tokens(database), database.reading()
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")  # which SQLite tells like a full disk
        made: list[str] = []
        with pytest.raises(DiskFullError):
            made.extend(tokens.create("test", scopes=["read"])[0] for _ in range(1000))
        connection.execute("PRAGMA max_page_count = 1000000")
        assert [tokens.caller(text).name for text in made] == ["test"] * len(made)
        text, _ = tokens.create("test", scopes=["read"])
        assert tokens.caller(text).name == "test"


def sign_in(own: Served, name: str, password: str = PASSWORD) -> Answer:
    return own.client.as_(None)("POST", "/v1/session", {"name": name, "password": password})


def put(client: Client, record: Record) -> int:
    return client("PUT", path(record), encode_record(record)).status


def test_a_user_signs_in_and_out(own: Served, ada: str) -> None:
    answer = sign_in(own, ada)
    assert answer.status == 200
    assert (answer.json["user"], answer.json["projects"]) == ("ada", [])
    client = own.client.as_(answer.json["token"])
    assert client("GET", "/v1/whoami").json["user"] == "ada"
    assert client("DELETE", "/v1/session").status == 204
    assert client("GET", "/v1/whoami").status == 401


def test_a_session_is_replaced_by_a_fresh_one(own: Served, ada: str) -> None:
    client = own.client.as_(sign_in(own, ada).json["token"])
    fresh = client("POST", "/v1/session/refresh").json
    assert fresh["token"] != client.token
    assert client.as_(fresh["token"])("GET", "/v1/whoami").json["expires_at"] == fresh["expires_at"]


def test_what_a_refresh_replaced_is_valid_for_two_minutes_more(own: Served, ada: str) -> None:
    client = own.client.as_(sign_in(own, ada).json["token"])
    client("POST", "/v1/session/refresh")
    left = datetime.fromisoformat(client("GET", "/v1/whoami").json["expires_at"]) - datetime.now(UTC)
    assert 0 < left.total_seconds() <= 120
    again = client("POST", "/v1/session/refresh")
    assert (again.status, client.as_(again.json["token"])("GET", "/v1/whoami").status) == (200, 200)


def test_what_was_replaced_ends_after_its_time(tokens: Tokens) -> None:
    secret, token = tokens.create("session", scopes=("read",))
    fresh = tokens.rotate(token.id, grace=1e-6)
    with pytest.raises(AuthenticationError):
        tokens.caller(secret)
    assert tokens.caller(fresh).token == token.id


def test_what_was_replaced_never_outlives_its_own_end(tokens: Tokens) -> None:
    secret, token = tokens.create("session", scopes=("read",), seconds=60)
    tokens.rotate(token.id, seconds=3600, grace=120)
    assert tokens.caller(secret).expires_at == token.expires_at


@pytest.mark.parametrize("end", [Tokens.revoke, Tokens.rotate])
def test_an_operator_ends_what_was_replaced_too(tokens: Tokens, end: Callable[[Tokens, str], object]) -> None:
    secret, token = tokens.create("session", scopes=("read",))
    tokens.rotate(token.id, grace=120)
    assert tokens.caller(secret).token == token.id
    end(tokens, token.id)
    with pytest.raises(AuthenticationError):
        tokens.caller(secret)


def test_roles_count_at_once_and_in_their_project_only(own: Served, run: Run, ada: str) -> None:
    ours, theirs = project("roles ours"), project("roles theirs")
    for record in (ours, theirs):
        put(own.client, record)
    client = own.client.as_(sign_in(own, ada).json["token"])
    assert client("GET", "/v1/projects").status == 403
    run("user", "role", ada, "viewer", "--project", "roles ours")
    assert [record["id"] for record in client("GET", "/v1/projects").json["records"]] == [ours.id]
    assert put(client, experiment(ours)) == 403
    run("user", "role", ada, "editor", "--project", "roles ours")
    assert put(client, experiment(ours)) == 200
    assert put(client, deleted(experiment(ours))) == 200
    assert put(client, experiment(theirs)) == 404
    run("user", "role", ada, "viewer", "--project", "roles theirs")
    assert put(client, experiment(theirs)) == 404
    run("user", "role", ada, "none", "--project", "roles theirs")
    run("user", "role", ada, "none", "--project", "roles ours")
    assert client("GET", "/v1/projects").status == 403


@pytest.mark.parametrize("name", ["ada", "nobody", "", "a\0b", "' OR 1=1 --", "x" * 1000])
def test_a_wrong_password_and_an_unknown_name_look_alike(own: Served, ada: str, name: str) -> None:
    answer = sign_in(own, name, "wrong password, surely")
    assert (answer.status, answer.error) == (401, "AuthenticationError")
    assert answer.json["message"] == "the name or the password is wrong"


def test_guessing_is_slowed_down(own: Served, run: Run) -> None:
    run("user", "add", "eve", "--password-stdin", stdin=f"{PASSWORD}\n")
    statuses = [sign_in(own, "eve", f"guess number {number}").status for number in range(12)]
    assert (statuses[:10], set(statuses[10:])) == ([401] * 10, {429})
    late = sign_in(own, "eve")
    assert (late.status, int(late.headers["Retry-After"]) > 0) == (429, True)


def test_a_new_password_ends_all_sessions(own: Served, run: Run) -> None:
    run("user", "add", "bob", "--role", "viewer", "--password-stdin", stdin=f"{PASSWORD}\n")
    client = own.client.as_(sign_in(own, "bob").json["token"])
    assert client("GET", "/v1/runs").status == 200
    run("user", "password", "bob", "--password-stdin", stdin="another password, longer\n")
    assert client("GET", "/v1/runs").status == 401
    assert sign_in(own, "bob").status == 401
    client = own.client.as_(sign_in(own, "bob", "another password, longer").json["token"])
    run("user", "rm", "bob")
    assert client("GET", "/v1/runs").status == 401


def test_weak_passwords_and_taken_names_are_refused(run: Run, ada: str) -> None:
    assert "12" in run("user", "add", "carl", "--password-stdin", stdin="short\n", fails=True).stderr
    assert "already" in run("user", "add", ada, "--password-stdin", stdin=f"{PASSWORD}\n", fails=True).stderr


def test_tokens_are_made_listed_rotated_and_revoked(own: Served, run: Run) -> None:
    text = run("token", "create", "--name", "cluster", "--scope", "read", "--expires", "1h").stdout.strip()
    client = own.client.as_(text)
    assert client("GET", "/v1/whoami").json["scopes"] == ["read"]
    (listed,) = [token for token in json.loads(run("token", "list", "--json").stdout) if token["name"] == "cluster"]
    assert text not in run("token", "list").stdout
    fresh = run("token", "rotate", listed["id"]).stdout.strip()
    assert client("GET", "/v1/whoami").status == 401
    assert client.as_(fresh)("GET", "/v1/whoami").status == 200
    run("token", "revoke", listed["id"])
    assert client.as_(fresh)("GET", "/v1/whoami").status == 401
    assert "no valid token" in run("token", "rotate", listed["id"], fails=True).stderr


def test_a_token_names_projects_by_path(own: Served, run: Run) -> None:
    record = project("named")
    put(own.client, record)
    client = own.client.as_(run("token", "create", "--project", "named").stdout.strip())
    assert client("GET", "/v1/whoami").json["projects"] == [record.id]


def test_a_token_ends_when_it_was_said(own: Served) -> None:
    with own.tokens() as tokens:
        text, token = tokens.create("test", scopes=["read"], seconds=3600)
    client = own.client.as_(text)
    assert client("GET", "/v1/whoami").status == 200
    assert str(token.expires_at) > datetime.now(UTC).isoformat()
    with closing(sqlite3.connect(own.folder / "state" / "server.db")) as connection, connection:
        connection.execute("UPDATE token SET expires_at = ? WHERE id = ?", (datetime.now(UTC).isoformat(), token.id))
    assert client("GET", "/v1/whoami").status == 401


def test_nothing_secret_is_kept(own: Served, ada: str) -> None:
    token = sign_in(own, ada).json["token"]
    with sqlite3.connect(own.folder / "state" / "server.db") as connection:
        kept = "\n".join(connection.iterdump())
    connection.close()
    for secret in (token, PASSWORD, str(own.token)):
        assert secret not in kept
        assert secret not in (own.folder / "state" / "audit.jsonl").read_text()
        assert secret not in own.log()
    assert "$argon2id$" in kept
    for file in (own.folder / "state").rglob("*"):
        assert file.stat().st_mode & 0o077 == 0, file


def test_the_audit_log_tells_who_did_what(own: Served, ada: str) -> None:
    sign_in(own, ada)
    sign_in(own, ada, "wrong password, surely")
    record = project()
    put(own.client, record)

    def seen() -> set[tuple[object, ...]]:
        lines = [json.loads(line) for line in (own.folder / "state" / "audit.jsonl").read_text().splitlines()]
        return {(line["who"], line["action"], line.get("status"), line.get("id")) for line in lines}

    # Of what a client is told, the line follows.
    wait_for(lambda: ("first", "PUT /v1/{folder}/{id}", 200, record.id) in seen())
    assert seen() >= {
        ("ada", "sign-in", None, None),
        ("nobody", "POST /v1/session", 401, None),
        ("operator", "padre server user add", None, None),
    }


def test_commands_need_a_server_that_was_started(run: Run, tmp_path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", "from padre_core.cli import main; main()", "server", "token", "list", "--state",
         str(tmp_path)], capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert found.returncode == 2
    assert "no server was ever started" in found.stderr


def test_a_user_whose_project_will_not_do_is_not_added(run: Run) -> None:
    words = ("user", "add", "mallory", "--role", "viewer", "--project", "../x", "--password-stdin")
    assert "is no project" in run(*words, stdin=f"{PASSWORD}\n", fails=True).stderr
    assert "mallory" not in run("user", "list").stdout


def test_a_project_without_a_role_is_refused(run: Run) -> None:
    words = ("user", "add", "mallory", "--project", "iris", "--password-stdin")
    assert "--role" in run(*words, stdin=f"{PASSWORD}\n", fails=True).stderr


@pytest.mark.parametrize("name", ["", "two\nlines", " x", "x" * 101])
def test_a_token_has_a_name_that_lists_and_logs_can_show(run: Run, name: str) -> None:
    assert "a token's name" in run("token", "create", "--name", name, fails=True).stderr


def test_the_audit_log_says_what_an_operator_did(run: Run, own: Served) -> None:
    run("token", "create", "--name", "noted", "--scope", "read", "--scope", "write", "--expires", "12h")
    line = json.loads((own.folder / "state" / "audit.jsonl").read_text().splitlines()[-1])
    assert (line["who"], line["action"]) == ("operator", "padre server token create")
    assert (line["name"], line["scope"], line["expires"]) == ("noted", ["read", "write"], "12h")
    assert line["id"] in run("token", "list").stdout
