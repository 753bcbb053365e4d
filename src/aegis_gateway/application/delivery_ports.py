"""What passing notices on needs of a transaction, and of channels."""

from __future__ import annotations

from typing import Protocol

from aegis_gateway.domain.absence import Absence
from aegis_gateway.domain.delivery import Delivery, Outcome
from aegis_gateway.domain.notice import Notice


class DeliveryChange(Protocol):
    """Notices, deliveries and what belongs to them, in a transaction that need not hold any tenant."""

    def notices_to_pass(self, limit: int) -> list[Notice]:
        """Notices that nobody has passed on yet, the oldest first; not those that another is at."""

    def pass_notice(self, notice: Notice, now_ns: int) -> None:
        """Take a notice as passed on."""

    def told_before(self, tenant: str, subject: str) -> list[tuple[str, str]]:
        """The channels and recipients to whom something about a subject goes or went."""

    def save_delivery(self, delivery: Delivery) -> None:
        """Write a new one; nothing if it is there already."""

    def take_delivery(self, tenant: str, channel: str, now_ns: int) -> Delivery | None:
        """The next one that is due for a channel, which nobody else takes for a minute."""

    def delivery(self, name: str) -> Delivery | None:
        """One of them, which nobody else moves until the end."""

    def dead_deliveries(self, tenant: str, channel: str, limit: int) -> list[Delivery]:
        """Those of a tenant, and of a channel if one is named, that were given up, the oldest first; as above."""

    def move_delivery(self, delivery: Delivery) -> None:
        """Write what became of one, and let it go."""

    def send_again(self, delivery: Delivery) -> None:
        """Write that one is to be tried again; whoever is at it stays at it."""

    def references_before(self, delivery: Delivery) -> tuple[str, ...]:
        """How its channel calls the messages about the same that were sent before it, the newest first."""

    def has_digest(self, tenant: str, digest: str, starts_ns: int) -> bool:
        """Whether the digest of a period was made."""

    def save_digest(self, tenant: str, digest: str, starts_ns: int, now_ns: int) -> None:
        """Write down that it is made; it fails if it was."""

    def is_first_interaction(self, name: str, now_ns: int, remembered_ns: int) -> bool:
        """Whether something that comes from outside with a name comes for the first time; older ones are forgotten."""

    def absences(self) -> list[Absence]:
        """All absences, in the order in which they were recorded."""

    def save_absence(self, absence: Absence) -> None:
        """Record one. People are to be held."""


class ChannelSender(Protocol):
    """One channel, as messages are sent by it. May block, for as long as its deadlines say."""

    def send(self, delivery: Delivery, before: tuple[str, ...]) -> Outcome:
        """Send a message, or put it in the place of those that the channel calls so, where it can."""
