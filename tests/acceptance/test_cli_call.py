"""`aegis call` and `aegis estimate`, on a gateway that has answered real calls."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.domain.money import nano_usd
from tests.gateways import CREDENTIAL_VARIABLE, PEPPER, Gateway, ask, chat_body, configuration

pytestmark = pytest.mark.xdist_group("cli-call")

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """A gateway whose agents have a daily and a rolling budget."""
    budgets = {
        "day": "limit: 5.00, period: daily",
        "hour": "limit: 0.001, period: rolling, length: 1h, match: {tool: chat, agent: bot}",
        "large": "limit: 0.0003, period: daily, kind: soft, match: {agent: torn, model: gpt-4.1}",
    }
    policies = (
        '@id("all-may") permit(principal, action, resource);\n'
        '@id("never") @reason("this one never may") forbid(principal == Agent::"barred", action, resource);\n'
        '@id("down") @effect("downgrade") @model("gpt-4o-mini") forbid(principal == Agent::"torn", action, resource)\n'
        "when { context.budget.utilisation >= 50 };\n"
    )
    with UpstreamProcess(apps="provider") as upstream:
        files = configuration(
            upstream.base_url, budgets=budgets, agents=("bot", "barred", "torn"), policies=policies
        )
        with Gateway(files) as gateway:
            yield gateway


def aegis(gateway: Gateway, *arguments: str, given: str | None = None, code: int = 0) -> tuple[str, str]:
    """Run the command beside the gateway; what it printed."""
    environment = {
        **os.environ,
        "AEGIS_STORE": gateway.settings.store,
        "AEGIS_PEPPER": gateway.settings.pepper,
        "AEGIS_SIGNING_KEY": gateway.settings.signing_key,
        "AEGIS_TEST_PEPPER": PEPPER,
        CREDENTIAL_VARIABLE: "x",
    }
    command = [str(Path(sys.executable).with_name("aegis")), *arguments]
    run = subprocess.run(command, env=environment, input=given, capture_output=True, text=True, check=False)
    assert code == run.returncode, run.stderr
    return run.stdout, run.stderr


def told(gateway: Gateway, *arguments: str, given: str | None = None, code: int = 0) -> Any:
    """The same for a program."""
    return json.loads(aegis(gateway, *arguments, "--json", given=given, code=code)[0])


def test_a_call_in_full(gateway: Gateway) -> None:
    """Who, what, why, the quote, each charge, each budget and each step, from its id alone."""
    answer = ask(gateway, "POST", CHAT, chat_body("hi [[tokens=20]][[cached=2]]", max_tokens=90))
    call = answer.headers["aegis-decision-id"]
    shown, _ = aegis(gateway, "call", call)
    for words in (
        f"{call}  ✓ allow  settled",
        "agent bot, team desk",
        "chat on gpt-4o-mini through provider",
        answer.headers["aegis-run-id"],
        "90 tokens of output",
        "cache read",
        "last 1 h",
        "decided",
        "settled",
    ):
        assert words in shown
    record = told(gateway, "call", call)
    assert ["decision", "settlement"] == [entry["type"] for entry in record["entries"]]
    assert [call] == record["attempts"]
    assert f"${answer.headers['aegis-cost-usd']}" == record["cost"]


def test_a_refused_call(gateway: Gateway) -> None:
    """It says why, in the policy's words, and that it cost nothing."""
    answer = ask(gateway, "POST", CHAT, chat_body("hi"), key=gateway.key("barred"))
    shown, _ = aegis(gateway, "call", answer.headers["aegis-decision-id"])
    assert "✗ deny  refused" in shown
    assert "because this one never may (never)" in shown


def test_attempts_of_one_request(gateway: Gateway) -> None:
    """What a client's library tried by itself is shown together, whichever attempt one asks for; not what came anew."""
    for _ in range(2):
        with (
            OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key(), max_retries=2) as client,
            pytest.raises(openai.InternalServerError),
        ):
            client.chat.completions.create(
                model="gpt-4o-mini",
                messages=[{"role": "user", "content": "again [[fail=500]]"}],
                max_tokens=9,
            )
    calls = [each["call"] for each in gateway.calls()][-6:]
    for mine in calls[:3]:
        assert calls[:3] == told(gateway, "call", mine)["attempts"]
    for mine in calls[3:]:
        assert calls[3:] == told(gateway, "call", mine)["attempts"]
    assert "attempt   2, by the client itself" in aegis(gateway, "call", calls[1])[0]


def test_no_such_call(gateway: Gateway) -> None:
    """It is said, with how to find one."""
    assert "`aegis calls` lists them" in aegis(gateway, "call", "call_x", code=1)[1]


@pytest.mark.parametrize(
    ("api", "body", "code"),
    [
        ("chat", chat_body("hi", max_tokens=50), 0),
        ("responses", {"model": "gpt-4o-mini", "input": "hi", "max_output_tokens": 50}, 0),
        ("chat", chat_body("hi", max_tokens=50, service_tier="priority"), 3),
        ("chat", chat_body("hi", model="nobody"), 3),
        (
            "messages",
            {"model": "gpt-4o-mini", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]},
            3,
        ),
    ],
)
def test_an_estimate(gateway: Gateway, api: str, body: dict[str, Any], code: int) -> None:
    """A request is priced, judged and held against budgets as it would be, and nothing is recorded."""
    before = gateway.count()
    record = told(gateway, "estimate", "-", "--agent", "bot", "--api", api, given=json.dumps(body), code=code)
    assert (code == 3) == bool(record["refused"])
    assert before == gateway.count()


def test_an_estimate_is_what_is_reserved(gateway: Gateway, tmp_path: Path) -> None:
    """Expected and maximum are those of the call itself, for the same bytes."""
    body = chat_body("hi [[tokens=5]]", max_tokens=50)
    file = tmp_path / "request.json"
    file.write_text(json.dumps(body))
    estimated = told(gateway, "estimate", str(file), "--agent", "bot")
    answer = ask(gateway, "POST", CHAT, file.read_bytes())
    row = gateway.call(answer.headers["aegis-decision-id"])
    assert (row["expected_nano_usd"], row["maximum_nano_usd"]) == (
        nano_usd(estimated["expected_usd"]),
        nano_usd(estimated["maximum_usd"]),
    )


def test_an_estimate_that_a_policy_refuses(gateway: Gateway) -> None:
    """It says which, before anything is sent."""
    shown, _ = aegis(
        gateway, "estimate", "-", "--agent", "barred", given=json.dumps(chat_body("hi", max_tokens=9)), code=3
    )
    assert "this one never may" in shown


def test_an_estimate_that_goes_back_and_forth(gateway: Gateway) -> None:
    """A call that is downgraded by a budget that it then doesn't count on has no estimate, and is told why."""
    body = chat_body("hi [[tokens=20]]", model="gpt-4.1", max_tokens=20)
    asked = ("estimate", "-", "--agent", "torn")
    assert "gpt-4.1" == told(gateway, *asked, given=json.dumps(body))["model"]
    assert 200 == ask(gateway, "POST", CHAT, body, key=gateway.key("torn")).status
    assert "count on the same budgets" in aegis(gateway, *asked, given=json.dumps(body), code=1)[1]


def test_an_estimate_for_a_person(gateway: Gateway) -> None:
    """A prompt alone: its lines, what each budget bears, and which models are cheaper."""
    shown, _ = aegis(gateway, "estimate", "--prompt", "hello " * 50, "--model", "gpt-4.1", "--agent", "bot")
    for words in (
        "gpt-4.1  expected $",
        "input",
        "output",
        "✓ allow",
        "budget day has",
        "bears it",
        "gpt-4o-mini",
    ):
        assert words in shown


def test_an_estimate_of_a_tool(gateway: Gateway) -> None:
    """It has its arguments checked, and its price read from them."""
    given = json.dumps({"amount": 5, "currency": "EUR"})
    record = told(gateway, "estimate", "-", "--tool", "api.pay", "--agent", "bot", given=given)
    assert ("0.25", "0.25", "allow") == (record["expected_usd"], record["maximum_usd"], record["effect"])
    _, fault = aegis(gateway, "estimate", "-", "--tool", "api.pay", "--agent", "bot", given="{}", code=1)
    assert "`arguments.amount`" in fault


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--agent", "bot"), "an estimate is of a `tool`"),
        (("nowhere.json", "--agent", "bot"), "`nowhere.json` cannot be read"),
        (("-", "--agent", "nobody"), "there is no agent `nobody`"),
        (("-", "--agent", "bot", "--api", "smoke"), "`smoke` is no API"),
    ],
)
def test_estimates_of_nothing(gateway: Gateway, arguments: tuple[str, ...], words: str) -> None:
    """What is wrong is said in a line."""
    given = json.dumps(chat_body("hi"))
    assert words in aegis(gateway, "estimate", *arguments, given=given, code=1)[1]
