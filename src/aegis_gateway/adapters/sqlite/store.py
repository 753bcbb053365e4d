"""The SQLite store: ledger, registry and reports on one database file.

Rule 1: one process keeps the ledger (an exclusive file lock says so); administration may write beside it, a
        transaction at a time.
Rule 2: a failed commit leaves nothing behind: SQLite may have rolled back by itself, so the transaction is
        ended only if one is still open.
"""

from __future__ import annotations

import fcntl
import logging
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import apsw
import msgspec

from aegis_gateway.adapters.approval_rows import DUE_APPROVALS
from aegis_gateway.adapters.queries import missing_guards, named_queries
from aegis_gateway.adapters.rows import (
    STATE_QUERIES,
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
    repeat_rows,
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
from aegis_gateway.adapters.sqlite.database import PACKAGE, connect, give_memory
from aegis_gateway.application.ports import (
    CallRow,
    Changes,
    Clock,
    Head,
    LateCost,
    NamedCall,
    NameKey,
    SettledRequest,
    StoredState,
    TreeSoFar,
    UsedKey,
    outcome_sum_rows,
)
from aegis_gateway.domain.admit import RateKey, StandingKey
from aegis_gateway.domain.errors import DiskFailed, LedgerUnavailable, StoreError
from aegis_gateway.domain.ledger import Standing
from aegis_gateway.domain.outcome import Outcome, OutcomeKey, OutcomeSum, added
from aegis_gateway.domain.rate import Turns
from aegis_gateway.domain.replication import Run
from aegis_gateway.domain.reuse import REUSE_NS
from aegis_gateway.domain.usage import DAY_NS, SPANS

_Q = named_queries(PACKAGE)

_OF_WORK = OutcomeKey.__struct_fields__
_CHECKPOINT_PAGES = 1_000

_log = logging.getLogger("aegis.store")


class SqliteStore:
    """A store on one SQLite file. Not thread-safe."""

    def __init__(self, path: Path, clock: Clock, *, read_only: bool = False) -> None:
        """Open the database.

        Raises:
            StoreError: it cannot be opened, is not durable, or is of another version.
        """
        self._connection = connect(path, read_only=read_only)
        self._path = path
        self._clock = clock
        self._lock_file: IO[str] | None = None
        self._wal_pages = self._moved_at = 0
        self._connection.set_wal_hook(self._see_wal)
        self.boot = ""

    def close(self) -> None:
        """Close the database, and give up the ledger if it was kept."""
        self._connection.close()
        if self._lock_file is not None:
            self._lock_file.close()

    # -- the ledger ----------------------------------------------------------------------------------------

    def keep_ledger(self) -> None:
        """Become the one process that keeps this database's ledger.

        Raises:
            StoreError: another process keeps it, or nothing can be written.
        """
        lock_file = open(self._path.with_suffix(".lock"), "w", encoding="ascii")  # noqa: SIM115 - held until close
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock_file.close()
            raise StoreError(
                f"another gateway keeps the ledger in `{self._path}`; "
                "stop it first, or use PostgreSQL for several"
            ) from None
        self._lock_file = lock_file
        give_memory(self._connection)
        self.boot = f"boot_{secrets.token_hex(8)}"
        try:
            self._connection.execute(
                "insert into boot (boot, started_ns) values (?, ?)", (self.boot, self._clock.now_ns())
            )
        except apsw.Error as fault:
            raise StoreError(f"the ledger in `{self._path}` cannot be kept: {fault}") from fault

    @contextmanager
    def lock(self, tenants: Iterable[str]) -> Iterator[_Locked]:
        """Lock the tenants' heads; commit at the end of the block, durably, or roll back."""
        connection = self._connection
        try:
            connection.execute("begin immediate")
            locked = _Locked(connection, tuple(tenants), self._clock)
            yield locked
            connection.execute("commit")
        except apsw.Error as fault:
            _end_if_not_durable(fault)
            self._roll_back()
            raise LedgerUnavailable(f"the database did not take it: {fault}") from fault
        except BaseException:
            self._roll_back()
            raise

    def change(self, tenants: Iterable[str]) -> Any:
        """The same lock, for changes of the registry."""
        return self.lock(tenants)

    def checkpoint(self) -> None:
        """Move the write-ahead log into the database when it has grown; called between batches."""
        if self._wal_pages < self._moved_at:
            self._moved_at = 0  # it has begun anew
        if self._wal_pages - self._moved_at >= _CHECKPOINT_PAGES:
            # Counted from the last time: while somebody reads, the log can't begin anew, and to move the few pages of
            # each batch costs two syncs.
            self._moved_at = self._wal_pages
            try:
                self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            except apsw.Error as fault:
                # What was committed is in the log all the same; it is moved when there is room again.
                _end_if_not_durable(fault)
                _log.warning("the write-ahead log has to wait: %s", fault)

    def expired(self, limit: int) -> list[tuple[str, str]]:
        """Tenant and id of reserved calls whose time has passed."""
        return self._read(_Q["expired"], (self._clock.now_ns(), limit))

    def orphans(self, limit: int) -> list[tuple[str, str]]:
        """Tenant and id of dispatched calls of ledger processes that are gone."""
        return self._read(_Q["orphans"], (self.boot, limit))

    def due_approvals(self, now_ns: int, limit: int) -> list[tuple[str, str]]:
        """Tenant and id of requests of which something becomes by itself."""
        return self._read(DUE_APPROVALS, (now_ns, limit))

    def forget_old_answers(self, limit: int) -> None:
        """Delete kept answers whose time has passed."""
        self._read(_Q["forget_old_answers"], (self._clock.now_ns(), limit))

    def forget_old_runs(self, limit: int) -> None:
        """Delete runs that count no more, and that nobody can name any more or that a call would open anew."""
        self._read(_Q["forget_old_runs"], (self._clock.now_ns(), limit))

    def forget_old_requests(self, limit: int) -> None:
        """Delete requests that were settled so long ago that their answers would not be used again."""
        self._read(_Q["forget_old_requests"], (self._clock.now_ns() // DAY_NS - 1, limit))

    # -- the registry --------------------------------------------------------------------------------------

    def state(self) -> StoredState:
        """Everything that deciding needs, as of one instant."""
        with self._connection:  # one read transaction
            parts = [self._read(sql) for sql in STATE_QUERIES]
        return stored_state(*parts)

    def epochs(self) -> dict[str, int]:
        """All tenants' epochs."""
        return dict(self._read("select tenant, epoch from tenant_head"))

    def durability(self) -> dict[str, str]:
        """Whether a commit is on disk, as far as the file says; and whether what may not be changed is guarded."""
        mode = self._read("pragma journal_mode")[0][0]
        guards = self._read("select name from sqlite_master where type = 'trigger'")
        return {
            "journal_mode": "ok" if mode == "wal" else f"{mode}, not wal",
            "append_only": missing_guards(PACKAGE, (name for (name,) in guards)),
        }

    def clock_ns(self) -> int:
        """The machine's clock."""
        return self._clock.now_ns()

    # -- reports -------------------------------------------------------------------------------------------

    def query(self, sql: str, values: tuple[object, ...] = ()) -> list[dict[str, Any]]:
        """Read rows as dictionaries; `?` stands for a value."""
        cursor = self._connection.cursor()
        cursor.row_trace = _as_dictionary
        try:
            return list(cursor.execute(sql, values))
        except apsw.Error as fault:
            raise LedgerUnavailable(f"the database cannot be read: {fault}") from fault

    def rows(self, sql: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """Read rows as they are; `?` stands for a value."""
        return self._read(sql, values)

    def _read(self, sql: str, values: tuple[object, ...] = ()) -> list[Any]:
        try:
            return self._connection.execute(sql, values).fetchall()
        except apsw.Error as fault:
            raise LedgerUnavailable(f"the database cannot be read: {fault}") from fault

    def _roll_back(self) -> None:
        with suppress(apsw.Error):  # whatever is wrong has been said; a transaction that is left ends with it
            if self._connection.in_transaction:
                self._connection.execute("rollback")

    def _see_wal(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        """Called by SQLite after each commit with the size of the write-ahead log."""
        self._wal_pages = pages
        return apsw.SQLITE_OK


def _end_if_not_durable(fault: apsw.Error) -> None:
    """A failed sync is not tried again: the system may have dropped what it could not write, and say so only once.

    Raises:
        DiskFailed: it was one.
    """
    if getattr(fault, "extendedresult", 0) in (apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_DIR_FSYNC):
        raise DiskFailed(f"the disk did not make it durable: {fault}") from fault


def _as_dictionary(cursor: apsw.Cursor, row: tuple[Any, ...]) -> dict[str, Any]:
    return {column[0]: value for column, value in zip(cursor.get_description(), row, strict=True)}


class _Locked(RegistryRows):
    """A transaction that holds the database's write lock, and with it the heads of some tenants."""

    def __init__(self, connection: apsw.Connection, tenants: tuple[str, ...], clock: Clock) -> None:
        self._connection = connection
        self._heads = {
            tenant: Head(tenant=tenant, next_sequence=next_sequence, epoch=epoch, last_ns=last_ns)
            for name in tenants
            for tenant, next_sequence, epoch, last_ns in connection.execute(_Q["head"], (name,))
        }
        self.now_ns = clock.now_ns()

    @property
    def heads(self) -> Mapping[str, Head]:
        return self._heads

    def calls(self, ids: Collection[str]) -> dict[str, CallRow]:
        execute = self._connection.execute
        return {row[0]: call_row(row) for name in ids for row in execute(_Q["call"], (name,))}

    def standings(self, keys: Collection[tuple[str, StandingKey]]) -> dict[tuple[str, StandingKey], Standing]:
        execute = self._connection.execute
        return {
            (tenant, key): standing(*found)
            for tenant, key in keys
            for found in execute(_Q["standing"], (tenant, *key))
        }

    def used(self, keys: Collection[UsedKey]) -> set[UsedKey]:
        execute = self._connection.execute
        return {key for key in keys for _ in execute(_Q["used"], key)}

    def arrivals(self, keys: Collection[tuple[str, RateKey]]) -> dict[tuple[str, RateKey], Turns]:
        execute = self._connection.execute
        return {
            (tenant, key): turns(*found)
            for tenant, key in keys
            for found in execute(_Q["arrival"], (tenant, *key))
        }

    def named_calls(self, keys: Collection[NameKey]) -> dict[NameKey, NamedCall]:
        execute = self._connection.execute
        return {key: named_call(key, row) for key in keys for row in execute(_Q["named_call"], key)}

    def runs(self, numbers: Collection[tuple[str, str]]) -> dict[tuple[str, str], Run]:
        execute = self._connection.execute
        return {key: run_row(row) for key in numbers for row in execute(_Q["run"], key)}

    def open_runs(self, tenant: str, owner: str, now_ns: int, limit: int) -> list[str]:
        values = (tenant, owner, now_ns, limit)
        return [number for (number,) in self._connection.execute(_Q["open_runs"], values)]

    def runs_below(self, tenant: str, numbers: Collection[str]) -> list[Run]:
        execute = self._connection.execute
        return [run_row(row) for number in numbers for row in execute(_Q["runs_below"], (tenant, number))]

    def outcomes(self, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], Outcome]:
        execute = self._connection.execute
        return {key: outcome_row(row) for key in keys for row in execute(_Q["outcome"], key)}

    def tree_so_far(self, tenant: str, number: str) -> TreeSoFar:
        execute = self._connection.execute
        first = execute(_Q["first_call_of_run"], (tenant, f"run_{number}")).fetchone()
        (costs,) = execute(_Q["cost_of_tree"], (number, tenant, number, tenant))
        return tree_so_far(first, costs)

    def write(self, changes: Changes) -> None:
        many = self._connection.executemany
        many(_Q["write_head"], [(head.next_sequence, head.last_ns, head.tenant) for head in changes.heads])
        many(_Q["write_call"], [call_values(row) for row in changes.calls])
        many(_Q["write_move"], [move_values(move) for move in changes.moves])
        many(_Q["write_charge"], [values for charge in changes.charges for values in charge_values(*charge)])
        many(_Q["write_entry"], [entry_values(row) for row in changes.entries])
        many(_Q["write_standing"], [standing_values(row) for row in changes.standings])
        many(
            _Q["write_arrival"],
            [(tenant, *key, *turns_values(free)) for tenant, key, free in changes.arrivals],
        )
        if changes.hours:
            many(_Q["write_hour"], [msgspec.structs.astuple(row) for row in changes.hours])
        if changes.usage:
            many(_Q["write_usage"], [sum_values(row) for row in changes.usage])
        if changes.shadow_sums:
            many(_Q["write_shadow_sum"], [sum_values(row) for row in changes.shadow_sums])
        if changes.rule_sums:
            many(_Q["write_rule_sum"], [sum_values(row) for row in changes.rule_sums])
        if changes.outcomes:
            many(_Q["write_outcome"], [outcome_values(outcome) for outcome in changes.outcomes])
        if changes.outcome_sums:
            many(_Q["write_outcome_sum"], [sum_values(row) for row in changes.outcome_sums])
        self._note_requests(changes.requests)
        self._add_late_costs(changes.late_costs)
        if changes.notices:
            many(_Q["write_notice"], [notice_values(notice) for notice in changes.notices])
        self.save_approvals(changes.approvals)
        if changes.incidents:
            many(_Q["write_incident"], [incident_values(incident) for incident in changes.incidents])
        if changes.shadows:
            many(_Q["write_shadow"], [shadow_values(row) for row in changes.shadows])
        if changes.runs:
            many(_Q["write_run"], [run_values(run) for run in changes.runs])
        if changes.names or changes.freed_names:
            many(_Q["forget_named_call"], changes.freed_names)
            many(_Q["write_named_call"], [name_values(named) for named in changes.names])

    def _add_late_costs(self, late_costs: Sequence[LateCost]) -> None:
        """Add what was settled in trees to those that were reported on, and to their sums, each sum once."""
        execute = self._connection.execute
        more: dict[tuple[str, int, OutcomeKey], OutcomeSum] = {}
        for late in late_costs:
            values = (late.cost, late.cost, late.tenant, late.run)
            for began_ns, *of in execute(_Q["add_to_outcome"], values):
                place = (
                    late.tenant,
                    began_ns - began_ns % SPANS["hour"],
                    OutcomeKey(**dict(zip(_OF_WORK, of, strict=True))),
                )
                more[place] = added(more.get(place, OutcomeSum()), OutcomeSum(cost=late.cost))
        if more:
            rows = map(sum_values, outcome_sum_rows(more))
            self._connection.executemany(_Q["write_outcome_sum"], rows)

    def _note_requests(self, requests: Sequence[SettledRequest]) -> None:
        """Count those that had been settled within a day, and note that all of them were."""
        execute = self._connection.execute
        for asked in requests:
            day = asked.settled_ns // DAY_NS
            of = (asked.tenant, asked.request)
            if execute(_Q["settled_before"], (day, day, *of, asked.settled_ns - REUSE_NS)).fetchone():
                self._connection.executemany(_Q["write_usage"], map(sum_values, repeat_rows(asked)))
        settled = [
            (each.settled_ns // DAY_NS, each.tenant, each.request, each.settled_ns) for each in requests
        ]
        self._connection.executemany(_Q["write_request"], settled)

    def _rows(self, sql: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, values).fetchall()

    def _do(self, sql: str, values: tuple[object, ...]) -> None:
        self._connection.execute(sql, values)
