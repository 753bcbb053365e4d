"""An MCP server over HTTP that answers as a test wants, in both forms of the protocol, and keeps what it was asked.

with ScriptedServer(TOOLS) as server:
    server.on("pay", lambda request: result(...))
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import msgspec

from tests.gateways import HOST

MODERN = "2026-07-28"
LEGACY = "2025-11-25"
VERSION = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"

Answers = dict[str, Any] | bytes | Iterator[bytes] | None
"""A message, the bytes of a body, the pieces of a stream, or nothing: then the connection is just closed."""
Whole = tuple[int, dict[str, str], Answers]
"""The same with the HTTP status and headers."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What the server was asked: the HTTP method, the headers with names in lower case, the body."""

    method: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body) if self.body else {}


Script = Callable[[Asked], Answers | Whole]


class ScriptedServer:
    """A server with tools. Calls are answered by what `on` says of a tool, everything else in the usual way."""

    def __init__(self, tools: list[dict[str, Any]], *, eras: tuple[str, ...] = ("modern", "legacy")) -> None:
        """`eras` are the forms of the protocol that it speaks."""
        self.tools = tools
        self.eras = eras
        self.asked: list[Asked] = []
        self.scripts: dict[str, Script] = {}
        self.page: int | None = None
        self.forgotten: set[str] = set()
        self._sessions = 0
        handler = type("Handler", (_Handler,), {"server_of": self})
        self._http = ThreadingHTTPServer((HOST, 0), handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self._http.server_address[1]}/mcp"

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def on(self, name: str, script: Script) -> None:
        """Answer calls of a tool, or requests of a method, by a script."""
        self.scripts[name] = script

    def calls(self, tool: str | None = None) -> list[Asked]:
        """The calls of tools that arrived."""
        calls = [asked for asked in self.asked if asked.json.get("method") == "tools/call"]
        return [each for each in calls if tool in (None, each.json["params"]["name"])]

    def answer(self, asked: Asked) -> Whole:
        """Status, headers and body for a request."""
        if asked.method != "POST":
            script = self.scripts.get(asked.method)
            return _whole(script(asked)) if script else (405, {}, b"")
        message = asked.json
        method, is_modern = message.get("method", ""), asked.headers.get("mcp-protocol-version") == MODERN
        if ("modern" if is_modern else "legacy") not in self.eras:
            return 400, {}, _error(message, -32600, "not spoken here") if not is_modern else b"what is this?"
        if not is_modern and method != "initialize" and "mcp-session-id" not in asked.headers:
            return 400, {}, _error(message, -32600, "no session")
        if asked.headers.get("mcp-session-id") in self.forgotten:
            return 404, {}, _error(message, -32600, "no such session")
        if "id" not in message or "method" not in message:
            return 202, {}, b""
        name = message.get("params", {}).get("name") if method == "tools/call" else method
        if name in self.scripts:
            return _whole(self.scripts[name](asked))
        if method == "initialize":
            self._sessions += 1
            return 200, {"mcp-session-id": f"upstream-session-{self._sessions}"}, self._initialized(message)
        return 200, {}, self._usual(message, is_modern=is_modern)

    def _initialized(self, message: dict[str, Any]) -> dict[str, Any]:
        return result(
            message,
            protocolVersion=message["params"]["protocolVersion"],
            capabilities={"tools": {}, "resources": {}, "tasks": {}},
            serverInfo={"name": "scripted", "version": "1"},
        )

    def _usual(self, message: dict[str, Any], *, is_modern: bool) -> dict[str, Any]:
        method, params = message["method"], message.get("params", {})
        if method == "server/discover":
            return result(
                message,
                supportedVersions=[MODERN],
                capabilities={"tools": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}},
                ttlMs=60_000,
                cacheScope="public",
            )
        if method == "tools/list":
            start = int(params.get("cursor", "0"))
            end = start + self.page if self.page else len(self.tools)
            more = {"nextCursor": str(end)} if end < len(self.tools) else {}
            kept = {"ttlMs": 60_000, "cacheScope": "public"} if is_modern else {}
            return result(message, tools=self.tools[start:end], **more, **kept)
        if method == "tools/call":
            return result(message, content=[text(f"{params['name']} was run")])
        if method == "resources/read":
            return result(message, contents=[{"uri": params["uri"], "text": "what it says"}])
        if method == "ping":
            return result(message)
        return _error(message, -32601, "unknown method")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of: ScriptedServer

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(method=self.command, headers=headers, body=body)
        self.server_of.asked.append(asked)
        status, more, answer = self.server_of.answer(asked)
        with contextlib.suppress(OSError):
            self._send(status, more, answer)

    do_GET = do_POST  # noqa: N815 - the base class's names
    do_DELETE = do_POST  # noqa: N815

    def _send(self, status: int, more: dict[str, str], answer: Answers) -> None:
        if answer is None:
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in more.items():
            self.send_header(name, value)
        if isinstance(answer, dict | bytes):
            raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)
            return
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for piece in answer:
            self.wfile.write(piece)
            self.wfile.flush()
        self.close_connection = True


def _whole(answer: Answers | Whole) -> Whole:
    return answer if isinstance(answer, tuple) else (200, {}, answer)


def result(message: dict[str, Any], **members: Any) -> dict[str, Any]:
    """An answer with a result."""
    return {"jsonrpc": "2.0", "id": message["id"], "result": {"resultType": "complete", **members}}


def _error(message: dict[str, Any], code: int, words: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": message.get("id"), "error": {"code": code, "message": words}}


error = _error


def text(words: str) -> dict[str, Any]:
    """A piece of content."""
    return {"type": "text", "text": words}


def event(message: dict[str, Any], id_: str = "") -> bytes:
    """A message as an event."""
    head = f"id: {id_}\n" if id_ else ""
    return f"event: message\n{head}data: {json.dumps(message)}\n\n".encode()
