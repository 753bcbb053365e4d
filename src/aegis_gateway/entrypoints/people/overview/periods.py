"""The periods that spending is looked at in, and the stretches that a chart shows them in.

Rule: days are those of the tenant's time zone, and whole hours (UTC), as sums are kept by the hour. In a zone that is
      so many and a half hours from UTC, a day is taken from the hour in which it begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args
from zoneinfo import ZoneInfo

import msgspec

from aegis_gateway.domain.hourly import HOUR_NS
from aegis_gateway.domain.moment import ns_of
from aegis_gateway.domain.window import window_at

Range = Literal["today", "24h", "7d", "30d", "90d", "month"]
RANGES: tuple[Range, ...] = get_args(Range)
CUSTOM_DAYS_MOST = 400
"""So many days a period may have that an address states: a year, and the month beside it."""
_HOURLY_MOST = 3
"""A stated period of no more days is shown hour by hour."""
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
    """A part of a period: an hour or a day. `label` is short, for an axis; `words` say all of it; `day` is as
    `2026-11-23`.
    """

    since_ns: int
    until_ns: int
    label: str
    words: str
    day: str = ""


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """A period up to the end of the present hour, in whole hours, and its hours or days; `stated` names one that an
    address states by its ends.
    """

    range: Range
    zone: str
    since_ns: int
    until_ns: int
    stated: str = ""
    each: Literal["hour", "day"]
    stretches: tuple[Stretch, ...]

    @property
    def words(self) -> str:
        """`7 days`."""
        return self.stated or RANGE_WORDS[self.range]


def range_of(query: Mapping[str, str]) -> Range:
    """Of which period an address asks; a week where it doesn't say, or says wrongly."""
    return next((each for each in RANGES if each == query.get("range")), "7d")


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


def stated_period(since: str, until: str, zone: str, now_ns: int) -> Period | None:
    """A period from one day or time to another, both as an address has them; None where they make none.

    A day without a time begins, or ends, with the zone's day; without an end it lasts until now.
    """
    since_ns = _stated_ns(since, zone, is_end=False)
    until_ns = _stated_ns(until, zone, is_end=True) if until else now_ns
    if since_ns is None or until_ns is None:
        return None
    end_ns = now_ns - now_ns % HOUR_NS + HOUR_NS
    # A day ends with the hour in which the next begins; a time is within the hour that is looked at.
    whole_ns = until_ns - until_ns % HOUR_NS if _is_day(until) else until_ns + -until_ns % HOUR_NS
    since_ns, until_ns = since_ns - since_ns % HOUR_NS, min(whole_ns, end_ns)
    hours = (until_ns - since_ns) // HOUR_NS
    if not 0 < hours <= CUSTOM_DAYS_MOST * _DAY_HOURS or since_ns < 0:
        return None
    is_hourly = hours <= _HOURLY_MOST * _DAY_HOURS
    stretches = (
        tuple(_hour(at_ns, zone) for at_ns in range(since_ns, until_ns, HOUR_NS))
        if is_hourly
        else tuple(_days_between(zone, since_ns, until_ns))
    )
    return Period(
        range="7d",
        zone=zone,
        since_ns=since_ns,
        until_ns=until_ns,
        stated=f"{_moment(since_ns, zone):%-d %b %Y} to {_moment(until_ns - 1, zone):%-d %b %Y}",
        each="hour" if is_hourly else "day",
        stretches=stretches,
    )


def _is_day(text: str) -> bool:
    return 0 < len(text) <= len("2026-11-23")


def _stated_ns(text: str, zone: str, *, is_end: bool) -> int | None:
    try:
        moment = datetime.fromisoformat(text)
        if _is_day(text):
            moment = moment.replace(tzinfo=ZoneInfo(zone)) + timedelta(days=int(is_end))
        return ns_of(moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone)))
    except (ValueError, OverflowError):
        return None


def _days_between(zone: str, since_ns: int, until_ns: int) -> Iterator[Stretch]:
    at_ns = since_ns
    while at_ns < until_ns:
        # By the end of the hour: a day may begin in the midst of the one that it is taken from.
        within_ns = at_ns + HOUR_NS - 1
        day = datetime.fromisoformat(window_at("daily", ZoneInfo(zone), within_ns).label)
        ends_ns = min(day_of(zone, within_ns)[1], until_ns)
        yield Stretch(
            since_ns=at_ns,
            until_ns=ends_ns,
            label=f"{day:%-d %b}",
            words=f"{day:%a %-d %b %Y}",
            day=f"{day:%Y-%m-%d}",
        )
        at_ns = ends_ns


def _moment(at_ns: int, zone: str) -> datetime:
    return datetime.fromtimestamp(at_ns // _NANOS, UTC).astimezone(ZoneInfo(zone))


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
            since_ns=since_ns,
            until_ns=until_ns,
            label=f"{day:%-d %b}",
            words=f"{day:%a %-d %b %Y}",
            day=f"{day:%Y-%m-%d}",
        )
        at_ns = window.starts_ns - 1


def _day_of_month(zone: str, now_ns: int) -> int:
    return datetime.fromisoformat(window_at("daily", ZoneInfo(zone), now_ns).label).day


def _hour(at_ns: int, zone: str) -> Stretch:
    moment = datetime.fromtimestamp(at_ns // _NANOS, UTC).astimezone(ZoneInfo(zone))
    return Stretch(
        since_ns=at_ns, until_ns=at_ns + HOUR_NS, label=f"{moment:%H:%M}", words=f"{moment:%a %-d %b, %H:%M}"
    )
