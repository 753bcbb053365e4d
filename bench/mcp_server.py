"""MCP servers that answer at once: what is measured is what stands in front of them.

granian, as the gateway; any path is a server, `/mcp/NAME`. Each has the same tools, `tool-0` and so on, and `search`,
whose result says how many rows it found. It serves what the benchmark asks of it, in the newest form of the protocol.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from typing import Any

import msgspec
import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from aegis_gateway.demo.upstream.parent import die_with_parent
from bench.bodies import MCP_TOOL, MCP_VERSION

_JSON = [("content-type", "application/json")]
_DESCRIPTION = "Looks something up in the bank's records and gives back what it found there, row by row."


class _Call(msgspec.Struct):
    name: str = ""


class _Message(msgspec.Struct):
    id: int | str
    method: str
    params: _Call = msgspec.field(default_factory=_Call)


class Servers:
    """All of them; `GET` of one tells how many calls it has had."""

    def __init__(self, tools: int, ttl_ms: int) -> None:
        self._decode = msgspec.json.Decoder(_Message).decode
        self._encode = msgspec.json.Encoder().encode
        self._served: Counter[str] = Counter()
        self._list = msgspec.Raw(self._encode(_listed(tools, ttl_ms)))
        result = {"content": [{"type": "text", "text": "3 rows"}], "structuredContent": {"rows": 3}}
        self._result = msgspec.Raw(self._encode({"resultType": "complete", **result}))
        capabilities = {"supportedVersions": [MCP_VERSION], "capabilities": {"tools": {}}}
        self._discovered = msgspec.Raw(self._encode({"resultType": "complete", **capabilities}))

    async def __call__(self, scope: Any, protocol: Any) -> None:
        if scope.method == "GET":
            protocol.response_bytes(200, [], str(self._served[scope.path]).encode())
            return
        message = self._decode(await protocol())
        if message.method == "tools/call":
            self._served[scope.path] += 1
            result = self._result
        else:
            result = self._list if message.method == "tools/list" else self._discovered
        answer = {"jsonrpc": "2.0", "id": message.id, "result": result}
        protocol.response_bytes(200, _JSON, self._encode(answer))


def _listed(tools: int, ttl_ms: int) -> dict[str, Any]:
    properties = {"query": {"type": "string"}, "limit": {"type": "integer", "minimum": 1}}
    schema = {"type": "object", "properties": properties, "required": ["query"]}
    names = [MCP_TOOL, *(f"tool-{number}" for number in range(tools - 1))]
    listed = [{"name": name, "description": _DESCRIPTION, "inputSchema": schema} for name in names]
    return {"resultType": "complete", "ttlMs": ttl_ms, "cacheScope": "public", "tools": listed}


async def serve(port: int, tools: int, ttl_ms: int) -> None:
    """Serve until the process that started this one ends or a signal ends it."""
    watch = asyncio.create_task(die_with_parent())
    server = Server(
        Servers(tools, ttl_ms),
        address="127.0.0.1",
        port=port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        websockets=False,
        log_enabled=False,
    )
    await server.serve()
    watch.cancel()


def main() -> None:
    """Serve as the command line says."""
    parser = argparse.ArgumentParser(description="MCP servers that answer at once.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tools", type=int, required=True, help="how many tools each has")
    parser.add_argument("--ttl-ms", type=int, required=True, help="how long its list may be kept")
    options = parser.parse_args()
    uvloop.run(serve(options.port, options.tools, options.ttl_ms))


if __name__ == "__main__":
    main()
