"""Reports: what people ask of the record, read from either store in the same words.

Rule 1: reading only, in single statements: each is one snapshot, and none keeps the ledger waiting.
Rule 2: SQL that both stores understand as it is; `?` stands for a value. Instants are nanoseconds since 1970.
Rule 3: what is asked once a second (`aegis top`) reads a range of an index, never a whole table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, Protocol, get_args

import msgspec

from aegis_gateway.adapters.people_rows import PEOPLE, TOKENS, person_row, token_row
from aegis_gateway.adapters.proposal_rows import PROPOSAL, PROPOSALS, proposal_row
from aegis_gateway.adapters.rows import RUN_FIELDS, config_row, run_row, standing
from aegis_gateway.application.ports import GatewayRow
from aegis_gateway.domain.config_version import ConfigVersion
from aegis_gateway.domain.currency import ExchangeRate
from aegis_gateway.domain.ledger import NOTHING, Standing
from aegis_gateway.domain.limits import carried, limit_of, noted, opened, rate_of, wants_notes
from aegis_gateway.domain.people import Person, Token
from aegis_gateway.domain.proposal import Proposal
from aegis_gateway.domain.registry import UNREGISTERED, Budget
from aegis_gateway.domain.replication import Run
from aegis_gateway.domain.rolling import rolled
from aegis_gateway.domain.trace_place import TracePlace, trace_place
from aegis_gateway.domain.watch import Side
from aegis_gateway.domain.window import Window

_TENANTS = "select tenant from tenant_head order by tenant"
"""All tenants."""

_STANDINGS = """
select scope, pending, posted, buckets, notes from standing
 where tenant = ? and budget = ? and "window" = ?
 order by scope
"""
"""A budget's balances in one window, one for each scope it is split into. By the primary key's beginning."""

_FULLEST = _STANDINGS.replace(
    "order by scope", "order by cast(posted as numeric) + pending desc, scope limit ?"
)
"""Those of them that are used most, which is all that is taken out of the store; together they can pass 64 bits."""

_BALANCES = 'select count(*) as balances from standing where tenant = ? and budget = ? and "window" = ?'
"""How many there are."""

_ONE_STANDING = _STANDINGS.replace("order by scope", "and scope = ?")
"""One of them. By the primary key."""

_WHOLE = """
select budget, pending, posted, buckets, notes from standing
 where tenant = ? and budget in ({marks}) and scope = '' and "window" = ?
"""
"""The balances of budgets that aren't split, in one window. By the primary key, whatever windows there were."""
_ASKED_AT_ONCE = 500

_EVER_USED = "select 1 as one from standing where tenant = ? and budget = ? and scope = ? limit 1"
"""Whether a budget has any balance. By the primary key's beginning."""

_WINDOWS = """
select "window" as label, starts_ns, ends_ns, count(*) as scopes, sum(pending) as pending,
       sum(posted) as posted
  from standing
 where tenant = ? and budget = ? and starts_ns <= ?
 group by "window", starts_ns, ends_ns
 order by starts_ns desc
 limit ?
"""
"""A budget's last windows, all its scopes together. By the primary key's beginning."""

_CALLS = """
select call, state, effect, reason_code, reason, agent, team, project, cost_centre, environment, connector,
       tool, model, api_key, run, policy_version, config_version, expected_nano_usd, maximum_nano_usd,
       cost_nano_usd, overrun, decided_ns, settled_ns, sequence, parent, customer, rule,
       traceparent
  from call
"""
"""Calls, without what only the ledger needs of them. What follows says which."""

_OF_TENANT = " where tenant = ?"

_ONE = " and call = ?"
"""By the primary key."""

_OF_RUN = " and run is not null and substr(run, 1, 24) = ? order by decided_ns + 0, sequence limit ?"
_ATTEMPTS_OF_RUN = """
select entry.call, entry.body
  from call join entry on entry.call = call.call
 where call.tenant = ? and call.run is not null and substr(call.run, 1, 24) = ? and entry.type = 'decision'
"""
"""A run's calls, and what was decided about them. By the index on the number that a run's id begins with."""

_RUNS_OF_TREE = """
select {fields} from run
 where tenant = ? and number in (select number from run where tenant = ? and root = ?)
 order by opened_ns
 limit ?
"""
"""What was delegated in a tree of runs. By the index on its root: asked in one, SQLite would read all the tenant's."""

_OF_ENTRIES = """
 where call in (select call from entry where tenant = ? and sequence > ? and sequence <= ?)
 order by sequence
"""
"""Those that a stretch of the record is about. By the record's primary key, then the calls'."""

_NEWEST_FIRST = " order by decided_ns desc, sequence desc limit ?"
"""Walks the index on (tenant, decided_ns) from its end."""

_STILL_OPEN = " and state in ('reserved', 'dispatched', 'in_doubt')"
_OLDEST_FIRST = " order by decided_ns + 0, sequence limit ?"
"""Reads the index on open calls, whose own condition `_STILL_OPEN` is. `+ 0` keeps SQLite from walking the
index on time instead, in which all the calls are that were ever settled."""

_OLDER = " and decided_ns <= ? and (decided_ns < ? or sequence < ?)"
_NEWER = " and decided_ns + 0 >= ? and (decided_ns > ? or sequence > ?)"
"""Those behind a call in these orders; the index is walked on from where that one stands in it."""

_LAST_SEQUENCE = "select next_sequence - 1 as sequence from tenant_head where tenant = ?"
"""Where a tenant's record ends."""

_OPEN = """
select state, count(*) as calls from call
 where tenant = ? and state in ('reserved', 'dispatched', 'in_doubt')
 group by state
"""
"""Calls that are not closed, by state. By the index on open calls."""

_EFFECTS = """
select '' as effect, count(*) as calls from call where tenant = ? and decided_ns >= ?
 union all
select effect, count(*) from call where tenant = ? and decided_ns >= ? and effect <> 'allow' group by effect
"""
"""All calls since an instant, and by effect those that were not allowed.

Ranges of the index on (tenant, decided_ns) and of that on such calls: neither reads a call's row, of which there are
60,000 in a busy minute.
"""

_SPENT = """
select next_sequence - 1 as sequence,
       (select sum(cost_nano_usd) from call where call.tenant = head.tenant and decided_ns >= ?) as nano_usd
  from tenant_head as head
 where tenant = ?
"""
"""What the calls decided since an instant have cost so far, and where the record ended then: one snapshot."""

_SPENT_SINCE = """
select sum(cost_nano_usd) as nano_usd
  from entry join call on call.call = entry.call
 where entry.tenant = ? and entry.sequence > ? and entry.sequence <= ? and entry.type = 'settlement'
   and decided_ns >= ?
"""
"""What a stretch of the record has added to `_SPENT`. By the record's primary key, then the calls'."""

_CHARGES = """
select call.{dimension} as name, count(distinct call.call) as calls, sum(nano_usd) as nano_usd
  from call join charge_line on charge_line.call = call.call
 where call.tenant = ? and decided_ns >= ? and decided_ns < ?
 group by call.{dimension}
 order by sum(nano_usd) desc, call.{dimension}
"""
"""Charge lines added up by what their calls are put down to. A range of the index on time."""

_DISCOVERED = """
select agent, api_key, count(*) as calls, sum(coalesce(cost_nano_usd, 0)) as nano_usd,
       sum(case when cost_nano_usd is null then 1 else 0 end) as unpriced,
       min(decided_ns) as first_ns, max(decided_ns) as last_ns
  from call
 where tenant = ? and decided_ns >= ? and team = ?
 group by agent, api_key
 order by sum(coalesce(cost_nano_usd, 0)) desc, agent
"""
"""Callers without a key, by the credential they bring. A range of the index on time."""

_USED = """
select distinct coalesce(model, tool) as name from call
 where tenant = ? and decided_ns >= ? and agent = ?
 order by coalesce(model, tool)
 limit ?
"""
"""What an agent calls. A range of the index on time."""

_KEY_HINT = "select hint from api_key where tenant = ? and key = ?"
"""How a key is shown to people. By the primary key."""

_RUN = "select {fields} from run where tenant = ? and number = ?"
"""One run. By the primary key."""

_OPEN_RUNS = "select {fields} from run where tenant = ? and ended_ns is null and open_until_ns > ?"
_LAST_CALLED_FIRST = " order by open_until_ns desc, number limit ?"
_OPEN_RUN_COUNTS = """
select owner, count(*) as runs from run
 where tenant = ? and ended_ns is null and open_until_ns > ?
 group by owner
"""
"""Runs that count. By the index on them."""

_ENTRIES = """
select sequence, call, type, at_ns, body from entry
 where tenant = ? and sequence > ?
 order by sequence
 limit ?
"""
"""A stretch of the record. By its primary key."""

_ENTRIES_OF_CALL = """
select sequence, call, type, at_ns, body from entry
 where call = ? and tenant = ?
 order by sequence
"""
"""The entries of one call. By the index on it."""

_CONFIGURATION_ENTRIES = "select body from entry where type = 'configuration' order by tenant, sequence"
"""What the records say of configurations. By the index on them."""

_SIDES = """
select config_version, count(*) as calls,
       sum(case when effect <> 'allow' then 1 else 0 end) as refused,
       sum(case when state in ('in_doubt', 'released', 'expired')
                  or (state = 'settled' and cost_nano_usd = 0 and maximum_nano_usd > 0) then 1 else 0 end) as errors,
       sum(coalesce(cost_nano_usd, 0)) as cost_nano_usd,
       count(distinct agent) as agents
  from (select config_version, effect, state, cost_nano_usd, maximum_nano_usd, agent from call
         where tenant = ? and decided_ns >= ? and decided_ns < ?
         order by decided_ns desc
         limit ?) as recent
 group by config_version
"""
"""How calls fared, by configuration. A range of the index on (tenant, decided_ns), from its end.

What was refused upstream is settled at nothing; of what is free that can't be told.
"""

_VERSIONS = """
select version, beside, bundle from config_version
 where version <= ?
 order by version desc
 limit ?
"""
"""Configurations, the newest first. By the primary key."""

_SHADOW = """
select finding.rule, would, agent as name, count(*) as calls,
       sum(case when would = 'allow' then coalesce(expected_nano_usd, 0)
                when effect = 'allow' then coalesce(cost_nano_usd, maximum_nano_usd, 0)
                else 0 end) as nano_usd
  from shadow_finding as finding join call on call.call = finding.call
 where finding.tenant = ? and finding.decided_ns >= ? and finding.decided_ns < ?
 group by finding.rule, would, agent
 order by finding.rule, would, count(*) desc, agent
"""
"""What rules in shadow would have changed, by agent. A range of the primary key, then the calls'."""

_SHADOW_EXAMPLES = """
select call from shadow_finding
 where tenant = ? and decided_ns >= ? and decided_ns < ? and rule = ? and would = ?
 order by decided_ns desc, call
 limit ?
"""
"""The last calls that a rule in shadow would have changed. Walks the primary key from its end."""

_BEFORE = """
 where tenant = ? and decided_ns >= ? and decided_ns <= ? and agent = ?
 order by decided_ns desc, sequence desc limit ?
"""
_AFTER = """
 where tenant = ? and decided_ns > ? and decided_ns <= ? and agent = ?
 order by decided_ns, sequence limit ?
"""
"""An agent's calls before an instant and after it, the nearest first. Ranges of the index on time."""

ATTEMPTS_NS = 15 * 60 * 1_000_000_000
ATTEMPTS_LOOKED_AT = 500

Dimension = Literal["agent", "team", "project", "cost_centre", "environment", "connector", "tool", "model"]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)

OPEN_STATES = ("reserved", "dispatched", "in_doubt")


class Query(Protocol):
    """A store's way to read rows."""

    def __call__(self, sql: str, values: tuple[object, ...] = ()) -> list[dict[str, Any]]:
        """Read rows as dictionaries; `?` stands for a value."""


class BudgetStanding(msgspec.Struct, frozen=True, kw_only=True):
    """One budget's balance in its current window, for one scope of it, in the quantity's smallest unit.

    `limit` is what the window bears, `carried` included; `rate` is that of the budget's currency, fixed for the window.
    `balance` is what it was read from, with the notes of its window.
    """

    budget: Budget
    scope: str
    window: Window
    reserved: int
    spent: int
    limit: int
    carried: int = 0
    rate: ExchangeRate | None = None
    balance: Standing = NOTHING

    @property
    def left(self) -> int:
        """What may still be reserved; below 0 after an overrun, or when a limit was lowered."""
        return self.limit - self.spent - self.reserved


class BudgetWindow(msgspec.Struct, frozen=True, kw_only=True):
    """One window of a budget, all its scopes together."""

    window: Window
    scopes: int
    reserved: int
    spent: int


class CallReport(msgspec.Struct, frozen=True, kw_only=True):
    """One call as people look at it."""

    call: str
    state: str
    effect: str
    reason_code: str
    reason: str
    agent: str
    team: str
    project: str | None
    cost_centre: str
    environment: str
    connector: str
    tool: str
    model: str | None
    api_key: str
    run: str | None
    policy_version: str
    config_version: int
    expected_nano_usd: int | None
    maximum_nano_usd: int | None
    cost_nano_usd: int | None
    overrun: bool
    decided_ns: int
    settled_ns: int | None
    sequence: int
    parent: str | None = None
    customer: str | None = None
    rule: str | None = None
    traceparent: str | None = None

    @property
    def place(self) -> TracePlace | None:
        """Where the call stands in a trace, if it does in one."""
        return trace_place(self.traceparent)

    @property
    def counted_nano_usd(self) -> int | None:
        """What the call counts as now: its cost, or while it is open the most that it can come to."""
        return self.maximum_nano_usd if self.is_open else self.cost_nano_usd

    @property
    def is_open(self) -> bool:
        """Whether it may still come to something."""
        return self.state in OPEN_STATES


class CallFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which calls: all that is given must hold."""

    agent: str | None = None
    effect: str | None = None
    state: str | None = None
    since_ns: int | None = None
    run: str | None = None
    customer: str | None = None
    rule: str | None = None
    config_version: int | None = None


class Sum(msgspec.Struct, frozen=True, kw_only=True):
    """What the calls of one agent, team, model… come to."""

    name: str | None
    calls: int
    nano_usd: int


class ShadowReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule in shadow would have done in a stretch of time: how, to whose calls, and the last of them.

    `nano_usd` is what the calls cost that it would have refused (open ones at their maximum), or what those that it
    would have allowed were expected to cost.
    """

    rule: str
    would: str
    calls: int
    nano_usd: int
    agents: tuple[Sum, ...]
    examples: tuple[str, ...]


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What has been spent since an instant, as of a place in the record."""

    since_ns: int
    sequence: int
    nano_usd: int


class EntryReport(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a tenant's record; `body` is its canonical bytes."""

    sequence: int
    call: str | None
    type: str
    at_ns: int
    body: bytes


class Discovered(msgspec.Struct, frozen=True, kw_only=True):
    """A caller without a key: its name, the id of its credential, and what it did; nobody knows what `unpriced` calls
    cost.
    """

    agent: str
    api_key: str
    calls: int
    nano_usd: int
    unpriced: int
    first_ns: int
    last_ns: int
    used: tuple[str, ...] = ()


def _balance(row: dict[str, Any]) -> Standing:
    return standing(row["pending"], row["posted"], row["buckets"], row["notes"])


def _budget_standing(
    budget: Budget, scope: str, window: Window, balance: Standing, now_ns: int
) -> BudgetStanding:
    return BudgetStanding(
        budget=budget,
        scope=scope,
        window=window,
        reserved=balance.pending,
        spent=balance.posted,
        limit=limit_of(budget, balance, now_ns),
        carried=carried(budget, balance, now_ns),
        rate=rate_of(budget, balance),
        balance=balance,
    )


def _of_row(budget: Budget, window: Window, row: dict[str, Any], now_ns: int) -> BudgetStanding:
    balance = rolled(_balance(row), budget.length_ns, now_ns)
    if wants_notes(budget):
        balance = noted(budget, window, balance, now_ns)
    return _budget_standing(budget, row["scope"], window, balance, now_ns)


def _windows_of(budgets: Iterable[Budget], now_ns: int) -> list[tuple[Budget, Window]]:
    """Each budget's window at an instant; those with the same calendar share one."""
    known: dict[tuple[object, ...], Window] = {}
    found = []
    for budget in budgets:
        calendar = (budget.period, budget.zone, budget.once, budget.length_ns, budget.year_starts)
        window = known.get(calendar)
        if window is None:
            window = known[calendar] = budget.window(now_ns)
        found.append((budget, window))
    return found


class Reports:
    """The questions. `query` is a store's."""

    def __init__(self, query: Query) -> None:
        """Read through a store."""
        self._query = query

    def tenants(self) -> list[str]:
        """All tenants, by id."""
        return [row["tenant"] for row in self._query(_TENANTS)]

    def standings(self, tenant: str, budgets: Iterable[Budget], now_ns: int) -> list[BudgetStanding]:
        """Budgets' balances in the windows that an instant falls into.

        A budget that is split has one for each scope that was ever used in the window, so it may have none.
        """
        found = []
        windows = _windows_of(budgets, now_ns)
        whole = self._whole(tenant, windows)
        for budget, window in windows:
            if budget.per:
                rows = self._query(_STANDINGS, (tenant, budget.id, window.label))
            else:
                rows = whole.get(budget.id, [])
            if not rows and not budget.per:
                balance = opened(budget, window, self._before(tenant, budget, window), now_ns)
                found.append(_budget_standing(budget, "", window, balance, now_ns))
            found += [_of_row(budget, window, row, now_ns) for row in rows]
        return found

    def fullest(
        self, tenant: str, budget: Budget, now_ns: int, most: int
    ) -> tuple[list[BudgetStanding], int]:
        """Those of a budget's balances that have least left, at most so many, and how many there are in the window.

        A budget that is split by runs has as many as there were runs. All are read only of one whose limits differ
        from balance to balance, or of which not all counts that is posted.
        """
        if not budget.per or wants_notes(budget) or budget.period == "rolling":
            found = sorted(self.standings(tenant, [budget], now_ns), key=lambda each: (each.left, each.scope))
            return found[:most], len(found)
        window = budget.window(now_ns)
        key = (tenant, budget.id, window.label)
        found = [_of_row(budget, window, row, now_ns) for row in self._query(_FULLEST, (*key, most))]
        count = len(found) if len(found) < most else int(self._query(_BALANCES, key)[0]["balances"])
        return found, count

    def standing(self, tenant: str, budget: Budget, scope: str, now_ns: int) -> BudgetStanding | None:
        """One balance of a budget in the window that an instant falls into; None where nothing was called on it."""
        window = budget.window(now_ns)
        rows = self._query(_ONE_STANDING, (tenant, budget.id, window.label, scope))
        return _of_row(budget, window, rows[0], now_ns) if rows else None

    def _whole(self, tenant: str, windows: list[tuple[Budget, Window]]) -> dict[str, list[dict[str, Any]]]:
        """The balances of the budgets that aren't split, by budget; many in one question."""
        asked: dict[str, list[str]] = {}
        for budget, window in windows:
            if not budget.per:
                asked.setdefault(window.label, []).append(budget.id)
        found: dict[str, list[dict[str, Any]]] = {}
        for label, ids in asked.items():
            for first in range(0, len(ids), _ASKED_AT_ONCE):
                some = ids[first : first + _ASKED_AT_ONCE]
                sql = _WHOLE.format(marks=", ".join("?" * len(some)))
                for row in self._query(sql, (tenant, *some, label)):
                    found[row["budget"]] = [{**row, "scope": ""}]
        return found

    def _before(self, tenant: str, budget: Budget, window: Window) -> tuple[Window, Standing | None] | None:
        """The window before one that isn't open yet and its balance, where something of it is carried over."""
        if budget.carry_over is None or not self._query(_EVER_USED, (tenant, budget.id, "")):
            return None
        before = budget.window(window.starts_ns - 1)
        rows = self._query(_STANDINGS, (tenant, budget.id, before.label))
        return before, next((_balance(row) for row in rows if not row["scope"]), None)

    def windows(self, tenant: str, budget: str, now_ns: int, limit: int = 8) -> list[BudgetWindow]:
        """A budget's last windows in which it was used, the newest first."""
        return [
            BudgetWindow(
                window=Window(label=row["label"], starts_ns=row["starts_ns"], ends_ns=row["ends_ns"]),
                scopes=row["scopes"],
                reserved=int(row["pending"]),
                spent=int(row["posted"]),
            )
            for row in self._query(_WINDOWS, (tenant, budget, now_ns, limit))
        ]

    def calls(
        self, tenant: str, wanted: CallFilter, limit: int, *, behind: tuple[int, int] | None = None
    ) -> list[CallReport]:
        """Calls, the newest first; those in a state that is still open, the oldest first.

        `behind` is the `decided_ns` and `sequence` of the call that the list goes on behind.
        """
        sql, values = _CALLS + _OF_TENANT, list[object]([tenant])
        for condition, value in (
            (" and decided_ns >= ?", wanted.since_ns),
            (" and agent = ?", wanted.agent),
            (" and effect = ?", wanted.effect),
            (" and state = ?", wanted.state),
            (" and run = ?", wanted.run),
            (" and customer = ?", wanted.customer),
            (" and rule = ?", wanted.rule),
            (" and config_version = ?", wanted.config_version),
        ):
            if value is not None:
                sql += condition
                values.append(value)
        is_open = wanted.state in OPEN_STATES
        if behind is not None:
            sql += _NEWER if is_open else _OLDER
            values += (behind[0], *behind)
        sql += _STILL_OPEN + _OLDEST_FIRST if is_open else _NEWEST_FIRST
        return [_call(row) for row in self._query(sql, (*values, limit))]

    def call(self, tenant: str, call: str) -> CallReport | None:
        """One call by id."""
        rows = self._query(_CALLS + _OF_TENANT + _ONE, (tenant, call))
        return _call(rows[0]) if rows else None

    def key_hint(self, tenant: str, key: str) -> str:
        """How a key is shown to people; empty where none of that id was issued here."""
        rows = self._query(_KEY_HINT, (tenant, key))
        return str(rows[0]["hint"]) if rows else ""

    def run(self, tenant: str, number: str) -> Run | None:
        """One run that is kept, by its number."""
        rows = self._query(_RUN.format(fields=", ".join(RUN_FIELDS)), (tenant, number))
        return run_row(tuple(rows[0].values())) if rows else None

    def calls_of_run(self, tenant: str, number: str, limit: int) -> list[CallReport]:
        """The calls of one run, by its number, in the order in which they were decided."""
        return [
            _call(row) for row in self._query(_CALLS + _OF_TENANT + _OF_RUN, (tenant, f"run_{number}", limit))
        ]

    def attempts_of_run(self, tenant: str, number: str) -> dict[str, int]:
        """Which further attempt at a request calls of a run were, by call; only those that a client made by itself."""
        rows = self._query(_ATTEMPTS_OF_RUN, (tenant, f"run_{number}"))
        found = {row["call"]: msgspec.json.decode(bytes(row["body"])).get("retry", 0) for row in rows}
        return {call: retry for call, retry in found.items() if retry}

    def runs_of_tree(self, tenant: str, root: str, limit: int) -> list[Run]:
        """The runs that are kept of those delegated in a tree, by the number of its first, the oldest first."""
        sql = _RUNS_OF_TREE.format(fields=", ".join(RUN_FIELDS))
        return [run_row(tuple(row.values())) for row in self._query(sql, (tenant, tenant, root, limit))]

    def open_runs(self, tenant: str, owner: str | None, now_ns: int, limit: int) -> list[Run]:
        """Runs that count, for one owner or for all, those that were called in last first."""
        sql, values = _OPEN_RUNS.format(fields=", ".join(RUN_FIELDS)), list[object]([tenant, now_ns])
        if owner is not None:
            sql += " and owner = ?"
            values.append(owner)
        rows = self._query(sql + _LAST_CALLED_FIRST, (*values, limit))
        return [run_row(tuple(row.values())) for row in rows]

    def open_run_counts(self, tenant: str, now_ns: int) -> dict[str, int]:
        """How many runs count, by owner."""
        return {row["owner"]: row["runs"] for row in self._query(_OPEN_RUN_COUNTS, (tenant, now_ns))}

    def entries_of_call(self, tenant: str, call: str) -> list[EntryReport]:
        """What the record says of one call, in order."""
        return [_entry(row) for row in self._query(_ENTRIES_OF_CALL, (call, tenant))]

    def is_redacted(self, tenant: str, call: str) -> bool:
        """Whether something was redacted in a call's arguments."""
        entries = self.entries_of_call(tenant, call)
        return any(
            "redacted" in msgspec.json.decode(each.body) for each in entries if each.type == "decision"
        )

    def attempts(self, tenant: str, call: CallReport) -> list[CallReport]:
        """The attempts at one request that a client's library made by itself, this call among them, in order.

        A library says of each further attempt that it is one; the same request of the same agent before it is the
        one that it repeats. There is only this call where there are no others.
        """
        now_ns, of_agent = call.decided_ns, (call.agent, ATTEMPTS_LOOKED_AT)
        before = self._query(_CALLS + _BEFORE, (tenant, now_ns - ATTEMPTS_NS, now_ns, *of_agent))
        after = self._query(_CALLS + _AFTER, (tenant, now_ns, now_ns + ATTEMPTS_NS, *of_agent))
        candidates = [_call(row) for row in (*reversed(before), *after)]
        asked = {each.call: self._asked(tenant, each.call) for each in candidates}
        mine = asked.get(call.call)
        if mine is None:
            return [call]
        series: list[CallReport] = []
        for each in candidates:
            found = asked[each.call]
            if found is None or found[0] != mine[0]:
                continue
            if found[1] == 0 and any(known.call == call.call for known in series):
                break  # the same request, made anew
            series = [each] if found[1] == 0 else [*series, each]
        return series

    def _asked(self, tenant: str, call: str) -> tuple[str, int] | None:
        """What tells a call's request from others, and which attempt at it the call was."""
        for entry in self.entries_of_call(tenant, call):
            if entry.type == "decision":
                record = msgspec.json.decode(entry.body)
                return record["arguments"]["hmac"], record.get("retry", 0)
        return None

    def calls_of_entries(self, tenant: str, after: int, until: int) -> list[CallReport]:
        """The calls that the entries after one place, up to another, are about, as they stand now."""
        return [_call(row) for row in self._query(_CALLS + _OF_ENTRIES, (tenant, after, until))]

    def last_sequence(self, tenant: str) -> int:
        """Where a tenant's record ends; 0 before its first entry."""
        return int(self._query(_LAST_SEQUENCE, (tenant,))[0]["sequence"])

    def open_calls(self, tenant: str) -> dict[str, int]:
        """How many calls are not closed, by state."""
        return {row["state"]: row["calls"] for row in self._query(_OPEN, (tenant,))}

    def effects(self, tenant: str, since_ns: int) -> dict[str, int]:
        """How many calls were decided since an instant, by effect."""
        found = {row["effect"]: int(row["calls"]) for row in self._query(_EFFECTS, 2 * (tenant, since_ns))}
        allowed = found.pop("") - sum(found.values())
        return {**({"allow": allowed} if allowed else {}), **found}

    def spent(self, tenant: str, since_ns: int) -> Spent:
        """What the calls decided since an instant have cost so far."""
        row = self._query(_SPENT, (since_ns, tenant))[0]
        return Spent(since_ns=since_ns, sequence=row["sequence"], nano_usd=int(row["nano_usd"] or 0))

    def spent_now(self, tenant: str, known: Spent) -> Spent:
        """What has been spent since the same instant, from what was known and the record since."""
        until = self.last_sequence(tenant)
        row = self._query(_SPENT_SINCE, (tenant, known.sequence, until, known.since_ns))[0]
        added = int(row["nano_usd"] or 0)
        return Spent(since_ns=known.since_ns, sequence=until, nano_usd=known.nano_usd + added)

    def charges_by(self, tenant: str, dimension: Dimension, since_ns: int, until_ns: int) -> list[Sum]:
        """Charge lines of the calls decided in a stretch of time, added up, the dearest first."""
        sql = _CHARGES.replace("{dimension}", DIMENSIONS[DIMENSIONS.index(dimension)])
        return [_sum(row) for row in self._query(sql, (tenant, since_ns, until_ns))]

    def versions(self, until: int = 2**63 - 1, limit: int = 20) -> list[ConfigVersion]:
        """The configurations that were applied, up to a version, the newest first."""
        return [config_row(tuple(row.values())) for row in self._query(_VERSIONS, (until, limit))]

    def all_versions(self) -> Iterator[ConfigVersion]:
        """All configurations, from the first on, one at a time."""
        for row in self._query("select version from config_version order by version"):
            yield from self.versions(until=row["version"], limit=1)

    def versions_recorded(self) -> dict[int, str]:
        """The bundle's digest that the tenants' records have of each configuration; "" where they don't agree."""
        found: dict[int, str] = {}
        for row in self._query(_CONFIGURATION_ENTRIES):
            entry = msgspec.json.decode(row["body"])
            version, digest = entry["config_version"], entry.get("bundle_sha256", "")
            found[version] = digest if found.get(version, digest) == digest else ""
        return found

    def people(self) -> list[Person]:
        """Everybody who has an account, by id."""
        return [person_row(tuple(row.values())) for row in self._query(PEOPLE, ())]

    def tokens(self) -> list[Token]:
        """Everybody's tokens, by person and age."""
        return [token_row(tuple(row.values())) for row in self._query(TOKENS, ())]

    def newest_version(self) -> int:
        """The newest configuration's number; 0 where there is none."""
        return int(
            self._query("select coalesce(max(version), 0) as version from config_version")[0]["version"]
        )

    def sides(self, tenant: str, since_ns: int, until_ns: int, limit: int) -> dict[int, Side]:
        """How the last calls decided in a stretch of time fared, by configuration; at most so many."""
        return {
            row["config_version"]: Side(
                calls=int(row["calls"]),
                refused=int(row["refused"]),
                errors=int(row["errors"]),
                cost_nano_usd=int(row["cost_nano_usd"]),
                agents=int(row["agents"]),
            )
            for row in self._query(_SIDES, (tenant, since_ns, until_ns, limit))
        }

    def last_ns(self) -> int:
        """The newest instant in any tenant's record; 0 where there is none."""
        return int(self._query("select coalesce(max(last_ns), 0) as last_ns from tenant_head")[0]["last_ns"])

    def gateways(self) -> list[GatewayRow]:
        """The gateway processes, as they were last heard of."""
        return [GatewayRow(**row) for row in self._query("select * from gateway order by boot, process")]

    def newest_versions(self) -> Iterator[ConfigVersion]:
        """All configurations, from the last one on, one at a time."""
        found = self.versions(limit=1)
        while found:
            yield found[0]
            found = self.versions(until=found[0].version - 1, limit=1)

    def version(self, number: int) -> ConfigVersion | None:
        """One configuration that was applied."""
        found = self.versions(number, limit=1)
        return found[0] if found and found[0].version == number else None

    def proposal(self, number: int) -> Proposal | None:
        """A change that wants a second person, with its files and what was answered."""
        return next((proposal_row(tuple(row.values())) for row in self._query(PROPOSAL, (number,))), None)

    def proposals(self, limit: int, *, only_waiting: bool) -> list[Proposal]:
        """The newest of them, without their files."""
        rows = self._query(PROPOSALS, (int(only_waiting), limit))
        return [proposal_row(tuple(row.values())) for row in rows]

    def shadow(
        self, tenant: str, since_ns: int, examples: int = 3, *, until_ns: int = 2**63 - 1
    ) -> list[ShadowReport]:
        """What rules in shadow would have changed about the calls decided in a stretch of time, by rule."""
        period = (tenant, since_ns, until_ns)
        found: dict[tuple[str, str], list[Sum]] = {}
        for row in self._query(_SHADOW, period):
            agents = found.setdefault((row["rule"], row["would"]), [])
            agents.append(Sum(name=row["name"], calls=row["calls"], nano_usd=int(row["nano_usd"])))
        return [
            ShadowReport(
                rule=rule,
                would=would,
                calls=sum(agent.calls for agent in agents),
                nano_usd=sum(agent.nano_usd for agent in agents),
                agents=tuple(agents),
                examples=tuple(
                    row["call"] for row in self._query(_SHADOW_EXAMPLES, (*period, rule, would, examples))
                ),
            )
            for (rule, would), agents in found.items()
        ]

    def discovered(self, tenant: str, since_ns: int, used_max: int = 8) -> list[Discovered]:
        """Callers without a key, dearest first."""
        rows = self._query(_DISCOVERED, (tenant, since_ns, UNREGISTERED))
        return [
            Discovered(
                used=tuple(
                    used["name"] for used in self._query(_USED, (tenant, since_ns, row["agent"], used_max))
                ),
                agent=row["agent"],
                api_key=row["api_key"],
                **{name: int(row[name]) for name in ("calls", "nano_usd", "unpriced", "first_ns", "last_ns")},
            )
            for row in rows
        ]

    def entries(self, tenant: str, after: int, limit: int) -> list[EntryReport]:
        """Entries of the record after a place, in order."""
        return [_entry(row) for row in self._query(_ENTRIES, (tenant, after, limit))]


def _entry(row: dict[str, Any]) -> EntryReport:
    return EntryReport(
        sequence=row["sequence"],
        call=row["call"],
        type=row["type"],
        at_ns=row["at_ns"],
        body=bytes(row["body"]),
    )


def _call(row: dict[str, Any]) -> CallReport:
    return CallReport(**{**row, "overrun": bool(row["overrun"])})


def _sum(row: dict[str, Any]) -> Sum:
    return Sum(name=row["name"], calls=row["calls"], nano_usd=int(row["nano_usd"]))
