"""The legacy form at servers that speak it: sessions, messages without answers, the stream of what a server tells.

Rule: a session's name is ours, sealed (`sessions.py`); the server's own stays between it and the gateway.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from aegis_gateway.application.calls import Calls
from aegis_gateway.application.ports import Sealer
from aegis_gateway.domain.errors import UpstreamFault
from aegis_gateway.domain.registry import Connector
from aegis_gateway.entrypoints.data_plane.events import event_data, with_data
from aegis_gateway.entrypoints.data_plane.exchange import Caller, returned_headers
from aegis_gateway.entrypoints.data_plane.mcp.answering import Answering, relay
from aegis_gateway.entrypoints.data_plane.mcp.asked_back import (
    CAPABILITIES,
    ELICITS_BY_ADDRESS,
    elicits_by_address,
    may_ask,
)
from aegis_gateway.entrypoints.data_plane.mcp.calling import CallUnderWay
from aegis_gateway.entrypoints.data_plane.mcp.errors import INVALID_REQUEST, ProtocolFault
from aegis_gateway.entrypoints.data_plane.mcp.http_servers import HttpServers
from aegis_gateway.entrypoints.data_plane.mcp.lists import without_tasks
from aegis_gateway.entrypoints.data_plane.mcp.messages import (
    CallerMessage,
    ServerMessage,
    result_members,
    server_message,
    with_result,
)
from aegis_gateway.entrypoints.data_plane.mcp.requests import Request, Who
from aegis_gateway.entrypoints.data_plane.mcp.resuming import OpenCall, Place, Places
from aegis_gateway.entrypoints.data_plane.mcp.serving import declined
from aegis_gateway.entrypoints.data_plane.mcp.sessions import Session, Sessions
from aegis_gateway.entrypoints.data_plane.mcp.versions import (
    LAST_EVENT,
    LEGACY,
    LEGACY_NEWEST,
    SESSION_HEADER,
)
from aegis_gateway.entrypoints.data_plane.mcp.ways import Way, session_headers


def session_of(sessions: Sessions, who: Who, server: str) -> Session:
    """The session that a request names.

    Raises:
        ProtocolFault: it names none, or none that is this caller's here.
    """
    name = who.scope.headers.get(SESSION_HEADER)
    if not name:
        raise ProtocolFault(INVALID_REQUEST, f"header `{SESSION_HEADER}` is missing; `initialize` gives one")
    session = sessions.find(who.tenant, who.agent.id, server, name, who.now_ns)
    if session is None:
        raise ProtocolFault(
            INVALID_REQUEST, "there is no such session, or it is over; begin one by `initialize`", status=404
        )
    return session


def new_session(who: Who, server: str, message: CallerMessage, *, is_relayed: bool) -> Session:
    """The session that `initialize` begins."""
    version, capabilities = message.param("protocolVersion"), message.param("capabilities")
    said = capabilities if isinstance(capabilities, Mapping) else {}
    return Session(
        agent=who.agent.id,
        server=server,
        version=version if version in LEGACY else LEGACY_NEWEST,
        began_ns=who.now_ns,
        capabilities=tuple(name for name in CAPABILITIES.values() if name in said)
        + ((ELICITS_BY_ADDRESS,) if elicits_by_address(said) else ()),
        is_relayed=is_relayed,
    )


class LegacyRelay:
    """Sessions with one server over HTTP."""

    def __init__(self, calls: Calls, servers: HttpServers, sealer: Sealer) -> None:
        """Build on the use cases and the way to servers."""
        self._calls = calls
        self._servers = servers
        self._places = Places(sealer)
        self._sessions = Sessions(sealer)

    async def initialize(self, who: Who, connector: Connector, message: CallerMessage) -> bool:
        """Begin a session; false where the server has none, and nothing was answered.

        Raises:
            UpstreamFault: the server didn't answer as it should.
        """
        answering = Answering(who.protocol, message.id)
        async with self._servers.exchange(who.asking, connector, message.raw) as exchange:
            if exchange.status in (401, 403) or exchange.status >= 500:
                raise UpstreamFault(f"the server answered {exchange.status} to `initialize`", sent=True)
            if exchange.status != 200:
                return False
            session = msgspec.structs.replace(
                new_session(who, connector.id, message, is_relayed=True),
                upstream=exchange.session,
            )
            answering.ours = [(SESSION_HEADER, self._sessions.name(who.tenant, session))]

            async def respond(answer: ServerMessage, raw: bytes) -> bytes:
                result = result_members(answer)
                changed = without_tasks(result) if result is not None else {}
                return with_result(raw, changed) if changed else raw

            await relay(exchange, answering, respond, _nothing, leaving_cancels=False)
        return True

    async def tell(self, request: Request, connector: Connector) -> None:
        """Pass on what has no answer: a notification, or the client's answer to what the server asked."""
        who, more = request.who, session_headers(request)
        async with self._servers.exchange(who.asking, connector, request.message.raw, more) as exchange:
            if exchange.status in (200, 202, 204):
                who.protocol.response_bytes(202, [], b"")
            elif exchange.status == 404:
                raise ProtocolFault(
                    INVALID_REQUEST, "the session is over; begin one by `initialize`", status=404
                )
            else:
                words = f"the server answered {exchange.status}"
                raise ProtocolFault(INVALID_REQUEST, words, status=400 if exchange.status < 500 else 502)

    async def listen(self, request: Request, way: Way) -> None:
        """The stream of what a server says unasked, and of what was missed of another, until one of both closes it."""
        who, session = request.who, request.session
        assert session is not None, "it is of a session"
        more = [("accept", "text/event-stream"), *session_headers(request)]
        seen = self._places.find(request, way.connector.id, who.scope.headers.get(LAST_EVENT) or "")
        if seen is not None:
            more.append((LAST_EVENT, seen.event))
        async with self._servers.exchange(
            who.asking, way.connector, b"", more, method="GET", listens=True
        ) as exchange:
            if not exchange.is_stream:
                status = exchange.status if exchange.status in (400, 404, 405) else 502
                raise ProtocolFault(INVALID_REQUEST, f"the server answered {exchange.status}", status=status)
            caller = Caller(who.protocol.response_stream(200, returned_headers(exchange.headers, [])))
            told = _Told(request, way, self._places, seen)
            if seen is not None and seen.call is not None:
                told = _Resumed(request, way, self._places, seen, self._calls, seen.call)
            while caller.is_there and (block := await exchange.next_event()) is not None:
                message = server_message(event_data(block))
                may_pass = message is None or may_ask(message.method or "", session.capabilities)
                if message is not None and message.asks and not may_pass:
                    await declined(request, way, message)
                elif message is not None or not event_data(block):
                    await caller.send(await told.passed(message, block))

    async def end(self, who: Who, connector: Connector, session: Session) -> None:
        """End a session."""
        if session.upstream is None:
            who.protocol.response_bytes(200, [], b"")
            return
        more = [(SESSION_HEADER, session.upstream)]
        async with self._servers.exchange(who.asking, connector, b"", more, method="DELETE") as exchange:
            status = exchange.status if exchange.status in (200, 202, 204, 404, 405) else 502
            who.protocol.response_bytes(status, [], b"")


class _Told:
    """What a server says on a stream of the session's own, or on that of a request that costs nothing."""

    def __init__(self, request: Request, way: Way, places: Places, seen: Place | None) -> None:
        self._places = places
        self._request = request
        self._way = way
        self._seen = seen

    async def passed(self, message: ServerMessage | None, block: bytes) -> bytes:
        """An event as the caller gets it."""
        if message is not None and message.is_response and self._seen is None:
            return b""  # nothing was asked on this stream, so it may be the answer to a call
        call = self._seen.call if self._seen is not None else None
        return self._places.marked(self._request, self._way.connector.id, call, block)


class _Resumed(_Told):
    """The rest of a call's stream, taken up again."""

    def __init__(
        self, request: Request, way: Way, places: Places, seen: Place, calls: Calls, call: OpenCall
    ) -> None:
        super().__init__(request, way, places, seen)
        self._call = call
        answering = Answering(request.who.protocol, call.request)
        self._under_way = CallUnderWay(calls, call.decided(request.who), answering, "legacy")

    async def passed(self, message: ServerMessage | None, block: bytes) -> bytes:
        """An event as the caller gets it; the answer is settled first."""
        block = await super().passed(message, block)
        if message is None:
            return block
        raw = event_data(block)
        if message.is_response:
            if message.id != self._call.request:
                return b""
            return with_data(block, await self._under_way.respond(message, raw))
        told = await self._under_way.pass_on(message, raw)
        return with_data(block, told) if told is not None else b""


async def _nothing(_message: ServerMessage, raw: bytes) -> bytes | None:
    return raw
