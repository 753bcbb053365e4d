"""How servers introduce themselves, and how the gateway does that speaks for them.

Rule: the gateway offers what it can deliver, and that is neither tasks nor subscriptions nor logs of servers that it
      speaks for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from aegis_gateway.entrypoints.data_plane.mcp.messages import (
    CallerMessage,
    ServerMessage,
    raw_json,
)
from aegis_gateway.entrypoints.data_plane.mcp.versions import (
    LEGACY,
    LEGACY_NEWEST,
    META_SERVER,
    MODERN,
    Era,
)
from aegis_gateway.entrypoints.data_plane.wire import UNREADABLE

OFFERED = ("tools", "resources", "prompts", "completions")
_NAME: dict[str, Any] = {"name": "aegis", "version": "1"}


class Introduction(msgspec.Struct, frozen=True, kw_only=True):
    """What a server is, in which form it speaks, in which version, and which of what can be delivered it offers."""

    era: Era
    version: str
    offers: frozenset[str]
    server_info: msgspec.Raw
    instructions: str = ""


class _Result(msgspec.Struct, frozen=True, rename="camel"):
    protocol_version: str = MODERN
    supported_versions: list[str] = []
    capabilities: dict[str, msgspec.Raw] = {}
    server_info: msgspec.Raw = msgspec.Raw()
    instructions: str = ""


_result = msgspec.json.Decoder(_Result).decode


def introduction_of(answer: ServerMessage | None, era: Era) -> Introduction | None:
    """What a server answers to `initialize` or `server/discover`; None where it speaks otherwise."""
    if answer is None or not bytes(answer.result):
        return None
    try:
        found = _result(answer.result)
    except UNREADABLE:
        return None
    known = LEGACY if era == "legacy" else found.supported_versions
    if found.protocol_version not in known:
        return None
    info = found.server_info if bytes(found.server_info) else raw_json(_NAME)
    return Introduction(
        era=era,
        version=found.protocol_version,
        offers=frozenset(OFFERED) & found.capabilities.keys(),
        server_info=info,
        instructions=found.instructions,
    )


def introduced(
    message: CallerMessage, offers: Iterable[str], info: msgspec.Raw | None, instructions: str = ""
) -> dict[str, Any]:
    """The result of a caller's `initialize` or `server/discover`, by a gateway that speaks for servers."""
    capabilities: Mapping[str, Any] = {name: {} for name in sorted(offers)}
    named = info if info is not None else raw_json(_NAME)
    more = {"instructions": instructions} if instructions else {}
    if message.method == "server/discover":
        return {
            "resultType": "complete",
            "supportedVersions": [MODERN],
            "capabilities": capabilities,
            "ttlMs": 0,
            "cacheScope": "private",
            "_meta": {META_SERVER: named},
            **more,
        }
    wanted = message.param("protocolVersion")
    version = wanted if wanted in LEGACY else LEGACY_NEWEST
    return {"protocolVersion": version, "capabilities": capabilities, "serverInfo": named, **more}
