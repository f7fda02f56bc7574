"""The commands `padre login`, `padre logout` and `padre whoami`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from padre_core.cli.terminal import json_option, print_fields, print_json, safe
from padre_core.errors import InvalidObjectError
from padre_http.client import Client
from padre_http.secret import Secret
from padre_http.tokens.file import read_private
from padre_http.tokens.keep import checked
from padre_http.wire.info import Identity

MAX_INPUT = 16_384

url_argument = click.argument("url", metavar="[URL]", required=False)


@click.command()
@url_argument
@click.option("--name", metavar="NAME", help="Your name on the server; its password is asked for.")
@click.option("--with-token", is_flag=True, help="Read a token from standard input instead.")
@click.option("--token-file", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Or from a file.")
@json_option
def login(url: str | None, name: str | None, with_token: bool, token_file: Path | None, as_json: bool) -> None:
    """Sign in to the server at URL (by default $PADRE_URL), with a name and password or with a token made there.

    The token is kept in the system's keyring, or in a file that only you can read.
    """
    if sum([name is not None, with_token, token_file is not None]) > 1:
        raise InvalidObjectError("give one of --name, --with-token and --token-file")
    client = _client(url)
    try:
        client.probe(client.timeout)
        if with_token or token_file is not None:
            identity = client.sign_in_with(_token(token_file))
        else:
            name = name or click.prompt("Name", err=True)
            identity = client.sign_in(name, _password(client.url))
        if as_json:
            print_json({"server": client.url, "user": identity.user})
        else:
            click.echo(f"signed in to {client.url} as {safe(identity.user)}")
    finally:
        client.close()


@click.command()
@url_argument
@json_option
def logout(url: str | None, as_json: bool) -> None:
    """Revoke the token for the server at URL (by default $PADRE_URL), and forget it."""
    client = _client(url)
    try:
        client.sign_out()
        if as_json:
            print_json({"server": client.url})
        else:
            click.echo(f"signed out of {client.url}")
    finally:
        client.close()


@click.command()
@url_argument
@json_option
def whoami(url: str | None, as_json: bool) -> None:
    """Show who you are to the server at URL (by default $PADRE_URL), and what you may do."""
    client = _client(url)
    try:
        identity = client.whoami()
    finally:
        client.close()
    if as_json:
        print_json({"server": client.url, **identity.model_dump()})
    else:
        print_fields(_shown(client.url, identity).items())


def _client(url: str | None) -> Client:
    url = url or os.environ.get("PADRE_URL")
    if not url:
        raise InvalidObjectError("say which server, as an argument or in PADRE_URL, such as https://lab.example.org")
    return Client(url)


def _password(url: str) -> Secret:
    if sys.stdin.isatty():
        return Secret(click.prompt(f"Password for {url}", hide_input=True, err=True))
    return Secret(sys.stdin.readline(MAX_INPUT).rstrip("\r\n"))


def _token(path: Path | None) -> Secret:
    if path is None:
        if sys.stdin.isatty():
            return checked(click.prompt("Token", hide_input=True, err=True))
        return checked(sys.stdin.read(MAX_INPUT))
    try:
        text, _ = read_private(path)
    except FileNotFoundError:
        raise InvalidObjectError(f"there is no file {path}") from None
    return checked(text)


def _shown(url: str, identity: Identity) -> dict[str, str]:
    return {
        "server": url,
        "user": identity.user,
        "scopes": ", ".join(identity.scopes),
        "projects": ", ".join(identity.projects),
        "expires": identity.expires_at or "never",
    }
