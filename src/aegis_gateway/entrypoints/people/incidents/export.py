"""Incidents as files have them. Amounts are in the unit of what they are about: dollars, tokens, …"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

from aegis_gateway.domain.incident import Incident
from aegis_gateway.domain.registry import BUILT_IN_QUANTITIES, Quantity, Registry
from aegis_gateway.entrypoints.people.columns import Cell, Column, Row

_AMOUNTS = {"amount": "begins_at", "limit": "limit", "posted": "spent", "pending": "reserved"}
_TEXTS = ("budget", "scope", "window", "why", "owner")

INCIDENT_COLUMNS = (
    *(Column(each) for each in ("tenant", "incident", "kind", "subject", "severity")),
    *(Column(each, "time") for each in ("opened", "closed")),
    *(Column(each) for each in _TEXTS),
    Column("unit"),
    *(Column(each, "number") for each in _AMOUNTS.values()),
)


def incident_rows(incidents: Iterable[Incident], registries: Mapping[str, Registry]) -> Iterator[Row]:
    """A row for each incident; `registries` are those of the tenants, by name."""
    for each in incidents:
        known = {**BUILT_IN_QUANTITIES, **registries[each.tenant].quantities}
        quantity = known.get(str(each.facts.get("quantity")))
        yield [
            each.tenant,
            each.id,
            each.kind,
            each.subject,
            each.severity,
            each.opened_ns,
            each.closed_ns,
            *(str(each.facts.get(name) or "") or None for name in _TEXTS),
            None if quantity is None else quantity.id,
            *(_amount(each.facts.get(name), quantity) for name in _AMOUNTS),
        ]


def _amount(written: object, quantity: Quantity | None) -> Cell:
    """An amount in the unit that people write; facts have them as texts."""
    if written is None or quantity is None:
        return None
    return Decimal(int(str(written))) / quantity.scale
