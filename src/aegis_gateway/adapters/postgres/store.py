"""The PostgreSQL store: ledger, registry and reports in one database that any number of gateways share.

Rule 1: what a transaction needs of the future is decided under its tenants' head rows, locked in order of id;
        the clock is read after that lock was won.
Rule 2: a connection that was lost is made anew for the next transaction, never within one: what was lost with
        it was not committed, or nobody knows, and the ledger says so.
Rule 3: a keeper is alive for as long as its session is: the session holds a lock on the keeper's number.
"""

from __future__ import annotations

import re
import secrets
import select
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import msgspec
import psycopg

from aegis_gateway.adapters.approval_rows import DUE_APPROVALS
from aegis_gateway.adapters.postgres.database import PACKAGE, Connection, connect, reason, secrets_of
from aegis_gateway.adapters.queries import missing_guards, named_queries
from aegis_gateway.adapters.rows import (
    INCIDENT_FIELDS,
    LATE_COST_COLUMNS,
    OUTCOME_COLUMNS,
    OUTCOME_SUM_COLUMNS,
    REQUEST_COLUMNS,
    RULE_SUM_COLUMNS,
    RUN_FIELDS,
    SHADOW_SUM_COLUMNS,
    STATE_QUERIES,
    USAGE_COLUMNS,
    RegistryRows,
    call_row,
    call_values,
    charge_values,
    entry_values,
    incident_values,
    move_values,
    name_values,
    named_call,
    notice_values,
    outcome_row,
    outcome_values,
    request_values,
    run_row,
    run_values,
    shadow_values,
    standing,
    standing_values,
    stored_state,
    sum_values,
    tree_so_far,
    turns,
    turns_values,
)
from aegis_gateway.application.ports import (
    CallRow,
    Changes,
    Clock,
    Head,
    HourRow,
    NamedCall,
    NameKey,
    StoredState,
    TreeSoFar,
    UsedKey,
)
from aegis_gateway.domain.admit import RateKey, StandingKey
from aegis_gateway.domain.errors import LedgerUnavailable, StoreError
from aegis_gateway.domain.ledger import Standing
from aegis_gateway.domain.outcome import Outcome
from aegis_gateway.domain.rate import Turns
from aegis_gateway.domain.replication import Run
from aegis_gateway.domain.reuse import REUSE_NS
from aegis_gateway.domain.usage import DAY_NS

_Q = {name: query.encode() for name, query in named_queries(PACKAGE).items()}

_RECONNECT_PAUSE_S = 1.0

_CALL_COLUMNS = tuple("api_key" if name == "key" else name for name in CallRow.__struct_fields__)
_SALT = _CALL_COLUMNS.index("salt")
_STANDING_KEY_COLUMNS = ("tenant", "budget", "scope", "window")
_STANDING_COLUMNS = (
    "tenant", "budget", "scope", "window", "quantity", "starts_ns", "ends_ns", "pending", "posted",
    "buckets", "notes", "passed",
)  # fmt: skip
_ARRIVAL_COLUMNS = ("tenant", "rate", "scope", "arrival_ns", "free")
_HOUR_COLUMNS = HourRow.__struct_fields__
_MOVE_COLUMNS = ("state", "cost_nano_usd", "overrun", "settled_ns", "call")
_CHARGE_COLUMNS = (
    "tenant", "call", "line", "kind", "quantity", "unit", "unit_price_nano_usd", "per", "price_version",
    "nano_usd", "price_source",
)  # fmt: skip
_NAME_COLUMNS = ("tenant", "agent", "name", "call", "request", "expires_ns", "is_closed", "answer")
_NOTICE_COLUMNS = ("tenant", "sequence", "kind", "subject", "at_ns", "body")
_SHADOW_COLUMNS = ("tenant", "decided_ns", "rule", "call", "would")
_ENTRY_COLUMNS = ("tenant", "sequence", "call", "type", "at_ns", "body")

_encode = msgspec.json.Encoder().encode

T = TypeVar("T")


class PostgresStore:
    """A store in one PostgreSQL database, on one session. Not thread-safe."""

    def __init__(self, dsn: str, clock: Clock | None = None, *, read_only: bool = False) -> None:
        """Connect. Time is the database's own, unless a clock is given.

        Raises:
            StoreError: the server cannot be reached, is not durable, or its schema is of another version.
        """
        self._dsn = dsn
        self._secrets = secrets_of(dsn)
        self._clock = clock
        self._read_only = read_only
        self._session: Connection | None = connect(dsn, read_only=read_only)
        self._closed = False
        self._reconnect_from_s = 0.0
        self.boot = ""

    def close(self) -> None:
        """End the session, and give up the ledger if it was kept."""
        self._closed = True
        self._drop_session()

    # -- the ledger ----------------------------------------------------------------------------------------

    def keep_ledger(self) -> None:
        """Become one of the processes that keep this database's ledger.

        Raises:
            StoreError: the database did not take it.
        """
        boot = f"boot_{secrets.token_hex(8)}"
        try:
            connection = self._connected()
            _hold_boot(connection, boot)
            connection.execute(
                "insert into boot (boot, started_ns) values (%s, %s)", (boot, self._now_ns(connection))
            )
        except psycopg.Error as fault:
            raise StoreError(f"the ledger cannot be kept: {self._reason(fault)}") from None
        self.boot = boot

    @contextmanager
    def lock(self, tenants: Iterable[str]) -> Iterator[_Locked]:
        """Lock the tenants' heads in order and commit at the end of the block, durably, or roll back."""
        connection = self._connected()
        try:
            with connection.pipeline() as pipeline:
                connection.execute(_Q["begin"], prepare=True)
                yield _Locked(connection, pipeline, list(tenants), self._clock)
                commit = connection.execute(b"commit", prepare=True)
            if commit.statusmessage != "COMMIT":
                raise LedgerUnavailable("the database rolled the transaction back")
        except psycopg.Error as fault:
            self._roll_back(connection)
            raise LedgerUnavailable(f"the database did not take it: {self._reason(fault)}") from None
        except BaseException:
            self._roll_back(connection)
            raise

    def change(self, tenants: Iterable[str]) -> Any:
        """The same lock, for changes of the registry."""
        return self.lock(tenants)

    def checkpoint(self) -> None:
        """Nothing: the server does this by itself."""

    def expired(self, limit: int) -> list[tuple[str, str]]:
        """Tenant and id of reserved calls whose time has passed."""
        return self._read(lambda c: c.execute(_Q["expired"], (self._now_ns(c), limit)).fetchall())

    def orphans(self, limit: int) -> list[tuple[str, str]]:
        """Tenant and id of dispatched calls whose keeper's session is gone."""
        return self._read(lambda c: c.execute(_Q["orphans"], (limit,)).fetchall())

    def due_approvals(self, now_ns: int, limit: int) -> list[tuple[str, str]]:
        """Tenant and id of requests of which something becomes by itself."""
        return self.rows(DUE_APPROVALS, (now_ns, limit))

    def forget_old_answers(self, limit: int) -> None:
        """Delete kept answers whose time has passed."""
        self._read(lambda c: c.execute(_Q["forget_old_answers"], (self._now_ns(c), limit)))

    def forget_old_runs(self, limit: int) -> None:
        """Delete runs that count no more, and that nobody can name any more or that a call would open anew."""
        self._read(lambda c: c.execute(_Q["forget_old_runs"], (self._now_ns(c), limit)))

    def forget_old_requests(self, limit: int) -> None:
        """Delete requests that were settled so long ago that their answers would not be used again."""
        self._read(lambda c: c.execute(_Q["forget_old_requests"], (self._now_ns(c) // DAY_NS - 1, limit)))

    # -- the registry --------------------------------------------------------------------------------------

    def state(self) -> StoredState:
        """Everything that deciding needs, as of one instant."""

        def read(connection: Connection) -> list[list[tuple[Any, ...]]]:
            with connection.transaction():
                connection.execute("set transaction isolation level repeatable read read only")
                return [connection.execute(sql.encode()).fetchall() for sql in STATE_QUERIES]

        return stored_state(*self._read(read))

    def epochs(self) -> dict[str, int]:
        """All tenants' epochs."""
        return dict(self._read(lambda c: c.execute("select tenant, epoch from tenant_head").fetchall()))

    def durability(self) -> dict[str, str]:
        """Whether a commit is on disk, as the server says."""
        names = ("fsync", "full_page_writes", "synchronous_commit")
        rows = self.query(f"select {', '.join(f'current_setting({name!r}) as {name}' for name in names)}")
        said = {name: "ok" if value == "on" else f"{value}, not on" for name, value in rows[0].items()}
        guards = self.query(
            "select tgname as name from pg_trigger where tgenabled = 'A'"
            " and tgrelid in (select oid from pg_class where relnamespace = current_schema()::regnamespace)"
        )
        return {**said, "append_only": missing_guards(PACKAGE, (row["name"] for row in guards))}

    def clock_ns(self) -> int:
        """The server's clock, which all gateways go by."""
        return self._read(self._now_ns)

    # -- reports -------------------------------------------------------------------------------------------

    def query(self, sql: str, values: tuple[object, ...] = ()) -> list[dict[str, Any]]:
        """Read rows as dictionaries; `?` stands for a value."""

        def read(connection: Connection) -> list[dict[str, Any]]:
            cursor = connection.execute(_percent(sql), values)
            rows = cursor.fetchall()  # before the names: under the lock statements are answered no sooner
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in rows]

        return self._read(read)

    def rows(self, sql: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """Read rows as they are; `?` stands for a value."""
        return self._read(lambda connection: connection.execute(_percent(sql), values).fetchall())

    # -- the session ---------------------------------------------------------------------------------------

    def _connected(self) -> Connection:
        """The session, made anew if it was lost while nobody used it."""
        if self._session is not None and _has_news(self._session):
            try:
                self._session.execute(b"select 1")
            except psycopg.Error:
                self._drop_session()
        if self._session is None:
            self._session = self._reconnected()
        return self._session

    def _reconnected(self) -> Connection:
        if self._closed:
            raise LedgerUnavailable("the store is closed")
        if time.monotonic() < self._reconnect_from_s:
            raise LedgerUnavailable("the database cannot be reached; it was tried a moment ago")
        try:
            connection = connect(self._dsn, read_only=self._read_only)
            if self.boot:
                _hold_boot(connection, self.boot)
        except (StoreError, psycopg.Error) as fault:
            self._reconnect_from_s = time.monotonic() + _RECONNECT_PAUSE_S
            raise LedgerUnavailable(self._reason(fault)) from None
        return connection

    def _drop_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _roll_back(self, connection: Connection) -> None:
        with suppress(psycopg.Error):
            if not connection.closed:
                connection.execute(b"rollback")
                return
        self._drop_session()

    def _read(self, read: Callable[[Connection], T]) -> T:
        connection = self._connected()
        try:
            return read(connection)
        except psycopg.Error as fault:
            if connection.closed:
                self._drop_session()
            raise LedgerUnavailable(f"the database cannot be read: {self._reason(fault)}") from None

    def _now_ns(self, connection: Connection) -> int:
        return self._clock.now_ns() if self._clock is not None else _clock_ns(connection.execute(_Q["clock"]))

    def _reason(self, fault: BaseException) -> str:
        return reason(fault, *self._secrets)


class _Locked(RegistryRows):
    """A transaction that holds the heads of some tenants. Statements go out as they come; only reads wait.

    Each read ends with a sync: from then on the server takes the transaction for idle, and ends it in time.
    """

    _skip_locked = " for update skip locked"
    _locked = " for update"

    def __init__(
        self, connection: Connection, pipeline: psycopg.Pipeline, tenants: list[str], clock: Clock | None
    ) -> None:
        self._connection = connection
        self._pipeline = pipeline
        heads = self._execute("lock_heads", (tenants,))
        now = None if clock else self._execute("clock", ())
        self._heads = {
            tenant: Head(tenant=tenant, next_sequence=next_sequence, epoch=epoch, last_ns=last_ns)
            for tenant, next_sequence, epoch, last_ns in self._all(heads)
        }
        self.now_ns = clock.now_ns() if clock else _clock_ns(now)

    @property
    def heads(self) -> Mapping[str, Head]:
        return self._heads

    def calls(self, ids: Collection[str]) -> dict[str, CallRow]:
        rows = self._all(self._execute("calls", (_encode(list(ids)).decode(),)))
        return {row[0]: call_row(row) for row in rows}

    def standings(self, keys: Collection[tuple[str, StandingKey]]) -> dict[tuple[str, StandingKey], Standing]:
        wanted = _records(_STANDING_KEY_COLUMNS, ((tenant, *key) for tenant, key in keys))
        rows = self._all(self._execute("standings", (wanted,)))
        return {
            (tenant, (budget, scope, window)): standing(*found)
            for tenant, budget, scope, window, *found in rows
        }

    def used(self, keys: Collection[UsedKey]) -> set[UsedKey]:
        wanted = _records(_STANDING_KEY_COLUMNS[:3], keys)
        return {(row[0], row[1], row[2]) for row in self._all(self._execute("used", (wanted,)))}

    def arrivals(self, keys: Collection[tuple[str, RateKey]]) -> dict[tuple[str, RateKey], Turns]:
        wanted = _records(_ARRIVAL_COLUMNS[:3], ((tenant, *key) for tenant, key in keys))
        rows = self._all(self._execute("arrivals", (wanted,)))
        return {(tenant, (rate, scope)): turns(*found) for tenant, rate, scope, *found in rows}

    def named_calls(self, keys: Collection[NameKey]) -> dict[NameKey, NamedCall]:
        wanted = _records(_NAME_COLUMNS[:3], keys)
        rows = self._all(self._execute("named_calls", (wanted,)))
        return {(key := (row[0], row[1], row[2])): named_call(key, row[3:]) for row in rows}

    def runs(self, numbers: Collection[tuple[str, str]]) -> dict[tuple[str, str], Run]:
        rows = self._all(self._execute("runs", (_records(RUN_FIELDS[:2], numbers),)))
        return {(run.tenant, run.number): run for run in map(run_row, rows)}

    def open_runs(self, tenant: str, owner: str, now_ns: int, limit: int) -> list[str]:
        return [number for (number,) in self._all(self._execute("open_runs", (tenant, owner, now_ns, limit)))]

    def runs_below(self, tenant: str, numbers: Collection[str]) -> list[Run]:
        return [run_row(row) for row in self._all(self._execute("runs_below", (tenant, list(numbers))))]

    def outcomes(self, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], Outcome]:
        rows = self._all(self._execute("outcomes", (_records(OUTCOME_COLUMNS[:2], keys),)))
        return {(told.tenant, told.run): told for told in map(outcome_row, rows)}

    def tree_so_far(self, tenant: str, number: str) -> TreeSoFar:
        first = self._execute("first_call_of_run", (tenant, f"run_{number}"))
        costs = self._execute("cost_of_tree", (number, tenant, number, tenant))
        found = self._all(costs)
        return tree_so_far(first.fetchone(), found[0])

    def write(self, changes: Changes) -> None:
        charges = [values for charge in changes.charges for values in charge_values(*charge)]
        arrivals = [(tenant, *key, *turns_values(free)) for tenant, key, free in changes.arrivals]
        for head in changes.heads:
            self._execute("write_head", (head.next_sequence, head.last_ns, head.tenant))
        self._write("write_calls", _CALL_COLUMNS, [_call_values(row) for row in changes.calls])
        self._write("write_moves", _MOVE_COLUMNS, [move_values(move) for move in changes.moves])
        self._write("write_charges", _CHARGE_COLUMNS, charges)
        self._write(
            "write_entries",
            _ENTRY_COLUMNS,
            [(*entry_values(row)[:-1], _bytea(row.body)) for row in changes.entries],
        )
        self._write("write_standings", _STANDING_COLUMNS, [standing_values(row) for row in changes.standings])
        self._write("write_arrivals", _ARRIVAL_COLUMNS, arrivals)
        self._write("write_hours", _HOUR_COLUMNS, [msgspec.structs.astuple(row) for row in changes.hours])
        self._write("write_usage", USAGE_COLUMNS, [sum_values(row) for row in changes.usage])
        self._write("write_shadow_sums", SHADOW_SUM_COLUMNS, [sum_values(row) for row in changes.shadow_sums])
        self._write("write_rule_sums", RULE_SUM_COLUMNS, [sum_values(row) for row in changes.rule_sums])
        self._write("write_outcomes", OUTCOME_COLUMNS, [outcome_values(each) for each in changes.outcomes])
        outcome_sums = [sum_values(row) for row in changes.outcome_sums]
        self._write("write_outcome_sums", OUTCOME_SUM_COLUMNS, outcome_sums)
        late_costs = [msgspec.structs.astuple(late) for late in changes.late_costs]
        if changes.requests:
            requests = _records(REQUEST_COLUMNS, map(request_values, changes.requests))
            self._execute("write_requests", (requests, REUSE_NS))
        self._write("add_to_outcomes", LATE_COST_COLUMNS, late_costs)
        self._write("write_notices", _NOTICE_COLUMNS, [notice_values(each) for each in changes.notices])
        self.save_approvals(changes.approvals)
        self._write("write_incidents", INCIDENT_FIELDS, [incident_values(each) for each in changes.incidents])
        self._write("write_shadows", _SHADOW_COLUMNS, [shadow_values(row) for row in changes.shadows])
        self._write("write_runs", RUN_FIELDS, [run_values(run) for run in changes.runs])
        for key in changes.freed_names:
            self._execute("forget_named_call", key)
        self._write("write_named_calls", _NAME_COLUMNS, [_name_values(named) for named in changes.names])

    def _write(self, query: str, columns: tuple[str, ...], rows: Sequence[Sequence[object]]) -> None:
        if rows:
            self._execute(query, (_records(columns, rows),))

    def _execute(self, query: str, values: tuple[object, ...]) -> psycopg.Cursor[tuple[Any, ...]]:
        return self._connection.execute(_Q[query], values, prepare=True)

    def _rows(self, sql: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        return self._all(self._connection.execute(_percent(sql), values))

    def _all(self, cursor: psycopg.Cursor[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        self._pipeline.sync()
        return cursor.fetchall()

    def _do(self, sql: str, values: tuple[object, ...]) -> None:
        self._connection.execute(_percent(sql), values)


def _records(columns: tuple[str, ...], rows: Iterable[Sequence[object]]) -> str:
    """Rows as a JSON array of records."""
    return _encode([dict(zip(columns, row, strict=True)) for row in rows]).decode()


def _call_values(row: CallRow) -> list[object]:
    values = list(call_values(row))
    values[_SALT] = _bytea(row.salt)
    return values


def _name_values(named: NamedCall) -> list[object]:
    return [_bytea(value) if isinstance(value, bytes) else value for value in name_values(named)]


def _bytea(value: bytes) -> str:
    """Bytes as PostgreSQL reads them from a text."""
    return f"\\x{value.hex()}"


def _percent(sql: str) -> bytes:
    """A statement with the driver's placeholder instead of `?`; what stands in quotes is left alone."""
    return re.sub(r"'[^']*'|\?|%", _placeholder, sql).encode()


def _placeholder(match: re.Match[str]) -> str:
    return "%s" if match[0] == "?" else match[0].replace("%", "%%")


def _clock_ns(cursor: psycopg.Cursor[tuple[Any, ...]] | None) -> int:
    row = cursor.fetchone() if cursor is not None else None
    assert row is not None
    return int(row[0])


def _hold_boot(connection: Connection, boot: str) -> None:
    """Hold the lock that says that a boot's keeper is alive.

    Shared, because after a connection broke its old session may linger: the new one then holds it too.
    """
    number = int.from_bytes(bytes.fromhex(boot.removeprefix("boot_")), "big", signed=True)
    connection.execute("select pg_advisory_lock_shared(%s)", (number,))


def _has_news(connection: Connection) -> bool:
    """Whether an idle session has something to say: it never has, unless the server ended it."""
    try:
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN)
        return bool(poll.poll(0))
    except psycopg.Error:
        return True
