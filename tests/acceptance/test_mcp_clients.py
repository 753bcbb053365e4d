"""Real MCP clients at a bank's server through the gateway: what they list, call, are refused, are asked and pay."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from aegis_gateway.demo.upstream.process import KEY as UPSTREAM_KEY
from tests.clients import ROOT, run_client
from tests.gateways import Gateway, assert_books_balance
from tests.mcp_calls import AEGIS, mcp_configuration
from tests.mcp_upstream import McpServer

pytestmark = pytest.mark.xdist_group("mcp-clients")

BANK = """\
kind: mcp
base_url: {url}
credential: env:ACME_UPSTREAM_KEY
operations:
  search:
    arguments: {{query: {{type: string, from: args.query}}}}
    price: {{per_unit: 0.01, unit: row, units: result.rows, max_units: 100}}
    counts: {{rows: {{from: result.rows, max: 100}}}}
  transfer:
    arguments: {{amount: {{type: number, from: args.amount}}, to: {{type: string, from: args.to}}}}
    price: {{per_call: 0.25}}
  report: {{price: {{per_call: 0.10}}}}
  confirm: {{arguments: {{question: {{type: string, from: args.question}}}}, price: {{per_call: 0.05}}}}
"""
POLICIES = """\
@id("all-may")
permit(principal, action, resource);

@id("no-great-transfers")
@reason("transfers above 5,000 are not for agents")
forbid(principal, action == Action::"bank.transfer", resource)
when { context.args.amount.greaterThan(decimal("5000.0")) };
"""
SEARCHED_NANO_USD = 30_000_000
REPORT_NANO_USD = 100_000_000
CONFIRM_NANO_USD = 50_000_000
CLIENT_S_MAX = 150
DECLARED = ["search", "transfer", "report", "confirm"]


class Client(NamedTuple):
    """A client: in which environment, by which script, and what it can't do."""

    environment: str
    script: str
    mode: str = ""
    asks: bool = True


CLIENTS = {
    "mcp-2-auto": Client("mcp2", "mcp2", "auto"),
    "mcp-2-legacy": Client("mcp2", "mcp2", "legacy"),
    "mcp-1": Client("mcp1", "mcp1"),
    "fastmcp-4": Client("mcp2", "fastmcp4"),
    "langchain-mcp-adapters": Client("mcp1", "langchain_adapters"),
    "openai-agents": Client("mcp2", "openai_agents", asks=False),
}


@pytest.fixture(scope="module", params=["bank"], ids=["one"])
def place(request: pytest.FixtureRequest) -> str:
    """The one server by its name, or where all servers are one."""
    return str(request.param)


@pytest.fixture(scope="module")
def bank(place: str) -> Iterator[tuple[McpServer, Gateway]]:
    """A bank's server with a gateway in front, and an agent for each client."""
    with McpServer("bank") as server:
        files = mcp_configuration(
            {"bank": BANK.format(url=server.url)}, policies=POLICIES, agents=tuple(CLIENTS)
        )
        with Gateway(files) as gateway:
            yield server, gateway


@pytest.fixture(scope="module")
def told(bank: tuple[McpServer, Gateway], place: str) -> dict[str, dict[str, Any]]:
    """What all clients tell; they run beside each other."""
    _, gateway = bank
    keys = {name: gateway.key(name) for name in CLIENTS}

    def run(name: str) -> dict[str, Any]:
        client = CLIENTS[name]
        variables = {
            "PYTHONPATH": str(ROOT),
            "MCP_URL": f"{gateway.url}/mcp/{place}".rstrip("/"),
            "MCP_KEY": keys[name],
            "MCP_PREFIX": "" if place else "bank_",
        }
        script = ROOT / "tests" / "mcp_clients" / f"{client.script}.py"
        said: dict[str, Any] = json.loads(
            run_client(
                client.environment,
                script,
                *filter(None, [client.mode]),
                env=variables,
                timeout_s=CLIENT_S_MAX,
            )
        )
        return said

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(CLIENTS, pool.map(run, CLIENTS), strict=True))


@pytest.mark.parametrize("name", CLIENTS)
def test_what_a_client_gets(told: dict[str, dict[str, Any]], place: str, name: str) -> None:
    """It sees what is declared, gets results with their cost, and its model reads why a call was refused."""
    said = told[name]
    prefix = "" if place else "bank_"
    assert [prefix + tool for tool in DECLARED] == said["tools"]
    assert {"rows": 3, "query": "loans"} == said["search"]
    assert "transfers above 5,000 are not for agents" in said["refused"]
    assert '{"EUR": "1.08"}' == said["resource"]
    assert "Be brief about rates." == said["prompt"]
    if "is_error" in said:
        assert said["is_error"]
    if "meta" in said:
        assert "0.03" == said["meta"][AEGIS]["cost_usd"]
    if CLIENTS[name].asks:
        assert [[1, 3], [2, 3], [3, 3]] == said["progress"]
        assert (["shall I?"], "confirmed: True") == (said["asked"], said["confirmed"])
    else:
        assert "the report is written" in said["report"]


def test_the_books(bank: tuple[McpServer, Gateway], told: dict[str, dict[str, Any]]) -> None:
    """Each client has paid for what it had, nothing for what was refused, and a question is no call of its own."""
    server, gateway = bank
    paid: Counter[str] = Counter()
    for call in gateway.calls():
        paid[call["agent"]] += call["cost_nano_usd"] or 0
    for name in told:
        expected = SEARCHED_NANO_USD + REPORT_NANO_USD + (CONFIRM_NANO_USD if CLIENTS[name].asks else 0)
        assert expected == paid[name], name
    assert not [call for call in gateway.calls() if call["state"] not in ("settled", "refused")]
    assert_books_balance(gateway)
    arrived = server.arrived()
    assert 0 == arrived.get("tools/call transfer", 0)
    assert len(told) == arrived["tools/call search"]


def test_whose_credential_arrives(bank: tuple[McpServer, Gateway], told: dict[str, dict[str, Any]]) -> None:
    """The server gets its own credential from the gateway, and no agent's key."""
    server, gateway = bank
    keys = [gateway.key(name) for name in told]
    for headers in server.headers():
        assert not any(key in str(headers) for key in keys)
        assert f"Bearer {UPSTREAM_KEY}" == headers["authorization"]
