"""Notices that wait to be passed on, deliveries, digests and what Slack has sent, as rows.

Rule: what is taken to be worked on is locked without waiting (where a store locks rows), so that two who look at once
      take different ones.
"""

from __future__ import annotations

from typing import Any

import msgspec

from aegis_gateway.adapters.statements import Statements
from aegis_gateway.domain.delivery import LEASE_NS, Delivery, DeliveryState
from aegis_gateway.domain.message import Message
from aegis_gateway.domain.notice import Notice

_COLUMNS = (
    "delivery, tenant, sequence, kind, subject, channel, recipient, message, made_ns, state, tries, next_ns,"
    " fault, reference, sent_ns"
)
_SELECT = f"select {_COLUMNS} from delivery "  # noqa: S608 - the columns are constants
DELIVERY = _SELECT + "where delivery = ?"
DELIVERIES = _SELECT + "where tenant = ?"
OF_STATE: dict[DeliveryState, str] = {
    "waiting": " and state = 'waiting'",
    "sent": " and state = 'sent'",
    "dead": " and state = 'dead'",
}
OF_CHANNEL = " and channel = ?"
NEWEST_FIRST = " order by made_ns desc, delivery desc limit ?"
COUNT = "select count(*) from delivery where tenant = ?"
_DEAD = DELIVERIES + OF_STATE["dead"] + " and (? = '' or channel = ?) order by made_ns, delivery limit ?"
# What is sent late takes the place of nothing that came after it.
_REFERENCES = (
    "select reference from delivery where tenant = ? and subject = ? and channel = ? and recipient = ?"
    " and sequence < ? and reference <> '' order by sequence desc, delivery desc limit ?"
)
_REFERENCES_MAX = 16
_NOTICES = (
    "select tenant, sequence, kind, subject, at_ns, body from notice where passed_ns is null"
    " order by at_ns limit ?"
)
OLDEST_NOTICE = "select min(at_ns) from notice where passed_ns is null"
_PASSED = "update notice set passed_ns = ? where tenant = ? and sequence = ? and kind = ?"
_TOLD = "select distinct channel, recipient from delivery where tenant = ? and subject = ?"
# Of one subject, none is sent before those that were made before it: what became of a request takes its place.
_NEXT = f"""{_SELECT}
 where state = 'waiting' and next_ns <= ? and lease_ns <= ? and tenant = ? and channel = ?
   and not exists (select 1 from delivery as earlier
                    where earlier.tenant = delivery.tenant and earlier.subject = delivery.subject
                      and earlier.channel = delivery.channel and earlier.recipient = delivery.recipient
                      and earlier.sequence < delivery.sequence and earlier.state = 'waiting')
 order by next_ns, sequence limit 1
"""  # noqa: S608 - the columns are constants
_LEASE = "update delivery set lease_ns = ? where delivery = ?"
_INSERT = f"""
insert into delivery ({_COLUMNS}, lease_ns) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)
on conflict (delivery) do nothing
"""  # noqa: S608 - the columns are constants
_UPDATE = (
    "update delivery set state = ?, tries = ?, next_ns = ?, fault = ?, reference = ?, sent_ns = ?, lease_ns = 0"
    " where delivery = ?"
)
# Whoever has taken it keeps it: what is under way isn't begun by another as well.
_AGAIN = "update delivery set state = ?, tries = ?, next_ns = ? where delivery = ?"
_DIGEST = "select 1 from digest where tenant = ? and digest = ? and starts_ns = ?"
# Of two who write the same at once, one gets no row back: on PostgreSQL it waits for the other's end.
_INTERACTION = (
    "insert into interaction (interaction, at_ns) values (?, ?) on conflict (interaction) do nothing"
    " returning interaction"
)

_message_decoder = msgspec.json.Decoder(Message)
_body_decoder = msgspec.json.Decoder(dict[str, object])
_encode = msgspec.json.Encoder().encode


def delivery_row(row: tuple[Any, ...]) -> Delivery:
    """A delivery from the row of a query here."""
    fields = Delivery.__struct_fields__
    values = dict(zip(fields, row, strict=True))
    return Delivery(**{**values, "message": _message_decoder.decode(values["message"])})


def notice_row(row: tuple[Any, ...]) -> Notice:
    """A notice from its row."""
    tenant, sequence, kind, subject, at_ns, body = row
    return Notice(
        tenant=tenant,
        sequence=sequence,
        kind=kind,
        subject=subject,
        at_ns=at_ns,
        body=_body_decoder.decode(body),
    )


class DeliveryRows(Statements):
    """Notices and deliveries in a transaction."""

    def notices_to_pass(self, limit: int) -> list[Notice]:
        """Notices that nobody has passed on yet, the oldest first; not those that another is at."""
        return [notice_row(row) for row in self._rows(_NOTICES + self._skip_locked, (limit,))]

    def pass_notice(self, notice: Notice, now_ns: int) -> None:
        """Take a notice as passed on."""
        self._do(_PASSED, (now_ns, notice.tenant, notice.sequence, notice.kind))

    def told_before(self, tenant: str, subject: str) -> list[tuple[str, str]]:
        """The channels and recipients to whom something about a subject goes or went."""
        return [(channel, recipient) for channel, recipient in self._rows(_TOLD, (tenant, subject))]

    def save_delivery(self, delivery: Delivery) -> None:
        """Write a new one; nothing if it is there already."""
        values = msgspec.structs.asdict(delivery)
        values["message"] = _encode(delivery.message).decode()
        self._do(_INSERT, tuple(values.values()))

    def take_delivery(self, tenant: str, channel: str, now_ns: int) -> Delivery | None:
        """The next one that is due for a channel, which nobody else takes for a minute."""
        values = (now_ns, now_ns, tenant, channel)
        found = next(iter(self._rows(_NEXT + self._skip_locked, values)), None)
        if found is None:
            return None
        delivery = delivery_row(found)
        self._do(_LEASE, (now_ns + LEASE_NS, delivery.id))
        return delivery

    def delivery(self, name: str) -> Delivery | None:
        """One of them, which nobody else moves until the end."""
        return next((delivery_row(row) for row in self._rows(DELIVERY + self._locked, (name,))), None)

    def dead_deliveries(self, tenant: str, channel: str, limit: int) -> list[Delivery]:
        """Those of a tenant, and of a channel if one is named, that were given up, the oldest first; as above."""
        values = (tenant, channel, channel, limit)
        return [delivery_row(row) for row in self._rows(_DEAD + self._locked, values)]

    def move_delivery(self, delivery: Delivery) -> None:
        """Write what became of one, and let it go."""
        moved = (delivery.state, delivery.tries, delivery.next_ns, delivery.fault, delivery.reference)
        self._do(_UPDATE, (*moved, delivery.sent_ns, delivery.id))

    def send_again(self, delivery: Delivery) -> None:
        """Write that one is to be tried again; whoever is at it stays at it."""
        self._do(_AGAIN, (delivery.state, delivery.tries, delivery.next_ns, delivery.id))

    def references_before(self, delivery: Delivery) -> tuple[str, ...]:
        """How its channel calls the messages about the same that were sent before it, the newest first."""
        about = (delivery.tenant, delivery.subject, delivery.channel, delivery.recipient)
        found = self._rows(_REFERENCES, (*about, delivery.sequence, _REFERENCES_MAX))
        return tuple(dict.fromkeys(str(reference) for (reference,) in found))

    def has_digest(self, tenant: str, digest: str, starts_ns: int) -> bool:
        """Whether the digest of a period was made."""
        return any(True for _ in self._rows(_DIGEST, (tenant, digest, starts_ns)))

    def save_digest(self, tenant: str, digest: str, starts_ns: int, now_ns: int) -> None:
        """Write down that it is made; it fails if it was."""
        self._do(
            "insert into digest (tenant, digest, starts_ns, made_ns) values (?, ?, ?, ?)",
            (tenant, digest, starts_ns, now_ns),
        )

    def is_first_interaction(self, name: str, now_ns: int, remembered_ns: int) -> bool:
        """Whether something that comes from outside with a name comes for the first time; older ones are forgotten."""
        self._do("delete from interaction where at_ns < ?", (now_ns - remembered_ns,))
        return any(True for _ in self._rows(_INTERACTION, (name, now_ns)))
