"""What is read of deliveries, and how they are tried again, for one reader.

Rule: a reader sees the deliveries of tenants that they may read, and no trace of others.
"""

from __future__ import annotations

from collections.abc import Collection

from aegis_gateway.adapters.delivery_reports import DeliveryReports
from aegis_gateway.application.ports import Store
from aegis_gateway.application.redelivering import Redelivering
from aegis_gateway.domain.delivery import Delivery, DeliveryState
from aegis_gateway.domain.people import may
from aegis_gateway.entrypoints.people.office import Office
from aegis_gateway.entrypoints.people.reader import Reader

LISTED_MAX = 200


class NotificationsDesk:
    """The deliveries that one reader may see, on a store."""

    def __init__(self, office: Office, store: Store, reader: Reader) -> None:
        """Look up nothing yet."""
        self._reader = reader
        self._reports = DeliveryReports(store.rows)
        self._redelivering = Redelivering(store, office.pepper, reader.caller)
        self.readable = office.readable(reader.person)

    def listed(
        self, tenant: str | None, state: DeliveryState | None, channel: str | None, limit: int = LISTED_MAX
    ) -> list[Delivery]:
        """The newest of a tenant, or of all that the reader may see; in a state and of a channel, if named."""
        found = [
            delivery
            for each in self.of(tenant)
            for delivery in self._reports.deliveries(each, limit, state, channel)
        ]
        return sorted(found, key=lambda delivery: (-delivery.made_ns, delivery.id))[:limit]

    def count(self, tenant: str | None, state: DeliveryState) -> int:
        """How many there are in a state."""
        return sum(self._reports.count(each, state) for each in self.of(tenant))

    def find(self, name: str) -> Delivery | None:
        """One by its id; None where there is none that the reader may see."""
        found = self._reports.delivery(name)
        return found if found is not None and found.tenant in self.readable else None

    def may_retry(self, tenant: str) -> bool:
        """Whether the reader may have deliveries of a tenant tried again, as it looks."""
        return may(self._reader.person, "notifications", tenant)

    def retry(self, delivery: Delivery) -> Delivery:
        """Have one tried again, in the reader's name.

        Raises:
            NotPermitted: they may not, or it was sent.
        """
        return self._redelivering.retry(delivery.tenant, delivery.id)

    def retry_dead(self, tenants: Collection[str]) -> int:
        """Have all of some tenants that were given up tried again; how many these were.

        Raises:
            NotPermitted: the reader may not.
        """
        return sum(self._redelivering.retry_dead(each) for each in tenants)

    def of(self, tenant: str | None) -> list[str]:
        """The tenants that are meant, of those that the reader may see."""
        return [each for each in self.readable if tenant in (None, each)]
