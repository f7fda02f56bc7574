"""Tokens: 256 bits of chance, of which only the sha-256 is kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from padre_core import AuthenticationError, InvalidObjectError, NotFoundError
from padre_server.database import Database
from padre_server.rights import EVERYWHERE, GRANTABLE, ROLES, Caller, Scope, check_label, check_scopes

PREFIX = "padre_"
_INSERT = "INSERT INTO token VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SELECT = "SELECT id, hash, name, user, scopes, projects, created_at, expires_at, revoked_at FROM token"
_SELECT_FORMER = (
    "SELECT id, former.hash, name, user, scopes, projects, created_at, until, revoked_at"
    " FROM former JOIN token ON token.id = former.token WHERE former.hash = ?"
)

GRACE_SECONDS = 120
"""How long a text stays valid after its holder replaced it: the answer with the new one may be lost on its way."""


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token; never the token itself.

    Attributes:
        user: Whose it is; None for one that stands for itself, such as that of a training cluster.
        scopes: What it may; for a user's token what the user may as well.
        projects: Ids of projects, or `*`.
    """

    id: str
    name: str
    user: str | None
    scopes: tuple[Scope, ...]
    projects: tuple[str, ...]
    created_at: str
    expires_at: str | None
    revoked_at: str | None

    @property
    def subject(self) -> str:
        """Under which name it is noted what its holder may see."""
        return f"user:{self.user}" if self.user else f"token:{self.id}"


class Tokens:
    """The tokens of a server. Each look-up reads the database, so that a revocation counts at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        name: str,
        *,
        scopes: Iterable[str],
        projects: Sequence[str] = (EVERYWHERE,),
        user: str | None = None,
        seconds: float | None = None,
    ) -> tuple[str, Token]:
        """Makes a token; the text of it is nowhere else.

        Args:
            seconds: How long it is valid; None for ever.
        """
        check_label(name, "a token's name")
        chosen, secret, now = check_scopes(scopes), _secret(), _now()
        if not projects:
            raise InvalidObjectError("a token needs a project, or * for all")
        token = Token(
            secrets.token_hex(8), name, user, chosen, tuple(projects), now, _later(seconds), None
        )  # fmt: skip
        with self._database.writing() as connection:
            # Sessions come and go; what an operator made stays in the list.
            connection.execute("DELETE FROM token WHERE user IS NOT NULL AND expires_at < ?", (now,))
            connection.execute(_INSERT, _row(token, secret))
        return secret, token

    def first(self) -> str | None:
        """Makes the token of a server's first start, which may do everything; None if there is or was one."""
        secret = _secret()
        token = Token(secrets.token_hex(8), "first", None, GRANTABLE, (EVERYWHERE,), _now(), None, None)
        with self._database.writing() as connection:
            if connection.execute("SELECT 1 FROM token UNION ALL SELECT 1 FROM user LIMIT 1").fetchone():
                return None
            connection.execute(_INSERT, _row(token, secret))
        return secret

    def caller(self, text: str) -> Caller:
        """Who holds a token, and what he may now.

        Raises:
            AuthenticationError: It is unknown, expired or revoked; which of these is not told.
        """
        hashed = _hash(text)
        connection = self._database.reading()
        row = connection.execute(f"{_SELECT} WHERE hash = ?", (hashed,)).fetchone()
        row = row or connection.execute(_SELECT_FORMER, (hashed,)).fetchone()
        if row is None or not hmac.compare_digest(row[1], hashed):
            raise refused()
        token = _token(row)
        if token.revoked_at is not None or (token.expires_at is not None and token.expires_at <= _now()):
            raise refused()
        rights = _own_rights(token) if token.user is None else _users_rights(token, connection)
        return Caller(token.user or token.name, token.subject, token.id, token.expires_at, rights)

    def all(self) -> list[Token]:
        """All tokens, oldest first."""
        rows = self._database.reading().execute(f"{_SELECT} ORDER BY created_at, id")
        return [_token(row) for row in rows]

    def revoke(self, id: str) -> None:
        """Ends a token now.

        Raises:
            NotFoundError: There is no such token.
        """
        with self._database.writing() as connection:
            changed = connection.execute(
                "UPDATE token SET revoked_at = coalesce(revoked_at, ?) WHERE id = ?", (_now(), id)
            ).rowcount
        if not changed:
            raise NotFoundError(f"there is no token {id!r:.40}")

    def rotate(self, id: str, *, seconds: float | None = None, grace: float = 0) -> str:
        """Replaces the text of a living token.

        Args:
            seconds: How long the new one is valid; None leaves the end as it is.
            grace: For how many seconds the old ones stay valid, unless they end before; 0 ends them now.

        Raises:
            NotFoundError: There is no such token, or it was revoked.
        """
        secret, now, until = _secret(), _now(), _later(grace)
        with self._database.writing() as connection:
            connection.execute("DELETE FROM former WHERE until < ? OR (token = ? AND ? <= 0)", (now, id, grace))
            if grace > 0:
                connection.execute(
                    "INSERT INTO former SELECT hash, id, min(?, coalesce(expires_at, ?)) FROM token WHERE id = ?",
                    (until, until, id),
                )
            changed = connection.execute(
                "UPDATE token SET hash = ?, expires_at = coalesce(?, expires_at) WHERE id = ? AND revoked_at IS NULL",
                (_hash(secret), _later(seconds), id),
            ).rowcount
        if not changed:
            raise NotFoundError(f"there is no valid token {id!r:.40}")
        return secret


def refused() -> AuthenticationError:
    """The one answer to every token that is not valid."""
    return AuthenticationError("the token is not valid here: sign in again, or ask for a new token")


def _own_rights(token: Token) -> dict[str, frozenset[Scope]]:
    return dict.fromkeys(token.projects, frozenset(token.scopes))


def _users_rights(token: Token, connection: sqlite3.Connection) -> dict[str, frozenset[Scope]]:
    """What a user's roles and the token both allow."""
    roles = connection.execute("SELECT project, role FROM role WHERE user = ?", (token.user,)).fetchall()
    held = {project: ROLES[role] & set(token.scopes) for project, role in roles}
    if EVERYWHERE in token.projects:
        return held
    broad = held.get(EVERYWHERE, frozenset())
    return {project: held.get(project, frozenset()) | broad for project in token.projects}


def _secret() -> str:
    return PREFIX + secrets.token_urlsafe(32)


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="replace")).digest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _later(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="microseconds")


def _row(token: Token, secret: str) -> tuple[object, ...]:
    return (
        token.id, _hash(secret), token.name, token.user, " ".join(token.scopes), " ".join(token.projects),
        token.created_at, token.expires_at, token.revoked_at,
    )  # fmt: skip


def _token(row: Sequence[str]) -> Token:
    id, _, name, user, scopes, projects, created_at, expires_at, revoked_at = row
    chosen = tuple(Scope(scope) for scope in scopes.split())
    return Token(id, name, user, chosen, tuple(projects.split()), created_at, expires_at, revoked_at)
