"""The server's own database: users, tokens, and what is derived for those who may not see everything."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from padre_core import BackendError, UnavailableError
from padre_server.errors import DiskFullError

FORMAT = 1
WAIT_SECONDS = 10

_SCHEMA = """
CREATE TABLE IF NOT EXISTS user (
    name TEXT PRIMARY KEY, password TEXT NOT NULL, created_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS role (
    user TEXT NOT NULL REFERENCES user ON DELETE CASCADE, project TEXT NOT NULL, role TEXT NOT NULL,
    PRIMARY KEY (user, project)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS token (
    id TEXT PRIMARY KEY, hash BLOB NOT NULL UNIQUE, name TEXT NOT NULL,
    user TEXT REFERENCES user ON DELETE CASCADE,
    scopes TEXT NOT NULL, projects TEXT NOT NULL,
    created_at TEXT NOT NULL, expires_at TEXT, revoked_at TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS former (
    hash BLOB PRIMARY KEY, token TEXT NOT NULL REFERENCES token ON DELETE CASCADE, until TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS attempt (who TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS attempt_who ON attempt (who, at);
CREATE TABLE IF NOT EXISTS feed (store TEXT PRIMARY KEY, cursor TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reference (
    target TEXT NOT NULL, source TEXT NOT NULL, project TEXT NOT NULL,
    PRIMARY KEY (target, source, project)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS reference_source ON reference (source);
CREATE INDEX IF NOT EXISTS reference_project ON reference (project);
CREATE TABLE IF NOT EXISTS outside (kind TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS granted (
    target TEXT NOT NULL, subject TEXT NOT NULL, PRIMARY KEY (target, subject)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS granted_subject ON granted (subject);
CREATE TABLE IF NOT EXISTS listing (mark TEXT PRIMARY KEY, ids TEXT NOT NULL, at REAL NOT NULL) WITHOUT ROWID;
"""


class Database:
    """One SQLite file, shared by all processes that serve from one state folder; one connection for each thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch(mode=0o600)
        except OSError as error:
            raise BackendError(f"{path} cannot be made: {error.strerror}; name another folder with --state") from error
        try:
            with self.writing() as connection:
                (found,) = connection.execute("PRAGMA user_version").fetchone()
                if found > FORMAT:
                    raise BackendError(f"{path} was made by a newer padre-server (format {found}): upgrade this one")
                for statement in _SCHEMA.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {FORMAT}")
        except sqlite3.DatabaseError as error:
            self.close()
            raise BackendError(f"{path} cannot be used: {error}; take it from a backup") from error
        except BaseException:
            self.close()
            raise

    def reading(self) -> sqlite3.Connection:
        """This thread's connection; each statement sees what any process has committed."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
        return connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is the only one that writes.

        Raises:
            UnavailableError: Somebody else keeps writing.
            DiskFullError: There is no room; nothing was written.
        """
        connection = self.reading()
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise UnavailableError(f"the server's database is busy: {error}") from error
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException as error:
            if connection.in_transaction:  # some errors end it by themselves
                connection.execute("ROLLBACK")
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL:
                raise DiskFullError("the server's disk is full: nothing was stored") from error
            raise

    def close(self) -> None:
        """Closes the connections of all threads, which must be idle."""
        with self._lock:
            for connection in self._all:
                connection.close()
            self._all.clear()

    def _connect(self) -> sqlite3.Connection:
        # The thread that closes them all is another one.
        connection = sqlite3.connect(self.path, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        with self._lock:
            self._all.append(connection)
        return connection
