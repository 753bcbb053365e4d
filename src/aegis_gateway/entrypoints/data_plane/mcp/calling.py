"""Calls of tools: judged on their arguments, priced, reserved, sent, settled, redacted.

Rule 1: the answer is released only when its cost is on disk.
Rule 2: a result is the word of the server that the tool ran, if it is one with an error in it too. Errors by which a
        server says that it didn't take the call up cost nothing; of any other it is not known what happened.
Rule 3: what was never sent costs nothing; what was sent and not answered is in doubt, and nobody sends it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from aegis_gateway.application.calls import Calls
from aegis_gateway.application.commands import Moved
from aegis_gateway.application.decided import Decided
from aegis_gateway.application.directory import TenantView
from aegis_gateway.domain.decision import Reason
from aegis_gateway.domain.errors import CallError, UpstreamFault
from aegis_gateway.domain.ledger import Evidence
from aegis_gateway.domain.quote import CALLS, USD, Quote, unpriced
from aegis_gateway.domain.redaction import NO_REDACTIONS, Redactions
from aegis_gateway.domain.registry import OTHER_TOOLS, Connector
from aegis_gateway.domain.tools import UNLISTED_TOOL
from aegis_gateway.entrypoints.data_plane.connect import (
    OperationCall,
    described_operation,
    not_redactable,
    tool_evidence,
)
from aegis_gateway.entrypoints.data_plane.exchange import decision_headers, settlement_headers
from aegis_gateway.entrypoints.data_plane.forwarding import at_maximum, put_in_doubt, settle
from aegis_gateway.entrypoints.data_plane.mcp.answering import Answering, CallerLeft, StreamPaused
from aegis_gateway.entrypoints.data_plane.mcp.errors import INTERNAL_ERROR, NOT_DONE
from aegis_gateway.entrypoints.data_plane.mcp.messages import (
    CallerMessage,
    Members,
    ServerMessage,
    encode,
    error_of,
    members,
    raw_json,
    response,
    result_members,
    result_type,
    with_result,
)
from aegis_gateway.entrypoints.data_plane.mcp.redacting import RedactedMessages
from aegis_gateway.entrypoints.data_plane.mcp.refusals import decision_meta, error_result
from aegis_gateway.entrypoints.data_plane.mcp.versions import OUR_META, Era
from aegis_gateway.entrypoints.data_plane.mcp.visible import operation_of
from aegis_gateway.entrypoints.data_plane.refusals import withheld_words
from aegis_gateway.entrypoints.data_plane.tool_decisions import of_arguments
from aegis_gateway.entrypoints.data_plane.wire import UNREADABLE, response_reader

NO_ARGUMENTS = b"{}"
_PAUSED = "the server closed the call's stream, and gives the answer to who takes it up again"
_NO_OBJECT = "the server's result is no object"
_REFUSING = range(300, 500)
_DONE_ELSEWHERE = 303
"""A redirection whose request was done: only its result is elsewhere."""
_CANCELLED = "the caller closed its stream, which cancels the call"


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call of a tool as a message asks for it: of which server, by the tool's name there, with which arguments."""

    server: str
    tool: str
    arguments: bytes


def tool_call(message: CallerMessage, server: str, tool: str) -> ToolCall:
    """Read a message that calls a tool.

    Raises:
        CallError: its arguments are no object.
    """
    arguments = message.param("arguments")
    if arguments is not None and not isinstance(arguments, dict):
        raise CallError("`arguments` must be an object", field="params.arguments")
    given = bytes(message.params["arguments"]) if arguments is not None else NO_ARGUMENTS
    return ToolCall(server=server, tool=tool, arguments=given)


def describe_tool(view: TenantView, call: ToolCall, redactions: Redactions = NO_REDACTIONS) -> OperationCall:
    """Describe a call of a tool under a registry: the operation it is, its typed arguments, its quote.

    Raises:
        CallError: an argument is not what the operation declares.
    """
    connector = view.registry.connectors.get(call.server)
    if connector is None or connector.kind != "mcp":
        return _unknown(call, f"server `{call.server[:64]}` is not configured here")
    operation = operation_of(connector, call.tool)
    if operation is None and view.registry.proxy is not None:
        return _unlisted(connector, call)
    if operation is None:
        return _unknown(
            call, f"server `{call.server}` has no tool `{call.tool[:64]}` that is configured here"
        )
    if operation.id != OTHER_TOOLS:
        try:
            return described_operation(view, connector, operation, {}, "", call.arguments, redactions)
        except CallError as fault:
            raise of_arguments(fault) from fault
    raw = encode({"name": call.tool, "arguments": msgspec.Raw(call.arguments)})
    described = described_operation(view, connector, operation, {}, "", raw, redactions)
    if described.sent is None:
        return described
    sent = members(described.sent.body)
    if msgspec.json.decode(sent["name"]) != call.tool:
        return not_redactable(connector, operation, "the tool's name would have to be redacted")
    arguments = msgspec.structs.replace(described.sent, body=bytes(sent["arguments"]))
    return msgspec.structs.replace(described, sent=arguments)


def _unknown(call: ToolCall, words: str) -> OperationCall:
    return OperationCall(
        connector=call.server[:64],
        tool=f"{call.server[:64]}{UNLISTED_TOOL}",
        quote=Reason(code="unknown_tool", subject=call.tool[:128], message=words),
        arguments={},
        canonical=call.arguments,
        summary={"tool": call.tool[:128]},
    )


def _unlisted(connector: Connector, call: ToolCall) -> OperationCall:
    """A call of what nobody declared, where everything passes: what it costs is not known."""
    words = f"server `{connector.id}` has no tool `{call.tool[:64]}`, so nobody knows what it costs"
    return OperationCall(
        connector=connector.id,
        tool=f"{connector.id}{UNLISTED_TOOL}",
        region=connector.region,
        quote=unpriced(words),
        arguments={},
        canonical=encode({"name": call.tool, "arguments": msgspec.Raw(call.arguments)}),
        summary={"tool": call.tool[:128]},
        upstream=connector,
    )


class CallUnderWay:
    """A call that was allowed: what its messages become on their way to the caller, and how it is settled."""

    def __init__(self, calls: Calls, decided: Decided[OperationCall], answering: Answering, era: Era) -> None:
        """Account for a call that is answered over `answering`."""
        self._calls = calls
        self._decided = decided
        self._answering = answering
        self._era = era
        self._messages = RedactedMessages(decided.answer)

    @asynccontextmanager
    async def accounted_for(self) -> AsyncIterator[None]:
        """The block in which the call is sent and answered. However it is left, the call is accounted for."""
        try:
            yield
        except UpstreamFault as fault:
            await self.fail(fault)
        except StreamPaused:
            await put_in_doubt(self._calls, self._decided, _PAUSED)
            self._answering.drop()
        except CallerLeft:
            await put_in_doubt(self._calls, self._decided, _CANCELLED)
        except asyncio.CancelledError:
            await asyncio.shield(put_in_doubt(self._calls, self._decided, _CANCELLED))
            raise
        except BaseException:
            self._answering.drop()
            await asyncio.shield(
                put_in_doubt(self._calls, self._decided, "the gateway failed while it forwarded the call")
            )
            raise

    async def fail(self, fault: UpstreamFault) -> None:
        """The server didn't answer as it should: account for it, and say so."""
        self._calls.upstream_failed(self._decided, fault)
        if fault.sent:
            moved = await put_in_doubt(self._calls, self._decided, str(fault))
            words = f"{fault}; it may have run, so it counts at its maximum: don't just repeat it"
        else:
            moved = await settle(self._calls, self._decided, Evidence(source="not_sent", note=str(fault)))
            words = f"{fault}; try again later"
        await self._say(f"The tool's server did not answer: {words}.", moved)

    async def refused_by_server(self, status: int) -> None:
        """The server answered with an HTTP error that is no answer to a message."""
        self._calls.upstream_answered(self._decided, status)
        if status not in _REFUSING or status == _DONE_ELSEWHERE:
            raise UpstreamFault(f"the server answered {status}", sent=True)
        moved = await self._settle_nothing(f"the server answered {status}, and did nothing")
        what = "does not accept the gateway's credential" if status in (401, 403) else f"answered {status}"
        await self._say(f"The tool's server {what}; nothing was done.", moved)

    async def _say(self, words: str, moved: Moved | None) -> None:
        self._answering.ours = decision_headers(self._decided) + settlement_headers(self._decided, moved)
        result = error_result(words, decision_meta(self._decided, moved), self._era)
        await self._answering.finish(response(self._answering.id, result))

    async def pass_on(self, _message: ServerMessage, raw: bytes) -> bytes | None:
        """A message before the answer, without what is to be redacted in it."""
        return self._messages.told(raw)

    async def respond(self, message: ServerMessage, raw: bytes, *, is_refusal: bool = False) -> bytes:
        """The answer, settled first: without what is to be redacted in it, with what Aegis says of it.

        `is_refusal`: its HTTP status says that the request was not taken up, as where a session is over.
        """
        shown = self._messages.response(raw)
        self._decided = self._messages.noted(self._decided)
        error = error_of(message)
        if error is not None:
            if error.code in NOT_DONE or (is_refusal and error.code != INTERNAL_ERROR):
                moved = await self._settle_nothing(
                    f"the server answered with error {error.code}, and did nothing"
                )
            else:
                moved = await put_in_doubt(
                    self._calls, self._decided, f"the server answered with error {error.code}"
                )
        elif (result := result_members(message)) is None:
            moved = await put_in_doubt(self._calls, self._decided, _NO_OBJECT)
            words = f"The tool's server did not answer: {_NO_OBJECT}; it may have run: don't just repeat it."
            told = error_result(words, decision_meta(self._decided, moved), self._era)
            return response(self._answering.id, told)
        else:
            moved = await self._settle_result(result)
        self._answering.ours = decision_headers(self._decided) + settlement_headers(self._decided, moved)
        if isinstance(shown, str):
            told = decision_meta(self._decided, moved)
            return response(self._answering.id, error_result(withheld_words(shown), told, self._era))
        return shown if error is not None else self._annotated(shown, moved)

    def _annotated(self, raw: bytes, moved: Moved | None) -> bytes:
        """A result with what Aegis says of its call."""
        result = members(members(raw)["result"])
        meta: Members = {}
        if "_meta" in result:
            try:
                meta = members(result["_meta"])
            except UNREADABLE:
                return raw  # it is no object, so nobody can look into it for more
        told = raw_json(decision_meta(self._decided, moved))
        return with_result(raw, {"_meta": raw_json({**meta, OUR_META: told})})

    async def _settle_result(self, result: Members) -> Moved | None:
        call = self._decided.described
        assert isinstance(call.quote, Quote), "an allowed call has a quote"
        if result_type(result) == "input_required":
            return await self._settle_nothing("the server asks for input before it does anything")
        if call.request is None:
            return await put_in_doubt(self._calls, self._decided, call.quote.unbounded[USD])
        try:
            read = response_reader(call.request, numbers_of(result))
            evidence = tool_evidence(call.request.operation, read, "response")
        except CallError as fault:
            maximum = self._decided.admitted.maximum
            estimate = at_maximum(call.quote, maximum, f"{fault}; counted at the maximum")
            if estimate is None:
                return await put_in_doubt(self._calls, self._decided, str(fault))
            evidence = estimate
        return await settle(self._calls, self._decided, evidence)

    async def _settle_nothing(self, why: str) -> Moved | None:
        request = self._decided.described.request
        counts = request.operation.counts if request is not None else ()
        nothing = Evidence(
            source="response", actual={**{count.quantity: 0 for count in counts}, CALLS: 1}, note=why
        )
        return await settle(self._calls, self._decided, nothing)


class _Text(msgspec.Struct, frozen=True):
    """A piece of a result's content."""

    type: str = ""
    text: str = ""


_content = msgspec.json.Decoder(list[_Text]).decode


def numbers_of(result: Members) -> bytes:
    """What the numbers of a result are read from: its structured content, or else its first text, which may be JSON."""
    structured = bytes(result.get("structuredContent", msgspec.Raw()))
    if structured and structured != b"null":
        return structured
    try:
        pieces = _content(result.get("content", msgspec.Raw(b"[]")))
    except UNREADABLE:
        return b""
    return next((piece.text.encode() for piece in pieces if piece.type == "text"), b"")
