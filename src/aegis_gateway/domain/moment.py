"""The time as policies see it: hour and weekday, in the tenant's zone and in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

_QUARTER_S = 15 * 60
"""Zones differ from UTC by whole quarters of an hour, so within one no hour or weekday changes anywhere."""


def moment(zone: str, instant_ns: int) -> dict[str, object]:
    """What policies see of an instant: `hour` (0 to 23) and `weekday` (1, Monday, to 7) there, and the same in UTC.

    The record is shared; it is not to be changed.
    """
    return _moment(zone, instant_ns // (_QUARTER_S * 1_000_000_000))


@lru_cache(maxsize=1_024)
def _moment(zone: str, quarter: int) -> dict[str, object]:
    utc = datetime.fromtimestamp(quarter * _QUARTER_S, tz=UTC)
    there = utc.astimezone(ZoneInfo(zone))
    return {
        "hour": there.hour,
        "weekday": there.isoweekday(),
        "utc_hour": utc.hour,
        "utc_weekday": utc.isoweekday(),
    }
