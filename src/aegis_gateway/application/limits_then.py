"""Limits then: budgets with what had been done to their limits at a place of the record.

Rule: what is known at a place is what the ledger knew under its lock when it wrote there. What lasts and has begun is
      one sum for each limit that it was made to, and what is over is forgotten, as workers have it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from aegis_gateway.domain.budget_change import BudgetChange, StoredLimitChange, with_change
from aegis_gateway.domain.budget_family import with_changes
from aegis_gateway.domain.registry import Budget


class LimitsThen:
    """Goes along the record, and takes up what was done to limits."""

    def __init__(self, budgets: Mapping[str, Budget], changes: Iterable[BudgetChange]) -> None:
        """`budgets` as configured; `changes` are all that were ever made in the tenant."""
        self._configured = {
            name: msgspec.structs.replace(budget, changes=()) for name, budget in budgets.items()
        }
        self._budgets = dict(self._configured)
        self._stored: dict[str, list[StoredLimitChange]] = {}
        self._coming = sorted(changes, key=lambda change: change.number, reverse=True)

    def at(self, sequence: int) -> dict[str, Budget] | None:
        """The budgets as they were known to what stands at a place of the record; None if as at the last place."""
        if not self._coming or self._coming[-1].sequence >= sequence:
            return None
        touched = {}
        while self._coming and self._coming[-1].sequence < sequence:
            change = self._coming.pop()
            self._stored[change.budget] = with_change(self._stored.get(change.budget, ()), change)
            if change.budget in self._configured:
                touched[change.budget] = self._configured[change.budget]
        for name, budget in touched.items():
            self._budgets |= with_changes({name: budget}, self._stored[name])
        return self._budgets
