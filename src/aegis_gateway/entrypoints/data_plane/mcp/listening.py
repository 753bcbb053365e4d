"""What changes at servers, told on one stream: that of a modern caller who listens.

Rule: the first message says what of it is told, which is what the servers agreed to; a server that speaks the legacy
      form, or is a program, tells nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from aegis_gateway.domain.errors import UpstreamFault
from aegis_gateway.domain.registry import Connector
from aegis_gateway.entrypoints.data_plane.events import event_data
from aegis_gateway.entrypoints.data_plane.mcp.answering import Answering
from aegis_gateway.entrypoints.data_plane.mcp.crossing import ModernWay
from aegis_gateway.entrypoints.data_plane.mcp.errors import event
from aegis_gateway.entrypoints.data_plane.mcp.messages import (
    encode,
    members,
    raw_json,
    server_message,
)
from aegis_gateway.entrypoints.data_plane.mcp.naming import Names, server_of
from aegis_gateway.entrypoints.data_plane.mcp.own_ways import OwnWays
from aegis_gateway.entrypoints.data_plane.mcp.requests import Request
from aegis_gateway.entrypoints.data_plane.mcp.versions import META
from aegis_gateway.entrypoints.data_plane.mcp.ways import Outgoing
from aegis_gateway.entrypoints.data_plane.wire import UNREADABLE

AGREED_S = 5.0
"""How long servers may take to say what they will tell."""
ALIVE_S = 15.0
"""How often a silent stream says that it is there."""
WAITING_MAX = 256

_AGREED = "notifications/subscriptions/acknowledged"
_UPDATED = "notifications/resources/updated"
_RESOURCES = "resourceSubscriptions"

_log = logging.getLogger("aegis.mcp")

Told = asyncio.Queue[bytes]
Wanted = Mapping[str, Any]


async def listen(request: Request, ways: OwnWays, servers: list[tuple[Connector, Names]]) -> None:
    """Tell a caller what changes at servers, until it leaves."""
    answering = Answering(request.who.protocol, request.message.id)
    told: Told = asyncio.Queue(WAITING_MAX)
    found = request.message.param("notifications")
    wanted: Wanted = found if isinstance(found, Mapping) else {}
    agreed = [asyncio.get_running_loop().create_future() for _ in servers]
    listening = [
        asyncio.create_task(
            _listened(request, ways, server, names, _of(server, servers, wanted, names), told, each)
        )
        for (server, names), each in zip(servers, agreed, strict=True)
    ]
    try:
        if agreed:
            await asyncio.wait(agreed, timeout=AGREED_S)
        said = [
            (names, each.result()) for (_, names), each in zip(servers, agreed, strict=True) if each.done()
        ]
        await answering.tell(event(_acknowledgement(request, _union(said))))
        while answering.is_there:
            try:
                async with asyncio.timeout(ALIVE_S):
                    await answering.tell(await told.get())
            except TimeoutError:
                await answering.tell(b":\n\n")
    finally:
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
        answering.drop()


def _of(
    server: Connector, servers: list[tuple[Connector, Names]], wanted: Wanted, names: Names
) -> dict[str, Any]:
    """What is wanted of one server: of the resources, its own."""
    uris = wanted.get(_RESOURCES)
    if not isinstance(uris, list):
        return dict(wanted)
    everyone = [each for each, _ in servers]
    own = [
        names.own(uri)
        for uri in uris
        if isinstance(uri, str) and (not names.server or server_of(uri, everyone) is server)
    ]
    return {**wanted, _RESOURCES: own}


async def _listened(
    request: Request,
    ways: OwnWays,
    server: Connector,
    names: Names,
    wanted: dict[str, Any],
    told: Told,
    agreed: asyncio.Future[Wanted],
) -> None:
    """Listen to one server, as long as it tells something."""
    try:
        way = await ways.to(request, server)
        if not isinstance(way, ModernWay):
            return
        outgoing = Outgoing(message=request.message, changed={"notifications": raw_json(wanted)})
        async with way.send(request, outgoing, listens=True) as exchange:
            while exchange.is_stream and (block := await exchange.next_event()) is not None:
                raw = event_data(block)
                message = server_message(raw)
                if message is None or message.method is None or message.asks:
                    continue
                if message.method == _AGREED:
                    _settle(agreed, _notifications(message.params))
                else:
                    await told.put(event(_called(raw, message.method, names)))
    except UpstreamFault as fault:
        _log.warning("server `%s` is not listened to any more: %s", server.id, fault)
    finally:
        _settle(agreed, {})


def _settle(agreed: asyncio.Future[Wanted], what: Wanted) -> None:
    if not agreed.done():
        agreed.set_result(what)


def _notifications(params: msgspec.Raw) -> Wanted:
    try:
        found = msgspec.json.decode(params)["notifications"]
    except (*UNREADABLE, KeyError, TypeError):
        return {}
    return found if isinstance(found, Mapping) else {}


def _union(said: list[tuple[Names, Wanted]]) -> dict[str, Any]:
    """All that servers will tell, as it is called here."""
    union: dict[str, Any] = {}
    for names, each in said:
        for kind, value in each.items():
            if kind == _RESOURCES and isinstance(value, list):
                union[kind] = [
                    *union.get(kind, []),
                    *(names.uri(uri) for uri in value if isinstance(uri, str)),
                ]
            elif value:
                union[kind] = value
    return union


def _acknowledgement(request: Request, agreed: dict[str, Any]) -> bytes:
    params = {"_meta": {f"{META}subscriptionId": request.message.id}, "notifications": agreed}
    return encode({"jsonrpc": "2.0", "method": _AGREED, "params": params})


def _called(raw: bytes, method: str, names: Names) -> bytes:
    """A notification, with what it is about as it is called here."""
    if method != _UPDATED or not names.server:
        return raw
    try:
        top = members(raw)
        params = members(top["params"])
        uri = msgspec.json.decode(params["uri"], type=str)
    except (*UNREADABLE, KeyError):
        return raw
    return encode({**top, "params": {**params, "uri": raw_json(names.uri(uri))}})
