from __future__ import annotations

import itertools
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.domain.errors import IllegalTransition
from aegis_gateway.domain.ledger import (
    OPEN_STATES,
    TRANSITIONS,
    Event,
    Evidence,
    Leg,
    Standing,
    State,
    settlement,
    transition,
)
from aegis_gateway.domain.money import UnitPrice
from aegis_gateway.domain.price import charge_line

AMOUNTS = st.integers(0, 10**18)

LEGAL = {
    ("reserved", "dispatch", "dispatched"),
    ("reserved", "release", "released"),
    ("reserved", "expire", "expired"),
    ("dispatched", "settle", "settled"),
    ("dispatched", "lose", "in_doubt"),
    ("in_doubt", "settle", "settled"),
}


def leg(quantity: str, amount: int) -> Leg:
    """What a call holds of a budget that counts a quantity."""
    return Leg(budget=f"b-{quantity}", scope="", window="w", quantity=quantity, amount=amount)


def evidence(cost: int = 0, **actual: int) -> Evidence:
    """A cost on one line, and what was carried of other quantities."""
    line = charge_line("input", cost, "token", UnitPrice(nano_usd=1), "v1")
    return Evidence(source="usage", lines=(line,), actual=actual)


@pytest.mark.parametrize(("state", "event"), [*itertools.product(get_args(State), get_args(Event))])
def test_every_transition(state: State, event: Event) -> None:
    """Exactly those of the table are possible; every other one says what it is."""
    expected = {after for before, what, after in LEGAL if (before, what) == (state, event)}
    if expected:
        assert expected == {transition(state, event)}
    else:
        with pytest.raises(
            IllegalTransition, match=f"a call that is {state.replace('_', ' ')} cannot {event}"
        ):
            transition(state, event)


def test_what_was_sent_ends_only_by_evidence() -> None:
    """From `dispatched` and `in_doubt` no path leads to an end but a settlement; what ended has ended."""
    ends = {after for (before, _), after in TRANSITIONS.items() if before in ("dispatched", "in_doubt")}
    assert {"in_doubt", "settled"} == ends
    assert set() == {before for before, _ in TRANSITIONS} - set(OPEN_STATES)


@pytest.mark.parametrize(
    ("legs", "given", "amounts", "overrun"),
    [
        ((), evidence(70), (), False),
        ((leg("usd", 100),), evidence(70), (70,), False),
        ((leg("usd", 100),), evidence(100), (100,), False),
        ((leg("usd", 100),), evidence(0), (0,), False),
        ((leg("usd", 100),), evidence(101), (101,), True),
        ((leg("usd", 50),), evidence(70), (70,), True),
        ((leg("usd", 100), leg("usd", 60)), evidence(70), (70, 70), True),
        ((leg("tokens", 500),), evidence(70, tokens=20), (20,), False),
        ((leg("tokens", 500),), evidence(70, tokens=501), (501,), True),
        ((leg("tokens", 500),), evidence(70), (500,), False),
        ((leg("paid_out", 5), leg("usd", 100)), evidence(70, paid_out=0), (0, 70), False),
    ],
)
def test_settlements(legs: tuple[Leg, ...], given: Evidence, amounts: tuple[int, ...], overrun: bool) -> None:
    """Money settles at the cost, other quantities at the evidence's word or else at what was reserved."""
    outcome = settlement(legs, 100, given)
    assert amounts == outcome.amounts
    assert given.cost_nano_usd == outcome.cost_nano_usd
    assert overrun == outcome.overrun


@pytest.mark.parametrize(("cost", "maximum", "expected"), [(5, 4, True), (4, 4, False), (5, None, False)])
def test_an_overrun_without_a_budget(cost: int, maximum: int | None, expected: bool) -> None:
    """More than the quoted maximum is an overrun, also where no budget of money counts the call."""
    assert expected == settlement((), maximum, evidence(cost)).overrun


@given(AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS)
def test_a_reservation_becomes_what_was_spent(pending: int, posted: int, reserved: int, actual: int) -> None:
    """After reserve and settle a balance has what was posted more, and pending as before."""
    before = Standing(pending=pending, posted=posted)
    assert Standing(pending=pending, posted=posted + actual) == before.reserve(reserved).settle(
        reserved, actual
    )
    assert before == before.reserve(reserved).release(reserved)


@given(AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS)
def test_available_is_what_is_neither_posted_nor_pending(
    limit: int, pending: int, posted: int, more: int
) -> None:
    """Available goes down by what is reserved, and may be below zero."""
    standing = Standing(pending=pending, posted=posted)
    assert limit == standing.available(limit) + pending + posted
    assert more == standing.available(limit) - standing.reserve(more).available(limit)


@given(AMOUNTS, AMOUNTS)
def test_pending_is_never_below_zero(pending: int, more: int) -> None:
    """Giving back more than is pending is a fault, not a balance."""
    standing = Standing(pending=pending)
    with pytest.raises(IllegalTransition):
        standing.release(pending + more + 1)
    with pytest.raises(IllegalTransition):
        standing.settle(pending + more + 1, 0)
