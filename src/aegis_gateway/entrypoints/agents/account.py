"""One agent: who it is, its keys, what it draws on, what it spent, and what it was refused.

Rule: what it spent in all comes from the sums that the overview reads. Runs, dearest calls and words of refusals are
      those of its newest calls of the period (`LOOKED_AT`), and whoever shows them says so where there were more.
"""

from __future__ import annotations

import msgspec

from aegis_gateway.adapters.agent_reports import LOOKED_AT, AgentReports, KeyAct, Refused, RunOfAgent
from aegis_gateway.adapters.reports import BudgetStanding, CallReport, Query, Reports
from aegis_gateway.adapters.usage_reports import UsageReports
from aegis_gateway.application.claims import budgets_of_agent
from aegis_gateway.domain.agent_state import AgentState, KeyState, key_state
from aegis_gateway.domain.hold import Hold
from aegis_gateway.domain.kpi import Totals
from aegis_gateway.domain.registry import UNREGISTERED, Agent, Budget, Key, Registry
from aegis_gateway.domain.threshold import budget_of_rule
from aegis_gateway.entrypoints.agents.roster import keys_by_agent, state_of
from aegis_gateway.entrypoints.people.overview.periods import Period, Range, day_of, month_of, period_of

RUNS_LISTED = 10
CALLS_LISTED = 10
KEYS_LISTED = 50


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """What holds a key: the hold, and the budget whose threshold it is, if it is one's."""

    hold: Hold
    budget: str


class KeyLine(msgspec.Struct, frozen=True, kw_only=True):
    """One key, without anything secret. `made_by` is empty where the record doesn't say; `last_ns` is None where none
    of the agent's newest calls was made with it. `acts` is what was done to it since, the newest first.
    """

    key: Key
    state: KeyState
    made_by: str
    last_ns: int | None
    holds: tuple[Holding, ...]
    acts: tuple[KeyAct, ...]


class BudgetLine(msgspec.Struct, frozen=True, kw_only=True):
    """A budget that the agent's calls can count on; `standing` is None where its balance isn't known from the agent
    alone. `is_home`: it lives on it.
    """

    budget: Budget
    standing: BudgetStanding | None
    is_home: bool


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Calls that weren't let through for one reason: how many, by which rule, and in which words it was last told.

    `not_spent` is what they were expected to cost, each time they were asked for.
    """

    effect: str
    code: str
    rule: str
    calls: int
    not_spent: int
    words: str
    last: Refused | None


class AgentAccount(msgspec.Struct, frozen=True, kw_only=True):
    """All of one agent in a period. `agent` is None where it isn't registered; `is_cut`: it made more calls in the
    period than runs and dearest calls are told of.
    """

    tenant: str
    id: str
    agent: Agent | None
    team: str
    state: AgentState
    last_ns: int | None
    keys: tuple[KeyLine, ...]
    keys_count: int
    budgets: tuple[BudgetLine, ...]
    period: Period
    totals: Totals
    before_nano_usd: int
    today: int
    month: int
    runs: tuple[RunOfAgent, ...]
    runs_count: int
    runs_nano_usd: int
    dearest: tuple[CallReport, ...]
    refusals: tuple[Refusal, ...]
    is_cut: bool


def account_of(
    query: Query, registry: Registry, name: str, range_: Range, now_ns: int
) -> AgentAccount | None:
    """Read it; None where nothing is known of an agent of that name."""
    tenant, zone = registry.tenant, registry.zone
    reports, usage = AgentReports(query), UsageReports(query)
    agent = registry.agents.get(name)
    last_ns = None if "\0" in name else reports.last_calls(tenant, [name]).get(name)
    if agent is None and last_ns is None:
        return None
    period = period_of(range_, zone, now_ns)
    since_ns, until_ns = period.since_ns, period.until_ns
    totals = usage.totals(tenant, since_ns, until_ns, {"agent": name})
    runs = reports.runs(tenant, name, since_ns, until_ns, RUNS_LISTED)
    own = keys_by_agent(reports.keys(tenant)).get(name, [])
    return AgentAccount(
        tenant=tenant,
        id=name,
        agent=agent,
        team=agent.team if agent is not None else UNREGISTERED if name.startswith(f"{UNREGISTERED}/") else "",
        state=state_of(name, registry, own, last_ns, now_ns),
        last_ns=last_ns,
        keys=_keys(reports, tenant, name, own[:KEYS_LISTED], now_ns),
        keys_count=len(own),
        budgets=() if agent is None else _budgets(query, registry, agent, now_ns),
        period=period,
        totals=totals,
        before_nano_usd=usage.totals(tenant, 2 * since_ns - until_ns, since_ns, {"agent": name}).sums.cost,
        today=usage.totals(tenant, *day_of(zone, now_ns), {"agent": name}).sums.cost,
        month=usage.totals(tenant, *month_of(zone, now_ns), {"agent": name}).sums.cost,
        runs=runs.dearest,
        runs_count=runs.count,
        runs_nano_usd=runs.nano_usd,
        dearest=tuple(reports.dearest(tenant, name, since_ns, until_ns, CALLS_LISTED)),
        refusals=_refusals(reports, usage, tenant, name, period),
        is_cut=totals.sums.calls > LOOKED_AT,
    )


def _keys(reports: AgentReports, tenant: str, name: str, own: list[Key], now_ns: int) -> tuple[KeyLine, ...]:
    if not own:
        return ()
    used = reports.keys_used(tenant, name)
    acts: dict[str, list[KeyAct]] = {}
    for act in reports.key_acts(tenant):
        acts.setdefault(act.key, []).append(act)
    made = ("issue", "rotate", "adopt")
    return tuple(
        KeyLine(
            key=key,
            state=key_state(key, now_ns),
            made_by=next((act.actor for act in acts.get(key.id, ()) if act.act in made), ""),
            last_ns=used.get(key.id),
            holds=tuple(
                Holding(hold=hold, budget="" if hold.by else budget_of_rule(hold.rule))
                for hold in key.holds
                if hold.acts and not hold.is_over(now_ns)
            ),
            acts=tuple(act for act in acts.get(key.id, ()) if act.act not in made),
        )
        for key in own
    )


def _budgets(query: Query, registry: Registry, agent: Agent, now_ns: int) -> tuple[BudgetLine, ...]:
    lines = []
    reports = Reports(query)
    for budget, scope in budgets_of_agent(registry, agent):
        standing = None
        if scope is not None:
            standings = reports.standings(registry.tenant, [budget], now_ns)
            standing = next((each for each in standings if each.scope == scope), None)
        lines.append(BudgetLine(budget=budget, standing=standing, is_home=budget.id == agent.budget))
    return tuple(sorted(lines, key=lambda each: (not each.is_home, each.budget.id)))


def _refusals(
    reports: AgentReports, usage: UsageReports, tenant: str, name: str, period: Period
) -> tuple[Refusal, ...]:
    since_ns, until_ns = period.since_ns, period.until_ns
    outcomes = usage.by(tenant, since_ns, until_ns, ("effect", "code", "rule"), where={"agent": name})
    told: dict[tuple[str, str, str], Refused] = {}
    for each in reports.refused(tenant, name, since_ns, until_ns):
        told.setdefault((each.effect, each.code, each.rule), each)
    found = []
    for outcome in outcomes:
        effect, code, rule = outcome.values
        if effect == "allow":
            continue
        last = told.get((effect, code, rule))
        found.append(
            Refusal(
                effect=effect,
                code=code,
                rule=rule,
                calls=outcome.sums.calls,
                not_spent=outcome.sums.expected,
                words=last.words if last is not None else "",
                last=last,
            )
        )
    return tuple(sorted(found, key=lambda each: (-each.calls, each.code, each.rule)))
