"""Months of a tenant's zone: their bounds, what they are compared with, and what is none."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.hourly import HOUR_NS
from aegis_gateway.entrypoints.months import month_of, months_back

NEW_YORK = "America/New_York"


def ns(text: str, zone: str = "UTC") -> int:
    """An instant by the clock of a zone."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 1_000_000_000


NOW = ns("2026-11-29T17:30", NEW_YORK)


def test_a_month_is_that_of_the_zone() -> None:
    """It begins and ends with the zone's days, across a change of clocks; without a name it is the present one."""
    month = month_of("", NEW_YORK, NOW)
    assert ("2026-11", "November 2026", False) == (month.label, month.name, month.is_over)
    assert (ns("2026-11-01", NEW_YORK), ns("2026-12-01", NEW_YORK)) == (month.since_ns, month.until_ns)
    assert month == month_of("2026-11", NEW_YORK, NOW)


def test_a_month_that_goes_on_is_compared_with_as_much_of_the_one_before() -> None:
    """Up to the end of the present hour, and as many hours from the beginning of the month before."""
    month = month_of("", "UTC", ns("2026-11-29T17:30"))
    assert ns("2026-11-29T18:00") == month.period.until_ns
    assert (ns("2026-10-01"), ns("2026-10-29T18:00")) == (month.before.since_ns, month.before.until_ns)
    assert "October 2026 up to 29 Oct, 18:00" == month.before.words


def test_a_long_month_is_compared_with_all_of_a_short_one() -> None:
    """On the 31st the month before is whole, and never reaches into the present one."""
    month = month_of("", "UTC", ns("2027-03-31T12:10"))
    assert (ns("2027-02-01"), ns("2027-03-01"), "February 2027") == (
        month.before.since_ns,
        month.before.until_ns,
        month.before.words,
    )


def test_a_month_that_is_over_is_compared_with_the_whole_one_before() -> None:
    """January with December of the year before."""
    month = month_of("2026-01", NEW_YORK, NOW)
    assert (True, "January 2026", "December 2025") == (month.is_over, month.period.words, month.before.words)
    assert (ns("2025-12-01", NEW_YORK), ns("2026-01-01", NEW_YORK)) == month.whole_before
    assert month.whole_before == (month.before.since_ns, month.before.until_ns)


def test_months_begin_with_whole_hours() -> None:
    """In a zone that is so many and a half hours from UTC, with the hour in which they begin."""
    month = month_of("2026-10", "Asia/Kolkata", NOW)
    assert 0 == month.since_ns % HOUR_NS == month.until_ns % HOUR_NS
    assert ns("2026-10-01", "Asia/Kolkata") - HOUR_NS // 2 == month.since_ns


@pytest.mark.parametrize(
    "zone", ["UTC", NEW_YORK, "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "Africa/Cairo"]
)
@pytest.mark.parametrize(
    ("text", "count"), [("2026-02", 28), ("2026-03", 31), ("2026-04", 30), ("2026-10", 31), ("2026-11", 30)]
)
def test_a_month_is_made_of_its_days(zone: str, text: str, count: int) -> None:
    """In every zone, through every change of clocks: as many as there are, each where the one before ends."""
    month = month_of(text, zone, NOW)
    days = month.days
    assert count == len(days)
    assert (month.since_ns, month.until_ns) == (days[0][0], days[-1][1])
    assert [end for _, end in days[:-1]] == [start for start, _ in days[1:]]
    assert {23, 24, 25} >= {(end - start) // HOUR_NS for start, end in days}


@pytest.mark.parametrize(
    "text", ["2026-12", "2999-01", "1969-12", "2026-13", "2026-1", "x", "2026-11-01", "\u0662026-11"]
)
def test_what_is_no_month_is_told(text: str) -> None:
    """What is no month, or yet to come, isn't guessed at."""
    with pytest.raises(ConfigurationError):
        month_of(text, NEW_YORK, NOW)


def test_months_are_offered_backwards() -> None:
    """From the present one, across a year."""
    found = months_back("UTC", ns("2026-02-28T12:00"), 3)
    assert [("2026-02", "February 2026"), ("2026-01", "January 2026"), ("2025-12", "December 2025")] == found
