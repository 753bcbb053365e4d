"""The decision API: for tools that don't go over a network, or that agents call by themselves.

POST   /v1/decisions                    authorise a call and reserve for it; a refusal is an answer like others
POST   /v1/decisions/batch              the same for many, each by itself
GET    /v1/decisions/{id}               how it stands
POST   /v1/decisions/{id}/settlement    it was run: settle it, by what came out
DELETE /v1/decisions/{id}               it was not run: settle it at nothing
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import msgspec

from aegis_gateway.adapters.reports import CallReport
from aegis_gateway.application.call_context import CallContext, Leaves
from aegis_gateway.application.calls import Calls
from aegis_gateway.application.commands import Moved
from aegis_gateway.application.decided import Decided, remaining_nano_usd
from aegis_gateway.application.tracing import Trace
from aegis_gateway.domain.decision import Reason
from aegis_gateway.domain.errors import AegisError, CallError
from aegis_gateway.domain.money import usd_decimal_text
from aegis_gateway.domain.quote import USD, Quote
from aegis_gateway.entrypoints.data_plane.connect import OperationCall
from aegis_gateway.entrypoints.data_plane.exchange import (
    HttpProtocol,
    Scope,
    api_key,
    decision_headers,
    leaving_of,
    nothing_at,
    read_body,
    settlement_headers,
    trace_of,
)
from aegis_gateway.entrypoints.data_plane.refusals import Headers, approval_record
from aegis_gateway.entrypoints.data_plane.tool_decisions import ToolDecision, ToolDecisions, ToolRequest
from aegis_gateway.entrypoints.data_plane.wire import body_as, json_type

DECISIONS = "/v1/decisions"
BATCH_MAX = 100

_JSON = [("content-type", "application/json")]
_PATH = re.compile(r"/v1/decisions/(call_[0-9a-f]{32})(/settlement)?")
_NOTHING = msgspec.Raw(b"{}")
_NOT_GIVEN = msgspec.Raw(b"")

_encode = msgspec.json.Encoder(decimal_format="string").encode
Written = tuple[Headers, dict[str, Any]]


class DecisionRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What an agent wants to do: a tool (`CONNECTOR.OPERATION`) and its arguments; of which run, for whom.

    `name` is the agent's own name for the call: the same again is the same decision, not another one. `approval` is the
    id of the person's word that it means to use.
    """

    tool: str
    arguments: msgspec.Raw = _NOTHING
    run: str | None = None
    parent: str | None = None
    customer: str | None = None
    name: str | None = None
    approval: str | None = None


class BatchRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Many of them."""

    decisions: list[DecisionRequest]


class SettlementRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What came of it. `result` has the numbers that the tool's price or counts are read from.

    `cost_usd` is what it cost, for tools whose price takes the agent's word for that.
    """

    token: str
    result: msgspec.Raw = _NOTHING
    cost_usd: msgspec.Raw = _NOT_GIVEN


class ReleaseRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """It was not run. `closes_name`: nothing is decided under its name any more, whatever is still on its way."""

    token: str
    closes_name: bool = False


class DecisionsDoor:
    """Decides for callers who do by themselves what they asked about."""

    def __init__(self, calls: Calls, decisions: ToolDecisions) -> None:
        """Build the door on the decisions that it writes down as JSON."""
        self._calls = calls
        self._decisions = decisions

    async def __call__(self, scope: Scope, protocol: HttpProtocol) -> None:
        """Answer one request."""
        key = api_key(scope)
        await self._calls.callers.identify(key)
        raw = await read_body(scope, protocol)
        if raw:
            json_type(scope.headers)
        headers, answer = await self._answer(scope, key, raw, leaving_of(protocol))
        protocol.response_bytes(200, [*_JSON, *headers], _encode(answer))

    async def _answer(self, scope: Scope, key: str | None, raw: bytes, leaves: Leaves) -> Written:
        method, path = scope.method, scope.path
        if (method, path) == ("POST", DECISIONS):
            return _decision(await self._decide(key, body_as(DecisionRequest, raw), trace_of(scope), leaves))
        if (method, path) == ("POST", f"{DECISIONS}/batch"):
            return [], await self._batch(key, body_as(BatchRequest, raw), trace_of(scope), leaves)
        match = _PATH.fullmatch(path)
        if match is not None and (method, match[2]) == ("GET", None):
            return [], _shown(await self._decisions.find(key, match[1]))
        if match is not None and (method, match[2]) == ("POST", "/settlement"):
            asked = body_as(SettlementRequest, raw)
            moved = await self._decisions.settle(
                key, match[1], asked.token, bytes(asked.result), cost_usd=bytes(asked.cost_usd)
            )
            return _settled(match[1], moved)
        if match is not None and (method, match[2]) == ("DELETE", None):
            leaving = body_as(ReleaseRequest, raw)
            released = await self._decisions.release(
                key, match[1], leaving.token, closes_name=leaving.closes_name
            )
            return _settled(match[1], released)
        raise nothing_at(scope)

    async def _decide(
        self, key: str | None, asked: DecisionRequest, trace: Trace | None, leaves: Leaves
    ) -> ToolDecision:
        context = CallContext(
            run=asked.run,
            parent=asked.parent,
            customer=asked.customer,
            idempotency_key=asked.name,
            address=f"POST {DECISIONS}",
            approval=asked.approval,
            trace=trace,
            door="decisions",
            leaves=leaves,
        )
        request = ToolRequest(tool=asked.tool, arguments=bytes(asked.arguments), context=context)
        return await self._decisions.decide(key, request)

    async def _batch(
        self, key: str | None, asked: BatchRequest, trace: Trace | None, leaves: Leaves
    ) -> dict[str, Any]:
        if not 0 < len(asked.decisions) <= BATCH_MAX:
            raise CallError(f"a batch has 1 to {BATCH_MAX} decisions", field="decisions")

        async def one(each: DecisionRequest) -> dict[str, Any]:
            try:
                return _decision(await self._decide(key, each, trace, leaves))[1]
            except CallError as fault:
                return {"error": {"message": str(fault), "param": fault.field, "status": fault.status}}
            except AegisError as fault:
                return {"error": {"message": str(fault), "param": None, "status": 503}}

        return {"decisions": await asyncio.gather(*map(one, asked.decisions))}


def _decision(decision: ToolDecision) -> Written:
    """A decision as its caller gets it."""
    headers: Headers = []
    if decision.decided is not None:
        headers = decision_headers(decision.decided) + settlement_headers(decision.decided, None)
        written = _made(decision.decided)
    else:
        assert decision.before is not None, "it was made now or before"
        written = _shown(decision.before)
    if decision.redacted is not None:
        written["arguments"] = msgspec.Raw(decision.redacted)
    if decision.token is not None:
        written["token"] = decision.token
    return headers, written


def _made(decided: Decided[OperationCall]) -> dict[str, Any]:
    quote, admitted = decided.described.quote, decided.admitted
    written: dict[str, Any] = {
        "id": decided.call,
        "effect": admitted.effect,
        "reasons": [_reason(reason) for reason in admitted.reasons],
        "tool": decided.described.tool,
        "run": decided.run,
        "policy_version": decided.policy_version,
        **approval_record(admitted.approval),
    }
    if isinstance(quote, Quote):
        written["expected_usd"] = usd_decimal_text(quote.expected.get(USD, 0))
        if USD in quote.maximum:
            written["maximum_usd"] = usd_decimal_text(quote.maximum[USD])
    left = remaining_nano_usd(decided.budgets, admitted.balances, decided.judged_ns)
    if left is not None:
        written["budget_left_usd"] = usd_decimal_text(left)
    return written


def _shown(found: CallReport) -> dict[str, Any]:
    """A decision that was made before, as it stands."""
    shown: dict[str, Any] = {
        "id": found.call,
        "effect": found.effect,
        "state": found.state,
        "tool": found.tool,
        "run": found.run,
        "policy_version": found.policy_version,
    }
    if found.effect != "allow":
        shown["reasons"] = [{"code": found.reason_code, "message": found.reason, "subject": ""}]
    if found.cost_nano_usd is not None:
        shown["cost_usd"] = usd_decimal_text(found.cost_nano_usd)
    return shown


def _reason(reason: Reason) -> dict[str, Any]:
    written: dict[str, Any] = {"code": reason.code, "message": reason.message, "subject": reason.subject}
    if reason.wait_ns is not None:
        written["retry_after_ms"] = -(-reason.wait_ns // 1_000_000)
    return written


def _settled(call: str, moved: Moved) -> Written:
    settled: dict[str, Any] = {"id": call, "state": moved.state, "overrun": moved.overrun}
    headers = [("aegis-decision-id", call)]
    if moved.cost_nano_usd is None:
        return headers, settled
    cost = usd_decimal_text(moved.cost_nano_usd)
    return [*headers, ("aegis-cost-usd", cost)], {**settled, "cost_usd": cost}
