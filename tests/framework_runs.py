"""Agent frameworks against a gateway: one for each, in front of the bundled provider; its tools are the desk's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from aegis_gateway.demo.upstream.process import UpstreamProcess
from tests.clients import ROOT, run_client
from tests.gateways import PERMIT_ALL, Files, Gateway, assert_books_balance, configuration

SCRIPTS = Path(__file__).parent / "frameworks"
NANO = 1_000_000_000

_OPERATIONS = """\
      desk:
        kind: local
        operations:
          crawl:
            arguments: {pages: {type: integer, from: args.pages}}
            price: {per_unit: 0.01, unit: page, units: result.pages, max_units: 50}
          wire:
            arguments: {amount: {type: number, from: args.amount}}
            price: {per_call: 0.25}
            counts: {paid_out: args.amount}
          dear: {arguments: {what: {type: string, from: args.what}}, price: {per_call: 1.00}}
          note: {arguments: {text: {type: string, from: args.text}}, price: {per_call: 0.05}}
          broken: {arguments: {what: {type: string, from: args.what}}, price: {per_call: 0.02}}
          meet: {arguments: {seat: {type: integer, from: args.seat}}, price: {per_call: 0.001}}
          risky: {arguments: {what: {type: string, from: args.what}}, price: {per_call: 0.50}}
          confirm: {arguments: {what: {type: string, from: args.what}}, price: {per_call: 0.30}}
"""
_POLICIES = """
@id("ceiling")
@reason("payments above $100 are not made here")
forbid(principal, action == Action::"desk.wire", resource)
when { context.args.amount.greaterThan(decimal("100.0")) };

@id("no-numbers")
@effect("redact")
@kinds("ssn")
@in("arguments")
forbid(principal, action == Action::"desk.note", resource);
"""
_ASK = """
@id("a-person-first")
@effect("require_approval")
@reason("risky things need a person's word")
forbid(principal, action == Action::"desk.risky", resource);
"""
BUDGETS = {
    "all": "limit: 100.00, period: yearly, match: {tenant: acme}",
    "dear": "limit: 1.50, period: yearly, match: {tool: desk.dear}",
}


def files(upstream: str, *, asks: bool = True) -> Files:
    """The configuration; without `asks` nobody has to agree to anything."""
    policies = PERMIT_ALL + _POLICIES + (_ASK if asks else "")
    models = {
        "gpt-4o-mini": "connector: provider",
        "claude-haiku-4-5": "connector: claude, max_input_tokens: 200000",
    }
    made = configuration(upstream, budgets=BUDGETS, policies=policies, models=models)
    return {
        **made,
        "aegis.yaml": made["aegis.yaml"].replace("    models:\n", f"{_OPERATIONS}    models:\n"),
    }


class Framework:
    """A framework in its environment, at a gateway of its own."""

    def __init__(self, environment: str, script: str, gateway: Gateway, upstream: UpstreamProcess) -> None:
        """`script` is one of `tests/frameworks/`."""
        self._environment = environment
        self._script = SCRIPTS / script
        self.gateway = gateway
        self.upstream = upstream

    def run(self, *arguments: str, env: Mapping[str, str] | None = None) -> Any:
        """Run the script; what it said."""
        printed = run_client(
            self._environment,
            self._script,
            *arguments,
            env={
                "PYTHONPATH": f"{ROOT / 'sdk' / 'src'}:{ROOT}",
                "HOME": str(self.gateway.directory),
                "AEGIS_URL": self.gateway.url,
                "AEGIS_API_KEY": self.gateway.key(),
                "OPENAI_BASE_URL": f"{self.gateway.url}/v1",
                "OPENAI_API_KEY": self.gateway.key(),
                "ANTHROPIC_BASE_URL": self.gateway.url,
                "ANTHROPIC_API_KEY": self.gateway.key(),
                **(env or {}),
            },
            timeout_s=120,
        )
        return json.loads(printed)

    def allow_risks(self) -> None:
        """Nobody has to agree to anything any more."""
        self.gateway.apply(files(self.upstream.base_url, asks=False))

    def spent(self) -> dict[str, Decimal]:
        """What each tool has cost, in dollars. Beside tools, the gateway charged what the provider's bill says."""
        assert_books_balance(self.gateway)
        calls = [call for call in self.gateway.calls() if call["effect"] == "allow"]
        spent: dict[str, Decimal] = {}
        for call in calls:
            if call["connector"] == "desk":
                cost = Decimal(call["cost_nano_usd"] or 0) / NANO
                spent[call["tool"]] = spent.get(call["tool"], Decimal()) + cost
        models = sum(call["cost_nano_usd"] for call in calls if call["connector"] != "desk")
        assert self.upstream.bill()["total_nano_usd"] == models
        return spent

    def states(self, tool: str) -> list[str]:
        """How the calls of a tool stand, in order."""
        return [call["state"] for call in self.gateway.calls() if call["tool"] == tool]


@contextmanager
def framework(environment: str, script: str) -> Iterator[Framework]:
    """A framework, at a gateway that is there for the block."""
    with UpstreamProcess(apps="provider") as upstream, Gateway(files(upstream.base_url)) as gateway:
        yield Framework(environment, script, gateway, upstream)
