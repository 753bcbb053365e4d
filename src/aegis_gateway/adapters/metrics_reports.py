"""What Prometheus is told: sums since calls are counted, balances and what waits, for one tenant.

Rule 1: sums only grow, and are the same in every gateway on the store: they are the ledger's.
Rule 2: what they are told apart by is configured, and so bounded: no run, call, customer or unregistered caller has
        sums of its own.
"""

from __future__ import annotations

from collections import Counter

from aegis_gateway.adapters.reports import Query
from aegis_gateway.adapters.usage_reports import UsageOf, UsageReports
from aegis_gateway.domain.hourly import HOUR_NS
from aegis_gateway.domain.registry import UNREGISTERED
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
_HELD = "select count(*) as number from api_key where tenant = ? and holds is not null"
_LAST_HOUR = "select sum(amount) as amount from budget_hour where tenant = ? and budget = ? and scope = '' and hour = ?"


class MetricsReports:
    """The questions. `query` is a store's."""

    def __init__(self, query: Query) -> None:
        """Read through a store."""
        self._query = query
        self._usage = UsageReports(query)

    def calls(self, tenant: str) -> list[UsageOf]:
        """Sums by team, agent, connector, model and effect; callers without a key are one agent."""
        found: dict[tuple[str, ...], UsageSum] = {}
        for each in self._usage.by(
            tenant, 0, _EVER_NS, ("team", "agent", "connector", "model", "effect"), limit=2**31
        ):
            team, agent, *rest = each.values
            values = (team, UNREGISTERED if team == UNREGISTERED else agent, *rest)
            known = found.get(values)
            found[values] = each.sums if known is None else together(known, each.sums)
        return [UsageOf(values=values, sums=sums) for values, sums in found.items()]

    def violations(self, tenant: str) -> list[tuple[str, str, str, int]]:
        """Calls not let through, and findings in shadow: rule, what was or would have been done, mode, number."""
        enforced = [
            (rule or code, effect, "enforce", each.sums.calls)
            for each in self._usage.by(tenant, 0, _EVER_NS, ("rule", "code", "effect"), limit=2**31)
            for rule, code, effect in (each.values,)
            if effect != "allow"
        ]
        quiet = [
            (each.rule, each.would, "shadow", each.calls) for each in self._usage.shadow(tenant, 0, _EVER_NS)
        ]
        found: Counter[tuple[str, str, str]] = Counter()
        for rule, effect, mode, number in (*enforced, *quiet):
            found[rule, effect, mode] += number
        return [(*key, number) for key, number in found.items()]

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

    def used_in_hour(self, tenant: str, budget: str, at_ns: int) -> int:
        """What was spent of a budget that isn't split, in the whole hour before the one of an instant."""
        hour = at_ns // HOUR_NS - 1
        return int(self._query(_LAST_HOUR, (tenant, budget, hour))[0]["amount"] or 0)
