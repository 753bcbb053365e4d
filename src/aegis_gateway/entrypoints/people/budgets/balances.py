"""Balances of budgets as pages show them: how full, what is expected, and in a word how they stand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from aegis_gateway.adapters.budget_use import BudgetUse, forecast_of
from aegis_gateway.adapters.reports import BudgetStanding, Query, Reports
from aegis_gateway.domain.forecast import Forecast, is_endless
from aegis_gateway.domain.registry import Budget, Quantity, Registry
from aegis_gateway.domain.threshold_state import ThresholdStanding, threshold_standings
from aegis_gateway.entrypoints.people.words import span

SCOPES_SHOWN = 3
"""So many balances of one budget are shown beside others: those that are fullest."""
FORECAST_MOST = 60
"""So many balances are forecast on one page."""
_SOON_NS = 60 * 1_000_000_000
_NEARLY_ALL = 100
"""Less than one part of so many is as good as nothing, once a call has not fitted into it."""

BalanceState = Literal["exhausted", "runs out", "passed", "within"]

_BAR = 1_000


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """One balance of a budget, which has `of_many`. `bar` is what is spent and what is reserved, in thousandths of the
    limit.
    """

    tenant: str
    standing: BudgetStanding
    quantity: Quantity
    state: BalanceState
    words: str
    forecast: Forecast | None = None
    thresholds: tuple[ThresholdStanding, ...] = ()
    of_many: int = 1

    @property
    def budget(self) -> Budget:
        """The budget it is of."""
        return self.standing.budget

    @property
    def name(self) -> str:
        """The budget, and which of its balances."""
        return f"{self.standing.budget.id} {self.standing.scope}".rstrip()

    @property
    def bar(self) -> tuple[int, int]:
        """How much of a bar is spent, and how much reserved."""
        standing = self.standing
        if standing.limit <= 0:
            return (_BAR if standing.spent > 0 else 0), 0
        spent = min(_BAR, max(0, standing.spent) * _BAR // standing.limit)
        return spent, min(_BAR - spent, -(-standing.reserved * _BAR // standing.limit))

    @property
    def has_end(self) -> bool:
        """Whether its window ends."""
        return not is_endless(self.standing.window)


def balances_of(query: Query, registry: Registry, budgets: Iterable[Budget], now_ns: int) -> list[Balance]:
    """The balances of some budgets; of one that is split those that are fullest."""
    shown: list[Balance] = []
    asked, reports = list(budgets), Reports(query)
    whole = reports.standings(registry.tenant, [each for each in asked if not each.per], now_ns)
    of_whole = {each.budget.id: each for each in whole}
    for budget in asked:
        if budget.per:
            fullest, count = reports.fullest(registry.tenant, budget, now_ns, SCOPES_SHOWN)
        else:
            fullest, count = [of_whole[budget.id]], 1
        for each in fullest:
            balance = balance_of(query, registry, each, now_ns, with_forecast=len(shown) < FORECAST_MOST)
            shown.append(msgspec.structs.replace(balance, of_many=count))
    return shown


def balance_of(
    query: Query, registry: Registry, standing: BudgetStanding, now_ns: int, *, with_forecast: bool = True
) -> Balance:
    """One balance, with its forecast."""
    budget, uses = standing.budget, BudgetUse(query)
    forecast = None
    if with_forecast:
        use = uses.hourly(registry.tenant, budget, standing.scope, now_ns)
        forecast = forecast_of(use, standing, now_ns)
    is_exhausted = standing.left <= 0 or (
        standing.left * _NEARLY_ALL < standing.limit
        and uses.was_cut_short(registry.tenant, budget, standing.window)
    )
    thresholds = threshold_standings(budget.thresholds, budget, standing.limit, standing.balance, now_ns)
    state, words = _state(standing, forecast, thresholds, now_ns, is_exhausted=is_exhausted)
    return Balance(
        tenant=registry.tenant,
        standing=standing,
        quantity=registry.quantities[budget.quantity],
        state=state,
        words=words,
        forecast=forecast,
        thresholds=thresholds,
    )


def fullness(balance: Balance) -> tuple[int, int]:
    """What to sort by, so that what is nearest to its end comes first."""
    standing = balance.standing
    used = standing.spent + standing.reserved
    return -(used * _BAR // standing.limit if standing.limit > 0 else _BAR), -used


def _state(
    standing: BudgetStanding,
    forecast: Forecast | None,
    thresholds: tuple[ThresholdStanding, ...],
    now_ns: int,
    *,
    is_exhausted: bool,
) -> tuple[BalanceState, str]:
    if is_exhausted:
        return "exhausted", "exhausted"
    ends_ns = None if forecast is None else forecast.exhausted_ns
    if ends_ns is not None and ends_ns < standing.window.ends_ns:
        soon = ends_ns - now_ns < _SOON_NS
        return "runs out", "is about to run out" if soon else f"runs out in {span(ends_ns - now_ns)}"
    passed = [each for each in thresholds if each.state != "not_passed"]
    if passed:
        words = "a threshold is passed" if len(passed) == 1 else f"{len(passed)} thresholds are passed"
        return "passed", words
    return "within", "within"
