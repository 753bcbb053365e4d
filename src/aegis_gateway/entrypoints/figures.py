"""The key figures of a period, as commands and the control API tell them: read in one place, recorded in one form."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Literal

import msgspec

from aegis_gateway.adapters.budget_use import BudgetUse, forecast_of
from aegis_gateway.adapters.incident_reports import IncidentReports
from aegis_gateway.adapters.reports import BudgetStanding, Query, Reports
from aegis_gateway.adapters.usage_reports import ShadowUsage, UsageReports
from aegis_gateway.domain.hourly import HOUR_NS
from aegis_gateway.domain.kpi import (
    Figure,
    Totals,
    calls_for,
    deviation,
    figures,
    succeeded,
    transactions,
    wasted,
)
from aegis_gateway.domain.money import usd_text
from aegis_gateway.domain.outcome import OutcomeSum
from aegis_gateway.domain.registry import Registry
from aegis_gateway.domain.usage_cube import Slice, UsageCube

VIOLATORS_MAX = 50
"""So many rows of agents and rules are told, of each mode."""

_UNITS = {"usd": "nano_usd", "seconds": "nanoseconds"}

Part = Literal["agent", "team", "project", "cost_centre", "environment", "connector", "tool", "model"]
"""What spending may be broken down by."""


class BudgetFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A budget of money: what its window is expected to come to, and how far from its limit that is."""

    standing: BudgetStanding
    expected: int | None
    deviation: Fraction | None


class Violator(msgspec.Struct, frozen=True, kw_only=True):
    """How often one rule stopped one agent (`enforce`), or would have (`shadow`). `amount` is what was expected to be
    spent and wasn't, or what it can have come to.
    """

    rule: str
    mode: Literal["enforce", "shadow"]
    did: str
    agent: str
    calls: int
    amount: int


class KeyFigures(msgspec.Struct, frozen=True, kw_only=True):
    """All figures of a tenant's period, which is whole hours, from `since_ns` on and before `until_ns`."""

    tenant: str
    since_ns: int
    until_ns: int
    figures: tuple[Figure, ...]
    budgets: tuple[BudgetFigures, ...]
    totals: Totals
    violations: tuple[Slice, ...]
    shadow: tuple[ShadowUsage, ...]
    violators: tuple[Violator, ...] = ()
    by: Part | None = None
    parts: tuple[Slice, ...] = ()


def key_figures(
    query: Query, registry: Registry, since_ns: int, until_ns: int, now_ns: int, by: Part | None = None
) -> KeyFigures:
    """Read them from a store."""
    tenant = registry.tenant
    since_ns, until_ns = since_ns - since_ns % HOUR_NS, until_ns + -until_ns % HOUR_NS
    usage = UsageReports(query)
    cube = usage.cube(tenant, since_ns, until_ns)
    totals = cube.totals()
    money = [
        each
        for each in Reports(query).standings(tenant, registry.budgets.values(), now_ns)
        if registry.quantities[each.budget.quantity].is_money and not each.scope
    ]
    return KeyFigures(
        tenant=tenant,
        since_ns=since_ns,
        until_ns=until_ns,
        figures=figures(totals, IncidentReports(query).times(tenant, since_ns, until_ns)),
        totals=totals,
        budgets=tuple(_budget_figures(query, tenant, each, now_ns) for each in money),
        violations=tuple(cube.violations("effect", "code", "rule")),
        shadow=tuple(usage.shadow(tenant, since_ns, until_ns)),
        violators=_violators(usage, cube, tenant, since_ns, until_ns),
        by=by,
        parts=() if by is None else tuple(cube.by(by)),
    )


def _violators(
    usage: UsageReports, cube: UsageCube, tenant: str, since_ns: int, until_ns: int
) -> tuple[Violator, ...]:
    """Who was stopped by which rule most often, and who would have been: so many of each mode."""
    enforced = (
        Violator(
            rule=rule,
            mode="enforce",
            did=effect,
            agent=agent,
            calls=each.sums.calls,
            amount=each.sums.expected,
        )
        for each in cube.violations("rule", "effect", "agent")[:VIOLATORS_MAX]
        for rule, effect, agent in (each.values,)
    )
    shadow = (
        Violator(rule=rule, mode="shadow", did=would, agent=agent, calls=calls, amount=maximum)
        for rule, would, agent, calls, maximum in usage.shadow_agents(
            tenant, since_ns, until_ns, VIOLATORS_MAX
        )
    )
    return (*enforced, *shadow)


def _budget_figures(query: Query, tenant: str, standing: BudgetStanding, now_ns: int) -> BudgetFigures:
    use = BudgetUse(query).hourly(tenant, standing.budget, standing.scope, now_ns)
    expected = forecast_of(use, standing, now_ns).expected
    return BudgetFigures(
        standing=standing,
        expected=expected,
        deviation=None if expected is None else deviation(expected, standing.limit),
    )


def figures_record(found: KeyFigures, instant: Callable[[int], str]) -> dict[str, object]:
    """Them for programs; `instant` writes a time."""
    record: dict[str, object] = {
        "tenant": found.tenant,
        "since": instant(found.since_ns),
        "until": instant(found.until_ns),
        "figures": [_figure_record(each) for each in found.figures],
        "budgets": [_budget_record(each) for each in found.budgets],
        "violations": [_violation_record(each) for each in found.violations],
        "shadow": [_shadow_record(each) for each in found.shadow],
        "violators": [msgspec.to_builtins(each) for each in found.violators],
        "outcomes": [_work_record(result, each) for result, each in found.totals.work.items()],
    }
    if found.by is not None:
        record |= {"by": found.by, "parts": [_part_record(each) for each in found.parts]}
    return record


def _figure_record(figure: Figure) -> dict[str, object]:
    value = figure.value
    return {
        "id": figure.id,
        "group": figure.group,
        "name": figure.name,
        "unit": _UNITS.get(figure.unit, figure.unit),
        "value": None if value is None else (float(value) if figure.unit == "share" else round(value)),
        "numerator": figure.numerator,
        "denominator": figure.denominator,
        "numerator_unit": _UNITS.get(figure.above, figure.above),
        "denominator_unit": None if figure.denominator is None else _UNITS.get(figure.below, figure.below),
        "formula": figure.formula,
        "source": figure.source,
        **({"usd": usd_text(round(value))} if figure.unit == "usd" and value is not None else {}),
    }


def _budget_record(each: BudgetFigures) -> dict[str, object]:
    standing = each.standing
    utilisation = None if standing.limit <= 0 else standing.spent / standing.limit
    return {
        "budget": standing.budget.id,
        "window": standing.window.label,
        "spent_nano_usd": standing.spent,
        "limit_nano_usd": standing.limit,
        "expected_nano_usd": each.expected,
        "utilisation": utilisation,
        "deviation": None if each.deviation is None else float(each.deviation),
        "calls_for": calls_for(each.deviation),
    }


def _work_record(result: str, each: OutcomeSum) -> dict[str, object]:
    return {
        "outcome": result or None,
        "trees": each.trees,
        "transactions": each.transactions,
        "cost_nano_usd": each.cost,
        "claimed_nano_usd": each.claimed,
    }


def _violation_record(each: Slice) -> dict[str, object]:
    effect, code, rule = each.values
    return {
        "rule": rule,
        "effect": effect,
        "code": code,
        "calls": each.sums.calls,
        "not_spent_nano_usd": each.sums.expected,
    }


def _shadow_record(each: ShadowUsage) -> dict[str, object]:
    return {
        "rule": each.rule,
        "would": each.would,
        "calls": each.calls,
        "agents": each.agents,
        "at_most_nano_usd": each.maximum,
    }


def _part_record(each: Slice) -> dict[str, object]:
    sums, good = each.sums, succeeded(each.work)
    return {
        "name": each.values[0],
        "spent_nano_usd": sums.cost,
        "spent": usd_text(sums.cost),
        "calls": sums.calls,
        "settled_calls": sums.settled_calls,
        "transactions": transactions(sums, each.work),
        "successes": good.trees,
        "cost_of_successes_nano_usd": good.cost,
        "failed_nano_usd": wasted(each.work).cost,
        "cache_candidates_nano_usd": sums.repeated,
        "tokens": sums.tokens,
        "output_tokens": sums.output_tokens,
        "saved_nano_usd": sums.saved,
    }
