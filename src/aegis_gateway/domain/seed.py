"""Seeds: what balances are where a budget's windows were changed, worked out from what calls have spent.

Rule 1: a balance whose window began before the change has all in it that was admitted in that window, under whichever
        window it was admitted: a changed period frees nothing.
Rule 2: what an open call holds elsewhere counts as spent here, at its maximum: nobody will ever give it back here. So
        a seed is never too low, and exact once the calls that were open are settled.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from aegis_gateway.domain.ledger import Standing
from aegis_gateway.domain.registry import Budget
from aegis_gateway.domain.rolling import bucket_ns, rolled
from aegis_gateway.domain.window import Window


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What one call counts against one budget: settled at `amount`, or still holding that much.

    `scope` is that of its new balance; `leg` is scope and window of the balance that it was admitted under.
    """

    scope: str
    leg: tuple[str, str]
    amount: int
    is_open: bool
    admitted_ns: int


def are_told_apart_otherwise(old: Budget, new: Budget) -> bool:
    """Whether a change makes other balances of a budget than there were."""
    return _balances(old) != _balances(new)


def _balances(budget: Budget) -> tuple[object, ...]:
    once = budget.once.label if budget.once is not None else None
    return budget.period, budget.per, once, budget.length_ns, budget.year_starts


def seeds(budget: Budget, window: Window, spent: Iterable[Spent], now_ns: int) -> dict[str, Standing]:
    """A budget's balances in a window, by scope, from all that was admitted in it."""
    balances: dict[str, Standing] = {}
    for each in spent:
        if not window.holds(each.admitted_ns):
            continue
        before = balances.get(each.scope, Standing())
        if each.is_open and each.leg == (each.scope, window.label):
            balances[each.scope] = before.reserve(each.amount)
            continue
        buckets = None
        if budget.length_ns:
            number = each.admitted_ns // bucket_ns(budget.length_ns)
            buckets = dict(before.buckets or {})
            buckets[number] = buckets.get(number, 0) + each.amount
        balances[each.scope] = Standing(
            pending=before.pending,
            posted=before.posted + each.amount,
            buckets=buckets or before.buckets,
            notes=before.notes,
        )
    if not budget.length_ns:
        return balances
    return {scope: rolled(standing, budget.length_ns, now_ns) for scope, standing in balances.items()}
