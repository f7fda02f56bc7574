"""The file of an index: its tables, and how it is opened or thrown away."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from padre_core.query.evaluator import wildcard
from padre_core.query.model import Scalar
from padre_core.streams.filesystems import datasync, is_local

VERSION = 3

SMALL = 4 * 1024 * 1024
"""Up to how many bytes an index is not synced, but made again from its store after the machine was started anew."""

# Columns without a type keep and compare what they are given: see `index_conditions`.
_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE source (name TEXT PRIMARY KEY, offset INTEGER) WITHOUT ROWID;

-- Records in the order in which they came: the change feed.
CREATE TABLE head (seq INTEGER PRIMARY KEY, kind TEXT, id BLOB, etag TEXT, line BLOB);
CREATE TABLE object (
    id BLOB, kind TEXT, seq INTEGER, version INTEGER, scope INTEGER, deleted INTEGER, stamp TEXT,
    created_at, updated_at, created_by, updated_by, PRIMARY KEY (id, kind)
) WITHOUT ROWID;
CREATE INDEX object_created ON object (kind, created_at, id, deleted, scope, seq);
CREATE INDEX object_scope ON object (scope, created_at, id, deleted, seq);
CREATE INDEX object_deleted ON object (kind) WHERE deleted = 1;

-- Where in the tree objects of a kind are: each distinct list of ancestors, and how many of these are deleted.
CREATE TABLE scope (num INTEGER PRIMARY KEY, kind TEXT, ancestors TEXT, gone INTEGER, UNIQUE (kind, ancestors));
CREATE INDEX scope_gone ON scope (kind) WHERE gone > 0;
CREATE TABLE within (ancestor BLOB, kind TEXT, scope INTEGER, PRIMARY KEY (ancestor, kind, scope)) WITHOUT ROWID;

-- What filters see, by the number of the field.
CREATE TABLE key (num INTEGER PRIMARY KEY, kind TEXT, path TEXT, UNIQUE (kind, path));
CREATE TABLE value (key INTEGER, id BLOB, value, PRIMARY KEY (key, id)) WITHOUT ROWID;
CREATE INDEX value_order ON value (key, value, id);
CREATE TABLE metric (key INTEGER, id BLOB, last, min, max, mean, first, count, PRIMARY KEY (key, id)) WITHOUT ROWID;
CREATE INDEX metric_last ON metric (key, last, id);

-- Summaries of runs whose records did not come yet.
CREATE TABLE early (run BLOB PRIMARY KEY, summaries TEXT, evicted INTEGER) WITHOUT ROWID;

-- Objects that were evicted: older records of them, which other sources may still bring, count no more.
CREATE TABLE evicted (id BLOB, kind TEXT, version INTEGER, stamp TEXT, PRIMARY KEY (id, kind)) WITHOUT ROWID;
"""
TABLES = ("source", "head", "object", "scope", "within", "key", "value", "metric", "early", "evicted")

TRUE = b"\x01"

_BUSY_SECONDS = 30.0
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class OtherVersionError(Exception):
    """The file was made by another version of PaDRe, or by something else."""


def open_file(path: Path | None, *, damaged: int | None = None) -> sqlite3.Connection:
    """A connection to an index of this version, which is empty if there was none; None as path keeps it in memory.

    Args:
        damaged: The inode of the file that was found to be damaged.
    """
    if path is None:
        return _connect(":memory:")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(path):  # for the parts of one database must not be mixed up with those of the next
        if inode(path) != damaged or damaged is None:
            try:
                return _connect(path)
            except (sqlite3.DatabaseError, OtherVersionError) as error:
                if isinstance(error, sqlite3.DatabaseError) and not is_damage(error):
                    raise
        for suffix in ("", "-wal", "-shm", "-journal"):
            path.with_name(f"{path.name}{suffix}").unlink(missing_ok=True)
        return _connect(path)


def close_file(connection: sqlite3.Connection, path: Path | None) -> None:
    """Closes an index. One that is small need not reach the disk; one that is not gets there, and is marked no more."""
    with contextlib.closing(connection), contextlib.suppress(sqlite3.Error, OSError):
        if path is None or _start_of(connection) is None:
            return
        with _alone(path):
            if _size(connection) <= SMALL:
                connection.execute("PRAGMA synchronous = OFF")
            else:
                _settle(connection, path)
            connection.close()  # which brings all into the file, if nobody else has it open


def _settle(connection: sqlite3.Connection, path: Path) -> None:
    """Takes the mark from an index once all that is in it is on the disk."""
    _, written, brought = connection.execute("PRAGMA wal_checkpoint").fetchone()
    if written != brought:  # somebody reads what was before: the next who closes it does it
        return
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        datasync(fd)
    finally:
        os.close(fd)
    connection.execute("DELETE FROM meta WHERE name = 'start'")


def _size(connection: sqlite3.Connection) -> int:
    pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    return int(pages * size)


def _start_of(connection: sqlite3.Connection) -> str | None:
    """During which start of the machine an index was made that was not synced yet; None for all others."""
    row = connection.execute("SELECT value FROM meta WHERE name = 'start'").fetchone()
    return None if row is None else str(row[0])


def _may_be_marked(path: Path | str) -> bool:
    """Whether what lies in a folder can be lost by a new start of this machine only."""
    return isinstance(path, Path) and machine_start() != "" and is_local(path.parent)


@functools.cache
def machine_start() -> str:
    """Names the present start of the machine; empty where the system does not."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """While held, nobody else opens or closes an index."""
    with open(path.with_name(f"{path.name}.lock"), "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def inode(path: Path | None) -> int | None:
    """What tells the file from one that took its place."""
    try:
        return path.stat().st_ino if path else None
    except FileNotFoundError:
        return None


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error says that the file is no sound database."""
    return error_code(error) in _DAMAGED


def error_code(error: sqlite3.Error) -> int:
    """SQLite's number for an error; 0 if the error is Python's."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _connect(path: Path | str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        connection.create_function("id_text", 1, unpack, deterministic=True)
        connection.create_function("wildcard", 2, _wildcard, deterministic=True)
        for setting in ("trusted_schema = OFF", "cell_size_check = ON", "temp_store = MEMORY", "cache_size = -64000"):
            connection.execute(f"PRAGMA {setting}")
        # What a loss of power leaves of a file that was just made is no database, and thrown away.
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = WAL")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0 and not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            # In one transaction: whoever is killed here leaves an index or none.
            mark = f", ('start', '{machine_start()}')" if _may_be_marked(path) else ""
            meta = f"INSERT INTO meta VALUES ('id', '{secrets.token_hex(8)}'), ('seq', 0){mark};"  # noqa: S608  # hex digits
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} {meta} PRAGMA user_version = {VERSION}; COMMIT;")
        elif version != VERSION or _start_of(connection) not in (None, machine_start()):
            raise OtherVersionError
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _wildcard(pattern: str, text: object) -> bool:
    return isinstance(text, str) and wildcard(pattern, text)


def pack(id: str) -> bytes:
    """An id as the index keeps it: 16 or 24 bytes, in the order of the texts."""
    return bytes.fromhex(id.replace("-", ""))


def unpack(data: bytes) -> str:
    """The id of such bytes."""
    text = data.hex()
    parts = (text[:8], text[8:12], text[12:16], text[16:20], text[20:32], text[32:])
    return "-".join(part for part in parts if part)


def stored(value: Scalar) -> str | int | float | bytes:
    """A value as the index keeps it: bools are blobs, NaN becomes NULL by itself."""
    return (TRUE if value else b"\x00") if isinstance(value, bool) else value
