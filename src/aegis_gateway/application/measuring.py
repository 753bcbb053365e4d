"""Measures of budgets, as those who judge calls take them for: what the ledger said last, until it says otherwise.

Rule: what is taken for them may be old; whoever decides compares it with what stands, and has the call judged anew.
"""

from __future__ import annotations

from collections.abc import Iterable

from aegis_gateway.domain.admit import BudgetClaim
from aegis_gateway.domain.measure import Measure

REMEMBERED_MAX = 65_536

Measured = tuple[Measure, ...]


class RememberedMeasures:
    """What is remembered of measures, by tenant and agent."""

    def __init__(self) -> None:
        """Begin with none, which is right for all whose budgets have passed nothing."""
        self._of: dict[tuple[str, str], Measured] = {}

    def of(self, tenant: str, agent: str) -> Measured:
        """Those of the balances that an agent's calls were last found to count on."""
        return self._of.get((tenant, agent), ())

    def learn(self, tenant: str, agent: str, claims: Iterable[BudgetClaim], found: Measured) -> None:
        """Take over what holds for calls that count on these."""
        known = self._of.pop((tenant, agent), ())
        if len(self._of) >= REMEMBERED_MAX:
            self._of.clear()
        learnt = learnt_measures(known, claims, found)
        if learnt:
            self._of[tenant, agent] = learnt


def learnt_measures(known: Measured, claims: Iterable[BudgetClaim], found: Measured) -> Measured:
    """What is known, with what was found of some balances in place of what was known of those."""
    looked_at = {(claim.budget, claim.scope) for claim in claims}
    return (*(each for each in known if (each.budget, each.scope) not in looked_at), *found)


def measures_on(known: Measured, claims: Iterable[BudgetClaim]) -> Measured:
    """Those that hold for a call that counts on these."""
    counted = {(claim.budget, claim.scope) for claim in claims}
    return tuple(each for each in known if (each.budget, each.scope) in counted)


def with_thresholds_of(asked: Iterable[BudgetClaim], sent: Iterable[BudgetClaim]) -> tuple[BudgetClaim, ...]:
    """The budgets whose measures hold for a call as it was asked for, and that it doesn't count on as it is sent."""
    counted = {(claim.budget, claim.scope) for claim in sent}
    return tuple(claim for claim in asked if claim.thresholds and (claim.budget, claim.scope) not in counted)
