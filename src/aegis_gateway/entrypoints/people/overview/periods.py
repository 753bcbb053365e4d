"""The periods that spending is looked at in, and the stretches that a chart shows them in.

Rule: days are those of the tenant's time zone, and whole hours (UTC), as sums are kept by the hour. In a zone that is
      so many and a half hours from UTC, a day is taken from the hour in which it begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal, get_args
from zoneinfo import ZoneInfo

import msgspec

from aegis_gateway.domain.hourly import HOUR_NS
from aegis_gateway.domain.window import window_at

Range = Literal["today", "24h", "7d", "30d", "90d", "month"]
RANGES: tuple[Range, ...] = get_args(Range)
RANGE_WORDS: dict[Range, str] = {
    "today": "today",
    "24h": "24 hours",
    "7d": "7 days",
    "30d": "30 days",
    "90d": "90 days",
    "month": "this month",
}

_DAYS: dict[Range, int] = {"7d": 7, "30d": 30, "90d": 90}
_DAY_HOURS = 24
_NANOS = 1_000_000_000


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a period: an hour or a day. `label` is short, for an axis; `words` say all of it."""

    since_ns: int
    until_ns: int
    label: str
    words: str


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """A period up to the end of the present hour, in whole hours, and its hours or days."""

    range: Range
    zone: str
    since_ns: int
    until_ns: int
    each: Literal["hour", "day"]
    stretches: tuple[Stretch, ...]

    @property
    def words(self) -> str:
        """`7 days`."""
        return RANGE_WORDS[self.range]


def period_of(range_: Range, zone: str, now_ns: int) -> Period:
    """A period that ends with the hour in which an instant lies."""
    until_ns = now_ns - now_ns % HOUR_NS + HOUR_NS
    if range_ in ("today", "24h"):
        since_ns = until_ns - _DAY_HOURS * HOUR_NS if range_ == "24h" else day_of(zone, now_ns)[0]
        stretches = tuple(_hour(at_ns, zone) for at_ns in range(since_ns, until_ns, HOUR_NS))
        return Period(
            range=range_, zone=zone, since_ns=since_ns, until_ns=until_ns, each="hour", stretches=stretches
        )
    found = list(_days_back(zone, now_ns, _DAYS.get(range_) or _day_of_month(zone, now_ns)))
    days = tuple(reversed(found))
    return Period(
        range=range_, zone=zone, since_ns=days[0].since_ns, until_ns=until_ns, each="day", stretches=days
    )


def day_of(zone: str, now_ns: int) -> tuple[int, int]:
    """The day of a zone that an instant lies in, from and to a whole hour."""
    return _whole_hours("daily", zone, now_ns)


def month_of(zone: str, now_ns: int) -> tuple[int, int]:
    """The month of a zone that an instant lies in, from and to a whole hour."""
    return _whole_hours("monthly", zone, now_ns)


def _whole_hours(period: Literal["daily", "monthly"], zone: str, now_ns: int) -> tuple[int, int]:
    window = window_at(period, ZoneInfo(zone), now_ns)
    return window.starts_ns - window.starts_ns % HOUR_NS, window.ends_ns - window.ends_ns % HOUR_NS


def _days_back(zone: str, now_ns: int, count: int) -> Iterator[Stretch]:
    at_ns = now_ns
    for _ in range(count):
        window = window_at("daily", ZoneInfo(zone), at_ns)
        day = datetime.fromisoformat(window.label)
        since_ns, until_ns = day_of(zone, at_ns)
        yield Stretch(
            since_ns=since_ns, until_ns=until_ns, label=f"{day:%-d %b}", words=f"{day:%a %-d %b %Y}"
        )
        at_ns = window.starts_ns - 1


def _day_of_month(zone: str, now_ns: int) -> int:
    return datetime.fromisoformat(window_at("daily", ZoneInfo(zone), now_ns).label).day


def _hour(at_ns: int, zone: str) -> Stretch:
    moment = datetime.fromtimestamp(at_ns // _NANOS, UTC).astimezone(ZoneInfo(zone))
    return Stretch(
        since_ns=at_ns, until_ns=at_ns + HOUR_NS, label=f"{moment:%H:%M}", words=f"{moment:%a %-d %b, %H:%M}"
    )
