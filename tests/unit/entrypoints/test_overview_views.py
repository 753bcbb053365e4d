"""What the overview's address says: stated periods, tags, charts; and what is put together by tags."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

import pytest

from aegis_gateway.adapters.usage_reports import UsageOf
from aegis_gateway.domain.hourly import HOUR_NS
from aegis_gateway.domain.usage import UsageSum
from aegis_gateway.entrypoints.people.overview.periods import stated_period
from aegis_gateway.entrypoints.people.overview.tags import by_value
from aegis_gateway.entrypoints.people.overview.view import CHARTS, View, view_of, words_of

NEW_YORK = "America/New_York"
TAGS = ("tag:channel", "tag:tier")


def ns(text: str, zone: str = "UTC") -> int:
    """An instant by the clock of a zone."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 1_000_000_000


NOW = ns("2026-11-29T17:30")


def test_days_are_those_of_the_zone_and_the_last_is_in_it() -> None:
    """From the beginning of the first day to the end of the last, across a change of clocks, day by day."""
    period = stated_period("2026-10-31", "2026-11-04", NEW_YORK, NOW)
    assert period is not None
    assert (ns("2026-10-31", NEW_YORK), ns("2026-11-05", NEW_YORK)) == (period.since_ns, period.until_ns)
    assert ["2026-10-31", "2026-11-01", "2026-11-02", "2026-11-03", "2026-11-04"] == [
        each.day for each in period.stretches
    ]
    assert [24, 25, 24, 24, 24] == [(each.until_ns - each.since_ns) // HOUR_NS for each in period.stretches]
    assert ("day", "31 Oct 2026 to 4 Nov 2026") == (period.each, period.words)


def test_times_are_taken_as_whole_hours() -> None:
    """Stated instants begin and end with hours; a few days are shown hour by hour, and nothing beyond the present."""
    period = stated_period("2026-11-28T10:20:00Z", "2026-11-29T23:59:59Z", "UTC", NOW)
    assert period is not None
    assert (ns("2026-11-28T10:00"), ns("2026-11-29T18:00")) == (period.since_ns, period.until_ns)
    assert ("hour", 32) == (period.each, len(period.stretches))
    assert period.stretches[0].since_ns == period.since_ns
    assert period.stretches[-1].until_ns == period.until_ns
    open_end = stated_period("2026-11-28", "", "UTC", NOW)
    assert open_end is not None
    assert ns("2026-11-29T18:00") == open_end.until_ns


@pytest.mark.parametrize("zone", ["UTC", NEW_YORK, "Asia/Kolkata", "Africa/Cairo"])
def test_stretches_leave_nothing_out(zone: str) -> None:
    """One begins where the one before ends, in every zone, whole hours each."""
    period = stated_period("2026-01-15", "2026-11-20", zone, NOW)
    assert period is not None
    ends = [period.since_ns, *(each.until_ns for each in period.stretches)]
    assert ends[:-1] == [each.since_ns for each in period.stretches]
    assert period.until_ns == ends[-1]
    assert all(each % HOUR_NS == 0 for each in ends)
    days = [each.day for each in period.stretches]
    assert ("2026-01-15", "2026-11-20", 310) == (days[0], days[-1], len(set(days)))
    assert len(days) == len(set(days))


@pytest.mark.parametrize(
    ("since", "until"),
    [
        ("2026-11-20", "2026-11-10"),
        ("2027-01-01", ""),
        ("2020-01-01", "2026-01-01"),
        ("x", ""),
        ("2026-11-01", "x"),
        ("1960-01-01", "1960-01-05"),
        ("9999-12-31", "9999-12-31"),
        ("0001-01-01", ""),
        ("2026-11-01T00:00:00+99:00", ""),
    ],
)
def test_what_makes_no_period_is_none(since: str, until: str) -> None:
    """What ends before it begins, is to come, too long or unreadable makes none; the page is as it is at first."""
    assert stated_period(since, until, NEW_YORK, NOW) is None
    view = View(tenant="acme", since=since, until=until)
    assert "7d" == view.period(NEW_YORK, NOW).range


def test_an_address_holds_all_of_a_view() -> None:
    """Tags, ends and chart come back from the address that they made; a range takes the place of ends."""
    view = View(
        tenant="acme",
        by="tag:tier",
        of=(("team", "a&b"), ("tag:channel", "web")),
        since="2026-11-01",
        until="2026-11-05",
        chart="shares",
    )
    query = dict(parse_qsl(urlsplit(view.address()).query))
    assert view == view_of(query, "acme", TAGS)
    other = dict(parse_qsl(urlsplit(view.address(range="30d")).query))
    assert ("30d", False) == (other["range"], "since" in other)


def test_an_address_says_only_what_there_is() -> None:
    """Tags that no agent has, charts and groupings that there are not, and endless texts are not taken over."""
    query = {"by": "tag:gone", "tag:gone": "x", "chart": "pie", "since": "9" * 99, "tag:channel": "w\0eb"}
    view = view_of(query, "acme", TAGS)
    assert ("team", "time", 32, (("tag:channel", "web"),)) == (view.by, view.chart, len(view.since), view.of)


def test_one_goes_from_a_tag_into_its_teams() -> None:
    """A tag's row leads to its calls by team, then agents and so on; agents without the tag have no such address."""
    view = View(tenant="acme", by="tag:channel")
    into = view.into("web")
    assert into is not None
    query = dict(parse_qsl(urlsplit(into).query))
    assert ("team", "web") == (query["by"], query["tag:channel"])
    assert view.into("") is None
    assert "channel" == words_of("tag:channel")
    assert "cost centre" == words_of("cost_centre")


def test_a_calendar_is_of_days() -> None:
    """Where hours or a week are looked at, it is of the last quarter; other periods of days stay as they are."""
    assert {"90d"} == {
        View(tenant="a", range=each, chart="calendar").period("UTC", NOW).range
        for each in ("today", "24h", "7d")
    }
    assert "30d" == View(tenant="a", range="30d", chart="calendar").period("UTC", NOW).range
    assert 4 == len(CHARTS)


def test_sums_are_put_together_by_tags() -> None:
    """All agents of a value are one row, those without it another, and nothing is lost."""
    rows = [
        UsageOf(values=(agent,), sums=UsageSum(calls=1, cost=cost))
        for agent, cost in (("a", 5), ("b", 7), ("c", 11), ("gone", 1))
    ]
    found = by_value(rows, {"a": "web", "c": "web", "b": "branch"})
    assert [("web", 16, 2), ("branch", 7, 1), ("", 1, 1)] == [
        (each.values[0], each.sums.cost, each.sums.calls) for each in found
    ]
