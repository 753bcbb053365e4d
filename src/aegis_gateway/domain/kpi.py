"""Key figures: what spending is measured by, each with its formula, its numerator and its denominator.

Rule 1: a term means one thing everywhere. An *active agent* settled at least one call in the period. A *transaction* is
        what an agent reports that a run finished, else the tree of runs that was begun in it. A *successful outcome* is
        a tree that its agent reported as success (`domain/outcome.py`). A *violation* is a call that was refused,
        throttled or put before a person, counted once, by the rule that came first; what rules in shadow would have
        done is counted apart.
Rule 2: what is actually spent and what wasn't spent are never added: savings stand beside spending.
Rule 3: a figure whose denominator is 0 has no value. Integers stay integers: a value is a fraction until it is shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Literal

import msgspec

from aegis_gateway.domain.outcome import RESULTS, WASTED, OutcomeSum, added
from aegis_gateway.domain.usage import UsageSum

Unit = Literal["usd", "share", "calls", "seconds"]
"""Dollars (in nano-USD), a part of a whole, a number of calls, or a time (in nanoseconds)."""

Deviation = Literal["within", "note", "investigate", "corrective plan", "executive review"]

_LADDER: tuple[tuple[int, Deviation], ...] = (
    (20, "executive review"),
    (10, "corrective plan"),
    (5, "investigate"),
    (0, "note"),
)
"""Above how many percent of its limit a budget's deviation calls for what; the FinOps Foundation's common ladder."""


Amount = Literal["usd", "count", "seconds"]
"""What a numerator or denominator is counted in: nano-USD, a number, or nanoseconds."""

Group = Literal["spending", "work", "control", "not spent"]
"""What a figure is about. What wasn't spent stands apart from what was."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One key figure. `denominator` is None where it is a sum and no ratio."""

    id: str
    name: str
    unit: Unit
    numerator: int
    denominator: int | None
    formula: str
    source: str
    group: Group = "spending"
    above: Amount = "usd"
    below: Amount = "count"

    @property
    def value(self) -> Fraction | None:
        """What it comes to, exactly; None where there is nothing to divide by."""
        if self.denominator is None:
            return Fraction(self.numerator)
        return Fraction(self.numerator, self.denominator) if self.denominator else None


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """What calls of a period come to: all of them, and some parts that figures are made of.

    `model_cost` and `tokens` are of calls of models, `attributed_cost` of calls whose agent is registered. `work` is
    what agents reported of the trees that were begun, by result.
    """

    sums: UsageSum
    active_agents: int
    model_cost: int
    attributed_cost: int
    violations: int
    refused_cost: int
    work: dict[str, OutcomeSum] = {}

    @property
    def transactions(self) -> int:
        """What agents reported of their trees; each tree of which they reported nothing is one."""
        return transactions(self.sums, self.work)


class IncidentTimes(msgspec.Struct, frozen=True, kw_only=True):
    """How long incidents took, in nanoseconds together: from what crossed a threshold to them, and to their end."""

    opened: int = 0
    detecting_ns: int = 0
    closed: int = 0
    closing_ns: int = 0


def transactions(sums: UsageSum, work: dict[str, OutcomeSum]) -> int:
    """How many transactions there were: trees that were begun, but those that were reported at what was reported."""
    return sums.transactions + sum(each.transactions - each.begun for each in work.values())


def succeeded(work: dict[str, OutcomeSum]) -> OutcomeSum:
    """The trees that did what they were for."""
    return work.get("success", OutcomeSum())


def ended(work: dict[str, OutcomeSum]) -> OutcomeSum:
    """The trees whose result was told, whatever it is."""
    return _together(work.get(each) for each in RESULTS)


def wasted(work: dict[str, OutcomeSum]) -> OutcomeSum:
    """The trees that came to nothing."""
    return _together(work.get(each) for each in WASTED)


def _together(found: Iterable[OutcomeSum | None]) -> OutcomeSum:
    total = OutcomeSum()
    for each in found:
        total = total if each is None else added(total, each)
    return total


_SETTLED = "settled calls, by when they were decided"
_DECIDED = "calls that were decided"
_REPORTED = (
    "trees of runs by when they were begun, with all their settled calls, as their agents reported them"
)


def figures(totals: Totals, incidents: IncidentTimes | None = None) -> tuple[Figure, ...]:
    """The key figures of a period, in the order in which people ask for them."""
    found = (*_spending(totals), *_work(totals), *_control(totals))
    return (*found, *(_times(incidents) if incidents is not None else ()), *_not_spent(totals))


def _spending(totals: Totals) -> tuple[Figure, ...]:
    sums = totals.sums
    return (
        _sum("spent", "spent", sums.cost, "sum of costs", _SETTLED),
        _ratio(
            "cost_per_agent",
            "cost per agent",
            sums.cost,
            totals.active_agents,
            "spent / active agents",
            _SETTLED,
        ),
        _ratio(
            "cost_per_transaction",
            "cost per transaction",
            sums.cost,
            totals.transactions,
            "spent / transactions: what agents report that their runs finished, else each tree of runs that was begun",
            f"{_SETTLED}; runs that were begun, and reports on them",
        ),
        _ratio(
            "cost_per_call", "cost per call", sums.cost, sums.settled_calls, "spent / settled calls", _SETTLED
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
    )


def _work(totals: Totals) -> tuple[Figure, ...]:
    good, all_ended, bad = succeeded(totals.work), ended(totals.work), wasted(totals.work)
    return (
        _ratio(
            "cost_per_success",
            "cost per successful outcome",
            good.cost,
            good.trees,
            "cost of trees reported as success / those trees; trees without a report count in neither",
            _REPORTED,
            group="work",
        ),
        _ratio(
            "cost_per_success_in_all",
            "cost per success, with what was tried",
            all_ended.cost,
            good.trees,
            "cost of all trees with a reported outcome / trees reported as success",
            _REPORTED,
            group="work",
        ),
        _ratio(
            "success_rate",
            "success rate",
            good.trees,
            all_ended.trees,
            "trees reported as success / trees with a reported outcome",
            _REPORTED,
            unit="share",
            group="work",
            above="count",
        ),
        _ratio(
            "outcomes_reported",
            "work with an outcome",
            all_ended.begun,
            totals.sums.transactions,
            "trees with a reported outcome / trees that were begun",
            f"{_REPORTED}; runs that were begun",
            unit="share",
            group="work",
            above="count",
        ),
        _sum(
            "wasted",
            "spent on failed work",
            bad.cost,
            "sum of costs of trees reported as failure or cancelled",
            _REPORTED,
            group="work",
        ),
        _ratio(
            "waste_share",
            "share that failed",
            bad.cost,
            all_ended.cost,
            "spent on failed work / cost of all trees with a reported outcome",
            _REPORTED,
            unit="share",
            group="work",
            below="usd",
        ),
        _sum(
            "value_claimed",
            "value claimed",
            all_ended.claimed,
            "sum of the values that agents claim; their word, never taken off spending",
            _REPORTED,
            group="work",
        ),
    )


def _control(totals: Totals) -> tuple[Figure, ...]:
    return (
        _ratio(
            "allocation_coverage",
            "allocation coverage",
            totals.attributed_cost,
            totals.sums.cost,
            "spent by registered agents / spent",
            _SETTLED,
            unit="share",
            group="control",
            below="usd",
        ),
        _sum(
            "violations",
            "policy violations",
            totals.violations,
            "calls refused, throttled or put before a person, once each; rules in shadow are counted apart",
            _DECIDED,
            unit="calls",
            group="control",
            above="count",
        ),
        _sum(
            "unpriced_calls",
            "calls without a price",
            totals.sums.unpriced,
            "calls without a quote",
            _DECIDED,
            unit="calls",
            group="control",
            above="count",
        ),
    )


def _times(incidents: IncidentTimes) -> tuple[Figure, ...]:
    return (
        _ratio(
            "time_to_detect",
            "time to detect",
            incidents.detecting_ns,
            incidents.opened,
            "time from the call that crossed a threshold of spending to its incident / incidents opened so",
            "incidents that were opened, and the entries of the calls before them",
            unit="seconds",
            group="control",
            above="seconds",
        ),
        _ratio(
            "time_to_close",
            "time to close",
            incidents.closing_ns,
            incidents.closed,
            "time that incidents were open / incidents that were closed",
            "incidents that were closed in the period",
            unit="seconds",
            group="control",
            above="seconds",
        ),
    )


def _not_spent(totals: Totals) -> tuple[Figure, ...]:
    return (
        _sum(
            "saved_by_downgrades",
            "saved by cheaper models",
            totals.sums.saved,
            "expected cost as asked - expected cost as sent",
            "calls that were let through with another model",
            group="not spent",
        ),
        _sum(
            "not_spent",
            "not spent, refused",
            totals.refused_cost,
            "sum of expected costs",
            "calls not let through, each time they were asked for",
            group="not spent",
        ),
        _sum(
            "cache_candidates",
            "a cache could have saved",
            totals.sums.repeated,
            "sum of costs of calls whose same request (agent, tool, model, arguments) was settled in the 24 h before",
            "settled calls of models and of tools that read; spent, and counted in what was spent",
            group="not spent",
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


def _sum(
    id_: str,
    name: str,
    amount: int,
    formula: str,
    source: str,
    *,
    unit: Unit = "usd",
    group: Group = "spending",
    above: Amount = "usd",
) -> Figure:
    return Figure(
        id=id_,
        name=name,
        unit=unit,
        numerator=amount,
        denominator=None,
        formula=formula,
        source=source,
        group=group,
        above=above,
    )


def _ratio(
    id_: str,
    name: str,
    numerator: int,
    number: int,
    formula: str,
    source: str,
    *,
    unit: Unit = "usd",
    group: Group = "spending",
    above: Amount = "usd",
    below: Amount = "count",
) -> Figure:
    return Figure(
        id=id_,
        name=name,
        unit=unit,
        numerator=numerator,
        denominator=number,
        formula=formula,
        source=source,
        group=group,
        above=above,
        below=below,
    )
