"""Forecasts: what they come to, what they rest on, and when nothing will be left."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec

from aegis_gateway.domain.backtest import backtest
from aegis_gateway.domain.forecast import Forecast, band, error_of, forecast, windows_before
from aegis_gateway.domain.hourly import HOUR_NS, HourlyUse
from aegis_gateway.domain.registry import Budget
from aegis_gateway.domain.window import Period

MONDAY = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp()) // 3_600
"""The hour in which a Monday begins."""
BUDGET = Budget(id="day", owner="ann", deputy=None, quantity="usd", limit=0, period="daily", zone="UTC")
OFFICE = {8: 100, 9: 100, 10: 200}


def use(days: int, hours: dict[int, int] = OFFICE, today: dict[int, int] | None = None) -> HourlyUse:
    """The same each day from that Monday on, and then a day that is under way."""
    amounts = {MONDAY + day * 24 + hour: amount for day in range(days) for hour, amount in hours.items()}
    amounts |= {MONDAY + days * 24 + hour: amount for hour, amount in (today or {}).items()}
    return HourlyUse(amounts, MONDAY, ZoneInfo("UTC"))


def at(day: int, hour: float) -> int:
    """An instant of a day, counted from that Monday."""
    return (MONDAY + day * 24) * HOUR_NS + round(hour * HOUR_NS)


def foretold(
    known: HourlyUse, now_ns: int, spent: int, left: int = 1_000, budget: Budget = BUDGET
) -> Forecast:
    """A forecast with all past windows."""
    past = list(windows_before(budget, budget.window(now_ns), MONDAY))
    return forecast(known, budget, now_ns, spent=spent, left=left, past=past)


def test_what_is_spent_and_what_is_usual_after_it() -> None:
    """On a usual day it is the usual sum, at any time of it, and the band is narrow."""
    found = foretold(use(28, today={8: 100}), at(28, 9), spent=100)
    assert ("weeks", 28, 400, 400, 400) == (found.basis, found.days, found.expected, found.low, found.high)
    assert 28 == found.windows


def test_the_windows_own_pace() -> None:
    """A day that has begun with twice the usual goes on with nearly twice; a tenth of a usual day weighs against it."""
    found = foretold(use(28, today={8: 200, 9: 200}), at(28, 10), spent=400)
    # Two hours came to 400 where 200 is usual; with 40 on both sides that is 440 / 240 of the 200 that are to come.
    assert 400 + 367 == found.expected


def test_the_pace_of_a_long_window() -> None:
    """A month goes on as its last week did, whatever its first weeks were."""
    month = msgspec.structs.replace(BUDGET, period="monthly")
    hours = {hour: 10 if hour < 49 * 24 else 20 for hour in range(56 * 24)}
    known = HourlyUse(
        {MONDAY + hour: amount for hour, amount in hours.items()}, MONDAY, ZoneInfo("UTC")
    )  # until the 27th of April
    spent = 19 * 24 * 10 + 7 * 24 * 20
    found = foretold(known, at(56, 0), spent=spent, budget=month)
    # Of the four days that are left; a tenth of the eleven usual days weighs against the week at twice the usual pace.
    assert spent + round(4 * 240 * (2 * 7 + 1.1) / (7 + 1.1)) == found.expected


def test_within_an_hour() -> None:
    """All of the hour that has begun is spent, and of what is usual in it only the rest is to come."""
    found = foretold(use(28, today={8: 50}), at(28, 8.5), spent=50)
    assert 400 == found.expected


def test_days_only() -> None:
    """With less than two weeks it rests on hours of the day."""
    found = foretold(use(5, today={8: 100}), at(5, 9), spent=100)
    assert ("days", 5, 400) == (found.basis, found.days, found.expected)


def test_pace_only() -> None:
    """With less than three days there is nothing to compare with, and no band: it says so."""
    found = foretold(use(1, today={8: 100}), at(1, 12), spent=100)
    assert ("pace", 0, 200) == (found.basis, found.days, found.expected)
    assert (None, None, 0) == (found.low, found.high, found.windows)


def test_nothing_at_all() -> None:
    """A budget that nobody used is not forecast to be used, and is never empty."""
    known = HourlyUse({}, MONDAY, ZoneInfo("UTC"))
    found = foretold(known, at(20, 12), spent=0)
    assert ("nothing", 0, None, None) == (found.basis, found.expected, found.runway_ns, found.exhausted_ns)


def test_when_nothing_is_left() -> None:
    """By what is usual: in the hour that brings it there, as far into it as it takes; or not in this window."""
    known, now_ns = use(28, today={8: 100}), at(28, 9)
    assert at(28, 10.5) == foretold(known, now_ns, spent=100, left=200).exhausted_ns
    assert at(28, 9) == foretold(known, now_ns, spent=100, left=0).exhausted_ns
    assert at(28, 9) == foretold(known, now_ns, spent=100, left=-5).exhausted_ns
    assert foretold(known, now_ns, spent=100, left=301).exhausted_ns is None


def test_the_runway_at_the_present_pace() -> None:
    """What is left by what is spent in an hour now, whatever is usual later; the last hours weigh most."""
    steady = dict.fromkeys(range(24), 60)
    found = foretold(use(28, steady, dict.fromkeys(range(12), 60)), at(28, 12), spent=720, left=150)
    assert (60, 9_000 * 1_000_000_000) == (found.pace, found.runway_ns)
    faster = dict.fromkeys(range(6), 60) | dict.fromkeys(range(6, 12), 120)
    found = foretold(use(28, steady, faster), at(28, 12), spent=1_080, left=150)
    assert 90 < found.pace < 95  # six hours are half of the weight


def test_a_window_without_an_end() -> None:
    """A rolling window is not forecast; its runway is told unless its limit bears the pace for ever."""
    rolling = msgspec.structs.replace(BUDGET, period="rolling", length_ns=24 * HOUR_NS)
    known = use(28, dict.fromkeys(range(24), 60))
    found = foretold(known, at(28, 0), spent=1_440, left=600, budget=rolling)
    assert (None, None, None) == (found.expected, found.runway_ns, found.exhausted_ns)
    tight = foretold(known, at(28, 0), spent=1_300, left=100, budget=rolling)
    assert 100 * 60 == round(tight.runway_ns / 1_000_000_000) if tight.runway_ns else None


def test_a_balance_that_hours_know_nothing_of() -> None:
    """What was spent before hours were kept is counted, and its pace is the window's."""
    found = foretold(HourlyUse({}, MONDAY + 30, ZoneInfo("UTC")), at(1, 12), spent=120, left=100)
    assert ("pace", 240, 10) == (found.basis, found.expected, found.pace)


def test_a_band_is_as_wide_as_errors_were() -> None:
    """All but the worst of them lie in it; it begins at what is spent already; three errors make none."""
    errors = [0.1, 0.3, 0.2, 0.5, 0.0, 0.1, 0.2, 0.1, 0.4]  # the eighth of nine bounds the tenth in 8 of 10
    assert (600, 1_400) == band(1_000, errors, spent=0)
    assert (900, 1_400) == band(1_000, errors, spent=900)
    assert (500, 1_500) == band(
        1_000, [0.1, 0.2, 0.3, 0.4, 0.5], spent=0
    )  # the greatest bounds 5 of 6, the next only 4
    assert (None, None) == band(1_000, [0.1, 0.1, 0.1], spent=0)
    assert (0, 10_000) == band(1_000, [error_of(0, 50)] * 4, spent=0)


def test_windows_before() -> None:
    """As far back as hours are kept throughout, by the budget's own calendar."""

    def labels(period: Period) -> list[str]:
        budget = msgspec.structs.replace(BUDGET, period=period)
        return [each.label for each in windows_before(budget, budget.window(at(28, 9)), MONDAY + 1)]

    assert ["2026-03-29", "2026-03-28"] == labels("daily")[:2]
    assert (27, "2026-03-03") == (len(labels("daily")), labels("daily")[-1])
    assert ["2026-W13", "2026-W12", "2026-W11"] == labels("weekly")
    assert [] == labels("monthly")
    assert [] == labels("once")
    assert [] == labels("rolling")


def test_a_backtest_knows_only_what_was_known() -> None:
    """Days that are always the same are forecast without an error once there are three of them, by no straight line."""
    known = use(28)
    past = list(windows_before(BUDGET, BUDGET.window(at(28, 0)), MONDAY))
    (point,) = backtest(known, past[:20], points_percent=(50,))
    assert (20, 0.0, 1.0) == (point.windows, point.mean_error, point.straight_line_error)
    assert (16, 16) == (point.within_band, point.with_band)
    (all_of_them,) = backtest(known, past, points_percent=(50,))
    assert (24, 24) == (
        all_of_them.within_band,
        all_of_them.with_band,
    )  # what came later made no early band narrower
    (early,) = backtest(known, past[-2:], points_percent=(50,))
    assert early.mean_error == early.straight_line_error


def test_a_backtest_of_nothing() -> None:
    """No windows, or none in which anything was spent: no error is told rather than a good one."""
    (point,) = backtest(use(0), (), points_percent=(50,))
    assert (0, None, None) == (point.windows, point.mean_error, point.straight_line_error)
