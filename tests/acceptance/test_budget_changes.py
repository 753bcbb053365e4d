"""Limits that change while a configuration is in force, by the command line against a gateway that runs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from aegis_gateway.demo.upstream.process import UpstreamProcess
from tests.gateways import Files, Gateway, ask, configuration, until
from tests.spending import aegis, pay

pytestmark = pytest.mark.xdist_group("packs")

BUDGETS = {
    "bots": "limit: 0.50, period: yearly",
    "traders": "limit: 0.50, period: yearly",
    "house": "limit: 10.00, period: yearly",
    "a": "limit: 2.00, period: yearly, within: house",
    "b": "limit: 2.00, period: yearly, within: house",
    "spare": "limit: 3.00, period: yearly",
}


@pytest.fixture(scope="module")
def gateway(upstream: UpstreamProcess) -> Iterator[Gateway]:
    """A gateway whose two agents live on budgets that bear two payments each."""
    with Gateway(files(upstream)) as gateway:
        yield gateway


def files(upstream: UpstreamProcess, **budgets: str) -> Files:
    """The configuration, with some budgets otherwise."""
    homes = {"bot": "bots", "trader": "traders", "saver": "spare"}
    return configuration(
        upstream.base_url, budgets={**BUDGETS, **budgets}, agents=tuple(homes), agent_budgets=homes
    )


def pays(gateway: Gateway, agent: str = "bot") -> int:
    """One payment of $0.25; its status."""
    return pay(gateway, agent).status


def change(gateway: Gateway, *arguments: str) -> list[dict[str, Any]]:
    """Change limits; what was done."""
    told = aegis(gateway, "budget", *arguments, "--reason", "quarter end", "--json")
    changes: list[dict[str, Any]] = json.loads(told)["changes"]
    return changes


def limit(gateway: Gateway, budget: str) -> str:
    """A limit as it is shown."""
    found: str = json.loads(aegis(gateway, "budget", "show", budget, "--json"))["budgets"][0]["limit"]
    return found


def test_an_increase_decides_the_very_next_call_until_it_ends(gateway: Gateway) -> None:
    """Refused at the limit, passed right after the increase, and refused again once that is over."""
    assert [201, 201, 402] == [pays(gateway) for _ in range(3)]
    (made,) = change(gateway, "increase", "bots", "0.50", "--until", "2s")
    assert [201, "$1.00"] == [pays(gateway), limit(gateway, "bots")]
    # 25 cents of it are left: it is refused for no other reason than that the increase is over.
    until(lambda: time.time_ns() > made["ends_ns"])
    assert [402, "$0.50"] == [pays(gateway), limit(gateway, "bots")]
    assert "is over" in aegis(gateway, "budget", "rollback", str(made["number"]), "--reason", "r", code=1)
    estimate = json.loads(aegis(gateway, "budget", "history", "bots", "--json"))["changes"]
    assert [("increase", "$0.50", "$1.00", "quarter end")] == [
        (each["kind"], each["limit_before_text"], each["limit_after_text"], each["reason"])
        for each in estimate
    ]


def test_what_is_moved_is_the_others(gateway: Gateway) -> None:
    """The giver's next call is refused, the taker's passes; taken back, it is the other way round."""
    assert 201 == pays(gateway, "trader")
    assert "not left of `traders`" in aegis(
        gateway, "budget", "move", "traders", "bots", "0.26", "--reason", "r", code=1
    )
    change(gateway, "increase", "bots", "0.25", "--lasting")  # what it was lent, and spent
    out, _ = change(gateway, "move", "traders", "bots", "0.25")
    assert [402, 201] == [pays(gateway, "trader"), pays(gateway)]
    assert "not left of `bots`" in aegis(
        gateway, "budget", "rollback", str(out["number"]), "--reason", "r", code=1
    )
    change(gateway, "increase", "bots", "0.25", "--lasting")
    again = change(gateway, "rollback", str(out["number"]))
    assert again == change(gateway, "rollback", str(out["number"]))
    assert [201, 402] == [pays(gateway, "trader"), pays(gateway)]


def test_children_are_given_their_parts(gateway: Gateway) -> None:
    """Together no more than the parent has."""
    change(gateway, "split", "house", "a=6.00", "b=4.00")
    assert ["$6.00", "$4.00"] == [limit(gateway, name) for name in "ab"]
    told = aegis(gateway, "budget", "increase", "a", "1", "--lasting", "--reason", "r", code=1)
    assert "the budgets within `house` would add up to more than its limit" in told
    shown = aegis(gateway, "budget", "history", "a")
    assert ("split", "$2.00", "$6.00", "lasting") == tuple(
        word for word in ("split", "$2.00", "$6.00", "lasting") if word in shown
    )


def test_a_version_puts_an_end_to_what_lasts(gateway: Gateway, upstream: UpstreamProcess) -> None:
    """What it configures holds; and what is no amount, no budget or no end is told."""
    change(gateway, "increase", "house", "5", "--lasting")
    change(gateway, "increase", "b", "1", "--until", "1h")
    change(gateway, "split", "house", "b=2.00")
    gateway.apply(files(upstream, b="limit: 3.00, period: yearly, within: house"))
    assert "$4.00" == limit(gateway, "b")
    for wrong, told in (
        (("b", "1"), "say until when"),
        (("b", "1", "--lasting", "--until", "1h"), "either"),
        (("b", "x", "--lasting"), "not a number"),
        (("bb", "1", "--lasting"), "did you mean"),
    ):
        code = 2 if wrong[0] == "b" and wrong[1] == "1" else 1
        said = aegis(gateway, "budget", "increase", *wrong, "--reason", "r", code=code)
        assert told in " ".join(said.split())


def test_a_plan_lists_what_would_end(gateway: Gateway, upstream: UpstreamProcess, tmp_path: Path) -> None:
    """What was done for good to limits that are configured otherwise or dropped; nothing where they stay."""
    change(gateway, "increase", "spare", "5", "--lasting")
    change(gateway, "increase", "traders", "7", "--lasting")
    change(gateway, "increase", "spare", "9", "--until", "1h")

    def planned(budgets: dict[str, str]) -> tuple[list[dict[str, Any]], str]:
        """What a plan says would end, to programs and to people."""
        for name, text in configuration(upstream.base_url, budgets=budgets, agents=("bot",)).items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        known = [aegis(gateway, "plan", str(tmp_path), "--no-replay", *more) for more in (("--json",), ())]
        return json.loads(known[0])["ended_limits"], known[1]

    ended, shown = planned({"spare": "limit: 4.00, period: yearly"})
    assert {
        "tenant": "acme",
        "budget": "spare",
        "configured": "$3.00",
        "lasting": "$8.00",
        "becomes": "$4.00",
    } in ended
    assert "spare: $8.00 instead of $3.00; $4.00 is configured" in shown
    (dropped,) = [each for each in ended if each["budget"] == "traders"]
    assert dropped["becomes"] is None
    assert "; it is gone" in shown
    ended, shown = planned({**BUDGETS, "spare": "limit: 3.00, period: weekly"})
    assert [] == [each for each in ended if each["budget"] in ("spare", "traders")]


def test_an_estimate_tells_the_raised_limit(gateway: Gateway) -> None:
    """What is left of a budget is of the limit that is in force, and so is what would be decided."""
    asked = {"tool": "api.pay", "arguments": {"amount": 1, "currency": "USD", "beneficiary": "x"}}

    def estimated() -> tuple[str, str, str]:
        """The effect, and the limit and what is left of the budget."""
        told = ask(gateway, "POST", "/v1/estimates", asked, key=gateway.key("saver")).json
        (found,) = [each for each in told["budgets"] if each["budget"] == "spare"]
        return told["effect"], found["limit"], found["left"]

    before = estimated()
    change(gateway, "increase", "spare", "1.00", "--until", "1h")
    assert ("allow", Decimal(1)) == (before[0], Decimal(estimated()[1]) - Decimal(before[1]))
    assert Decimal(1) == Decimal(estimated()[2]) - Decimal(before[2])
