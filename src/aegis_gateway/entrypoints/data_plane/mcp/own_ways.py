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
    Place,
    ServerSessions,
    discovered,
    place_of,
)
from aegis_gateway.entrypoints.data_plane.mcp.eras import Eras
from aegis_gateway.entrypoints.data_plane.mcp.http_servers import HttpServers
from aegis_gateway.entrypoints.data_plane.mcp.introductions import Introduction
from aegis_gateway.entrypoints.data_plane.mcp.parameters import mirrored_headers
from aegis_gateway.entrypoints.data_plane.mcp.replies import Questions
from aegis_gateway.entrypoints.data_plane.mcp.requests import Request
from aegis_gateway.entrypoints.data_plane.mcp.stdio_servers import StdioServers, StdioWay
from aegis_gateway.entrypoints.data_plane.mcp.versions import PARAMETER_HEADER, Era
from aegis_gateway.entrypoints.data_plane.mcp.ways import Outgoing, Way
from aegis_gateway.entrypoints.data_plane.refusals import Headers

INTRODUCTIONS_KEPT_S = 60.0
_KEPT_MAX = 4_096


class OwnWays:
    """Finds the way to a server by which form of the protocol that speaks."""

    def __init__(
        self,
        servers: HttpServers,
        eras: Eras,
        programs: StdioServers,
        catalogues: Catalogues,
        questions: Questions,
    ) -> None:
        """Build on how servers are reached."""
        self._servers = servers
        self._eras = eras
        self._programs = programs
        self._catalogues = catalogues
        self._sessions = ServerSessions(servers)
        self._questions = questions
        self._introductions: OrderedDict[Place, tuple[float, Introduction]] = OrderedDict()
        self._no_sessions: OrderedDict[Place, None] = OrderedDict()

    async def to(self, request: Request, connector: Connector) -> Way:
        """The way to a server.

        Raises:
            UpstreamFault: it can't be found out which.
        """
        if connector.command:
            return StdioWay(self._programs, connector)
        if await self._era(request, connector) == "legacy":
            return self.legacy(connector)
        return self._modern(connector)

    def legacy(self, connector: Connector) -> LegacyWay:
        """The way to a legacy server."""
        return LegacyWay(self._servers, self._sessions, self._questions, connector)

    async def _era(self, request: Request, connector: Connector) -> Era:
        """In which form a server is spoken to: in the caller's, if it speaks that."""
        who = request.who
        era = await self._eras.of(who.tenant, who.asking, connector)
        if era == "legacy" or request.era == "modern":
            return era
        place = place_of(request, connector)
        if place not in self._no_sessions:
            try:
                await self._sessions.of(place, who.asking, connector)
            except UpstreamFault:
                self._no_sessions[place] = None
                if len(self._no_sessions) > _KEPT_MAX:
                    self._no_sessions.popitem(last=False)
            else:
                return "legacy"
        return "modern"

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
        if await self._era(request, connector) == "legacy":
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
