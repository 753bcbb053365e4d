from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.domain.admit import BudgetClaim
from aegis_gateway.domain.fiscal import PATTERNS, FiscalPeriod, YearOfWeeks, YearStart, fiscal_days
from aegis_gateway.domain.window import window_at

PERIODS: tuple[FiscalPeriod, ...] = ("weekly", "monthly", "quarterly", "yearly")
SECOND = 1_000_000_000
SHOPS = YearOfWeeks(
    pattern=(4, 5, 4), edge="ends", which="nearest", weekday=6, month=1, day=31, named_by="begin"
)
SEPTEMBER = YearOfWeeks(pattern=(4, 4, 5), edge="ends", which="last", weekday=6, month=9)
NEW_YEAR = YearOfWeeks(pattern=(5, 4, 4), edge="ends", which="nearest", weekday=6, month=12, day=31)
YEARS = st.builds(
    YearOfWeeks,
    pattern=st.sampled_from(PATTERNS),
    edge=st.sampled_from(["begins", "ends"]),
    which=st.sampled_from(["first", "last", "nearest"]),
    weekday=st.integers(1, 7),
    month=st.integers(1, 12),
    day=st.integers(1, 31),
    named_by=st.sampled_from(["begin", "end"]),
)
DAYS = st.dates(date(1970, 1, 10), date(2199, 12, 1))
ZONES = st.sampled_from(
    ["UTC", "America/New_York", "America/Sao_Paulo", "America/Havana", "Pacific/Apia", "Asia/Beirut"]
).map(ZoneInfo)


@pytest.mark.parametrize(
    ("year", "name", "first", "following"),
    [
        (SHOPS, "FY2012", "2012-01-29", "2013-02-03"),
        (SHOPS, "FY2022", "2022-01-30", "2023-01-29"),
        (SHOPS, "FY2023", "2023-01-29", "2024-02-04"),
        (SHOPS, "FY2024", "2024-02-04", "2025-02-02"),
        (SEPTEMBER, "FY2022", "2021-09-26", "2022-09-25"),
        (SEPTEMBER, "FY2023", "2022-09-25", "2023-10-01"),
        (SEPTEMBER, "FY2024", "2023-10-01", "2024-09-29"),
        # Over New Year: what ends on the third of January is still named by the year that it was.
        (NEW_YEAR, "FY2025", "2024-12-29", "2026-01-04"),
        (NEW_YEAR, "FY2026", "2026-01-04", "2027-01-03"),
    ],
)
def test_years_that_are_known(year: YearOfWeeks, name: str, first: str, following: str) -> None:
    """Years that shops and others have published, of 52 and of 53 weeks."""
    begins, ends = date.fromisoformat(first), date.fromisoformat(following)
    for day in (begins, ends - timedelta(days=1)):
        assert (name, begins, ends) == fiscal_days("yearly", day, year)


@pytest.mark.parametrize(
    ("period", "day", "label", "first", "following"),
    [
        ("weekly", "2023-01-29", "FY2023-W01", "2023-01-29", "2023-02-05"),
        ("weekly", "2024-02-03", "FY2023-W53", "2024-01-28", "2024-02-04"),
        ("monthly", "2023-02-25", "FY2023-P01", "2023-01-29", "2023-02-26"),
        ("monthly", "2023-02-26", "FY2023-P02", "2023-02-26", "2023-04-02"),
        ("monthly", "2024-02-03", "FY2023-P12", "2023-12-31", "2024-02-04"),
        ("monthly", "2025-02-01", "FY2024-P12", "2025-01-05", "2025-02-02"),
        ("quarterly", "2023-04-29", "FY2023-Q1", "2023-01-29", "2023-04-30"),
        ("quarterly", "2024-02-03", "FY2023-Q4", "2023-10-29", "2024-02-04"),
    ],
)
def test_a_year_of_53_weeks(period: FiscalPeriod, day: str, label: str, first: str, following: str) -> None:
    """Its periods have four, five and four weeks; the last one has the week that other years don't have."""
    expected = (label, date.fromisoformat(first), date.fromisoformat(following))
    assert expected == fiscal_days(period, date.fromisoformat(day), SHOPS)


@given(YEARS, st.sampled_from(PERIODS), DAYS, ZONES)
def test_windows_tile_time(year: YearOfWeeks, period: FiscalPeriod, day: date, zone: ZoneInfo) -> None:
    """Each instant is in one window, where the next begins the last has ended, and labels grow with time."""
    now = int(datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp()) * SECOND
    window = window_at(period, zone, now, year_starts=year)
    assert window.holds(now)
    following = window_at(period, zone, window.ends_ns, year_starts=year)
    assert window.ends_ns == following.starts_ns
    assert window == window_at(period, zone, window.ends_ns - 1, year_starts=year)
    assert window.label < following.label


@given(YEARS, DAYS)
def test_years_are_of_whole_weeks(year: YearOfWeeks, day: date) -> None:
    """A year has 52 weeks or 53, begins on one weekday, and is split into 12 periods, 4 quarters and its weeks."""
    name, first, following = year.year_of(day)
    weeks, rest = divmod((following - first).days, 7)
    assert (True, 0) == (weeks in (52, 53), rest)
    assert (year.weekday if year.edge == "begins" else year.weekday % 7 + 1) == first.isoweekday()
    for period, number in (("weekly", weeks), ("monthly", 12), ("quarterly", 4), ("yearly", 1)):
        labels, at = [], first
        while at < following:
            found = fiscal_days(period, at, year)  # type: ignore[arg-type] # a name of the table
            assert found is not None
            assert at == found[1]
            labels.append(found[0])
            at = found[2]
        assert (following, number) == (at, len(set(labels)))
        assert all(label.startswith(name) for label in labels)


@given(YEARS, DAYS)
def test_names_of_years_follow_each_other(year: YearOfWeeks, day: date) -> None:
    """Each year's number is one more than that of the one before, and that of a calendar year that it is in."""
    name, first, following = year.year_of(day)
    after, _, _ = year.year_of(following)
    assert f"FY{int(name[2:]) + 1}" == after
    assert int(name[2:]) in (first.year, following.year, (first + timedelta(days=7)).year)


@given(YEARS)
def test_a_claim_keeps_its_year(year: YearStart) -> None:
    """A calendar goes through a message and is the same key of a dictionary afterwards."""
    claim = BudgetClaim(
        budget="b", scope="", quantity="usd", scale=1, is_money=True, limit=1, hard=True, period="monthly",
        zone="UTC", owner="ann", year_starts=year,
    )  # fmt: skip
    copy = msgspec.msgpack.decode(msgspec.msgpack.encode(claim), type=BudgetClaim)
    assert {claim.year_starts: 1} == {copy.year_starts: 1}


def test_a_rule_in_words() -> None:
    """A year says how it is told, as it is written."""
    assert "4-5-4 weeks, ends nearest saturday to january 31, named by its begin" == str(SHOPS)
    assert "4-4-5 weeks, ends last saturday of september" == str(SEPTEMBER)
