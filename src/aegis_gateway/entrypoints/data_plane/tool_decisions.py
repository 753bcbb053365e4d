"""Tools that agents run themselves, decided for and settled: what every door does that doesn't forward the call.

Rule 1: what is allowed counts as sent, so what is never settled stays at its maximum: a caller who dies frees nothing.
Rule 2: a decision is settled by the prices and numbers that it was made with. They are in its token, sealed for the
        agent that it was given to, which is who asked; nobody settles another's, and any worker can settle it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from decimal import Decimal

import msgspec

from aegis_gateway.adapters.reports import CallReport, Reports
from aegis_gateway.application.call_context import NO_CONTEXT, CallContext
from aegis_gateway.application.calls import Calls
from aegis_gateway.application.commands import Moved
from aegis_gateway.application.decided import Decided
from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.ports import Sealer
from aegis_gateway.application.tracing import SpanNote
from aegis_gateway.domain.decision import Reason
from aegis_gateway.domain.errors import (
    CallError,
    CallRepeated,
    IllegalTransition,
    LedgerError,
    StoreError,
    UnknownCall,
)
from aegis_gateway.domain.ledger import Evidence
from aegis_gateway.domain.money import NANO_USD_MAX
from aegis_gateway.domain.quote import CALLS, TOKENS, USD, Quote, Read
from aegis_gateway.domain.redaction import Redactions
from aegis_gateway.domain.registry import Operation
from aegis_gateway.entrypoints.data_plane.connect import (
    OperationCall,
    described_operation,
    not_redactable,
    tool_evidence,
)
from aegis_gateway.entrypoints.data_plane.forwarding import at_maximum
from aegis_gateway.entrypoints.data_plane.tool_names import tool_named
from aegis_gateway.entrypoints.data_plane.wire import number_reader, strict_json

SAID_NANO_USD_MAX = 10**15
"""What a call may have cost by its caller's word, a million dollars, unless more was reserved for it.

Else a few words would come to more than can be added up in 64 bits, and nobody saw any more what anybody spends.
"""

_log = logging.getLogger("aegis.data_plane")


class ToolRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent wants to do: a tool (`CONNECTOR.OPERATION`), its arguments as JSON, and of which run, for whom.

    `short_name`: the operation's id alone names the tool too, where only one `local` connector has it.
    """

    tool: str
    arguments: bytes
    context: CallContext = NO_CONTEXT
    short_name: bool = False


class ToolDecision(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that is on disk: made now (`decided`), or under its name before (`before`).

    `token` settles or releases it; there is none where it was refused, or is settled already. `redacted` are the
    arguments to run it with, where policies had something of those asked about redacted.
    """

    decided: Decided[OperationCall] | None = None
    before: CallReport | None = None
    token: str | None = None
    redacted: bytes | None = None

    @property
    def is_known(self) -> bool:
        """Whether it was allowed now, and what it costs and counts is all in its request."""
        decided = self.decided
        if decided is None or not decided.allows or decided.described.request is None:
            return False
        operation = decided.described.request.operation
        paths = (
            operation.price.units_from,
            operation.price.amount_from,
            *(count.source for count in operation.counts),
        )
        return all(path[:1] != ("response",) for path in paths)


class _Facts(msgspec.Struct, frozen=True, array_like=True):
    """What a decision is settled by: whose it is, the tool as it was, and the numbers that the request had."""

    agent: str
    operation: Operation
    numbers: dict[str, str]
    quote: Quote
    maximum: dict[str, int]
    span: SpanNote | None = None


class ToolDecisions:
    """Decides for callers who do by themselves what they asked about, and settles what they did."""

    def __init__(self, calls: Calls, sealer: Sealer, reports: Reports) -> None:
        """Decide by `calls`; `reports` tell how one stands."""
        self._calls = calls
        self._sealer = sealer
        self._reports = reports

    async def decide(self, key: str | None, asked: ToolRequest) -> ToolDecision:
        """Decide for a tool's call and reserve for it. The same again under its name is the same decision.

        Raises:
            NotIdentified: the caller is unknown.
            CallError: the call cannot be understood, or its name is that of another one.
            LedgerUnavailable: the decision could not be made durable.
        """
        try:
            decided = await self._calls.decide(
                key,
                lambda view, _model, redactions: described_tool(
                    view, asked.tool, asked.arguments, redactions, short_name=asked.short_name
                ),
                asked.context,
            )
        except CallRepeated as fault:
            if not fault.is_same:
                name = asked.context.idempotency_key
                raise CallError(
                    f"name `{name}` is that of call `{fault.first}`, which was another request; use another name",
                    status=422,
                    field="name",
                ) from fault
            return await self._before(key, fault)
        token, span = None, decided.span
        if decided.allows:
            self._calls.handed_over(decided)
            _, agent = await self._caller(key)
            token = self._token(
                decided.tenant,
                agent,
                decided.call,
                decided.described,
                decided.admitted.maximum,
                span.note if span is not None else None,
            )
        redacted = _redacted(decided.described) if decided.allows else None
        return ToolDecision(decided=decided, token=token, redacted=redacted)

    async def settle(
        self,
        key: str | None,
        call: str,
        token: str,
        result: bytes,
        note: str = "",
        *,
        cost_usd: bytes = b"",
    ) -> Moved:
        """Settle a call that was run, by the numbers of `result`, which is JSON; `note` goes into the record.

        `cost_usd`, JSON too, is what it cost by the agent's own word. It stands for the field of the result that the
        tool's price reads an amount from: only a price that takes the agent's word has one.

        Raises:
            CallError: the token isn't the caller's for this call, or the call can't be settled so.
            LedgerUnavailable: it is not on disk yet; until it is, the call stays at its maximum.
        """
        tenant, facts = await self._facts(key, call, token)
        numbers = {tuple(path.split("\n")): Decimal(number) for path, number in facts.numbers.items()}
        found = number_reader({"response": strict_json(result)})
        stated = _stated(facts.operation, cost_usd)

        def read(path: tuple[str, ...]) -> Decimal | None:
            if stated is not None and path == facts.operation.price.amount_from:
                return stated
            return found(path) if path[0] == "response" else numbers.get(path)

        evidence: Evidence | None
        try:
            evidence = tool_evidence(facts.operation, read, "sdk")
        except CallError as fault:
            evidence = at_maximum(facts.quote, facts.maximum, f"{fault}; counted at the maximum")
            if evidence is None:
                raise CallError(
                    f"{fault}, and nothing bounds what the call may have cost; send it in `result`",
                    field="result",
                ) from fault
        most = max(SAID_NANO_USD_MAX, facts.maximum.get(USD, 0))
        is_beyond = any(line.quantity > NANO_USD_MAX for line in evidence.lines)
        if evidence.cost_nano_usd > most or is_beyond:
            raise CallError(
                f"call `{call}` can't have come to so much; until it is settled it stays at its maximum",
                status=422,
                field="result",
            )
        if note:
            evidence = msgspec.structs.replace(
                evidence, note=f"{evidence.note}; {note}" if evidence.note else note
            )
        return await self._moved(tenant, call, evidence, facts.span)

    async def settle_known(self, decision: ToolDecision) -> None:
        """Settle what was allowed now and `is_known`: nothing that comes out of it can change its cost.

        That is for callers who are not going to say that they ran it: what is allowed counts as run. Where it can't be
        written at once it is written as soon as the ledger takes it, and until then stays at its maximum, which is
        the same.
        """
        decided = decision.decided
        assert decided is not None, "it was made now"
        request = decided.described.request
        assert request is not None, "an allowed call has an operation"
        evidence = msgspec.structs.replace(
            tool_evidence(request.operation, request.read, "estimate"),
            note="counted as run when it was allowed: nothing that comes out of it changes its cost",
        )
        try:
            await self._calls.settle(decided, evidence)
        except LedgerError as fault:
            _log.warning("call %s is not settled yet: %s", decided.call, fault)

    async def release(self, key: str | None, call: str, token: str, *, closes_name: bool = False) -> Moved:
        """Settle a call at nothing that was not run. Its name is free again, unless that is to be closed with it:
        then a request under it that is still on its way decides nothing any more.

        Raises:
            CallError: the token isn't the caller's for this call, or the call was settled at a cost.
            LedgerUnavailable: it is not on disk yet; until it is, the call stays at its maximum.
        """
        tenant, facts = await self._facts(key, call, token)
        counts = {count.quantity: 0 for count in facts.operation.counts}
        nothing = Evidence(
            source="sdk" if closes_name else "not_sent",
            actual={CALLS: 0, TOKENS: 0, **counts},
            note="the caller says that it was not run",
        )
        return await self._moved(tenant, call, nothing, facts.span)

    async def find(self, key: str | None, call: str) -> CallReport:
        """How a call stands: one of the caller's, or of an agent that it may ask for.

        Raises:
            NotIdentified: the caller is unknown, or not allowed in any more.
            CallError: the caller has none of that id.
        """
        known = await self._calls.callers.valid_caller(key)
        asker = known.agent
        found = await asyncio.to_thread(self._reports.call, known.view.registry.tenant, call)
        is_theirs = found is not None and asker is not None and asker.may_ask_for(found.agent)
        if found is None or not (found.agent == known.key.agent or is_theirs):
            raise CallError(f"agent `{known.key.agent}` has no call `{call}`", status=404)
        return found

    async def find_own(self, key: str | None, call: str) -> CallReport:
        """How a call of the caller's own stands; one of an agent that it may ask for is not.

        Raises:
            CallError: the caller has none of that id.
        """
        found = await self.find(key, call)
        _, agent = await self._caller(key)
        if found.agent != agent:
            raise CallError(f"agent `{agent}` has no call `{call}`", status=404)
        return found

    async def is_redacted(self, key: str | None, call: str) -> bool:
        """Whether a call of the caller's was allowed with other arguments than it was asked with.

        Raises:
            NotIdentified: the caller is unknown.
        """
        tenant, _ = await self._caller(key)
        return await asyncio.to_thread(self._reports.is_redacted, tenant, call)

    async def _caller(self, key: str | None) -> tuple[str, str]:
        """The caller's tenant and agent."""
        known = await self._calls.callers.identify(key)
        return known.view.registry.tenant, known.key.agent

    async def _before(self, key: str | None, fault: CallRepeated) -> ToolDecision:
        """A decision that was made under its name before, with a token if it may still be settled.

        It is the same request without what was to be redacted, so what is redacted now is what was redacted then.
        """
        call, described = fault.first, fault.described
        assert isinstance(described, OperationCall), "it is what was described for it"
        found = await self.find(key, call)
        token = None
        if found.effect == "allow" and found.cost_nano_usd is None:
            tenant, agent = await self._caller(key)
            if described.request is not None and isinstance(described.quote, Quote):
                token = self._token(tenant, agent, call, described, described.quote.maximum)
        redacted = _redacted(described) if token is not None else None
        return ToolDecision(before=found, token=token, redacted=redacted)

    def _token(
        self,
        tenant: str,
        agent: str,
        call: str,
        described: OperationCall,
        maximum: dict[str, int],
        span: SpanNote | None = None,
    ) -> str:
        request, quote = described.request, described.quote
        assert request is not None, "an allowed call has an operation"
        assert isinstance(quote, Quote), "an allowed call has a quote"
        facts = _Facts(
            agent=agent,
            # Only its price and counts are needed, and a schema may be long.
            operation=msgspec.structs.replace(request.operation, arguments=(), body_schema=b""),
            numbers=request_numbers(request.operation, request.read),
            quote=quote,
            maximum=maximum,
            span=span,
        )
        sealed = self._sealer.seal(tenant, msgspec.msgpack.encode(facts), _about(call))
        return base64.urlsafe_b64encode(sealed).decode()

    async def _facts(self, key: str | None, call: str, token: str) -> tuple[str, _Facts]:
        """What a decision is settled by, with the caller's tenant.

        Raises:
            NotIdentified: the caller is unknown, or not allowed in any more: a revoked key frees nothing.
            CallError: the token is none, or was given to somebody else or for another call.
        """
        known = await self._calls.callers.valid_caller(key)
        tenant, agent = known.view.registry.tenant, known.key.agent
        try:
            sealed = base64.urlsafe_b64decode(token.encode())
            facts = msgspec.msgpack.decode(self._sealer.open(tenant, sealed, _about(call)), type=_Facts)
        except (StoreError, binascii.Error, UnicodeError, msgspec.MsgspecError) as fault:
            raise _no_token(call) from fault
        if facts.agent != agent:
            raise _no_token(call)
        return tenant, facts

    async def _moved(self, tenant: str, call: str, evidence: Evidence, span: SpanNote | None) -> Moved:
        try:
            return await self._calls.settle_call(tenant, call, evidence, span)
        except (IllegalTransition, UnknownCall) as fault:
            raise CallError(f"call `{call}` can't be settled so: {fault}", status=422) from fault


def described_tool(
    view: TenantView, tool: str, arguments: bytes, redactions: Redactions, *, short_name: bool = False
) -> OperationCall:
    """A tool's call as policies and prices see it; its arguments stand where an HTTP operation's body does.

    Raises:
        CallError: an argument is not what the tool declares.
    """
    found = tool_named(view.registry, tool, short_name=short_name)
    if isinstance(found, Reason):
        return OperationCall(
            connector=found.subject.partition(".")[0],
            tool=found.subject,
            quote=found,
            arguments={},
            canonical=arguments,
            summary={},
        )
    connector, operation = found
    if redactions.response:
        return not_redactable(connector, operation, "the agent runs this, so its result stays there")
    try:
        return described_operation(view, connector, operation, {}, "", arguments, redactions)
    except CallError as fault:
        raise of_arguments(fault) from fault


def of_arguments(fault: CallError) -> CallError:
    """A fault of an operation's body, told of arguments."""
    field = fault.field
    if field is not None and (field == "body" or field.startswith(("body.", "body["))):
        field = f"arguments{field.removeprefix('body')}"
    return CallError(str(fault).replace("`body", "`arguments"), status=fault.status, field=field)


def request_numbers(operation: Operation, read: Read) -> dict[str, str]:
    """The numbers of a request that its price or counts are read from."""
    paths = [
        operation.price.units_from,
        operation.price.amount_from,
        *(count.source for count in operation.counts),
    ]
    found = {path: read(path) for path in paths if path and path[0] != "response"}
    return {"\n".join(path): str(number) for path, number in found.items() if number is not None}


def _stated(operation: Operation, cost_usd: bytes) -> Decimal | None:
    """What a call cost by its agent's word, where that counts.

    Raises:
        CallError: it is no amount, or the tool's price does not take the agent's word.
    """
    stated = number_reader({"cost_usd": strict_json(cost_usd)})(("cost_usd",)) if cost_usd else None
    if stated is not None and operation.price.amount_from[:1] != ("response",):
        raise CallError(
            f"the price of `{operation.id}` does not take the agent's word for what a call cost; "
            "leave `cost_usd` out, or give the price an amount: `amount: result.cost`",
            status=422,
            field="cost_usd",
        )
    return stated


def _redacted(described: OperationCall) -> bytes | None:
    return described.sent.body if described.sent is not None else None


def _about(call: str) -> bytes:
    return f"decision:{call}".encode()


def _no_token(call: str) -> CallError:
    return CallError(
        f"that is not the token of call `{call}` under this key; send the one that its decision had",
        status=403,
        field="token",
    )
