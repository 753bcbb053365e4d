"""Callers who leave while their calls wait for a rate's next turn: at every door all is given back at once."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from aegis_gateway.application.waiting_calls import LEFT, STOPPING
from aegis_gateway.demo.upstream.process import UpstreamProcess
from tests.acceptance.test_mcp import SERVER, TOOLS
from tests.acceptance.test_telemetry_doors import LOCAL
from tests.envoys import TOKEN, EnvoyedGateway
from tests.gateways import (
    CREDENTIAL_VARIABLE,
    HOST,
    Gateway,
    ask,
    assert_books_balance,
    chat_body,
    configuration,
    until,
)
from tests.mcp_calls import ACCEPT, LEGACY, META, MODERN, Session
from tests.scripted_mcp import ScriptedServer

pytestmark = pytest.mark.xdist_group("waiting-callers")

Sent = tuple[str, object, dict[str, str]]
"""A request: where it goes, its body, its headers."""

PAY = {"amount": 1, "currency": "USD", "beneficiary": "x"}
RPC = {"jsonrpc": "2.0", "id": 7, "method": "tools/call"}
TOOL = {"name": "pay", "arguments": {"amount": 1}}
IN_MCP = {"accept": ACCEPT, "mcp-protocol-version": MODERN, "mcp-method": "tools/call", "mcp-name": "pay"}
ABOUT = {f"{META}protocolVersion": MODERN, f"{META}clientCapabilities": {}}
EVALUATION = {"action": {"name": "rank"}, "resource": {"type": "connector", "id": "desk"}}


def mcp_session(gateway: Gateway, key: str) -> Sent:
    """A call in a session of the older form."""
    session = Session(gateway, key=key).id
    headers = {"accept": ACCEPT, "mcp-protocol-version": LEGACY, "mcp-session-id": session}
    return "/mcp/bank", {**RPC, "params": TOOL}, headers


DOORS: dict[str, Callable[[Gateway, str], Sent]] = {
    "models": lambda _gateway, _key: ("/v1/chat/completions", chat_body("hi"), {}),
    "models-named": lambda _gateway, _key: (
        "/v1/chat/completions", chat_body("hi", stream=True), {"idempotency-key": "once"},
    ),
    "connect": lambda _gateway, _key: ("/connect/api/v1/payments", PAY, {}),
    "connect-named": lambda _gateway, _key: ("/connect/api/v1/payments", PAY, {"idempotency-key": "once"}),
    "mcp": lambda _gateway, _key: (
        "/mcp/bank", {**RPC, "params": {**TOOL, "_meta": ABOUT}}, IN_MCP,
    ),
    "mcp-named": lambda _gateway, _key: (
        "/mcp/bank", {**RPC, "params": {**TOOL, "_meta": ABOUT}}, {**IN_MCP, "idempotency-key": "once"},
    ),
    "mcp-legacy": mcp_session,
    "decisions": lambda _gateway, _key: ("/v1/decisions", {"tool": "desk.rank", "name": "once"}, {}),
    "decisions-batch": lambda _gateway, _key: (
        "/v1/decisions/batch", {"decisions": [{"tool": "desk.rank"}]}, {},
    ),
    "aegislib": lambda _gateway, _key: (
        "/v1/decision",
        {"agent_id": "aegislib", "tool": {"name": "rank", "params": {}}, "session": None},
        {},
    ),
    "authzen": lambda _gateway, _key: (
        "/access/v1/evaluation", {"subject": {"type": "agent", "id": "authzen"}, **EVALUATION}, {},
    ),
    "authzen-all": lambda _gateway, _key: (
        "/access/v1/evaluations",
        {"subject": {"type": "agent", "id": "authzen-all"}, "evaluations": [EVALUATION]},
        {},
    ),
    "ext-authz": lambda _gateway, _key: (
        "/ext_authz/api/v1/payments",
        PAY,
        {
            "aegis-envoy-token": TOKEN,
            "x-envoy-auth-partial-body": "false",
            "x-envoy-expected-rq-timeout-ms": "36000000",
        },
    ),
}  # fmt: skip
"""What each agent asks, which is called as the door that it comes in by."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    """The bundled provider and payments API."""
    with UpstreamProcess() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(upstream: UpstreamProcess) -> Iterator[EnvoyedGateway]:
    """One in which each agent has a turn an hour, and may wait for the next ones."""
    files = configuration(
        upstream.base_url,
        agents=DOORS,
        rates={f"of-{name}": f"limit: 1, every: 1h, delay: 4h, match: {{agent: {name}}}" for name in DOORS},
    )
    with ScriptedServer(TOOLS) as server:
        more = LOCAL + SERVER.format(url=server.url, variable=CREDENTIAL_VARIABLE)
        text = files["aegis.yaml"].replace("    connectors:\n", f"    connectors:\n{more}", 1)
        with EnvoyedGateway({**files, "aegis.yaml": text}, workers=2) as gateway:
            yield gateway
            assert_books_balance(gateway)


def sent(gateway: Gateway, key: str, path: str, body: object, headers: Mapping[str, str]) -> socket.socket:
    """A connection on which a request was sent, and which nobody reads."""
    raw = json.dumps(body).encode()
    lines = {
        "host": f"{HOST}:{gateway.settings.port}",
        "authorization": f"Bearer {key}",
        "content-type": "application/json",
        "content-length": str(len(raw)),
        **headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    connection = socket.create_connection((HOST, gateway.settings.port))
    connection.sendall(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + raw)
    return connection


def last_of(gateway: Gateway, agent: str) -> dict[str, Any]:
    """An agent's newest call."""
    (row,) = gateway.query("select * from call where agent = ? order by sequence desc limit 1", agent)
    return row


def waits(gateway: Gateway, agent: str) -> dict[str, Any]:
    """An agent's newest call once it waits, as it was decided."""
    until(lambda: last_of(gateway, agent)["state"] == "reserved", "no call waits")
    call = last_of(gateway, agent)["call"]
    return next(each for each in gateway.entries() if each.get("call") == call)


def reasons(gateway: Gateway, call: str) -> list[str]:
    """Why a call was released, by the record."""
    return [
        each["reason"] for each in gateway.entries() if (each["type"], each.get("call")) == ("release", call)
    ]


@pytest.mark.parametrize("door", DOORS)
def test_who_leaves_gives_all_back_at_once(gateway: EnvoyedGateway, door: str) -> None:
    """The call is released as soon as its connection is closed, and the next one has its turn and its name."""
    key = gateway.key(door)
    path, body, headers = DOORS[door](gateway, key)
    first = {name: value for name, value in headers.items() if name != "idempotency-key"}
    asked = {**body, "name": "first"} if door == "decisions" and isinstance(body, dict) else body
    assert ask(gateway, "POST", path, asked, key=key, headers=first).status in (200, 201)
    until(lambda: last_of(gateway, door)["state"] != "reserved")
    begun_at = time.monotonic()
    waited: list[dict[str, Any]] = []
    for _ in range(2):
        with sent(gateway, key, path, body, headers):
            waited.append(waits(gateway, door))
            assert last_of(gateway, door)["cost_nano_usd"] is None
        until(lambda: last_of(gateway, door)["state"] == "released", "it keeps what it holds")
        assert [LEFT] == reasons(gateway, waited[-1]["call"])
        assert 0 == last_of(gateway, door)["cost_nano_usd"]
    before, after = (int(each["wait_ns"]) / 1e9 for each in waited)
    assert 3_600 >= before > after > 3_600 - (time.monotonic() - begun_at) - 5
    assert waited[0]["call"] != waited[1]["call"]


def test_another_caller_has_the_money_and_the_turn(upstream: UpstreamProcess) -> None:
    """What a budget couldn't bear beside the call that waits, it bears as soon as that one's caller has left."""
    every_s = 3
    files = configuration(
        upstream.base_url,
        budgets={"day": "limit: 0.50, period: daily"},  # one payment costs $0.25
        rates={"pace": f"limit: 1, every: {every_s}s, delay: 60s"},
    )
    with Gateway(files) as gateway:

        def pay() -> tuple[int, float]:
            began = time.monotonic()
            status = ask(gateway, "POST", "/connect/api/v1/payments", PAY).status
            return status, time.monotonic() - began

        assert 201 == pay()[0]
        with sent(gateway, gateway.key(), "/connect/api/v1/payments", PAY, {}):
            waits(gateway, "bot")
            assert (250_000_000, 250_000_000) == gateway.standing("day")
            assert 402 == pay()[0]
        until(lambda: gateway.standing("day") == (0, 250_000_000), "the money isn't free")
        status, took_s = pay()
        assert (201, True) == (status, took_s < every_s), took_s
        assert (0, 500_000_000) == gateway.standing("day")
        assert_books_balance(gateway)


@pytest.mark.parametrize("how", ["the gateway stops", "its worker is killed"])
def test_calls_that_wait_where_nobody_goes_on(upstream: UpstreamProcess, how: str) -> None:
    """They are given up at once; who still waits for one is told to try again, and the stop isn't held up."""
    files = configuration(
        upstream.base_url, rates={"pace": "limit: 1, every: 1h, delay: 4h, match: {agent: bot}"}
    )
    with Gateway(files) as gateway:
        assert 201 == ask(gateway, "POST", "/connect/api/v1/payments", PAY).status
        with sent(gateway, gateway.key(), "/connect/api/v1/payments", PAY, {}) as connection:
            call = waits(gateway, "bot")["call"]
            if how == "the gateway stops":
                began = time.monotonic()
                gateway.stop()
                assert time.monotonic() - began < 10
                assert connection.recv(65_536).startswith(b"HTTP/1.1 503 ")
            else:
                (worker,) = gateway.workers()
                os.kill(worker, signal.SIGKILL)
        until(lambda: gateway.call(call)["state"] == "released", "it keeps what it holds")
        (why,) = reasons(gateway, call)
        assert (why == STOPPING) == (how == "the gateway stops")
        assert (0, 250_000_000) == gateway.standing("plenty")
        assert_books_balance(gateway)
