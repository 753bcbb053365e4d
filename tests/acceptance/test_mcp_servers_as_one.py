"""All MCP servers as one, at `/mcp`; and servers of one form of the protocol for callers of the other."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from aegis_gateway.entrypoints.data_plane.mcp.speaking import SOON_S
from tests.acceptance.test_mcp import Client, call, message_of, messages_of, modern, names, refusal
from tests.gateways import HOST, TENANT, WAIT_S, Answer, Gateway, assert_books_balance, configuration
from tests.scripted_mcp import CAPABILITIES, MODERN, VERSION, Asked, ScriptedServer, event, result, text

pytestmark = pytest.mark.xdist_group("mcp-as-one")

ALL = "/mcp"
CONNECTORS = """\
      old:
        kind: mcp
        base_url: {old}
        network: private
        operations: {{pay: {{arguments: {{amount: {{type: integer, from: args.amount}}}}, price: {{per_call: 0.10}}}}}}
      new:
        kind: mcp
        base_url: {new}
        network: private
        other_tools: {{price: {{per_call: 0.20}}}}
      hidden: {{kind: mcp, base_url: "{new}", network: private, other_tools: {{price: {{per_call: 0}}}}}}
      dead: {{kind: mcp, base_url: "http://127.0.0.1:9/mcp", network: private, other_tools: {{price: {{per_call: 0}}}}}}
"""
POLICIES = """
@id("all-may") permit(principal, action, resource) unless { resource == Connector::"hidden" };
@id("not-rare") @reason("rare is not for agents") forbid(principal, action == Action::"new.?", resource)
when { context.args.tool == "rare" };
"""
REGION = {"type": "string", "x-mcp-header": "Region"}
NEW_TOOLS: list[dict[str, Any]] = [
    {"name": "find_it", "inputSchema": {"type": "object", "properties": {"region": REGION}}},
    {"name": "rare", "inputSchema": {"type": "object"}},
]
OLD_TOOLS: list[dict[str, Any]] = [
    {"name": "pay", "inputSchema": {"type": "object", "$defs": {"kept": True}}},
    {"name": "undeclared", "inputSchema": {"type": "object"}},
]


@pytest.fixture(scope="module")
def old() -> Iterator[ScriptedServer]:
    """A server that speaks only the legacy form."""
    with ScriptedServer(OLD_TOOLS, eras=("legacy",)) as server:
        yield server


@pytest.fixture(scope="module")
def new() -> Iterator[ScriptedServer]:
    """A server that speaks only the modern form."""
    with ScriptedServer(NEW_TOOLS, eras=("modern",)) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(old: ScriptedServer, new: ScriptedServer) -> Iterator[Gateway]:
    """A gateway in front of both, and of one that nobody runs."""
    made = configuration("http://127.0.0.1:9", agents=("bot", "other"), policies=POLICIES)
    connectors = CONNECTORS.format(old=old.url, new=new.url)
    made["aegis.yaml"] = made["aegis.yaml"].replace("    connectors:\n", f"    connectors:\n{connectors}")
    with Gateway(made) as gateway:
        yield gateway
        assert_books_balance(gateway)


@pytest.fixture(autouse=True)
def _fresh(old: ScriptedServer, new: ScriptedServer) -> None:
    """Each test begins with servers that do nothing special."""
    old.scripts.clear()
    new.scripts.clear()


@contextlib.contextmanager
def stream_of(gateway: Gateway, request: bytes) -> Iterator[Iterator[bytes]]:
    """The pieces of an answer as they come, until the block is left and the connection closed."""
    with socket.create_connection((HOST, gateway.settings.port), timeout=WAIT_S) as connection:
        connection.sendall(request)
        yield iter(lambda: connection.recv(65_536), b"")


def words(answer: Answer) -> str:
    """The text of a result."""
    return str(message_of(answer)["result"]["content"][0]["text"])


def test_all_tools_in_one_list(gateway: Gateway) -> None:
    """What the agent may call, named by server; what doesn't answer is missing and said to be."""
    listed = modern(gateway, "tools/list", path=ALL).json["result"]
    assert ["old_pay", "new_find_it", "new_rare"] == names(listed)
    assert ("private", 0) == (listed["cacheScope"], listed["ttlMs"])
    assert ["dead"] == listed["_meta"]["aegis/call"]["missing"]
    assert {**OLD_TOOLS[0], "name": "old_pay"} == listed["tools"][0]


def test_a_call_goes_to_the_server_it_is_named_by(
    old: ScriptedServer, new: ScriptedServer, gateway: Gateway
) -> None:
    """Under the name that the tool has there, whichever form of the protocol the server speaks."""
    assert "find_it was run" == words(call(gateway, "new_find_it", path=ALL))
    assert "find_it" == new.calls()[-1].headers["mcp-name"]
    assert ("new.?", 200_000_000) == (gateway.last_call()["tool"], gateway.last_call()["cost_nano_usd"])
    for _ in range(2):
        assert "pay was run" == words(call(gateway, "old_pay", {"amount": 1}, path=ALL))
    arrived = old.calls("pay")
    assert arrived[-1].headers["mcp-session-id"] == arrived[-2].headers["mcp-session-id"]
    assert arrived[-1].json["id"] != arrived[-2].json["id"]
    assert not {name for name in arrived[-1].headers if name in ("mcp-name", "mcp-method")}
    assert "io.modelcontextprotocol" not in arrived[-1].body.decode()
    call(gateway, "old_pay", {"amount": 1}, path=ALL, key=gateway.key("other"))
    assert old.calls("pay")[-1].headers["mcp-session-id"] != arrived[-1].headers["mcp-session-id"]


def test_what_is_nobodys_is_refused(old: ScriptedServer, new: ScriptedServer, gateway: Gateway) -> None:
    """Nothing is tried at one server after the other."""
    before = len(old.asked), len(new.asked)
    assert "`pay`" in refusal(call(gateway, "pay", {"amount": 1}, path=ALL))
    assert "rare is not for agents" in refusal(call(gateway, "new_rare", path=ALL))
    assert "no policy permits" in refusal(call(gateway, "hidden_find_it", path=ALL))
    assert "no tool `undeclared`" in refusal(call(gateway, "old_undeclared", path=ALL))
    assert "nothing was sent" in refusal(call(gateway, "dead_any", path=ALL))
    assert ("settled", 0) == (gateway.last_call()["state"], gateway.last_call()["cost_nano_usd"])
    assert before == (len(old.asked), len(new.asked))
    other = modern(gateway, "resources/read", {"uri": "aegis://hidden/file:///x"}, path=ALL)
    assert -32602 == other.json["error"]["code"]


def completed_with_its_reference(asked: Asked) -> dict[str, Any]:
    """A completion that is what it was asked about."""
    return result(asked.json, completion={"values": [asked.json["params"]["ref"]["uri"]]})


def test_resources_and_prompts_of_all(new: ScriptedServer, gateway: Gateway) -> None:
    """Their names say whose they are, in lists, in what is read, and in what tools give."""
    capabilities: dict[str, Any] = {kind: {} for kind in ("tools", "resources", "prompts", "completions")}
    new.on(
        "server/discover",
        lambda asked: result(asked.json, supportedVersions=["2026-07-28"], capabilities=capabilities),
    )
    new.on("resources/list", lambda asked: result(asked.json, resources=[{"uri": "file:///x", "name": "x"}]))
    new.on("prompts/list", lambda asked: result(asked.json, prompts=[{"name": "hello"}]))
    new.on("prompts/get", lambda asked: result(asked.json, messages=[text(asked.json["params"]["name"])]))
    new.on("completion/complete", completed_with_its_reference)
    link = {"type": "resource_link", "uri": "file:///x", "name": "x"}
    new.on("find_it", lambda asked: result(asked.json, content=[link]))

    def found(method: str, **params: Any) -> Any:
        return modern(gateway, method, params, path=ALL, key=gateway.key("other")).json["result"]

    assert {"prompts", "resources", "completions", "tools"} == set(found("server/discover")["capabilities"])
    uri = "aegis://new/file:///x"
    assert [uri] == [each["uri"] for each in found("resources/list")["resources"]]
    assert [uri] == [each["uri"] for each in found("resources/read", uri=uri)["contents"]]
    assert ["new_hello"] == [each["name"] for each in found("prompts/list")["prompts"]]
    assert "hello" == found("prompts/get", name="new_hello")["messages"][0]["text"]
    completed = found("completion/complete", ref={"type": "ref/resource", "uri": uri}, argument={})
    assert ["file:///x"] == completed["completion"]["values"]
    called = call(gateway, "new_find_it", path=ALL, key=gateway.key("other"))
    assert uri == called.json["result"]["content"][0]["uri"]


def test_a_session_with_all_of_them(new: ScriptedServer, old: ScriptedServer, gateway: Gateway) -> None:
    """A legacy caller reaches servers of both forms; headers that a modern one wants are made for it."""
    client = Client(gateway, path=ALL)
    assert "tools" in client.initialized["capabilities"]
    assert ["old_pay", "new_find_it", "new_rare"] == names(client.post("tools/list").json["result"])
    assert "pay was run" == words(client.call("old_pay", amount=1))
    assert "find_it was run" == words(client.call("new_find_it", region="eu"))
    headers = new.calls("find_it")[-1].headers
    assert ("eu", "find_it", "2026-07-28") == (
        headers["mcp-param-region"],
        headers["mcp-name"],
        headers["mcp-protocol-version"],
    )
    gateway.restart()
    assert "pay was run" == words(client.call("old_pay", amount=1))
    elsewhere = Client(gateway, path="/mcp/old")
    elsewhere.session = client.session
    assert 404 == elsewhere.post("tools/list").status


def test_a_server_of_the_other_form(new: ScriptedServer, old: ScriptedServer, gateway: Gateway) -> None:
    """At its own address too: a modern caller at a legacy server, a legacy caller at a modern one."""
    assert ["pay"] == names(modern(gateway, "tools/list", path="/mcp/old").json["result"])
    found = modern(gateway, "server/discover", path="/mcp/old").json["result"]
    assert ["2026-07-28"] == found["supportedVersions"]
    answer = call(gateway, "pay", {"amount": 1}, path="/mcp/old")
    assert ("complete", "pay was run") == (answer.json["result"]["resultType"], words(answer))
    client = Client(gateway, path="/mcp/new")
    assert "find_it was run" == words(client.call("find_it", region="eu"))
    asking = {"resultType": "input_required", "requestState": "state"}
    new.on("find_it", lambda asked: {"jsonrpc": "2.0", "id": asked.json["id"], "result": asking})
    assert -32021 == client.call("find_it").json["error"]["code"]


def test_progress_of_a_server_of_the_other_form(old: ScriptedServer, gateway: Gateway) -> None:
    """It is told under the token that the caller gave."""

    def script(asked: Asked) -> Iterator[bytes]:
        token = asked.json["params"]["_meta"]["progressToken"]
        progress = {"progressToken": token, "progress": 1}
        yield event({"jsonrpc": "2.0", "method": "notifications/progress", "params": progress})
        yield event(result(asked.json, content=[text("done")]))

    old.on("pay", script)
    client = Client(gateway, path=ALL)
    params = {"name": "old_pay", "arguments": {"amount": 1}, "_meta": {"progressToken": "mine"}}
    progress, last = messages_of(client.post("tools/call", **params))
    assert ("mine", "done") == (progress["params"]["progressToken"], last["result"]["content"][0]["text"])


def test_a_session_that_the_server_has_forgotten(old: ScriptedServer, gateway: Gateway) -> None:
    """The gateway begins another one; the caller hears nothing of it."""
    assert "pay was run" == words(call(gateway, "old_pay", {"amount": 1}, path=ALL))
    forgotten = old.calls("pay")[-1].headers["mcp-session-id"]
    old.forgotten.add(forgotten)
    assert "pay was run" == words(call(gateway, "old_pay", {"amount": 1}, path=ALL))
    assert forgotten != old.calls("pay")[-1].headers["mcp-session-id"]


def test_a_session_that_cannot_be_begun(old: ScriptedServer, gateway: Gateway) -> None:
    """The call for which it was to be was never sent, and costs nothing."""
    assert "pay was run" == words(call(gateway, "pay", {"amount": 1}, path="/mcp/old"))
    old.forgotten.add(old.calls("pay")[-1].headers["mcp-session-id"])
    old.on("initialize", lambda asked: None)
    assert "try again later" in refusal(call(gateway, "pay", {"amount": 1}, path="/mcp/old"))
    assert ("settled", 0) == (gateway.last_call()["state"], gateway.last_call()["cost_nano_usd"])


@pytest.mark.parametrize("meta", [None, [], 5, "x"])
def test_what_a_request_says_of_itself_is_no_object(gateway: Gateway, meta: object) -> None:
    """Then it says nothing; the call is made as any other."""
    client = Client(gateway, path="/mcp/new")
    came = client.post("tools/call", name="find_it", arguments={"region": "eu"}, _meta=meta)
    assert "find_it was run" == words(came)
    assert "settled" == gateway.last_call()["state"]


def test_nobody_shapes_what_others_get(new: ScriptedServer, old: ScriptedServer) -> None:
    """What is kept for all is asked for without the headers of whoever wants it first."""
    made = configuration("http://127.0.0.1:9", policies=POLICIES)
    connectors = CONNECTORS.format(old=old.url, new=new.url)
    made["aegis.yaml"] = made["aegis.yaml"].replace("    connectors:\n", f"    connectors:\n{connectors}")
    before = len(new.asked)
    with Gateway(made) as gateway:
        headers = {"x-toolset": "all"}
        listed = modern(gateway, "tools/list", path=ALL, headers=headers).json["result"]
        assert "new_find_it" in names(listed)
        assert "find_it was run" == words(call(gateway, "find_it", path="/mcp/new", headers=headers))
    asked = {each.json["method"]: each for each in new.asked[before:] if each.method == "POST"}
    assert {"server/discover", "tools/list", "tools/call"} <= asked.keys()
    shaped = {method for method, each in asked.items() if "x-toolset" in each.headers}
    assert {"tools/call"} == shaped


def test_listening_to_all(new: ScriptedServer, gateway: Gateway) -> None:
    """One stream tells what servers agreed to tell; a caller who leaves ends it."""
    meta = {"io.modelcontextprotocol/subscriptionId": 5}

    def script(asked: Asked) -> Iterator[bytes]:
        wanted = asked.json["params"]["notifications"]
        params = {"_meta": meta, "notifications": wanted}
        yield event(
            {"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": params}
        )
        updated = {"_meta": meta, "uri": wanted["resourceSubscriptions"][0]}
        yield event({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": updated})

    new.on("subscriptions/listen", script)
    wanted = {
        "toolsListChanged": True,
        "resourceSubscriptions": ["aegis://new/file:///x", "aegis://old/file:///y"],
    }
    body = {
        "jsonrpc": "2.0", "id": 5, "method": "subscriptions/listen",
        "params": {
            "notifications": wanted,
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        },
    }  # fmt: skip
    raw = json.dumps(body).encode()
    head = (
        f"POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {gateway.key()}\r\n"
        "content-type: application/json\r\nmcp-protocol-version: 2026-07-28\r\nmcp-method: subscriptions/listen\r\n"
        f"content-length: {len(raw)}\r\n\r\n"
    )
    with stream_of(gateway, head.encode() + raw) as pieces:
        seen = b""
        while b"resources/updated" not in seen:
            seen += next(pieces)
    said = [json.loads(line[6:]) for line in seen.decode().splitlines() if line.startswith("data: {")]
    agreed = said[0]["params"]["notifications"]
    assert (True, ["aegis://new/file:///x"]) == (agreed["toolsListChanged"], agreed["resourceSubscriptions"])
    assert "aegis://new/file:///x" == said[1]["params"]["uri"]


def test_a_server_that_says_nothing_holds_nobody_up(new: ScriptedServer, gateway: Gateway) -> None:
    """It is missing from lists, and for a while it isn't asked again."""
    going_on = threading.Event()

    def silent(_asked: Asked) -> Iterator[bytes]:
        going_on.wait(WAIT_S)
        yield b""

    new.on("tools/list", silent)
    gateway.restart()  # which forgets what lists said that lasts
    try:
        assert ["dead", "new"] == sorted(missing(gateway))
        began = time.monotonic()
        assert ["dead", "new"] == sorted(missing(gateway))
        assert time.monotonic() - began < SOON_S
    finally:
        going_on.set()


def missing(gateway: Gateway) -> list[str]:
    """The servers that a list lacks."""
    listed = modern(gateway, "tools/list", path=ALL, key=gateway.key("other")).json["result"]
    assert ["old_pay"] == names(listed)
    found: list[str] = listed["_meta"]["aegis/call"]["missing"]
    return found


def test_who_is_not_allowed_in_any_more_hears_nothing_any_more(new: ScriptedServer, gateway: Gateway) -> None:
    """A stream that is open ends when its caller's key is revoked."""
    issued = gateway.issue("other")
    params = {"notifications": {}, "_meta": {VERSION: MODERN, CAPABILITIES: {}}}
    raw = json.dumps({"jsonrpc": "2.0", "id": 5, "method": "subscriptions/listen", "params": params}).encode()
    head = (
        f"POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {issued.secret}\r\n"
        f"content-type: application/json\r\nmcp-protocol-version: {MODERN}\r\nmcp-method: subscriptions/listen\r\n"
        f"content-length: {len(raw)}\r\n\r\n"
    )
    with stream_of(gateway, head.encode() + raw) as pieces:
        seen = b""
        while b"acknowledged" not in seen:
            seen += next(pieces)
        with gateway.administration() as administration:
            administration.revoke_key(TENANT, issued.key.id)
        # A chunk of no bytes is the end of a stream.
        assert any(b"0\r\n\r\n" in piece for piece in pieces)
