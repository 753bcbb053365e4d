from __future__ import annotations

from datetime import UTC

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.domain.admit import BudgetClaim
from aegis_gateway.domain.currency import Currency, ExchangeRate
from aegis_gateway.domain.ledger import NOTHING, Standing, WindowNotes
from aegis_gateway.domain.limit_change import LimitChange
from aegis_gateway.domain.limits import (
    CarryOver,
    carried,
    lapsed,
    lasting_limit,
    limit_of,
    noted,
    opened,
    rate_of,
    taken_under,
)
from aegis_gateway.domain.window import Window, window_at

DAY_NS = 86_400 * 10**9
NOON_NS = 1_795_435_200 * 10**9  # 2026-11-23T12:00:00Z
TODAY = Window(label="2026-11-23", starts_ns=NOON_NS - DAY_NS // 2, ends_ns=NOON_NS + DAY_NS // 2)
BEFORE = Window(label="2026-11-22", starts_ns=TODAY.starts_ns - DAY_NS, ends_ns=TODAY.starts_ns)
EARLY = ExchangeRate(day="2026-11-01", pico_usd=1_100_000_000_000)
LATE = ExchangeRate(day="2026-11-23", pico_usd=1_200_000_000_000)
EUR = Currency(code="EUR", rates=(EARLY,))


def claim(
    limit: int = 100, *, most: int | None = None, expires_ns: int = 0, currency: Currency | None = None
) -> BudgetClaim:
    """A claim on a daily budget."""
    return BudgetClaim(
        budget="day", scope="", quantity="usd", scale=10**9, is_money=True, limit=limit, hard=True,
        period="daily", zone="UTC", owner="ann@example.com", currency=currency,
        carry_over=None if most is None else CarryOver(most=most, expires_ns=expires_ns),
    )  # fmt: skip


def test_a_plain_limit_is_what_it_is() -> None:
    """Nothing is noted, whatever stands."""
    assert 100 == limit_of(claim(), NOTHING, NOON_NS)
    assert NOTHING == opened(claim(), TODAY, None, NOON_NS)


def test_a_rate_is_fixed_when_a_window_opens() -> None:
    """It stays when the table is changed; a changed limit acts at once, at that rate; later windows have another."""
    standing = opened(claim(currency=EUR), TODAY, None, NOON_NS)
    assert (110, EARLY) == (
        limit_of(claim(currency=EUR), standing, NOON_NS),
        rate_of(claim(currency=EUR), standing),
    )
    changed = Currency(code="EUR", rates=(EARLY, LATE))
    other = claim(limit=200, currency=changed)
    kept = noted(other, TODAY, standing, NOON_NS)
    assert (standing, 220) == (kept, limit_of(other, kept, NOON_NS))
    assert 240 == limit_of(other, opened(other, TODAY, None, NOON_NS), NOON_NS)


def test_another_currency_has_a_rate_of_its_own() -> None:
    """A window that began with one keeps its rate beside the other's, as calls on both sides of a canary need."""
    sek = Currency(code="SEK", rates=(ExchangeRate(day="2026-11-01", pico_usd=100_000_000_000),))
    both = noted(claim(currency=sek), TODAY, opened(claim(currency=EUR), TODAY, None, NOON_NS), NOON_NS)
    assert (110, 10) == tuple(limit_of(claim(currency=each), both, NOON_NS) for each in (EUR, sek))


def test_without_a_rate_there_is_no_limit() -> None:
    """A window that began before the first rate lets nothing be used."""
    standing = opened(claim(currency=Currency(code="EUR", rates=(LATE,))), BEFORE, None, NOON_NS)
    assert 0 == limit_of(claim(currency=EUR), standing, NOON_NS)


@pytest.mark.parametrize(
    ("before", "most", "expected"),
    [
        (Standing(posted=30), 100, 70),
        (Standing(posted=30, pending=30), 100, 40),
        (Standing(posted=30), 50, 50),
        (Standing(posted=130), 50, 0),
        (None, 500, 100),
        # The limit that acted there counts, not one that came since, and what was carried into it too.
        (Standing(posted=30, notes=WindowNotes(limit=40)), 100, 10),
        (Standing(posted=30, notes=WindowNotes(limit=100, carried=20)), 100, 90),
        # One that is lower now counts at once.
        (Standing(posted=30, notes=WindowNotes(limit=400)), 500, 70),
        # What had run out there was not left.
        (Standing(posted=5, notes=WindowNotes(limit=100, carried=20, carried_until_ns=BEFORE.ends_ns)), 500, 100),
    ],
)  # fmt: skip
def test_what_is_carried_over(before: Standing | None, most: int, expected: int) -> None:
    """What was left of the window before, at most what the budget says."""
    budget = claim(most=most)
    standing = opened(budget, TODAY, (BEFORE, before), NOON_NS)
    assert (expected, 100 + expected) == (
        carried(budget, standing, NOON_NS),
        limit_of(budget, standing, NOON_NS),
    )


def test_a_budget_that_is_new_carries_nothing() -> None:
    """Where it was never used before there is no window to have left anything."""
    assert 100 == limit_of(claim(most=50), opened(claim(most=50), TODAY, None, NOON_NS), NOON_NS)


def test_carried_money_runs_out() -> None:
    """It is spent first; after its time only what was used or held of it counts, whatever is used later."""
    budget = claim(most=50, expires_ns=DAY_NS // 4)
    early, late = TODAY.starts_ns, TODAY.starts_ns + DAY_NS // 4
    standing = opened(budget, TODAY, (BEFORE, NOTHING), early)
    assert (150, 100) == tuple(limit_of(budget, standing, now_ns) for now_ns in (late - 1, late))
    used = standing.reserve(20).settle(20, 15).reserve(5)
    assert (150, 120) == tuple(limit_of(budget, used, now_ns) for now_ns in (late - 1, late))
    after = noted(budget, TODAY, used, late).settle(5, 5).reserve(60)
    assert 120 == limit_of(budget, after, late + 1)


def test_a_budget_that_carries_no_more() -> None:
    """What is configured acts at once: less is carried, or nothing."""
    standing = opened(claim(most=50), TODAY, (BEFORE, NOTHING), NOON_NS)
    assert (150, 120, 100) == tuple(
        limit_of(each, standing, NOON_NS) for each in (claim(most=50), claim(most=20), claim())
    )


def test_what_is_carried_in_a_currency() -> None:
    """What was left in dollars, at most what the budget says in its currency at the new window's rate."""
    both = Currency(code="EUR", rates=(EARLY, LATE))
    budget = claim(most=50, currency=both)
    before = opened(budget, BEFORE, None, BEFORE.starts_ns).reserve(70)
    assert 40 == carried(budget, opened(budget, TODAY, (BEFORE, before), NOON_NS), NOON_NS)
    nothing = opened(budget, BEFORE, None, BEFORE.starts_ns)
    assert 60 == carried(budget, opened(budget, TODAY, (BEFORE, nothing), NOON_NS), NOON_NS)


@given(
    st.lists(
        st.tuples(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300)), min_size=1, max_size=12
    ),
    st.integers(0, 150),
    st.integers(0, DAY_NS),
)
def test_no_chain_beyond_most(days: list[tuple[int, int, int]], most: int, expires_ns: int) -> None:
    """Over any days carried money is at most what the budget says and what was left, and falls when it runs out."""
    before: tuple[Window, Standing | None] | None = None
    now_ns, last = TODAY.starts_ns, claim()
    for limit, spent, pending in days:
        budget = claim(limit, most=most, expires_ns=expires_ns)
        window = window_at("daily", UTC, now_ns)
        standing = opened(budget, window, before, now_ns)
        amount = carried(budget, standing, now_ns)
        assert 0 <= amount <= most
        if before is None:
            assert 0 == amount
        else:
            assert before[1] is not None
            left = limit_of(last, before[1], before[0].ends_ns) - before[1].posted - before[1].pending
            assert amount <= max(0, left)
        standing = taken_under(lasting_limit(budget, window, standing, now_ns), standing)
        standing = standing.reserve(spent).settle(spent, spent).reserve(pending)
        later = noted(budget, window, standing, window.ends_ns - 1)
        assert carried(budget, later, window.ends_ns - 1) <= amount
        assert lapsed(later, window.ends_ns - 1) == later
        copy = msgspec.json.decode(msgspec.json.encode(later.notes), type=WindowNotes | None)
        assert later.notes == copy
        before, last, now_ns = (window, later), budget, window.ends_ns


def test_what_is_done_to_a_limit_acts_to_the_nanosecond() -> None:
    """From its beginning to its end, in the unit of the limit."""
    more = LimitChange(amount=50, starts_ns=NOON_NS, ends_ns=NOON_NS + 10)
    plain = msgspec.structs.replace(claim(), changes=(more,))
    assert [100, 150, 150, 100] == [limit_of(plain, NOTHING, NOON_NS + moment) for moment in (-1, 0, 9, 10)]
    dear = msgspec.structs.replace(claim(currency=EUR), changes=(more,))
    assert 165 == limit_of(dear, opened(dear, TODAY, None, NOON_NS), NOON_NS)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (LimitChange(amount=50, starts_ns=NOON_NS, ends_ns=TODAY.ends_ns - 1), 100),
        (LimitChange(amount=50, starts_ns=NOON_NS, ends_ns=TODAY.ends_ns), 150),
        (LimitChange(amount=-30, starts_ns=TODAY.ends_ns - 1), 70),
        (LimitChange(amount=-30, starts_ns=TODAY.ends_ns), 100),
    ],
)
def test_what_a_window_ends_with_is_carried_over(change: LimitChange, expected: int) -> None:
    """What was given for less than the window is not left of it, nor is what is taken off until then."""
    carrying = msgspec.structs.replace(claim(most=1_000), changes=(change,))
    standing = noted(carrying, TODAY, NOTHING, NOON_NS)
    tomorrow = Window(label="2026-11-24", starts_ns=TODAY.ends_ns, ends_ns=TODAY.ends_ns + DAY_NS)
    assert expected == carried(
        carrying, opened(carrying, tomorrow, (TODAY, standing), tomorrow.starts_ns), tomorrow.starts_ns
    )
