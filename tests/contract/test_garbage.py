"""What the ledger makes for a batch goes with the batch: nothing waits for the garbage collector, which stops it."""

from __future__ import annotations

import gc

from aegis_gateway.application.commands import Settle
from aegis_gateway.application.ledger import Ledger
from tests.ledgers import Database, TurnableClock, admission, budget, cost, create_tenants, quote

DAY = (budget("day", 10**12, period="daily"),)


def test_a_batch_leaves_nothing_to_collect(database: Database) -> None:
    """Calls that are let through, refused and settled."""
    store = database.open(TurnableClock())
    create_tenants(store, "acme")
    ledger = Ledger(store)

    def decide_and_settle(*names: str) -> None:
        ledger.process([admission(name, quoted=quote(100), budgets=DAY) for name in names])
        ledger.process([admission(f"{name}-dear", quoted=quote(10**13), budgets=DAY) for name in names])
        ledger.process([Settle(call=name, tenant="acme", evidence=cost(50)) for name in names])

    decide_and_settle("a")  # what is made once
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        decide_and_settle("b", "c")
        gc.collect()
        ours = [type(each) for each in gc.garbage if type(each).__module__.startswith("aegis_gateway")]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert [] == ours
