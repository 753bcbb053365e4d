"""What is measured of calls. Labels are bounded by what is configured; the SDK adds up what is more than 2,000 of them.

Durations are in seconds; money in whole nano-USD, and in dollars as a double for backends that want one.
"""

from __future__ import annotations

from opentelemetry.metrics import Histogram
from opentelemetry.sdk.metrics import MeterProvider

from aegis_gateway.adapters.telemetry.attributes import OPERATION, Named, tokens_of
from aegis_gateway.adapters.telemetry.pace_meters import PaceMeters
from aegis_gateway.application.commands import Moved
from aegis_gateway.application.tracing import DecisionTold
from aegis_gateway.domain.approval import Approval
from aegis_gateway.domain.ledger import Evidence
from aegis_gateway.domain.money import NANO_PER_USD

_NS = 1_000_000_000
_ADDED_S = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0)
_TAKEN_S = (
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
)  # fmt: skip
_TOKENS = (
    1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864,
)  # fmt: skip
_DOLLARS = (0.00001, 0.0001, 0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0, 10000.0)
_WAITED_S = (1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)


class Meters:
    """The instruments of one process."""

    def __init__(self, metrics: MeterProvider, scope: str) -> None:
        """Make them; their boundaries are those that the conventions advise."""
        meter = metrics.get_meter(scope)
        self.pace = PaceMeters(meter)

        def histogram(name: str, unit: str, what: str, bounds: tuple[float, ...]) -> Histogram:
            return meter.create_histogram(
                name, unit=unit, description=what, explicit_bucket_boundaries_advisory=list(bounds)
            )

        self._decisions = meter.create_counter(
            "aegis.decisions", unit="{decision}", description="calls decided, by decision and first reason"
        )
        self._cost = meter.create_counter(
            "aegis.cost.nano_usd", unit="n{USD}", description="what settled calls cost, exactly"
        )
        self._shadow = meter.create_counter(
            "aegis.shadow.findings", unit="{finding}", description="what rules in shadow would have done"
        )
        self._added = histogram(
            "aegis.decision.duration", "s", "from a call's arrival until its decision is on disk", _ADDED_S
        )
        self._settling = histogram(
            "aegis.settlement.duration", "s", "how long a settlement took to be on disk", _ADDED_S
        )
        self._approvals = histogram(
            "aegis.approval.duration", "s", "from a request for a person's word until it was over", _WAITED_S
        )
        self._operation = histogram(
            "gen_ai.client.operation.duration",
            "s",
            "calls of models, decision and settlement included",
            _TAKEN_S,
        )
        self._tool = histogram(
            "gen_ai.execute_tool.duration", "s", "calls of tools, decision and settlement included", _TAKEN_S
        )
        self._mcp = histogram("mcp.client.operation.duration", "s", "calls of MCP tools", _TAKEN_S)
        self._tokens = histogram(
            "gen_ai.client.token.usage", "{token}", "tokens in and out of a call", _TOKENS
        )
        self._call_cost = histogram(
            "gen_ai.client.operation.cost", "{USD}", "what one call cost, as a double", _DOLLARS
        )

    def decided(self, named: Named, told: DecisionTold, took_ns: int) -> None:
        """A call is decided; without its wait for a rate's turn that took so long."""
        first = next(iter(told.admitted.reasons), None)
        reason = {"aegis.reason.code": first.code} if first is not None else {}
        self._decisions.add(1, {**named.measured_by, **reason})
        self._added.record(
            took_ns / _NS, {"aegis.tenant": told.command.tenant, **_decision(named.measured_by)}
        )
        for finding in told.command.verdict.shadow:
            self._shadow.add(
                1,
                {
                    "aegis.tenant": told.command.tenant,
                    "aegis.rule": finding.rule,
                    "aegis.would": finding.would,
                },
            )

    def settled(self, measured_by: dict[str, str], evidence: Evidence, moved: Moved, took_ns: int) -> None:
        """A call is settled."""
        self._settling.record(took_ns / _NS, {"aegis.tenant": measured_by.get("aegis.tenant", "")})
        if moved.cost_nano_usd is not None:
            dollars = moved.cost_nano_usd / NANO_PER_USD
            self._cost.add(moved.cost_nano_usd, measured_by)
            self._call_cost.record(dollars, measured_by)
        tokens = tokens_of(evidence)
        if tokens is not None:
            for type_, count in zip(("input", "output"), tokens, strict=True):
                self._tokens.record(count, {**measured_by, "gen_ai.token.type": type_})

    def operation(self, named: Named, took_ns: int, error: str = "") -> None:
        """A call that was forwarded is over."""
        labels = {**named.measured_by, **({"error.type": error} if error else {})}
        if named.is_model:
            self._operation.record(took_ns / _NS, labels)
        else:
            self._tool.record(took_ns / _NS, labels)
        if named.is_mcp:
            self._mcp.record(took_ns / _NS, {**labels, "mcp.method.name": "tools/call"})

    def approval(self, approval: Approval, ended_ns: int) -> None:
        """A request for a person's word is over."""
        took_ns = max(0, ended_ns - approval.created_ns)
        labels = {
            "aegis.tenant": approval.tenant,
            "aegis.approval.kind": approval.kind,
            "aegis.approval.state": approval.state,
        }
        self._approvals.record(took_ns / _NS, labels)


def _decision(measured_by: dict[str, str]) -> dict[str, str]:
    return {name: measured_by[name] for name in ("aegis.decision", OPERATION) if name in measured_by}
