"""What Prometheus is told: sums since calls are counted, balances and what waits, for one tenant.

Rule 1: sums only grow, and are the same in every gateway on the store: they are the ledger's.
Rule 2: what they are told apart by is configured, and so bounded: no run, call, customer or unregistered caller has
        sums of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from aegis_gateway.adapters.reports import BudgetStanding, Query, Reports
from aegis_gateway.adapters.usage_reports import Dimension, UsageReports
from aegis_gateway.application.metering import BudgetSeen
from aegis_gateway.domain.forecast import is_endless
from aegis_gateway.domain.hourly import HOUR_NS
from aegis_gateway.domain.registry import ON_THE_FLY, UNREGISTERED, Budget, Registry
from aegis_gateway.domain.usage import UsageSum, together

_EVER_NS = 2**62
"""After every hour that anything is decided in."""

_WAITING = "select count(*) as number from approval where tenant = ? and state = 'waiting'"
_INCIDENTS = (
    "select severity, count(*) as number from incident"
    " where tenant = ? and closed_ns is null group by severity"
)
_DELIVERIES = (
    "select state, count(*) as number from delivery"
    " where tenant = ? and state in ('waiting', 'dead') group by state"
)
_OUTCOMES = (
    "select team, agent, result, sum(trees) as trees, sum(cost) as cost from outcome_sum"
    " where tenant = ? and span = 'fortnight' group by team, agent, result"
)
_HELD = "select count(*) as number from api_key where tenant = ? and holds is not null"
_LAST_HOUR = (
    "select budget, amount from budget_hour"
    " where tenant = ? and budget in ({marks}) and scope = '' and hour = ?"
)
BUDGETS_AT_ONCE = 100
_DIMENSIONS: tuple[Dimension, ...] = ("team", "agent", "connector", "model", "effect", "code", "rule")


class TenantSums(msgspec.Struct, frozen=True, kw_only=True):
    """What a tenant's calls come to: by team, agent, connector, model and effect, callers without a key as one agent;
    and how many were not let through, or would not have been: by rule, what was or would have been done, and mode.
    """

    calls: dict[tuple[str, ...], UsageSum]
    violations: dict[tuple[str, str, str], int]


class BudgetMeasured(msgspec.Struct, frozen=True, kw_only=True):
    """A budget's balance, and how full it is and burns."""

    standing: BudgetStanding
    seen: BudgetSeen


class MetricsReports:
    """The questions. `query` is a store's."""

    def __init__(self, query: Query) -> None:
        """Read through a store."""
        self._query = query
        self._usage = UsageReports(query)

    def sums(self, tenant: str) -> TenantSums:
        """All that was added up since calls are counted, in one pass over the sums."""
        calls: dict[tuple[str, ...], UsageSum] = {}
        violations: Counter[tuple[str, str, str]] = Counter()
        for each in self._usage.by(tenant, 0, _EVER_NS, _DIMENSIONS, limit=2**31):
            team, agent, connector, model, effect, code, rule = each.values
            agent = UNREGISTERED if team == UNREGISTERED else agent
            values = (team, agent, connector, model, effect)
            known = calls.get(values)
            calls[values] = each.sums if known is None else together(known, each.sums)
            if effect != "allow":
                violations[rule or code, effect, "enforce"] += each.sums.calls
        for quiet in self._usage.shadow(tenant, 0, _EVER_NS):
            violations[quiet.rule, quiet.would, "shadow"] += quiet.calls
        return TenantSums(calls=calls, violations=violations)

    def outcomes(self, tenant: str) -> dict[tuple[str, str], tuple[int, int]]:
        """How many trees of runs were reported on, and what they cost: by agent and result."""
        found: dict[tuple[str, str], tuple[int, int]] = {}
        for row in self._query(_OUTCOMES, (tenant,)):
            agent = UNREGISTERED if row["team"] == UNREGISTERED else row["agent"]
            trees, cost = found.get((agent, row["result"]), (0, 0))
            found[agent, row["result"]] = (trees + int(row["trees"]), cost + int(row["cost"]))
        return found

    def waiting_approvals(self, tenant: str) -> int:
        """Requests for a person's word that nobody has answered."""
        return int(self._query(_WAITING, (tenant,))[0]["number"])

    def open_incidents(self, tenant: str) -> dict[str, int]:
        """Incidents that are open, by severity."""
        return {row["severity"]: int(row["number"]) for row in self._query(_INCIDENTS, (tenant,))}

    def deliveries(self, tenant: str) -> dict[str, int]:
        """Messages that wait to be delivered, and that nobody will try again to."""
        return {row["state"]: int(row["number"]) for row in self._query(_DELIVERIES, (tenant,))}

    def held_keys(self, tenant: str) -> int:
        """Keys that are held."""
        return int(self._query(_HELD, (tenant,))[0]["number"])

    def budgets(self, registry: Registry, now_ns: int) -> Iterator[BudgetMeasured]:
        """The balances of a tenant's budgets in their windows, without those that are made on the fly.

        They are read `BUDGETS_AT_ONCE`, as they are taken.
        """
        budgets = [each for each in registry.budgets.values() if set(ON_THE_FLY).isdisjoint(each.per)]
        for first in range(0, len(budgets), BUDGETS_AT_ONCE):
            yield from self._some(registry.tenant, budgets[first : first + BUDGETS_AT_ONCE], now_ns)

    def _some(self, tenant: str, budgets: Sequence[Budget], now_ns: int) -> Iterator[BudgetMeasured]:
        in_hour = self._used_in_hour(tenant, [each.id for each in budgets if not each.per], now_ns)
        for each in Reports(self._query).standings(tenant, budgets, now_ns):
            seen = BudgetSeen(
                tenant=tenant,
                budget=each.budget.id,
                scope=each.scope,
                utilization=(each.spent + each.reserved) / each.limit if each.limit > 0 else None,
                burn_rate=_burn_rate(each, in_hour.get(each.budget.id, 0)),
            )
            yield BudgetMeasured(standing=each, seen=seen)

    def _used_in_hour(self, tenant: str, budgets: Sequence[str], at_ns: int) -> dict[str, int]:
        """What was spent of budgets that aren't split, in the whole hour before the one of an instant."""
        if not budgets:
            return {}
        sql = _LAST_HOUR.format(marks=", ".join("?" * len(budgets)))
        rows = self._query(sql, (tenant, *budgets, at_ns // HOUR_NS - 1))
        return {row["budget"]: int(row["amount"]) for row in rows}


def _burn_rate(standing: BudgetStanding, used: int) -> float | None:
    """How fast a budget is spent, by what was `used` in an hour, against an even spending; None where that makes no
    sense.
    """
    window = standing.window
    if standing.budget.per or standing.limit <= 0 or is_endless(window):
        return None
    return used / standing.limit * (window.ends_ns - window.starts_ns) / HOUR_NS
