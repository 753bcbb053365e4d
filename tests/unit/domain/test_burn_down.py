"""Burn-down: what is left of a window, point by point."""

from __future__ import annotations

from itertools import pairwise
from zoneinfo import ZoneInfo

from aegis_gateway.domain.burn_down import POINTS_MOST, BurnPoint, burn_down
from aegis_gateway.domain.hourly import HOUR_NS, HourlyUse
from aegis_gateway.domain.registry import Budget
from tests.unit.domain.test_forecast import BUDGET, MONDAY, at, use
from tests.years import FIRST, year


def test_a_day() -> None:
    """A usual day: left is what should be left, and what will be; nothing moves where nothing is usual."""
    points = burn_down(use(28, today={8: 100}), BUDGET.window(at(28, 9)), at(28, 9), spent=100, limit=400)
    by_hour = {(point.at_ns - at(28, 0)) // HOUR_NS: point for point in points}
    assert BurnPoint(at_ns=at(28, 0), ideal=400, actual=400) == by_hour[0]
    assert BurnPoint(at_ns=at(28, 8), ideal=400, actual=400) == by_hour[8]
    assert BurnPoint(at_ns=at(28, 9), ideal=300, actual=300, expected=300) == by_hour[9]
    assert BurnPoint(at_ns=at(28, 10), ideal=200, expected=200) == by_hour[10]
    assert BurnPoint(at_ns=at(29, 0), ideal=0, expected=0) == by_hour[24]
    assert 25 == len(points)


def test_within_an_hour() -> None:
    """The instant of now has a point of its own."""
    points = burn_down(use(28, today={8: 60}), BUDGET.window(at(28, 9)), at(28, 8.5), spent=60, limit=400)
    (now,) = [point for point in points if point.at_ns == at(28, 8.5)]
    assert (350, 340, 340) == (now.ideal, now.actual, now.expected)
    assert 26 == len(points)


def test_nothing_to_compare_with() -> None:
    """A straight line, and all that hours don't know of is spent from the first instant on."""
    known = HourlyUse({}, MONDAY + 12, ZoneInfo("UTC"))
    points = burn_down(known, BUDGET.window(at(0, 12)), at(0, 12), spent=100, limit=400)
    assert [400, 300, 200, 100, 0] == [point.ideal for point in points[::6]]
    assert [300, 300, 300, None, None] == [point.actual for point in points[::6]]
    assert [None, None, 300, 250, 200] == [point.expected for point in points[::6]]


def test_a_year_has_few_points() -> None:
    """Windows of any length have about a hundred; each line only falls."""
    known = HourlyUse(year(1), FIRST, ZoneInfo("Asia/Kolkata"))
    for period in ("hourly", "daily", "weekly", "monthly", "yearly"):
        budget = Budget(
            id="b", owner="ann", deputy=None, quantity="usd", limit=1, period=period, zone="Asia/Kolkata"
        )
        now_ns = (FIRST + 5_000) * HOUR_NS + HOUR_NS // 3
        window = budget.window(now_ns)
        points = burn_down(known, window, now_ns, spent=known.between(window.starts_ns, now_ns), limit=10**15)
        assert 3 <= len(points) <= POINTS_MOST
        for before, after in pairwise(points):
            assert before.ideal >= after.ideal
            assert after.actual is None or (before.actual or 0) >= after.actual
            assert before.expected is None or before.expected >= (after.expected or 0)
