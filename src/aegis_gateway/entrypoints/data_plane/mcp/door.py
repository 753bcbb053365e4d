"""The doors for MCP: `/mcp/{server}` for one server, `/mcp` for all of them as one.

Both forms of the protocol are served at one address. A request says which it is in; what has no version is legacy.
"""

from __future__ import annotations

import logging

from aegis_gateway.application.callers import NotIdentified
from aegis_gateway.application.calls import Calls
from aegis_gateway.application.ports import Clock, Sealer, Secrets, Upstream
from aegis_gateway.domain.errors import CallError, UpstreamFault
from aegis_gateway.domain.registry import Connector
from aegis_gateway.entrypoints.data_plane.exchange import (
    HttpProtocol,
    Scope,
    api_key,
    read_body,
    send_error,
)
from aegis_gateway.entrypoints.data_plane.mcp.answering import JSON_TYPE
from aegis_gateway.entrypoints.data_plane.mcp.catalogues import Catalogues
from aegis_gateway.entrypoints.data_plane.mcp.eras import Eras
from aegis_gateway.entrypoints.data_plane.mcp.errors import (
    INVALID_REQUEST,
    MCP,
    ProtocolFault,
    misread,
)
from aegis_gateway.entrypoints.data_plane.mcp.headers import era_of
from aegis_gateway.entrypoints.data_plane.mcp.http_servers import HttpServers
from aegis_gateway.entrypoints.data_plane.mcp.legacy import LegacyRelay, session_of
from aegis_gateway.entrypoints.data_plane.mcp.messages import CallerMessage, Id, caller_message
from aegis_gateway.entrypoints.data_plane.mcp.origins import Origins
from aegis_gateway.entrypoints.data_plane.mcp.own_ways import OwnWays
from aegis_gateway.entrypoints.data_plane.mcp.replies import Questions
from aegis_gateway.entrypoints.data_plane.mcp.requests import Request, Who, who_asks
from aegis_gateway.entrypoints.data_plane.mcp.serving import Serving
from aegis_gateway.entrypoints.data_plane.mcp.sessions import Sessions
from aegis_gateway.entrypoints.data_plane.mcp.speaking import ALL, Speaking
from aegis_gateway.entrypoints.data_plane.mcp.stdio_servers import StdioServers
from aegis_gateway.entrypoints.data_plane.mcp.versions import MODERN, VERSION_HEADER
from aegis_gateway.entrypoints.data_plane.mcp.visible import sees_server
from aegis_gateway.entrypoints.data_plane.mcp.waiting import Streams
from aegis_gateway.entrypoints.data_plane.mcp.ways import LateWay, RelayedWay, Way
from aegis_gateway.entrypoints.data_plane.refusals import error_answer, misunderstood
from aegis_gateway.entrypoints.data_plane.wire import json_type

PREFIX = "/mcp"

_log = logging.getLogger("aegis.mcp")


class McpDoor:
    """`/mcp` and what is below it."""

    def __init__(
        self,
        calls: Calls,
        upstream: Upstream,
        secrets: Secrets,
        sealer: Sealer,
        clock: Clock,
        origins: Origins,
        pages_url: str,
    ) -> None:
        """Build the door on the use cases and the way to the upstreams; `pages_url` is where people answer."""
        self._calls = calls
        self._clock = clock
        self._origins = origins
        self._servers = HttpServers(upstream, secrets)
        self._eras = Eras(self._servers)
        self._streams = Streams(calls)
        self._serving = Serving(calls, sealer, self._streams, pages_url)
        self._sessions = Sessions(sealer)
        self._legacy = LegacyRelay(calls, self._servers, sealer)
        catalogues = Catalogues()
        self._questions = Questions(sealer)
        programs = StdioServers(secrets)
        self._ways = OwnWays(self._servers, self._eras, programs, catalogues, self._questions)
        self._speaking = Speaking(self._serving, self._ways, catalogues, sealer, self._streams)
        self.errors = MCP

    async def __call__(self, scope: Scope, protocol: HttpProtocol) -> None:
        """Answer one request."""
        try:
            self._origins.check(scope.headers)
            await self._answer(scope, protocol, scope.path.removeprefix(PREFIX).removeprefix("/"))
        except NotIdentified as fault:
            refused = misunderstood(fault, MCP)
            if fault.status == 401:
                refused.headers.append(("www-authenticate", 'Bearer realm="aegis"'))
            send_error(protocol, refused)

    async def _answer(self, scope: Scope, protocol: HttpProtocol, server: str) -> None:
        key = api_key(scope)
        await self._calls.callers.identify(key)
        if scope.method == "POST":
            await self._posted(scope, protocol, key, server)
            return
        if scope.method not in ("GET", "DELETE") or scope.headers.get(VERSION_HEADER) == MODERN:
            refused = error_answer(405, "method_not_allowed", "send messages by POST", MCP)
            refused.headers.append(("allow", "POST"))
            send_error(protocol, refused)
            return
        who = await who_asks(self._calls, self._clock, scope, protocol, key)
        try:
            await self._streamed(who, self._server(who, server))
        except ProtocolFault as fault:
            _send(protocol, fault, None)
        except UpstreamFault as fault:
            _send(protocol, _failed(fault), None)

    async def _streamed(self, who: Who, only: Connector | None) -> None:
        session = session_of(self._sessions, who, only.id if only else ALL)
        if only is None or not session.is_relayed:
            if who.scope.method == "DELETE":
                who.protocol.response_bytes(200, [], b"")
                return
            raise ProtocolFault(INVALID_REQUEST, "nothing is told unasked here", status=405)
        if who.scope.method == "DELETE":
            await self._legacy.end(who, only, session)
        else:
            nothing = CallerMessage(kind="notification", raw=b"", values={})
            request = Request(who=who, message=nothing, era="legacy", session=session)
            await self._streams.hold(who, self._legacy.listen(request, RelayedWay(self._servers, only)))

    async def _posted(self, scope: Scope, protocol: HttpProtocol, key: str | None, server: str) -> None:
        id_: Id | None = None
        try:
            raw = await read_body(scope, protocol)
            message = _read(scope, raw)
            id_ = message.id if message.kind == "request" else None
            era = era_of(scope.headers, message)
            is_call = message.method == "tools/call"
            who = await who_asks(self._calls, self._clock, scope, protocol, key, as_of_now=not is_call)
            only = self._server(who, server, is_call=is_call)
            if era == "modern":
                await self._modern(Request(who=who, message=message, era=era), only)
            else:
                await self._in_session(who, message, only)
        except ProtocolFault as fault:
            _send(protocol, fault, id_)
        except UpstreamFault as fault:
            _send(protocol, _failed(fault), id_)

    async def _modern(self, request: Request, only: Connector | None) -> None:
        who, message = request.who, request.message
        if message.kind == "response":
            raise ProtocolFault(INVALID_REQUEST, "what a server asks is answered within the next request")
        if message.kind == "notification":
            who.protocol.response_bytes(202, [], b"")  # none is defined that has to be passed on
            return
        if only is None or only.command:
            await self._speaking.serve(request, only)
        elif message.method == "tools/call":
            # Which way it is takes asking the server, once; the call is decided on before.
            await self._serving.call(request, LateWay(only, lambda: self._way(request, only)))
        elif await self._eras.of(who.tenant, who.asking, only) == "modern":
            await self._serving.serve(request, RelayedWay(self._servers, only))
        else:
            await self._speaking.serve(request, only)

    async def _way(self, request: Request, only: Connector) -> Way:
        """A modern caller's way to a server over HTTP."""
        who = request.who
        if await self._eras.of(who.tenant, who.asking, only) == "modern":
            return RelayedWay(self._servers, only)
        return await self._ways.to(request, only)

    async def _in_session(self, who: Who, message: CallerMessage, only: Connector | None) -> None:
        if message.method == "initialize":
            await self._initialize(Request(who=who, message=message, era="legacy"), only)
            return
        session = session_of(self._sessions, who, only.id if only else ALL)
        request = Request(who=who, message=message, era="legacy", session=session)
        is_relayed = only is not None and session.is_relayed
        if message.kind != "request":
            if only is not None and is_relayed:
                await self._legacy.tell(request, only)
            else:
                await self._told(request)
            return
        try:
            if only is not None and is_relayed:
                await self._serving.serve(request, RelayedWay(self._servers, only))
            else:
                await self._speaking.serve(request, only)
        except ProtocolFault as fault:
            # By its status a session's client would take it that the session is over.
            fault.status = 200 if fault.status == 404 else fault.status
            raise

    async def _told(self, request: Request) -> None:
        """A message that has no answer, in a session with the gateway itself: it may be the answer to a question."""
        who, message = request.who, request.message
        if message.kind == "response":
            question = self._questions.find(who, message.id)
            connector = who.view.registry.connectors.get(question.connector) if question else None
            if connector is None or connector.kind != "mcp":
                raise ProtocolFault(INVALID_REQUEST, "nobody asked this agent anything under this id")
            await self._ways.legacy(connector).reply(request, message.raw)
        who.protocol.response_bytes(202, [], b"")

    async def _initialize(self, request: Request, only: Connector | None) -> None:
        """Begin a session: at the server, if it has sessions, else with the gateway, which speaks for it."""
        if (
            only is None
            or only.command
            or not await self._legacy.initialize(request.who, only, request.message)
        ):
            await self._speaking.serve(request, only)

    def _server(self, who: Who, server: str, *, is_call: bool = False) -> Connector | None:
        """The server that a caller asks for, if there is anything for it there; None where it is all of them.

        Raises:
            ProtocolFault: there is not.
        """
        if server == ALL:
            return None
        connector = who.view.registry.connectors.get(server)
        if connector is not None and connector.kind != "mcp":
            connector = None
        if connector is None or not (is_call or sees_server(who.view, who.agent, connector, who.now_ns)):
            words = f"there is no server `{server[:64]}` here of which agent `{who.agent.id}` may call a tool"
            raise ProtocolFault(404, words, {"code": "unknown_server"}, status=404)
        return connector

    def hang_up(self) -> None:
        """End the streams that have no end, so that the gateway can stop."""
        self._streams.close()

    async def close(self) -> None:
        """End what was started for it."""
        await self._ways.close()


def _read(scope: Scope, raw: bytes) -> CallerMessage:
    """Read a body as a message.

    Raises:
        ProtocolFault: it is none.
    """
    try:
        json_type(scope.headers)
        return caller_message(raw)
    except CallError as fault:
        raise misread(fault) from fault


def _failed(fault: UpstreamFault) -> ProtocolFault:
    """The server didn't answer. It is told over HTTP 200: of another status clients give the words to nobody."""
    return ProtocolFault(502, str(fault), {"code": "upstream_failed"}, status=200)


def _send(protocol: HttpProtocol, fault: ProtocolFault, id_: Id | None) -> None:
    protocol.response_bytes(fault.status, [JSON_TYPE], fault.body(id_))
