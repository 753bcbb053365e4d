"""Limits then: budgets with what had been done to their limits at a place of the record.

Rule: what is known at a place is what the ledger knew under its lock when it wrote there. What lasts and has begun is
      one sum for each limit that it was made to, and what is over is forgotten, as workers have it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from aegis_gateway.domain.budget_change import BudgetChange, StoredLimitChange, with_change
from aegis_gateway.domain.budget_family import with_changes
from aegis_gateway.domain.registry import Budget


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """What was done at one place of the record: the budgets after it, and those that it touched as it saw them."""

    at_ns: int
    budgets: dict[str, Budget]
    touched: tuple[Budget, ...]


class LimitsThen:
    """Goes along the record, and takes up what was done to limits."""

    def __init__(self, budgets: Mapping[str, Budget], changes: Iterable[BudgetChange]) -> None:
        """`budgets` as configured; `changes` are all that were ever made in the tenant."""
        self._budgets = {
            name: msgspec.structs.replace(budget, changes=()) for name, budget in budgets.items()
        }
        self._stored: dict[str, list[StoredLimitChange]] = {}
        self._coming = sorted(changes, key=lambda change: change.number, reverse=True)

    def until(self, sequence: int) -> Iterator[Act]:
        """What was done since the last place that was asked about, and before what stands at this one; in order."""
        while self._coming and self._coming[-1].sequence < sequence:
            place, at_ns = self._coming[-1].sequence, self._coming[-1].at_ns
            touched: list[Budget] = []
            while self._coming and self._coming[-1].sequence == place:
                touched += self._take_up(self._coming.pop())
            yield Act(at_ns=at_ns, budgets=self._budgets, touched=tuple(touched))

    def _take_up(self, change: BudgetChange) -> Iterator[Budget]:
        """Take up one change; the budget as who made it saw it, if it was made to this limit."""
        stored = self._stored[change.budget] = with_change(self._stored.get(change.budget, ()), change)
        before = self._budgets.get(change.budget)
        if before is None:
            return
        self._budgets = {**self._budgets, **with_changes({before.id: before}, stored)}
        is_of_it = change.unit == before.unit and (
            change.ends_ns is not None or change.configured == before.limit
        )
        if change.kind != "configured" and is_of_it:
            yield msgspec.structs.replace(before, changes=(*before.changes, change.added))
