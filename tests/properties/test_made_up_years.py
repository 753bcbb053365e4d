"""Forecasts of made-up years: better than a straight line, and within their bands as often as they say."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from aegis_gateway.domain.backtest import PointTested, backtest
from aegis_gateway.domain.forecast import BAND_PERCENT, forecast, windows_before
from aegis_gateway.domain.hourly import HOUR_NS, HourlyUse
from aegis_gateway.domain.registry import Budget
from aegis_gateway.domain.window import Period
from tests.years import FIRST, YEAR, year

ERRORS_MOST = {"daily": (0.30, 0.16, 0.06), "weekly": (0.12, 0.09, 0.04), "monthly": (0.09, 0.08, 0.04)}
"""What the mean error may be at a quarter, half and three quarters of a window: half more than it was measured."""


def budget(period: Period, zone: str = "UTC") -> Budget:
    """A budget of a period."""
    return Budget(id="b", owner="ann", deputy=None, quantity="usd", limit=1, period=period, zone=zone)


def backtested(
    amounts: dict[int, int], period: Period, zone: str = "UTC", most: int = 200
) -> tuple[PointTested, ...]:
    """A backtest of the last windows of a year."""
    each = budget(period, zone)
    past = list(windows_before(each, each.window((FIRST + YEAR) * HOUR_NS), FIRST))
    return backtest(HourlyUse(amounts, FIRST, ZoneInfo(zone)), past[:most])


def errors(point: PointTested) -> tuple[float, float]:
    """The mean errors of the forecast and of the straight line."""
    assert point.mean_error is not None
    assert point.straight_line_error is not None
    return point.mean_error, point.straight_line_error


@pytest.mark.parametrize("period", ERRORS_MOST)
@pytest.mark.parametrize("seed", [1, 2])
def test_forecasts_of_a_made_up_year(period: Period, seed: int) -> None:
    """Daily, weekly and monthly windows with all that a year brings."""
    points = backtested(year(seed), period)
    report = "\n".join(
        f"{period} at {each.percent} %: error {each.mean_error or 0:.1%}, straight line "
        f"{each.straight_line_error or 0:.1%}, {each.within_band} of {each.with_band} within the band"
        for each in points
    )
    for point, most in zip(points, ERRORS_MOST[period], strict=True):
        of_forecast, of_line = errors(point)
        assert of_forecast < most, report
        assert of_forecast < of_line, report
        if point.with_band >= 40:
            assert point.within_band >= (BAND_PERCENT - 10) / 100 * point.with_band, report


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "Europe/Berlin", "Australia/Lord_Howe"])
def test_forecasts_elsewhere(zone: str) -> None:
    """Where days begin in the midst of an hour, and where clocks change by half of one."""
    for point in backtested(year(1), "daily", zone, most=100):
        of_forecast, of_line = errors(point)
        assert of_forecast < min(0.35, of_line), point


HOSTILE = {
    "nothing": {FIRST: 0},
    "the same each hour": dict.fromkeys(range(FIRST, FIRST + YEAR), 10**9),
    "one huge hour": {**year(1), FIRST + 5_000: 2**62},
    "hours here and there": {hour: amount for hour, amount in year(2).items() if hour % 37 == 0},
    "a stop": {hour: amount for hour, amount in year(3).items() if hour < FIRST + 6_000},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_years(name: str) -> None:
    """Whatever was spent: amounts are whole, in order and never below what is spent; what can't be told is not told."""
    use = HourlyUse(HOSTILE[name], FIRST, ZoneInfo("UTC"))
    for period in ("hourly", "daily", "weekly", "monthly"):
        each = budget(period)
        for hour in (3, 500, 4_999, 5_010, 6_001, 8_700):
            now_ns = (FIRST + hour) * HOUR_NS + HOUR_NS // 3
            window = each.window(now_ns)
            spent = use.between(window.starts_ns, (FIRST + hour) * HOUR_NS)
            past = list(windows_before(each, window, FIRST))
            found = forecast(use, each, now_ns, spent=spent, left=10**12, past=past)
            assert found.expected is not None
            assert spent <= found.expected
            if found.low is not None and found.high is not None:
                assert spent <= found.low <= found.expected <= found.high
            assert found.exhausted_ns is None or now_ns <= found.exhausted_ns <= window.ends_ns
    if name == "the same each hour":
        assert all(point.mean_error == 0 for point in backtested(HOSTILE[name], "daily", most=60))
    if name == "nothing":
        assert all(point.mean_error is None for point in backtested(HOSTILE[name], "daily", most=60))
