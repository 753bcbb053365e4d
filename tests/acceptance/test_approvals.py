"""Payments above the ceiling wait for a person, on a real gateway: what exactly their word lets through."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.entrypoints.cli.main import build
from tests.acceptance.test_mcp import TOOLS, message_of
from tests.acceptance.test_mcp import call as mcp_call
from tests.acceptance.test_mcp import files as mcp_files
from tests.acceptance.test_packs import pack
from tests.acceptance.test_replay import written
from tests.gateways import HOST, PEPPER, PERMIT_ALL, Files, Gateway, ask, assert_books_balance, until
from tests.scripted_mcp import ScriptedServer

pytestmark = pytest.mark.xdist_group("packs")

PAY = "/connect/payments/v1/payments"


@pytest.fixture(scope="module")
def files() -> Iterator[Files]:
    """The bundled pack for payments, in front of the bundled payments API."""
    with UpstreamProcess() as upstream:
        made = pack("fintech", upstream.base_url)
        text = made["aegis.yaml"].replace("limit: 25000.00", "limit: 250000.00")
        held = "    name: Fintech\n    customers: {c1: {name: One}, c2: {name: Two}}\n    approvals: {hold: 20s}\n"
        yield {**made, "aegis.yaml": text.replace("    name: Fintech\n", held)}


@pytest.fixture(scope="module")
def bank(files: Files) -> Iterator[Gateway]:
    """A gateway under it."""
    with Gateway(files) as gateway:
        yield gateway


def pay(gateway: Gateway, amount: object, **headers: str) -> Any:
    """One payment of the agent that may pay."""
    body = {"amount": amount, "currency": "USD", "beneficiary": "x"}
    return ask(gateway, "POST", PAY, body, key=gateway.key("invoice-bot"), headers=headers)


def aegis(gateway: Gateway, *arguments: str) -> tuple[int, str]:
    """A command on the gateway's store."""
    settings = {"AEGIS_PEPPER": gateway.settings.pepper, "AEGIS_TEST_PEPPER": PEPPER}
    done = CliRunner(env=settings).invoke(build(), [*arguments, "--store", gateway.settings.store])
    return done.exit_code, done.output


def shown(gateway: Gateway, approval: str) -> dict[str, Any]:
    """How a request stands."""
    found: dict[str, Any] = json.loads(aegis(gateway, "approvals", "show", approval, "--json")[1])
    return found


def acts(gateway: Gateway, approval: str) -> list[str]:
    """What the record says of a request."""
    return [
        entry["act"] for entry in gateway.entries() if entry.get("approval") == approval and "act" in entry
    ]


def test_a_payment_above_the_ceiling(bank: Gateway) -> None:
    """It asks, a person agrees, exactly it goes through, once; a second one asks again."""
    assert 201 == pay(bank, 5000).status
    asked = pay(bank, "5000.01")
    about = asked.json["error"]["approval"]
    assert (403, "approval_required", "waiting") == (asked.status, asked.code, about["state"])
    assert f"/v1/approvals/{about['id']}" == about["status_url"]
    assert (
        about["id"] == asked.headers["aegis-approval-id"] == pay(bank, "5000.01").headers["aegis-approval-id"]
    )
    code, listed = aegis(bank, "approvals")
    assert (0, True) == (code, about["id"] in listed)
    found = shown(bank, about["id"])
    assert ("invoice-bot", "payments.create-payment", "5000.01", ["payments above $5,000 need a person"]) == (
        found["requester"],
        found["about"],
        str(found["facts"]["arguments"]["amount"]),
        [each["words"] for each in found["facts"]["policies"]],
    )
    assert "$5,000.01 paid out" == found["facts"]["moves"]
    assert "$5,000.01 paid out" in aegis(bank, "approvals")[1]
    assert 0 == aegis(bank, "approvals", "grant", about["id"], "--reason", "known vendor")[0]
    assert 403 == pay(bank, "5000.02").status
    done = pay(bank, "5000.01")
    assert (201, about["id"]) == (done.status, done.headers["aegis-approval-id"])
    again = pay(bank, "5000.01")
    assert (403, "approval_required") == (again.status, again.code)
    assert about["id"] != again.headers["aegis-approval-id"]
    assert ["request", "grant", "use"] == acts(bank, about["id"])
    assert done.headers["aegis-decision-id"] == shown(bank, about["id"])["used_by"]
    decision = next(
        entry
        for entry in bank.entries()
        if entry["type"] == "decision" and entry["call"] == done.headers["aegis-decision-id"]
    )
    assert f"`{found_by(bank, about['id'])}` agreed to this: known vendor" in [
        reason["message"] for reason in decision["reasons"]
    ]
    assert_books_balance(bank)


def found_by(gateway: Gateway, approval: str) -> str:
    """Who answered a request."""
    (answer,) = shown(gateway, approval)["answers"]
    return str(answer["by"])


def test_used_twice_refused_and_another_ones(bank: Gateway) -> None:
    """Each is refused, and recorded: what is used up, what was refused, what was given for another payment."""
    first, other = (pay(bank, amount).json["error"]["approval"]["id"] for amount in (6001, 6002))
    aegis(bank, "approvals", "grant", first)
    wrong = pay(bank, 6002, **{"aegis-approval-id": first})
    assert (403, "approval_not_valid") == (wrong.status, wrong.code)
    assert 201 == pay(bank, 6001, **{"aegis-approval-id": first}).status
    assert "approval_not_valid" == pay(bank, 6001, **{"aegis-approval-id": first}).code
    assert 0 == aegis(bank, "approvals", "refuse", other, "--reason", "not this one")[0]
    assert (3, True) == ((late := aegis(bank, "approvals", "grant", other))[0], "is refused by" in late[1])
    refused = pay(bank, 6002)
    assert (403, "approval_refused", "not this one") == (
        refused.status,
        refused.code,
        refused.json["error"]["approval"]["reason"],
    )
    assert ["request", "refuse", "not_taken"] == acts(bank, other)
    codes = [entry["reasons"][0]["code"] for entry in bank.entries() if entry["type"] == "decision"]
    assert ["approval_not_valid", "approval_refused"] == sorted(
        {*codes} & {"approval_not_valid", "approval_refused"}
    )


def test_a_payment_for_another_customer(bank: Gateway) -> None:
    """What was agreed to for one customer isn't agreed to for another, or for none."""
    first, second = ({"aegis-customer": each} for each in ("c1", "c2"))
    asked = pay(bank, 6400, **first).headers["aegis-approval-id"]
    assert ("c1", 0) == (
        shown(bank, asked)["facts"]["customer"],
        aegis(bank, "approvals", "grant", asked)[0],
    )
    others = [pay(bank, 6400, **second), pay(bank, 6400)]
    assert [403, 403] == [each.status for each in others]
    assert 201 == pay(bank, 6400, **first).status
    for each in others:
        aegis(bank, "approvals", "refuse", each.headers["aegis-approval-id"], "--reason", "not asked for")


def test_many_are_agreed_to_after_they_were_shown(bank: Gateway) -> None:
    """The command shows those that are told together and asks; what came since is not agreed to with them."""
    asked = [pay(bank, 6500 + number).json["error"]["approval"]["id"] for number in range(6)]
    together = [each for each in asked if shown(bank, each)["group"]][-2:]
    code, said = aegis(bank, "approvals", "grant", together[0], "--together")
    assert (1, True, True) == (code, together[1] in said, "amount 6505" in said)
    assert ["waiting"] * 2 == [shown(bank, each)["state"] for each in together]
    assert 0 == aegis(bank, "approvals", "grant", together[0], "--together", "--yes")[0]
    assert ["granted"] * 2 == [shown(bank, each)["state"] for each in together]
    for each in asked:
        aegis(bank, "approvals", "refuse", each, "--reason", "enough")


def test_how_it_stands(bank: Gateway) -> None:
    """The agent that asked is told, at once or as soon as somebody has answered; others have no such request."""
    about = pay(bank, 7001).json["error"]["approval"]
    url, mine = about["status_url"], bank.key("invoice-bot")
    assert ("waiting", about["expires_at"]) == (
        (now := ask(bank, "GET", url, key=mine).json)["state"],
        now["expires_at"],
    )
    assert 404 == ask(bank, "GET", url, key=bank.key("help-bot")).status
    assert 401 == ask(bank, "GET", url, key=None).status
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, bank, "GET", f"{url}?wait=30", key=mine)
        assert 0 == aegis(bank, "approvals", "grant", about["id"])[0]
        assert "granted" == waiting.result(timeout=5).json["state"]
    assert "use_until" in ask(bank, "GET", url, key=mine).json


def test_a_connection_that_is_held(bank: Gateway) -> None:
    """It goes on by itself once somebody agreed, and ends as it would have at once when it was waited for in vain."""
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(pay, bank, 8001, **{"aegis-approval-wait": "20"})
        assert 0 == aegis(bank, "approvals", "grant", asked_for(bank, "8001"))[0]
        assert 201 == held.result(timeout=10).status
    in_vain = pay(bank, 8002, **{"aegis-approval-wait": "1"})
    assert (403, "approval_required") == (in_vain.status, in_vain.code)
    assert 400 == pay(bank, 8003, **{"aegis-approval-wait": "soon"}).status
    assert_books_balance(bank)


def test_who_leaves_leaves_nothing_behind(bank: Gateway) -> None:
    """A grant that comes after the caller has left is there for who repeats the call, and nothing was sent."""
    before = bank.count()
    with socket.create_connection((HOST, bank.settings.port)) as caller:
        body = b'{"amount": 9001, "currency": "USD", "beneficiary": "x"}'
        head = f"POST {PAY} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {bank.key('invoice-bot')}\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\naegis-approval-wait: 20\r\n\r\n"
        caller.sendall(head.encode() + body)
        approval = asked_for(bank, "9001")
    assert 0 == aegis(bank, "approvals", "grant", approval)[0]
    assert (before + 1, "granted") == (bank.count(), shown(bank, approval)["state"])
    assert 201 == pay(bank, 9001).status


def asked_for(gateway: Gateway, amount: str) -> str:
    """The request about a payment, as soon as there is one."""
    found: list[str] = []

    def is_there() -> bool:
        listed = json.loads(aegis(gateway, "approvals", "--json")[1])["approvals"]
        found.extend(each["id"] for each in listed if str(each["facts"]["arguments"]["amount"]) == amount)
        return bool(found)

    until(is_there)
    return found[0]


def test_changed_policies_and_time(bank: Gateway, files: Files) -> None:
    """A grant lapses when the policies are others, and when it isn't used in time. Both are recorded."""
    lapsed = pay(bank, 6101).json["error"]["approval"]["id"]
    assert 0 == aegis(bank, "approvals", "grant", lapsed)[0]
    shorter = files["aegis.yaml"].replace("{hold: 20s}", "{hold: 20s, valid_for: 1s}")
    more = '@id("more")\nforbid(principal, action, resource) when { principal.purpose == "none" };\n'
    bank.apply({**files, "policies/more.cedar": more, "aegis.yaml": shorter})
    again = pay(bank, 6101)
    assert "approval_required" == again.code
    assert ("lapsed", ["request", "grant", "lapse"]) == (shown(bank, lapsed)["state"], acts(bank, lapsed))
    late = again.json["error"]["approval"]["id"]
    assert 0 == aegis(bank, "approvals", "grant", late)[0]
    until(lambda: "lapsed" == shown(bank, late)["state"])  # nobody called: the steward let its time pass
    refused = pay(bank, 6101, **{"aegis-approval-id": late})
    assert (403, "approval_not_valid") == (refused.status, refused.code)
    assert_books_balance(bank)


def test_a_replay_knows_what_was_agreed_to(files: Files, tmp_path: Path) -> None:
    """Under the policies that asked, what a person let through is let through; where others ask, it would be asked."""
    more = '@id("more")\n@effect("require_approval")\nforbid(principal, action, resource);\n'
    directory = written({**files, "policies/more.cedar": more}, tmp_path)
    with Gateway(files) as gateway:
        approval = pay(gateway, 6201).json["error"]["approval"]["id"]
        assert 0 == aegis(gateway, "approvals", "grant", approval)[0]
        done = pay(gateway, 6201)
        assert 201 == done.status
        (unchanged,) = json.loads(aegis(gateway, "replay", "--json")[1])["tenants"]
        (changed,) = json.loads(aegis(gateway, "replay", str(directory), "--json")[1])["tenants"]
    assert ([], []) == (unchanged["changes"], unchanged["in_force"]["differs"])
    assert [("asked", done.headers["aegis-decision-id"])] == [
        (each["kind"], call)
        for each in changed["changes"]
        for call in each["examples"]
        if each["kind"] == "asked"
    ]


def test_a_tool_of_an_mcp_server() -> None:
    """The model is told in words what waits and until when; the same call passes once somebody agreed."""
    asks = '@id("asks")\n@effect("require_approval")\nforbid(principal, action == Action::"bank.pay", resource);\n'
    with ScriptedServer(TOOLS) as server:
        made = mcp_files(server.url, policies=PERMIT_ALL + asks)
        text = made["aegis.yaml"].replace("    teams:\n", "    approvals: {hold: 20s}\n    teams:\n", 1)
        with Gateway({**made, "aegis.yaml": text}) as gateway:
            asked = mcp_call(gateway, "pay", {"amount": 1}).json["result"]
            about = asked["_meta"]["aegis/call"]["approval"]
            assert (True, True) == (asked["isError"], about["id"] in asked["content"][0]["text"])
            assert about["expires_at"] in asked["content"][0]["text"]
            assert 0 == aegis(gateway, "approvals", "grant", about["id"])[0]
            assert "isError" not in mcp_call(gateway, "pay", {"amount": 1}).json["result"]
            with ThreadPoolExecutor(1) as pool:
                wait = {"aegis-approval-wait": "20"}
                held = pool.submit(mcp_call, gateway, "pay", {"amount": 2}, headers=wait)
                until(lambda: bool(waiting(gateway)))
                assert 0 == aegis(gateway, "approvals", "grant", waiting(gateway)[0])[0]
                assert "isError" not in message_of(held.result(timeout=10))["result"]
            assert_books_balance(gateway)


def waiting(gateway: Gateway) -> list[str]:
    """The requests that wait."""
    return [each["id"] for each in json.loads(aegis(gateway, "approvals", "--json")[1])["approvals"]]
