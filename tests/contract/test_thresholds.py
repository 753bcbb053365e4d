"""Thresholds on every store: each is passed once in a window, in the transaction that reaches it, and told of there."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from aegis_gateway import bootstrap
from aegis_gateway.application.commands import Admitted, Look, Seen, Settle, Stale
from aegis_gateway.application.foreseeing import Foreseen, pass_forecasts
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.admit import BudgetClaim, StandingKey
from aegis_gateway.domain.ledger import Standing, WindowNotes
from aegis_gateway.domain.measure import with_measures
from aegis_gateway.domain.threshold import Threshold
from aegis_gateway.domain.window import Window
from tests.gateways import configuration
from tests.ledgers import (
    DAY_NS,
    HOUR_NS,
    NOON_NS,
    PERMITTED,
    TurnableClock,
    admission,
    budget,
    cost,
    on_exhaustion,
    quote,
    threshold,
)

STEPS = (threshold(50, "notify"), threshold(80, "incident"), on_exhaustion("notify", "incident"))
NOVEMBER = "2026-11"
ENDS_NS = NOON_NS + 12 * HOUR_NS + 7 * DAY_NS


def steps(limit: int = 1_000, thresholds: tuple[Threshold, ...] = STEPS, **settings: Any) -> BudgetClaim:
    """A month's budget with thresholds."""
    return budget("month", limit, thresholds=thresholds, **settings)


def spend(ledger: Ledger, name: str, amount: int, claim: BudgetClaim | None = None) -> str:
    """Make a call that costs so much; the effect of its decision."""
    ask = admission(name, budgets=(steps() if claim is None else claim,), quoted=quote(amount))
    (reply,) = ledger.process([ask])
    assert isinstance(reply, Admitted)
    if reply.effect == "allow":
        ledger.process([Settle(call=name, tenant="acme", evidence=cost(amount))])
    return reply.effect


def turns(reader: Store) -> list[tuple[str, str]]:
    """What has turned, by the record: the threshold, and what happened to it."""
    rows = reader.query("select body from entry where type = 'threshold' order by sequence")
    bodies = [msgspec.json.decode(row["body"]) for row in rows]
    return [(body["threshold"], body["act"]) for body in bodies]


def whys(reader: Store) -> list[tuple[str, str]]:
    """What has turned and why, by the record."""
    rows = reader.query("select body from entry where type = 'threshold' order by sequence")
    return [(body["act"], body["why"]) for row in rows for body in [msgspec.json.decode(row["body"])]]


def balance_of(store: Store, key: StandingKey) -> Standing:
    """A balance as it stands."""
    with store.change(["acme"]) as change:
        return change.standings([("acme", key)])["acme", key]


def notices(reader: Store) -> list[tuple[str, str]]:
    """What people are to hear of."""
    rows = reader.query("select kind, body from notice order by sequence")
    return [(row["kind"], msgspec.json.decode(row["body"])["threshold"]) for row in rows]


def states(reader: Store, window: str = NOVEMBER) -> dict[str, str]:
    """What a balance says of its thresholds."""
    (row,) = reader.query("select notes from standing where \"window\" = ? and budget = 'month'", (window,))
    watched = msgspec.json.decode(row["notes"], type=WindowNotes).watched
    return {} if watched is None else {each.id: each.state for each in watched.thresholds}


def look(claim: BudgetClaim | None, **asked: Any) -> Look:
    """A look at the balance of the month."""
    return Look(
        call="look",
        tenant="acme",
        epoch=1,
        budget="month",
        scope="",
        window=NOVEMBER,
        quantity="usd",
        ends_ns=ENDS_NS,
        claim=claim,
        **asked,
    )


def test_a_settlement_passes_what_it_reaches_and_tells_of_it_in_its_transaction(
    ledger: Ledger, reader: Store
) -> None:
    """Half and four fifths are passed by the settlements that reach them, each once, though those bring no claims."""
    for place in range(9):
        assert "allow" == spend(ledger, f"c{place}", 100)
    assert [("50", "passed"), ("80", "passed")] == turns(reader)
    assert [("threshold_passed", "50"), ("threshold_passed", "80")] == notices(reader)
    (incident,) = reader.query("select kind, subject, severity, facts from incident")
    assert ("threshold_passed", "budget:month@80", "medium") == tuple(incident.values())[:3]
    facts = msgspec.json.decode(incident["facts"])
    assert {
        "posted": "800",
        "limit": "1000",
        "amount": "800",
        "owner": "ann@example.com",
    }.items() <= facts.items()
    assert {"50": "passed", "80": "passed", "exhausted": "armed"} == states(reader)
    assert [(2,)] == reader.rows("select passed from standing where budget = 'month'")


def test_a_refusal_exhausts_a_budget_unless_no_window_would_bear_the_call(
    ledger: Ledger, reader: Store
) -> None:
    """Too little left for a call exhausts, once; a call above the whole limit says nothing of what is left."""
    spend(ledger, "c1", 400)
    assert "deny" == spend(ledger, "c2", 1_001)
    assert [] == turns(reader)
    assert ["deny", "deny"] == [spend(ledger, name, 601) for name in ("c3", "c4")]
    assert [("exhausted", "passed")] == turns(reader)
    assert [("budget_exhausted", "exhausted")] == notices(reader)
    assert [("budget_exhausted", "high")] == reader.rows("select kind, severity from incident")


def test_all_spent_is_exhausted(ledger: Ledger, reader: Store) -> None:
    """The last nano-dollar exhausts a budget without a refusal; the whole bundle is passed by one settlement."""
    spend(ledger, "c1", 1_000)
    assert [("50", "passed"), ("80", "passed"), ("exhausted", "passed")] == turns(reader)


def test_a_raised_limit_undoes_what_is_above_again_and_it_may_pass_again(
    ledger: Ledger, reader: Store
) -> None:
    """What was passed and lies above what is spent now is undone at the next call, and passed anew."""
    spend(ledger, "c1", 850)
    assert 2 == len(turns(reader))
    spend(ledger, "c2", 10, steps(1_200))
    assert [("80", "undone")] == turns(reader)[2:]
    assert ("threshold_undone", "80") == notices(reader)[-1]
    spend(ledger, "c3", 200, steps(1_200))
    assert [("80", "passed")] == turns(reader)[3:]
    spend(ledger, "c4", 10, steps(1_100))
    assert [("80", "passed")] == turns(reader)[3:]


def test_a_look_undoes_by_a_raised_limit_and_by_the_end_of_the_window(
    ledger: Ledger, reader: Store, clock: TurnableClock
) -> None:
    """Without any call: what a raised limit undoes is undone, and everything once the window is over; once each."""
    spend(ledger, "c1", 850)
    assert [Seen(call="look")] * 2 == ledger.process([look(steps(1_200)), look(steps(1_200))])
    assert [("80", "undone")] == turns(reader)[2:]
    assert isinstance(ledger.process([msgspec.structs.replace(look(steps()), epoch=2)])[0], Stale)
    clock.at_ns = ENDS_NS
    ledger.process([look(steps(1_200)), look(steps(1_200))])
    ledger.process([look(steps(1_200))])
    assert [("50", "undone")] == turns(reader)[3:]
    assert [(None,)] == reader.rows("select passed from standing where budget = 'month'")


def test_a_new_window_begins_with_all_armed(ledger: Ledger, reader: Store, clock: TurnableClock) -> None:
    """Each window passes its own, and a late settlement passes those of the window that it was admitted in."""
    spend(ledger, "c1", 600)
    ledger.process([admission("late", budgets=(steps(),), quoted=quote(300))])
    clock.at_ns = ENDS_NS
    spend(ledger, "c2", 500)
    assert {"50": "passed", "80": "armed", "exhausted": "armed"} == states(reader, "2026-12")
    ledger.process([Settle(call="late", tenant="acme", evidence=cost(300))])
    assert {"50": "passed", "80": "passed", "exhausted": "armed"} == states(reader)
    assert [("50", "passed"), ("50", "passed"), ("80", "passed")] == turns(reader)


def test_a_clock_that_falls_back_passes_nothing_twice(
    ledger: Ledger, reader: Store, clock: TurnableClock
) -> None:
    """Within what is borne, and beyond it: time stands still, and settlements pass what they reach once."""
    clock.at_ns = ENDS_NS + HOUR_NS
    spend(ledger, "c1", 500)
    ledger.process([admission("c2", budgets=(steps(),), quoted=quote(400))])
    clock.at_ns = ENDS_NS - HOUR_NS
    ledger.process([Settle(call="c2", tenant="acme", evidence=cost(400))])
    assert "deny" == spend(ledger, "c3", 10)
    assert [("50", "passed"), ("80", "passed")] == turns(reader)


def test_a_rolling_window_undoes_what_has_fallen_five_points_and_may_pass_it_again(
    ledger: Ledger, reader: Store, clock: TurnableClock
) -> None:
    """What falls a little below a threshold stays passed; what falls by 5% of the limit is undone at the next touch."""
    claim = steps(period="rolling", length_ns=HOUR_NS, thresholds=(threshold(50, "notify"),))
    spend(ledger, "c1", 40, claim)
    clock.turn(10 * 60 * 1_000_000_000)
    spend(ledger, "c2", 20, claim)
    clock.turn(60 * 1_000_000_000)
    spend(ledger, "c3", 450, claim)
    assert [("50", "passed")] == turns(reader)
    clock.at_ns = NOON_NS + 62 * 60 * 1_000_000_000
    spend(ledger, "c4", 0, claim)
    assert 1 == len(turns(reader)), "470 of 1,000 is not 45%"
    clock.at_ns = NOON_NS + 73 * 60 * 1_000_000_000
    spend(ledger, "c5", 0, claim)
    assert [("50", "undone")] == turns(reader)[1:]
    spend(ledger, "c6", 500, claim)
    assert [("50", "passed")] == turns(reader)[2:]


def test_a_forecast_is_passed_by_a_look_and_never_by_what_is_spent(ledger: Ledger, reader: Store) -> None:
    """Whoever looks at forecasts passes it, any number of times; it is passed once."""
    claim = steps(thresholds=(threshold(100, "notify", basis="forecast"),))
    spend(ledger, "c1", 1_000, claim)
    assert [] == turns(reader)
    for _ in range(2):
        ledger.process([look(claim, expected=1_000)])
    assert [("100-forecast", "passed")] == turns(reader)


@pytest.mark.parametrize(("word", "state"), [(True, "passed"), (False, "declined")])
def test_what_waits_for_a_word_is_passed_waiting(
    ledger: Ledger, reader: Store, word: bool, state: str
) -> None:
    """It acts from the word on, or not in this window; a second word changes nothing."""
    claim = steps(thresholds=(threshold(80, "block", waits_for_word=True),))
    spend(ledger, "c1", 900, claim)
    assert {"80": "waiting"} == states(reader)
    ledger.process([look(claim, words={"80": word})])
    ledger.process([look(claim, words={"80": not word})])
    assert {"80": state} == states(reader)
    assert [("80", "passed"), ("80", "granted" if word else "declined")] == turns(reader)


def test_a_budget_in_shadow_tells_of_what_it_passes_and_opens_no_incident(
    ledger: Ledger, reader: Store
) -> None:
    """Thresholds in shadow are passed and told of as such; nobody is asked and nothing is opened."""
    claim = steps(thresholds=(threshold(50, "incident", "block", waits_for_word=True),), mode="shadow")
    spend(ledger, "c1", 600, claim)
    assert {"50": "passed"} == states(reader)
    (row,) = reader.query("select body from notice")
    assert "shadow" == msgspec.json.decode(row["body"])["mode"]
    assert [] == reader.rows("select id from incident")


def test_two_sides_of_a_canary_do_not_pass_and_undo_in_turn(ledger: Ledger, reader: Store) -> None:
    """While another version is tried, the thresholds of a shared balance are those of the greater limit."""
    low = msgspec.structs.replace(steps(1_000), is_tried=True)
    high = msgspec.structs.replace(steps(2_000), is_tried=True)
    spend(ledger, "c1", 850, low)
    assert [("50", "passed"), ("80", "passed")] == turns(reader)
    for place in range(4):
        spend(ledger, f"d{place}", 1, high if place % 2 else low)
    assert [("50", "undone"), ("80", "undone")] == turns(reader)[2:]


def test_a_call_judged_by_other_measures_than_hold_is_sent_back(ledger: Ledger, reader: Store) -> None:
    """It is told which hold; judged by those it is decided, and the record names them."""
    claim = steps(thresholds=(threshold(80, "block"),))
    spend(ledger, "c1", 900, claim)
    ask = admission("c2", budgets=(claim,), quoted=quote(10))
    (stale,) = ledger.process([ask])
    assert isinstance(stale, Stale)
    assert stale.measures is not None
    assert [("80", "block")] == [(each.threshold, each.kind) for each in stale.measures]
    verdict = with_measures(PERMITTED, stale.measures)
    (reply,) = ledger.process([msgspec.structs.replace(ask, measures=stale.measures, verdict=verdict)])
    assert isinstance(reply, Admitted)
    assert ("deny", "budget_measure") == (reply.effect, reply.reasons[0].code)
    (row,) = reader.query("select body from entry where call = 'c2'")
    assert ["budget:month@80"] == msgspec.json.decode(row["body"])["measures"]


def test_a_call_on_another_budget_is_still_judged_by_the_one_it_was_asked_against(ledger: Ledger) -> None:
    """A downgraded call keeps the measure that downgraded it, though it counts on that budget no more."""
    claim = steps(thresholds=(threshold(80, "block"),))
    spend(ledger, "c1", 900, claim)
    ask = admission("c2", budgets=(budget("other"),), quoted=quote(10))
    (stale,) = ledger.process([msgspec.structs.replace(ask, watched=(claim,))])
    assert isinstance(stale, Stale)
    assert [("80", "block")] == [(each.threshold, each.kind) for each in stale.measures or ()]
    (reply,) = ledger.process([msgspec.structs.replace(ask, call="c3")])
    assert isinstance(reply, Admitted)


def test_a_forecast_passes_the_thresholds_that_it_reaches_and_undoes_them_when_it_has_fallen(
    ledger: Ledger, store: Store, reader: Store
) -> None:
    """Of a budget that is used: what its window is expected to come to passes what it reaches, once, and no more; a
    forecast that goes to and fro around a threshold turns nothing.
    """
    budgets = {
        "month": "limit: 0.000001, period: monthly, thresholds:"
        " [{at: 100%, of: forecast, do: [notify]}, {at: 150%, of: forecast, do: [block]}]"
    }
    files = configuration("http://127.0.0.1:9", budgets=budgets)
    view = bootstrap.unstored_view(bootstrap.configuration(files), "acme")
    view = msgspec.structs.replace(view, epoch=1)
    thresholds = view.registry.budgets["month"].thresholds
    spend(ledger, "c1", 100, steps(thresholds=thresholds))
    window = Window(label=NOVEMBER, starts_ns=0, ends_ns=ENDS_NS)

    def look(expected: int) -> int:
        balance = balance_of(store, ("month", "", NOVEMBER))
        foreseen = Foreseen(scope="", window=window, expected=expected, balance=balance)
        return pass_forecasts(store, {"acme": view}, lambda *_: [foreseen], NOON_NS)

    assert [1, 0] == [look(1_200), look(1_200)]
    assert [("100-forecast", "passed")] == turns(reader)
    assert [0, 0, 0] == [look(999), look(950), look(1_000)], "it has to fall by 5% of the limit below it"
    assert [1, 0] == [look(949), look(949)]
    assert [("100-forecast", "passed"), ("100-forecast", "undone")] == turns(reader)
    assert [0, 1] == [look(999), look(1_500)]
    assert ["100-forecast", "150-forecast"] == [name for name, act in turns(reader)[2:] if act == "passed"]
    assert [("undone", "fell")] == whys(reader)[1:2]
