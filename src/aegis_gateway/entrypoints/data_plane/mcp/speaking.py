"""The gateway as a server itself: for programs, for servers of the other form of the protocol, for all servers as one.

Rule 1: a request goes to the one server that it is about; what is listed is put together of all that can be had.
Rule 2: a server that doesn't answer is missing from a list, and the list says so in its `_meta`; no other is missing
        for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import msgspec

from aegis_gateway.application.ports import Sealer
from aegis_gateway.domain.errors import UpstreamFault
from aegis_gateway.domain.registry import Connector
from aegis_gateway.entrypoints.data_plane.mcp.answering import JSON_TYPE
from aegis_gateway.entrypoints.data_plane.mcp.catalogues import Catalogues, all_pages
from aegis_gateway.entrypoints.data_plane.mcp.errors import (
    INVALID_PARAMS,
    ProtocolFault,
    unknown_method,
)
from aegis_gateway.entrypoints.data_plane.mcp.introductions import Introduction, introduced
from aegis_gateway.entrypoints.data_plane.mcp.legacy import new_session
from aegis_gateway.entrypoints.data_plane.mcp.listening import listen
from aegis_gateway.entrypoints.data_plane.mcp.lists import private
from aegis_gateway.entrypoints.data_plane.mcp.messages import response
from aegis_gateway.entrypoints.data_plane.mcp.naming import (
    AS_THEY_ARE,
    Names,
    called_in,
    list_of,
    server_of,
)
from aegis_gateway.entrypoints.data_plane.mcp.own_ways import OwnWays
from aegis_gateway.entrypoints.data_plane.mcp.refusals import error_result
from aegis_gateway.entrypoints.data_plane.mcp.requests import Request
from aegis_gateway.entrypoints.data_plane.mcp.serving import LISTEN, Serving
from aegis_gateway.entrypoints.data_plane.mcp.sessions import Sessions
from aegis_gateway.entrypoints.data_plane.mcp.versions import OUR_META, SESSION_HEADER
from aegis_gateway.entrypoints.data_plane.mcp.visible import servers_of, visible_tools
from aegis_gateway.entrypoints.data_plane.mcp.waiting import Streams
from aegis_gateway.entrypoints.data_plane.mcp.ways import LateWay
from aegis_gateway.entrypoints.data_plane.refusals import Headers

ALL = ""
"""The server that is all of them."""

SOON_S = 5.0
"""How long one of many servers may take to list what it has."""
SILENT_S = 15.0
"""How long one that took longer is not asked again."""

T = TypeVar("T")

_MERGED = ("resources/list", "resources/templates/list", "prompts/list")
_OFFERS = {"resources/list": "resources", "resources/templates/list": "resources", "prompts/list": "prompts"}
_ROUTED = ("resources/read", "prompts/get", "completion/complete")
_NOTHING_TO_DO = ("ping", "logging/setLevel")

_log = logging.getLogger("aegis.mcp")


class Speaking:
    """Answers requests that no server is handed as they are."""

    def __init__(
        self, serving: Serving, ways: OwnWays, catalogues: Catalogues, sealer: Sealer, streams: Streams
    ) -> None:
        """Build on how one server's requests are served, and on the ways to servers."""
        self._serving = serving
        self._ways = ways
        self._catalogues = catalogues
        self._streams = streams
        self._silent: dict[tuple[str, str], float] = {}
        self._sessions = Sessions(sealer)

    async def serve(self, request: Request, only: Connector | None) -> None:
        """Answer a request to one server, or to all of them.

        Raises:
            ProtocolFault: it can't be served.
            UpstreamFault: the one server doesn't answer.
        """
        method, era = request.message.method, request.era
        if method == "initialize" and era == "legacy":
            await self._initialize(request, only)
        elif method == "server/discover" and era == "modern":
            _answer(request, await self._introduced(request, only))
        elif method == "tools/list":
            _answer(request, await self._tools(request, only))
        elif method in _MERGED:
            _answer(request, await self._merged(request, only))
        elif method == "tools/call":
            await self._call(request, only)
        elif method in _ROUTED:
            connector = only or _owner(request, self._servers(request, None))
            way = await self._ways.to(request, connector)
            await self._serving.serve(request, way, _names(connector, only))
        elif method in _NOTHING_TO_DO and era == "legacy":
            _answer(request, {})
        elif method == LISTEN and era == "modern":
            listened = [(each, _names(each, only)) for each in self._servers(request, only)]
            await self._streams.hold(request.who, listen(request, self._ways, listened))
        else:
            raise unknown_method(method)

    def _servers(self, request: Request, only: Connector | None) -> list[Connector]:
        who = request.who
        return [only] if only is not None else servers_of(who.view, who.agent, who.now_ns)

    async def _call(self, request: Request, only: Connector | None) -> None:
        """A tool is called. Whether it may be is decided as everywhere, so here all servers are there."""
        servers = [each for each in request.who.view.registry.connectors.values() if each.kind == "mcp"]
        try:
            connector = only or _owner(request, servers)
        except ProtocolFault as fault:
            told = {"effect": "deny", "codes": ["unknown_tool"]}
            words = (
                f"Aegis did not let this call through: {fault}. What to do: call one that tools/list shows."
            )
            _answer(request, error_result(words, told, request.era))
            return
        way = LateWay(connector, lambda: self._ways.to(request, connector))
        await self._serving.call(request, way, _names(connector, only))

    async def _initialize(self, request: Request, only: Connector | None) -> None:
        """Begin a session with the gateway itself."""
        who = request.who
        session = new_session(who, only.id if only else ALL, request.message, is_relayed=False)
        name = self._sessions.name(who.tenant, session)
        _answer(request, await self._introduced(request, only), [(SESSION_HEADER, name)])

    async def _introduced(self, request: Request, only: Connector | None) -> dict[str, Any]:
        if only is not None:
            found = await self._ways.introduction(request, only)
            return introduced(request.message, found.offers, found.server_info, found.instructions)

        async def of(connector: Connector) -> Introduction:
            return await self._ways.introduction(request, connector)

        servers = self._servers(request, None)
        known = await asyncio.gather(
            *(self._soon(request, each, of) for each in servers), return_exceptions=True
        )
        offers = frozenset[str]()
        for each in known:
            if isinstance(each, Introduction):
                offers |= each.offers
            elif not isinstance(each, UpstreamFault):
                raise each
        return introduced(request.message, offers | {"tools"}, None)

    async def _tools(self, request: Request, only: Connector | None) -> dict[str, Any]:
        """The tools that the agent may call."""
        who, servers = request.who, self._servers(request, only)

        async def of(connector: Connector) -> list[msgspec.Raw]:
            way = await self._ways.to(request, connector)
            known = await self._catalogues.called(request, way, _names(connector, only))
            seen = visible_tools(who.view, who.agent, connector, known, who.now_ns)
            return [definition for tool, definition in known.items() if tool in seen]

        return await self._gathered(request, "tools", servers, of, only)

    async def _merged(self, request: Request, only: Connector | None) -> dict[str, Any]:
        """What servers list, of one kind."""
        method = request.message.method
        member = list_of(method)

        async def of(connector: Connector) -> list[msgspec.Raw]:
            found = await self._ways.introduction(request, connector)
            if _OFFERS[method] not in found.offers:
                return []
            way = await self._ways.to(request, connector)
            listed = await all_pages(request, way, method, member)
            names = _names(connector, only)
            return names.listed(method, listed.items) if names.server else listed.items

        return await self._gathered(request, member, self._servers(request, only), of, only)

    async def _soon(
        self, request: Request, connector: Connector, of: Callable[[Connector], Awaitable[T]]
    ) -> T:
        """What one of all servers says, if it does so soon: one that doesn't is left out, for a while without asking.

        Raises:
            UpstreamFault: it doesn't.
        """
        place, loop = (request.who.tenant, connector.id), asyncio.get_running_loop()
        if loop.time() < self._silent.get(place, 0.0):
            raise UpstreamFault("the server was silent a moment ago", sent=False)
        try:
            async with asyncio.timeout(SOON_S):
                return await of(connector)
        except TimeoutError as fault:
            self._silent[place] = loop.time() + SILENT_S
            raise UpstreamFault(f"the server said nothing for {SOON_S:g} s", sent=True) from fault

    async def _gathered(
        self,
        request: Request,
        member: str,
        servers: list[Connector],
        of: Callable[[Connector], Awaitable[list[msgspec.Raw]]],
        only: Connector | None,
    ) -> dict[str, Any]:
        """What all servers have, asked for at once; without that of those that don't answer.

        Raises:
            UpstreamFault: there is only one, and it doesn't answer.
        """
        asked = map(of, servers) if only is not None else (self._soon(request, each, of) for each in servers)
        found = await asyncio.gather(*asked, return_exceptions=True)
        items: list[msgspec.Raw] = []
        missing: list[str] = []
        for connector, each in zip(servers, found, strict=True):
            if isinstance(each, UpstreamFault) and only is None:
                _log.warning("server `%s` is missing from a list: %s", connector.id, each)
                missing.append(connector.id)
            elif isinstance(each, BaseException):
                raise each
            else:
                items += each
        result: dict[str, Any] = {"resultType": "complete"} if request.era == "modern" else {}
        result |= {member: items, **private(request.era)}
        if missing:
            result["_meta"] = {OUR_META: {"missing": missing}}
        return result


def _names(connector: Connector, only: Connector | None) -> Names:
    return AS_THEY_ARE if only is not None else Names(server=connector.id)


def _owner(request: Request, servers: Iterable[Connector]) -> Connector:
    """Whose the thing is that a request is about.

    Raises:
        ProtocolFault: it is nobody's.
    """
    called = called_in(request.message)
    found = server_of(called, servers) if called is not None else None
    if found is None:
        words = f"nothing here is called `{(called or '')[:128]}`; what is begins with its server's id"
        raise ProtocolFault(INVALID_PARAMS, words)
    return found


def _answer(request: Request, result: dict[str, Any], headers: Headers | None = None) -> None:
    request.who.protocol.response_bytes(
        200, [JSON_TYPE, *(headers or [])], response(request.message.id, result)
    )
