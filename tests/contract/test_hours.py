"""What is spent of budgets in each hour, on every store: all that was posted, where its calls were admitted."""

from __future__ import annotations

import msgspec

from aegis_gateway.application.commands import Command, Release, Settle
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import Changes, HourRow, Store
from aegis_gateway.domain.admit import BudgetClaim
from aegis_gateway.domain.ledger import Evidence, Leg
from aegis_gateway.domain.money import NANO_USD_MAX
from tests.ledgers import HOUR_NS, NOON_NS, TurnableClock, admission, budget, cost, quote

NOON = NOON_NS // HOUR_NS
SPLIT = (budget("month", 10_000), budget("day", 10_000, scope="bot", period="daily"))


def hours(store: Store, name: str = "month") -> dict[tuple[str, int], int]:
    """What is kept of a budget, by scope and by how many hours after noon."""
    rows = store.query("select scope, hour, amount from budget_hour where budget = ?", (name,))
    return {(row["scope"], row["hour"] - NOON): row["amount"] for row in rows}


def posted(store: Store) -> dict[str, int]:
    """What stands as spent, by budget."""
    rows = store.query("select budget, sum(posted) as posted from standing group by budget")
    return {row["budget"]: int(row["posted"]) for row in rows}


def ask(*names: str, budgets: tuple[BudgetClaim, ...] = SPLIT) -> list[Command]:
    """Calls that may come to 100 each."""
    return [admission(name, quoted=quote(100), budgets=budgets) for name in names]


def settle(**costs: int) -> list[Command]:
    """What calls came to."""
    return [Settle(call=name, tenant="acme", evidence=cost(amount)) for name, amount in costs.items()]


def test_an_amount_is_put_down_to_the_hour_of_its_admission(
    ledger: Ledger, store: Store, clock: TurnableClock
) -> None:
    """However late it settles; a batch's calls of one hour are added up, and to what stands there already."""
    ledger.process(ask("a", "b", "c"))
    clock.turn(HOUR_NS)
    ledger.process(ask("d"))
    clock.turn(5 * HOUR_NS)
    ledger.process(settle(a=10, b=20, d=70))
    ledger.process(settle(c=5))
    assert {("", 0): 35, ("", 1): 70} == hours(store)
    assert {("bot", 0): 35, ("bot", 1): 70} == hours(store, "day")
    assert {"month": 105, "day": 105} == posted(store)


def test_what_was_not_spent_is_in_no_hour(ledger: Ledger, store: Store) -> None:
    """What is open, released, free or was never sent; a settlement that is told again counts once."""
    ledger.process(ask("open", "free", "unsent", "told"))
    ledger.process([admission("released", quoted=quote(100), budgets=SPLIT, reserve_for_ns=HOUR_NS)])
    ledger.process([Release(call="released", tenant="acme"), *settle(free=0, told=40)])
    ledger.process([Settle(call="unsent", tenant="acme", evidence=Evidence(source="not_sent"))])
    ledger.process(settle(told=40))
    assert {("", 0): 40} == hours(store)
    assert 40 == posted(store)["month"]


def test_balances_of_runs_are_kept_by_no_hour(ledger: Ledger, store: Store) -> None:
    """Only what the call spends of its other budgets is."""
    claim = budget("each-run", 1_000, scope="run_1", period="once")
    of_run = msgspec.structs.replace(claim, instances_max=2, instances_of="bot")
    ledger.process(ask("a", budgets=(*SPLIT, of_run)))
    ledger.process(settle(a=30))
    assert {} == hours(store, "each-run")
    assert {("", 0): 30} == hours(store)
    assert 30 == posted(store)["each-run"]


def test_an_hour_that_is_full_keeps_nobody_from_settling(ledger: Ledger, store: Store) -> None:
    """Its sum stays at what 64 bits hold, within a batch and over several."""
    row = HourRow(tenant="acme", budget="month", scope="", hour=NOON, amount=NANO_USD_MAX - 1)
    with store.lock(["acme"]) as locked:
        locked.write(Changes(hours=[row]))
    ledger.process(ask("a", "b"))
    ledger.process(settle(a=60))
    ledger.process(settle(b=60))
    assert {("", 0): NANO_USD_MAX} == hours(store)
    assert 120 == posted(store)["month"]


def test_legs_that_were_stored_without_saying_are_kept_by_hour() -> None:
    """A call that was open when hours began to be kept is settled as others are."""
    stored = b'["month","","2026-11","usd",100]'
    expected = Leg(budget="month", scope="", window="2026-11", quantity="usd", amount=100, by_hour=True)
    assert expected == msgspec.json.decode(stored, type=Leg)
