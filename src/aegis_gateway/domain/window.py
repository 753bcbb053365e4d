"""Windows: the stretch of time that a budget's limit is for.

Rule 1: a window is named by its label; whoever opens it fixes its UTC bounds once.
Rule 2: a day begins at the first local instant that exists (there are zones that skip midnight); hours are UTC;
        weeks are ISO weeks, but for those of fiscal years (`fiscal.py`). A cost belongs to the window in which it was
        admitted, however late it settles.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Literal, assert_never

import msgspec

from aegis_gateway.domain.fiscal import CALENDAR_YEAR, YearStart, fiscal_days, months_later
from aegis_gateway.domain.rolling import rolling_label

Period = Literal["hourly", "daily", "weekly", "monthly", "quarterly", "yearly", "once", "rolling"]
PERIODS: tuple[Period, ...] = (
    "hourly", "daily", "weekly", "monthly", "quarterly", "yearly", "once", "rolling",
)  # fmt: skip

_NANOS = 1_000_000_000
_FOREVER_NS = 2**63 - 1


class Window(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One stretch `[starts_ns, ends_ns)` of UTC time, in nanoseconds since 1970, and its name."""

    label: str
    starts_ns: int
    ends_ns: int

    def holds(self, now_ns: int) -> bool:
        """Whether an instant falls into the window."""
        return self.starts_ns <= now_ns < self.ends_ns


def window_at(
    period: Period,
    zone: tzinfo,
    now_ns: int,
    *,
    once: Window | None = None,
    length_ns: int = 0,
    year_starts: YearStart = CALENDAR_YEAR,
) -> Window:
    """The window of a period, in a time zone, that an instant falls into.

    `once` is the window of a one-off budget; it is returned as it is, whether the instant falls into it or not. A
    rolling window is one for ever; what of it counts is told by its buckets.
    """
    if period == "once":
        return once or Window(label="once", starts_ns=0, ends_ns=_FOREVER_NS)
    if period == "rolling":
        return Window(label=rolling_label(length_ns), starts_ns=0, ends_ns=_FOREVER_NS)
    moment = datetime.fromtimestamp(now_ns // _NANOS, tz=UTC)
    if period == "hourly":
        start = moment.replace(minute=0, second=0, microsecond=0)
        return _window(start.strftime("%Y-%m-%dT%HZ"), start, start + timedelta(hours=1))
    label, first, following = _days(period, _local_day(moment, zone), year_starts)
    return _window(label, day_start(first, zone), day_start(following, zone))


def day_start(day: date, zone: tzinfo) -> datetime:
    """The first instant of a local day, in UTC.

    Midnight occurs twice where clocks fall back over it: the earlier one counts. Where clocks skip it, the
    first instant after the gap counts: read with the offset before the gap (what fold=0 means), midnight is
    that very instant.
    """
    return datetime(day.year, day.month, day.day, tzinfo=zone, fold=0).astimezone(UTC)


def _local_day(moment: datetime, zone: tzinfo) -> date:
    """The day that began last. A clock that falls back from 00:01 to 23:01 doesn't bring the old day back."""
    day = moment.astimezone(zone).date()
    following = day + timedelta(days=1)
    return following if moment >= day_start(following, zone) else day


def _days(period: Period, day: date, year_starts: YearStart) -> tuple[str, date, date]:
    """Label, first day and first day of the next window."""
    match period:
        case "weekly" | "monthly" | "quarterly" | "yearly" if year_starts != CALENDAR_YEAR:
            fiscal = fiscal_days(period, day, year_starts)
            return _days(period, day, CALENDAR_YEAR) if fiscal is None else fiscal
        case "daily":
            return day.isoformat(), day, day + timedelta(days=1)
        case "weekly":
            year, week, weekday = day.isocalendar()
            monday = day - timedelta(days=weekday - 1)
            return f"{year}-W{week:02d}", monday, monday + timedelta(days=7)
        case "monthly":
            first = day.replace(day=1)
            return f"{day:%Y-%m}", first, months_later(first, 1)
        case "quarterly":
            quarter = (day.month - 1) // 3
            first = date(day.year, 3 * quarter + 1, 1)
            return f"{day.year}-Q{quarter + 1}", first, months_later(first, 3)
        case "yearly":
            return f"{day.year}", date(day.year, 1, 1), date(day.year + 1, 1, 1)
        case "hourly" | "once" | "rolling":
            raise AssertionError(f"{period} has no days")
        case _:
            assert_never(period)


def _window(label: str, start: datetime, end: datetime) -> Window:
    return Window(label=label, starts_ns=_ns(start), ends_ns=_ns(end))


def _ns(moment: datetime) -> int:
    return int(moment.timestamp()) * _NANOS
