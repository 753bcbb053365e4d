import itertools
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.domain.window import PERIODS, Period, Window, day_start, window_at

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
CALENDAR: tuple[Period, ...] = tuple(period for period in PERIODS if period not in ("once", "rolling"))

# The zones that do what others don't: half hours, midnights skipped or had twice, days left out, clocks that fall
# back from 00:01 into the day before, summer time that is negative.
ODD_ZONES = (
    "UTC", "Europe/London", "America/New_York", "America/Sao_Paulo", "America/Havana", "America/St_Johns",
    "America/Santiago", "America/Asuncion", "America/Nuuk", "America/Scoresbysund", "Pacific/Apia",
    "Pacific/Kwajalein", "Pacific/Kiritimati", "Pacific/Chatham", "Asia/Beirut", "Asia/Gaza", "Asia/Amman",
    "Asia/Tehran",
    "Asia/Kathmandu", "Asia/Pyongyang", "Australia/Lord_Howe", "Africa/Casablanca", "Africa/Cairo", "Europe/Dublin",
    "Antarctica/Troll", "Africa/Monrovia",
)  # fmt: skip
# Instants where something happens, beside those drawn at random.
EVENTS = (
    "2017-10-15T03:00:00", "2017-02-19T02:00:00", "2018-11-04T03:00:00",  # Sao Paulo skips midnight, has one twice
    "2012-04-01T05:00:00", "2012-11-04T05:00:00",  # Havana skips midnight, has it twice
    "2011-12-30T10:00:00",  # Apia goes from 29 to 31 December
    "1993-08-21T12:00:00",  # Kwajalein leaves out a day too
    "2010-11-07T02:31:00", "1988-10-30T01:31:00",  # St. John's falls back from 00:01
    "2024-02-29T00:00:00", "2024-03-01T00:00:00", "2100-02-28T12:00:00", "2100-03-01T00:00:00",  # leap days, and none
    "2020-12-31T12:00:00", "2021-01-03T12:00:00", "2021-01-04T00:00:00", "2024-12-30T00:00:00",  # ends of ISO years
    "2026-03-29T01:00:00", "2026-10-25T01:00:00",  # Europe's summer time
)  # fmt: skip


@cache
def zone(name: str) -> ZoneInfo:
    """A zone, read once."""
    return ZoneInfo(name)


def ns(moment: str | datetime) -> int:
    """An instant, UTC if it doesn't say, in nanoseconds."""
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    return int(moment.timestamp()) * SECOND


def text(instant_ns: int) -> str:
    """An instant as people read it."""
    return datetime.fromtimestamp(instant_ns // SECOND, tz=UTC).strftime("%Y-%m-%dT%H:%MZ")


INSTANTS = st.one_of(
    st.integers(0, ns("2200-01-01T00:00:00")),
    st.builds(
        lambda event, offset: ns(event) + offset,
        st.sampled_from(EVENTS),
        st.one_of(
            st.integers(-2 * DAY, 2 * DAY), st.sampled_from([-SECOND, -1, 0, 1, 60 * SECOND, 3600 * SECOND])
        ),
    ),
)
PERIODS_ = st.sampled_from(CALENDAR)
ZONES = st.sampled_from(ODD_ZONES).map(zone)


@given(PERIODS_, ZONES, INSTANTS)
def test_a_window_holds_the_instant_it_was_found_by(period: Period, tz: ZoneInfo, now: int) -> None:
    """Every instant is in its window, whatever the clocks do."""
    assert window_at(period, tz, now).holds(now)


@given(PERIODS_, ZONES, INSTANTS)
def test_windows_tile_time(period: Period, tz: ZoneInfo, now: int) -> None:
    """A window's first and last instants find it, the instants beside it find its neighbours: no gap, no overlap."""
    window = window_at(period, tz, now)
    assert window == window_at(period, tz, window.starts_ns)
    assert window == window_at(period, tz, window.ends_ns - 1)
    following = window_at(period, tz, window.ends_ns)
    assert window.ends_ns == following.starts_ns
    assert window.label != following.label
    if window.starts_ns > 0:
        before = window_at(period, tz, window.starts_ns - 1)
        assert before.ends_ns == window.starts_ns
        assert window.label != before.label


@given(PERIODS_, ZONES, INSTANTS, INSTANTS)
def test_labels_and_bounds_are_one_to_one(period: Period, tz: ZoneInfo, one: int, other: int) -> None:
    """Two instants have the same label exactly if they have the same bounds."""
    first, second = window_at(period, tz, one), window_at(period, tz, other)
    assert (first.label == second.label) == (
        (first.starts_ns, first.ends_ns) == (second.starts_ns, second.ends_ns)
    )


@given(PERIODS_, ZONES, INSTANTS, INSTANTS)
def test_labels_sort_as_time_does(period: Period, tz: ZoneInfo, one: int, other: int) -> None:
    """A list of labels in order is a list of windows in order."""
    first, second = window_at(period, tz, min(one, other)), window_at(period, tz, max(one, other))
    assert first.label <= second.label


@given(ZONES, INSTANTS)
def test_short_windows_nest_in_long_ones(tz: ZoneInfo, now: int) -> None:
    """A day ends no later than its month, a month than its quarter, a quarter than its year."""
    windows = [window_at(period, tz, now) for period in ("daily", "monthly", "quarterly", "yearly")]
    for inner, outer in itertools.pairwise(windows):
        assert outer.starts_ns <= inner.starts_ns
        assert inner.ends_ns <= outer.ends_ns


@given(ZONES, INSTANTS)
def test_hours_are_utc_everywhere(tz: ZoneInfo, now: int) -> None:
    """An hour has 3,600 seconds and the same name in every zone."""
    window = window_at("hourly", tz, now)
    assert 3600 * SECOND == window.ends_ns - window.starts_ns
    assert 0 == window.starts_ns % (3600 * SECOND)
    assert window_at("hourly", zone("UTC"), now) == window


@given(st.sampled_from(sorted(available_timezones())), INSTANTS)
def test_days_of_every_zone_tile(name: str, now: int) -> None:
    """There is no zone in the database whose days leave an instant out."""
    window = window_at("daily", zone(name), now)
    assert window.holds(now)
    assert window.ends_ns == window_at("daily", zone(name), window.ends_ns).starts_ns


@pytest.mark.parametrize(
    "name", ["America/St_Johns", "Pacific/Apia", "America/Havana", "America/Sao_Paulo", "Asia/Gaza"]
)
@pytest.mark.parametrize("year", [1988, 2009, 2011, 2017])
def test_a_whole_year_of_days_is_walked_without_a_step_missing(name: str, year: int) -> None:
    """From the first day of a year to the last, each window begins where the one before ended."""
    year_window = window_at("yearly", zone(name), ns(f"{year}-07-01T00:00:00"))
    now, labels = year_window.starts_ns, []
    while now < year_window.ends_ns:
        window = window_at("daily", zone(name), now)
        assert now == window.starts_ns
        assert window.ends_ns > now
        labels.append(window.label)
        now = window.ends_ns
    assert year_window.ends_ns == now
    days = 366 if year == 1988 else 365
    left_out = 1 if (name, year) == ("Pacific/Apia", 2011) else 0
    assert days - left_out == len(labels) == len(set(labels))


@pytest.mark.parametrize(
    ("period", "name", "now", "label", "starts", "ends"),
    [
        ("hourly", "Asia/Kathmandu", "2026-11-23T22:50:47", "2026-11-23T22Z", "2026-11-23T22:00Z", "2026-11-23T23:00Z"),
        ("daily", "UTC", "2026-11-23T22:50:47", "2026-11-23", "2026-11-23T00:00Z", "2026-11-24T00:00Z"),
        ("daily", "Asia/Tokyo", "2026-11-23T22:50:47", "2026-11-24", "2026-11-23T15:00Z", "2026-11-24T15:00Z"),
        # A day of 23 hours, and one of 25.
        ("daily", "Europe/London", "2026-03-29T12:00:00", "2026-03-29", "2026-03-29T00:00Z", "2026-03-29T23:00Z"),
        ("daily", "Europe/London", "2026-10-25T12:00:00", "2026-10-25", "2026-10-24T23:00Z", "2026-10-26T00:00Z"),
        # Sao Paulo skips midnight: the day begins at one o'clock, which is three in UTC.
        ("daily", "America/Sao_Paulo", "2017-10-15T12:00:00", "2017-10-15", "2017-10-15T03:00Z", "2017-10-16T02:00Z"),
        # Havana has midnight twice: the day begins with the earlier one.
        ("daily", "America/Havana", "2012-11-04T12:00:00", "2012-11-04", "2012-11-04T04:00Z", "2012-11-05T05:00Z"),
        # Apia leaves out the thirtieth.
        ("daily", "Pacific/Apia", "2011-12-30T09:59:59", "2011-12-29", "2011-12-29T10:00Z", "2011-12-30T10:00Z"),
        ("daily", "Pacific/Apia", "2011-12-30T10:00:00", "2011-12-31", "2011-12-30T10:00Z", "2011-12-31T10:00Z"),
        # St. John's fell back from 00:01 to 23:01: the new day, once begun, goes on.
        ("daily", "America/St_Johns", "2010-11-07T02:45:00", "2010-11-07", "2010-11-07T02:30Z", "2010-11-08T03:30Z"),
        ("weekly", "UTC", "2021-01-03T12:00:00", "2020-W53", "2020-12-28T00:00Z", "2021-01-04T00:00Z"),
        ("weekly", "UTC", "2024-12-30T00:00:00", "2025-W01", "2024-12-30T00:00Z", "2025-01-06T00:00Z"),
        ("monthly", "UTC", "2024-02-29T23:59:59", "2024-02", "2024-02-01T00:00Z", "2024-03-01T00:00Z"),
        ("monthly", "Europe/London", "2026-12-31T12:00:00", "2026-12", "2026-12-01T00:00Z", "2027-01-01T00:00Z"),
        ("quarterly", "Europe/London", "2026-11-23T00:00:00", "2026-Q4", "2026-09-30T23:00Z", "2027-01-01T00:00Z"),
        ("yearly", "Australia/Lord_Howe", "2026-06-01T00:00:00", "2026", "2025-12-31T13:00Z", "2026-12-31T13:00Z"),
    ],
)  # fmt: skip
def test_windows_as_they_are(period: Period, name: str, now: str, label: str, starts: str, ends: str) -> None:
    """Names and bounds where the calendar is odd."""
    window = window_at(period, zone(name), ns(now))
    assert (label, starts, ends) == (window.label, text(window.starts_ns), text(window.ends_ns))


@given(ZONES, st.dates(date(1970, 1, 2), date(2199, 12, 30)))
def test_a_day_starts_before_the_next(tz: ZoneInfo, day: date) -> None:
    """Days are in order; one that a zone leaves out is empty, none runs backwards, none is longer than two."""
    length = day_start(day + timedelta(days=1), tz) - day_start(day, tz)
    assert timedelta(0) <= length <= timedelta(days=2)


def test_once_is_what_it_was_given() -> None:
    """A one-off's window is its own, whether the instant is in it or not; without one it is for ever."""
    pilot = Window(label="once-2026-10-01", starts_ns=10, ends_ns=20)
    assert pilot == window_at("once", zone("UTC"), 5, once=pilot)
    assert (False, True, True, False) == tuple(pilot.holds(now) for now in (9, 10, 19, 20))
    assert window_at("once", zone("UTC"), 5).holds(2**62)


@pytest.mark.parametrize(
    ("period", "when", "label", "first", "following"),
    [
        ("yearly", "2026-04-01", "FY2027", "2026-04-01", "2027-04-01"),
        ("yearly", "2026-03-31", "FY2026", "2025-04-01", "2026-04-01"),
        ("quarterly", "2026-04-01", "FY2027-Q1", "2026-04-01", "2026-07-01"),
        ("quarterly", "2027-03-31", "FY2027-Q4", "2027-01-01", "2027-04-01"),
        ("monthly", "2026-04-15", "2026-04", "2026-04-01", "2026-05-01"),
    ],
)
def test_fiscal_years(period: Period, when: str, label: str, first: str, following: str) -> None:
    """Years that begin on another day are named by the one they end in; months and days are what they are."""
    tz = zone("America/New_York")
    found = window_at(period, tz, ns(f"{when}T12:00:00Z"), year_starts=(4, 1))
    expected = [day_start(date.fromisoformat(day), tz) for day in (first, following)]
    assert label == found.label
    assert [int(instant.timestamp()) * SECOND for instant in expected] == [found.starts_ns, found.ends_ns]


@given(st.sampled_from(["quarterly", "yearly"]), ZONES, INSTANTS, st.integers(1, 12), st.integers(1, 28))
def test_fiscal_windows_tile_time(period: Period, tz: ZoneInfo, now: int, month: int, day: int) -> None:
    """Whatever day a year begins on there is no gap and no overlap."""
    window = window_at(period, tz, now, year_starts=(month, day))
    assert window.holds(now)
    following = window_at(period, tz, window.ends_ns, year_starts=(month, day))
    assert window.ends_ns == following.starts_ns
    assert window.label != following.label
