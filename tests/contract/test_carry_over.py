"""What is fixed when a window opens, and kept with its balance (what is carried over, a rate): on both stores."""

from __future__ import annotations

import threading

import msgspec

from aegis_gateway.application.commands import Admitted, Settle
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.admit import BudgetClaim
from aegis_gateway.domain.currency import Currency, ExchangeRate
from aegis_gateway.domain.ledger import WindowNotes
from aegis_gateway.domain.limits import CarryOver
from tests.ledgers import DAY_NS, HOUR_NS, Database, TurnableClock, admission, budget, cost, quote

EUR = Currency(code="EUR", rates=(ExchangeRate(day="2026-11-01", pico_usd=1_500_000_000_000),))


def carrying(limit: int = 300, most: int = 200, expires_ns: int = 0, scope: str = "") -> BudgetClaim:
    """A daily budget that carries over."""
    claim = budget("day", limit, period="daily", scope=scope)
    return msgspec.structs.replace(claim, carry_over=CarryOver(most=most, expires_ns=expires_ns))


def in_euros(limit: int, currency: Currency = EUR) -> BudgetClaim:
    """A daily budget in another currency."""
    return msgspec.structs.replace(budget("day", limit, period="daily"), currency=currency)


def effects(ledger: Ledger, name: str, claim: BudgetClaim, calls: int) -> str:
    """What becomes of calls of 100 each, asked for at once: `+` for each that passes, `-` for each that doesn't."""
    batch = [admission(f"{name}{place}", quoted=quote(100), budgets=(claim,)) for place in range(calls)]
    replies = ledger.process(batch)
    assert all(isinstance(reply, Admitted) for reply in replies), replies
    return "".join(
        "+" if reply.effect == "allow" else "-" for reply in replies if isinstance(reply, Admitted)
    )


def notes(store: Store, window: str) -> WindowNotes:
    """What is noted of a window of the budget."""
    (row,) = store.query('select notes from standing where budget = ? and "window" = ?', ("day", window))
    return msgspec.json.decode(row["notes"], type=WindowNotes)


def test_what_is_left_is_there_the_next_day(ledger: Ledger, store: Store, clock: TurnableClock) -> None:
    """What is pending counts as spent; the window after has it no more."""
    assert "++" == effects(ledger, "mon", carrying(), 2)
    ledger.process([Settle(call="mon0", tenant="acme", evidence=cost(60))])
    clock.turn(DAY_NS)
    assert "++++-" == effects(ledger, "tue", carrying(), 5)
    assert WindowNotes(carried=140, limit=300) == notes(store, "2026-11-24")
    clock.turn(DAY_NS)
    assert "+++-" == effects(ledger, "wed", carrying(), 4)


def test_a_late_settlement_changes_nothing_that_was_carried(
    ledger: Ledger, store: Store, clock: TurnableClock
) -> None:
    """It is fixed at the opening, by the balance as it was left in that very batch."""
    effects(ledger, "mon", carrying(), 2)
    clock.turn(DAY_NS)
    late = Settle(call="mon0", tenant="acme", evidence=cost(10))
    ledger.process([late, admission("tue", quoted=quote(100), budgets=(carrying(),))])
    assert WindowNotes(carried=190, limit=300) == notes(store, "2026-11-24")
    ledger.process([Settle(call="mon1", tenant="acme", evidence=cost(0))])
    assert WindowNotes(carried=190, limit=300) == notes(store, "2026-11-24")


def test_a_day_off_leaves_its_limit(ledger: Ledger, store: Store, clock: TurnableClock) -> None:
    """A budget that was used before has all left of a window that nobody opened; one that is new has nothing."""
    assert "+++-" == effects(ledger, "mon", carrying(), 4)
    clock.turn(2 * DAY_NS)
    assert "+++++-" == effects(ledger, "wed", carrying(), 6)
    assert WindowNotes(carried=200, limit=300) == notes(store, "2026-11-25")
    assert "+++-" == effects(ledger, "other", carrying(scope="other"), 4)


def test_a_refusal_opens_nothing(ledger: Ledger, store: Store, clock: TurnableClock) -> None:
    """A call that doesn't fit fixes nothing; the next one finds the day unopened."""
    effects(ledger, "mon", carrying(), 1)
    clock.turn(DAY_NS)
    assert "-" == effects(ledger, "big", carrying(limit=0, most=50), 1)
    assert [] == store.query("""select 1 from standing where "window" = '2026-11-24'""")
    assert "+++++-" == effects(ledger, "tue", carrying(), 6)


def test_it_runs_out(ledger: Ledger, store: Store, clock: TurnableClock) -> None:
    """After its time only what of it was used or held counts, whoever comes first."""
    claim = carrying(expires_ns=18 * HOUR_NS)
    effects(ledger, "mon", claim, 1)
    clock.turn(DAY_NS)
    assert "+" == effects(ledger, "noon", claim, 1)
    assert 200 == notes(store, "2026-11-24").carried
    clock.turn(6 * HOUR_NS)
    ledger.process([Settle(call="noon0", tenant="acme", evidence=cost(20))])
    assert WindowNotes(carried=100, limit=300) == notes(store, "2026-11-24")
    assert "+++-" == effects(ledger, "evening", claim, 4)


def test_a_window_is_opened_once(database: Database, store: Store, clock: TurnableClock) -> None:
    """Two ledgers that open it at the same time pass together what it bears with what it carries, and no more."""
    effects(Ledger(store), "mon", carrying(limit=1_000), 5)
    clock.turn(DAY_NS)
    found: list[str] = []

    def work(name: str) -> None:
        mine = Ledger(database.open(clock, keep=False))
        found.extend(effects(mine, f"{name}{batch}-", carrying(limit=1_000), 3) for batch in range(8))

    threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (48, 12) == (len("".join(found)), "".join(found).count("+"))
    assert WindowNotes(carried=200, limit=1_000) == notes(store, "2026-11-24")


def test_a_rate_is_kept_for_its_window(ledger: Ledger, store: Store, clock: TurnableClock) -> None:
    """A changed table acts on the next window; a changed limit at once, at the window's own rate."""
    assert "+" == effects(ledger, "a", in_euros(200), 1)
    assert {"EUR": EUR.rates[0]} == notes(store, "2026-11-23").rates
    dearer = Currency(code="EUR", rates=(ExchangeRate(day="2026-11-02", pico_usd=2_000_000_000_000),))
    assert "++-" == effects(ledger, "b", in_euros(200, dearer), 3)
    assert "+-" == effects(ledger, "c", in_euros(270, dearer), 2)
    clock.turn(DAY_NS)
    assert "++++-" == effects(ledger, "d", in_euros(200, dearer), 5)
    assert {"EUR": dearer.rates[0]} == notes(store, "2026-11-24").rates


def test_without_a_rate_nothing_passes(ledger: Ledger) -> None:
    """A window that began before the first rate refuses, and says which rate is wanted."""
    late = Currency(code="EUR", rates=(ExchangeRate(day="2026-11-24", pico_usd=1_500_000_000_000),))
    (reply,) = ledger.process([admission("a", quoted=quote(0), budgets=(in_euros(200, late),))])
    assert isinstance(reply, Admitted)
    expected = (
        "budget `day` is in EUR, and no rate of it is dated 2026-11-23 or before; "
        "ask its owner ann@example.com to add one"
    )
    assert expected == reply.reasons[0].message


def test_a_refusal_says_it_in_both(ledger: Ledger) -> None:
    """What is left, of how much, and what is needed are told in the currency and in dollars, with the rate."""
    (reply,) = ledger.process(
        [admission("a", quoted=quote(4_500_000_000), budgets=(in_euros(2_000_000_000),))]
    )
    assert isinstance(reply, Admitted)
    expected = (
        "budget `day` has 2.00 EUR ($3.00) of 2.00 EUR ($3.00) left for 2026-11-23 at $1.50 a EUR of 2026-11-01 "
        "and the call may need 3.00 EUR ($4.50); ask its owner ann@example.com: "
        "`aegis budget ask day AMOUNT --until TIME --reason WHY`"
    )
    assert expected == reply.reasons[0].message
