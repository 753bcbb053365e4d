"""Ways on which the gateway speaks for its callers: to programs, to servers of the other form, to all as one."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from aegis_gateway.domain.errors import UpstreamFault
from aegis_gateway.domain.registry import Connector
from aegis_gateway.entrypoints.data_plane.mcp.catalogues import Catalogues
from aegis_gateway.entrypoints.data_plane.mcp.crossing import (
    LegacyWay,
    ModernWay,
    ServerSessions,
    discovered,
    place_of,
)
from aegis_gateway.entrypoints.data_plane.mcp.eras import Eras
from aegis_gateway.entrypoints.data_plane.mcp.http_servers import HttpServers
from aegis_gateway.entrypoints.data_plane.mcp.introductions import Introduction
from aegis_gateway.entrypoints.data_plane.mcp.parameters import mirrored_headers
from aegis_gateway.entrypoints.data_plane.mcp.requests import Request
from aegis_gateway.entrypoints.data_plane.mcp.stdio_servers import StdioServers, StdioWay
from aegis_gateway.entrypoints.data_plane.mcp.versions import PARAMETER_HEADER
from aegis_gateway.entrypoints.data_plane.mcp.ways import Outgoing, Way
from aegis_gateway.entrypoints.data_plane.refusals import Headers

INTRODUCTIONS_KEPT_S = 60.0
_KEPT_MAX = 4_096


class OwnWays:
    """Finds the way to a server by which form of the protocol that speaks."""

    def __init__(
        self, servers: HttpServers, eras: Eras, programs: StdioServers, catalogues: Catalogues
    ) -> None:
        """Build on how servers are reached."""
        self._servers = servers
        self._eras = eras
        self._programs = programs
        self._catalogues = catalogues
        self._sessions = ServerSessions(servers)
        self._introductions: OrderedDict[tuple[str, str, str, str], tuple[float, Introduction]] = (
            OrderedDict()
        )

    async def to(self, request: Request, connector: Connector) -> Way:
        """The way to a server.

        Raises:
            UpstreamFault: it can't be found out which.
        """
        if connector.command:
            return StdioWay(self._programs, connector)
        who = request.who
        era = await self._eras.of(who.tenant, who.asking, connector)
        if era == "legacy":
            return LegacyWay(self._servers, self._sessions, connector)
        return self._modern(connector)

    def _modern(self, connector: Connector) -> ModernWay:
        async def repeated(request: Request, outgoing: Outgoing) -> Headers:
            """The headers that repeat a call's arguments: the caller's, or else as the tool's definition wants them."""
            if request.era == "modern":
                given = [
                    (name, value)
                    for name, value in request.who.scope.headers.items()
                    if name.startswith(PARAMETER_HEADER)
                ]
                return outgoing.headers or given
            # Of the way itself only its listing is used here, which repeats nothing.
            tools = await self._catalogues.tools(request, self._modern(connector))
            tool = outgoing.message.param("name")
            name = outgoing.own_name or tool
            definition = tools.get(name) if isinstance(name, str) else None
            return mirrored_headers(definition, outgoing.arguments) if definition is not None else []

        return ModernWay(self._servers, connector, repeated)

    async def introduction(self, request: Request, connector: Connector) -> Introduction:
        """How a server introduces itself.

        Raises:
            UpstreamFault: it doesn't.
        """
        who = request.who
        if connector.command:
            return await StdioWay(self._programs, connector).introduction(who.tenant)
        place, now = place_of(request, connector), asyncio.get_running_loop().time()
        kept = self._introductions.get(place)
        if kept is not None and now < kept[0]:
            return kept[1]
        era = await self._eras.of(who.tenant, who.asking, connector)
        if era == "legacy":
            found = (await self._sessions.of(place, who.asking, connector)).introduction
        else:
            found = await discovered(who.asking, self._servers, connector)
        self._introductions[place] = (now + INTRODUCTIONS_KEPT_S, found)
        if len(self._introductions) > _KEPT_MAX:
            self._introductions.popitem(last=False)
        return found

    async def close(self) -> None:
        """End the programs."""
        await self._programs.close()


async def known_of(ways: OwnWays, request: Request, connector: Connector) -> Introduction | None:
    """How a server introduces itself; None where it doesn't."""
    try:
        return await ways.introduction(request, connector)
    except UpstreamFault:
        return None
