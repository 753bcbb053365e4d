"""Opening stores, keeping the ledger, and losing what it is kept with."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from aegis_gateway.adapters.postgres.database import PACKAGE, connect
from aegis_gateway.adapters.queries import named_queries
from aegis_gateway.adapters.stores import open_store
from aegis_gateway.application.commands import Admitted, Failed, Moved, Settle
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import Changes, Store
from aegis_gateway.domain.errors import LedgerUnavailable, StoreError
from aegis_gateway.domain.rate import Turns
from tests.ledgers import Database, TurnableClock, admission, cost, create_tenants, postgres_database

KEEPER = """
import sys
from aegis_gateway.adapters.stores import open_store
from aegis_gateway.application.ledger import Ledger
from tests.ledgers import TurnableClock, admission

store = open_store(sys.argv[1], TurnableClock())
store.keep_ledger()
Ledger(store).process([admission("sent"), admission("waiting", reserve_for_ns=10**9)])
print("sent", flush=True)
sys.stdin.read()
"""
"""A gateway that sends a call and then hears nothing more."""


def eventually(condition: Callable[[], bool]) -> None:
    """Ask again and again until something is so; ten seconds are an age."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be so"


def state_of(store: Store, call: str) -> str:
    """A call's state, as anybody reads it."""
    (row,) = store.query("select state from call where call = ?", (call,))
    return str(row["state"])


@pytest.fixture
def keeper(database: Database, clock: TurnableClock) -> Iterator[subprocess.Popen[str]]:
    """Another process that keeps the ledger and has sent a call."""
    create_tenants(database.open(clock, keep=False), "acme")
    with subprocess.Popen(
        [sys.executable, "-c", KEEPER, database.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdout is not None
        assert "sent\n" == process.stdout.readline()
        yield process
        process.kill()


class TestKeepers:
    """Who keeps the ledger, and what becomes of the calls of those that are gone."""

    def test_a_second_keeper(self, database: Database, store: Store, clock: TurnableClock) -> None:
        """SQLite bears one keeper and says so; PostgreSQL any number, under names of their own."""
        second = database.open(clock, keep=False)
        if database.kind == "sqlite":
            with pytest.raises(StoreError, match="another gateway keeps the ledger"):
                second.keep_ledger()
        else:
            second.keep_ledger()
            assert second.boot != store.boot

    def test_calls_of_a_killed_keeper_are_put_in_doubt(
        self, keeper: subprocess.Popen[str], database: Database, clock: TurnableClock
    ) -> None:
        """Not before it is gone; what was dispatched keeps counting, and a late settlement is legal."""
        store = database.open(clock, keep=False)
        if database.kind == "postgres":
            store.keep_ledger()
            assert [] == store.orphans(10)
        keeper.kill()
        keeper.wait()
        if database.kind == "sqlite":
            store.keep_ledger()
        eventually(lambda: [("acme", "sent")] == store.orphans(10))
        ledger = Ledger(store)
        assert 1 == ledger.sweep()
        assert ["in_doubt", "reserved"] == [state_of(store, call) for call in ("sent", "waiting")]
        assert [{"pending": 200}] == store.query("select pending from standing")
        (reply,) = ledger.process([Settle(call="sent", tenant="acme", evidence=cost(60))])
        assert isinstance(reply, Moved)
        assert [{"pending": 100, "posted": 60}] == store.query("select pending, posted from standing")

    def test_a_keepers_own_calls_are_no_orphans(self, store: Store, ledger: Ledger) -> None:
        """For as long as it lives."""
        ledger.process([admission("sent")])
        assert [] == store.orphans(10)
        assert 0 == ledger.sweep()

    def test_a_restart_puts_calls_in_doubt(
        self, database: Database, store: Store, ledger: Ledger, clock: TurnableClock
    ) -> None:
        """Whoever keeps the ledger after a restart does not know what became of what was sent."""
        ledger.process([admission("sent")])
        store.close()
        again = database.open(clock)
        eventually(lambda: [("acme", "sent")] == again.orphans(10))
        Ledger(again).sweep()
        assert "in_doubt" == state_of(again, "sent")
        assert [{"pending": 100}] == again.query("select pending from standing")


class TestOpening:
    """What is opened is what was asked for, or nothing."""

    def test_a_schema_of_another_version_is_refused(
        self, database: Database, store: Store, clock: TurnableClock
    ) -> None:
        """One that has more than ours, and one that has been changed since; for readers too."""
        database.execute("insert into schema_migration (version, name, sha256) values (9999, 'later', 'x')")
        for read_only in (False, True):
            with pytest.raises(StoreError, match="of another version"):
                open_store(database.url, clock, read_only=read_only)
        database.execute("delete from schema_migration where version = 9999")
        database.execute("update schema_migration set sha256 = 'x'")
        with pytest.raises(StoreError, match="of another version"):
            open_store(database.url, clock)

    def test_a_reader_changes_nothing(self, store: Store, reader: Store) -> None:
        """It sees what is committed and can't write."""
        assert {"acme": 1, "zeta": 1} == reader.epochs()
        with pytest.raises(LedgerUnavailable), reader.change(["acme"]) as change:
            change.create_tenant("new")
        assert {"acme": 1, "zeta": 1} == store.epochs()

    def test_a_closed_store_is_unavailable(self, store: Store, ledger: Ledger) -> None:
        """Nothing can be made durable with it, and nothing is."""
        store.close()
        (reply,) = ledger.process([admission("c1")])
        assert isinstance(reply, Failed)
        assert "unavailable" == reply.kind

    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("aegis.db", "`aegis.db` names no store; write sqlite:PATH, or postgresql://USER@HOST/DATABASE"),
            ("u:hunter2@db/aegis", "`u:` is no store"),
            ("mysql://u:hunter2@db/aegis", "`mysql:` is no store that Aegis knows; write sqlite:PATH"),
            ("postgresql:aegis", "`postgresql:` needs two slashes; write postgresql://USER@HOST/DATABASE"),
            ("sqlite:", "`sqlite:` names no file; write sqlite:PATH, as in sqlite:aegis.db"),
            (
                "sqlite://data/aegis.db",
                "write sqlite:data/aegis.db, or sqlite:///data/aegis.db from the root",
            ),
            ("postgresql://u:hunter2@127.0.0.1:1/aegis", "cannot use the PostgreSQL database `aegis`: "),
            ("postgresql://u:hunter2@127.0.0.1:port/aegis", "cannot use the PostgreSQL database `aegis`: "),
            (
                "postgresql://u:hunter2@127.0.0.1/aegis?passwrod=hunter2",
                "the address of the PostgreSQL database",
            ),
            ("postgresql://u:hunter2%zz@127.0.0.1/aegis", "the address of the PostgreSQL database"),
        ],
    )
    def test_a_wrong_address_is_explained_without_its_password(self, url: str, words: str) -> None:
        """The message says what to write instead, and nothing repeats a password, not even the traceback."""
        with pytest.raises(StoreError) as raised:
            open_store(url, TurnableClock())
        assert words in str(raised.value)
        fault = raised.value
        assert fault.__cause__ is None
        assert "hunter2" not in str(fault)
        assert "hunter2" not in "".join(traceback.format_exception_only(fault))

    def test_sqlite_paths(self, tmp_path: Path) -> None:
        """Absolute ones with one slash or three."""
        for number, prefix in enumerate(("sqlite:", "sqlite://")):
            path = tmp_path / f"{number}" / "aegis.db"
            open_store(f"{prefix}{path}", TurnableClock()).close()
            assert path.exists()
            assert 0o600 == path.stat().st_mode & 0o777


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[Database]:
    """An empty database on a server."""
    with postgres_database(postgres_url) as database:
        yield database


def end_sessions(database: Database) -> None:
    """End all of Aegis's sessions on a database, as an operator or a failing server does, and wait for it."""
    database.execute(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
        " where datname = current_database() and application_name = 'aegis'"
    )


def wait_for_waiters(database: Database) -> None:
    """Wait until somebody waits for a lock."""
    sql = "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    eventually(lambda: bool(database.execute(sql)))


@pytest.mark.xdist_group("postgres")
class TestPostgresSessions:
    """What only a server does: it ends sessions, and others wait."""

    def test_a_session_lost_while_idle_is_taken_up_again(self, postgres: Database) -> None:
        """The next call is decided, and the keeper's calls are looked after again."""
        store, other = postgres.open(None), postgres.open(None)
        create_tenants(store, "acme")
        ledger = Ledger(store)
        assert isinstance(ledger.process([admission("c1")])[0], Admitted)
        end_sessions(postgres)
        assert [("acme", "c1")] == other.orphans(10)
        assert isinstance(ledger.process([admission("c2")])[0], Admitted)
        assert [] == other.orphans(10)

    @pytest.mark.parametrize("written", [False, True])
    def test_a_session_lost_in_a_transaction(self, postgres: Database, written: bool) -> None:
        """It is unavailable, it leaves nothing, and the next transaction has a new session."""
        store = postgres.open(None)
        create_tenants(store, "acme")

        def lose_it() -> None:
            with store.lock(["acme"]) as locked:
                if written:
                    locked.write(Changes(arrivals=[("acme", ("r", ""), Turns(5))]))
                end_sessions(postgres)

        with pytest.raises(LedgerUnavailable):
            lose_it()
        with store.lock(["acme"]) as locked:
            assert {} == locked.arrivals([("acme", ("r", ""))])

    def test_a_gateway_that_sleeps_in_a_transaction_is_put_out(self, postgres: Database) -> None:
        """After a second its session is ended and its locks are free; its transaction is lost."""
        sleeper, other = postgres.open(None), postgres.open(None)
        create_tenants(sleeper, "acme")

        def sleep() -> None:
            with sleeper.lock(["acme"]) as locked:
                locked.write(Changes(arrivals=[("acme", ("r", ""), Turns(5))]))
                locked.arrivals([])  # waits until the server has all of it
                sql = "select 1 from pg_stat_activity where state like 'idle in transaction%'"
                eventually(lambda: not postgres.execute(sql))

        with pytest.raises(LedgerUnavailable):
            sleep()
        with other.lock(["acme"]) as locked:
            assert {} == locked.arrivals([("acme", ("r", ""))])

    def test_a_server_that_cannot_be_reached(self, postgres: Database) -> None:
        """Each call is told so at once, the server is asked once a second, and it goes on when it is back."""
        store = postgres.open(None)
        create_tenants(store, "acme")
        name = store.query("select current_database() as name")[0]["name"]
        with psycopg.connect(postgres.url, dbname="postgres", autocommit=True) as operator:
            operator.execute(f'alter database "{name}" allow_connections false'.encode())
            operator.execute(
                "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = %s", (name,)
            )
            replies = Ledger(store).process([admission(f"c{number}") for number in range(50)])
            operator.execute(f'alter database "{name}" allow_connections true'.encode())
        assert ["unavailable"] * 50 == [reply.kind for reply in replies if isinstance(reply, Failed)]
        assert "tried a moment ago" in str(replies[-1])
        eventually(lambda: isinstance(Ledger(store).process([admission("c99")])[0], Admitted))

    def test_the_clock_is_read_after_the_lock_was_won(self, postgres: Database) -> None:
        """Whoever waited for the lock gets the time when it was won, not when it was asked for."""
        store, waiting = postgres.open(None), postgres.open(None)
        create_tenants(store, "acme")
        won_ns: list[int] = []

        def wait() -> None:
            with waiting.lock(["acme"]) as locked:
                won_ns.append(locked.now_ns)

        thread = threading.Thread(target=wait)
        with store.lock(["acme"]) as locked:
            thread.start()
            wait_for_waiters(postgres)
            (row,) = postgres.execute("select (extract(epoch from clock_timestamp()) * 1000000000)::bigint")
            assert locked.now_ns < row[0]
        thread.join()
        assert row[0] < won_ns[0]

    def test_nobody_waits_long_for_a_lock(self, postgres: Database) -> None:
        """A second, then it is unavailable."""
        store, waiting = postgres.open(None), postgres.open(None)
        create_tenants(store, "acme")
        faults: list[BaseException] = []

        def wait() -> None:
            try:
                with waiting.lock(["acme"]):
                    pass
            except LedgerUnavailable as fault:
                faults.append(fault)

        thread = threading.Thread(target=wait)
        with psycopg.connect(postgres.url) as holder:
            holder.execute("select from tenant_head for update")
            thread.start()
            thread.join()
        assert ["the database did not take it: canceling statement due to lock timeout"] == [
            str(fault) for fault in faults
        ]

    def test_a_commit_waits_for_the_disk(self, postgres: Database) -> None:
        """Whatever the database's or the role's default is."""
        postgres.open(None)
        name = postgres.execute("select current_database()")[0][0]
        postgres.execute(f'alter database "{name}" set synchronous_commit = off')
        store = postgres.open(None)
        assert [{"on": "on"}] == store.query("select current_setting('synchronous_commit') as \"on\"")

    def test_the_schema_is_made_once_by_many(self, postgres: Database) -> None:
        """Gateways that start at the same time make it one after the other."""
        faults: list[BaseException] = []

        def start() -> None:
            try:
                open_store(postgres.url).close()
            except StoreError as fault:
                faults.append(fault)

        threads = [threading.Thread(target=start) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [] == faults

    def test_the_hot_path_goes_by_index(self, postgres: Database) -> None:
        """A plan made while the tables are nearly empty must still hold when they are not."""
        store = postgres.open(None)
        create_tenants(store, "acme")
        Ledger(store).process([admission("c1")])
        postgres.execute("vacuum analyze")
        samples = {
            "lock_heads": (["acme"],),
            "calls": ('["c1"]',),
            "standings": ('[{"tenant": "acme", "budget": "month", "scope": "", "window": "2026-11"}]',),
            "arrivals": ('[{"tenant": "acme", "rate": "r", "scope": ""}]',),
            "write_head": (2, 2, "acme"),
            "write_moves": ('[{"call": "c1", "state": "settled", "overrun": 0}]',),
            "expired": (0, 10),
            "orphans": (10,),
        }
        with connect(postgres.url) as session:
            for name, values in samples.items():
                query = named_queries(PACKAGE)[name].encode()
                plan = [row[0] for row in session.execute(b"explain " + query, values).fetchall()]
                scans = [line for line in plan if "Seq Scan" in line or "Materialize" in line]
                assert (name, []) == (name, scans)
                lookups = [line for line in plan if "Index Cond" in line or "TID Cond" in line]
                assert lookups, plan
