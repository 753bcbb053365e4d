"""`POST /v1/decision`, `/v1/decision/batch`, `GET /v1/decision/{id}/status`: what `@aegis_guard` asks before it runs.

Rule 1: who calls is told by the key alone. The `agent_id` that the SDK says has to be that agent's, or it is denied.
Rule 2: the SDK need not say that it ran a tool, so what has a fixed price is settled when that was answered. Where the
        result tells the cost, a report settles it, if one comes (`telemetry.py`), by what the decision's id has in it.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from aegis_gateway.application.call_context import CallContext, Leaves
from aegis_gateway.application.calls import Calls
from aegis_gateway.application.decided import Decided
from aegis_gateway.application.directory import KnownKey
from aegis_gateway.application.tracing import Trace
from aegis_gateway.domain.errors import AegisError, CallError
from aegis_gateway.domain.registry import UNREGISTERED
from aegis_gateway.entrypoints.data_plane.aegislib.words import (
    BATCH,
    DECISION,
    BatchRequest,
    DecisionRequest,
    DecisionResponse,
    StatusResponse,
    arguments_of,
    denied,
    made,
    standing,
)
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
from aegis_gateway.entrypoints.data_plane.refusals import Headers
from aegis_gateway.entrypoints.data_plane.tool_decisions import ToolDecision, ToolDecisions, ToolRequest
from aegis_gateway.entrypoints.data_plane.wire import body_as, json_type

BATCH_MAX = 100
SESSION_KEYS = ("aegis-run-id", "aegis-parent-id", "aegis-customer")
"""What a session may say of a call: the same as the headers of these names."""

DECISION_ID = re.compile(r"(call_[0-9a-f]{32})(?:\.([A-Za-z0-9_=-]+))?")
"""A decision as the SDK knows it: the call, and what settles it where a report may."""

_STATUS = "/status"
_JSON = [("content-type", "application/json")]
_encode = msgspec.json.Encoder().encode


class _Made(NamedTuple):
    """An answer that was made now, and the decision that is to be settled once it is given."""

    response: DecisionResponse
    headers: Sequence[tuple[str, str]] = ()
    settles: ToolDecision | None = None


class DecidingDoor:
    """Decides for `aegislib`."""

    def __init__(self, calls: Calls, decisions: ToolDecisions) -> None:
        """Build the door on the decisions that it writes in the SDK's words."""
        self._calls = calls
        self._decisions = decisions

    async def __call__(self, scope: Scope, protocol: HttpProtocol) -> None:
        """Answer one request."""
        key = api_key(scope)
        known = await self._calls.callers.identify(key)
        raw = await read_body(scope, protocol)
        if raw:
            json_type(scope.headers)
        made_now: list[_Made] = []
        answer: DecisionResponse | StatusResponse | dict[str, list[DecisionResponse]]
        if (scope.method, scope.path) == ("POST", DECISION):
            asked = body_as(DecisionRequest, raw)
            made_now = [await self._decide(key, known, asked, trace_of(scope), leaving_of(protocol))]
            answer = made_now[0].response
        elif (scope.method, scope.path) == ("POST", BATCH):
            batch = body_as(BatchRequest, raw)
            made_now = await self._batch(key, known, batch, trace_of(scope), leaving_of(protocol))
            answer = {"decisions": [each.response for each in made_now]}
        elif scope.method == "GET" and scope.path.endswith(_STATUS):
            decision_id = scope.path.removeprefix(f"{DECISION}/").removesuffix(_STATUS)
            answer = await self._standing(key, decision_id)
        else:
            raise nothing_at(scope)
        headers = made_now[0].headers if scope.path == DECISION else ()
        protocol.response_bytes(200, [*_JSON, *headers], _encode(answer))
        # The caller doesn't wait for it: it changes nothing of what budgets have left.
        known_now = [each.settles for each in made_now if each.settles is not None]
        await asyncio.gather(*map(self._decisions.settle_known, known_now))

    async def _decide(
        self,
        key: str | None,
        known: KnownKey,
        asked: DecisionRequest,
        trace: Trace | None,
        leaves: Leaves,
    ) -> _Made:
        began_ns = time.monotonic_ns()
        try:
            await self._check_agent(key, known, asked.agent_id)
            request = ToolRequest(
                tool=asked.tool.name,
                arguments=arguments_of(asked),
                context=_context(asked, trace, leaves),
                short_name=True,
            )
            decision = await self._decisions.decide(key, request)
        except CallError as fault:
            return _Made(denied(asked, known.view.registry.tenant, fault, _ms_since(began_ns)))
        decided = decision.decided
        assert decided is not None, "without a name there is no decision before"
        decision_id = decided.call
        if decision.token is not None and not decision.is_known:
            decision_id = f"{decision_id}.{decision.token}"
        response = made(asked, decided, decision.redacted, decision_id, _ms_since(began_ns))
        return _Made(response, _headers(decided), decision if decision.is_known else None)

    async def _batch(
        self, key: str | None, known: KnownKey, asked: BatchRequest, trace: Trace | None, leaves: Leaves
    ) -> list[_Made]:
        if len(asked.requests) > BATCH_MAX:
            raise CallError(f"a batch has at most {BATCH_MAX} requests", field="requests")

        async def one(each: DecisionRequest) -> _Made | AegisError:
            try:
                return await self._decide(key, known, each, trace, leaves)
            except AegisError as fault:
                return fault

        answers = await asyncio.gather(*map(one, asked.requests))
        faults = [answer for answer in answers if isinstance(answer, AegisError)]
        if faults and len(faults) == len(answers):
            raise faults[0]
        # Some are decided, and their answers must not get lost with the others'.
        tenant = known.view.registry.tenant
        return [
            _Made(denied(each, tenant, answer, 0)) if isinstance(answer, AegisError) else answer
            for each, answer in zip(asked.requests, answers, strict=True)
        ]

    async def _standing(self, key: str | None, decision_id: str) -> StatusResponse:
        match = DECISION_ID.fullmatch(decision_id)
        if match is None:
            raise CallError(f"there is no decision `{decision_id[:64]}`", status=404)
        found = await self._decisions.find(key, match[1])
        is_redacted = found.effect == "allow" and await self._decisions.is_redacted(key, match[1])
        return standing(found, decision_id, is_redacted=is_redacted)

    async def _check_agent(self, key: str | None, known: KnownKey, said: str) -> None:
        """Make sure that the key is that of the agent that is said to call.

        Raises:
            CallError: it is another's, or no longer anybody's.
        """
        if _is_agents(known, said):
            return
        # It may have another name by now.
        await self._calls.callers.view(key)
        known = await self._calls.callers.identify(key)
        if not _is_agents(known, said):
            raise CallError(
                f"the API key is that of agent `{known.key.agent}`, and `{said[:64]}` is said to call; give each agent "
                "a key of its own, or register that name as its `external_id`",
                field="agent_id",
            )


def _is_agents(known: KnownKey, said: str) -> bool:
    """Whether an agent goes by a name. A stranger, where strangers are taken, has none yet."""
    agent = known.agent
    if said == known.key.agent:
        return True
    return agent is not None and (agent.team == UNREGISTERED or said == agent.external_id)


def _context(asked: DecisionRequest, trace: Trace | None, leaves: Leaves) -> CallContext:
    """What a session says of a call.

    Raises:
        CallError: something in it is no text.
    """
    said = [(asked.session or {}).get(name) for name in SESSION_KEYS]
    for name, value in zip(SESSION_KEYS, said, strict=True):
        if value is not None and not isinstance(value, str):
            raise CallError(f"`{name}` in the session must be a text", field=name)
    run, parent, customer = said
    return CallContext(run=run, parent=parent, customer=customer, trace=trace, door="aegislib", leaves=leaves)


def _headers(decided: Decided[OperationCall]) -> Headers:
    return decision_headers(decided) + settlement_headers(decided, None)


def _ms_since(began_ns: int) -> int:
    return (time.monotonic_ns() - began_ns) // 1_000_000
