"""`aegis budget forecast`: for people and for programs, from hours that a gateway kept."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aegis_gateway.application.ports import Changes, HourRow
from tests.acceptance.test_cli import CONFIGURATION, Aegis
from tests.ledgers import HOUR_NS

DOLLAR = 1_000_000_000
SHORT_LIVED = """\
      each-run:
        owner: ana@northbank.example
        deputy: ben@northbank.example
        limit: 1.00
        period: once
        per: [run]
"""


@pytest.fixture
def aegis(tmp_path: Path) -> Aegis:
    """The command with a daily budget of twenty dollars, of which one was spent in each hour of four weeks."""
    aegis = Aegis(tmp_path)
    aegis.apply(CONFIGURATION.replace("period: yearly", "period: daily") + SHORT_LIVED)
    store = aegis.open()
    this = store.clock_ns() // HOUR_NS
    rows = [
        HourRow(tenant="northbank", budget="lending-day", scope="", hour=this - back, amount=DOLLAR)
        for back in range(1, 28 * 24)
    ]
    with store.lock(["northbank"]) as locked:
        locked.write(Changes(hours=rows))
    store.close()
    return aegis


def test_a_forecast_for_people(aegis: Aegis) -> None:
    """What is expected, between what, and what it rests on; a budget that nobody used is there too."""
    shown, told = aegis.both("budget", "forecast")
    lines = shown.splitlines()
    assert lines[0].split() == [
        *("budget", "spent", "expected", "likely", "between", "limit", "empty", "window")
    ]
    assert re.match(r"lending-day +\$0\.00 +\$\d", lines[1])
    assert re.match(
        r"  rests on hours of the week, 2\d days of them; 80 of 100 windows lie in the band", lines[2]
    )
    assert lines[3].startswith("spare")
    assert "nothing was spent that a forecast could rest on" in lines[4]
    assert "not forecast, since balances of runs and customers live too short: each-run" in told
    assert "did you mean `lending-day`?" in aegis.both("budget", "forecast", "lending-dy", code=1)[1]


def test_a_forecast_for_programs(aegis: Aegis) -> None:
    """The same in nano-dollars, with the backtest: hours that are all the same are forecast without an error."""
    (found,) = aegis.json("budget", "forecast", "lending-day", "--backtest")["forecasts"]
    assert ("lending-day", "weeks", 20 * DOLLAR) == (
        found["budget"],
        found["rests_on"],
        found["limit_amount"],
    )
    assert found["spent_amount"] <= found["low_amount"] <= found["expected_amount"] <= found["high_amount"]
    assert [25, 50, 75] == [point["percent"] for point in found["backtest"]]
    assert all(point["mean_error"] < 0.001 for point in found["backtest"])
    first, *_, last = found["burn_down"]
    assert (20 * DOLLAR, 20 * DOLLAR, 0) == (first["ideal"], first["actual"], last["ideal"])
    assert 20 * DOLLAR - found["expected_amount"] == pytest.approx(last["expected"], abs=10)
    assert "each-run" in aegis.both("budget", "forecast", "each-run")[1]


def test_a_backtest_for_people(aegis: Aegis) -> None:
    """Errors beside those of a straight line."""
    shown = aegis.run("budget", "forecast", "lending-day", "--backtest")
    assert re.search(r"lending-day +50 % +2\d +0\.0 % +0\.0 % +\d+ of \d+", shown)
