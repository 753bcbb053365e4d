"""Which form of the protocol a server speaks: asked, and remembered for a while.

Rule: a server that answers `server/discover` speaks the modern form; one that answers it otherwise, the legacy one.
      What doesn't answer at all is not remembered.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from aegis_gateway.domain.errors import UpstreamFault
from aegis_gateway.domain.registry import Connector
from aegis_gateway.entrypoints.data_plane.events import event_data
from aegis_gateway.entrypoints.data_plane.mcp.answering import Exchange
from aegis_gateway.entrypoints.data_plane.mcp.http_servers import ACCEPT, BY_ITSELF, Asking, HttpServers
from aegis_gateway.entrypoints.data_plane.mcp.messages import (
    Id,
    ServerMessage,
    encode,
    result_members,
    server_message,
)
from aegis_gateway.entrypoints.data_plane.mcp.versions import (
    META_CAPABILITIES,
    META_VERSION,
    METHOD_HEADER,
    MODERN,
    VERSION_HEADER,
    Era,
)

REMEMBERED_MAX = 4_096
KEPT_S = 60.0
"""How long it is remembered: a server may be another one by then."""
_DISCOVER = "server/discover"
_ID = "aegis"

Place = tuple[str, str, str]
"""Tenant, connector, address."""


def modern_request(method: str, params: dict[str, object] | None = None, id_: Id = _ID) -> bytes:
    """A request of the gateway's own, which can be asked for nothing."""
    meta = {META_VERSION: MODERN, META_CAPABILITIES: {}}
    return encode(
        {"jsonrpc": "2.0", "id": id_, "method": method, "params": {**(params or {}), "_meta": meta}}
    )


def modern_headers(method: str) -> list[tuple[str, str]]:
    """The headers that go with it."""
    return [("accept", ACCEPT), (VERSION_HEADER, MODERN), (METHOD_HEADER, method)]


async def one_answer(exchange: Exchange) -> ServerMessage | None:
    """The answer to a request of the gateway's own; None where there is none."""
    if not exchange.is_stream:
        return server_message(await exchange.whole())
    while (block := await exchange.next_event()) is not None:
        message = server_message(event_data(block))
        if message is not None and message.is_response:
            return message
    return None


class Eras:
    """What is known of servers over HTTP."""

    def __init__(self, servers: HttpServers) -> None:
        """Ask servers over HTTP."""
        self._servers = servers
        self._known: OrderedDict[Place, tuple[float, Era]] = OrderedDict()

    async def of(self, tenant: str, asking: Asking, connector: Connector) -> Era:
        """In which form a server is spoken to, by a caller who can do both.

        Raises:
            UpstreamFault: it doesn't answer.
        """
        place = (tenant, connector.id, connector.base_url)
        now = asyncio.get_running_loop().time()
        until, era = self._known.get(place, (0.0, None))
        if era is None or now >= until:
            era = await self._asked(asking, connector)
            self._known[place] = (now + KEPT_S, era)
            if len(self._known) > REMEMBERED_MAX:
                self._known.popitem(last=False)
        return era

    async def _asked(self, asking: Asking, connector: Connector) -> Era:
        if not asking.own_credential:
            asking = BY_ITSELF  # what is remembered for all must not depend on one's headers
        body, headers = modern_request(_DISCOVER), modern_headers(_DISCOVER)
        async with self._servers.exchange(asking, connector, body, headers, fresh=True) as exchange:
            if exchange.status in (401, 403) or exchange.status >= 500:
                raise UpstreamFault(
                    f"the server answered {exchange.status} when it was asked what it is", sent=True
                )
            message = await one_answer(exchange)
        found = result_members(message) if message is not None else None
        return "modern" if found is not None and "supportedVersions" in found else "legacy"
