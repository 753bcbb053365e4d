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
    """A client: in which environment, by which script, in which form of the protocol, and whether it can be asked."""

    environment: str
    script: str
    form: str
    mode: str = ""
    can_be_asked: bool = True


CLIENTS = {
    "mcp-2-auto": Client("mcp2", "mcp2", "modern", "auto"),
    "mcp-2-legacy": Client("mcp2", "mcp2", "legacy", "legacy"),
    "mcp-1": Client("mcp1", "mcp1", "legacy"),
    "fastmcp-4": Client("mcp2", "fastmcp4", "modern"),
    "langchain-mcp-adapters": Client("mcp1", "langchain_adapters", "legacy"),
    "openai-agents": Client("mcp2", "openai_agents", "modern", can_be_asked=False),
}


AT: dict[str, tuple[str, ...]] = {"bank": tuple(CLIENTS), "": ("mcp-2-auto", "mcp-1")}
"""Who calls where: at the one server all, where all servers are one a client of each form."""


@pytest.fixture(scope="module", params=["bank", ""], ids=["one", "as-one"])
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
    keys = {name: gateway.key(name) for name in AT[place]}

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
        return dict(zip(AT[place], pool.map(run, AT[place]), strict=True))


def test_what_clients_get(told: dict[str, dict[str, Any]], place: str) -> None:
    """They see what is declared, get results with their cost, and their models read why a call was refused."""
    assert list(AT[place]) == list(told)
    for name, said in told.items():
        _assert_got(CLIENTS[name], said, place)


def _assert_got(client: Client, said: dict[str, Any], place: str) -> None:
    prefix = "" if place else "bank_"
    assert [prefix + tool for tool in DECLARED] == said["tools"], client
    assert {"rows": 3, "query": "loans"} == said["search"], client
    assert "transfers above 5,000 are not for agents" in said["refused"], client
    assert '{"EUR": "1.08"}' == said["resource"], client
    assert "Be brief about rates." == said["prompt"], client
    if "is_error" in said:
        assert said["is_error"], client
    if "meta" in said:
        assert "0.03" == said["meta"][AEGIS]["cost_usd"], client
    if "version" in said:
        assert ("2026-07-28" if client.form == "modern" else "2025-11-25") == said["version"], client
    if not client.can_be_asked:
        assert "the report is written" in said["report"], client
        return
    assert [[1, 3], [2, 3], [3, 3]] == said["progress"], client
    assert (["shall I?"], "confirmed: True") == (said["asked"], said["confirmed"]), client


def test_the_books(bank: tuple[McpServer, Gateway], told: dict[str, dict[str, Any]]) -> None:
    """Each client has paid for what it had, nothing for what was refused, and a question is no call of its own."""
    server, gateway = bank
    paid: Counter[str] = Counter()
    for call in gateway.calls():
        paid[call["agent"]] += call["cost_nano_usd"] or 0
    for name in told:
        confirmed = CONFIRM_NANO_USD if CLIENTS[name].can_be_asked else 0
        expected = SEARCHED_NANO_USD + REPORT_NANO_USD + confirmed
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
