"""The time as policies see it."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.domain.moment import BusinessHours, moment, ns_of


def at(text: str) -> int:
    """An instant in nanoseconds."""
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000_000


@pytest.mark.parametrize(
    ("zone", "text", "expected"),
    [
        ("UTC", "2026-11-27T00:00:00Z", (0, 5, 0, 5)),
        ("Europe/London", "2026-07-01T23:30:00Z", (0, 4, 23, 3)),
        ("Asia/Kathmandu", "2026-11-29T18:14:59Z", (23, 7, 18, 7)),  # 5:45 ahead
        ("Asia/Kathmandu", "2026-11-29T18:15:00Z", (0, 1, 18, 7)),
        ("America/New_York", "2026-11-01T05:59:59Z", (1, 7, 5, 7)),  # the hour that comes twice
        ("America/New_York", "2026-11-01T06:00:00Z", (1, 7, 6, 7)),
        ("America/New_York", "2026-03-08T07:00:00Z", (3, 7, 7, 7)),  # and the one that doesn't come
    ],
)
def test_hours_and_weekdays(zone: str, text: str, expected: tuple[int, ...]) -> None:
    """There and in UTC."""
    found = moment(zone, at(text))
    assert expected == tuple(found[name] for name in ("hour", "weekday", "utc_hour", "utc_weekday"))


@pytest.mark.parametrize(
    ("zone", "text", "hours", "open_"),
    [
        ("UTC", "2026-11-27T08:59:59Z", BusinessHours(), False),
        ("UTC", "2026-11-27T09:00:00Z", BusinessHours(), True),
        ("UTC", "2026-11-27T16:59:59Z", BusinessHours(), True),
        ("UTC", "2026-11-27T17:00:00Z", BusinessHours(), False),
        ("UTC", "2026-11-28T12:00:00Z", BusinessHours(), False),  # a Saturday
        ("UTC", "2026-11-28T12:00:00Z", BusinessHours(weekdays=(6, 7)), True),
        ("America/New_York", "2026-11-27T14:00:00Z", BusinessHours(), True),  # 9 in the morning there
        ("America/New_York", "2026-11-27T13:59:59Z", BusinessHours(), False),
        ("UTC", "2026-11-27T23:59:59Z", BusinessHours(from_hour=0, to_hour=24), True),
    ],
)
def test_business_hours(zone: str, text: str, hours: BusinessHours, open_: bool) -> None:
    """From one full hour to before another, where the tenant is."""
    assert open_ is moment(zone, at(text), hours)["business_hours"]


@given(
    st.integers(min_value=at("1990-01-01T00:00:00Z"), max_value=at("2100-01-01T00:00:00Z")),
    st.sampled_from(
        ("Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "America/St_Johns")
    ),
)
def test_it_is_the_clock_s(instant_ns: int, zone: str) -> None:
    """At any instant it says what the zone's own clock does."""
    there = datetime.fromtimestamp(instant_ns // 1_000_000_000, tz=ZoneInfo(zone))
    utc = there.astimezone(UTC)
    assert {
        "hour": there.hour,
        "weekday": there.isoweekday(),
        "utc_hour": utc.hour,
        "utc_weekday": utc.isoweekday(),
        "business_hours": there.isoweekday() < 6 and 9 <= there.hour < 17,
    } == moment(zone, instant_ns)


@pytest.mark.parametrize(
    ("told", "found_ns"),
    [
        ("1970-01-01T01:00:00.000001+01:00", 1_000),
        ("2026-12-31T18:00:00.000001Z", 1_798_740_000_000_001_000),
        ("2261-12-31T23:59:59.999999Z", 9_214_646_399_999_999_000),
        ("1969-12-31T23:59:59Z", None),
        ("2263-01-01T00:00:00Z", None),
        ("9999-12-31T23:59:59Z", None),
    ],
)
def test_an_instant_to_the_microsecond(told: str, found_ns: int | None) -> None:
    """As it was written, where the ledger can count so far."""
    assert found_ns == ns_of(datetime.fromisoformat(told))
