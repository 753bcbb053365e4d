"""Every store, one suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import Store
from tests.ledgers import Database, TurnableClock, create_tenants, postgres_database, sqlite_database
from tests.servers import PostgresServer


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.xdist_group("postgres"))])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database of each kind with nothing in it; that a server's is made of an empty one is shown elsewhere."""
    if request.param == "sqlite":
        with sqlite_database(tmp_path) as database:
            yield database
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.made_database()
        with postgres_database(url) as database:
            yield database
        server.drop_database(url)


@pytest.fixture
def clock() -> TurnableClock:
    """A clock that stands at noon until it is turned."""
    return TurnableClock()


@pytest.fixture
def store(database: Database, clock: TurnableClock) -> Store:
    """A store that keeps the ledger, with the tenants `acme` and `zeta`."""
    store = database.open(clock)
    create_tenants(store, "acme", "zeta")
    return store


@pytest.fixture
def ledger(store: Store) -> Ledger:
    """The ledger on that store."""
    return Ledger(store)


@pytest.fixture
def reader(database: Database, store: Store, clock: TurnableClock) -> Store:
    """A second connection to the same database, which sees what was committed."""
    return database.open(clock, read_only=True)
