"""The small parts of overview and budgets: periods, addresses, exports, charts' points, and the library's file."""

from __future__ import annotations

import csv
import hashlib
import io
from datetime import UTC, datetime

import msgspec
import pytest

from aegis_gateway.adapters.reports import BudgetStanding
from aegis_gateway.adapters.usage_reports import UsageOf
from aegis_gateway.domain.burn_down import BurnPoint
from aegis_gateway.domain.forecast import Forecast
from aegis_gateway.domain.kpi import Figure
from aegis_gateway.domain.registry import BUILT_IN_QUANTITIES, Budget
from aegis_gateway.domain.usage import UsageSum
from aegis_gateway.entrypoints.cli.kpi import figure_parts, figure_value
from aegis_gateway.entrypoints.people.budgets.balances import Balance, fullness
from aegis_gateway.entrypoints.people.budgets.course import course_of
from aegis_gateway.entrypoints.people.overview.export import usage_columns, usage_rows
from aegis_gateway.entrypoints.people.overview.periods import RANGES, Range, day_of, month_of, period_of
from aegis_gateway.entrypoints.people.overview.view import Grouping, View, view_of
from aegis_gateway.entrypoints.people.rendering import glyph, static_files
from aegis_gateway.entrypoints.people.tables import csv_text
from aegis_gateway.entrypoints.people.words import exact, local, more_than

SECOND_NS = 1_000_000_000
HOUR_NS = 3_600 * SECOND_NS
DAY = Budget(id="day", owner="ann", deputy=None, quantity="usd", limit=1_000, period="daily", zone="UTC")


def at(text: str) -> int:
    """An instant in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND_NS


@pytest.mark.parametrize(
    "zone", ["UTC", "Europe/London", "America/New_York", "Asia/Kolkata", "Pacific/Chatham"]
)
@pytest.mark.parametrize("range_", RANGES)
@pytest.mark.parametrize(
    "now", ["2026-11-29T07:41:12", "2026-03-29T01:30:00", "2026-10-25T00:30:00", "2026-12-01T00:00:00"]
)
def test_stretches_make_up_their_period(range_: Range, zone: str, now: str) -> None:
    """Whole hours, in order, each once, whenever clocks change; the last one holds the instant."""
    now_ns = at(now)
    period = period_of(range_, zone, now_ns)
    edges = [period.since_ns, *(each.until_ns for each in period.stretches)]
    assert [each.since_ns for each in period.stretches] == edges[:-1]
    assert not any(edge % HOUR_NS for edge in edges)
    last = period.stretches[-1]
    assert last.since_ns <= now_ns < last.until_ns
    assert period.since_ns <= now_ns < period.until_ns <= last.until_ns
    assert len({each.words for each in period.stretches}) == len(period.stretches) or period.each == "hour"


def test_days_and_months_of_a_zone() -> None:
    """By its clocks; from the hour in which they begin where that is in the midst of one."""
    assert (at("2026-11-29T05:00"), at("2026-11-30T05:00")) == day_of(
        "America/New_York", at("2026-11-29T07:00")
    )
    assert (at("2026-11-28T18:00"), at("2026-11-29T18:00")) == day_of("Asia/Kolkata", at("2026-11-29T07:00"))
    assert (at("2026-10-31T23:00"), at("2026-11-30T23:00")) == month_of(
        "Europe/Berlin", at("2026-11-29T07:00")
    )
    assert 23 == len(period_of("today", "Europe/London", at("2026-03-29T22:30")).stretches)
    assert "28 Mar" == period_of("7d", "Europe/London", at("2026-03-29T12:00")).stretches[-2].label
    assert 29 == len(period_of("month", "UTC", at("2026-11-29T07:00")).stretches)


def test_an_address_says_it_all() -> None:
    """What it says is read again; what it says wrongly is as at first; one goes in, and out again."""
    view = View(tenant="acme", range="30d", by="agent", of=(("team", "a&b=c"),))
    assert "/?tenant=acme&range=30d&by=agent&team=a%26b%3Dc" == view.address()
    query = {"range": "30d", "by": "agent", "team": "a&b=c"}
    assert view == view_of(query, "acme")
    assert View(tenant="acme") == view_of({"range": "9999d", "by": "drop table", "effect": "x"}, "acme")
    assert "agent" == view_of({"team": "desk"}, "acme").by
    into = view.into("bot") or ""
    assert into.endswith("by=model&team=a%26b%3Dc&agent=bot")
    assert "/?tenant=acme&range=30d&by=team" == view.without("team")
    everything: tuple[tuple[Grouping, str], ...] = (("team", "t"), ("agent", "a"), ("model", "m"))
    assert View(tenant="acme", by="tool", of=everything).into("chat") is None
    assert (("agent", "ab"),) == view_of({"agent": "a\0b"}, "acme").of
    assert 256 == len(view_of({"agent": "x" * 10_000}, "acme").of[0][1])


def test_a_table_as_a_file() -> None:
    """Exact to the nano-dollar, with the names that programs know."""
    rows = [UsageOf(values=("a",), sums=UsageSum(calls=3, cost=1_234_567_890_123_456_789, saved=-5))]
    text = csv_text(usage_columns("agent"), usage_rows(rows))
    (found,) = csv.DictReader(io.StringIO(text, newline=""))
    assert ("a", "1234567890.123456789", "-0.000000005", "3") == tuple(
        found[name] for name in ("agent", "spent_usd", "saved_usd", "calls")
    )


def balance(spent: int, limit: int, reserved: int = 0, forecast: Forecast | None = None) -> Balance:
    """A balance of a day."""
    standing = BudgetStanding(
        budget=DAY, scope="", window=DAY.window(0), reserved=reserved, spent=spent, limit=limit
    )
    return Balance(
        tenant="acme",
        standing=standing,
        quantity=BUILT_IN_QUANTITIES["usd"],
        state="within",
        words="",
        forecast=forecast,
    )


def test_bars() -> None:
    """Never longer than they are, whatever was spent of whatever; the fullest comes first."""
    assert (250, 500) == balance(25, 100, 50).bar
    assert (1_000, 0) == balance(300, 100, 50).bar
    assert (0, 0) == balance(0, 0).bar
    assert (1_000, 0) == balance(1, 0).bar
    assert (0, 1) == balance(-5, 1_000_000, 1).bar
    found = sorted([balance(1, 10), balance(20, 10), balance(5, 10)], key=fullness)
    assert [20, 5, 1] == [each.standing.spent for each in found]


def test_a_band_opens_from_now_on() -> None:
    """Nothing is uncertain at this instant; at the end it is as wide as the forecast's."""
    forecast = Forecast(
        window=DAY.window(0), at_ns=0, spent=200, left=800, basis="weeks", expected=600, low=500, high=800
    )
    points = (
        BurnPoint(at_ns=0, ideal=1_000, actual=800, expected=800),
        BurnPoint(at_ns=12 * HOUR_NS, ideal=500, expected=600),
        BurnPoint(at_ns=24 * HOUR_NS, ideal=0, expected=400),
    )
    course = course_of(balance(200, 1_000, forecast=forecast), points, 0)
    assert [(800, 800), (500, 650), (200, 500)] == [(each.low, each.high) for each in course.band]
    assert [0, 43_200_000, 86_400_000] == [each.wall_ms for each in course.points]
    none = msgspec.structs.replace(forecast, low=None, high=None)
    assert () == course_of(balance(200, 1_000, forecast=none), points, 0).band


def test_words() -> None:
    """Of figures, comparisons and instants."""
    figure = Figure(
        id="cost_per_call", name="", unit="usd", numerator=3, denominator=2, formula="", source=""
    )
    assert ("$0.000000002", "$0.000000003 / 2") == (figure_value(figure), figure_parts(figure))
    assert "–" == figure_value(msgspec.structs.replace(figure, denominator=0))
    share = msgspec.structs.replace(figure, unit="share", numerator=1, denominator=3, below="usd")
    assert ("33 %", "$0.000000001 / $0.000000003") == (figure_value(share), figure_parts(share))
    times = msgspec.structs.replace(figure, unit="seconds", numerator=5_400_000_000_000, above="seconds")
    assert ("45.0 min", "1.5 h / 2") == (figure_value(times), figure_parts(times))
    assert "0 s" == figure_value(msgspec.structs.replace(times, numerator=0))
    calls = msgspec.structs.replace(figure, unit="calls", numerator=1_234, denominator=None)
    assert ("1,234", "") == (figure_value(calls), figure_parts(calls))
    assert ["", "as much", "12 % more", "100 % less"] == [
        more_than(now, before) for now, before in ((5, 0), (100, 100), (112, 100), (0, 7))
    ]
    assert "29 Nov 2026, 02:41" == local(at("2026-11-29T07:41"), "America/New_York")
    assert "$0.000000001" == exact(1)


def test_the_library_of_charts_is_the_published_one() -> None:
    """Apache ECharts 6.1.0 as npm has it (`dist/echarts.min.js`), with its licence and notice beside it."""
    digest = hashlib.sha256(static_files()["echarts.min.js"].body).hexdigest()
    assert "b66b25aeb4df84e33199dc21694014d336d222cbd9deb0e5a7c14bd6aa0d0fd0" == digest
    licence = static_files()["echarts.LICENSE.txt"].body.decode()
    for words in ("6.1.0", "Apache License", "The Apache Software Foundation", "Mike Bostock"):
        assert words in licence


def test_signs_are_drawn() -> None:
    """Those that not every machine has a letter for; what somebody wrote stays a text, escaped where it stands."""
    assert glyph("✓").startswith("<svg")
    assert glyph("✓") != glyph("✗")
    for text in ("!", "<b>", "✓✓", ""):
        assert text == glyph(text)
        assert type(glyph(text)) is str
