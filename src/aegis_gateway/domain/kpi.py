"""Key figures: what spending is measured by, each with its formula, its numerator and its denominator.

Rule 1: a term means one thing everywhere. An *active agent* settled at least one call in the period. A *transaction* is
        a tree of runs that was begun in it. A *violation* is a call that was refused, throttled or put before a person,
        counted once, by the rule that came first; what rules in shadow would have done is counted apart.
Rule 2: what is actually spent and what wasn't spent are never added: savings stand beside spending.
Rule 3: a figure whose denominator is 0 has no value. Integers stay integers: a value is a fraction until it is shown.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

import msgspec

from aegis_gateway.domain.usage import UsageSum

Unit = Literal["usd", "share", "calls"]
"""Dollars (in nano-USD), a part of a whole, or a number of calls."""

Deviation = Literal["within", "note", "investigate", "corrective plan", "executive review"]

_LADDER: tuple[tuple[int, Deviation], ...] = (
    (20, "executive review"),
    (10, "corrective plan"),
    (5, "investigate"),
    (0, "note"),
)
"""Above how many percent of its limit a budget's deviation calls for what; the FinOps Foundation's common ladder."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One key figure. `denominator` is None where it is a sum and no ratio."""

    id: str
    name: str
    unit: Unit
    numerator: int
    denominator: int | None
    formula: str
    source: str

    @property
    def value(self) -> Fraction | None:
        """What it comes to, exactly; None where there is nothing to divide by."""
        if self.denominator is None:
            return Fraction(self.numerator)
        return Fraction(self.numerator, self.denominator) if self.denominator else None


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """What calls of a period come to: all of them, and some parts that figures are made of.

    `model_cost` and `tokens` are of calls of models, `attributed_cost` of calls whose agent is registered.
    """

    sums: UsageSum
    active_agents: int
    model_cost: int
    attributed_cost: int
    violations: int
    refused_cost: int


def figures(totals: Totals) -> tuple[Figure, ...]:
    """The key figures of a period, in the order in which people ask for them."""
    sums = totals.sums
    settled, decided = "settled calls, by when they were decided", "calls that were decided"
    return (
        _sum("spent", "spent", "usd", sums.cost, "sum of costs", settled),
        _ratio(
            "cost_per_agent",
            "cost per agent",
            sums.cost,
            totals.active_agents,
            "spent / active agents",
            settled,
        ),
        _ratio(
            "cost_per_transaction",
            "cost per transaction",
            sums.cost,
            sums.transactions,
            "spent / trees of runs that were begun",
            f"{settled}; calls that begin a run of their own, and runs that were opened",
        ),
        _ratio(
            "cost_per_call", "cost per call", sums.cost, sums.settled_calls, "spent / settled calls", settled
        ),
        Figure(
            id="cost_per_1k_tokens",
            name="cost per 1,000 tokens",
            unit="usd",
            numerator=totals.model_cost * 1_000,
            denominator=sums.tokens,
            formula="1,000 × spent on models / tokens, in and out",
            source="settled calls of models",
        ),
        Figure(
            id="allocation_coverage",
            name="allocation coverage",
            unit="share",
            numerator=totals.attributed_cost,
            denominator=sums.cost,
            formula="spent by registered agents / spent",
            source=settled,
        ),
        _sum("violations", "policy violations", "calls", totals.violations, "calls not let through", decided),
        _sum(
            "unpriced_calls",
            "calls without a price",
            "calls",
            sums.unpriced,
            "calls without a quote",
            decided,
        ),
        _sum(
            "saved_by_downgrades",
            "saved by cheaper models",
            "usd",
            sums.saved,
            "expected cost as asked - expected cost as sent",
            "calls that were let through with another model",
        ),
        _sum(
            "not_spent",
            "not spent, refused",
            "usd",
            totals.refused_cost,
            "sum of expected costs",
            "calls not let through, each time they were asked for",
        ),
    )


def deviation(spent: int, limit: int) -> Fraction | None:
    """By how much a budget is overspent, as a share of its limit; below 0 where it is not. None without a limit."""
    return Fraction(spent - limit, limit) if limit > 0 else None


def calls_for(share: Fraction | None) -> Deviation:
    """What a deviation calls for, by how far it is above the limit."""
    if share is None or share <= 0:
        return "within"
    return next(step for percent, step in _LADDER if share * 100 > percent)


def _sum(id_: str, name: str, unit: Unit, amount: int, formula: str, source: str) -> Figure:
    return Figure(
        id=id_, name=name, unit=unit, numerator=amount, denominator=None, formula=formula, source=source
    )


def _ratio(id_: str, name: str, cost: int, number: int, formula: str, source: str) -> Figure:
    return Figure(
        id=id_, name=name, unit="usd", numerator=cost, denominator=number, formula=formula, source=source
    )
