"""Telemetry at every door: each call is a span in its caller's trace, and settled in it; people's answers are too."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.acceptance.test_approvals import aegis
from tests.acceptance.test_mcp import SERVER, TOOLS, Client, listened, place_of
from tests.acceptance.test_mcp import call as mcp_call
from tests.envoys import OPERATIONS, Envoy, EnvoyedGateway, ScriptedApi, through
from tests.gateways import CREDENTIAL_VARIABLE, PERMIT_ALL, Answer, ask, configuration
from tests.mcp_calls import Session, modern
from tests.otlp import OtlpReceiver, ReceivedSpan
from tests.scripted_mcp import ScriptedServer, event, result, text
from tests.unit.adapters.test_telemetry_names import documented

pytestmark = pytest.mark.xdist_group("telemetry-doors")

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
HEADERS = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
LOCAL = """\
      desk:
        kind: local
        operations:
          rank:
            arguments: {limit: {type: integer, from: args.limit, required: false}}
            price: {per_call: 0.10}
          crawl:
            arguments: {pages: {type: integer, from: args.pages}}
            price: {per_unit: 0.01, unit: page, units: result.pages, max_units: 50}
          drop:
            price: {per_call: 5.00}
"""
POLICIES = f"""{PERMIT_ALL}
@id("a-person") @effect("require_approval") @reason("dropping tables needs a person")
forbid(principal, action == Action::"desk.drop", resource);
"""


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    """The receiver."""
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    """An MCP server of both forms."""
    with ScriptedServer(TOOLS) as server:
        yield server


@pytest.fixture(scope="module")
def api() -> Iterator[ScriptedApi]:
    """An API behind Envoys."""
    with ScriptedApi() as api:
        yield api
        api.go_on.set()


@pytest.fixture(scope="module")
def gateway(receiver: OtlpReceiver, server: ScriptedServer, api: ScriptedApi) -> Iterator[EnvoyedGateway]:
    """A gateway of two workers with every door."""
    made = configuration(api.base_url, policies=POLICIES, operations=OPERATIONS)
    more = LOCAL + SERVER.format(url=server.url, variable=CREDENTIAL_VARIABLE)
    made["aegis.yaml"] = made["aegis.yaml"].replace("    connectors:\n", f"    connectors:\n{more}", 1)
    with EnvoyedGateway(made, workers=2, environment=receiver.environment()) as gateway:
        yield gateway


def in_the_trace(span: ReceivedSpan) -> bool:
    """Whether a span is the child of what called."""
    return (TRACE, PARENT) == (span.trace, span.parent)


def decide(gateway: EnvoyedGateway, tool: str, **arguments: object) -> Answer:
    """A decision for a tool that the agent runs."""
    body = {"tool": tool, "arguments": arguments}
    return ask(gateway, "POST", "/v1/decisions", body, key=gateway.key("bot"), headers=HEADERS)


def settled(receiver: OtlpReceiver, tool: str, call: str) -> tuple[ReceivedSpan, ReceivedSpan]:
    """The span of a decision, and that of its settlement."""
    decision = receiver.span(f"execute_tool {tool}", aegis__call__id=call)
    return decision, receiver.span(f"settle {tool}", aegis__call__id=call)


def test_a_decision_is_a_span_and_its_settlement_is_below_it(
    gateway: EnvoyedGateway, receiver: OtlpReceiver
) -> None:
    """Whichever worker settles it, it is in the same trace, with the cost; the same once more is told once."""
    decided = decide(gateway, "desk.crawl", pages=9)
    call, path = decided.json["id"], f"/v1/decisions/{decided.json['id']}/settlement"
    body = {"token": decided.json["token"], "result": {"pages": 9}}
    answers = [ask(gateway, "POST", path, body, key=gateway.key("bot")) for _ in range(6)]
    assert [(200, "0.09")] * 6 == [(answer.status, answer.json["cost_usd"]) for answer in answers]
    other = decide(gateway, "desk.rank")
    path = f"/v1/decisions/{other.json['id']}/settlement"
    ask(gateway, "POST", path, {"token": other.json["token"], "result": {}}, key=gateway.key("bot"))
    _, of_other = settled(receiver, "desk.rank", other.json["id"])
    decision, settlement = settled(receiver, "desk.crawl", call)
    assert in_the_trace(decision)
    assert (decision.trace, decision.id) == (settlement.trace, settlement.parent)
    assert ("by the caller", False) == (
        decision.attributes["aegis.settlement"],
        "aegis.cost.nano_usd" in decision.attributes,
    )
    found = settlement.attributes
    assert (90_000_000, "0.09", "sdk", "bot", "ana@acme.example", "desk.crawl") == (
        found["aegis.cost.nano_usd"],
        found["aegis.cost.usd"],
        found["aegis.settlement.source"],
        found["agent_id"],
        found["aegis.owner"],
        found["tool_name"],
    )
    assert "gen_ai.operation.name" not in found
    told = [span for span in receiver.spans if span.name == "settle desk.crawl"]
    assert [settlement] == told
    assert of_other.attributes["aegis.cost.nano_usd"] == 100_000_000


def test_authzen_and_aegislib(gateway: EnvoyedGateway, receiver: OtlpReceiver) -> None:
    """Evaluations and the other vendor's decisions are spans in their callers' traces too, settled below."""
    evaluation = {
        "subject": {"type": "agent", "id": "bot"},
        "action": {"name": "rank"},
        "resource": {"type": "connector", "id": "desk"},
    }
    path, key = "/access/v1/evaluation", gateway.key("bot")
    answer = ask(gateway, "POST", path, evaluation, key=key, headers=HEADERS)
    assert (200, True) == (answer.status, answer.json["decision"]), answer.body
    decision = answer.json["context"]["id"]
    assert in_the_trace(receiver.span("execute_tool desk.rank", aegis__call__id=decision))
    body = {"agent_id": "bot", "tool": {"name": "rank", "params": {}}, "session": None}
    answer = ask(gateway, "POST", "/v1/decision", body, key=key, headers=HEADERS)
    decision, settlement = settled(receiver, "desk.rank", answer.json["decision_id"])
    assert in_the_trace(decision)
    assert (decision.id, 100_000_000) == (settlement.parent, settlement.attributes["aegis.cost.nano_usd"])


@pytest.mark.parametrize("form", ["modern", "legacy"])
def test_mcp(gateway: EnvoyedGateway, receiver: OtlpReceiver, server: ScriptedServer, form: str) -> None:
    """A tool's call is a span by MCP's conventions; the server's headers and the message say the gateway's place."""
    meta = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=abc"}
    before = len(server.calls("pay"))
    params = {"name": "pay", "arguments": {"amount": 1}, "_meta": meta}
    key = gateway.key("bot")
    if form == "modern":
        answer = modern(gateway, "tools/call", params, key=key).answer
    else:
        answer = Session(gateway, key=key).send("tools/call", params).answer
    assert 200 == answer.status
    call = answer.headers["aegis-decision-id"]
    span = receiver.span("tools/call bank.pay", aegis__call__id=call)
    assert in_the_trace(span)
    assert ("execute_tool", "tools/call", "bank.pay", 250_000_000) == (
        span.attributes["gen_ai.operation.name"],
        span.attributes["mcp.method.name"],
        span.attributes["gen_ai.tool.name"],
        span.attributes["aegis.cost.nano_usd"],
    )
    [asked] = server.calls("pay")[before:]
    ours = f"00-{TRACE}-{span.id}-01"
    assert ours == asked.headers["traceparent"]
    told = asked.json["params"]["_meta"]
    assert (ours, "vendor=abc") == (told["traceparent"], told["tracestate"])


def test_an_mcp_message_that_says_nothing_of_a_trace_is_not_changed_for_one(
    gateway: EnvoyedGateway, receiver: OtlpReceiver, server: ScriptedServer
) -> None:
    """Its place goes by the header alone, in a trace of its own."""
    before = len(server.calls("pay"))
    answer = mcp_call(gateway, "pay", {"amount": 2}, key=gateway.key("bot"))
    span = receiver.span("tools/call bank.pay", aegis__call__id=answer.headers["aegis-decision-id"])
    [asked] = server.calls("pay")[before:]
    assert ("", f"00-{span.trace}-{span.id}") == (span.parent, asked.headers["traceparent"][:-3])
    assert "traceparent" not in asked.json["params"].get("_meta", {})


def test_a_stream_that_is_taken_up_again_is_settled_below_its_call(
    gateway: EnvoyedGateway, receiver: OtlpReceiver, server: ScriptedServer
) -> None:
    """The call's span ends in doubt; the answer that comes on another stream, at any worker, has one below it."""
    server.on("pay", lambda asked: iter([b"id: first-1\nevent: message\ndata:\n\n"]))
    answer = result({"id": 3}, content=[text("paid")])
    server.on("GET", lambda asked: iter([event(answer)]))
    client = Client(gateway, key=gateway.key("bot"))
    paused = client.call("pay", amount=4)
    listened(client, place_of(paused))
    server.scripts.clear()
    call = gateway.last_call()
    assert "settled" == call["state"]
    settlement = receiver.span("settle bank.pay", aegis__call__id=call["call"])
    span = receiver.span("tools/call bank.pay", aegis__call__id=call["call"])
    assert ("in doubt", True, span.id, call["cost_nano_usd"]) == (
        span.attributes["aegis.settlement"],
        span.is_error,
        settlement.parent,
        settlement.attributes["aegis.cost.nano_usd"],
    )


@pytest.mark.parametrize(
    ("example", "listener"),
    [("envoy.yaml", "agents"), ("ext_authz.yaml", "by-grpc"), ("ext_authz.yaml", "by-http")],
)
def test_envoy(
    gateway: EnvoyedGateway, receiver: OtlpReceiver, api: ScriptedApi, example: str, listener: str
) -> None:
    """By ext_proc and ext_authz: what Envoy passes on says the gateway's place in the caller's trace."""
    api.requests.clear()
    with Envoy(example, gateway, api.base_url) as envoy:
        body, key = {"amount": 3}, gateway.key("bot")
        answer = through(envoy, "POST", "/v1/payments", body, key=key, listener=listener, headers=HEADERS)
    assert 201 == answer.status
    found = gateway.last_call()["call"]
    span = receiver.span("execute_tool api.pay", aegis__call__id=found)
    assert (True, 250_000_000) == (in_the_trace(span), span.attributes["aegis.cost.nano_usd"])
    [head] = api.heads()
    assert f"traceparent: 00-{TRACE}-{span.id}-01" in head.split("\r\n")


@pytest.mark.parametrize(("verb", "state"), [("grant", "granted"), ("refuse", "refused")])
def test_an_approval_is_a_span_from_asked_to_answered(
    gateway: EnvoyedGateway, receiver: OtlpReceiver, verb: str, state: str
) -> None:
    """It stands below the call that asked, is linked to it, and is told once, by the steward; not what people said."""
    asked = decide(gateway, "desk.drop", **{} if verb == "grant" else {"why": verb})
    approval = asked.json["approval"]["id"]
    call = receiver.span("execute_tool desk.drop", approval_id=approval)
    assert ("require_approval", True) == (call.attributes["decision"], call.is_error)
    assert 0 == aegis(gateway, "approvals", verb, approval, "--reason", "canary-word")[0]
    span = receiver.span("approval", approval_id=approval)
    assert (call.trace, call.id, ((call.trace, call.id),)) == (span.trace, span.parent, span.links)
    found = span.attributes
    assert (state, "bot", ["a-person"], "cli") == (
        found["decision"],
        found["agent_id"],
        found["aegis.approval.policies"],
        found["aegis.approval.via"][0],
    )
    assert (state == "refused", True) == (span.is_error, span.start_ns < span.end_ns)
    assert receiver.point("aegis.approval.duration", aegis__approval__state=state).count
    if verb == "grant":
        used = decide(gateway, "desk.drop")
        again = receiver.span("execute_tool desk.drop", aegis__call__id=used.json["id"])
        assert ("allow", approval) == (again.attributes["decision"], again.attributes["approval_id"])
        assert "canary-word" not in json.dumps(again.attributes)
    assert 1 == len(
        [span for span in receiver.spans if span.name == "approval" and approval in span.attributes.values()]
    )
    assert b"canary-word" not in b"".join(receiver.bytes_)


def test_no_span_says_anything_that_the_docs_dont_tell(receiver: OtlpReceiver) -> None:
    """Of all spans of all doors that came until now."""
    assert set() == {name for span in receiver.spans for name in span.attributes} - documented()
