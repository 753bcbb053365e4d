"""What one server's callers may ask of it, and what they get.

Rule 1: only methods that are known here are passed on: nobody knows what another one costs, or whose data it gives.
Rule 2: what a server wants to be given back goes through the caller sealed, and what it asks the caller only passes if
        the client can be asked for it.
Rule 3: free requests (lists, resources, prompts, completions) pass for agents who may call some tool of the server;
        policies and budgets don't see them.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec

from aegis_gateway.application.call_context import CallContext
from aegis_gateway.application.callers import NotIdentified
from aegis_gateway.application.calls import Calls
from aegis_gateway.application.decided import Decided
from aegis_gateway.application.ports import Sealer
from aegis_gateway.domain.errors import CallError, LedgerUnavailable, UpstreamFault
from aegis_gateway.domain.registry import Connector
from aegis_gateway.entrypoints.data_plane.approvals import held
from aegis_gateway.entrypoints.data_plane.connect import OperationCall
from aegis_gateway.entrypoints.data_plane.exchange import (
    call_context,
    decision_headers,
    leaving_of,
    settlement_headers,
)
from aegis_gateway.entrypoints.data_plane.mcp.answering import (
    Answering,
    CallerLeft,
    Exchange,
    StreamPaused,
    relay,
)
from aegis_gateway.entrypoints.data_plane.mcp.approving import BROUGHT, Approving
from aegis_gateway.entrypoints.data_plane.mcp.asked_back import may_ask, undeclared
from aegis_gateway.entrypoints.data_plane.mcp.calling import CallUnderWay, describe_tool, tool_call
from aegis_gateway.entrypoints.data_plane.mcp.errors import (
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    MISSING_CAPABILITY,
    ProtocolFault,
    unknown_method,
)
from aegis_gateway.entrypoints.data_plane.mcp.headers import declared_capabilities
from aegis_gateway.entrypoints.data_plane.mcp.lists import shown_list, without_tasks
from aegis_gateway.entrypoints.data_plane.mcp.messages import (
    ServerMessage,
    encode,
    error_response,
    raw_json,
    response,
    result_members,
    result_type,
    server_message,
    with_result,
)
from aegis_gateway.entrypoints.data_plane.mcp.naming import AS_THEY_ARE, Names
from aegis_gateway.entrypoints.data_plane.mcp.parameters import redacted_headers
from aegis_gateway.entrypoints.data_plane.mcp.refusals import error_result, refused_result
from aegis_gateway.entrypoints.data_plane.mcp.requests import Request
from aegis_gateway.entrypoints.data_plane.mcp.resuming import Places, open_call
from aegis_gateway.entrypoints.data_plane.mcp.states import States
from aegis_gateway.entrypoints.data_plane.mcp.traces import traced_by, with_trace
from aegis_gateway.entrypoints.data_plane.mcp.versions import MODERN, NAMED, Era
from aegis_gateway.entrypoints.data_plane.mcp.visible import visible_tools
from aegis_gateway.entrypoints.data_plane.mcp.waiting import Streams, while_there
from aegis_gateway.entrypoints.data_plane.mcp.ways import Outgoing, Way
from aegis_gateway.entrypoints.data_plane.wire import UNREADABLE

FREE = frozenset(
    (
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "prompts/list",
        "prompts/get",
        "completion/complete",
    )
)
FREE_IN: dict[Era, frozenset[str]] = {
    "modern": FREE | {"server/discover"},
    "legacy": FREE | {"ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"},
}
LISTEN = "subscriptions/listen"
_STATE = "requestState"
_DECLINE_S = 10.0
_WHERE = (
    "base_url", "network", "command", "variables", "credential", "credential_header", "credential_prefix",
)  # fmt: skip
"""What of a connector says whom its calls go to, and as whom."""

Changed = dict[str, msgspec.Raw | None]
"""Parameters that are others for the server than the caller's."""

_log = logging.getLogger("aegis.mcp")


class Serving:
    """Serves the requests of one server's callers, over a way to it."""

    def __init__(self, calls: Calls, sealer: Sealer, streams: Streams, pages_url: str) -> None:
        """Build on the use cases; `pages_url` is where people answer what calls wait for."""
        self._streams = streams
        self._calls = calls
        self._states = States(sealer)
        self._approving = Approving(sealer, pages_url)
        self._places = Places(sealer)

    async def serve(self, request: Request, way: Way, names: Names = AS_THEY_ARE) -> None:
        """Answer a request.

        Raises:
            ProtocolFault: there is no such method, or it is asked for in a way that is not understood.
            NotIdentified: the caller is not allowed in any more.
        """
        method = request.message.method
        named = NAMED.get(method)
        if named is not None and not isinstance(request.message.param(named), str):
            raise ProtocolFault(INVALID_PARAMS, f"`{named}` must be a text")
        if method == "tools/call":
            await self.call(request, way, names)
        elif method == "tools/list":
            await self._free(request, way, partial(_listed, request, way), names)
        elif method in FREE_IN[request.era]:
            await self._free(request, way, partial(self._shown, request, way, names), names)
        elif method == LISTEN and request.era == "modern":
            await self._free(request, way, _same, names, listens=True)
        else:
            raise unknown_method(method)

    async def call(self, request: Request, way: Way, names: Names = AS_THEY_ARE) -> None:
        """A tool is called."""
        who, message = request.who, request.message
        tool = message.param("name")
        if not isinstance(tool, str) or not tool:
            raise ProtocolFault(INVALID_PARAMS, "`name` must be the name of a tool")
        if "task" in message.params:
            raise ProtocolFault(INVALID_PARAMS, "tasks are not served here; call the tool without `task`")
        answering = Answering(who.protocol, message.id)
        approval = self._approving.brought(request, way.connector.id)
        brought = BROUGHT if approval is not None else self._opened(request, way)
        changed = {**names.asked(message), **brought}
        try:
            call = tool_call(message, way.connector.id, names.own(tool))
            decided = await held(
                self._calls,
                who.scope,
                who.protocol,
                lambda: self._calls.decide(
                    who.key,
                    lambda view, _model, redactions: describe_tool(view, call, redactions),
                    _context(request, approval),
                ),
                wait_s=self._approving.patience_s(request, approval),
            )
        except NotIdentified:
            raise
        except (CallError, LedgerUnavailable) as fault:
            words = f"Aegis could not decide about this call: {fault}."
            result = error_result(words, {"effect": "deny", "codes": ["not_understood"]}, request.era)
            await answering.finish(response(message.id, result))
            return
        answering.ours = decision_headers(decided) + settlement_headers(decided, None)
        if not decided.allows:
            asked = self._approving.asked(request, way.connector.id, decided)
            refused = asked or response(message.id, refused_result(decided, request.era))
            await answering.finish(refused)
            return
        under_way = CallUnderWay(self._calls, decided, answering, request.era)
        forwarded = self._forwarded(request, way, names, decided, changed, under_way, answering)
        if request.era == "modern":
            await while_there(who, forwarded)
        else:
            await forwarded

    async def _forwarded(
        self,
        request: Request,
        way: Way,
        names: Names,
        decided: Decided[OperationCall],
        changed: Changed,
        under_way: CallUnderWay,
        answering: Answering,
    ) -> None:
        async with under_way.accounted_for():
            if not _leads_to(way.connector, decided.described.upstream):
                raise UpstreamFault("the server was configured anew just now", sent=False)
            outgoing = _outgoing(request, names, decided, changed)
            async with way.send(request, outgoing) as exchange:
                if exchange.status != 200:
                    await self._refused_call(exchange, under_way, answering)
                    return

                async def respond(message: ServerMessage, raw: bytes) -> bytes:
                    sealed = self._sealed(request, way, names, message, raw)
                    changed = message if sealed is raw else server_message(sealed)
                    assert changed is not None, "what we made of it is a message"
                    return await under_way.respond(changed, sealed)

                await relay(
                    exchange,
                    answering,
                    respond,
                    partial(_passed, request, way, under_way.pass_on),
                    leaving_cancels=request.era == "modern",
                    marked=self._marks(request, way, decided),
                )

    def _marks(
        self, request: Request, way: Way, decided: Decided[OperationCall]
    ) -> Callable[[bytes], bytes] | None:
        """How the events of a call's stream are marked, where it can be taken up again."""
        id_ = request.message.id
        if request.era == "modern" or id_ is None:
            return None
        call = open_call(id_, decided)
        return lambda block: self._places.marked(request, way.connector.id, call, block)

    async def _refused_call(self, exchange: Exchange, under_way: CallUnderWay, answering: Answering) -> None:
        """A server's answer with an HTTP error: an error of the protocol passes as it is."""
        raw = await exchange.whole()
        message = server_message(raw)
        if exchange.status >= 500 or message is None or not bytes(message.error):
            await under_way.refused_by_server(exchange.status)
            return
        is_refusal = 400 <= exchange.status < 500
        sent = await under_way.respond(message, raw, is_refusal=is_refusal)
        await answering.finish(sent, exchange.headers, status=exchange.status)

    async def _free(
        self,
        request: Request,
        way: Way,
        shown: Callable[[ServerMessage, bytes], Awaitable[bytes]],
        names: Names,
        *,
        listens: bool = False,
    ) -> None:
        """A request that costs nothing; `listens`: one that goes on until one of both has enough."""
        message = request.message
        changed = {**names.asked(message), **self._opened(request, way)}
        outgoing = Outgoing(message=message, changed=changed)
        answering = Answering(request.who.protocol, message.id)

        async def passed() -> None:
            try:
                async with way.send(request, outgoing, listens=listens) as exchange:
                    if exchange.status == 200:
                        pass_on = partial(_passed, request, way, _as_it_is)
                        is_modern = request.era == "modern"
                        await relay(
                            exchange,
                            answering,
                            shown,
                            pass_on,
                            leaving_cancels=is_modern,
                            marked=None
                            if is_modern
                            else partial(self._places.marked, request, way.connector.id, None),
                        )
                    else:
                        await _refused(exchange, answering)
            except (CallerLeft, StreamPaused):
                answering.drop()
            except UpstreamFault as fault:
                await answering.finish(
                    error_response(message.id, 502, str(fault), {"code": "upstream_failed"})
                )
            except BaseException:
                answering.drop()
                raise

        if listens:
            await self._streams.hold(request.who, passed())
        elif request.era == "modern":
            await while_there(request.who, passed())
        else:
            await passed()

    def _opened(self, request: Request, way: Way) -> Changed:
        """A server's state as it gave it, in place of what the caller got.

        Raises:
            ProtocolFault: it is none that this caller got for this request.
        """
        message = request.message
        state = message.param(_STATE)
        if state is None or message.method not in NAMED:
            return {}
        who = request.who
        opened = None
        if isinstance(state, str):
            opened = self._states.open(who.tenant, who.agent.id, way.connector.id, message, state, who.now_ns)
        if opened is None:
            words = (
                "`requestState` is not what this caller was given for this request, or is too old; begin anew"
            )
            raise ProtocolFault(INVALID_PARAMS, words)
        return {_STATE: raw_json(opened)}

    async def _shown(
        self, request: Request, way: Way, names: Names, message: ServerMessage, raw: bytes
    ) -> bytes:
        """What a caller gets of the answer to a free request."""
        if request.message.method == "server/discover":
            result = result_members(message)
            changed = without_tasks(result) if result is not None else {}
            return with_result(raw, changed) if changed else raw
        return self._sealed(request, way, names, message, raw)

    def _sealed(self, request: Request, way: Way, names: Names, message: ServerMessage, raw: bytes) -> bytes:
        """An answer, with the server's state sealed; one that asks what the client can't be asked for is an error."""
        asked = request.message
        if names.server and bytes(message.result):
            called = names.answered(asked.method, result_members(message) or {})
            raw = with_result(raw, called) if called else raw
        if asked.method not in NAMED or not (b"input_required" in raw or b"\\u" in raw):
            return raw
        result = result_members(message)
        if result is None or result_type(result) != "input_required":
            return raw
        what = undeclared(result, declared_capabilities(asked.meta)) if request.era == "modern" else "input"
        if what is not None:
            words = f"the server asks for {what}, and the client did not say that it can be asked for it"
            return error_response(asked.id, MISSING_CAPABILITY, words)
        try:
            state = msgspec.json.decode(result[_STATE], type=str) if _STATE in result else None
        except UNREADABLE:
            state = None
        if state is None:
            return raw
        who = request.who
        sealed = self._states.seal(who.tenant, who.agent.id, way.connector.id, asked, state, who.now_ns)
        return with_result(raw, {_STATE: raw_json(sealed)})


def _context(request: Request, approval: str | None) -> CallContext:
    """What the headers say of a call. Under one name, a call that brings input is another than one without.

    `approval` is the one that its client was sent off for.
    """
    params, session = request.message.params, request.session
    context = msgspec.structs.replace(
        call_context(request.who.scope, "mcp", leaves=leaving_of(request.who.protocol)),
        mcp={
            "mcp.method.name": request.message.method,
            "mcp.protocol.version": session.version if session is not None else MODERN,
        },
    )
    told = traced_by(request.message)
    if told is not None:
        context = msgspec.structs.replace(context, trace=told)
    if approval is not None:
        context = msgspec.structs.replace(context, approval=approval)
    round_ = {name: params[name] for name in ("inputResponses", _STATE) if name in params}
    if context.idempotency_key is None or not round_:
        return context
    digest = hashlib.sha256(encode(round_)).hexdigest()
    return msgspec.structs.replace(context, address=f"{context.address}#{digest}")


def _leads_to(found: Connector, judged: Connector | None) -> bool:
    """Whether a server is where the call that was judged goes: it was found before, and may be another by then."""
    return judged is None or all(getattr(found, name) == getattr(judged, name) for name in _WHERE)


def _outgoing(request: Request, names: Names, decided: Decided[OperationCall], changed: Changed) -> Outgoing:
    """A call as its server gets it: with the server's own state, and without what is redacted in the arguments."""
    message, sent, trace = request.message, decided.described.sent, decided.trace
    own_name = names.own(message.param("name"))
    if trace is not None:
        changed = {**changed, **with_trace(message, trace)}
    if sent is None:
        return Outgoing(message=message, changed=changed, name=decided.name, own_name=own_name, trace=trace)
    return Outgoing(
        message=message,
        own_name=own_name,
        trace=trace,
        changed={**changed, "arguments": msgspec.Raw(sent.body)},
        headers=redacted_headers(request.who.scope.headers, message.param("arguments"), sent.body),
        name=decided.name,
    )


async def _same(_message: ServerMessage, raw: bytes) -> bytes:
    return raw


async def _as_it_is(_message: ServerMessage, raw: bytes) -> bytes | None:
    return raw


async def _passed(
    request: Request,
    way: Way,
    pass_on: Callable[[ServerMessage, bytes], Awaitable[bytes | None]],
    message: ServerMessage,
    raw: bytes,
) -> bytes | None:
    """A message before the answer; what the client can't be asked for is left out, and the server told so."""
    if message.asks:
        can = request.session.capabilities if request.session is not None else ()
        if request.era == "modern" or not may_ask(message.method or "", can):
            await declined(request, way, message)
            return None
    return await pass_on(message, raw)


async def declined(request: Request, way: Way, message: ServerMessage) -> None:
    """Tell a server that the client can't be asked for what it asks, if it can be told."""
    method = (message.method or "")[:64]
    _log.warning("server `%s` asked a client for `%s`, which it can't be asked for", way.connector.id, method)
    try:
        async with asyncio.timeout(_DECLINE_S):
            answer = error_response(message.id, METHOD_NOT_FOUND, "the client can't be asked for this")
            await way.reply(request, answer)
    except (TimeoutError, UpstreamFault) as fault:
        _log.warning("server `%s` could not be told: %s", way.connector.id, fault)


async def _listed(request: Request, way: Way, message: ServerMessage, raw: bytes) -> bytes:
    """A list of tools, without those that the agent may not call."""
    result = result_members(message)
    if result is None:
        return raw
    who = request.who
    try:
        changed = shown_list(
            result,
            lambda tools: visible_tools(who.view, who.agent, way.connector, tools, who.now_ns),
            request.era,
        )
    except UNREADABLE:
        words = "the server's list of tools can't be read"
        return error_response(request.message.id, 502, words, {"code": "upstream_failed"})
    return with_result(raw, changed)


async def _refused(exchange: Exchange, answering: Answering) -> None:
    """A server's HTTP error: one of the protocol passes as it is.

    Raises:
        UpstreamFault: it says nothing that is for the caller.
    """
    if exchange.status in (401, 403):
        raise UpstreamFault("the server does not accept the gateway's credential", sent=True)
    raw = await exchange.whole()
    message = server_message(raw)
    if exchange.status >= 500 or message is None or not bytes(message.error):
        raise UpstreamFault(f"the server answered {exchange.status}", sent=True)
    await answering.finish(raw, exchange.headers, status=exchange.status)
