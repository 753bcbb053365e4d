"""Calls of MCP tools that wait for a person's word: clients that can be are sent to its page, once, and go on when it
is given; all others are told in words.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.answering import answer, approvals
from tests.clients import ROOT, run_client
from tests.gateways import Gateway, ScriptedUpstream, answer_with, assert_books_balance, until
from tests.mcp_calls import Rpc, Session, mcp_configuration, modern_call
from tests.scripted_mcp import ScriptedServer, result, text

pytestmark = pytest.mark.xdist_group("mcp-clients")

BANK = """\
kind: mcp
base_url: {url}
network: private
operations:
  transfer:
    arguments: {{amount: {{type: number, from: args.amount}}, to: {{type: string, from: args.to}}}}
    price: {{per_call: 0.25}}
"""
POLICIES = """\
@id("all-may") permit(principal, action, resource);
@id("four-eyes") @effect("require_approval") @reason("transfers above 5,000 need a person")
forbid(principal, action == Action::"bank.transfer", resource)
when { context.args.amount.greaterThan(decimal("5000.0")) };
"""
TOOLS: list[dict[str, Any]] = [{"name": "transfer", "inputSchema": {"type": "object"}}]
URL: dict[str, Any] = {"elicitation": {"form": {}, "url": {}}}


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    """A bank's server."""
    with ScriptedServer(TOOLS) as server:
        server.on("transfer", lambda asked: result(asked.json, content=[text("moved")]))
        yield server


@pytest.fixture(scope="module")
def gateway(server: ScriptedServer) -> Iterator[Gateway]:
    """A gateway that sends clients to pages."""
    files = mcp_configuration(
        {"bank": BANK.format(url=server.url)}, policies=POLICIES, agents=("bot", "other")
    )
    files["aegis.yaml"] = files["aegis.yaml"].replace(
        "    teams:\n", "    approvals: {elicit: true, hold: 3s}\n    teams:\n", 1
    )
    with Gateway(files) as gateway:
        yield gateway


def transfer(gateway: Gateway, to: str, more: dict[str, Any] | None = None, **rest: Any) -> Rpc:
    """A transfer that wants a person's word."""
    rest = {"capabilities": URL, **rest}
    return modern_call(gateway, "transfer", {"amount": 7000, "to": to}, more=more or {}, **rest)


def back(asked: Rpc, action: str = "accept") -> dict[str, Any]:
    """What a client brings back that was sent to a page."""
    return {"requestState": asked.result["requestState"], "inputResponses": {"approval": {"action": action}}}


def test_sent_to_the_page_and_back(gateway: Gateway, server: ScriptedServer) -> None:
    """Asked once; who comes back too early is told so; then it goes through, once, without what was ours."""
    before = len(server.calls())
    asked = transfer(gateway, "a")
    (request,) = asked.result["inputRequests"].values()
    (waiting, *_) = approvals(gateway)
    assert ("input_required", "elicitation/create", "url", f"{gateway.url}/approvals/{waiting.id}") == (
        asked.result["resultType"],
        request["method"],
        request["params"]["mode"],
        request["params"]["url"],
    )
    assert waiting.id == asked.told["approval"]["id"]
    assert "transfers above 5,000 need a person" in request["params"]["message"]
    for action in ("decline", "cancel"):
        early = transfer(gateway, "a", back(asked, action))
        assert (True, "complete") == (early.result["isError"], early.result["resultType"])
        assert waiting.id in early.text
    assert waiting == approvals(gateway)[0]
    assert waiting.id == answer(gateway, "grant")
    done = transfer(gateway, "a", back(asked))
    assert ("moved", "0.25") == (done.text, done.told["cost_usd"])
    (call,) = server.calls()[before:]
    assert not {"requestState", "inputResponses"} & call.json["params"].keys()
    spent = transfer(gateway, "a", back(asked))
    assert (True, ["approval_not_valid"]) == (spent.result["isError"], spent.told["codes"])
    assert before + 1 == len(server.calls())
    assert_books_balance(gateway)


def test_who_comes_back_is_held(gateway: Gateway) -> None:
    """While somebody reads: as soon as they agree, the call that came back goes through."""
    asked = transfer(gateway, "held")
    decided = gateway.count()
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(transfer, gateway, "held", back(asked))
        until(lambda: gateway.count() > decided, "the call that came back is not decided")
        answer(gateway, "grant")
        assert "moved" == held.result().text


def test_where_all_servers_are_one(gateway: Gateway) -> None:
    """The same; what was given for the tool under one address is for no other."""
    called: dict[str, Any] = {"capabilities": URL, "path": "/mcp"}
    arguments = {"amount": 7000, "to": "one"}
    asked = modern_call(gateway, "bank_transfer", arguments, **called)
    answer(gateway, "grant")
    assert -32602 == transfer(gateway, "one", back(asked)).error["code"]
    assert "moved" == modern_call(gateway, "bank_transfer", arguments, more=back(asked), **called).text


def test_what_comes_back_is_for_the_very_call(gateway: Gateway, server: ScriptedServer) -> None:
    """Brought by another agent, with other arguments, changed: it is none; and it opens nothing by itself."""
    before = len(server.calls())
    asked = transfer(gateway, "b")
    answer(gateway, "grant")
    for wrong in (
        transfer(gateway, "c", back(asked)),
        transfer(gateway, "b", back(asked), key=gateway.key("other")),
        transfer(gateway, "b", {"requestState": asked.result["requestState"][:-4] + "AAAA"}),
    ):
        assert -32602 == wrong.error["code"]
    assert before == len(server.calls())
    assert "moved" == transfer(gateway, "b", back(asked)).text


def test_who_is_not_sent(gateway: Gateway) -> None:
    """Clients that can be asked nothing, or by forms alone, are told in words; a refusal is told to all."""
    unable: list[dict[str, Any]] = [
        {},
        {"elicitation": {}},
        {"elicitation": {"form": {}}},
        {"elicitation": []},
    ]
    for capabilities in unable:
        told = transfer(gateway, "d", capabilities=capabilities)
        assert (True, ["approval_required"]) == (told.result["isError"], told.told["codes"])
    asked = transfer(gateway, "d")
    answer(gateway, "refuse", "no")
    for refused in (transfer(gateway, "d", back(asked)), transfer(gateway, "d")):
        assert (True, ["approval_refused"]) == (refused.result["isError"], refused.told["codes"])


def test_the_older_form(gateway: Gateway) -> None:
    """-32042 with the address, for clients of 2025-11-25 that said so; a result in words for the others."""
    able = Session(gateway, capabilities=URL)
    error = able.call("transfer", {"amount": 7000, "to": "e"}).error
    (elicitation,) = error["data"]["elicitations"]
    (waiting, *_) = approvals(gateway)
    assert (-32042, "url", waiting.id, f"{gateway.url}/approvals/{waiting.id}") == (
        error["code"],
        elicitation["mode"],
        elicitation["elicitationId"],
        elicitation["url"],
    )
    unable = Session(gateway, capabilities={"elicitation": {}})
    assert unable.call("transfer", {"amount": 7000, "to": "e"}).result["isError"]
    answer(gateway, "grant")
    assert "moved" == able.call("transfer", {"amount": 7000, "to": "e"}).text


def test_the_official_client(gateway: Gateway) -> None:
    """It is sent once: where somebody agrees meanwhile its call goes through; else it is told in words, in no loop."""

    def agree(request: bytes, connection: socket.socket) -> None:
        answer(gateway, "grant")
        answer_with(b"{}")(request, connection)

    with ScriptedUpstream(agree) as person:
        calls = [
            {"to": "f", "mode": "auto", "answers": "accept", "agrees": person.base_url},
            {"to": "g", "mode": "auto", "answers": "accept"},
            {"to": "h", "mode": "auto", "answers": "decline"},
            {"to": "i", "mode": "auto"},
            {"to": "j", "mode": "legacy", "answers": "accept"},
            {"to": "k", "mode": "legacy"},
        ]
        env = {"MCP_URL": f"{gateway.url}/mcp/bank", "MCP_KEY": gateway.key(), "PYTHONPATH": str(ROOT)}
        env["MCP_CALLS"] = json.dumps(calls)
        script = ROOT / "tests" / "mcp_clients" / "mcp2_approving.py"
        agreed, accepted, declined, unable, older, older_unable = json.loads(
            run_client("mcp2", script, env=env)
        )["calls"]
    f = approvals(gateway)[len(calls) - 1]
    assert ("used", "moved", [f"{gateway.url}/approvals/{f.id}"]) == (
        f.state,
        agreed["text"],
        agreed["asked"],
    )
    assert [1, 1, 0, 0] == [len(each["asked"]) for each in (accepted, declined, unable, older_unable)]
    for told in (accepted, declined, unable, older_unable):
        assert told["is_error"]
        assert "it waits as `apr_" in told["text"]
    assert (-32042, "url") == (older["code"], older["data"]["elicitations"][0]["mode"])
    assert_books_balance(gateway)
