"""What waits for people, on every store: counted over the tenants that are asked about, and up to a bound."""

from __future__ import annotations

import msgspec

from aegis_gateway.adapters.attention import Attention, attention
from aegis_gateway.application.ports import Changes, Store
from aegis_gateway.domain.approval import Asking, waiting
from aegis_gateway.domain.incident import Incident
from tests.ledgers import create_tenants

ASKING = Asking(tenant="acme", kind="call", requester="bot", about="api.pay")
INCIDENT = Incident(
    tenant="acme", id="", kind="threshold_passed", subject="budget:small@80", severity="low", opened_ns=1
)


def happen(store: Store, tenant: str, approvals: int, incidents: int) -> None:
    """Requests that wait, and incidents that are open."""
    asking = msgspec.structs.replace(ASKING, tenant=tenant)
    with store.change([tenant]) as change:
        opened = [
            msgspec.structs.replace(INCIDENT, tenant=tenant, id=f"incident_{number}")
            for number in range(incidents)
        ]
        asked = [waiting(asking, number, 0) for number in range(approvals)]
        change.write(Changes(approvals=asked, incidents=opened))


def test_what_waits_and_nothing_else(store: Store, reader: Store) -> None:
    """Of these tenants; not what is over, and of nobody's nothing."""
    happen(store, "acme", 2, 1)
    happen(store, "zeta", 1, 0)
    assert Attention(approvals=2, incidents=1) == attention(reader.query, ["acme"], 9)
    assert Attention(approvals=3, incidents=1) == attention(reader.query, ["acme", "zeta"], 9)
    assert Attention() == attention(reader.query, [], 9)
    with store.change(["acme"]) as change:
        change.write(Changes(approvals=[waiting(ASKING, 0, 0).after("grant")]))
        change.close_incident("acme", "incident_0", 2)
    assert Attention(approvals=1) == attention(reader.query, ["acme"], 9)


def test_no_further_than_the_bound(store: Store, reader: Store) -> None:
    """Over more tenants than are asked about in one statement, too."""
    names = [f"t{number:04}" for number in range(501)]
    create_tenants(store, *names)
    happen(store, "acme", 7, 2)
    happen(store, names[-1], 4, 1)
    assert Attention(approvals=5, incidents=2) == attention(reader.query, ["acme"], 5)
    assert Attention(approvals=5, incidents=3) == attention(reader.query, ["acme", *names], 5)
