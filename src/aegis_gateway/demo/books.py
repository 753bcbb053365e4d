"""The ledger as the demo reads it, all in one place. Sums here are the store's own words, never a client's."""

from __future__ import annotations

import time

from aegis_gateway.adapters.reports import BudgetStanding, CallReport, Reports
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.registry import Budget, Registry

_EVER_NS = 2**63 - 1


class Books:
    """One tenant's ledger, through one connection: not for several threads."""

    def __init__(self, store: Store, tenant: str, registry: Registry) -> None:
        """Read through a store."""
        self._reports = Reports(store.query)
        self._tenant = tenant
        self.registry = registry

    def standing(self, budget: str) -> BudgetStanding:
        """A budget's balance in the window that is open now."""
        return self.standings((budget,))[0]

    def standings(self, budgets: tuple[str, ...]) -> list[BudgetStanding]:
        """Several budgets' balances."""
        wanted = [self.registry.budgets[budget] for budget in budgets]
        return self._reports.standings(self._tenant, wanted, time.time_ns())

    def is_money(self, budget: Budget) -> bool:
        """Whether a budget counts money, spent or paid out."""
        return self.registry.quantities[budget.quantity].is_money

    def cost_nano_usd(self) -> int:
        """What the ledger's calls have cost."""
        return self._reports.spent(self._tenant, 0).nano_usd

    def cost_by_agent_nano_usd(self) -> dict[str, int]:
        """The charge lines, added up by agent. Agents without a charge are absent."""
        return {
            str(line.name): line.nano_usd
            for line in self._reports.charges_by(self._tenant, "agent", 0, _EVER_NS)
        }

    def effects(self) -> dict[str, int]:
        """How many calls were decided, by effect."""
        return self._reports.effects(self._tenant, 0)

    def last_sequence(self) -> int:
        """Where the record ends."""
        return self._reports.last_sequence(self._tenant)

    def calls_of_entries(self, after: int, until: int) -> list[CallReport]:
        """The calls that a stretch of the record is about, as they stand now."""
        return self._reports.calls_of_entries(self._tenant, after, until)
