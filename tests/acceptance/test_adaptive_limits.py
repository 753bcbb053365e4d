"""Limits that follow use, on a gateway that runs: its steward changes them, or asks; people see why, and act."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from typer.testing import CliRunner

from aegis_gateway.adapters.stores import open_store
from aegis_gateway.application.ports import Changes, StandingRow
from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.domain.ledger import Standing
from aegis_gateway.domain.registry import Budget
from aegis_gateway.entrypoints.cli.main import build
from tests.browsers import Staff
from tests.gateways import PEPPER, Gateway, ask, configuration, until
from tests.ledgers import DAY_NS

pytestmark = pytest.mark.xdist_group("packs")

FOLLOWS = "limit: 0.50, period: daily, adapts: {every: daily, floor: 0.10, ceiling: 5.00, most_change: 50%"
BUDGETS = {
    "plain": "limit: 5.00, period: daily",
    "self": f"{FOLLOWS}, applies: automatic}}",
    "asks": f"{FOLLOWS}, applies: approval}}",
}
AGENTS = {"bot": "self", "other": "asks"}
CENT = 10_000_000


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """A gateway whose budgets were used a lot on the last ten days; its steward has just begun."""
    with UpstreamProcess() as upstream:
        files = configuration(upstream.base_url, budgets=BUDGETS, agents=tuple(AGENTS), agent_budgets=AGENTS)
        with Gateway(files) as gateway:
            gateway.stop()
            spend(gateway)
            gateway.start()
            yield gateway


def spend(gateway: Gateway) -> None:
    """Have 90 cents used of budgets on each of the last ten days."""
    rows = []
    for name in AGENTS.values():
        day = Budget(id=name, owner="", deputy=None, quantity="usd", limit=1, period="daily", zone="UTC")
        for back in range(1, 11):
            window = day.window(time.time_ns() - back * DAY_NS)
            standing = Standing(posted=90 * CENT)
            rows.append(
                StandingRow(
                    tenant="acme", budget=name, scope="", window=window, quantity="usd", standing=standing
                )
            )
    with closing(open_store(gateway.settings.store)) as store, store.change(["acme"]) as change:
        change.write(Changes(standings=rows))


def aegis(gateway: Gateway, *arguments: str, code: int = 0, token: str = "") -> str:
    """What the command line says, to somebody with a token."""
    settings = gateway.settings
    env = {
        "AEGIS_PEPPER": settings.pepper,
        "AEGIS_TEST_PEPPER": PEPPER,
        "AEGIS_SIGNING_KEY": settings.signing_key,
        "AEGIS_TOKEN": token,
        "COLUMNS": "150",
    }
    done = CliRunner().invoke(build(), [*arguments, "--store", settings.store], env=env)
    assert code == done.exit_code, done.output
    return done.output


def pay(gateway: Gateway, agent: str) -> int:
    """One payment of $0.25; its status."""
    body = {"amount": 1, "currency": "USD", "beneficiary": "x"}
    return ask(gateway, "POST", "/connect/api/v1/payments", body, key=gateway.key(agent)).status


def limit(gateway: Gateway, budget: str) -> str:
    """A limit as it is shown."""
    found: str = json.loads(aegis(gateway, "budget", budget, "--json"))["budgets"][0]["limit"]
    return found


def test_the_steward_adapts_a_limit(gateway: Gateway) -> None:
    """The very next call is decided by it; its reasons stand in the history; taken back, it was never more."""
    until(lambda: "$0.75" == limit(gateway, "self"))
    assert [201, 201, 201, 402] == [pay(gateway, "bot") for _ in range(4)]
    (made,) = json.loads(aegis(gateway, "budget", "history", "self", "--json"))["changes"]
    assert ("adaptive", "aegis", "aegis") == (made["kind"], made["asked_by"], made["approver"])
    assert "the median of 8 windows is $0.9" in made["reason"]
    shown = aegis(gateway, "budget", "adapt", "self")
    assert "stays as it is" in shown
    assert "adapted in this turn already" in shown
    aegis(gateway, "budget", "rollback", str(made["number"]), "--reason", "too much")
    assert "$0.50" == limit(gateway, "self")


def test_the_steward_asks_and_a_grant_puts_it_in_force(gateway: Gateway) -> None:
    """People see what was used and why; their yes changes the limit."""
    until(lambda: bool(gateway.query("select 1 from approval where about = 'budget:asks'")))
    (asked,) = json.loads(aegis(gateway, "approvals", "--json"))["approvals"]
    assert ("limit", "budget:asks") == (asked["kind"], asked["about"])
    shown = aegis(gateway, "approvals", "show", asked["id"])
    for part in (
        "budget asks of ana@acme.example",
        "$0.50 → $0.75",
        "the median of 8 windows is $0.90",
        ": $0.90,",
    ):
        assert part in shown
    shown = aegis(gateway, "budget", "adapt", "asks")
    for part in ("limit $0.50 → $0.75", "after a person's word", "the median of 8 windows", "█"):
        assert part in shown
    assert 10 <= shown.count("█" * 10)
    told = json.loads(aegis(gateway, "budget", "adapt", "asks", "--json"))
    assert (True, 75 * CENT, "most_change", 10) == (
        told["changes"],
        told["limit_amount"],
        told["bound"],
        len(told["windows"]),
    )
    assert "doesn't follow use" in aegis(gateway, "budget", "adapt", "plain", code=1)
    aegis(gateway, "approvals", "grant", asked["id"], "--reason", "more customers")
    assert "$0.75" == limit(gateway, "asks")
    assert [201, 201, 201, 402] == [pay(gateway, "other") for _ in range(4)]
    assert "the limit of `asks` stays" in aegis(gateway, "budget", "adapt", "asks", "--apply", code=1)


def test_the_api_tells_the_same(gateway: Gateway) -> None:
    """As the command does; a budget that doesn't follow use has none."""
    staff = Staff(gateway)
    told = ask(gateway, "GET", "/api/v1/budgets/asks/adaptation", key=staff.tokens["ana"])
    assert 200 == told.status, told.body
    aside = ("at", "tenant")
    shown = {**told.json, **dict.fromkeys(aside)}
    command = json.loads(aegis(gateway, "budget", "adapt", "asks", "--json", token=staff.tokens["ana"]))
    assert {**command, **dict.fromkeys(aside)} == shown
    for name in ("plain", "nothing"):
        refused = ask(gateway, "GET", f"/api/v1/budgets/{name}/adaptation", key=staff.tokens["ana"])
        assert 404 == refused.status
