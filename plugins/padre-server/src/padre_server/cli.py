"""The commands `padre serve` and `padre server`."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import click

from padre_core import InvalidObjectError
from padre_core.cli.terminal import json_option, print_json, print_table
from padre_core.objects.identity import check_name, is_id, object_id
from padre_server.audit import Audit
from padre_server.database import Database
from padre_server.rights import EVERYWHERE, GRANTABLE, ROLES
from padre_server.settings import Limits, Settings, default_state
from padre_server.tokens import Tokens
from padre_server.users import Users

F = TypeVar("F", bound=Callable[..., Any])

_UNITS = {"h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = re.compile(r"(\d{1,6})([hdw])")

_NOTED = ("id", "name", "project", "role", "scope", "expires")
"""The options of commands that the audit log repeats."""


@click.command()
@click.option("--store", metavar="URL", required=True, help="The store to serve, such as file:///data/lab.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8421, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="How many processes.")
@click.option("--tls-cert", metavar="FILE", help="A certificate chain, in PEM.")
@click.option("--tls-key", metavar="FILE", help="Its key, in PEM.")
@click.option("--plain-http", is_flag=True, help="Serve other machines without TLS, as behind a proxy that has it.")
@click.option("--behind-proxy", is_flag=True, help="Believe a proxy on this machine who the client is.")
@click.option(
    "--allow-host", multiple=True, metavar="NAME", help="A name by which clients call the server; repeatable."
)
@click.option("--state", metavar="FOLDER", help="Where users, tokens, audit log and unfinished uploads are kept.")
@click.option("--readonly", is_flag=True, help="Refuse all writes.")
@click.option("--public-metrics", is_flag=True, help="Let this machine read /metrics without a token.")
@click.option("--limit", multiple=True, metavar="NAME=NUMBER", help="Such as uploads=50; repeatable.")
@click.option("--access-log", is_flag=True, help="Log each request.")
def serve(
    store: str,
    host: str,
    port: int,
    workers: int,
    tls_cert: str | None,
    tls_key: str | None,
    plain_http: bool,
    behind_proxy: bool,
    allow_host: tuple[str, ...],
    state: str | None,
    readonly: bool,
    public_metrics: bool,
    limit: tuple[str, ...],
    access_log: bool,
) -> None:
    """Share a store over HTTP. The first start prints a token, once, that may do everything."""
    from padre_server.serve import Listening, run  # the commands that manage users need no server

    settings = Settings(
        store=store,
        state=str(_state(state, store)),
        readonly=readonly,
        hosts=(host, *allow_host),
        public_metrics=public_metrics,
        limits=Limits().changed(limit),
    )
    listening = Listening(
        host, port, workers, tls_cert, tls_key, plain=plain_http, proxied=behind_proxy, access_log=access_log
    )
    run(settings, listening, _tell)


def with_state(function: F) -> F:
    """Gives a command the options that say which server is meant, and the server's database.

    What the command was told, and what it returns, goes into the audit log.
    """

    def command(*arguments: Any, state: str | None, store: str | None, **options: Any) -> Any:
        if state is None and store is None:
            raise click.UsageError("say which server is meant, with --store or --state as it was started")
        folder = _state(state, store or "")
        if not (folder / "server.db").exists():
            raise InvalidObjectError(f"no server was ever started with its state in {folder}")
        database, audit = Database(folder / "server.db"), Audit(folder / "audit.jsonl")
        try:
            made = function(database, *arguments, **options) or {}
            named = {name: value for name, value in options.items() if name in _NOTED and value is not None}
            context = click.get_current_context()
            group = context.parent.info_name if context.parent else ""
            audit.note("operator", f"padre server {group} {context.info_name}", **named, **made)
        finally:
            database.close()
            audit.close()

    command.__doc__, command.__name__ = function.__doc__, function.__name__
    command.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]  # click's own way
    with_store = click.option("--store", metavar="URL", help="The store that the server serves.")(command)
    return click.option("--state", metavar="FOLDER", help="The server's state folder.")(with_store)  # type: ignore[return-value]  # as it was


@click.group()
def server() -> None:
    """Manage the users and tokens of a server, on its machine; changes count at once."""


@server.group()
def user() -> None:
    """Manage users."""


@server.group()
def token() -> None:
    """Manage tokens."""


@user.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(list(ROLES)), help="What the user may do.")
@click.option("--project", help="Where: an id or a name path; by default everywhere.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@with_state
def user_add(database: Database, name: str, role: str | None, project: str | None, password_stdin: bool) -> None:
    """Add a user."""
    if role is None and project is not None:
        raise click.UsageError("say with --role what the user may do in the project")
    place = EVERYWHERE if project is None else project_id(project)
    users = Users(database)
    users.add(name, _password(from_stdin=password_stdin))
    if role is not None:
        users.set_role(name, place, role)


@user.command("list")
@json_option
@with_state
def user_list(database: Database, as_json: bool) -> None:
    """List users and their roles."""
    found = Users(database).all()
    if as_json:
        print_json([asdict(item) for item in found])
        return
    rows = [(item.name, ", ".join(f"{role} in {place}" for place, role in item.roles.items())) for item in found]
    print_table(("name", "roles"), rows)


@user.command("rm")
@click.argument("name")
@with_state
def user_rm(database: Database, name: str) -> None:
    """Remove a user, with all tokens."""
    Users(database).remove(name)


@user.command("password")
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@with_state
def user_password(database: Database, name: str, password_stdin: bool) -> None:
    """Replace a password, and end all sessions of the user."""
    Users(database).set_password(name, _password(from_stdin=password_stdin))


@user.command("role")
@click.argument("name")
@click.argument("role", type=click.Choice([*ROLES, "none"]))
@click.option("--project", default=EVERYWHERE, help="Where: an id or a name path; by default everywhere.")
@with_state
def user_role(database: Database, name: str, role: str, project: str) -> None:
    """Give a user a role in a project, or take it away."""
    Users(database).set_role(name, project_id(project), None if role == "none" else role)


@token.command("create")
@click.option("--name", default="token", show_default=True, help="What it is for, for lists and the audit log.")
@click.option(
    "--scope",
    multiple=True,
    type=click.Choice([scope.value for scope in GRANTABLE]),
    default=("read",),
    help="What it may; repeatable, by default read.",
)
@click.option(
    "--project",
    multiple=True,
    default=(EVERYWHERE,),
    help="Where: an id or a name path; repeatable, by default everywhere.",
)
@click.option("--expires", metavar="DURATION", help="Such as 12h, 30d or 4w; by default never.")
@with_state
def token_create(
    database: Database, name: str, scope: tuple[str, ...], project: tuple[str, ...], expires: str | None
) -> dict[str, str]:
    """Make a token and print it, once."""
    places = [project_id(place) for place in project]
    text, made = Tokens(database).create(name, scopes=scope, projects=places, seconds=_seconds(expires))
    click.echo(text)
    return {"id": made.id}


@token.command("list")
@json_option
@with_state
def token_list(database: Database, as_json: bool) -> None:
    """List tokens: what they may and until when, never themselves."""
    found = Tokens(database).all()
    if as_json:
        print_json([asdict(item) for item in found])
        return
    rows = [
        (
            item.id,
            item.name,
            item.user,
            " ".join(item.scopes),
            " ".join(item.projects),
            item.expires_at,
            item.revoked_at,
        )
        for item in found
    ]
    print_table(("id", "name", "user", "scopes", "projects", "expires", "revoked"), rows)


@token.command("revoke")
@click.argument("id")
@with_state
def token_revoke(database: Database, id: str) -> None:
    """End a token, now."""
    Tokens(database).revoke(id)


@token.command("rotate")
@click.argument("id")
@click.option("--expires", metavar="DURATION", help="Such as 12h, 30d or 4w; by default as before.")
@with_state
def token_rotate(database: Database, id: str, expires: str | None) -> None:
    """Replace the text of a token and print the new one, once; the old one ends now."""
    click.echo(Tokens(database).rotate(id, seconds=_seconds(expires)))


def project_id(text: str) -> str:
    """The id of a project: `*`, an id, or that of the first project of a name path.

    Raises:
        InvalidObjectError: It is none of these.
    """
    if text == EVERYWHERE or is_id(text):
        return text
    parent: str | None = None
    for name in text.split("/"):
        try:
            parent = object_id("project", parent, check_name(name))
        except ValueError as error:
            raise InvalidObjectError(f"{text!r:.80} is no project: {error}") from None
    return str(parent)


def _state(state: str | None, store: str) -> Path:
    return Path(state).absolute() if state is not None else default_state(store)


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    match = _DURATION.fullmatch(text)
    if match is None:
        raise InvalidObjectError(f"{text!r:.40} is no duration: write such as 12h, 30d or 4w")
    return int(match[1]) * _UNITS[match[2]]


def _password(*, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return password


def _tell(line: str) -> None:
    click.echo(line)
    sys.stdout.flush()
