"""For tests of the SDK: a tenant whose tools run in its agents, and both clients as one, so that one test does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from aegis_sdk import Aegis, AegisError, AsyncAegis, Decision, Estimate, Settlement, ToolCall
from tests.gateways import PERMIT_ALL, Files, Gateway, configuration

_TOOLS = """\
      desk:
        kind: local
        operations:
          rank:
            arguments: {limit: {type: integer, from: args.limit, required: false}}
            price: {per_call: 0.10}
          crawl:
            arguments:
              url: {type: string, from: args.url, required: false}
              pages: {type: integer, from: args.pages, required: false}
            price: {per_unit: 0.01, unit: page, units: result.pages, max_units: 50}
            counts: {rows: {from: result.rows, max: 1000}}
          buy:
            arguments: {what: {type: string, from: args.what, required: false}}
            price: {amount: result.paid, max_amount: 2.00}
          wire:
            arguments: {amount: {type: number, from: args.amount}}
            price: {per_call: 0}
            counts: {paid_out: args.amount}
          note:
            arguments: {text: {type: string, from: args.text}}
            price: {per_call: 0.01}
          seldom:
            price: {per_call: 0}
          reviewed:
            price: {per_call: 0}
"""
_POLICIES = """
@id("ceiling")
@reason("not that much")
forbid(principal, action == Action::"desk.wire", resource)
when { context.args.amount.greaterThan(decimal("100.0")) };

@id("no-numbers")
@effect("redact")
@kinds("ssn")
@in("arguments")
forbid(principal, action == Action::"desk.note", resource);

@id("reviewed")
@effect("require_approval")
@reason("a person has to agree")
forbid(principal, action == Action::"desk.reviewed", resource);
"""
_BUDGETS = {
    "money": "limit: 100.00, period: yearly, match: {tenant: acme}",
    "poor": "limit: 0.05, period: yearly, match: {agent: poor}",
}


def tools(
    upstream: str = "http://127.0.0.1:9", *, budgets: Mapping[str, str] | None = None, settings: str = ""
) -> Files:
    """A tenant with tools that run in its agents `bot` and `poor`; `settings` is a line more of the tenant's."""
    made = configuration(
        upstream,
        agents=("bot", "poor"),
        budgets=budgets or _BUDGETS,
        rates={"seldom": "limit: 1, every: 1h, match: {tool: desk.seldom}"},
        policies=PERMIT_ALL + _POLICIES,
    )
    text = made["aegis.yaml"].replace("    models:\n", f"{_TOOLS}    models:\n")
    if settings:
        text = text.replace("    teams:\n", f"    {settings}\n    teams:\n", 1)
    return {**made, "aegis.yaml": text}


class Blocking:
    """`AsyncAegis` called from tests that wait: the same methods as `Aegis`, in an event loop of its own."""

    def __init__(self, url: str | None = None, api_key: str | None = None, **more: Any) -> None:
        """Make the client; it opens its connections in the loop."""
        self.client = AsyncAegis(url, api_key, **more)
        self._runner = asyncio.Runner(debug=True)

    def __enter__(self) -> Blocking:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self.client.close())
        self._runner.close()

    def decide(self, tool: str, arguments: Mapping[str, Any] | None = None, **more: Any) -> Decision:
        """As the client's."""
        return self._runner.run(self.client.decide(tool, arguments, **more))

    def decide_many(self, calls: Iterable[ToolCall]) -> list[Decision | AegisError]:
        """As the client's."""
        return self._runner.run(self.client.decide_many(calls))

    def estimate(
        self, tool: str | None = None, arguments: Mapping[str, Any] | None = None, **more: Any
    ) -> Estimate:
        """As the client's."""
        return self._runner.run(self.client.estimate(tool, arguments, **more))

    def settle(self, decision: Decision, result: Mapping[str, Any] | None = None, **more: Any) -> Settlement:
        """As the client's."""
        return self._runner.run(self.client.settle(decision, result, **more))

    def release(self, decision: Decision) -> Settlement:
        """As the client's."""
        return self._runner.run(self.client.release(decision))

    def find(self, id: str) -> Decision:
        """As the client's."""
        return self._runner.run(self.client.find(id))

    def flush(self, timeout_s: float | None = None) -> bool:
        """As the client's."""
        return self._runner.run(self.client.flush(timeout_s))


Client = Aegis | Blocking
CLIENTS: tuple[type[Aegis] | type[Blocking], ...] = (Aegis, Blocking)


def client_of(
    kind: type[Aegis] | type[Blocking], gateway: Gateway, agent: str = "bot", **more: Any
) -> Client:
    """A client of a gateway, as an agent."""
    return kind(gateway.url, gateway.key(agent), **more)
