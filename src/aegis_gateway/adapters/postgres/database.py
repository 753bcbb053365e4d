"""Connecting to PostgreSQL so that a commit means: on disk.

Rule 1: `synchronous_commit` is set and read back, `fsync` is read: a server that is not durable is refused.
Rule 2: no gateway waits long for another: the server ends locks, statements and idle transactions in time.
Rule 3: a password is never repeated, whatever the server or the driver says about it.

The connection must be a session of its own (no pooler between that shares it by transaction): the advisory
lock that says whose calls are still being looked after lives in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow

from aegis_gateway.adapters.queries import migrations
from aegis_gateway.domain.errors import StoreError, StoreNotMade

PACKAGE = "aegis_gateway.adapters.postgres"

Connection = psycopg.Connection[TupleRow]

_MIGRATION_LOCK = (0x61656769, 1)
"""`aegi`, and the first of the things that are locked under it."""

_DEFAULTS = {
    "application_name": "aegis",
    "connect_timeout": "3",
    # A server that is cut off, rather than down, is noticed within seconds.
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}

_SETTINGS = {
    "synchronous_commit": "on",
    "lock_timeout": "1s",
    "idle_in_transaction_session_timeout": "1s",
    "statement_timeout": "3s",
    # Everything on the hot path is found by key. A plan made while a table was small must not scan it when it
    # has grown: plans are made once, for any parameters, and look up row by row.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "client_min_messages": "warning",
}

_SETTINGS_FROM_17 = {
    # Also where the server waits for the rest of a pipeline, which it doesn't take for an idle transaction.
    "transaction_timeout": "5s",
}

_READER_SETTINGS = {
    "default_transaction_read_only": "on",
    "idle_in_transaction_session_timeout": "60s",
    "statement_timeout": "60s",
}


def connect(dsn: str, *, read_only: bool = False) -> Connection:
    """Open a session; a writing one is asserted durable, and its database brought to the newest schema.

    Raises:
        StoreError: the server cannot be reached, is not durable, or its schema is of another version.
    """
    parameters = _parameters(dsn, read_only=read_only)
    with _as_store_error(parameters):
        connection: Connection = psycopg.connect(make_conninfo("", **parameters), autocommit=True)
    try:
        with _as_store_error(parameters):
            _set(connection, _READER_SETTINGS if read_only else _SETTINGS)
            if not read_only:
                if connection.info.server_version >= 170000:
                    _set(connection, _SETTINGS_FROM_17)
                _assert_durable(connection)
                _migrate(connection)
            _check_schema(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def reason(fault: BaseException, *secrets: str) -> str:
    """A driver's or server's words on one line, without details (they repeat data) and without secrets."""
    if isinstance(fault, psycopg.errors.UntranslatableCharacter):
        return "it has a NUL character in a text, which PostgreSQL cannot hold"
    diagnosis = fault.diag.message_primary if isinstance(fault, psycopg.Error) else None
    words = (diagnosis or str(fault).partition("\n")[0]).strip() or "no reason given"
    for secret in secrets:
        words = words.replace(secret, "…")
    return words


def secrets_of(dsn: str) -> tuple[str, ...]:
    """What of a connection string must never be repeated."""
    return _secrets(_parameters(dsn))


def _parameters(dsn: str, *, read_only: bool = False) -> dict[str, str]:
    try:
        given = conninfo_to_dict(dsn)
    except psycopg.Error:
        # Without the driver's words and without the fault behind them: both repeat what was given.
        raise StoreError(
            "the address of the PostgreSQL database cannot be read; "
            "write postgresql://user@host:5432/database, with %40 for an @ in the password"
        ) from None
    defaults = _DEFAULTS if read_only else {**_DEFAULTS, "target_session_attrs": "read-write"}
    return {**defaults, **{name: str(value) for name, value in given.items()}}


def _secrets(parameters: dict[str, str]) -> tuple[str, ...]:
    return tuple(value for name, value in parameters.items() if name.endswith("password") and value)


@contextmanager
def _as_store_error(parameters: dict[str, str]) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as fault:
        name = parameters.get("dbname", "")
        words = reason(fault, *_secrets(parameters))
        raise StoreError(f"cannot use the PostgreSQL database `{name}`: {words}") from None


def _set(connection: Connection, settings: dict[str, str]) -> None:
    for name, value in settings.items():
        connection.execute("select set_config(%s, %s, false)", (name, value))


def _assert_durable(connection: Connection) -> None:
    row = connection.execute(
        "select current_setting('fsync'), current_setting('synchronous_commit')"
    ).fetchone()
    if row != ("on", "on"):
        raise StoreError(
            f"the database is not durable: fsync and synchronous_commit are {row}; both must be on"
        )


def _migrate(connection: Connection) -> None:
    """Bring the schema up to date: all missing migrations or none, by one gateway at a time."""
    if _applied(connection) == _ours():
        return
    with connection.transaction():
        connection.execute("set local lock_timeout = '60s'")
        connection.execute("set local statement_timeout = 0")
        if connection.info.server_version >= 170000:
            connection.execute("set local transaction_timeout = 0")
        connection.execute("select pg_advisory_xact_lock(%s, %s)", _MIGRATION_LOCK)
        connection.execute(
            "create table if not exists schema_migration ("
            "version bigint primary key, name text not null, sha256 text not null)"
        )
        applied = _applied(connection)
        for migration in migrations(PACKAGE):
            if migration.version not in applied:
                connection.execute(migration.sql.encode())
                connection.execute(
                    "insert into schema_migration (version, name, sha256) values (%s, %s, %s)",
                    (migration.version, migration.name, migration.sha256),
                )


def _check_schema(connection: Connection) -> None:
    applied = _applied(connection)
    if not applied:
        name = connection.info.dbname
        raise StoreNotMade(
            f"there is nothing in the PostgreSQL database `{name}` yet; `aegis apply DIR` fills it"
        )
    if applied != _ours():
        raise StoreError("the database's schema is of another version of Aegis; use the version that made it")


def _applied(connection: Connection) -> dict[int, str]:
    """Checksums of the migrations that were applied, by version; none where there is no such table."""
    if connection.execute("select to_regclass('schema_migration')").fetchone() == (None,):
        return {}
    return dict(connection.execute("select version, sha256 from schema_migration").fetchall())


def _ours() -> dict[int, str]:
    return {migration.version: migration.sha256 for migration in migrations(PACKAGE)}
