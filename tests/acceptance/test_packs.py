"""The packs do what they promise: their tests pass, and real calls through a real gateway meet the same decisions."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aegis_gateway.configuration.packs import PACKS, pack_files
from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.entrypoints.cli.main import build
from tests.gateways import (
    CREDENTIAL_VARIABLE,
    Answer,
    Files,
    Gateway,
    ScriptedUpstream,
    answer_with,
    ask,
    assert_books_balance,
    chat_body,
)

pytestmark = pytest.mark.xdist_group("packs")

CHAT = "/v1/chat/completions"
PAY = "/connect/payments/v1/payments"
SEARCH = "/connect/search/v1/search"


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    """The bundled provider and payments API."""
    with UpstreamProcess() as upstream:
        yield upstream


def pack(name: str, address: str) -> Files:
    """A pack as it is written, in front of one upstream, for the tenant that the gateway's keys are of."""
    files = pack_files(name)
    text = files["aegis.yaml"]
    text = re.sub(r"base_url: https://[^/\s]+", f"network: private\n        base_url: {address}", text)
    text = re.sub(r"credential: env:\w+", f"credential: env:{CREDENTIAL_VARIABLE}", text)
    tenant = re.search(r"^tenants:\n  ([a-z]+):", text, re.M)
    assert tenant is not None
    text = text.replace(f"\n  {tenant[1]}:\n", "\n  acme:\n").replace(f"tenant: {tenant[1]}", "tenant: acme")
    return {**files, "aegis.yaml": text}


def pay(gateway: Gateway, agent: str, body: dict[str, object]) -> Answer:
    """One payment."""
    return ask(gateway, "POST", PAY, {"beneficiary": "x", **body}, key=gateway.key(agent))


def aegis(*arguments: object) -> tuple[int, str]:
    """A command's exit code, and all it says."""
    done = CliRunner().invoke(build(), [str(each) for each in arguments])
    return done.exit_code, done.output


@pytest.mark.parametrize("name", PACKS)
def test_a_pack_passes_its_tests(name: str, tmp_path: Path) -> None:
    """`aegis init --pack`, `test` and `plan` go well; a misspelt argument makes both fail, by file and line."""
    directory = tmp_path / "conf"
    store = f"sqlite:{tmp_path / 'aegis.db'}"
    assert 0 == aegis("init", directory, "--pack", name)[0]
    code, told = aegis("test", directory)
    assert 0 == code, told
    assert re.search(r"\d+ passed", told)
    assert 0 == aegis("plan", directory, "--store", store)[0]
    policies = next(path for path in sorted(directory.glob("policies/*.cedar")))
    text = (
        policies.read_text()
        + '\n@id("odd")\nforbid(principal, action, resource)\nwhen { context.args.amuont > 5 };\n'
    )
    policies.write_text(text)
    line = text.count("\n")
    for command in (("test", directory), ("plan", directory, "--store", store)):
        code, told = aegis(*command)
        assert 0 != code
        assert f"{policies}:{line}: policy `odd`" in told.replace("\n", "")


def test_there_is_no_such_pack(tmp_path: Path) -> None:
    """What there is is named, and nothing is written."""
    code, told = aegis("init", tmp_path / "conf", "--pack", "banking")
    assert (1, True) == (code, "there are example, fintech, saas, healthcare" in told)
    assert not (tmp_path / "conf").exists()


@pytest.mark.parametrize(
    ("body", "status", "code", "by"),
    [
        ({"amount": 5000, "currency": "USD"}, 201, None, "treasury-may-pay"),
        ({"amount": "5000.00", "currency": "USD"}, 201, None, "treasury-may-pay"),
        ({"amount": 5000.01, "currency": "USD"}, 403, "approval_required", "payment-ceiling"),
        ({"amount": "5000.01", "currency": "USD"}, 403, "approval_required", "payment-ceiling"),
        ({"amount": 1e9, "currency": "USD"}, 402, "budget_exhausted", "paid-out-day"),
        ({"amount": 0, "currency": "USD"}, 403, "denied_by_policy", "no-payment-of-nothing"),
        ({"amount": 4999, "currency": "GBP"}, 403, "denied_by_policy", "dollars-only"),
        ({"amount": -1, "currency": "USD"}, 400, "invalid_request", None),
        ({"currency": "USD"}, 400, "invalid_request", None),
        ({"amount": None, "currency": "USD"}, 400, "invalid_request", None),
        ({"amount": "many", "currency": "USD"}, 400, "invalid_request", None),
        ({"amount": 5000, "currency": "USD", "amuont": 1}, 201, None, "treasury-may-pay"),
    ],
)
def test_payments(
    payments: Gateway, body: dict[str, object], status: int, code: str | None, by: str | None
) -> None:
    """Up to $5,000 they pass, above a person is asked; what is no amount is refused before anything is decided."""
    before = payments.count()
    answer = pay(payments, "invoice-bot", body)
    assert status == answer.status, answer.body
    if code is not None:
        assert code == answer.code
    if by is None:
        assert before == payments.count()
    else:
        decisions = [entry for entry in payments.entries() if entry["type"] == "decision"]
        assert by in [reason["subject"] for reason in decisions[-1]["reasons"]]


@pytest.fixture(scope="module")
def payments(upstream: UpstreamProcess) -> Iterator[Gateway]:
    """A gateway with the fintech pack, whose rate limit doesn't keep the tests waiting."""
    files = pack("fintech", upstream.base_url)
    files["aegis.yaml"] = files["aegis.yaml"].replace("{limit: 5, every: 1s,", "{limit: 500, every: 1s,")
    with Gateway(files) as gateway:
        yield gateway
        assert_books_balance(gateway)


def test_ten_payments_just_below_the_ceiling(payments: Gateway) -> None:
    """At once, from one agent: five pass, for the day's total bears no sixth; another agent has a total of its own."""
    key = payments.key("refund-bot")
    body = {"amount": 4999, "currency": "USD", "beneficiary": "x"}
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: ask(payments, "POST", PAY, body, key=key), range(10)))
    assert {201: 5, 402: 5} == Counter(answer.status for answer in answers)
    refused = next(answer for answer in answers if answer.status == 402)
    assert "`paid-out-day`" in refused.json["error"]["message"]
    assert "has $5.00 of $25,000.00 left" in refused.json["error"]["message"]
    moved = [
        row["posted"]
        for row in payments.query("select posted, scope from standing where budget = 'paid-out-day'")
        if "refund-bot" in row["scope"]
    ]
    assert [24_995 * 10**9] == moved
    assert 201 == pay(payments, "invoice-bot", {"amount": 1, "currency": "USD"}).status


def test_support_does_not_pay(payments: Gateway) -> None:
    """What no policy permits is refused."""
    answer = pay(payments, "help-bot", {"amount": 1, "currency": "USD"})
    assert (403, "no_permit") == (answer.status, answer.code)


def test_the_saas_pack(upstream: UpstreamProcess) -> None:
    """$20 a day for each agent, 5 requests a second to each API; exhausted, it blocks, and the record says why."""
    files = pack("saas", upstream.base_url)
    with Gateway(files) as gateway:
        keys = [gateway.key("research-bot"), gateway.key("support-bot")]
        body = chat_body("hi", max_tokens=5)
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda n: ask(gateway, "POST", CHAT, body, key=keys[n % 2]), range(20)))
        assert {200, 429} == {answer.status for answer in answers}
        limited = next(answer for answer in answers if answer.status == 429)
        assert 1 == int(limited.headers["retry-after"])
        # In the time that twenty calls take the limit lets five through, and one more each fifth of a second.
        allowed = sorted(
            row["decided_ns"] for row in gateway.query("select decided_ns from call where effect = 'allow'")
        )
        assert all(
            later - first >= 10**9 * 4 // 5 for first, later in zip(allowed, allowed[5:], strict=False)
        )
        # Another API has a limit of its own, and of those who may search only growth does.
        asked = {"query": "prospects", "limit": 2}
        assert 200 == ask(gateway, "POST", SEARCH, asked, key=keys[0]).status
        assert 403 == ask(gateway, "POST", SEARCH, asked, key=keys[1]).status

        # A day's $20 in one call: a budget that is that low refuses it, and the record has who, what, why and how much.
        files["aegis.yaml"] = (
            files["aegis.yaml"]
            .replace("limit: 20.00", "limit: 0.02")
            .replace("{limit: 5, every: 1s,", "{limit: 500, every: 1s,")
        )
        gateway.apply(files)
        while (answer := ask(gateway, "POST", SEARCH, asked, key=keys[0])).status == 200:
            pass
        assert (402, "budget_exhausted") == (answer.status, answer.code)
        (decision,) = [entry for entry in gateway.entries() if entry["type"] == "decision"][-1:]
        assert ("research-bot", "growth", "CC-200", "finds prospects", "search.search", "deny") == tuple(
            decision[name] for name in ("agent", "team", "cost_centre", "purpose", "tool", "effect")
        )
        assert ("budget_exhausted", "agent-day") == (
            decision["reasons"][0]["code"],
            decision["reasons"][0]["subject"],
        )
        assert "left for" in decision["reasons"][0]["message"]
        assert_books_balance(gateway)


def test_outside_production_the_small_model_does(upstream: UpstreamProcess) -> None:
    """The sandbox's calls of the large model are the small one's, and what that saves is in the record."""
    with Gateway(pack("saas", upstream.base_url)) as gateway:
        body = chat_body("hi", model="gpt-4.1", max_tokens=5)
        answer = ask(gateway, "POST", CHAT, body, key=gateway.key("sandbox-bot"))
        assert (200, "gpt-4.1") == (answer.status, answer.headers["aegis-downgraded-from"])
        decision = [entry for entry in gateway.entries() if entry["type"] == "decision"][-1]
        assert int(decision["downgrade"]["saved_nano_usd"]) > 0


def test_the_healthcare_pack() -> None:
    """What stays in the clinic's regions passes; what leaves them, or goes who knows where, is never sent."""
    with (
        ScriptedUpstream(answer_with(b'{"name": "x"}')) as upstream,
        Gateway(pack("healthcare", upstream.base_url)) as gateway,
    ):
        key = gateway.key("discharge-bot")
        assert 200 == ask(gateway, "GET", "/connect/records/v1/patients/p-1", key=key).status
        sent = len(upstream.requests)
        for path in ("/connect/translator/v1/translate", "/connect/fax/v1/faxes"):
            answer = ask(gateway, "POST", path, {"text": "hello"}, key=key)
            assert (403, "denied_by_policy") == (answer.status, answer.code)
            assert "patients' data stays in the clinic's regions" in answer.json["error"]["message"]
        assert sent == len(upstream.requests)


def test_who_a_patient_is_stays_in_the_clinic() -> None:
    """The model's host sees tokens in place of number, birth, record, name, phone and mail; so does the record."""
    said = {
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "noted"}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 40, "completion_tokens": 2},
    }
    who = {
        "patient_name": "Maria Quispe",
        "dob": "1974-03-09",
        "mrn": "MRN 00482913",
        "text": "SSN 536-90-4399, call 212-555-0142 or write to maria.q@mail.example",
    }
    values = ("Maria Quispe", "1974-03-09", "00482913", "536-90-4399", "555-0142", "maria.q@mail.example")
    with (
        ScriptedUpstream(answer_with(json.dumps(said).encode())) as upstream,
        Gateway(pack("healthcare", upstream.base_url)) as gateway,
    ):
        answer = ask(gateway, "POST", CHAT, chat_body(json.dumps(who)), key=gateway.key("discharge-bot"))
        assert 200 == answer.status, answer.body
        (sent,) = upstream.requests
        kept = json.dumps(gateway.entries())
        for value in values:
            assert value.encode() not in sent
            assert value not in kept
        for kind in (b"[NAME:", b"[DOB:", b"[MRN:", b"[SSN:", b"[PHONE:", b"[EMAIL:"):
            assert kind in sent
        decision = [entry for entry in gateway.entries() if entry["type"] == "decision"][-1]
        assert {"phi-is-redacted", "arguments"} <= {reason["subject"] for reason in decision["reasons"]}


def test_a_redirect_out_of_the_regions() -> None:
    """Where a redirect leads nobody said, so the caller doesn't learn it; the call is accounted for all the same."""
    elsewhere = "location: https://abroad.example/patients\r\n"
    script = answer_with(b"{}", status="307 Temporary Redirect", headers=elsewhere)
    with (
        ScriptedUpstream(script) as upstream,
        Gateway(pack("healthcare", upstream.base_url)) as gateway,
    ):
        for method, path, body in (
            ("GET", "/connect/records/v1/patients/p-1", None),
            ("POST", CHAT, chat_body("hi")),
        ):
            answer = ask(gateway, method, path, body, key=gateway.key("discharge-bot"))
            assert (502, "upstream_redirected") == (answer.status, answer.code)
            assert "location" not in answer.headers
            assert "abroad.example" not in json.dumps([answer.headers, answer.json])
            assert gateway.settled()["state"] in ("settled", "in_doubt")
