"""What people ask about deliveries and absences: reads only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aegis_gateway.adapters.absence_rows import ABSENCES, absence_row
from aegis_gateway.adapters.delivery_rows import DELIVERIES, DELIVERY, delivery_row
from aegis_gateway.domain.absence import Absence
from aegis_gateway.domain.delivery import Delivery

Rows = Callable[..., list[tuple[Any, ...]]]


class DeliveryReports:
    """Deliveries and absences, as a store has them."""

    def __init__(self, rows: Rows) -> None:
        """`rows` reads rows as they are."""
        self._rows = rows

    def deliveries(self, limit: int, tenant: str = "", state: str = "") -> list[Delivery]:
        """The newest, of a tenant and in a state, or all."""
        return [delivery_row(row) for row in self._rows(DELIVERIES, (tenant, tenant, state, state, limit))]

    def delivery(self, name: str) -> Delivery | None:
        """One of them."""
        return next((delivery_row(row) for row in self._rows(DELIVERY, (name,))), None)

    def absences(self) -> list[Absence]:
        """All that were recorded, in the order in which that was done."""
        return [absence_row(row) for row in self._rows(ABSENCES)]
