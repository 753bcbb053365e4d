"""How the MCP servers of the tests are served: over HTTP on a free port that is told on standard output, or over stdio.

They run in an environment of their own, with the repository on the path. `GET /arrived` tells which messages have come
in, so that a test can show what was and what was not sent.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
from collections import Counter
from typing import Any

import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


class Arrivals:
    """Counts what reaches a server, by method and, for calls of tools, by tool; a middleware of it."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.seen: list[dict[str, str]] = []

    async def __call__(self, context: Any, call_next: Any) -> Any:
        """Count one message."""
        name = (context.params or {}).get("name", "")
        self.counts[f"{context.method} {name}".strip()] += 1
        if context.request is not None:
            self.seen.append(dict(context.request.headers))
        return await call_next(context)

    async def told(self, _request: Request) -> Response:
        """What has arrived, and the headers that it came with."""
        return JSONResponse({"counts": self.counts, "headers": self.seen})


def run(server: Server[Any], **options: Any) -> None:
    """Serve until the process is ended: over stdio if the command line says so, else over HTTP."""
    logging.basicConfig(level=logging.ERROR)
    arrivals = Arrivals()
    server.middleware.insert(0, arrivals)
    if sys.argv[1:] == ["--stdio"]:
        asyncio.run(_over_stdio(server))
        return
    listener = socket.create_server(("127.0.0.1", 0))
    routes = [Route("/arrived", arrivals.told)]
    app = server.streamable_http_app(custom_starlette_routes=routes, **options)
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[listener])


async def _over_stdio(server: Server[Any]) -> None:
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())
