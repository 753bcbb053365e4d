"""Budgets, and what is told of one, as files have it. Amounts are in the budget's unit: dollars, tokens, …"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction

from aegis_gateway.adapters.budget_agents import BudgetAgents
from aegis_gateway.adapters.reports import BudgetWindow
from aegis_gateway.domain.budget_change import BudgetChange
from aegis_gateway.domain.burn_down import BurnPoint
from aegis_gateway.domain.registry import BUILT_IN_QUANTITIES, Quantity, Registry
from aegis_gateway.entrypoints.people.budgets.balances import Balance
from aegis_gateway.entrypoints.people.columns import Column, Row

BALANCE_COLUMNS = (
    *(Column(each) for each in ("tenant", "budget", "scope", "period", "mode", "state")),
    *(Column(each, "time") for each in ("window_starts", "window_ends")),
    Column("unit"),
    *(Column(each, "number") for each in ("spent", "reserved", "left", "limit")),
    Column("used", "share"),
    *(Column(each, "number") for each in ("expected", "expected_low", "expected_high")),
    Column("exhausted_at", "time"),
)
CHANGE_COLUMNS = (
    Column("at", "time"),
    Column("kind"),
    Column("unit"),
    *(Column(each, "number") for each in ("limit_before", "limit_after")),
    *(Column(each, "time") for each in ("starts", "ends")),
    *(Column(each) for each in ("asked_by", "approver", "reason")),
    Column("config_version", "count"),
)
AGENT_COLUMNS = (
    Column("agent"),
    Column("cost_usd", "usd"),
    Column("calls", "count"),
    Column("looked_at"),
    Column("since", "time"),
)
WINDOW_COLUMNS = (
    Column("window"),
    *(Column(each, "time") for each in ("starts", "ends")),
    Column("balances", "count"),
    Column("unit"),
    *(Column(each, "number") for each in ("spent", "reserved")),
)
COURSE_COLUMNS = (
    Column("at", "time"),
    Column("unit"),
    *(Column(each, "number") for each in ("left", "expected", "ideal")),
)


def balance_rows(balances: Iterable[Balance]) -> Iterator[Row]:
    """A row for each balance."""
    for each in balances:
        standing, quantity, forecast = each.standing, each.quantity, each.forecast
        told = forecast if forecast is not None and forecast.basis != "nothing" else None
        yield [
            each.tenant,
            each.budget.id,
            standing.scope or None,
            each.budget.period,
            each.budget.mode,
            each.state,
            standing.window.starts_ns if each.has_end else None,
            standing.window.ends_ns if each.has_end else None,
            quantity.id,
            *(
                in_unit(quantity, each)
                for each in (standing.spent, standing.reserved, standing.left, standing.limit)
            ),
            Fraction(standing.spent + standing.reserved, standing.limit) if standing.limit > 0 else None,
            *(
                in_unit(quantity, each)
                for each in ((told.expected, told.low, told.high) if told else (None,) * 3)
            ),
            told.exhausted_ns if told else None,
        ]


def change_rows(changes: Iterable[BudgetChange], registry: Registry) -> Iterator[Row]:
    """A row for each change of a limit."""
    known = {**BUILT_IN_QUANTITIES, **registry.quantities, **_currencies(registry)}
    for each in changes:
        quantity = known.get(each.unit, Quantity(id=each.unit, scale=1))
        yield [
            each.at_ns,
            each.kind,
            each.unit,
            in_unit(quantity, each.limit_before),
            in_unit(quantity, each.limit_after),
            each.starts_ns,
            each.ends_ns,
            each.asked_by or None,
            each.approver or None,
            each.reason or None,
            each.config_version,
        ]


def agent_rows(found: BudgetAgents) -> Iterator[Row]:
    """A row for each agent, and in each what was looked at."""
    return (
        [each.name, each.nano_usd, each.calls, found.looked_at, found.since_ns or None]
        for each in found.agents
    )


def window_rows(windows: Iterable[BudgetWindow], quantity: Quantity) -> Iterator[Row]:
    """A row for each window."""
    for each in windows:
        yield [
            each.window.label,
            each.window.starts_ns,
            each.window.ends_ns,
            each.scopes,
            quantity.id,
            in_unit(quantity, each.spent),
            in_unit(quantity, each.reserved),
        ]


def course_rows(points: Iterable[BurnPoint], quantity: Quantity) -> Iterator[Row]:
    """A row for each point of a burn-down."""
    for each in points:
        yield [
            each.at_ns,
            quantity.id,
            *(in_unit(quantity, left) for left in (each.actual, each.expected, each.ideal)),
        ]


def in_unit(quantity: Quantity, amount: int | None) -> Decimal | None:
    """An amount in the unit that people write."""
    return None if amount is None else Decimal(amount) / quantity.scale


def _currencies(registry: Registry) -> Mapping[str, Quantity]:
    scale = BUILT_IN_QUANTITIES["usd"].scale
    return {each: Quantity(id=each, scale=scale) for each in registry.currencies}
