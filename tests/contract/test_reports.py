"""Reports say the same of either store."""

from __future__ import annotations

import json

import msgspec
import pytest

from aegis_gateway.adapters.reports import BudgetStanding, BudgetWindow, CallFilter, Reports, Spent, Sum
from aegis_gateway.application.commands import Lose, Moved, Settle
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.decision import Reason, Verdict
from aegis_gateway.domain.ledger import Standing
from aegis_gateway.domain.limits import CarryOver
from aegis_gateway.domain.registry import Budget
from aegis_gateway.domain.window import Window
from tests.ledgers import (
    ATTRIBUTION,
    DAY_NS,
    HOUR_NS,
    NOON_NS,
    SECOND_NS,
    TurnableClock,
    admission,
    budget,
    cost,
    quote,
)

DAY = Budget(id="day", owner="ann", deputy="ben", quantity="usd", limit=1_000, period="daily", zone="UTC")
EACH = msgspec.structs.replace(DAY, id="each_", per=("agent",))
REFUSED = Verdict(effect="deny", reasons=(Reason(code="no_permit", message="nothing permits this"),))
TODAY = Window(label="2026-11-23", starts_ns=NOON_NS - DAY_NS // 2, ends_ns=NOON_NS + DAY_NS // 2)


@pytest.fixture
def reports(reader: Store) -> Reports:
    """Reports through a connection that only reads."""
    return Reports(reader.query)


def make(
    ledger: Ledger, call: str, agent: str = "bot", *, settled: tuple[int, ...] = (), lost: bool = False
) -> None:
    """A call of at most 100 nano-dollars on both budgets, settled at some lines, or lost."""
    claims = (budget("day", period="daily"), budget("each_", period="daily", scope=agent))
    attribution = msgspec.structs.replace(ATTRIBUTION, agent=agent)
    replies = ledger.process(
        [admission(call, budgets=claims, quoted=quote(100, 50), attribution=attribution)]
    )
    if settled:
        replies += ledger.process([Settle(call=call, tenant="acme", evidence=cost(*settled))])
        assert isinstance(replies[-1], Moved)
    if lost:
        replies += ledger.process([Lose(call=call, tenant="acme", reason="gone")])
        assert isinstance(replies[-1], Moved)


def test_standings_of_the_current_window(ledger: Ledger, reports: Reports, clock: TurnableClock) -> None:
    """Spent and reserved, for each scope of a split budget, and nothing of yesterday."""
    make(ledger, "yesterday", settled=(70,))
    clock.turn(DAY_NS)
    make(ledger, "a", settled=(30, 5))
    make(ledger, "b", "other")
    window = Window(label="2026-11-24", starts_ns=TODAY.starts_ns + DAY_NS, ends_ns=TODAY.ends_ns + DAY_NS)
    expected = [
        BudgetStanding(
            budget=each,
            scope=scope,
            window=window,
            reserved=reserved,
            spent=spent,
            limit=each.limit,
            balance=Standing(pending=reserved, posted=spent),
        )
        for each, scope, reserved, spent in (
            (DAY, "", 100, 35),
            (EACH, "bot", 0, 35),
            (EACH, "other", 100, 0),
        )
    ]
    assert expected == reports.standings("acme", [DAY, EACH], clock.now_ns())
    assert [865, 965, 900] == [standing.left for standing in expected]


def test_the_fullest_of_a_split_budget_s_balances(
    ledger: Ledger, reports: Reports, clock: TurnableClock
) -> None:
    """Those that have least left, spent and reserved alike, as all of them say it; and how many there are."""
    make(ledger, "yesterday", "old", settled=(90,))
    clock.turn(DAY_NS)
    for place, agent in enumerate(("a", "b", "c", "d", "e")):
        make(ledger, agent, agent, settled=(10 * (place % 3),) if place else ())
    now_ns = clock.now_ns()
    carrying = msgspec.structs.replace(EACH, carry_over=CarryOver(most=50))
    for each in (EACH, carrying, DAY):
        whole = sorted(reports.standings("acme", [each], now_ns), key=lambda one: (one.left, one.scope))
        for most in range(1, 8):
            assert (whole[:most], len(whole)) == reports.fullest("acme", each, now_ns, most)
        for one in whole:
            assert one == reports.standing("acme", each, one.scope, now_ns)
    assert ["a", "c", "b", "e", "d"] == [one.scope for one in reports.fullest("acme", EACH, now_ns, 9)[0]]
    assert reports.standing("acme", EACH, "old", now_ns) is None
    assert ([], 0) == reports.fullest("acme", EACH, now_ns + DAY_NS, 9)


def test_standings_before_the_first_call(reports: Reports) -> None:
    """A budget that nothing was spent of is there with nothing; a split one has no part yet."""
    assert [
        BudgetStanding(budget=DAY, scope="", window=TODAY, reserved=0, spent=0, limit=DAY.limit)
    ] == reports.standings("acme", [DAY, EACH], NOON_NS)


def test_a_budget_s_last_windows(ledger: Ledger, reports: Reports, clock: TurnableClock) -> None:
    """The newest window first, its parts added up."""
    make(ledger, "yesterday", settled=(70,))
    clock.turn(DAY_NS)
    make(ledger, "a", settled=(30,))
    make(ledger, "b", "other", settled=(40,))
    make(ledger, "c", "other")
    tomorrow = Window(label="2026-11-24", starts_ns=TODAY.starts_ns + DAY_NS, ends_ns=TODAY.ends_ns + DAY_NS)
    assert [
        BudgetWindow(window=tomorrow, scopes=2, reserved=100, spent=70),
        BudgetWindow(window=TODAY, scopes=1, reserved=0, spent=70),
    ] == reports.windows("acme", "each_", clock.now_ns())


def test_calls_by_filter(ledger: Ledger, reports: Reports, clock: TurnableClock) -> None:
    """The newest first, or open ones the oldest first; every filter narrows."""
    make(ledger, "a", settled=(30,))
    clock.turn(HOUR_NS)
    make(ledger, "b", lost=True)
    make(ledger, "c", "other", lost=True)
    ledger.process([admission("d", verdict=REFUSED)])

    def ids(limit: int = 10, **wanted: object) -> list[str]:
        return [each.call for each in reports.calls("acme", CallFilter(**wanted), limit)]  # type: ignore[arg-type] # names stand for themselves

    assert ["d", "c", "b", "a"] == ids()
    assert ["d", "c"] == ids(2)
    assert ["d", "b", "a"] == ids(agent="bot")
    assert ["d"] == ids(effect="deny")
    assert ["b", "c"] == ids(state="in_doubt")
    assert ["a"] == ids(state="settled")
    assert ["d", "c", "b"] == ids(since_ns=NOON_NS + 1)
    assert [] == [each.call for each in reports.calls("zeta", CallFilter(), 10)]


def test_calls_go_on_behind_one(ledger: Ledger, reports: Reports, clock: TurnableClock) -> None:
    """Page by page each call is seen once, in both orders, also where several were decided in one instant."""
    for place in range(5):
        make(ledger, f"c{place}", lost=True)
        if place == 2:
            clock.turn(HOUR_NS)
    for wanted in (CallFilter(), CallFilter(state="in_doubt")):
        whole = [each.call for each in reports.calls("acme", wanted, 10)]
        seen, behind = [], None
        while page := reports.calls("acme", wanted, 2, behind=behind):
            seen += [each.call for each in page]
            behind = page[-1].decided_ns, page[-1].sequence
        assert whole == seen
        assert 5 == len(set(seen))


def test_one_call(ledger: Ledger, reports: Reports) -> None:
    """A call counts at its maximum while it is open, then at its cost; another tenant's is none."""
    make(ledger, "a", settled=(30, 5))
    make(ledger, "b")
    settled, running = reports.call("acme", "a"), reports.call("acme", "b")
    assert settled is not None
    assert running is not None
    assert ("settled", 35, 35, False) == (
        settled.state,
        settled.cost_nano_usd,
        settled.counted_nano_usd,
        settled.overrun,
    )
    assert ("dispatched", None, 100) == (running.state, running.cost_nano_usd, running.counted_nano_usd)
    assert reports.call("zeta", "a") is None
    assert reports.call("acme", "z") is None


def test_a_call_says_where_it_stands_in_a_trace(ledger: Ledger, reports: Reports) -> None:
    """In its row and in its entry, refused ones too; one that stands in none says nothing of it."""
    place = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
    traced = msgspec.structs.replace(admission("a"), traceparent=place)
    refused = msgspec.structs.replace(admission("b", verdict=REFUSED), traceparent=place)
    ledger.process([traced, refused, admission("c")])
    found = [reports.call("acme", each) for each in ("a", "b", "c")]
    assert [place, place, None] == [each and each.traceparent for each in found]
    assert [place, place, None] == [each and each.place and each.place.parent for each in found]
    entries = [json.loads(reports.entries_of_call("acme", each)[0].body) for each in ("a", "b", "c")]
    assert [place, place, None] == [entry.get("traceparent") for entry in entries]


def test_calls_that_the_record_tells_of(ledger: Ledger, reports: Reports) -> None:
    """Each call that a stretch of the record is about, once, as it stands now."""
    make(ledger, "a")
    before = reports.last_sequence("acme")
    make(ledger, "b", settled=(30,))
    ledger.process([Settle(call="a", tenant="acme", evidence=cost(10))])
    news = reports.calls_of_entries("acme", before, reports.last_sequence("acme"))
    assert [("a", "settled"), ("b", "settled")] == [(each.call, each.state) for each in news]
    assert (1, 4) == (before, reports.last_sequence("acme"))


def test_effects_and_open_calls(ledger: Ledger, reports: Reports, clock: TurnableClock) -> None:
    """Calls by effect since an instant, and those not closed by state."""
    make(ledger, "a", settled=(30,))
    clock.turn(10 * SECOND_NS)
    make(ledger, "b", lost=True)
    make(ledger, "c")
    ledger.process([admission("d", verdict=REFUSED)])
    assert {"allow": 2, "deny": 1} == reports.effects("acme", NOON_NS + 1)
    assert {"in_doubt": 1, "dispatched": 1} == reports.open_calls("acme")


def test_spend_is_carried_on_from_what_was_known(ledger: Ledger, reports: Reports) -> None:
    """What the record gains since is added, and a call of before the instant is not."""
    make(ledger, "a", settled=(30,))
    make(ledger, "b")
    first = reports.spent("acme", NOON_NS)
    assert Spent(since_ns=NOON_NS, sequence=3, nano_usd=30) == first
    ledger.process([Settle(call="b", tenant="acme", evidence=cost(12))])
    second = reports.spent_now("acme", first)
    assert Spent(since_ns=NOON_NS, sequence=4, nano_usd=42) == second
    assert second == reports.spent_now("acme", second)
    later = Spent(since_ns=NOON_NS + 1, sequence=0, nano_usd=0)
    assert Spent(since_ns=NOON_NS + 1, sequence=4, nano_usd=0) == reports.spent_now("acme", later)


def test_charges_add_up(ledger: Ledger, reports: Reports) -> None:
    """Charge lines by agent, the dearest first, equal to what the calls cost."""
    make(ledger, "a", settled=(30, 5))
    make(ledger, "b", "other", settled=(40,))
    make(ledger, "c", settled=(1,))
    expected = [Sum(name="other", calls=1, nano_usd=40), Sum(name="bot", calls=2, nano_usd=36)]
    assert expected == reports.charges_by("acme", "agent", TODAY.starts_ns, TODAY.ends_ns)
    whole = [Sum(name="lending", calls=3, nano_usd=76)]
    assert whole == reports.charges_by("acme", "team", TODAY.starts_ns, TODAY.ends_ns)
    assert [] == reports.charges_by("acme", "agent", TODAY.ends_ns, TODAY.ends_ns + DAY_NS)


def test_entries_page_by_page(ledger: Ledger, reports: Reports) -> None:
    """The record in order, as the bytes that are kept."""
    make(ledger, "a", settled=(30,))
    first = reports.entries("acme", 0, 1)
    rest = reports.entries("acme", first[-1].sequence, 10)
    assert [(1, "decision", "a"), (2, "settlement", "a")] == [
        (entry.sequence, entry.type, entry.call) for entry in first + rest
    ]
    assert [1, 2] == [json.loads(entry.body)["seq"] for entry in first + rest]
    assert [] == reports.entries("acme", 2, 10)


def test_tenants(reports: Reports) -> None:
    """All of them, by id."""
    assert ["acme", "zeta"] == reports.tenants()


def test_calls_of_a_run(ledger: Ledger, reports: Reports) -> None:
    """By the number with which its id begins, in order; how often a client tried again stands in the record."""
    number = "0123456789abcdef0123"
    for place, (run, retry) in enumerate([(number, 0), ("f" * 20, 0), (number, 2)]):
        who = msgspec.structs.replace(ATTRIBUTION, run=f"run_{run}aabbccddeeff0011", retry=retry)
        ledger.process([admission(f"r{place}", tenant="acme", attribution=who)])
    assert ["r0", "r2"] == [each.call for each in reports.calls_of_run("acme", number, 10)]
    assert ["r0"] == [each.call for each in reports.calls_of_run("acme", number, 1)]
    assert {"r2": 2} == reports.attempts_of_run("acme", number)
    assert [] == reports.calls_of_run("zeta", number, 10)
    assert [] == reports.runs_of_tree("acme", number, 10)
