"""Digests of a real gateway: sent by its steward to where its configuration says, and printed by the command."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from aegis_gateway.entrypoints.cli.main import build
from tests.channels import Receiver, receiver
from tests.gateways import PEPPER, PERMIT_ALL, Gateway, configuration, until

pytestmark = pytest.mark.xdist_group("notifications")

FILES = configuration(
    "http://127.0.0.1:9",
    policies=PERMIT_ALL,
    budgets={"day": "limit: 20.00, period: daily", "quiet": "limit: 1.00, period: daily, mode: shadow"},
)
DIGESTS = """\
    channels:
      hook: {{kind: webhook, url: "{url}/hook", secret: env:HOOK, network: private}}
    digests:
      yesterday: {{every: daily, to: [hook]}}
      quiet: {{every: weekly, what: shadow, hour: 0, to: [hook]}}
"""


@pytest.fixture(scope="module")
def other_side() -> Iterator[Receiver]:
    """Where they are sent."""
    with receiver() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(other_side: Receiver) -> Iterator[Gateway]:
    """A gateway with digests."""
    stated = FILES["aegis.yaml"] + DIGESTS.format(url=other_side.url)
    environment = {"HOOK": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
    with Gateway({**FILES, "aegis.yaml": stated}, environment=environment) as gateway:
        yield gateway


def aegis(gateway: Gateway, *words: str, code: int = 0) -> str:
    """Run `aegis digest show` beside the gateway."""
    environment = {"AEGIS_STORE": gateway.settings.store, "AEGIS_PEPPER": gateway.settings.pepper}
    environment |= {"AEGIS_TEST_PEPPER": PEPPER, "COLUMNS": "200"}
    done = CliRunner(env=environment).invoke(build(), ["digest", "show", *words])
    assert code == done.exit_code, done.output
    return done.output


def test_they_are_sent_once(gateway: Gateway, other_side: Receiver) -> None:
    """Each of them, as facts for programs; killed, the steward's successor sends none again."""
    until(lambda: len(other_side.got) >= 2, "no digest came")
    found = [each.json["data"]["details"] for each in other_side.got]
    told: dict[str, Any] = {each["digest"]: each for each in found}
    assert {"yesterday", "quiet"} == told.keys()
    assert 0 == told["yesterday"]["nano_usd"]
    rule = told["quiet"]["rules"]["budget:quiet"]
    assert "write mode: enforce under budgets: quiet:" == rule["enforce"]
    assert "delete budgets: quiet:" == rule["drop"]
    (steward,) = gateway.stewards()
    os.kill(steward, signal.SIGKILL)
    until(lambda: gateway.stewards() not in ([], [steward]), "there is no other steward")
    assert 2 == gateway.query("select count(*) as made from digest")[0]["made"]
    assert 2 == len(gateway.query("select delivery from delivery where kind = 'digest'"))


def test_they_are_printed(gateway: Gateway) -> None:
    """Of each period, of a budget, of rules in shadow; nothing is sent by that."""
    for every in ("daily", "weekly", "monthly"):
        assert "$0.00 spent" in aegis(gateway, every)
    found = json.loads(aegis(gateway, "daily", "--budget", "day", "--current", "--json"))
    assert ("budget day", [("day", 20_000_000_000)]) == (
        found["of"],
        [(each["budget"], each["limit"]) for each in found["budgets"]],
    )
    assert "budget:quiet" in aegis(gateway, "shadow", "--current")
    assert "there is no digest `hourly`" in aegis(gateway, "hourly", code=2)
    assert "leave one of them out" in aegis(gateway, "daily", "--budget", "day", "--team", "desk", code=2)
    assert "are the whole tenant's" in aegis(gateway, "shadow", "--budget", "day", code=2)
    assert 2 == gateway.query("select count(*) as made from digest")[0]["made"]
