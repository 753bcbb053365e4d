"""Budgets with what was done to their limits, and what limits that stand together must keep.

Rule 1: the limits of the budgets `within` another never add up to more than that one's, at any instant at which they
        didn't before.
Rule 2: money is moved only between budgets that are counted alike, so both sides begin and end with the same window.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from aegis_gateway.domain.budget_change import StoredLimitChange
from aegis_gateway.domain.limit_change import LimitChange
from aegis_gateway.domain.registry import Budget


def with_changes(budgets: Mapping[str, Budget], stored: Iterable[StoredLimitChange]) -> dict[str, Budget]:
    """Budgets as configured, with the changes that say anything of their limits."""
    found: dict[str, list[LimitChange]] = defaultdict(list)
    for each in stored:
        budget = budgets.get(each.budget)
        if budget is not None and each.holds_for(budget.unit, budget.limit) and each.change.amount:
            found[each.budget].append(each.change)
    return {
        name: msgspec.structs.replace(budget, changes=tuple(found[name])) if name in found else budget
        for name, budget in budgets.items()
    }
