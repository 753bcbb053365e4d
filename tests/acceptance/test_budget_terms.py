"""Budgets in another currency, and what they carry over, through the gateway and the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw
import pytest

from aegis_gateway.demo.upstream.process import UpstreamProcess
from tests.gateways import TENANT, Files, Gateway, ask, configuration
from tests.spending import aegis, pay

pytestmark = pytest.mark.xdist_group("packs")

BUDGETS = {
    "euros": "limit: 0.40, currency: EUR, period: yearly",
    "leftovers": "limit: 1.00, period: daily, carry_over: {most: 0.50, expires: 24h}",
    "weeks": "limit: 0.50, period: monthly, calendar: fiscal",
}
HOMES = {"bot": "leftovers", "trader": "euros", "shop": "weeks"}
YEAR = "{weeks: 4-5-4, ends: nearest saturday to january 31}"
SECOND_NS = 1_000_000_000


@pytest.fixture(scope="module")
def gateway(upstream: UpstreamProcess) -> Iterator[Gateway]:
    """A gateway, with a euro of $1.50 when the year began."""
    with Gateway(files(upstream, "{2020-01-01: 1.5}")) as gateway:
        yield gateway


def files(upstream: UpstreamProcess, rates: str) -> Files:
    """The configuration with a table of rates."""
    made = configuration(upstream.base_url, budgets=BUDGETS, agents=tuple(HOMES), agent_budgets=HOMES)
    tenant = f"    currencies: {{EUR: {rates}}}\n    fiscal_year: {YEAR}\n    agents:\n"
    text = made["aegis.yaml"].replace("    agents:\n", tenant, 1)
    return {**made, "aegis.yaml": text}


def budgets(gateway: Gateway) -> dict[str, dict[str, Any]]:
    """All budgets as programs read them."""
    return {each["budget"]: each for each in json.loads(aegis(gateway, "budget", "--json"))["budgets"]}


def test_a_budget_in_euros(gateway: Gateway, upstream: UpstreamProcess) -> None:
    """40 cents at $1.50 bear two payments; a dearer euro bears no more in a window that is open, and is shown."""
    assert "600000000" == str(budgets(gateway)["euros"]["limit_nano_usd"])
    assert [201, 201] == [pay(gateway, "trader").status for _ in range(2)]
    yesterday = (datetime.now(tz=UTC) - timedelta(days=1)).date()
    gateway.apply(files(upstream, f"{{2020-01-01: 1.5, {yesterday}: 2.0, 2190-01-01: 9}}"))
    refused = pay(gateway, "trader")
    assert 402 == refused.status
    year = datetime.now(tz=UTC).year
    assert (
        f"budget `euros` has 0.066667 EUR ($0.10) of 0.40 EUR ($0.60) left for {year} at $1.50 a EUR of 2020-01-01 "
        "and the call may need 0.166667 EUR ($0.25)"
    ) in json.dumps(refused.json)
    found = budgets(gateway)["euros"]
    assert ("EUR", "1.5", "2020-01-01", "2", str(yesterday)) == tuple(
        found[name] for name in ("currency", "rate_usd", "rate_of", "rate_today_usd", "rate_today_of")
    )
    assert ("0.40", "$0.60", 200_000_000) == (
        f"{float(found['limit_in_currency']):.2f}", found["limit"], found["limit_today_differs_by_nano_usd"],
    )  # fmt: skip
    told = aegis(gateway, "budget", "euros")
    assert "hard, 0.40 EUR yearly" in told
    assert "left 0.066667 EUR of 0.40 at $1.50 a EUR of 2020-01-01, fixed for this window" in told
    assert f"today's rate is $2.00 a EUR of {yesterday}: the limit would be $0.20 more" in told


def test_what_was_left_yesterday(gateway: Gateway) -> None:
    """It is seen before the day's first call and after it, and what an answer says is left has it too."""
    today = datetime.now(tz=UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    yesterday = today - timedelta(days=1)
    bounds = [int(day.timestamp()) * SECOND_NS for day in (yesterday, today)]
    with closing(apsw.Connection(gateway.settings.store.removeprefix("sqlite:"))) as connection:
        connection.execute(
            'insert into standing (tenant, budget, scope, "window", quantity, starts_ns, ends_ns, pending, posted)'
            " values (?, 'leftovers', '', ?, 'usd', ?, ?, 0, 600000000)",
            (TENANT, str(yesterday.date()), *bounds),
        )
    before = budgets(gateway)["leftovers"]
    asked = {"tool": "api.pay", "arguments": {"amount": 1, "currency": "USD"}}
    (estimated,) = ask(gateway, "POST", "/v1/estimates", asked, key=gateway.key("bot")).json["budgets"]
    assert ("1.4", "1.4", True) == (estimated["limit"], estimated["left"], estimated["fits"])
    assert ("$0.40", "$1.40", "$1.40") == (before["carried"], before["limit"], before["left"])
    answer = pay(gateway, "bot")
    assert 201 == answer.status
    after = budgets(gateway)["leftovers"]
    assert ("$0.40", "$1.40", "$1.15") == (after["carried"], after["limit"], after["left"])
    told = aegis(gateway, "budget", "leftovers")
    assert "$0.40 of the limit is carried over from the window before, for the first 1d of it" in told


def test_a_window_without_a_rate_is_not_applied(
    gateway: Gateway, upstream: UpstreamProcess, tmp_path: Path
) -> None:
    """A table that begins after the year did is refused when it is planned, with currency and date."""
    for path, text in files(upstream, "{2190-01-01: 1.5}").items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    told = aegis(gateway, "plan", str(tmp_path), code=1)
    year = datetime.now(tz=UTC).year
    assert f"is EUR, and no rate of it is dated {year}-01-01" in " ".join(told.split())


def test_a_period_of_weeks(gateway: Gateway) -> None:
    """Calls count in the period of the fiscal year, which has four weeks or five, and begins on a Sunday."""
    assert [201, 201, 402] == [pay(gateway, "shop").status for _ in range(3)]
    found = budgets(gateway)["weeks"]
    days, rest = divmod(found["window_ends_ns"] - found["window_starts_ns"], 86_400 * SECOND_NS)
    assert (True, 0) == (days in (28, 35), rest)
    assert re.fullmatch(r"FY20\d\d-P(0[1-9]|1[0-2])", found["window"])
    assert 7 == datetime.fromtimestamp(found["window_starts_ns"] // SECOND_NS, tz=UTC).isoweekday()
