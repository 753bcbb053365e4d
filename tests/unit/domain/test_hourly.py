"""What was spent hour by hour, and what is usual for an hour of the week."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from aegis_gateway.domain.hourly import HOUR_NS, HourlyUse, Usual, parts

MONDAY = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp()) // 3_600
"""The hour in which a Monday begins, four weeks before clocks change in Europe."""


def test_parts_of_hours() -> None:
    """A stretch is its hours, the first and the last as far as they lie in it."""
    half = HOUR_NS // 2
    assert [(1, 0.5), (2, 1.0), (3, 0.5)] == parts(HOUR_NS + half, 3 * HOUR_NS + half)
    assert [(1, 0.25)] == parts(HOUR_NS + half, HOUR_NS + half + HOUR_NS // 4)
    assert [(1, 1.0)] == parts(HOUR_NS, 2 * HOUR_NS)
    assert [] == parts(HOUR_NS, HOUR_NS)


def test_what_was_spent_in_a_stretch() -> None:
    """An hour that lies in it by half counts by half: so it is divided between two days of India."""
    use = HourlyUse({MONDAY: 10, MONDAY + 1: 4}, MONDAY, ZoneInfo("Asia/Kolkata"))
    assert 12 == use.between(MONDAY * HOUR_NS, MONDAY * HOUR_NS + HOUR_NS * 3 // 2)
    assert 7 == use.between(MONDAY * HOUR_NS + HOUR_NS // 2, MONDAY * HOUR_NS + HOUR_NS * 3 // 2)


def test_the_same_hour_by_the_clock_on_the_wall() -> None:
    """What begins at nine in Berlin is usual at nine, on either side of the change of clocks."""
    zone = ZoneInfo("Europe/Berlin")
    use = HourlyUse({MONDAY + week * 168 + 8: 70 for week in range(4)}, MONDAY, zone)
    after = datetime(2026, 3, 30, 9, tzinfo=zone)
    usual = Usual(use, int(datetime(2026, 3, 30, tzinfo=zone).timestamp()) // 3_600)
    assert ("weeks", 21) == (usual.basis, usual.days)
    assert 70 == usual.in_hour(int(after.timestamp()) // 3_600)
    assert 0 == usual.in_hour(int(after.timestamp()) // 3_600 + 1)


@pytest.mark.parametrize(
    ("hours", "basis", "days"),
    [
        (0, "pace", 0),
        (71, "pace", 2),
        (72, "days", 3),
        (335, "days", 13),
        (336, "weeks", 14),
        (9_000, "weeks", 56),
    ],
)
def test_what_is_usual_rests_on_what_there_is(hours: int, basis: str, days: int) -> None:
    """Hours of the week from two weeks on, at most eight of them; hours of the day from three days; then nothing."""
    usual = Usual(HourlyUse({MONDAY: 1}, MONDAY, ZoneInfo("UTC")), MONDAY + hours)
    assert (basis, days) == (usual.basis, usual.days)


def test_a_mean_and_not_a_median() -> None:
    """An hour that was empty in most weeks still adds to the whole."""
    use = HourlyUse({MONDAY + 8: 40, MONDAY + 4 * 168: 0}, MONDAY, ZoneInfo("UTC"))
    assert 10 == Usual(use, MONDAY + 4 * 168).in_hour(MONDAY + 4 * 168 + 8)
