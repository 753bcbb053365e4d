"""Opening a SQLite database so that a commit means: on disk.

Rule 1: WAL and synchronous=FULL are set and then read back; a database that does not take them is refused.
Rule 2: apsw brings its own SQLite (3.51.3 or newer is demanded): the standard library's may have the
        WAL-reset corruption bug (3.7.0 to 3.51.2, sqlite.org/wal.html#walresetbug).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import apsw

from aegis_gateway.adapters.queries import migrations
from aegis_gateway.domain.errors import StoreError, StoreNotMade

PACKAGE = "aegis_gateway.adapters.sqlite"

_FIRST_SAFE_VERSION = 3_051_003
_BUSY_MS = 5_000
_CACHE_KIB = 8 * 1024
_LEDGER_CACHE_KIB = 64 * 1024
"""The ledger's one connection. Others are many (a job, a page each have theirs), read little and seldom the same."""


def connect(path: Path, *, read_only: bool = False) -> apsw.Connection:
    """Open the database file; a writable one is created, asserted durable, and brought to the newest schema.

    Raises:
        StoreError: the file cannot be opened, is not durable, or has a schema of another version.
    """
    if apsw.SQLITE_VERSION_NUMBER < _FIRST_SAFE_VERSION:
        raise StoreError(f"sqlite {apsw.sqlite_lib_version()} can corrupt a WAL database; update apsw")
    if read_only and not path.exists():
        raise StoreNotMade(
            f"there is no store at `{path}` yet; `aegis apply DIR` makes it, --store URL names another"
        )
    flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    try:
        if not read_only:
            path.parent.mkdir(parents=True, exist_ok=True)
            _create_private(path)
        connection = apsw.Connection(str(path), flags=flags)
        connection.set_busy_timeout(_BUSY_MS)
        if not read_only:
            _make_durable(connection)
            _migrate(connection)
        _check_schema(connection)
    except apsw.CantOpenError as fault:
        raise StoreError(f"cannot open `{path}`: {fault}; is it there, and may you read it?") from fault
    except apsw.Error as fault:
        raise StoreError(f"cannot use `{path}`: {fault}") from fault
    return connection


def give_memory(connection: apsw.Connection) -> None:
    """Let a connection keep as much of the database in memory as the ledger's does."""
    connection.execute(f"pragma cache_size=-{_LEDGER_CACHE_KIB}")


def _create_private(path: Path) -> None:
    """Make the file readable by its owner only, before anything is written to it."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _make_durable(connection: apsw.Connection) -> None:
    connection.execute("pragma journal_mode=wal")
    connection.execute("pragma synchronous=full")
    connection.execute("pragma foreign_keys=on")
    connection.execute(f"pragma cache_size=-{_CACHE_KIB}")
    connection.execute(
        "pragma wal_autocheckpoint=0"
    )  # checkpoints run between batches, never inside a commit
    mode = connection.execute("pragma journal_mode").fetchone()
    synchronous = connection.execute("pragma synchronous").fetchone()
    if mode != ("wal",) or synchronous != (2,):
        raise StoreError(f"the database is not durable: journal_mode={mode}, synchronous={synchronous}")


def _migrate(connection: apsw.Connection) -> None:
    connection.execute(
        "create table if not exists schema_migration ("
        "version integer primary key, name text not null, sha256 text not null) strict"
    )
    connection.execute("begin immediate")
    with connection:  # a savepoint inside the transaction: all of a migration or none of it
        applied = _applied(connection)
        for migration in migrations(PACKAGE):
            if migration.version not in applied:
                connection.execute(migration.sql)
                connection.execute(
                    "insert into schema_migration (version, name, sha256) values (?, ?, ?)",
                    (migration.version, migration.name, migration.sha256),
                )
    connection.execute("commit")


def _check_schema(connection: apsw.Connection) -> None:
    applied = _applied(connection)
    ours = {migration.version: migration.sha256 for migration in migrations(PACKAGE)}
    if applied != ours:
        raise StoreError("the database's schema is of another version of Aegis; use the version that made it")


def _applied(connection: apsw.Connection) -> dict[Any, Any]:
    """Checksums of the migrations that were applied, by version."""
    rows: list[Any] = connection.execute("select version, sha256 from schema_migration").fetchall()
    return dict(rows)
