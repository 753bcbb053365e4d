"""Adaptive limits: what is compared, which bound bites, and when nothing is proposed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.domain.adaptation import ProposedLimit, UsedWindow, proposed_limit, turn_of
from aegis_gateway.domain.adapts import Adapts
from aegis_gateway.domain.registry import BUILT_IN_QUANTITIES, Budget
from aegis_gateway.domain.window import Period
from tests.years import FIRST, HOUR_NS, YEAR, year

DOLLAR = 1_000_000_000
DAY_NS = 24 * HOUR_NS
MONDAY = int(datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()) * DOLLAR
ADAPTS = Adapts(every="daily", floor=5 * DOLLAR, ceiling=50 * DOLLAR)
USD = BUILT_IN_QUANTITIES["usd"]


def budget(period: Period = "daily", zone: str = "UTC", quantity: str = "usd") -> Budget:
    """A budget, whose limit the tests say themselves."""
    return Budget(
        id="day",
        owner="ann",
        deputy=None,
        quantity=quantity,
        limit=1,
        period=period,
        zone=zone,
        within="month",
    )


def days(*dollars: float, before_ns: int = MONDAY, cut_short: Sequence[int] = ()) -> list[UsedWindow]:
    """What was used on the days before one, the last one first."""
    return [
        UsedWindow(
            window=budget().window(before_ns - (back + 1) * DAY_NS),
            used=round(amount * DOLLAR),
            cut_short=back in cut_short,
        )
        for back, amount in enumerate(dollars)
    ]


def proposed(
    used: Sequence[UsedWindow],
    present: float,
    adapts: Adapts = ADAPTS,
    *,
    now_ns: int = MONDAY,
    parent: float | None = None,
    has_incident: bool = False,
) -> ProposedLimit:
    """The proposal for a daily budget."""
    return proposed_limit(
        budget(),
        adapts,
        USD,
        used,
        now_ns,
        present=round(present * DOLLAR),
        parent_limit=None if parent is None else round(parent * DOLLAR),
        has_incident=has_incident,
    )


def test_the_median_and_so_many_spreads_above_it() -> None:
    """What it rests on is told: the windows, their median and spread, and the sum."""
    found = proposed(days(20, 22, 18, 20, 24, 16, 20, 22), present=25)
    assert (20 * DOLLAR, 2 * DOLLAR, 26 * DOLLAR) == (found.median, found.spread, found.target)
    assert (26 * DOLLAR, None, None) == (found.limit, found.bound, found.held)
    assert (
        "the median of 8 windows is $20.00, their spread $2.00: with 3 spreads above it that is $26.00",
    ) == found.reasons
    assert 8 == len(found.windows)


def test_the_spread_is_never_nothing() -> None:
    """What came to the same every time leaves a twentieth for each spread, not nothing at all."""
    assert 23 * DOLLAR == proposed(days(*[20] * 8), present=22).limit


@pytest.mark.parametrize(
    ("present", "adapts", "parent", "limit", "bound", "words"),
    [
        (10, {}, None, 12, "most_change", "it changes by at most 20.00% at one time: $12.00"),
        (
            10,
            {"most_change": 750},
            None,
            10.75,
            "most_change",
            "it changes by at most 7.50% at one time: $10.75",
        ),
        (40, {}, None, 32, "most_change", "it changes by at most 20.00% at one time: $32.00"),
        (24, {"ceiling": 24 * DOLLAR}, None, 24, "ceiling", "it never rises above its ceiling: $24.00"),
        (30, {"floor": 29 * DOLLAR}, None, 29, "floor", "it never falls below its floor: $29.00"),
        (24, {}, 25, 25, "parent", "it never rises above what `month` has left for it: $25.00"),
        (40, {}, 20, 20, "parent", "it never rises above what `month` has left for it: $20.00"),
        (70, {"most_change": 100}, None, 50, "ceiling", "it never rises above its ceiling: $50.00"),
        (
            4,
            {"floor": 20 * DOLLAR},
            None,
            4.8,
            "most_change",
            "it changes by at most 20.00% at one time: $4.80",
        ),
    ],
)
def test_the_bound_that_bites(
    present: float, adapts: dict[str, int], parent: float | None, limit: float, bound: str, words: str
) -> None:
    """It is named, and what bounds a limit from above holds against all others."""
    settings = msgspec.structs.replace(ADAPTS, **adapts)
    found = proposed(days(20, 22, 18, 20, 24, 16, 20, 22), present, settings, parent=parent)
    assert (round(limit * DOLLAR), bound, words) == (found.limit, found.bound, found.reasons[-1])


def test_an_incident_freezes_it() -> None:
    """Whatever was used."""
    found = proposed(days(*[40] * 8), present=20, has_incident=True)
    assert ("incident", False) == (found.held, found.changes)


def test_too_little_to_tell() -> None:
    """Days on which nothing was used don't count, nor does the day that is under way."""
    under_way = UsedWindow(window=budget().window(MONDAY), used=40 * DOLLAR)
    found = proposed([under_way, *days(40, 0, 40, 0, 40)], present=20)
    assert ("too_little", 20 * DOLLAR) == (found.held, found.limit)
    assert ("it was used in 3 windows to compare with, and 4 are the least",) == found.reasons


def test_what_the_limit_cut_short() -> None:
    """Such windows are told of; where they are half of all, a person has to raise the limit, and nothing lowers it."""
    automatic = msgspec.structs.replace(ADAPTS, applies="automatic")
    some = proposed(days(*[20] * 8, cut_short=(0, 3, 5)), 20, automatic)
    assert "3 of 8 windows were cut short by the limit, and would have come to more" == some.reasons[1]
    assert (23 * DOLLAR, "automatic") == (some.limit, some.applies)
    half = proposed(days(*[20] * 8, cut_short=(0, 3, 5, 6)), 20, automatic)
    assert (24 * DOLLAR, "approval") == (half.limit, half.applies)
    assert half.reasons[1].endswith("how much isn't known, so a person has to say if it may rise")
    unlucky = proposed(days(*[10] * 8, cut_short=(0, 3, 5, 6)), 20, automatic, parent=20)
    assert (20 * DOLLAR, False) == (unlucky.limit, unlucky.changes)


def test_quiet_days_are_left_out() -> None:
    """On a Monday the weekend before it says nothing; on a Saturday the limit stays for the Monday after it."""
    weeks = [2, 2, 20, 20, 20, 20, 20] * 3  # back from a Monday: Sunday, Saturday, Friday…
    found = proposed(days(*weeks), present=22)
    assert 23 * DOLLAR == found.limit
    assert "8 windows (Saturdays, Sundays are quiet and left out)" in found.reasons[0]
    assert {20 * DOLLAR} == {each.used for each in found.windows}
    saturday = MONDAY + 5 * DAY_NS
    held = proposed(days(20, 20, 20, 20, 20, *weeks, before_ns=saturday), present=22, now_ns=saturday)
    assert ("quiet_day", 22 * DOLLAR) == (held.held, held.limit)
    weekly = msgspec.structs.replace(ADAPTS, every="weekly")
    assert 23 * DOLLAR == proposed(days(*weeks), 22, weekly, now_ns=saturday).limit


@pytest.mark.parametrize(("weekend", "held"), [(9.9, "quiet_day"), (10.1, None)])
def test_less_than_half_is_quiet(weekend: float, held: str | None) -> None:
    """Of what is usual on the busiest weekday."""
    saturday = MONDAY + 5 * DAY_NS
    weeks = [20, 20, 20, 20, 20, weekend, weekend] * 3  # back from a Saturday
    assert held == proposed(days(*weeks, before_ns=saturday), present=22, now_ns=saturday).held


def test_a_turn_is_a_day_or_a_week() -> None:
    """A daily limit that adapts weekly has one turn a week, whatever its windows."""
    weekly = msgspec.structs.replace(ADAPTS, every="weekly")
    assert "2026-11-23" == turn_of(budget(), ADAPTS, MONDAY).label
    assert "2026-W48" == turn_of(budget(), weekly, MONDAY).label
    assert "2026-W48" == turn_of(budget("weekly"), weekly, MONDAY).label


@given(
    used=st.lists(st.one_of(st.just(0), st.integers(0, 2**63 - 1), st.integers(0, 100)), max_size=20),
    present=st.integers(0, 2**62),
    bounds=st.tuples(st.integers(0, 2**62), st.integers(0, 2**62)),
    k=st.integers(0, 100_000),
    most_change=st.integers(1, 10_000),
    parent=st.none() | st.integers(0, 2**62),
)
def test_no_limit_leaves_its_bounds(
    used: list[int], present: int, bounds: tuple[int, int], k: int, most_change: int, parent: int | None
) -> None:
    """Whatever was used: never above ceiling or parent, never further than allowed, below the floor only on its way."""
    adapts = Adapts(
        every="daily", floor=min(bounds), ceiling=max(bounds), k_thousandths=k, most_change=most_change
    )
    windows = [
        msgspec.structs.replace(each, used=amount) for each, amount in zip(days(*used), used, strict=True)
    ]
    found = proposed_limit(budget(), adapts, USD, windows, MONDAY, present=present, parent_limit=parent)
    step = present * most_change // 10_000
    highest = min(adapts.ceiling, 2**63 if parent is None else parent)
    assert found.limit <= present + step
    if found.changes:
        assert found.limit <= highest
        assert min(adapts.floor, present + step, highest) <= found.limit
        assert min(present - step, highest) <= found.limit
    else:
        assert found.limit == present


SERIES = {
    "a made-up year": year(3),
    "nothing": {},
    "the same each hour": dict.fromkeys(range(FIRST, FIRST + YEAR), DOLLAR),
    "one huge day": {**year(4), FIRST + 3_000: 10**17},
    "hours here and there": {hour: amount for hour, amount in year(5).items() if hour % 37 == 0},
}


@pytest.mark.parametrize("name", SERIES)
def test_a_year_of_days(name: str) -> None:
    """Day after day the limit keeps to its bounds; once settled it bears nearly all days, and not much more."""
    hours = SERIES[name]
    adapts = Adapts(every="daily", floor=20 * DOLLAR, ceiling=900 * DOLLAR)
    limit, borne, used = 100 * DOLLAR, [], list[UsedWindow]()
    for day in range(YEAR // 24):
        first = FIRST + day * 24
        now_ns = first * HOUR_NS
        parent = (400 if 100 <= day < 120 else 1_000) * DOLLAR
        found = proposed_limit(
            budget(),
            adapts,
            USD,
            used,
            now_ns,
            present=limit,
            parent_limit=parent,
            has_incident=day in (7, 8),
        )
        assert adapts.floor <= found.limit <= min(adapts.ceiling, parent)
        assert abs(found.limit - limit) <= limit // 5 or found.bound == "parent"
        assert found.limit == limit or day not in (7, 8)
        limit, came_to = found.limit, sum(hours.get(first + hour, 0) for hour in range(24))
        if day >= 150:
            borne.append(came_to <= limit)
        used.append(
            UsedWindow(window=budget().window(now_ns), used=min(came_to, limit), cut_short=came_to > limit)
        )
    assert sum(borne) > 0.9 * len(borne)
    if name == "a made-up year":
        busiest = sorted(each.used for each in used[-84:])[-12]
        assert limit < 2 * busiest, f"{limit / DOLLAR} for days of {busiest / DOLLAR}"


def test_weeks_are_compared_with_weeks() -> None:
    """A weekly budget has no quiet days."""
    weekly = budget("weekly")
    used = [
        UsedWindow(window=weekly.window(MONDAY - back * 7 * DAY_NS), used=(20 + back % 2) * DOLLAR)
        for back in range(1, 7)
    ]
    adapts = msgspec.structs.replace(ADAPTS, every="weekly")
    found = proposed_limit(weekly, adapts, USD, used, MONDAY, present=25 * DOLLAR)
    assert (20_500_000_000, 1_025_000_000, 23_575_000_000) == (found.median, found.spread, found.limit)
    assert timedelta(days=7) == timedelta(
        seconds=(found.windows[0].window.ends_ns - found.windows[0].window.starts_ns) / DOLLAR
    )


def test_amounts_of_other_quantities() -> None:
    """Are told in what people write."""
    quantity = BUILT_IN_QUANTITIES["tokens"]
    adapts = Adapts(every="daily", floor=1, ceiling=10_000)
    used = [msgspec.structs.replace(each, used=1_500) for each in days(*[1] * 8)]
    found = proposed_limit(budget(quantity="tokens"), adapts, quantity, used, MONDAY, present=1_500)
    assert "the median of 8 windows is 1500 tokens" in found.reasons[0]
