"""How far records have come, on every store: what pages that are open are told by."""

from __future__ import annotations

import msgspec

from aegis_gateway.adapters.record_ends import record_ends
from aegis_gateway.application.commands import Settle
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import Store
from tests.ledgers import admission, cost, create_tenants, quote


def test_it_grows_with_all_that_happens(ledger: Ledger, store: Store, reader: Store) -> None:
    """With a decision, a settlement, a change of what is in force; others' stay, and so it does without any."""
    names = ("acme", "zeta", "nobody")
    seen = [record_ends(reader.query, names)]
    ledger.process([admission("a", quoted=quote(100))])
    seen.append(record_ends(reader.query, names))
    ledger.process([Settle(call="a", tenant="acme", evidence=cost(5))])
    seen.append(record_ends(reader.query, names))
    with store.change(["acme"]) as change:
        head = change.heads["acme"]
        change.save_head(msgspec.structs.replace(head, epoch=head.epoch + 1))
    seen.append(record_ends(reader.query, names))
    assert {"acme", "zeta"} == set(seen[0])
    assert sorted({each["acme"] for each in seen}) == [each["acme"] for each in seen]
    assert {seen[0]["zeta"]} == {each["zeta"] for each in seen}
    assert seen[-1] == record_ends(reader.query, names)


def test_of_many_tenants(store: Store, reader: Store) -> None:
    """More than are asked about in one statement; of none, none."""
    names = [f"t{number:04}" for number in range(1_001)]
    create_tenants(store, *names)
    assert set(names) == set(record_ends(reader.query, names))
    assert {} == record_ends(reader.query, ())
