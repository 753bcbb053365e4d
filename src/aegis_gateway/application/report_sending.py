"""Sending a report to a channel: written down as deliveries, which the steward sends as all others.

Rule: who had it sent is in the record; each place of the channel gets it once for each time that was asked.
"""

from __future__ import annotations

from aegis_gateway.application.operators import Caller, Operators
from aegis_gateway.application.ports import Store
from aegis_gateway.application.recording import RegistryRecording
from aegis_gateway.application.redelivering import ENTRY
from aegis_gateway.domain.channel import Channel, places_of
from aegis_gateway.domain.delivery import Delivery, delivery_of
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.message import Message

KIND = "report"


class ReportSending:
    """What somebody has sent."""

    def __init__(self, store: Store, pepper: bytes, caller: Caller) -> None:
        """In the name of a caller; `pepper` is the installation's secret that tokens are hashed under."""
        self._operators = Operators(store, pepper, caller)
        self._via = caller.via

    def send(self, tenant: str, month: str, channel: Channel, message: Message) -> list[Delivery]:
        """Have a message about a month sent to each place of a channel.

        Raises:
            ConfigurationError: the channel has no place.
            NotPermitted: the caller may not.
        """
        places = places_of(channel)
        if not places:
            raise ConfigurationError(f"`{channel.id}` has no `to`; say in aegis.yaml to whom it sends")
        with self._operators.act("notifications", [tenant]) as act:
            act.require([tenant])
            recording = RegistryRecording(act.change, act.operator.name)
            record: dict[str, object] = {"act": KIND, "month": month, "channel": channel.id, "via": self._via}
            sequence = recording.enter(tenant, None, ENTRY, record)
            found = [
                delivery_of(
                    tenant=tenant,
                    sequence=sequence,
                    kind=KIND,
                    subject=f"report:{month}:{sequence}",
                    target=place,
                    message=message,
                    made_ns=act.change.now_ns,
                )
                for place in places
            ]
            for each in found:
                act.change.save_delivery(each)
        return found
