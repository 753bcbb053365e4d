"""Deliveries in a gateway's store, as the steward makes them and moves them on."""

from __future__ import annotations

import contextlib
import itertools

import msgspec

from aegis_gateway import bootstrap
from aegis_gateway.demo.stage import Stage
from aegis_gateway.domain.channel import Target
from aegis_gateway.domain.delivery import Delivery, delivery_of
from aegis_gateway.domain.message import Message
from tests.gateways import TENANT, Gateway

EXHAUSTED = Message(
    title="Budget loan-day is exhausted",
    tone="warning",
    facts=(("tenant", "Acme Bank"), ("limit", "$20.00"), ("spent", "$20.01"), ("window", "2026-11-29")),
    tenant=TENANT,
)
REFUSED = "the other side answered 400"

_numbers = itertools.count(1)


def tell(
    gateway: Gateway | Stage, message: Message = EXHAUSTED, *, tenant: str = TENANT, **more: object
) -> Delivery:
    """Write one, given up after a try unless more is said."""
    with contextlib.closing(bootstrap.store(gateway.settings)) as store, store.change([tenant]) as change:
        made = delivery_of(
            tenant=tenant,
            sequence=next(_numbers),
            kind="budget_exhausted",
            subject="budget:loan-day",
            target=Target(channel="fin"),
            message=message,
            made_ns=change.now_ns,
        )
        values: dict[str, object] = {"state": "dead", "tries": 1, "fault": REFUSED, **more}
        told = msgspec.structs.replace(made, **values)
        change.save_delivery(told)
    return told
