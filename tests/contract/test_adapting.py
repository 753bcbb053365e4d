"""Limits that follow use: changed once in a turn, whoever looks; what people do meanwhile; on every store."""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec
import pytest

from aegis_gateway.adapters.budget_use import BudgetUse
from aegis_gateway.application.adapting import adapt_limit, adapt_limits
from aegis_gateway.application.approvals import let_time_pass
from aegis_gateway.application.incidents import Incidents
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.errors import ConfigurationError
from tests.adaptations import Follower, adapting
from tests.amendments import like_month
from tests.houses import PEPPER, refused
from tests.ledgers import DAY_NS, HOUR_NS, Database, TurnableClock

STEADY = (2_000,) * 10
"""What was used on the last days: more than by a fifth above the limit."""


@pytest.fixture
def bank(store: Store) -> Follower:
    """One budget that follows use by itself, of which much is used."""
    bank = Follower(store, adapting())
    bank.spend("day", *STEADY)
    return bank


def wrong(act: Callable[[], object]) -> str:
    """What is said of an act that can't be done."""
    with pytest.raises(ConfigurationError) as told:
        act()
    return str(told.value)


def test_a_limit_is_adapted_once_in_a_turn(bank: Follower, clock: TurnableClock) -> None:
    """By a fifth a day, on the record, told of, with its reasons; again the next day, and once after days of outage."""
    epoch = bank.store.epochs()["acme"]
    for _ in range(3):
        bank.steward()
    assert [("adaptive", 1_000, 1_200, "aegis", "aegis")] == bank.history()
    assert epoch + 1 == bank.store.epochs()["acme"]
    (entry,) = bank.entries(kind="budget_change")
    assert ("adaptive", "aegis") == (entry["act"], entry["actor"])
    assert "the median of 8 windows" in str(entry["reason"])
    notices = bank.store.query("select kind, subject from notice")
    assert [{"kind": "limit_changed", "subject": "budget:day"}] == notices
    clock.turn(DAY_NS)
    bank.spend("day", 1_200)
    bank.steward()
    clock.turn(5 * DAY_NS)
    bank.spend("day", *(1_400,) * 6)
    bank.steward()
    bank.steward()
    assert [1_200, 1_440, 1_610] == [after for _, _, after, _, _ in bank.history()]


def test_many_stewards_adapt_once(bank: Follower, database: Database, clock: TurnableClock) -> None:
    """Six of them at once, each on a store of its own: one change."""
    stores = [database.open(clock, keep=False) for _ in range(6)]
    seen, faults = bank.seen(), []

    def look(store: Store) -> None:
        try:
            adapt_limit(store, seen, BudgetUse(store.query), "day")
        except Exception as fault:  # whatever it is, the test fails by it
            faults.append(fault)

    threads = [threading.Thread(target=look, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == faults
    assert [1_200] == [after for _, _, after, _, _ in bank.history()]


def test_a_person_applies_what_is_proposed(bank: Follower) -> None:
    """Who may change limits; then the turn is done, for the steward too; a rollback is one step."""
    found = bank.proposed()
    assert (1_000, 1_200, "most_change") == (found.present, found.limit, found.bound)
    use = BudgetUse(bank.store.query).use("acme", bank.registry.budgets["day"], bank.store.clock_ns())
    assert "finops" in refused(lambda: bank.changes("own").adapt("day", use))
    made = bank.changes().adapt("day", use)
    assert ("fin", "fin", 1_200) == (made.asked_by, made.approver, made.limit_after)
    assert "in this turn already" in wrong(lambda: bank.changes().adapt("day", use))
    bank.steward()
    assert 1 == len(bank.history())
    bank.changes().roll_back(made.number, "too much")
    assert 1_000 == bank.limits()["day"]
    assert "done" == bank.proposed().held


def test_what_was_taken_back_is_asked_about_before_it_is_done_again(
    bank: Follower, clock: TurnableClock
) -> None:
    """The turn is left alone, and in the next one people are asked, though the budget would adapt by itself."""
    bank.steward()
    bank.changes().roll_back(1, "too much")
    bank.steward()
    assert ["adaptive", "roll_back"] == [kind for kind, *_ in bank.history()]
    clock.turn(DAY_NS)
    bank.steward()
    bank.steward()
    (asked,) = bank.asked()
    assert ("limit", "aegis", "budget:day", "waiting") == (
        asked.kind,
        asked.requester,
        asked.about,
        asked.state,
    )
    bank.approvals().grant("acme", asked.id, "fine")
    assert ("adaptive", 1_000, 1_200, "aegis", "ben") == bank.history()[-1]
    clock.turn(DAY_NS)
    bank.spend("day", 2_000)
    bank.steward()
    assert ("adaptive", 1_200, 1_440, "aegis", "aegis") == bank.history()[-1]


def test_what_waits_for_a_word(bank: Follower, clock: TurnableClock) -> None:
    """Asked once in a turn, with reasons and what was used; a no leaves it, and so does the end of the turn."""
    bank.configure(adapting(applies="approval"))
    bank.steward()
    (asked,) = bank.asked()
    assert ["day", "$0.000001", "$0.0000012"] == [
        asked.facts[each] for each in ("budget", "limit", "proposed")
    ]
    assert ["2026-11-15: $0.000002"] == [each for each in asked.facts["used"] if "11-15" in each]  # type: ignore[attr-defined] # a list
    bank.approvals().refuse("acme", asked.id, "no")
    bank.steward()
    assert ([], 1) == (bank.history(), len(bank.asked()))
    clock.turn(DAY_NS)
    bank.steward()
    clock.turn(DAY_NS)
    let_time_pass(bank.store)
    bank.steward()
    assert ["refused", "expired", "waiting"] == [each.state for each in bank.asked()]
    assert 1_000 == bank.limits()["day"]


def test_an_owner_closes_incidents_of_their_budget(bank: Follower, clock: TurnableClock) -> None:
    """Named by their address as well; nobody else who may not change limits does."""
    bank.open_incident("day", owner="Own@acme.example")
    close = Incidents(bank.store, PEPPER, bank.caller("vic")).close
    assert "finops" in refused(lambda: close("acme", "incident_day", "r"))
    closed = Incidents(bank.store, PEPPER, bank.caller("own")).close("acme", "incident_day", "a batch")
    assert clock.now_ns() == closed.closed_ns


def test_a_word_on_what_was_changed_since_puts_nothing_in_force(bank: Follower, clock: TurnableClock) -> None:
    """An incident: once it is closed, the answer counts. Another limit: the request is over. Both say why."""
    bank.configure(adapting(applies="approval"))
    bank.steward()
    (asked,) = bank.asked()
    bank.open_incident("day")
    assert "incident" in refused(lambda: bank.approvals().grant("acme", asked.id))
    assert "waiting" == bank.asked()[0].state
    bank.changes().increase("day", 10, ends_ns=None, reason="r")
    close = Incidents(bank.store, PEPPER, bank.caller("own")).close
    assert "finops" in refused(lambda: close("acme", "incident_day", "vic's"))
    close = Incidents(bank.store, PEPPER, bank.caller("fin")).close
    closed = close("acme", "incident_day", "it was a batch")
    assert (clock.now_ns(), closed) == (closed.closed_ns, close("acme", "incident_day", "again"))
    (entry,) = bank.entries(kind="incident")
    assert ("close", "incident_day", "it was a batch", "fin") == tuple(
        entry[each] for each in ("act", "incident", "reason", "actor")
    )
    assert "no incident `x`" in wrong(lambda: close("acme", "x", "r"))
    assert "give a reason" in wrong(lambda: close("acme", "incident_day", " "))
    assert "was changed since" in refused(lambda: bank.approvals().grant("acme", asked.id))
    assert ("withdrawn", 1_010) == (bank.asked()[0].state, bank.limits()["day"])


def test_a_word_on_a_budget_that_follows_use_no_more(bank: Follower) -> None:
    """Another version ends the request; a closed incident lets a grant through."""
    bank.configure(adapting(applies="approval"))
    bank.steward()
    (asked,) = bank.asked()
    bank.configure(adapting(applies="approval", adapts=None))
    assert "doesn't follow use" in refused(lambda: bank.approvals().grant("acme", asked.id))
    assert "withdrawn" == bank.asked()[0].state


def test_who_applies_it_has_nobody_asked_any_more(bank: Follower) -> None:
    """The request is withdrawn."""
    bank.configure(adapting(applies="approval"))
    bank.steward()
    use = BudgetUse(bank.store.query).use("acme", bank.registry.budgets["day"], bank.store.clock_ns())
    bank.changes().adapt("day", use)
    assert ["withdrawn"] == [each.state for each in bank.asked()]


def test_two_people_where_that_is_wanted(bank: Follower) -> None:
    """Nobody raises it alone; what the file says is done automatically is, for two have agreed to that."""
    bank.configure(adapting(applies="approval"), four_eyes=True)
    use = BudgetUse(bank.store.query).use("acme", bank.registry.budgets["day"], bank.store.clock_ns())
    assert "two people are needed" in refused(lambda: bank.changes().adapt("day", use))
    bank.configure(adapting(), four_eyes=True)
    bank.steward()
    assert 1_200 == bank.limits()["day"]


def test_an_incident_freezes_the_limit(bank: Follower) -> None:
    """As long as one of that budget is open; another's, or one that is closed, doesn't."""
    bank.open_incident("day_", closed_ns=None)
    bank.open_incident("other")
    assert bank.proposed().held is None
    bank.open_incident("day")
    bank.steward()
    assert ("incident", []) == (bank.proposed().held, bank.history())


def test_what_is_set_by_hand_stands_until_the_next_turn(bank: Follower, clock: TurnableClock) -> None:
    """A raise for good, or a version with another limit; the next turn goes on from there."""
    bank.changes().increase("day", 500, ends_ns=None, reason="r")
    bank.steward()
    assert ("set_by_hand", 1_500) == (bank.proposed().held, bank.limits()["day"])
    clock.turn(DAY_NS)
    bank.steward()
    assert 1_800 == bank.limits()["day"]
    clock.turn(DAY_NS)
    bank.configure(adapting(limit=3_000))
    bank.steward()
    assert ("set_by_hand", 3_000) == (bank.proposed().held, bank.limits()["day"])
    clock.turn(DAY_NS)
    bank.steward()
    assert 2_400 == bank.limits()["day"]


def test_what_is_raised_for_a_while_comes_on_top(bank: Follower, clock: TurnableClock) -> None:
    """It is no part of what follows use, and ends as was said."""
    bank.changes().increase("day", 700, ends_ns=clock.now_ns() + HOUR_NS, reason="r")
    bank.steward()
    assert (1_900, 1_200) == (bank.limits()["day"], bank.limits(clock.now_ns() + HOUR_NS)["day"])


def test_a_canary_leaves_limits_alone(bank: Follower) -> None:
    """What is in force is what a canary is compared with; once it is over, the same turn goes on."""
    assert "canary" == bank.proposed(newest=bank.version() + 1).held
    used, view = BudgetUse(bank.store.query), bank.view()
    adapt_limits(bank.store, {"acme": msgspec.structs.replace(view, beside_version=9)}, used)
    assert [] == bank.history()
    adapt_limits(bank.store, {"acme": msgspec.structs.replace(view, config_version=9)}, used)
    assert [] == bank.history(), "another version is in force by now"
    adapt_limits(bank.store, {"acme": view}, used)
    assert 1_200 == bank.limits()["day"]


def test_a_weekly_limit(store: Store, clock: TurnableClock) -> None:
    """A budget of days whose limit is looked at once a week, on whichever day the steward is back."""
    adapts = msgspec.structs.replace(adapting().adapts, every="weekly")  # type: ignore[type-var] # it has some
    bank = Follower(store, adapting(adapts=adapts))
    bank.spend("day", *STEADY)
    changes = []
    for _ in range(16):
        bank.steward()
        changes.append(len(bank.history()))
        bank.spend_now("day", 1_500)
        clock.turn(DAY_NS)
    assert [1] * 7 + [2] * 7 + [3] * 2 == changes, "the first day is a Monday"


def test_the_parent_bounds_it_with_its_siblings(store: Store) -> None:
    """What a parent has left for all of them: the first that rises has it; a parent doesn't fall below its children."""
    adapts = msgspec.structs.replace(adapting().adapts, floor=10)  # type: ignore[type-var] # it has some
    bank = Follower(
        store,
        adapting("house", limit=2_300, adapts=adapts),
        adapting("a", within="house"),
        adapting("b", within="house"),
        like_month("c", within="house", limit=100),
    )
    for name in "ab":
        bank.spend(name, *STEADY)
    bank.spend("house", *(10,) * 10)
    bank.steward("a", "b", "house")
    assert {"house": 2_300, "a": 1_200, "b": 1_000, "c": 100} == bank.limits()
    assert ("parent", "promised") == (bank.proposed("b").bound, bank.proposed("house").bound)


def test_it_is_not_lowered_below_what_is_promised(bank: Follower) -> None:
    """What is spent of the present window, and what is moved out of it for a while, stays borne."""
    bank.configure(adapting(), adapting("other", adapts=None))
    bank.spend("day", *(100,) * 60)
    bank.spend_now("day", 900)
    assert (900, "promised") == (bank.proposed().limit, bank.proposed().bound)
    bank.spend_now("day", 0)
    assert (800, "most_change") == (bank.proposed().limit, bank.proposed().bound)
    bank.changes("own").move("day", "other", 950, reason="r")
    bank.steward("day")
    assert 0 == bank.limits()["day"]
    assert "adaptive" == bank.history()[-1][0]


def test_what_can_t_be_adapted(bank: Follower) -> None:
    """Another budget, or none."""
    bank.configure(like_month("month"))
    use = BudgetUse(bank.store.query)
    month = use.use("acme", bank.registry.budgets["month"], bank.store.clock_ns())
    assert "write `adapts`" in wrong(lambda: bank.changes().adapt("month", month))
    assert "no budget `x`" in wrong(lambda: bank.changes().adapt("x", month))
