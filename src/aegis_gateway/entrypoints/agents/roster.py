"""All agents of a tenant: whose they are, how they stand, what they spend.

Rule 1: those are here that are registered, and those that called in the last 30 days without being so.
Rule 2: what they spend is what the overview says, read from the same sums; days are those of the tenant's time zone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from aegis_gateway.adapters.agent_reports import AgentReports, named
from aegis_gateway.adapters.reports import Query
from aegis_gateway.adapters.usage_reports import UsageReports
from aegis_gateway.domain.agent_state import AgentState, agent_state
from aegis_gateway.domain.registry import CREDENTIAL, UNREGISTERED, Agent, Key, Registry
from aegis_gateway.domain.usage import UsageSum
from aegis_gateway.entrypoints.people.overview.periods import Range, day_of, month_of, period_of

LATELY: Range = "30d"
_NOBODY = ""
_ALL = 1_000_000


class AgentLine(msgspec.Struct, frozen=True, kw_only=True):
    """One agent among the others. Money in nano-USD; `calls` and `refused` are of the last 30 days.

    `agent` is None where it isn't registered. `valid_keys` are those of its `keys` that may be called with.
    """

    id: str
    agent: Agent | None
    owner: str
    team: str
    state: AgentState
    today: int
    month: int
    lately: int
    calls: int
    refused: int
    last_ns: int | None
    keys: int
    valid_keys: int

    @property
    def cost_centre(self) -> str:
        """Who pays for it; empty where nobody is known to."""
        return self.agent.cost_centre if self.agent is not None else _NOBODY


def roster(query: Query, registry: Registry, now_ns: int) -> list[AgentLine]:
    """All of them, by id."""
    tenant, zone = registry.tenant, registry.zone
    usage, reports = UsageReports(query), AgentReports(query)
    period = period_of(LATELY, zone, now_ns)
    lately: dict[str, UsageSum] = {}
    refused: dict[str, int] = {}
    teams: dict[str, str] = {}
    for each in usage.by(tenant, period.since_ns, period.until_ns, ("agent", "team", "effect"), limit=_ALL):
        name, team, effect = each.values
        sums = lately.setdefault(name, UsageSum())
        sums.cost += each.sums.cost
        sums.calls += each.sums.calls
        refused[name] = refused.get(name, 0) + (each.sums.calls if effect != "allow" else 0)
        teams[name] = team
    today = _spent(usage, tenant, day_of(zone, now_ns))
    month = _spent(usage, tenant, month_of(zone, now_ns))
    keys = keys_by_agent(reports.keys(tenant))
    gone = _adopted(keys)
    names = sorted({*registry.agents, *(each for each in lately if each not in gone)})
    last = reports.last_calls(tenant, named(names))
    nothing = UsageSum()
    lines = []
    for name in names:
        agent, of_agent = registry.agents.get(name), keys.get(name, [])
        sums = lately.get(name, nothing)
        lines.append(
            AgentLine(
                id=name,
                agent=agent,
                owner=agent.owner if agent is not None else _NOBODY,
                team=agent.team if agent is not None else teams.get(name, UNREGISTERED),
                state=state_of(name, registry, of_agent, last.get(name), now_ns),
                today=today.get(name, 0),
                month=month.get(name, 0),
                lately=sums.cost,
                calls=sums.calls,
                refused=refused.get(name, 0),
                last_ns=last.get(name),
                keys=len(of_agent),
                valid_keys=sum(key.is_valid(now_ns) for key in of_agent),
            )
        )
    return lines


def state_of(name: str, registry: Registry, keys: list[Key], last_ns: int | None, now_ns: int) -> AgentState:
    """How one stands."""
    return agent_state(
        keys,
        is_registered=name in registry.agents,
        is_stranger=name.startswith(f"{UNREGISTERED}/"),
        last_ns=last_ns,
        now_ns=now_ns,
    )


def keys_by_agent(keys: Iterable[Key]) -> dict[str, list[Key]]:
    """A tenant's keys by whose they are, the newest first."""
    found: dict[str, list[Key]] = {}
    for key in sorted(keys, key=lambda each: (-each.issued_ns, each.id)):
        found.setdefault(key.agent, []).append(key)
    return found


def _adopted(keys: Mapping[str, list[Key]]) -> frozenset[str]:
    """The names under which callers were known that are registered agents by now."""
    start = len(CREDENTIAL)
    return frozenset(
        f"{UNREGISTERED}/{key.id[start : start + 12]}"
        for some in keys.values()
        for key in some
        if key.is_own_credential
    )


def _spent(usage: UsageReports, tenant: str, bounds: tuple[int, int]) -> dict[str, int]:
    rows = usage.by(tenant, *bounds, ("agent",), limit=_ALL)
    return {each.values[0]: each.sums.cost for each in rows}
