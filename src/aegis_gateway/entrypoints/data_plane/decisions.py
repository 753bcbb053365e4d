"""The decision API: for tools that don't go over a network, or that agents call by themselves.

    POST   /v1/decisions                    authorise a call and reserve for it; a refusal is an answer like others
    POST   /v1/decisions/batch              the same for many, each by itself
    GET    /v1/decisions/{id}               how it stands
    POST   /v1/decisions/{id}/settlement    it was run: settle it, by what came out
    DELETE /v1/decisions/{id}               it was not run: settle it at nothing

Rule 1: what is allowed counts as sent, so what is never settled stays at its maximum: a caller who dies frees nothing.
Rule 2: a decision is settled by the prices and numbers that it was made with. They are in its token, sealed for the
        agent that it was given to; nobody settles another's.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from aegis_gateway.adapters.reports import CallReport
from aegis_gateway.application.calls import CallContext, Calls, Decided
from aegis_gateway.application.commands import Moved
from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.ports import Sealer
from aegis_gateway.domain.decision import Reason
from aegis_gateway.domain.errors import (
    AegisError,
    CallError,
    CallRepeated,
    IllegalTransition,
    StoreError,
    UnknownCall,
)
from aegis_gateway.domain.ledger import Evidence
from aegis_gateway.domain.money import usd_decimal_text
from aegis_gateway.domain.quote import CALLS, TOKENS, USD, Quote, Read
from aegis_gateway.domain.redaction import NO_REDACTIONS, Redactions
from aegis_gateway.domain.registry import TOOL_KINDS, Operation
from aegis_gateway.entrypoints.data_plane.connect import (
    OperationCall,
    described_operation,
    not_redactable,
    tool_evidence,
)
from aegis_gateway.entrypoints.data_plane.exchange import (
    HttpProtocol,
    Scope,
    api_key,
    decision_headers,
    read_body,
    settlement_headers,
)
from aegis_gateway.entrypoints.data_plane.forwarding import at_maximum
from aegis_gateway.entrypoints.data_plane.wire import (
    decoder_words,
    json_type,
    number_reader,
    strict_json,
)

DECISIONS = "/v1/decisions"
BATCH_MAX = 100

_JSON = [("content-type", "application/json")]
_PATH = re.compile(r"/v1/decisions/(call_[0-9a-f]{32})(/settlement)?")
_NOTHING = msgspec.Raw(b"{}")

_encode = msgspec.json.Encoder(decimal_format="string").encode
T = TypeVar("T", bound=msgspec.Struct)


class DecisionRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What an agent wants to do: a tool (`CONNECTOR.OPERATION`) and its arguments; of which run, for whom.

    `name` is the agent's own name for the call: the same again is the same decision, not another one.
    """

    tool: str
    arguments: msgspec.Raw = _NOTHING
    run: str | None = None
    parent: str | None = None
    customer: str | None = None
    name: str | None = None


class BatchRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Many of them."""

    decisions: list[DecisionRequest]


class SettlementRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What came of it. `result` has the numbers that the tool's price or counts are read from."""

    token: str
    result: msgspec.Raw = _NOTHING


class Facts(msgspec.Struct, frozen=True, array_like=True):
    """What a decision is settled by: whose it is, the tool as it was, and the numbers that the request had."""

    agent: str
    operation: Operation
    numbers: dict[str, str]
    quote: Quote
    maximum: dict[str, int]


class DecisionsDoor:
    """Decides for callers who do by themselves what they asked about."""

    def __init__(self, calls: Calls, sealer: Sealer, find: Callable[[str, str], CallReport | None]) -> None:
        """`find` reads a tenant's call, and may block."""
        self._calls = calls
        self._sealer = sealer
        self._find = find

    async def __call__(self, scope: Scope, protocol: HttpProtocol) -> None:
        """Answer one request."""
        key = api_key(scope)
        await self._calls.identify(key)
        raw = await read_body(scope, protocol)
        if raw:
            json_type(scope.headers)
        status, headers, answer = await self._answer(scope, key, raw)
        protocol.response_bytes(status, [*_JSON, *headers], _encode(answer))

    async def _answer(
        self, scope: Scope, key: str | None, raw: bytes
    ) -> tuple[int, list[tuple[str, str]], dict[str, Any]]:
        method, path = scope.method, scope.path
        if (method, path) == ("POST", DECISIONS):
            return await self._decide(key, _read(DecisionRequest, raw))
        if (method, path) == ("POST", f"{DECISIONS}/batch"):
            return 200, [], await self._batch(key, _read(BatchRequest, raw))
        match = _PATH.fullmatch(path)
        if match is not None and (method, match[2]) == ("GET", None):
            return 200, [], await self._show(key, match[1])
        if match is not None and (method, match[2]) == ("POST", "/settlement"):
            return await self._settle(key, match[1], _read(SettlementRequest, raw))
        if match is not None and (method, match[2]) == ("DELETE", None):
            return await self._release(key, match[1], _read(SettlementRequest, raw))
        raise CallError(
            f"there is nothing at {method[:16]} {path[:256]}; see the README for what is", status=404
        )

    async def _decide(
        self, key: str | None, asked: DecisionRequest
    ) -> tuple[int, list[tuple[str, str]], dict[str, Any]]:
        context = CallContext(
            run=asked.run,
            parent=asked.parent,
            customer=asked.customer,
            idempotency_key=asked.name,
            address=f"POST {DECISIONS}",
        )
        arguments = bytes(asked.arguments)
        try:
            decided = await self._calls.decide(
                key,
                lambda view, _model, redactions: _described(view, asked.tool, arguments, redactions),
                context,
            )
        except CallRepeated as fault:
            if not fault.is_same:
                raise CallError(
                    f"name `{asked.name}` is that of call `{fault.first}`, which was another request; use another name",
                    status=422,
                    field="name",
                ) from fault
            return 200, [], await self._again(key, asked, fault.first)
        headers = decision_headers(decided) + settlement_headers(decided, None)
        return 200, headers, self._written(await self._agent(key), decided)

    async def _batch(self, key: str | None, asked: BatchRequest) -> dict[str, Any]:
        if not 0 < len(asked.decisions) <= BATCH_MAX:
            raise CallError(f"a batch has 1 to {BATCH_MAX} decisions", field="decisions")

        async def one(each: DecisionRequest) -> dict[str, Any]:
            try:
                return (await self._decide(key, each))[2]
            except CallError as fault:
                return {"error": {"message": str(fault), "param": fault.field, "status": fault.status}}
            except AegisError as fault:
                return {"error": {"message": str(fault), "param": None, "status": 503}}

        return {"decisions": await asyncio.gather(*map(one, asked.decisions))}

    async def _agent(self, key: str | None) -> tuple[str, str]:
        """The caller's tenant and agent."""
        known = await self._calls.identify(key)
        return known.view.registry.tenant, known.key.agent

    def _written(self, who: tuple[str, str], decided: Decided[OperationCall]) -> dict[str, Any]:
        tenant, agent = who
        quote, admitted = decided.described.quote, decided.admitted
        written: dict[str, Any] = {
            "id": decided.call,
            "effect": admitted.effect,
            "reasons": [_reason(reason) for reason in admitted.reasons],
            "tool": decided.described.tool,
            "run": decided.run,
            "policy_version": decided.policy_version,
        }
        if isinstance(quote, Quote):
            written["expected_usd"] = usd_decimal_text(quote.expected.get(USD, 0))
            if USD in quote.maximum:
                written["maximum_usd"] = usd_decimal_text(quote.maximum[USD])
        if decided.allows and decided.described.sent is not None:
            written["arguments"] = msgspec.Raw(decided.described.sent.body)
        if decided.allows:
            written["token"] = self._token(tenant, agent, decided)
        return written

    def _token(self, tenant: str, agent: str, decided: Decided[OperationCall]) -> str:
        request, quote = decided.described.request, decided.described.quote
        assert request is not None, "an allowed call has an operation"
        assert isinstance(quote, Quote), "an allowed call has a quote"
        facts = Facts(
            agent=agent,
            operation=request.operation,
            numbers=_numbers(request.operation, request.read),
            quote=msgspec.structs.replace(quote, output=None),
            maximum=decided.admitted.maximum,
        )
        sealed = self._sealer.seal(tenant, msgspec.msgpack.encode(facts), _about(decided.call))
        return base64.urlsafe_b64encode(sealed).decode()

    async def _facts(self, key: str | None, call: str, token: str) -> tuple[str, Facts]:
        """What a decision is settled by, with the caller's tenant.

        Raises:
            CallError: the token is none, or was given to somebody else or for another call.
        """
        tenant, agent = await self._agent(key)
        try:
            sealed = base64.urlsafe_b64decode(token.encode())
            facts = msgspec.msgpack.decode(self._sealer.open(tenant, sealed, _about(call)), type=Facts)
        except (StoreError, binascii.Error, UnicodeError, msgspec.MsgspecError) as fault:
            raise _no_token(call) from fault
        if facts.agent != agent:
            raise _no_token(call)
        return tenant, facts

    async def _settle(
        self, key: str | None, call: str, asked: SettlementRequest
    ) -> tuple[int, list[tuple[str, str]], dict[str, Any]]:
        tenant, facts = await self._facts(key, call, asked.token)
        numbers = {tuple(path.split("\n")): Decimal(number) for path, number in facts.numbers.items()}
        result = number_reader({"response": strict_json(bytes(asked.result))})
        evidence: Evidence | None
        try:
            evidence = tool_evidence(
                facts.operation,
                lambda path: result(path) if path[0] == "response" else numbers.get(path),
                "sdk",
            )
        except CallError as fault:
            evidence = at_maximum(facts.quote, facts.maximum, f"{fault}; counted at the maximum")
            if evidence is None:
                raise CallError(
                    f"{fault}, and nothing bounds what the call may have cost; send it in `result`",
                    field="result",
                ) from fault
        return await self._moved(tenant, call, evidence)

    async def _release(
        self, key: str | None, call: str, asked: SettlementRequest
    ) -> tuple[int, list[tuple[str, str]], dict[str, Any]]:
        tenant, facts = await self._facts(key, call, asked.token)
        counts = {count.quantity: 0 for count in facts.operation.counts}
        nothing = Evidence(
            source="not_sent",
            actual={CALLS: 0, TOKENS: 0, **counts},
            note="the caller says that it was not run",
        )
        return await self._moved(tenant, call, nothing)

    async def _moved(
        self, tenant: str, call: str, evidence: Evidence
    ) -> tuple[int, list[tuple[str, str]], dict[str, Any]]:
        try:
            moved = await self._calls.settle_call(tenant, call, evidence)
        except (IllegalTransition, UnknownCall) as fault:
            raise CallError(f"call `{call}` can't be settled so: {fault}", status=422) from fault
        return 200, _cost_headers(moved), _settled(call, moved)

    async def _show(self, key: str | None, call: str) -> dict[str, Any]:
        tenant, agent = await self._agent(key)
        found = await asyncio.to_thread(self._find, tenant, call)
        if found is None or found.agent != agent:
            raise CallError(f"agent `{agent}` has no call `{call}`", status=404)
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

    async def _again(self, key: str | None, asked: DecisionRequest, call: str) -> dict[str, Any]:
        """A decision that was made under its name before, with a token if it may still be settled."""
        shown = await self._show(key, call)
        if shown["effect"] == "allow" and "cost_usd" not in shown:
            known = await self._calls.identify(key)
            described = _described(known.view, asked.tool, bytes(asked.arguments), NO_REDACTIONS)
            if described.request is not None and isinstance(described.quote, Quote):
                facts = Facts(
                    agent=known.key.agent,
                    operation=described.request.operation,
                    numbers=_numbers(described.request.operation, described.request.read),
                    quote=described.quote,
                    maximum=described.quote.maximum,
                )
                sealed = self._sealer.seal(
                    known.view.registry.tenant, msgspec.msgpack.encode(facts), _about(call)
                )
                shown["token"] = base64.urlsafe_b64encode(sealed).decode()
        return shown


def _read(kind: type[T], raw: bytes) -> T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as fault:
        raise CallError(f"the body is not what it should be: {decoder_words(fault)}", field="body") from fault


def _described(view: TenantView, tool: str, arguments: bytes, redactions: Redactions) -> OperationCall:
    """A tool's call as policies and prices see it; its arguments stand where an HTTP operation's body does."""
    for connector in view.registry.connectors.values():
        for operation in connector.operations if connector.kind in TOOL_KINDS else ():
            if f"{connector.id}.{operation.id}" == tool:
                if redactions.response:
                    return not_redactable(
                        connector, operation, "the agent runs this, so its result stays there"
                    )
                try:
                    return described_operation(view, connector, operation, {}, "", arguments, redactions)
                except CallError as fault:
                    raise _of_arguments(fault) from fault
    return OperationCall(
        connector=tool[:128].partition(".")[0],
        tool=tool[:128],
        quote=Reason(
            code="unknown_tool",
            subject=tool[:128],
            message=f"tool `{tool[:128]}` is not configured here; tools are operations of connectors",
        ),
        arguments={},
        canonical=arguments,
        summary={},
    )


def _of_arguments(fault: CallError) -> CallError:
    """A fault of an operation's body, told of arguments."""
    field = fault.field
    if field is not None and (field == "body" or field.startswith(("body.", "body["))):
        field = f"arguments{field.removeprefix('body')}"
    return CallError(str(fault).replace("`body", "`arguments"), status=fault.status, field=field)


def _numbers(operation: Operation, read: Read) -> dict[str, str]:
    """The numbers of a request that its price or counts are read from."""
    paths = [
        operation.price.units_from,
        operation.price.amount_from,
        *(count.source for count in operation.counts),
    ]
    found = {path: read(path) for path in paths if path and path[0] != "response"}
    return {"\n".join(path): str(number) for path, number in found.items() if number is not None}


def _about(call: str) -> bytes:
    return f"decision:{call}".encode()


def _reason(reason: Reason) -> dict[str, Any]:
    written: dict[str, Any] = {"code": reason.code, "message": reason.message, "subject": reason.subject}
    if reason.wait_ns is not None:
        written["retry_after_ms"] = -(-reason.wait_ns // 1_000_000)
    return written


def _no_token(call: str) -> CallError:
    return CallError(
        f"that is not the token of call `{call}` under this key; send the one that its decision had",
        status=403,
        field="token",
    )


def _cost_headers(moved: Moved) -> list[tuple[str, str]]:
    return [] if moved.cost_nano_usd is None else [("aegis-cost-usd", usd_decimal_text(moved.cost_nano_usd))]


def _settled(call: str, moved: Moved) -> dict[str, Any]:
    settled: dict[str, Any] = {"id": call, "state": moved.state, "overrun": moved.overrun}
    if moved.cost_nano_usd is not None:
        settled["cost_usd"] = usd_decimal_text(moved.cost_nano_usd)
    return settled
