"""The time as policies see it (hour and weekday, in the tenant's zone and in UTC, and whether people are at work), and
as people are told it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec

_QUARTER_S = 15 * 60
"""Zones differ from UTC by whole quarters of an hour, so within one no hour or weekday changes anywhere."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INSTANT_NS_MAX = 2**63 - 1


class BusinessHours(msgspec.Struct, frozen=True, kw_only=True):
    """When people are at work: from one full hour to before another, on some weekdays (1 is Monday)."""

    from_hour: int = 9
    to_hour: int = 17
    weekdays: tuple[int, ...] = (1, 2, 3, 4, 5)


OFFICE = BusinessHours()


def moment(zone: str, instant_ns: int, business_hours: BusinessHours = OFFICE) -> dict[str, object]:
    """What policies see of an instant: `hour` (0 to 23) and `weekday` (1, Monday, to 7) there, the same in UTC, and
    whether it is in `business_hours` there.

    The record is shared; it is not to be changed.
    """
    return _moment(zone, instant_ns // (_QUARTER_S * 1_000_000_000), business_hours)


@lru_cache(maxsize=1_024)
def _moment(zone: str, quarter: int, business_hours: BusinessHours) -> dict[str, object]:
    utc = datetime.fromtimestamp(quarter * _QUARTER_S, tz=UTC)
    there = utc.astimezone(ZoneInfo(zone))
    return {
        "hour": there.hour,
        "weekday": there.isoweekday(),
        "utc_hour": utc.hour,
        "utc_weekday": utc.isoweekday(),
        "business_hours": there.isoweekday() in business_hours.weekdays
        and business_hours.from_hour <= there.hour < business_hours.to_hour,
    }


def ns_of(told: datetime) -> int | None:
    """A time that has a zone, in nanoseconds since 1970, exactly; None where 64 bits don't reach."""
    found_ns = (told - _EPOCH) // timedelta(microseconds=1) * 1_000
    return found_ns if 0 <= found_ns <= _INSTANT_NS_MAX else None


def minute_text(instant_ns: int) -> str:
    """An instant as people are told it, to the minute: `2026-12-01 08:00 UTC`."""
    return f"{datetime.fromtimestamp(instant_ns // 1_000_000_000, UTC):%Y-%m-%d %H:%M} UTC"
