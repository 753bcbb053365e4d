"""Servers' tools as the gateway knows them: what lists of all servers are made of, and which arguments headers repeat.

Rule: a list is kept for as long as its server says, and no longer; it is asked for once for all who want it then. So
      it is asked for without the headers of whoever wants it first, which must not shape what others get.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

import msgspec

from aegis_gateway.domain.errors import UpstreamFault
from aegis_gateway.entrypoints.data_plane.mcp.eras import one_answer
from aegis_gateway.entrypoints.data_plane.mcp.http_servers import OwnScope
from aegis_gateway.entrypoints.data_plane.mcp.lists import Definitions, definitions_of
from aegis_gateway.entrypoints.data_plane.mcp.messages import (
    CallerMessage,
    Members,
    caller_message,
    encode,
    result_members,
)
from aegis_gateway.entrypoints.data_plane.mcp.naming import Names, renamed_tool
from aegis_gateway.entrypoints.data_plane.mcp.requests import Request
from aegis_gateway.entrypoints.data_plane.mcp.ways import Outgoing, Way
from aegis_gateway.entrypoints.data_plane.wire import UNREADABLE

KEPT_MAX = 1_024
PAGES_MAX = 1_000
LIST_BYTES_MAX = 32 * 1024 * 1024
"""How long a server's list may be in all: it is held as a whole."""
TTL_S_MAX = 3_600.0

Place = tuple[str, str, str, str]
"""Tenant, connector, address, and the agent where its own credential is the server's."""


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """All things of one kind that a server lists, as they stand, and for how many seconds that holds."""

    items: list[msgspec.Raw]
    lasts_s: float


class _Kept(msgspec.Struct, frozen=True):
    """Tools by their names at the server: as it defines them, and as they are called where all servers are one."""

    tools: Definitions
    until: float
    called: dict[str, Definitions] = {}


def own_message(method: str, params: dict[str, object]) -> CallerMessage:
    """A request of the gateway's own."""
    return caller_message(encode({"jsonrpc": "2.0", "id": 0, "method": method, "params": params}))


async def all_pages(request: Request, way: Way, method: str, member: str) -> Listed:
    """All that a server lists, page by page.

    Raises:
        UpstreamFault: it doesn't, or not to an end.
    """
    items: list[msgspec.Raw] = []
    lasts_s = TTL_S_MAX
    cursor: str | None = None
    size = 0
    for _ in range(PAGES_MAX):
        message = own_message(method, {} if cursor is None else {"cursor": cursor})
        asking = msgspec.structs.replace(request, message=message)
        async with way.send(asking, Outgoing(message=message)) as exchange:
            answer = await one_answer(exchange) if exchange.status == 200 else None
        result = result_members(answer) if answer is not None and bytes(answer.result) else None
        try:
            if result is None:
                raise UpstreamFault(f"server `{way.connector.id}` lists nothing at `{method}`", sent=True)
            size += len(bytes(result[member]))
            if size > LIST_BYTES_MAX:
                break
            items += msgspec.json.decode(result[member], type=list[msgspec.Raw])
            lasts_s = min(lasts_s, _lasts_s(result))
            following = (
                msgspec.json.decode(result["nextCursor"], type=str) if "nextCursor" in result else None
            )
        except (*UNREADABLE, KeyError) as fault:
            raise UpstreamFault(
                f"server `{way.connector.id}` gives a list that can't be read", sent=True
            ) from fault
        if following is None or following == cursor:
            return Listed(items=items, lasts_s=lasts_s)
        cursor = following
    raise UpstreamFault(f"the list of server `{way.connector.id}` has no end, or is too long", sent=True)


def _lasts_s(result: Members) -> float:
    if "ttlMs" not in result:
        return 0.0
    return max(0.0, msgspec.json.decode(result["ttlMs"], type=float) / 1_000)


class Catalogues:
    """Servers' tools, kept for as long as they last."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._kept: OrderedDict[Place, _Kept] = OrderedDict()
        self._asking: dict[Place, asyncio.Task[_Kept]] = {}

    async def tools(self, request: Request, way: Way) -> Definitions:
        """The tools of a server, by their names there.

        Raises:
            UpstreamFault: it doesn't list them.
        """
        return (await self._of(request, way)).tools

    async def called(self, request: Request, way: Way, names: Names) -> Definitions:
        """The same, each defined under the name that it is called by here.

        Raises:
            UpstreamFault: the server doesn't list them.
        """
        kept = await self._of(request, way)
        if not names.server:
            return kept.tools
        found = kept.called.get(names.server)
        if found is None:
            found = kept.called[names.server] = {
                tool: renamed_tool(definition, names.name(tool)) for tool, definition in kept.tools.items()
            }
        return found

    async def _of(self, request: Request, way: Way) -> _Kept:
        place, now = _place(request, way), asyncio.get_running_loop().time()
        kept = self._kept.get(place)
        if kept is not None and now < kept.until:
            return kept
        asked = self._asking.get(place)
        if asked is None:
            asked = self._asking[place] = asyncio.ensure_future(self._asked(request, way, place))
            asked.add_done_callback(lambda done: self._over(place, done))
        # Who leaves doesn't take the list from others who wait for it.
        return await asyncio.shield(asked)

    def _over(self, place: Place, done: asyncio.Task[_Kept]) -> None:
        self._asking.pop(place, None)
        if not done.cancelled():
            done.exception()  # it is told to those who wait, if there are any left

    async def _asked(self, request: Request, way: Way, place: Place) -> _Kept:
        if not request.who.known.key.is_own_credential:
            nobodys = msgspec.structs.replace(request.who, scope=OwnScope())
            request = msgspec.structs.replace(request, who=nobodys)
        listed = await all_pages(request, way, "tools/list", "tools")
        until = asyncio.get_running_loop().time() + listed.lasts_s
        kept = _Kept(definitions_of(msgspec.Raw(encode(listed.items))), until)
        if listed.lasts_s:
            self._kept[place] = kept
            self._kept.move_to_end(place)
            if len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
        return kept


def _place(request: Request, way: Way) -> Place:
    who = request.who
    agent = who.agent.id if who.known.key.is_own_credential else ""
    connector = way.connector
    return (who.tenant, connector.id, connector.base_url or " ".join(connector.command), agent)
