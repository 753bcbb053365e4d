"""Passing thresholds of forecasts, and undoing them: by what windows are expected to come to, looked at now and then.

Rule: what turns is decided under the tenant's lock, by a command of the ledger that changes nothing the second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from aegis_gateway.application.claims import claim_on
from aegis_gateway.application.commands import Look
from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.admit import BudgetClaim
from aegis_gateway.domain.ledger import Standing
from aegis_gateway.domain.passing import foreseen, with_thresholds
from aegis_gateway.domain.registry import Budget
from aegis_gateway.domain.window import Window


class Foreseen(msgspec.Struct, frozen=True, kw_only=True):
    """What the window of a balance is expected to come to, in the ledger's unit, and the balance as it was read."""

    scope: str
    window: Window
    expected: int
    balance: Standing


Foresees = Callable[[str, Budget], Iterable[Foreseen]]
"""Forecasts of a tenant's budget, one for each of its balances of which anything can be told."""


def pass_forecasts(store: Store, views: Mapping[str, TenantView], foresees: Foresees, now_ns: int) -> int:
    """Pass the thresholds that forecasts reach, and undo those that they have fallen below; how many balances that is.

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
            claim=claim,
            expected=each.expected,
        )
        for tenant, view in views.items()
        for budget in view.registry.budgets.values()
        if not budget.length_ns and any(threshold.basis == "forecast" for threshold in budget.thresholds)
        for each in foresees(tenant, budget)
        for claim in [claim_on(view, budget, each.scope)]
        if _turns(claim, each, now_ns)
    ]
    if looks:
        Ledger(store).process(looks)
    return len(looks)


def _turns(claim: BudgetClaim, each: Foreseen, now_ns: int) -> bool:
    """Whether a look at a balance would turn anything."""
    standing, turns = with_thresholds(claim, each.balance, now_ns)
    return bool(turns or foreseen(standing, each.expected, now_ns)[1])
