"""Agents that try what isn't theirs over MCP: others' runs, sessions and states, two meanings in one, rebinding."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.gateways import HOST, WAIT_S, Gateway, ask, assert_books_balance, exchange, until
from tests.mcp_calls import ACCEPT, LEGACY, META, MODERN, Session, mcp_configuration, modern, modern_call
from tests.mcp_hostile import HostileServer, Message, answer_to, required, said, send, stream

pytestmark = pytest.mark.xdist_group("mcp-hostile-agents")

JSON = "application/json"
FORM = {"message": "sure?", "requestedSchema": {"type": "object", "properties": {"ok": {"type": "boolean"}}}}
ASKABLE: dict[str, Any] = {"elicitation": {}}
OK = {"sure": {"action": "accept", "content": {"ok": True}}}
BANK = """\
kind: mcp
base_url: {url}
operations:
  pay:
    arguments: {{amount: {{type: integer, from: args.amount}}}}
    price: {{per_call: 0.10}}
  confirm: {{price: {{per_call: 0.10}}}}
  hidden: {{price: {{per_call: 0}}}}
  slow: {{price: {{per_call: 0.10}}}}
"""
POLICIES = """\
@id("all-may")
permit(principal, action, resource);

@id("mallory-may-not")
@effect("deny")
@reason("mallory confirms nothing")
forbid(principal == Agent::"mallory", action == Action::"bank.confirm", resource);
"""
left: list[bool] = []


def _pay(message: Message, connection: socket.socket) -> None:
    send(connection, answer_to(message, said(f"paid {message['params']['arguments']}")))


def _confirm(message: Message, connection: socket.socket) -> None:
    """Trusts what it is given back, as a careless server does."""
    params = message["params"]
    if params.get("requestState") == "asked the owner":
        send(connection, answer_to(message, said("confirmed")))
    else:
        question = {"method": "elicitation/create", "params": FORM}
        send(connection, required(message, "asked the owner", sure=question))


def _slow(message: Message, connection: socket.socket) -> None:
    """Begins its answer, and waits for whoever called it to leave."""
    stream(connection, {"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "wait"}})
    connection.settimeout(WAIT_S)
    left.append(connection.recv(1) == b"")


@pytest.fixture(scope="module")
def server() -> Iterator[HostileServer]:
    """A server that trusts whoever speaks to it."""
    with HostileServer({"pay": _pay, "confirm": _confirm, "hidden": _pay, "slow": _slow}) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(server: HostileServer) -> Iterator[Gateway]:
    """A gateway in front of it, with two agents."""
    files = mcp_configuration(
        {"bank": BANK.format(url=server.url)}, agents=("bot", "mallory"), policies=POLICIES
    )
    with Gateway(files) as gateway:
        yield gateway
        assert "paid" in modern_call(gateway, "pay", {"amount": 1}).text
        assert_books_balance(gateway)


def raw(gateway: Gateway, body: bytes, **headers: str) -> bytes:
    """A request with these headers, and none that a library would add; all that comes back."""
    given = {
        "host": f"localhost:{gateway.settings.port}",
        "authorization": f"Bearer {gateway.key()}",
        "content-type": JSON,
        "accept": ACCEPT,
        "content-length": str(len(body)),
        "connection": "close",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return exchange(gateway, f"POST /mcp/bank HTTP/1.1\r\n{lines}\r\n".encode() + body)


def body_of(method: str, **params: Any) -> bytes:
    """A request in the form of 2026-07-28."""
    meta = {f"{META}protocolVersion": MODERN, f"{META}clientCapabilities": {}}
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"_meta": meta, **params}}
    return json.dumps(message).encode()


# -- runs ------------------------------------------------------------------------------------------------------


def test_a_forged_run(gateway: Gateway, server: HostileServer) -> None:
    """A run that nobody opened, and one of another agent: neither call is sent."""
    others = modern_call(gateway, "pay", {"amount": 1}).told["run"]
    before = len(server.calls())
    for run in ("run_0000", others[:-1] + ("0" if others[-1] != "0" else "1"), others):
        came = modern_call(
            gateway, "pay", {"amount": 2}, key=gateway.key("mallory"), headers={"aegis-run-id": run}
        )
        assert came.result["isError"]
        assert "deny" == came.told["effect"]
    assert before == len(server.calls())


def test_a_forged_parent(gateway: Gateway, server: HostileServer) -> None:
    """A parent call that nobody made is refused: depth and budgets of families hang on it."""
    mine = modern_call(gateway, "pay", {"amount": 1}).told["decision_id"]
    before = len(server.calls())
    for parent in ("call_0000", mine[:-1] + ("0" if mine[-1] != "0" else "1")):
        came = modern_call(gateway, "pay", {"amount": 2}, headers={"aegis-parent-id": parent})
        assert came.result["isError"]
    assert before == len(server.calls())


# -- sessions and states ---------------------------------------------------------------------------------------


def test_anothers_session(gateway: Gateway, server: HostileServer) -> None:
    """A session is its agent's: another's key with it, or a changed name, is no session (404), and nothing is sent."""
    session = Session(gateway)
    assert "the-servers-own" not in session.id
    assert "paid" in session.call("pay", {"amount": 1}).text
    before = len(server.requests)
    assert 404 == session.call("pay", {"amount": 2}, key=gateway.key("mallory")).status
    for forged in ("the-servers-own", session.id[:-2] + "AA", session.id * 2, "x" * 9_000, "\x7f"):
        came = session.call("pay", {"amount": 2}, headers={"mcp-session-id": forged})
        assert came.status in (400, 404, 431)
    assert before == len(server.requests)
    assert "paid" in session.call("pay", {"amount": 3}).text


def test_a_session_ends_with_its_agents_key(gateway: Gateway, server: HostileServer) -> None:
    """Who is let in by a session alone? Nobody: without a key, or with a bad one, it is of no use."""
    session = Session(gateway)
    before = len(server.requests)
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    given = {"mcp-session-id": session.id, "mcp-protocol-version": LEGACY, "accept": ACCEPT}
    assert 401 == ask(gateway, "POST", "/mcp/bank", body, key=None, headers=given).status
    assert 401 == session.send("tools/list", key="aegis_test_nobodys").status
    assert before == len(server.requests)


def test_a_state_is_of_one_agent_and_one_request(gateway: Gateway, server: HostileServer) -> None:
    """What a server wants back comes back sealed, from whom it was given to, for the request that it belongs to."""
    asked = modern_call(gateway, "confirm", {"a": 1}, capabilities=ASKABLE)
    state = asked.result["requestState"]
    assert "owner" not in state
    answered = {"requestState": state, "inputResponses": OK}
    good = modern_call(gateway, "confirm", {"a": 1}, capabilities=ASKABLE, more=answered)
    assert "confirmed" == good.text
    before = len(server.calls())
    flipped = state[:-3] + ("AAA" if state[-3:] != "AAA" else "BBB")
    forged = ["asked the owner", base64.b64encode(b"asked the owner").decode(), flipped, "", "é" * 9]
    tries: list[Mapping[str, Any]] = [
        {"arguments": {"a": 2}, "more": answered},
        *({"arguments": {"a": 1}, "more": {**answered, "requestState": each}} for each in [*forged, 7, [1]]),
    ]
    for each in tries:
        came = modern_call(gateway, "confirm", capabilities=ASKABLE, **each)
        assert (400, -32602) == (came.status, came.error["code"]), each
    other = modern_call(gateway, "hidden", {"a": 1}, capabilities=ASKABLE, more=answered)
    assert -32602 == other.error["code"]
    mallorys = modern_call(
        gateway, "confirm", {"a": 1}, capabilities=ASKABLE, more=answered, key=gateway.key("mallory")
    )
    assert "error" in mallorys.last or mallorys.result["isError"]
    assert before == len(server.calls())


# -- two meanings in one message -------------------------------------------------------------------------------

OTHERWISE = {
    "another method": {"mcp-method": "tools/list"},
    "another tool": {"mcp-name": "hidden"},
    "another version": {"mcp-protocol-version": "2025-11-25"},
    "another tool, encoded": {"mcp-name": "=?base64?aGlkZGVu?="},
    "nonsense, encoded": {"mcp-name": "=?base64?@@@?="},
    "the method in capitals": {"mcp-method": "TOOLS/CALL"},
}


@pytest.mark.parametrize("headers", OTHERWISE.values(), ids=OTHERWISE)
def test_headers_that_say_otherwise(gateway: Gateway, server: HostileServer, headers: dict[str, str]) -> None:
    """Who reads only the headers must see what the body does: else 400 and -32020, and nothing is sent."""
    before = len(server.requests)
    came = modern_call(gateway, "pay", {"amount": 1}, headers=headers)
    assert (400, -32020) == (came.status, came.error["code"])
    assert before == len(server.requests)


def test_headers_that_say_the_same_otherwise(gateway: Gateway) -> None:
    """The same name, encoded, is the same."""
    assert "paid" in modern_call(gateway, "pay", {"amount": 1}, headers={"mcp-name": "=?base64?cGF5?="}).text


BODIES = {
    "a key twice": b'{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call","params":{}}',
    "a name twice": body_of("tools/call", name="pay", arguments={"amount": 1}).replace(
        b'"name": "pay"', b'"name": "hidden", "name": "pay"'
    ),
    "an argument twice": body_of("tools/call", name="pay", arguments={"amount": 1}).replace(
        b'"amount": 1', b'"amount": 1, "amount": 900'
    ),
    "an entity": body_of(
        "tools/call", name="pay", arguments={"amount": {"__entity": {"type": "Agent", "id": "bot"}}}
    ),
    "no JSON": b"{",
    "not UTF-8": b'{"jsonrpc":"2.0","id":1,"method":"\xff"}',
    "a batch": b"[" + body_of("tools/call", name="pay", arguments={"amount": 1}) + b"]",
    "nothing": b"",
    "no object": b'"tools/call"',
    "deep": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    "an answer of nobody's": b'{"jsonrpc":"2.0","id":1,"result":{}}',
    "arguments that are a list": body_of("tools/call", name="pay", arguments=[1]),
    "a name that is a number": body_of("tools/call", name=7, arguments={}),
    "no number at all": body_of("tools/call", name="pay", arguments={"amount": 1}).replace(b"1}", b"NaN}"),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_bodies_that_can_be_read_in_two_ways(gateway: Gateway, server: HostileServer, body: bytes) -> None:
    """What could mean one thing here and another there, or nothing at all, is answered with an error and not sent."""
    before = len(server.calls())
    came = raw(
        gateway,
        body,
        mcp_protocol_version=MODERN,
        mcp_method="tools/call",
        mcp_name="pay",
    )
    status = int(came.split(b" ")[1])
    assert status in (200, 202, 400), came
    if status == 200:
        assert b'"isError":true' in came or b'"error"' in came, came
    assert before == len(server.calls())


def test_an_unknown_version(gateway: Gateway, server: HostileServer) -> None:
    """A version that nobody speaks: 400, -32022, and those that are spoken."""
    before = len(server.requests)
    params = {"_meta": {f"{META}protocolVersion": "2099-01-01"}}
    came = modern(gateway, "tools/list", params, headers={"mcp-protocol-version": "2099-01-01"})
    assert (400, -32022) == (came.status, came.error["code"])
    assert MODERN in came.error["data"]["supported"]
    assert before == len(server.requests)


@pytest.mark.parametrize(
    "method", ["tasks/get", "resources/subscribe", "initialize", "sampling/createMessage", "x"]
)
def test_methods_that_are_not_served(gateway: Gateway, server: HostileServer, method: str) -> None:
    """Only what is known is passed on: 404 and -32601 for the rest."""
    before = len(server.requests)
    came = modern(gateway, method, {})
    assert (404, -32601) == (came.status, came.error["code"])
    assert before == len(server.requests)


# -- rebinding, and places that aren't there -------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example.com"},
        {"host": "localhost.evil.example.com"},
        {"origin": "http://evil.example.com"},
        {"origin": "null"},
        {"origin": "http://localhost.evil.example.com"},
        {"host": "evil.example.com", "origin": "http://evil.example.com"},
    ],
    ids=str,
)
def test_a_page_that_calls_from_elsewhere(
    gateway: Gateway, server: HostileServer, headers: dict[str, str]
) -> None:
    """A page whose name leads here is not let in, even by a browser that has a key."""
    before = len(server.requests)
    came = raw(
        gateway, body_of("tools/list"), mcp_protocol_version=MODERN, mcp_method="tools/list", **headers
    )
    assert 403 == int(came.split(b" ")[1])
    assert before == len(server.requests)


@pytest.mark.parametrize(
    "origin", ["http://localhost:{port}", "http://127.0.0.1:{port}", "http://[::1]:{port}"]
)
def test_a_page_of_this_machine(gateway: Gateway, origin: str) -> None:
    """A page of this machine's own may call."""
    given = {"origin": origin.format(port=gateway.settings.port)}
    assert 200 == modern(gateway, "tools/list", headers=given).status


@pytest.mark.parametrize(
    "path", ["/mcp/nobody", "/mcp/bank/", "/mcp/bank/tools", "/mcp/..%2fbank", "/mcp/BANK"]
)
def test_servers_that_are_not_there(gateway: Gateway, server: HostileServer, path: str) -> None:
    """Another name is another server, and there is none."""
    before = len(server.requests)
    assert 404 == modern_call(gateway, "pay", {"amount": 1}, path=path).status
    assert before == len(server.requests)


def test_a_policy_for_one_agent(gateway: Gateway, server: HostileServer) -> None:
    """What one may not call it does not get, and reads why; another does."""
    before = server.calls().count("confirm")
    came = modern_call(gateway, "confirm", key=gateway.key("mallory"), capabilities=ASKABLE)
    assert came.result["isError"]
    assert "mallory confirms nothing" in came.text
    assert before == server.calls().count("confirm")


# -- leaving ---------------------------------------------------------------------------------------------------


def test_a_caller_who_leaves(gateway: Gateway) -> None:
    """Closing the answer's stream cancels the call: the server learns it, and the call counts until it is known."""
    body = body_of("tools/call", name="slow", arguments={})
    head = (
        f"POST /mcp/bank HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {gateway.key()}\r\n"
        f"content-type: {JSON}\r\naccept: {ACCEPT}\r\nmcp-protocol-version: {MODERN}\r\n"
        f"mcp-method: tools/call\r\nmcp-name: slow\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((HOST, gateway.settings.port), timeout=WAIT_S) as connection:
        connection.sendall(head.encode() + body)
        received = b""
        while b"wait" not in received:
            received += connection.recv(65_536)
    until(lambda: gateway.calls()[-1]["state"] == "in_doubt", "nobody noticed that the caller had left")
    until(lambda: bool(left), "the server never learnt that its caller had left")
    assert [True] == left
