"""A changed period frees nothing: its balances begin with what was spent in their windows, the same in either store."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from aegis_gateway.adapters.spending import StoredSpending
from aegis_gateway.application.commands import Admitted, Lose, Release, Settle
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import Changes, Store
from aegis_gateway.application.seeding import Seeding, with_notes
from aegis_gateway.domain.ledger import WindowNotes
from aegis_gateway.domain.limits import CarryOver
from aegis_gateway.domain.registry import Budget, Dimension, Registry
from tests.ledgers import (
    ATTRIBUTION,
    DAY_NS,
    HOUR_NS,
    SECOND_NS,
    TurnableClock,
    admission,
    budget,
    cost,
    quote,
)

DAILY = Budget(id="day", owner="ann", deputy=None, quantity="usd", limit=1_000, period="daily", zone="UTC")
AGENT = ATTRIBUTION.agent


def registry(budget: Budget) -> Registry:
    """A tenant with one budget."""
    return Registry(
        tenant="acme",
        name="Acme",
        zone="UTC",
        teams={},
        projects={},
        agents={},
        connectors={},
        models={},
        quantities={},
        rates={},
        budgets={budget.id: budget},
    )


def shaped(**changes: Any) -> Budget:
    """The same budget with other windows."""
    return msgspec.structs.replace(DAILY, **changes)


def change(store: Store, clock: TurnableClock, old: Budget, new: Budget) -> None:
    """Have another configuration in force, as `aegis apply` does it."""
    seeding = Seeding(StoredSpending(store.query), registry(old), registry(new), {}, clock.now_ns())
    with store.change(["acme"]) as locked:
        locked.write(Changes(standings=with_notes(seeding.rows(locked.now_ns), locked)))


def balances(store: Store) -> dict[tuple[str, str], tuple[int, int]]:
    """Pending and posted of each balance, by scope and window."""
    rows = store.query('select scope, "window", pending, posted from standing where tenant = ?', ("acme",))
    return {(row["scope"], row["window"]): (row["pending"], row["posted"]) for row in rows}


def spend(ledger: Ledger, *calls: str, scope: str = "", **claim: Any) -> None:
    """Have calls admitted that may cost 100 each."""
    for call in calls:
        claimed = budget("day", scope=scope, **{"period": "daily", **claim})
        (reply,) = ledger.process([admission(call, budgets=(claimed,), quoted=quote(100))])
        assert isinstance(reply, Admitted)
        assert "allow" == reply.effect


def settle(ledger: Ledger, call: str, nano_usd: int) -> None:
    """Say what a call cost."""
    ledger.process([Settle(call=call, tenant="acme", evidence=cost(nano_usd))])


def test_a_longer_period_begins_with_what_was_spent(
    ledger: Ledger, reader: Store, store: Store, clock: TurnableClock
) -> None:
    """Yesterday's spending is this month's; what is open counts at its maximum, what was never sent doesn't."""
    spend(ledger, "c1", "c2")
    settle(ledger, "c1", 70)
    settle(ledger, "c2", 30)
    clock.turn(DAY_NS)
    spend(ledger, "c3", "c4", "c5")
    settle(ledger, "c3", 40)
    ledger.process([Lose(call="c4", tenant="acme")])
    spend(ledger, "c6")
    ledger.process(
        [admission("c7", budgets=(budget("day", period="daily"),), quoted=quote(100), reserve_for_ns=HOUR_NS)]
    )
    ledger.process([Release(call="c7", tenant="acme")])
    month = shaped(period="monthly")
    change(store, clock, DAILY, month)
    label = _month(clock)
    assert (0, 70 + 30 + 40 + 100 + 100 + 100) == balances(reader)["", label]
    # What was open is settled under its own legs; here it stays at its maximum, so never too low.
    settle(ledger, "c5", 1)
    assert (0, 440) == balances(reader)["", label]
    (reply,) = ledger.process(
        [admission("c8", budgets=(budget("day", 539, period="monthly"),), quoted=quote(100))]
    )
    assert isinstance(reply, Admitted)
    assert ("deny", "budget_exhausted") == (reply.effect, reply.reasons[0].code)


def _month(clock: TurnableClock) -> str:
    return f"{datetime.fromtimestamp(clock.now_ns() // SECOND_NS, tz=UTC):%Y-%m}"


def test_a_shorter_period_begins_with_its_own_part(
    ledger: Ledger, reader: Store, store: Store, clock: TurnableClock
) -> None:
    """Of a month's spending only today's is today's."""
    spend(ledger, "c1", period="monthly")
    settle(ledger, "c1", 70)
    clock.turn(DAY_NS)
    spend(ledger, "c2", period="monthly")
    settle(ledger, "c2", 20)
    change(store, clock, shaped(period="monthly"), DAILY)
    assert [(0, 20)] == [
        balance for (_, window), balance in balances(reader).items() if window.count("-") == 2
    ]


def test_there_and_back_counts_nothing_twice(
    ledger: Ledger, reader: Store, store: Store, clock: TurnableClock
) -> None:
    """However often the period changes, and whatever is still open in which window."""
    spend(ledger, "c1", "c2")
    settle(ledger, "c1", 60)
    month = shaped(period="monthly")
    for _ in range(3):
        change(store, clock, DAILY, month)
        change(store, clock, month, DAILY)
    (daily,) = [balance for (_, window), balance in balances(reader).items() if window.count("-") == 2]
    assert (100, 60) == daily
    settle(ledger, "c2", 10)
    (daily,) = [balance for (_, window), balance in balances(reader).items() if window.count("-") == 2]
    assert (0, 70) == daily


@pytest.mark.parametrize(
    ("per", "scopes"), [(("agent",), {AGENT}), (("team", "agent"), {f"{ATTRIBUTION.team}/{AGENT}"})]
)
def test_split_otherwise(
    ledger: Ledger,
    reader: Store,
    store: Store,
    clock: TurnableClock,
    per: tuple[Dimension, ...],
    scopes: set[str],
) -> None:
    """A balance of its own for each agent begins with what that agent has spent."""
    spend(ledger, "c1", "c2")
    settle(ledger, "c1", 60)
    settle(ledger, "c2", 5)
    change(store, clock, DAILY, shaped(per=per))
    assert dict.fromkeys(scopes, (0, 65)) == {
        scope: balance for (scope, _), balance in balances(reader).items() if scope
    }


def test_a_rolling_window_knows_when_it_was(
    ledger: Ledger, reader: Store, store: Store, clock: TurnableClock
) -> None:
    """What was spent before the change leaves the window when its time has come."""
    spend(ledger, "c1")
    settle(ledger, "c1", 60)
    clock.turn(2 * HOUR_NS)
    spend(ledger, "c2")
    settle(ledger, "c2", 5)
    rolling = shaped(period="rolling", length_ns=3 * HOUR_NS)
    change(store, clock, DAILY, rolling)
    assert (0, 65) == balances(reader)["", "rolling-10800s"]
    clock.turn(2 * HOUR_NS)
    claimed = msgspec.structs.replace(budget("day", period="rolling"), length_ns=3 * HOUR_NS)
    ledger.process([admission("c3", budgets=(claimed,), quoted=quote(100))])
    assert (100, 5) == balances(reader)["", "rolling-10800s"]


def test_what_keeps_its_windows_is_left_alone(
    ledger: Ledger, reader: Store, store: Store, clock: TurnableClock
) -> None:
    """Another limit changes no balance, and neither does a budget that is new."""
    spend(ledger, "c1")
    before = balances(reader)
    change(store, clock, DAILY, shaped(limit=5))
    change(store, clock, shaped(id="other"), shaped(period="monthly"))
    assert before == balances(reader)


def test_where_nobody_knows_what_held_before(
    ledger: Ledger, reader: Store, store: Store, clock: TurnableClock
) -> None:
    """All balances are worked out, and those that were right stay as they were."""
    spend(ledger, "c1", "c2")
    settle(ledger, "c1", 60)
    before = balances(reader)
    seeding = Seeding(StoredSpending(store.query), None, registry(DAILY), {}, clock.now_ns())
    with store.change(["acme"]) as locked:
        locked.write(Changes(standings=seeding.rows(locked.now_ns)))
    assert before == balances(reader)


def test_what_is_settled_meanwhile_counts(
    ledger: Ledger, reader: Store, store: Store, clock: TurnableClock
) -> None:
    """Between the first reading and the lock calls go on; each counts once."""
    spend(ledger, "c1", "c2", "c3")
    settle(ledger, "c1", 60)
    month = shaped(period="monthly")
    seeding = Seeding(StoredSpending(store.query), registry(DAILY), registry(month), {}, clock.now_ns())
    settle(ledger, "c2", 7)
    spend(ledger, "c4")
    with store.change(["acme"]) as locked:
        locked.write(Changes(standings=seeding.rows(locked.now_ns)))
    assert (0, 60 + 7 + 100 + 100) == balances(reader)["", _month(clock)]


def test_what_was_fixed_stays(ledger: Ledger, store: Store, clock: TurnableClock) -> None:
    """There and back a window has the rate, and what it carries over, that it was opened with."""
    carrying = msgspec.structs.replace(budget("day", 300, period="daily"), carry_over=CarryOver(most=200))
    ledger.process([admission("a", quoted=quote(100), budgets=(carrying,))])
    clock.turn(DAY_NS)
    ledger.process([admission("b", quoted=quote(100), budgets=(carrying,))])
    change(store, clock, DAILY, shaped(period="monthly"))
    change(store, clock, shaped(period="monthly"), DAILY)
    (row,) = store.query("""select notes from standing where "window" = '2026-11-24'""")
    assert WindowNotes(carried=200, limit=300) == msgspec.json.decode(row["notes"], type=WindowNotes)
