"""Passing thresholds of forecasts: by what windows are expected to come to, looked at now and then.

Rule: what passes is decided under the tenant's lock, by a command of the ledger that changes nothing the second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from aegis_gateway.application.claims import claim_on
from aegis_gateway.application.commands import Look
from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.registry import Budget
from aegis_gateway.domain.window import Window


class Foreseen(msgspec.Struct, frozen=True, kw_only=True):
    """What the window of a balance is expected to come to, and its limit, in the ledger's unit."""

    scope: str
    window: Window
    limit: int
    expected: int


Foresees = Callable[[str, Budget], Iterable[Foreseen]]
"""Forecasts of a tenant's budget, one for each of its balances of which anything can be told."""


def pass_forecasts(store: Store, views: Mapping[str, TenantView], foresees: Foresees) -> int:
    """Pass the thresholds that forecasts reach; how many balances were looked at for it.

    Raises:
        LedgerUnavailable: the store can't be read.
    """
    looks = [
        Look(
            call=f"forecast_{budget.id}",
            tenant=tenant,
            epoch=view.epoch,
            budget=budget.id,
            scope=each.scope,
            window=each.window.label,
            quantity=budget.quantity,
            ends_ns=each.window.ends_ns,
            claim=claim_on(view, budget, each.scope),
            forecast=reached,
        )
        for tenant, view in views.items()
        for budget in view.registry.budgets.values()
        if not budget.length_ns and any(threshold.basis == "forecast" for threshold in budget.thresholds)
        for each in foresees(tenant, budget)
        if (reached := _reached(budget, each))
    ]
    if looks:
        Ledger(store).process(looks)
    return len(looks)


def _reached(budget: Budget, each: Foreseen) -> tuple[str, ...]:
    """Which thresholds a forecast reaches. An amount in another currency is told by none: its rate is the window's."""
    return tuple(
        threshold.id
        for threshold in budget.thresholds
        if threshold.basis == "forecast"
        and not (threshold.amount and budget.currency is not None)
        and each.expected >= threshold.amount_at(each.limit)
    )
