"""Users: names, passwords as argon2id, and a role in each project."""

from __future__ import annotations

import functools
import hashlib
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

import argon2

from padre_core import AlreadyExistsError, AuthenticationError, InvalidObjectError, NotFoundError
from padre_server.database import Database
from padre_server.rights import check_label, check_role

SHORTEST = 12
"""Characters that a password must have."""

LONGEST = 1000
ATTEMPTS = 10
"""Failures of one name within the time, and of one client ten times as many: behind a proxy, that may be all."""

ATTEMPT_SECONDS = 300.0

_AT_ONCE = threading.BoundedSemaphore(2)  # each takes 64 MiB and a core
_HASHER = argon2.PasswordHasher()


class TooManyAttemptsError(AuthenticationError):
    """Somebody guesses passwords.

    Attributes:
        seconds: When to try again.
    """

    status: ClassVar[int] = 429

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many failed attempts to sign in: wait {seconds} seconds")
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class User:
    """A user, and the roles by project id or `*`."""

    name: str
    created_at: str
    roles: dict[str, str]


class Users:
    """The users of a server."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, name: str, password: str) -> None:
        """Adds a user, who has no role yet.

        Raises:
            AlreadyExistsError: The name is taken.
            InvalidObjectError: The name or the password will not do.
        """
        check_label(name, "a user's name")
        hashed = _hashed(password)
        with self._database.writing() as connection:
            if connection.execute("SELECT 1 FROM user WHERE name = ?", (name,)).fetchone():
                raise AlreadyExistsError(f"there is a user {name!r} already")
            connection.execute("INSERT INTO user VALUES (?, ?, ?)", (name, hashed, datetime.now(UTC).isoformat()))

    def all(self) -> list[User]:
        """All users by name."""
        connection = self._database.reading()
        users = [User(name, at, {}) for name, at in connection.execute("SELECT name, created_at FROM user ORDER BY 1")]
        roles = {user.name: user.roles for user in users}
        for name, project, role in connection.execute("SELECT user, project, role FROM role ORDER BY 1, 2"):
            if name in roles:
                roles[name][project] = role
        return users

    def remove(self, name: str) -> None:
        """Removes a user, with roles and tokens.

        Raises:
            NotFoundError: There is no such user.
        """
        with self._database.writing() as connection:
            if not connection.execute("DELETE FROM user WHERE name = ?", (name,)).rowcount:
                raise _unknown(name)

    def set_password(self, name: str, password: str) -> None:
        """Replaces a password, and ends all sessions of the user.

        Raises:
            NotFoundError: There is no such user.
        """
        hashed = _hashed(password)
        with self._database.writing() as connection:
            if not connection.execute("UPDATE user SET password = ? WHERE name = ?", (hashed, name)).rowcount:
                raise _unknown(name)
            connection.execute("DELETE FROM token WHERE user = ?", (name,))

    def set_role(self, name: str, project: str, role: str | None) -> None:
        """Gives a user a role in a project (`*` for all), or takes it away (None). It counts at once.

        Raises:
            NotFoundError: There is no such user.
        """
        with self._database.writing() as connection:
            if not connection.execute("SELECT 1 FROM user WHERE name = ?", (name,)).fetchone():
                raise _unknown(name)
            connection.execute("DELETE FROM role WHERE user = ? AND project = ?", (name, project))
            if role is not None:
                connection.execute("INSERT INTO role VALUES (?, ?, ?)", (name, project, check_role(role)))

    def check_password(self, name: str, password: str, client: str) -> None:
        """Checks a password; unknown users take as long as known ones.

        Args:
            client: Where the attempt comes from; too many failures from there, or for that name, end in a wait.

        Raises:
            AuthenticationError: It is not the password of such a user.
            TooManyAttemptsError: There were too many failures of late.
        """
        keys = [f"name:{hashlib.sha256(name.encode(errors='replace')).hexdigest()}", f"client:{client}"]
        self._check_attempts(keys[0], ATTEMPTS)
        self._check_attempts(keys[1], 10 * ATTEMPTS)
        query = "SELECT password FROM user WHERE name = ?"
        row = self._database.reading().execute(query, (name,)).fetchone() if name.isprintable() else None
        if _verified(row[0] if row else _nobody(), password) and row is not None:
            return
        now = time.time()
        with self._database.writing() as connection:
            connection.execute("DELETE FROM attempt WHERE at < ?", (now - ATTEMPT_SECONDS,))
            connection.executemany("INSERT INTO attempt VALUES (?, ?)", [(key, now) for key in keys])
        raise AuthenticationError("the name or the password is wrong")

    def _check_attempts(self, key: str, most: int) -> None:
        now = time.time()
        count, oldest = (
            self._database.reading()
            .execute("SELECT count(*), min(at) FROM attempt WHERE who = ? AND at >= ?", (key, now - ATTEMPT_SECONDS))
            .fetchone()
        )
        if count >= most:
            raise TooManyAttemptsError(max(1, int(oldest + ATTEMPT_SECONDS - now)))


def _hashed(password: str) -> str:
    if not SHORTEST <= len(password) <= LONGEST:
        raise InvalidObjectError(f"a password has {SHORTEST} to {LONGEST} characters")
    with _AT_ONCE:
        return _HASHER.hash(password)


def _verified(hashed: str, password: str) -> bool:
    if len(password) > LONGEST:
        return False
    with _AT_ONCE:
        try:
            return _HASHER.verify(hashed, password)
        except argon2.exceptions.VerificationError:
            return False


@functools.cache
def _nobody() -> str:
    """A hash that no password has, so that an unknown name takes as long as a known one."""
    return _HASHER.hash(hashlib.sha256().hexdigest())


def _unknown(name: str) -> NotFoundError:
    return NotFoundError(f"there is no user {name!r:.120}")
