"""Notifications as files have them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from aegis_gateway.domain.delivery import Delivery
from aegis_gateway.entrypoints.people.columns import Column, Row

_FIRST = ("tenant", "id", "kind", "subject", "channel", "recipient")

DELIVERY_COLUMNS = (
    *(Column({"id": "notification"}.get(each, each)) for each in _FIRST),
    *(Column(each) for each in ("message", "state", "error")),
    Column("tries", "count"),
    *(Column(each, "time") for each in ("made", "next_try", "sent")),
)


def delivery_rows(deliveries: Iterable[Delivery]) -> Iterator[Row]:
    """A row for each message and place."""
    for each in deliveries:
        yield [
            *(getattr(each, name) or None for name in _FIRST),
            each.message.title,
            each.state,
            each.fault or None,
            each.tries,
            each.made_ns,
            each.next_ns if each.state == "waiting" else None,
            each.sent_ns,
        ]
