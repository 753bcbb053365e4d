"""MCP: tools listed, judged, priced, settled and redacted on their way to a server, in both forms of the protocol."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from aegis_gateway.entrypoints.worker import DRAIN_S
from tests.gateways import (
    CREDENTIAL_VARIABLE,
    HOST,
    WAIT_S,
    Answer,
    Files,
    Gateway,
    ask,
    assert_books_balance,
    configuration,
)
from tests.scripted_mcp import (
    CAPABILITIES,
    LEGACY,
    MODERN,
    VERSION,
    Asked,
    ScriptedServer,
    error,
    event,
    result,
    text,
)

pytestmark = pytest.mark.xdist_group("mcp")

NANO = 1_000_000_000
SSN = "536-90-4399"
TOOLS: list[dict[str, Any]] = [
    {
        "name": name,
        "description": f"does {name}",
        "inputSchema": {"type": "object", "properties": {"amount": {"type": "number", "x-kept": 1.50}}},
    }
    for name in ("pay", "search", "getWeather", "forbidden", "undeclared")
]
SERVER = """\
      bank:
        kind: mcp
        base_url: {url}
        network: private
        credential: env:{variable}
        operations:
          pay:
            arguments:
              amount: {{type: number, from: args.amount, shown: true}}
              note: {{type: string, from: args.note, required: false}}
            price: {{per_call: 0.25}}
            counts: {{paid_out: args.amount}}
          search:
            price: {{per_unit: 0.01, unit: row, units: result.rows, max_units: 100}}
            counts: {{rows: {{from: result.rows, max: 100}}}}
          weather:
            tool: getWeather
            price: {{per_call: 0}}
          forbidden:
            price: {{per_call: 0}}
      empty:
        kind: mcp
        base_url: {url}
        network: private
"""
POLICIES = """
@id("all-may") permit(principal, action, resource);
@id("ceiling") @reason("payments above $5,000 need a person")
forbid(principal, action == Action::"bank.pay", resource) when { context.args.amount.greaterThan(decimal("5000.0")) };
@id("never") @reason("nobody may") forbid(principal, action == Action::"bank.forbidden", resource);
@id("private-in") @effect("redact") @kinds("ssn") @in("arguments")
forbid(principal == Agent::"careful", action, resource);
@id("private-out") @effect("redact") @kinds("ssn") @in("response")
forbid(principal == Agent::"careful", action, resource);
"""


def files(url: str, **rest: Any) -> Files:
    """A configuration with one MCP server."""
    settings = {"agents": ("bot", "careful", "other", "poor"), "policies": POLICIES, **rest}
    made = configuration("http://127.0.0.1:9", **settings)
    server = SERVER.format(url=url, variable=CREDENTIAL_VARIABLE)
    made["aegis.yaml"] = made["aegis.yaml"].replace("    connectors:\n", f"    connectors:\n{server}")
    return made


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    """A server that speaks both forms."""
    with ScriptedServer(TOOLS) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(server: ScriptedServer) -> Iterator[Gateway]:
    """A gateway in front of it."""
    budgets = {
        "plenty": "limit: 1000000.00, period: yearly",
        "little": "limit: 0.10, period: yearly, match: {agent: poor}",
    }
    made = files(server.url, budgets=budgets)
    with Gateway(made, workers=2) as gateway:
        yield gateway
        assert_books_balance(gateway)


@pytest.fixture(autouse=True)
def _fresh(server: ScriptedServer) -> None:
    """Each test begins with a server that does nothing special."""
    server.scripts.clear()
    server.page = None


def modern(
    gateway: Gateway,
    method: str,
    params: Mapping[str, Any] | None = None,
    *,
    path: str = "/mcp/bank",
    key: str | None = "",
    headers: Mapping[str, str] | None = None,
    capabilities: Mapping[str, Any] | None = None,
    id_: int | str = 7,
) -> Answer:
    """A request in the modern form."""
    meta = {VERSION: MODERN, CAPABILITIES: dict(capabilities or {})}
    body = {"jsonrpc": "2.0", "id": id_, "method": method, "params": {**(params or {}), "_meta": meta}}
    name = (params or {}).get("name") or (params or {}).get("uri")
    named = {"mcp-name": name} if name else {}
    given = {
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": MODERN,
        "mcp-method": method,
        **named,
        **(headers or {}),
    }
    return ask(gateway, "POST", path, body, key=key, headers=given)


def call(gateway: Gateway, tool: str, arguments: Mapping[str, Any] | None = None, **rest: Any) -> Answer:
    """A call of a tool in the modern form."""
    return modern(gateway, "tools/call", {"name": tool, "arguments": dict(arguments or {})}, **rest)


class Client:
    """A client of the legacy form, in its session."""

    def __init__(
        self, gateway: Gateway, *, key: str = "", path: str = "/mcp/bank", **capabilities: Any
    ) -> None:
        """Begin a session."""
        self.gateway, self.key, self.path = gateway, key, path
        self.session = ""
        started = self.post(
            "initialize",
            protocolVersion=LEGACY,
            capabilities=capabilities,
            clientInfo={"name": "test", "version": "1"},
        )
        self.initialized = message_of(started)["result"]
        self.session = started.headers["mcp-session-id"]

    def post(self, method: str, **params: Any) -> Answer:
        """Send a request."""
        return self.send({"jsonrpc": "2.0", "id": 3, "method": method, "params": params})

    def send(self, message: Mapping[str, Any], *, method: str = "POST") -> Answer:
        """Send a message."""
        headers = {"accept": "application/json, text/event-stream"}
        if self.session:
            headers |= {"mcp-session-id": self.session, "mcp-protocol-version": LEGACY}
        body = message if method == "POST" else None
        return ask(self.gateway, method, self.path, body, key=self.key, headers=headers)

    def call(self, tool: str, **arguments: Any) -> Answer:
        """Call a tool."""
        return self.post("tools/call", name=tool, arguments=arguments)


def message_of(answer: Answer) -> Any:
    """The answer in an HTTP answer, whole or at the end of a stream."""
    if answer.headers["content-type"].startswith("text/event-stream"):
        return messages_of(answer)[-1]
    return answer.json


def messages_of(answer: Answer) -> list[Any]:
    """The messages of a stream."""
    lines = answer.body.decode().splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]


def refusal(answer: Answer) -> str:
    """The text of a result that is an error."""
    found = message_of(answer)["result"]
    assert (200, True) == (answer.status, found["isError"])
    return str(found["content"][0]["text"])


def test_a_call_in_the_modern_form(server: ScriptedServer, gateway: Gateway) -> None:
    """It passes byte for byte with the gateway's credential, and is priced, settled and told of in `_meta`."""
    answer = call(gateway, "pay", {"amount": 12.5})
    assert (200, 7) == (answer.status, answer.json["id"])
    assert "pay was run" == answer.json["result"]["content"][0]["text"]
    row = gateway.last_call()
    assert ("bank.pay", "settled", 250_000_000) == (row["tool"], row["state"], row["cost_nano_usd"])
    told = answer.json["result"]["_meta"]["aegis/call"]
    assert (row["call"], "allow", "0.25") == (told["decision_id"], told["effect"], told["cost_usd"])
    assert (row["call"], "0.25") == (answer.headers["aegis-decision-id"], answer.headers["aegis-cost-usd"])
    arrived = server.calls()[-1]
    sent = {"name": "pay", "arguments": {"amount": 12.5}, "_meta": {VERSION: MODERN, CAPABILITIES: {}}}
    assert (
        json.dumps({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": sent})
        == arrived.body.decode()
    )
    assert gateway.key() not in arrived.headers["authorization"]
    assert "aegis-run-id" not in arrived.headers


def test_a_call_is_judged_on_its_arguments(server: ScriptedServer, gateway: Gateway) -> None:
    """What is too much is refused as a result that says why, at what cost and what to do; nothing arrives."""
    before = len(server.calls())
    answer = call(gateway, "pay", {"amount": 5000.01})
    words = refusal(answer)
    assert "payments above $5,000 need a person" in words
    assert "would have cost $0.25" in words
    assert "What to do" in words
    told = answer.json["result"]["_meta"]["aegis/call"]
    assert ("deny", ["denied_by_policy"], "0.25") == (told["effect"], told["codes"], told["expected_usd"])
    assert before == len(server.calls())
    assert "is missing" in refusal(call(gateway, "pay"))
    assert "`arguments.amount` must be a number" in refusal(call(gateway, "pay", {"amount": "much"}))


def test_a_tool_that_nobody_declared_is_refused(server: ScriptedServer, gateway: Gateway) -> None:
    """Whatever the server has, what isn't declared isn't called."""
    assert "no tool `undeclared`" in refusal(call(gateway, "undeclared"))
    assert "unknown_tool" == gateway.last_call()["reason_code"]
    assert [] == server.calls("undeclared")


def test_a_budget_refuses(gateway: Gateway) -> None:
    """A budget that is too small refuses with the way out."""
    words = refusal(call(gateway, "pay", {"amount": 1}, key=gateway.key("poor")))
    assert "budget `little`" in words
    assert "ask the budget's owner" in words


def test_costs_are_read_from_the_result(server: ScriptedServer, gateway: Gateway) -> None:
    """From structured content or from a text that is JSON; where neither says, the maximum counts."""
    answers: list[dict[str, Any]] = [
        {"content": [], "structuredContent": {"rows": 7}},
        {"content": [text('{"rows": 5}')]},
        {"content": [text("no rows at all")]},
        {"content": [text("it failed")], "isError": True},
    ]
    costs = []
    for each in answers:
        server.on("search", lambda asked, each=each: result(asked.json, **each))  # type: ignore[misc]
        assert 200 == call(gateway, "search").status
        costs.append(gateway.last_call()["cost_nano_usd"])
    assert [70_000_000, 50_000_000, NANO, NANO] == costs


def test_a_stream_passes_live_and_its_end_is_settled(server: ScriptedServer, gateway: Gateway) -> None:
    """Progress passes as it comes; the result is settled first, and says so."""
    server.on(
        "pay",
        lambda asked: iter(
            (
                b": hello\n\n",
                event({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}),
                event(result(asked.json, content=[text("done")])),
            )
        ),
    )
    answer = call(gateway, "pay", {"amount": 1})
    assert answer.body.startswith(b": hello\n\n")
    progress, last = messages_of(answer)
    assert ("notifications/progress", "done") == (progress["method"], last["result"]["content"][0]["text"])
    assert "0.25" == last["result"]["_meta"]["aegis/call"]["cost_usd"]
    assert "settled" == gateway.last_call()["state"]


def test_lists_show_what_the_agent_may_call(server: ScriptedServer, gateway: Gateway) -> None:
    """Page by page, private to the caller, definitions byte for byte."""
    server.page = 2
    first = modern(gateway, "tools/list").json["result"]
    assert (["pay", "search"], "private", 0) == (names(first), first["cacheScope"], first["ttlMs"])
    second = modern(gateway, "tools/list", {"cursor": first["nextCursor"]}).json["result"]
    assert ["getWeather"] == names(second)
    third = modern(gateway, "tools/list", {"cursor": second["nextCursor"]})
    assert ([], False) == (names(third.json["result"]), "nextCursor" in third.json["result"])
    raw = modern(gateway, "tools/list").body.decode()
    assert json.dumps(TOOLS[0]) in raw
    assert "public" not in raw


def names(listed: Mapping[str, Any]) -> list[str]:
    """The names of the tools in a list."""
    return [tool["name"] for tool in listed["tools"]]


def test_a_server_without_a_tool_for_the_agent_is_not_there(gateway: Gateway) -> None:
    """Neither its lists nor its resources are given to who may call nothing of it, and neither is one that isn't."""
    for path in ("/mcp/empty", "/mcp/nowhere", "/mcp/provider"):
        answer = modern(gateway, "resources/read", {"uri": "file:///x"}, path=path)
        assert (404, "unknown_server") == (answer.status, answer.json["error"]["data"]["code"])
    found = modern(gateway, "resources/read", {"uri": "file:///x"}).json["result"]
    assert "what it says" == found["contents"][0]["text"]


def test_headers_have_to_say_what_the_body_says(gateway: Gateway) -> None:
    """As the specification asks: 400 and -32020 for a mismatch, -32022 for an unknown version, 404 for a method."""

    def outcome(answer: Answer) -> tuple[int, int]:
        return answer.status, answer.json["error"]["code"]

    assert (400, -32020) == outcome(call(gateway, "pay", headers={"mcp-name": "search"}))
    for method, params in (("resources/read", {"uri": 5}), ("prompts/get", {"name": 7}), ("prompts/get", {})):
        assert (400, -32602) == outcome(modern(gateway, method, params))
    assert (400, -32020) == outcome(call(gateway, "pay", headers={"mcp-method": "tools/list"}))
    assert (400, -32020) == outcome(call(gateway, "pay", headers={"mcp-protocol-version": LEGACY}))
    unknown = ask(
        gateway, "POST", "/mcp/bank", {"jsonrpc": "2.0", "id": 1, "method": "ping"},
        headers={"mcp-protocol-version": "1900-01-01"},
    )  # fmt: skip
    assert (400, -32022) == outcome(unknown)
    assert MODERN in unknown.json["error"]["data"]["supported"]
    assert (404, -32601) == outcome(modern(gateway, "tasks/list"))
    encoded = call(gateway, "pay", {"amount": 1}, headers={"mcp-name": "=?base64?cGF5?="})
    assert (200, False) == (encoded.status, "isError" in encoded.json["result"])
    twice = b'{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/list"}'
    assert (400, -32700) == outcome(ask(gateway, "POST", "/mcp/bank", twice))
    batch = ask(gateway, "POST", "/mcp/bank", [{"jsonrpc": "2.0", "id": 1, "method": "ping"}])
    assert (400, -32600) == outcome(batch)


def test_who_is_unknown_is_told_how_to_be_known(gateway: Gateway) -> None:
    """401 with WWW-Authenticate, as a JSON-RPC error outside of the reserved range."""
    answer = call(gateway, "pay", key=None)
    assert (401, 401) == (answer.status, answer.json["error"]["code"])
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_pages_elsewhere_cannot_lead_browsers_here(gateway: Gateway) -> None:
    """A name or a page that isn't the gateway's own is refused before anything else."""
    for headers in ({"host": "evil.example"}, {"origin": "https://evil.example"}, {"origin": "null"}):
        assert 403 == call(gateway, "pay", {"amount": 1}, headers=headers).status
    assert 200 == call(gateway, "pay", {"amount": 1}, headers={"origin": "http://localhost:3000"}).status


def test_redaction_of_arguments_and_results(server: ScriptedServer, gateway: Gateway) -> None:
    """Neither the server, nor the caller, nor the record has what policies take out, in streams neither."""
    server.on(
        "pay",
        lambda asked: iter(
            (
                event(
                    {
                        "jsonrpc": "2.0",
                        "method": "notifications/message",
                        "params": {"level": "info", "data": f"found {SSN}"},
                    }
                ),
                event(
                    result(
                        asked.json,
                        content=[text(f"of {SSN}")],
                        structuredContent={"type": SSN, "nested": {"id": SSN}},
                    )
                ),
            )
        ),
    )
    key = gateway.key("careful")
    answer = call(
        gateway, "pay", {"amount": 1, "note": f"for {SSN}"}, key=key, headers={"mcp-param-note": f"for {SSN}"}
    )
    assert SSN not in answer.body.decode()
    assert 4 == answer.body.decode().count("[SSN:")
    arrived = server.calls("pay")[-1]
    assert SSN not in arrived.body.decode()
    assert arrived.json["params"]["arguments"]["note"] == arrived.headers["mcp-param-note"]
    assert SSN not in json.dumps(gateway.entries())


def test_a_servers_state_is_sealed(server: ScriptedServer, gateway: Gateway) -> None:
    """It comes back to the server from the same agent for the same request, and from nobody else; asking is free."""

    def script(asked: Asked) -> dict[str, Any]:
        state = asked.json["params"].get("requestState")
        if state is not None:
            return result(asked.json, content=[text(state)])
        elicit = {"method": "elicitation/create", "params": {"message": "sure?"}}
        return {
            "jsonrpc": "2.0",
            "id": asked.json["id"],
            "result": {
                "resultType": "input_required",
                "inputRequests": {"sure": elicit},
                "requestState": "state-of-the-server",
            },
        }

    server.on("pay", script)
    asking = call(gateway, "pay", {"amount": 3}, capabilities={"elicitation": {}})
    assert b"state-of-the-server" not in asking.body
    assert ("settled", 0) == (gateway.last_call()["state"], gateway.last_call()["cost_nano_usd"])
    state = asking.json["result"]["requestState"]

    def again(amount: int, given: str, key: str = "") -> Answer:
        params = {"name": "pay", "arguments": {"amount": amount}, "requestState": given, "inputResponses": {}}
        return modern(gateway, "tools/call", params, key=key, id_=8)

    assert "state-of-the-server" == again(3, state).json["result"]["content"][0]["text"]
    assert 250_000_000 == gateway.last_call()["cost_nano_usd"]
    for answer in (again(4, state), again(3, state, gateway.key("other")), again(3, f"A{state[1:]}")):
        assert (400, -32602) == (answer.status, answer.json["error"]["code"])
    undeclared = call(gateway, "pay", {"amount": 3})
    assert -32021 == undeclared.json["error"]["code"]


def test_a_session_of_the_legacy_form(server: ScriptedServer, gateway: Gateway) -> None:
    """The session's name is ours and its agent's alone; calls in it are judged and settled like others."""
    client = Client(gateway)
    assert "upstream-session" not in client.session
    assert "tasks" not in client.initialized["capabilities"]
    assert 202 == client.send({"jsonrpc": "2.0", "method": "notifications/initialized"}).status
    assert ["pay", "search", "getWeather"] == names(client.post("tools/list").json["result"])
    assert "pay was run" == client.call("pay", amount=1).json["result"]["content"][0]["text"]
    assert 250_000_000 == gateway.last_call()["cost_nano_usd"]
    assert server.calls()[-1].headers["mcp-session-id"].startswith("upstream-session")
    assert "payments above" in refusal(client.call("pay", amount=6000))
    assert 200 == client.post("ping").status
    gateway.restart()
    assert "pay was run" == client.call("pay", amount=1).json["result"]["content"][0]["text"]
    thief = Client(gateway, key=gateway.key("other"))
    thief.session = client.session
    assert 404 == thief.call("pay", amount=1).status
    client.session = f"A{client.session[1:]}"
    assert 404 == client.call("pay", amount=1).status
    client.session = ""
    assert 400 == client.call("pay", amount=1).status


def test_what_a_server_asks_back_in_a_session(server: ScriptedServer, gateway: Gateway) -> None:
    """A client is asked for what it said that it can; of anything else it hears nothing, and the server a refusal."""

    def script(asked: Asked) -> Iterator[bytes]:
        yield event({"jsonrpc": "2.0", "id": 91, "method": "sampling/createMessage", "params": {}})
        yield event({"jsonrpc": "2.0", "id": 92, "method": "elicitation/create", "params": {}})
        yield event(result(asked.json, content=[text("done")]))

    server.on("pay", script)
    client = Client(gateway, elicitation={})
    told = messages_of(client.call("pay", amount=1))
    assert [92, 3] == [message["id"] for message in told]
    refused = [asked.json for asked in server.asked if asked.json.get("id") == 91]
    assert [-32601] == [each["error"]["code"] for each in refused]
    assert 202 == client.send({"jsonrpc": "2.0", "id": 92, "result": {"action": "accept"}}).status
    assert {"action": "accept"} == server.asked[-1].json["result"]


def test_the_stream_of_a_session(server: ScriptedServer, gateway: Gateway) -> None:
    """What a server says unasked passes, where it left off if the client says so; a session can be ended."""
    seen: list[str | None] = []

    def stream(asked: Asked) -> Iterator[bytes]:
        seen.append(asked.headers.get("last-event-id"))
        yield event({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}, "seen-8")
        yield event({"jsonrpc": "2.0", "id": 5, "method": "roots/list"}, "seen-9")

    server.on("GET", stream)
    server.on("DELETE", lambda asked: b"")
    client = Client(gateway)
    answer = listened(client)
    assert ["notifications/tools/list_changed"] == [each["method"] for each in messages_of(answer)]
    place = place_of(answer)
    listened(client, place)
    listened(client, "seen-7")
    listened(Client(gateway), place)
    listened(Client(gateway, key=gateway.key("other")), place)
    assert [None, "seen-8", None, None, None] == seen
    assert 200 == client.send({}, method="DELETE").status
    assert server.asked[-1].headers["mcp-session-id"].startswith("upstream-session")
    assert 405 == ask(gateway, "GET", "/mcp/bank", headers={"mcp-protocol-version": MODERN}).status


@pytest.mark.parametrize("line_end", ["\n", "\r", "\r\n"])
def test_no_answer_is_had_beside_its_call(server: ScriptedServer, gateway: Gateway, line_end: str) -> None:
    """Neither on a stream of the session's own, nor by an event's id that is guessed or passes unsealed."""
    key = gateway.key("careful")
    answers = [result({"id": 3}, content=[text(f"of {SSN}")]), {"id": 3, "result": {"content": [text(SSN)]}}]
    lines = [f"id: first-1{line_end}event: message{line_end}data:{line_end}{line_end}"]
    server.on("pay", lambda asked: iter([line.encode() for line in lines]))
    server.on("GET", lambda asked: iter([event(answer, "guessed-1") for answer in answers]))
    client = Client(gateway, key=key)
    paused = client.call("pay", amount=1)
    assert b"first-1" not in paused.body
    for place in ("", "first-1", "guessed-0"):
        assert SSN not in listened(client, place).body.decode()
        assert "in_doubt" == gateway.last_call()["state"]
    answers.reverse()  # first one that is none, by a version that isn't there
    told = listened(client, place_of(paused)).body.decode()
    assert SSN not in told
    assert "[SSN:" in told
    assert "settled" == gateway.last_call()["state"]


def listened(client: Client, place: str = "") -> Answer:
    """What a server tells in a session, from a place on."""
    seen = {"last-event-id": place} if place else {}
    headers = {"accept": "text/event-stream", "mcp-session-id": client.session, **seen}
    return ask(client.gateway, "GET", client.path, key=client.key, headers=headers)


def place_of(answer: Answer) -> str:
    """The id of the first event that has one."""
    return next(line[4:] for line in answer.body.decode().splitlines() if line.startswith("id: "))


def test_a_stream_that_is_taken_up_again(server: ScriptedServer, gateway: Gateway) -> None:
    """The call is in doubt until its answer comes on the other stream, after a restart too; then it is settled."""
    key = gateway.key("careful")
    server.on("pay", lambda asked: iter((b"id: first\ndata: \n\n", b"retry: 10\n\n")))
    client = Client(gateway, key=key)
    paused = client.call("pay", amount=1)
    assert [] == messages_of(paused)
    assert "in_doubt" == gateway.last_call()["state"]
    place = next(line for line in paused.body.decode().splitlines() if line.startswith("id: "))
    assert "first" not in place
    gateway.restart()

    def rest(asked: Asked) -> Iterator[bytes]:
        assert "first" == asked.headers["last-event-id"]
        yield event({"jsonrpc": "2.0", "id": 99, "result": {}}, "second")
        yield event(result({"id": 3}, content=[text(f"of {SSN}")]), "third")

    server.on("GET", rest)

    def resumed(key: str) -> Answer:
        headers = {"accept": "text/event-stream", "mcp-session-id": client.session}
        return ask(gateway, "GET", "/mcp/bank", key=key, headers={**headers, "last-event-id": place[4:]})

    answer = messages_of(resumed(key))
    assert [3] == [message["id"] for message in answer]
    assert "[SSN:" in answer[0]["result"]["content"][0]["text"]
    row = gateway.last_call()
    assert ("settled", 250_000_000) == (row["state"], row["cost_nano_usd"])
    assert row["call"] == answer[0]["result"]["_meta"]["aegis/call"]["decision_id"]
    assert 404 == resumed(gateway.key("other")).status


@pytest.mark.parametrize(
    ("answer", "state", "words"),
    [
        (None, "in_doubt", "may have run"),
        ({"jsonrpc": "2.0", "id": 8, "result": {}}, "in_doubt", "answered another request"),
        ({"jsonrpc": "2.0", "id": "7", "result": {}}, "in_doubt", "answered another request"),
        (b"not JSON", "in_doubt", "what is no answer"),
        ({"jsonrpc": "2.0", "id": 7}, "in_doubt", "what is no answer"),
        ({"jsonrpc": "2.0", "id": 7, "result": None}, "in_doubt", "result is no object"),
        ({"jsonrpc": "2.0", "id": 7, "result": ["done"]}, "in_doubt", "result is no object"),
        (iter((b": begun\n\n",)), "in_doubt", "ended before its answer"),
    ],
)
def test_servers_that_do_not_answer_as_they_should(
    server: ScriptedServer, gateway: Gateway, answer: Any, state: str, words: str
) -> None:
    """The call counts at its maximum until somebody knows, and the agent is told not to just repeat it."""
    server.on("pay", lambda asked: answer)
    assert words in refusal(call(gateway, "pay", {"amount": 1}))
    assert state == gateway.settled()["state"]


def test_errors_of_the_protocol(server: ScriptedServer, gateway: Gateway) -> None:
    """One that says that nothing was done costs nothing; of another nobody knows."""
    for code, state, cost in ((-32602, "settled", 0), (-32603, "in_doubt", None)):
        server.on("pay", lambda asked, code=code: error(asked.json, code, "no"))  # type: ignore[misc]
        assert code == call(gateway, "pay", {"amount": 1}).json["error"]["code"]
        assert (state, cost) == (gateway.last_call()["state"], gateway.last_call()["cost_nano_usd"])


@pytest.mark.parametrize(
    ("status", "code", "state"),
    [
        (404, -32001, "settled"),
        (400, -32000, "settled"),
        (400, -32603, "in_doubt"),
        (200, -32000, "in_doubt"),
    ],
)
def test_a_refusal_by_status(
    server: ScriptedServer, gateway: Gateway, status: int, code: int, state: str
) -> None:
    """Who says by HTTP that there is no such session, or that a request is wrong, did nothing; the client hears it."""
    server.on("pay", lambda asked: (status, {}, error({"id": 3}, code, "Session not found")))
    answer = Client(gateway).call("pay", amount=1)
    assert (status, code) == (answer.status, answer.json["error"]["code"])
    assert (state, 0 if state == "settled" else None) == (
        gateway.last_call()["state"],
        gateway.last_call()["cost_nano_usd"],
    )


@pytest.mark.parametrize("status", [201, 202, 204, 206, 303])
def test_a_status_that_says_no_error(server: ScriptedServer, gateway: Gateway, status: int) -> None:
    """Who accepts a call, or says that its result is elsewhere, may have run it: it isn't free."""
    server.on("pay", lambda asked: (status, {}, b"" if status == 204 else result(asked.json, content=[])))
    assert "may have run" in refusal(call(gateway, "pay", {"amount": 1}))
    assert "in_doubt" == gateway.settled()["state"]


def test_nothing_is_kept_back_from_redaction(server: ScriptedServer, gateway: Gateway) -> None:
    """Not what a result has in place of a state or of its type, nor what stands behind a byte order mark."""
    key = gateway.key("careful")
    for members in ({"requestState": SSN}, {"requestState": {"of": SSN}}, {"resultType": SSN}):
        server.on("pay", lambda asked, members=members: result(asked.json, **{"content": [], **members}))  # type: ignore[misc]
        answer = call(gateway, "pay", {"amount": 1}, key=key)
        assert SSN not in answer.body.decode()
        assert b"[SSN:" in answer.body
    mark = "\ufeff".encode()
    server.on("pay", lambda asked: iter((mark + event(result(asked.json, content=[text(SSN)])),)))
    answer = call(gateway, "pay", {"amount": 1}, key=key)
    assert SSN not in answer.body.decode()
    assert b"[SSN:" in answer.body
    assert "settled" == gateway.settled()["state"]


def test_no_event_hides_in_another(server: ScriptedServer, gateway: Gateway) -> None:
    """Some clients see line ends where there are none, in a comment, and would take the rest for an answer."""
    hidden = f"data: {json.dumps(result({'id': 7}, content=[text(SSN)]))}"
    ends = ("\u2028", "\x0b", "\x1e", "\x85")
    comments = [f": begun{end}{hidden}{end}{end}\n\n".encode() for end in ends]
    inside = f": begun\x0c{hidden}\x0c\x0c\n".encode()

    def script(asked: Asked) -> Iterator[bytes]:
        yield from comments
        yield b": alive\n\n"
        yield inside + event(result(asked.json, content=[text("done")]))

    server.on("pay", script)
    answer = call(gateway, "pay", {"amount": 1}, key=gateway.key("careful"))
    assert SSN not in answer.body.decode()
    assert b": alive" in answer.body
    assert "done" == message_of(answer)["result"]["content"][0]["text"]


def test_a_server_that_moves(gateway: Gateway, server: ScriptedServer) -> None:
    """Once it is configured elsewhere no call goes to where it was."""
    with ScriptedServer(TOOLS) as other, Gateway(files(server.url)) as moving:
        call(moving, "pay", {"amount": 1})
        before = len(server.calls())
        moving.apply(files(other.url))
        for _ in range(4):
            call(moving, "pay", {"amount": 1})
        assert before == len(server.calls())
        assert other.calls()
        assert_books_balance(moving)


def test_a_long_result(server: ScriptedServer, gateway: Gateway) -> None:
    """Ten megabytes pass, whole; as one event of a stream they are too long, and the call is in doubt."""
    long = "x" * 10_000_000
    server.on("pay", lambda asked: result(asked.json, content=[text(long)]))
    assert long == call(gateway, "pay", {"amount": 1}).json["result"]["content"][0]["text"]
    server.on("pay", lambda asked: iter((event(result(asked.json, content=[text(long)])),)))
    assert "too long" in refusal(call(gateway, "pay", {"amount": 1}))
    assert "in_doubt" == gateway.last_call()["state"]


def test_the_same_call_under_its_name(server: ScriptedServer, gateway: Gateway) -> None:
    """A repetition is not made again, and is answered under its own id."""
    first = call(gateway, "pay", {"amount": 2}, headers={"idempotency-key": "one"})
    before, calls = len(server.calls()), gateway.count()
    second = call(gateway, "pay", {"amount": 2}, headers={"idempotency-key": "one"}, id_="other")
    assert ("other", first.json["result"]) == (second.json["id"], second.json["result"])
    assert (before, calls) == (len(server.calls()), gateway.count())
    assert "true" == second.headers["aegis-replayed"]


def test_input_is_brought_under_a_name_of_its_own(server: ScriptedServer, gateway: Gateway) -> None:
    """The question is not taken for the answer to a call that answers it, nor one answer for another."""
    asking = {"resultType": "input_required", "inputRequests": {}}
    server.on("pay", lambda asked: result(asked.json, **asking))
    name = {"idempotency-key": "asked"}
    assert "input_required" == call(gateway, "pay", {"amount": 2}, headers=name).json["result"]["resultType"]
    server.scripts.clear()

    def brought(name: str, sure: bool) -> Answer:
        inputs = {"sure": {"action": "accept", "content": {"sure": sure}}}
        params = {"name": "pay", "arguments": {"amount": 2}, "inputResponses": inputs}
        return modern(gateway, "tools/call", params, headers={"idempotency-key": name})

    assert 422 == brought("asked", sure=True).status
    first, again = brought("answered", sure=True), brought("answered", sure=True)
    assert "pay was run" == first.json["result"]["content"][0]["text"]
    assert ("true", first.json) == (again.headers["aegis-replayed"], again.json)
    assert 422 == brought("answered", sure=False).status


def test_a_body_with_half_a_letter(gateway: Gateway) -> None:
    """It is refused as what it is: no text."""
    for part in ("name", "note"):
        params = {"name": "pay", "arguments": {"amount": 1}, part: "\ud800"}
        refused = modern(gateway, "tools/call", params, headers={"mcp-name": "pay"})
        assert (400, -32700) == (refused.status, refused.json["error"]["code"])


def test_what_a_client_can_is_kept_as_far_as_it_is_known(gateway: Gateway) -> None:
    """A session's name stays short, whatever a client says of itself."""
    many: dict[str, Any] = {f"capability-{number}": {} for number in range(5_000)}
    client = Client(gateway, **many, roots={})
    assert len(client.session) < 1_000
    assert 200 == client.post("tools/list").status


def test_forged_runs_and_parents(gateway: Gateway) -> None:
    """Whoever makes up a run or a parent is told so, and nothing is decided."""
    for header in ("aegis-run-id", "aegis-parent-id"):
        before = gateway.count()
        assert "could not decide" in refusal(
            call(gateway, "pay", {"amount": 1}, headers={header: "run_forged"})
        )
        assert before == gateway.count()


def test_a_gateway_stops_although_somebody_listens(server: ScriptedServer) -> None:
    """Streams without an end are closed first; nobody waits for them."""

    def stream(_asked: Asked) -> Iterator[bytes]:
        yield event({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        closed.wait(WAIT_S)

    closed = threading.Event()
    server.on("GET", stream)
    with Gateway(files(server.url)) as gateway:
        client = Client(gateway)
        head = (
            f"GET /mcp/bank HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {gateway.key()}\r\n"
            f"accept: text/event-stream\r\nmcp-session-id: {client.session}\r\n\r\n"
        )
        with socket.create_connection((HOST, gateway.settings.port), timeout=WAIT_S) as connection:
            connection.sendall(head.encode())
            seen = b""
            while b"list_changed" not in seen:
                seen += connection.recv(65_536)
            began = time.monotonic()
            gateway.stop()
            took_s = time.monotonic() - began
        closed.set()
        assert took_s < DRAIN_S / 2


def test_everything_passes_in_proxy_mode(server: ScriptedServer) -> None:
    """Callers without a key too, with the credential that they bring; what nobody declared, and what nobody permits."""
    made = files(server.url)
    made["aegis.yaml"] = made["aegis.yaml"].replace(
        "    quantities:", "    proxy: {unregistered: true}\n    quantities:"
    )
    with Gateway(made) as gateway:
        mine = "sk-of-a-caller-whom-nobody-knows"
        assert 5 == len(names(modern(gateway, "tools/list", key=mine).json["result"]))
        answer = call(gateway, "undeclared", {"x": 1}, key=mine)
        assert "undeclared was run" == answer.json["result"]["content"][0]["text"]
        assert f"Bearer {mine}" == server.calls("undeclared")[-1].headers["authorization"]
        assert "forbidden was run" == call(gateway, "forbidden").json["result"]["content"][0]["text"]
        rows = gateway.calls()
        assert ["bank.?", "bank.forbidden"] == [row["tool"] for row in rows]
        assert [("in_doubt", None), ("settled", 0)] == [(row["state"], row["cost_nano_usd"]) for row in rows]
        assert mine not in json.dumps(gateway.entries())
