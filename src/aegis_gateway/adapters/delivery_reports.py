"""What people ask about deliveries and absences: reads only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aegis_gateway.adapters.absence_rows import ABSENCES, absence_row
from aegis_gateway.adapters.delivery_rows import (
    COUNT,
    DELIVERIES,
    DELIVERY,
    NEWEST_FIRST,
    OF_CHANNEL,
    OF_STATE,
    OLDEST_NOTICE,
    delivery_row,
)
from aegis_gateway.domain.absence import Absence
from aegis_gateway.domain.delivery import Delivery, DeliveryState

_LAST_DIGEST = "select max(starts_ns) from digest where tenant = ? and digest = ?"
"""By the primary key."""

Rows = Callable[..., list[tuple[Any, ...]]]


class DeliveryReports:
    """Deliveries and absences, as a store has them."""

    def __init__(self, rows: Rows) -> None:
        """`rows` reads rows as they are."""
        self._rows = rows

    def deliveries(
        self, tenant: str, limit: int, state: DeliveryState | None = None, channel: str | None = None
    ) -> list[Delivery]:
        """The newest of a tenant; in a state and of a channel, if these are named."""
        sql = DELIVERIES + (OF_STATE[state] if state else "") + (OF_CHANNEL if channel else "") + NEWEST_FIRST
        values = (tenant, channel, limit) if channel else (tenant, limit)
        return [delivery_row(row) for row in self._rows(sql, values)]

    def count(self, tenant: str, state: DeliveryState) -> int:
        """How many of a tenant are in a state."""
        return int(self._rows(COUNT + OF_STATE[state], (tenant,))[0][0])

    def oldest_notice_ns(self) -> int | None:
        """When the oldest notice was written that nobody has passed on yet; None if all were."""
        ((found,),) = self._rows(OLDEST_NOTICE)
        return None if found is None else int(found)

    def delivery(self, name: str) -> Delivery | None:
        """One of them."""
        return next((delivery_row(row) for row in self._rows(DELIVERY, (name,))), None)

    def last_digest(self, tenant: str, digest: str) -> int | None:
        """When the last period began of which a digest was made; None where none ever was."""
        return next((starts_ns for (starts_ns,) in self._rows(_LAST_DIGEST, (tenant, digest))), None)

    def absences(self) -> list[Absence]:
        """All that were recorded, in the order in which that was done."""
        return [absence_row(row) for row in self._rows(ABSENCES)]
