"""What a server asks of the caller: only what the caller's client said that it can be asked for passes."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

import msgspec

from aegis_gateway.entrypoints.data_plane.mcp.messages import Members, members
from aegis_gateway.entrypoints.data_plane.wire import UNREADABLE

CAPABILITIES = {
    "sampling/createMessage": "sampling",
    "elicitation/create": "elicitation",
    "roots/list": "roots",
}
"""What a client has to be capable of to be asked so."""

ELICITS_BY_ADDRESS = "elicitation.url"
"""What a session knows of a client that can send somebody to an address; unlike a form, it has to say so."""


class _Asked(msgspec.Struct, frozen=True):
    method: str


_asked = msgspec.json.Decoder(_Asked).decode


def may_ask(method: str, capabilities: Container[str]) -> bool:
    """Whether a client may be asked, by what it said that it can."""
    return method == "ping" or CAPABILITIES.get(method) in capabilities


def elicits_by_address(capabilities: Mapping[str, Any]) -> bool:
    """Whether a client can send somebody to an address, by what it said that it can."""
    found = capabilities.get("elicitation")
    return isinstance(found, Mapping) and isinstance(found.get("url"), Mapping)


def undeclared(result: Members, capabilities: Container[str]) -> str | None:
    """What a result asks for that the client can't be asked for; None where there is nothing."""
    try:
        asked = members(result.get("inputRequests", msgspec.Raw(b"{}")))
        methods = [_asked(each).method for each in asked.values()]
    except UNREADABLE:
        return "something that can't be read"
    return next((f"`{method[:64]}`" for method in methods if not may_ask(method, capabilities)), None)
