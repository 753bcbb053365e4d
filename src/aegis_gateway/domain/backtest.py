"""Backtests: how wrong forecasts of past windows would have been, each by what was known at its time.

Rule: the straight line (what is spent, at that pace to the end) is told beside: a forecast that is no better than it is
      not worth its name.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from aegis_gateway.domain.forecast import WINDOWS_COMPARED, band, error_of, foreseen, point_ns
from aegis_gateway.domain.hourly import HourlyUse
from aegis_gateway.domain.window import Window

POINTS_PERCENT = (25, 50, 75)


class PointTested(msgspec.Struct, frozen=True, kw_only=True):
    """Forecasts of past windows when so many percent of them were over.

    `mean_error` is the mean of the errors as parts of what the windows came to (MAPE), `straight_line_error` that of
    the straight line; None where nothing was spent in any. `within_band` of the `with_band` windows that had a band
    came to something in it.
    """

    percent: int
    windows: int
    mean_error: float | None
    straight_line_error: float | None
    within_band: int
    with_band: int


def backtest(
    use: HourlyUse, past: Sequence[Window], points_percent: Sequence[int] = POINTS_PERCENT
) -> tuple[PointTested, ...]:
    """Forecast past windows (the newest first) at some points of them, and compare with what they came to."""
    return tuple(_tested(use, past, percent) for percent in points_percent)


def _tested(use: HourlyUse, past: Sequence[Window], percent: int) -> PointTested:
    errors: list[float] = []
    of_forecast: list[float] = []
    of_line: list[float] = []
    within = with_band = 0
    for window in reversed(past):
        at_ns = point_ns(window, percent / 100)
        spent, actual = use.between(window.starts_ns, at_ns), use.between(window.starts_ns, window.ends_ns)
        expected = foreseen(use, window, at_ns)
        low, high = band(expected, errors[-WINDOWS_COMPARED:], spent)
        if low is not None and high is not None:
            with_band += 1
            within += low <= actual <= high
        errors.append(error_of(expected, actual))
        if actual > 0:
            of_forecast.append(abs(actual - expected) / actual)
            of_line.append(abs(actual - _straight_line(window, at_ns, spent)) / actual)
    return PointTested(
        percent=percent,
        windows=len(of_forecast),
        mean_error=_mean(of_forecast),
        straight_line_error=_mean(of_line),
        within_band=within,
        with_band=with_band,
    )


def _straight_line(window: Window, at_ns: int, spent: int) -> float:
    elapsed_ns = at_ns - window.starts_ns
    return spent * (window.ends_ns - window.starts_ns) / elapsed_ns if elapsed_ns else 0.0


def _mean(errors: list[float]) -> float | None:
    return sum(errors) / len(errors) if errors else None
