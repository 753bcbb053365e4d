"""Forecasts: what a budget's window will have come to at its end, and when nothing will be left of it.

Rule 1: a forecast is what is spent, and for the rest of the window what is usual there at the window's own pace.
Rule 2: it says what it rests on: weeks of hours, days of them, or the window's pace alone where there is nothing to
        compare with.
Rule 3: its band is as wide as forecasts at the same point of past windows were wrong, and there is none before there
        were enough of those.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil

import msgspec

from aegis_gateway.domain.hourly import HOUR_NS, WEEK, Basis, HourlyUse, Usual
from aegis_gateway.domain.registry import Budget
from aegis_gateway.domain.window import Window

BAND_PERCENT = 80
"""How many of a hundred windows should come to something within the band."""

WINDOWS_COMPARED = 28
"""The errors of how many past windows a band rests on, at most."""

_ERRORS_LEAST = 4
_ERROR_MAX = 9.0
_USUAL_WEIGHT = 0.1
"""How much the usual pace weighs against the window's own: as much as a tenth of a usual window. So the first hours
don't say everything, and after them the window soon speaks for itself."""

_RECENT_NS = WEEK * HOUR_NS
"""A window's pace is that of its last week: what it did two months ago is usual rather than its pace."""

_SECOND_NS = 1_000_000_000
_ENDLESS_NS = 2**62
"""Windows that end later have no end."""

_PACE_HALVES_NS = 6 * HOUR_NS
_PACE_LOOKED_AT = 48
"""The present pace is a mean of the last two days' hours in which an hour counts half of one six hours later."""


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What will come of one window, in the quantity's smallest unit, as of `at_ns`.

    `expected` at its end lies between `low` and `high` in `BAND_PERCENT` of a hundred windows, as the forecasts of
    `windows` past ones were wrong; all are None where a window has no end. It rests on so many `days` of hours, or on
    none. `pace` is what is spent in an hour at present: going on like that, nothing is left after `runway_ns` (None:
    never). `exhausted_ns` is when nothing will be left by what is usual; None if that is not in this window.
    """

    window: Window
    at_ns: int
    spent: int
    left: int
    basis: Basis
    days: int = 0
    expected: int | None = None
    low: int | None = None
    high: int | None = None
    windows: int = 0
    pace: int = 0
    runway_ns: int | None = None
    exhausted_ns: int | None = None


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """How a window goes on: what is usual for its hours, times a scale; or an even rate an hour."""

    usual: Usual
    basis: Basis
    scale: float

    def between(self, from_ns: int, to_ns: int) -> float:
        """What will be spent in a stretch of it."""
        if self.basis in ("pace", "nothing"):
            return self.scale * (to_ns - from_ns) / HOUR_NS
        return self.scale * self.usual.between(from_ns, to_ns)

    def reaches_ns(self, amount: int, from_ns: int, to_ns: int) -> int | None:
        """When so much will be spent, to the second; None if that is not before `to_ns`."""
        if amount <= 0:
            return from_ns
        start, spent = from_ns, 0.0
        while start < to_ns:
            end = min((start // HOUR_NS + 1) * HOUR_NS, to_ns)
            more = self.between(start, end)
            if more > 0 and spent + more >= amount:
                return start + _whole_seconds((end - start) * (amount - spent) / more)
            start, spent = end, spent + more
        return None


def forecast(
    use: HourlyUse, budget: Budget, now_ns: int, *, spent: int, left: int, past: Sequence[Window] = ()
) -> Forecast:
    """What will come of the window that an instant falls into.

    `spent` and `left` are its balance's (what is reserved is not left); `past` are windows before it in which the
    budget's use was kept throughout (`windows_before`), the newest first.
    """
    window = budget.window(now_ns)
    pace = _pace(use, window, now_ns, spent)
    runway_ns = _whole_seconds(max(left, 0) * HOUR_NS / pace) if pace > 0 else None
    if is_endless(window):
        bears_it = budget.length_ns > 0 and pace * budget.length_ns / HOUR_NS <= spent + left
        return Forecast(
            window=window,
            at_ns=now_ns,
            spent=spent,
            left=left,
            basis="pace" if pace > 0 else "nothing",
            pace=ceil(pace),
            runway_ns=None if bears_it else runway_ns,
        )
    course = course_of(use, window, now_ns, spent)
    expected = spent + ceil(course.between(now_ns, window.ends_ns))
    share = (now_ns - window.starts_ns) / (window.ends_ns - window.starts_ns)
    errors = [_past_error(use, each, share) for each in past[:WINDOWS_COMPARED]]
    low, high = band(expected, errors, spent)
    return Forecast(
        window=window,
        at_ns=now_ns,
        spent=spent,
        left=left,
        expected=expected,
        low=low,
        high=high,
        windows=len(errors) if low is not None else 0,
        basis=course.basis,
        days=course.usual.days if course.basis in ("weeks", "days") else 0,
        pace=ceil(pace),
        runway_ns=runway_ns,
        exhausted_ns=course.reaches_ns(left, now_ns, window.ends_ns),
    )


def is_endless(window: Window) -> bool:
    """Whether a window has no end, as rolling ones haven't."""
    return window.ends_ns >= _ENDLESS_NS


def windows_before(budget: Budget, window: Window, first: int) -> Iterator[Window]:
    """The windows before one, the newest first, as far back as hours are kept (`first` is the first one).

    One-off and rolling budgets have none.
    """
    if budget.period in ("once", "rolling"):
        return
    window = budget.window(window.starts_ns - 1)
    while window.starts_ns >= first * HOUR_NS:
        yield window
        window = budget.window(window.starts_ns - 1)


def foreseen(use: HourlyUse, window: Window, at_ns: int) -> int:
    """What a past window would have been forecast to come to at an instant in it, by what was known then."""
    spent = use.between(window.starts_ns, at_ns)
    return spent + ceil(course_of(use, window, at_ns, spent).between(at_ns, window.ends_ns))


def error_of(expected: int, actual: int) -> float:
    """How far a forecast was from what the window came to, as a part of the forecast."""
    return min(abs(actual - expected) / max(expected, 1), _ERROR_MAX)


def _past_error(use: HourlyUse, window: Window, share: float) -> float:
    at_ns = point_ns(window, share)
    return error_of(foreseen(use, window, at_ns), use.between(window.starts_ns, window.ends_ns))


def point_ns(window: Window, share: float) -> int:
    """The whole hour at a point of a window: what was spent by then is known exactly."""
    at_ns = window.starts_ns + int(share * (window.ends_ns - window.starts_ns))
    return max(at_ns // HOUR_NS * HOUR_NS, window.starts_ns)


def band(expected: int, errors: Sequence[float], spent: int) -> tuple[int | None, int | None]:
    """Around a forecast, as wide as all but the worst of past errors; never below what is spent already.

    Of n errors and the one to come, each is as likely to be the k-th smallest: the k-th of them bounds the one to
    come in k of n + 1 windows. With too few of them there is no band.
    """
    place = -(-BAND_PERCENT * (len(errors) + 1) // 100)
    if len(errors) < _ERRORS_LEAST or place > len(errors):
        return None, None
    width = ceil(sorted(errors)[place - 1] * expected)
    return max(spent, expected - width), expected + width


def course_of(use: HourlyUse, window: Window, now_ns: int, spent: int) -> Course:
    """How a window goes on, by what is known at an instant in it."""
    since_ns = max(window.starts_ns, now_ns - _RECENT_NS)
    usual = Usual(use, since_ns // HOUR_NS)
    before, rest = usual.between(since_ns, now_ns), usual.between(now_ns, window.ends_ns)
    if before + rest == 0:  # nothing to compare with, or nothing was ever spent in such hours
        elapsed_ns = now_ns - window.starts_ns
        if spent <= 0 or elapsed_ns <= 0:
            return Course(usual=usual, basis="nothing", scale=0.0)
        return Course(usual=usual, basis="pace", scale=spent * HOUR_NS / elapsed_ns)
    # All of the hour that has begun was spent before now.
    lately = use.between(since_ns, -(-now_ns // HOUR_NS) * HOUR_NS) if now_ns > since_ns else 0
    weight = _USUAL_WEIGHT * (before + rest)
    return Course(usual=usual, basis=usual.basis, scale=(lately + weight) / (before + weight))


def _pace(use: HourlyUse, window: Window, now_ns: int, spent: int) -> float:
    """What is spent in an hour at present, whichever windows the last hours lie in."""
    this = now_ns // HOUR_NS
    amount = exposure = 0.0
    for hour in range(max(use.first, this - _PACE_LOOKED_AT), this + 1):
        age_ns = now_ns - hour * HOUR_NS
        weight = 0.5 ** (age_ns / _PACE_HALVES_NS)
        amount += weight * use.amount(hour)
        exposure += weight * min(1.0, age_ns / HOUR_NS)
    if amount > 0 and exposure > 0:
        return amount / exposure
    elapsed_ns = now_ns - window.starts_ns
    is_told_by_hours = use.first * HOUR_NS <= window.starts_ns
    return 0.0 if is_told_by_hours or elapsed_ns <= 0 else spent * HOUR_NS / elapsed_ns


def _whole_seconds(time_ns: float) -> int:
    return int(time_ns / _SECOND_NS) * _SECOND_NS
