"""Keeps PaDRe experiments in one SQLite file, such as `sqlitefile:///data/lab.db`: one row for each key."""

import sqlite3
from contextlib import closing
from typing import Any

from padre_core.backends.bytestore import ABSENT, ByteStore, Entry, IfMatch, Item
from padre_core.backends.capabilities import Capabilities
from padre_core.errors import BackendError, ConflictError, NotFoundError


class SqliteStore(ByteStore):
    capabilities = Capabilities(persistent=True, multi_process=True, conditional_write=True)

    def _run(self, sql: str, *values: object) -> Any:
        try:
            with closing(sqlite3.connect(self.url.partition("://")[2], timeout=60)) as file, file:
                file.execute("CREATE TABLE IF NOT EXISTS items (key TEXT PRIMARY KEY, version TEXT, data BLOB)")
                return file.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise BackendError(f"{self.url}: {error}") from error

    def read(self, key: str) -> Item:
        for data, version in self._run("SELECT data, version FROM items WHERE key = ?", key):
            return Item(data, version)
        raise NotFoundError(f"{self.url} has no {key}")

    def write(self, key: str, data: bytes, *, if_match: IfMatch = None) -> str:
        holds = "?3 OR ?4 IS (SELECT version FROM items WHERE key = ?1)"
        sql = f"REPLACE INTO items SELECT ?1, hex(randomblob(16)), ?2 WHERE {holds} RETURNING version"
        for (version,) in self._run(sql, key, data, if_match is None, None if if_match is ABSENT else if_match):
            return str(version)
        raise ConflictError(f"{key} in {self.url} was changed meanwhile")

    def delete(self, key: str) -> None:
        self._run("DELETE FROM items WHERE key = ?", key)

    def list(self, prefix: str, *, after: str = "") -> Any:
        sql = "SELECT key, version, length(data) FROM items WHERE key > ? AND key GLOB ? || '*' ORDER BY key"
        return (Entry(*row) for row in self._run(sql, after, prefix))
