"""Currencies in `aegis.yaml`: dated tables of what a unit is worth, and budgets that are written in one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from aegis_gateway.configuration.document import BudgetEntry, CarryOverEntry
from aegis_gateway.configuration.problems import Problems
from aegis_gateway.configuration.scaling import scaled
from aegis_gateway.configuration.yaml_source import Path
from aegis_gateway.domain.currency import PICO_PER_USD, RATES_MAX, Currency, ExchangeRate, day_of
from aegis_gateway.domain.limits import CarryOver
from aegis_gateway.domain.registry import Quantity, Registry

_DAY_NS = 86_400 * 1_000_000_000
_WINDOW_NS_MAX = {
    "hourly": _DAY_NS // 24,
    "daily": _DAY_NS,
    "weekly": 7 * _DAY_NS,
    "monthly": 35 * _DAY_NS,
    "quarterly": 98 * _DAY_NS,
    "yearly": 371 * _DAY_NS,
}
"""How long the windows that follow each other can be, those of fiscal years included."""


def compile_currencies(
    tables: Mapping[str, Mapping[date, Decimal]], path: Path, problems: Problems
) -> dict[str, Currency]:
    """All currencies of a tenant, by code."""
    return {code: _currency(code, table, (*path, code), problems) for code, table in tables.items()}


def _currency(code: str, table: Mapping[date, Decimal], path: Path, problems: Problems) -> Currency:
    if not table:
        problems.add(
            path, "has no rates; write what one is worth in dollars since when, as in {2026-11-01: 1.08}"
        )
    if len(table) > RATES_MAX:
        words = f"has {len(table)} rates; leave out old ones that no window needs, so that at most {RATES_MAX} stay"
        problems.add(path, words)
    return Currency(
        code=code,
        rates=tuple(
            ExchangeRate(
                day=day.isoformat(),
                pico_usd=scaled(table[day], PICO_PER_USD, (*path, day.isoformat()), problems),
            )
            for day in sorted(table)
        ),
    )


def currency_of(
    entry: BudgetEntry,
    quantity: Quantity | None,
    currencies: Mapping[str, Currency],
    path: Path,
    problems: Problems,
) -> Currency | None:
    """The currency that a budget is written in, if it isn't in dollars or no money."""
    if entry.currency is None:
        return None
    path = (*path, "currency")
    if quantity is not None and not quantity.is_money:
        problems.add(path, f"is for budgets of money, and this one counts {quantity.id}; leave it out")
    if entry.period == "rolling" or (entry.period == "once" and entry.first_day is None):
        problems.add(
            path, "has its rate fixed when a window begins, and this budget's never does; leave it out"
        )
    if entry.adapts is not None:
        problems.add(
            path, "is for limits that don't follow use, which is in dollars; leave it out, or `adapts`"
        )
    return currencies.get(entry.currency)  # without its table, that is what is told


def carry_over_of(
    entry: BudgetEntry, quantity: Quantity | None, path: Path, problems: Problems
) -> CarryOver | None:
    """What a budget takes into its next window, if anything."""
    carried: CarryOverEntry | None = entry.carry_over
    if carried is None:
        return None
    path = (*path, "carry_over")
    longest_ns = _WINDOW_NS_MAX.get(entry.period)
    if longest_ns is None:
        words = (
            f"is for budgets whose windows follow each other, and this one is {entry.period}; leave it out"
        )
        problems.add(path, words)
    elif carried.expires is not None and carried.expires > longest_ns:
        words = (
            f"is longer than a {entry.period} window, which is as long as carried money lasts; leave it out"
        )
        problems.add((*path, "expires"), words)
    return CarryOver(
        most=scaled(carried.most, quantity.scale, (*path, "most"), problems) if quantity is not None else 0,
        expires_ns=carried.expires or 0,
    )


def tell_of_missing_rates(registry: Registry, now_ns: int, path: Path, problems: Problems) -> None:
    """Budgets whose current windows began before the first rate of their currency: nothing could be spent of them."""
    for name, budget in registry.budgets.items():
        currency = budget.currency
        if currency is None or not currency.rates or problems.found:
            continue  # what else is wrong with them is told first
        window = budget.window(now_ns)
        if currency.at(window.starts_ns, budget.zone) is None:
            day = day_of(window.starts_ns, budget.zone)
            told = f"is {currency.code}, and no rate of it is dated {day}, when the budget's window began, or before"
            example = f"currencies: {{{currency.code}: {{{day}: {currency.rates[0].dollars:f}}}}}"
            problems.add((*path, name, "currency"), f"{told}; add one, as in {example}")
