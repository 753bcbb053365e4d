"""What was fixed of a budget's window when it opened, as people and programs read it: its currency's rate, what it
carries over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from aegis_gateway.adapters.reports import BudgetStanding
from aegis_gateway.domain.currency import units_text
from aegis_gateway.domain.duration import duration_text
from aegis_gateway.domain.limits import limit_at
from aegis_gateway.domain.money import usd_text
from aegis_gateway.domain.registry import Quantity
from aegis_gateway.entrypoints.cli.output import quantity_text


def currency_words(standing: BudgetStanding) -> Iterator[str]:
    """What is left of how much in a budget's currency, by which rate: `left 12.50 EUR of 40.00 at $1.08 a EUR of …`."""
    currency, rate = standing.budget.currency, standing.rate
    if currency is not None and rate is not None:
        left, limit = (units_text(rate.units(amount)) for amount in (standing.left, standing.limit))
        yield f"left {left} {currency.code} of {limit} at {currency.rate_text(rate)}"


def window_terms(standings: Sequence[BudgetStanding], quantity: Quantity, now_ns: int) -> Iterator[str]:
    """What was fixed for the window of a budget's balances, a line each; the rate is that of the first of them."""
    for standing in standings[:1]:
        budget = standing.budget
        currency, rate = budget.currency, standing.rate
        for words in currency_words(standing):
            yield f"{words}, fixed for this window"
        today = None if currency is None else currency.at(now_ns, budget.zone)
        if currency is not None and rate is not None and today is not None and today != rate:
            other = limit_at(budget, today) - limit_at(budget, rate)
            more = "more" if other >= 0 else "less"
            yield f"today's rate is {currency.rate_text(today)}: the limit would be {usd_text(abs(other))} {more}"
        if currency is not None and rate is None:
            yield f"no rate of {currency.code} is dated as early as this window began, so nothing may be spent"
        if budget.carry_over is not None:
            carried = quantity_text(sum(each.carried for each in standings), quantity, exact=True)
            of = "the limit" if len(standings) == 1 else f"the {len(standings):,} limits"
            lasting = budget.carry_over.expires_ns
            until = f", for the first {duration_text(lasting)} of it" if lasting else ""
            yield f"{carried} of {of} is carried over from the window before{until}"


def currency_record(standing: BudgetStanding, now_ns: int) -> dict[str, object]:
    """A balance in its budget's currency, as programs read it; nothing where it has none."""
    budget, rate = standing.budget, standing.rate
    if budget.currency is None:
        return {}
    today = budget.currency.at(now_ns, budget.zone)
    record: dict[str, object] = {
        "currency": budget.currency.code,
        "rate_usd": None if rate is None else f"{rate.dollars.normalize():f}",
        "rate_of": None if rate is None else rate.day,
        "rate_today_usd": None if today is None else f"{today.dollars.normalize():f}",
        "rate_today_of": None if today is None else today.day,
    }
    if rate is not None:
        amounts = (
            ("limit", standing.limit),
            ("spent", standing.spent),
            ("reserved", standing.reserved),
            ("left", standing.left),
        )
        for name, amount in amounts:
            record[f"{name}_in_currency"] = f"{rate.units(amount):f}"
        if today is not None:
            record["limit_today_differs_by_nano_usd"] = limit_at(budget, today) - limit_at(budget, rate)
    return record
