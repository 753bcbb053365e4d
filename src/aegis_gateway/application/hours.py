"""What is spent of budgets in which hour: what a batch's settlements add to it.

Rule 1: an amount belongs to the hour of its call's admission, however late it settles, as it does to its window.
Rule 2: it is written in the transaction that settles, and added up before: a row for each budget and hour.
"""

from __future__ import annotations

from collections.abc import Iterable

from aegis_gateway.application.ports import HourRow
from aegis_gateway.domain.hourly import HOUR_NS
from aegis_gateway.domain.ledger import Leg
from aegis_gateway.domain.money import NANO_USD_MAX


class HoursUsed:
    """The sums of one batch."""

    def __init__(self) -> None:
        """Start with none."""
        self._sums: dict[tuple[str, str, str, int], int] = {}

    def add(self, tenant: str, legs: tuple[Leg, ...], amounts: Iterable[int], admitted_ns: int) -> None:
        """Add what a call was settled at. Hours hold 64 bits, like balances; what is above is nobody's to spend."""
        hour = admitted_ns // HOUR_NS
        for leg, amount in zip(legs, amounts, strict=True):
            if amount and leg.by_hour:
                key = (tenant, leg.budget, leg.scope, hour)
                self._sums[key] = min(self._sums.get(key, 0) + amount, NANO_USD_MAX)

    def rows(self) -> list[HourRow]:
        """What is to be added to the hours that are kept."""
        return [
            HourRow(tenant=tenant, budget=budget, scope=scope, hour=hour, amount=amount)
            for (tenant, budget, scope, hour), amount in self._sums.items()
        ]
