"""What was used of budgets, as forecasts and adaptive limits read it, on every store."""

from __future__ import annotations

import msgspec
import pytest

from aegis_gateway.adapters.budget_use import BudgetUse, forecast_of, past_windows
from aegis_gateway.adapters.reports import Reports
from aegis_gateway.application.commands import Admitted, Settle
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.adaptation import proposed_limit
from aegis_gateway.domain.adapts import Adapts
from aegis_gateway.domain.currency import Currency, ExchangeRate
from aegis_gateway.domain.registry import BUILT_IN_QUANTITIES, Budget
from tests.ledgers import DAY_NS, HOUR_NS, TurnableClock, admission, budget, cost, quote

DAY = Budget(id="d_y", owner="ann", deputy=None, quantity="usd", limit=1_000, period="daily", zone="UTC")


@pytest.fixture
def use(reader: Store) -> BudgetUse:
    """The questions, through a connection that only reads."""
    return BudgetUse(reader.query)


def spend(ledger: Ledger, call: str, amount: int, *, scope: str = "", maximum: int = 300) -> str:
    """A call that comes to an amount, on a budget of a thousand a day; what was decided of it."""
    claims = (budget("d_y", 1_000, scope=scope, period="daily"),)
    (reply,) = ledger.process([admission(call, quoted=quote(maximum), budgets=claims)])
    assert isinstance(reply, Admitted)
    if reply.effect == "allow":
        ledger.process([Settle(call=call, tenant="acme", evidence=cost(amount))])
    return reply.effect


def test_hours_of_a_balance(ledger: Ledger, use: BudgetUse, clock: TurnableClock) -> None:
    """Since the first in which anything was used; another scope's are its own."""
    spend(ledger, "a", 30)
    spend(ledger, "other", 7, scope="x")
    clock.turn(2 * HOUR_NS)
    spend(ledger, "b", 40)
    hourly = use.hourly("acme", DAY, "", clock.now_ns())
    hour = clock.now_ns() // HOUR_NS
    assert (hour - 2, [30, 0, 40]) == (hourly.first, [hourly.amount(hour - back) for back in (2, 1, 0)])
    assert 7 == use.hourly("acme", DAY, "x", clock.now_ns()).amount(hour - 2)
    assert hour == use.hourly("zeta", DAY, "", clock.now_ns()).first


def test_windows_that_are_over(ledger: Ledger, use: BudgetUse, clock: TurnableClock) -> None:
    """The newest first, by the scope that used most; in which of them a call found nothing left; not the one of now."""
    for day in range(3):
        assert "allow" == spend(ledger, f"a{day}", 100 * day, scope="x")
        assert "allow" == spend(ledger, f"b{day}", 150, scope="y")
        if day == 1:
            assert "deny" == spend(ledger, "refused", 0, scope="y", maximum=1_000)
        clock.turn(DAY_NS)
    spend(ledger, "today", 900, scope="x")
    found = use.used_windows("acme", DAY, clock.now_ns())
    assert [("2026-11-25", 200, False), ("2026-11-24", 150, True), ("2026-11-23", 150, False)] == [
        (each.window.label, each.used, each.cut_short) for each in found
    ]
    assert [] == use.used_windows("acme", msgspec.structs.replace(DAY, period="weekly"), clock.now_ns())
    assert [] == use.used_windows("acme", msgspec.structs.replace(DAY, id="d%y"), clock.now_ns())


def test_windows_in_a_currency(ledger: Ledger, use: BudgetUse, clock: TurnableClock) -> None:
    """In the unit of the limit, by the rate of now and rounded up; without a rate nothing is told."""
    spend(ledger, "a", 101)
    clock.turn(DAY_NS)
    rate = ExchangeRate(day="2026-11-24", pico_usd=2 * 10**12)
    euros = msgspec.structs.replace(DAY, currency=Currency(code="EUR", rates=(rate,)))
    assert [51] == [each.used for each in use.used_windows("acme", euros, clock.now_ns())]
    none = msgspec.structs.replace(euros, currency=Currency(code="EUR", rates=()))
    assert [] == use.used_windows("acme", none, clock.now_ns())


def test_a_forecast_and_a_proposal(
    ledger: Ledger, use: BudgetUse, reader: Store, clock: TurnableClock
) -> None:
    """From what calls spent, and nothing else: as much each day at noon, and today again."""
    for day in range(20):
        spend(ledger, f"noon{day}", 200)
        clock.turn(HOUR_NS)
        spend(ledger, f"one{day}", 100)
        clock.turn(DAY_NS - HOUR_NS)
    spend(ledger, "noon", 200)
    (standing,) = Reports(reader.query).standings("acme", [DAY], clock.now_ns())
    hourly = use.hourly("acme", DAY, "", clock.now_ns())
    assert 19 == len(past_windows(hourly, DAY, clock.now_ns()))
    found = forecast_of(hourly, standing, clock.now_ns() + HOUR_NS)
    assert ("weeks", 200, 800, 300, 300) == (
        found.basis,
        found.spent,
        found.left,
        found.expected,
        found.high,
    )
    proposal = proposed_limit(
        DAY,
        Adapts(every="daily", floor=100, ceiling=1_000),
        BUILT_IN_QUANTITIES["usd"],
        use.used_windows("acme", DAY, clock.now_ns()),
        clock.now_ns(),
        present=400,
    )
    assert (300, 345) == (proposal.median, proposal.limit)
