"""An MCP server that misbehaves: by what is in its script, tool by tool, on either wire.

It speaks the protocol well enough to be taken for a server, up to the call of a tool; what follows is the tool's own.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from typing import Any

from tests.gateways import ScriptedUpstream
from tests.mcp_calls import LEGACY, MODERN

Message = dict[str, Any]
Misbehaviour = Callable[[Message, socket.socket], None]
"""What a tool does when it is called: with the message, and the connection on which an answer is due."""

CAPABILITIES = {"tools": {"listChanged": True}}


class HostileServer(ScriptedUpstream):
    """Answers everything but calls of tools as a server would."""

    def __init__(self, tools: Mapping[str, Misbehaviour]) -> None:
        """Misbehave by these tools."""
        self.tools = dict(tools)
        super().__init__(self._answer)

    def __enter__(self) -> HostileServer:
        super().__enter__()
        return self

    @property
    def url(self) -> str:
        """Where it speaks MCP."""
        return f"{self.base_url}/mcp"

    def calls(self) -> list[str]:
        """The tools that have been called, in order."""
        messages = [message_of(request) for request in self.requests]
        return [each["params"]["name"] for each in messages if each.get("method") == "tools/call"]

    def _answer(self, request: bytes, connection: socket.socket) -> None:
        message = message_of(request)
        method = message.get("method", "")
        if "id" not in message:
            respond(connection, b"", status="202 Accepted")
        elif method == "tools/call":
            self.tools[message["params"]["name"]](message, connection)
        elif method == "server/discover":
            result = {"supportedVersions": [MODERN], "capabilities": CAPABILITIES, "resultType": "complete"}
            send(connection, answer_to(message, result))
        elif method == "initialize":
            result = {
                "protocolVersion": LEGACY,
                "capabilities": CAPABILITIES,
                "serverInfo": {"name": "hostile", "version": "1"},
            }
            send(connection, answer_to(message, result), "mcp-session-id: the-servers-own\r\n")
        elif method == "tools/list":
            send(connection, answer_to(message, {"resultType": "complete", **self.listed(message)}))
        else:
            error = {"code": -32601, "message": "no such method"}
            send(connection, {"jsonrpc": "2.0", "id": message["id"], "error": error})

    def listed(self, _message: Message) -> dict[str, Any]:
        """Its tools, as it lists them now."""
        return {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in self.tools]}


class EndlessServer(HostileServer):
    """Its list goes on for ever, each page a megabyte."""

    def listed(self, message: Message) -> dict[str, Any]:
        """The next page."""
        page = 1 + int(message.get("params", {}).get("cursor", "0"))
        tool = {"name": f"tool-{page}", "description": "x" * 1024 * 1024, "inputSchema": {"type": "object"}}
        return {"tools": [tool], "nextCursor": str(page)}


def message_of(request: bytes) -> Message:
    """The message in a request; one without a body is none."""
    body = request.partition(b"\r\n\r\n")[2]
    message: Message = json.loads(body) if body else {}
    return message


def answer_to(message: Message, result: Mapping[str, Any]) -> Message:
    """An answer with a result."""
    return {"jsonrpc": "2.0", "id": message["id"], "result": dict(result)}


def said(text: str, **more: Any) -> dict[str, Any]:
    """A result of one text."""
    return {"resultType": "complete", "content": [{"type": "text", "text": text}], **more}


def respond(
    connection: socket.socket, body: bytes, *, status: str = "200 OK", headers: str = "", length: int = -1
) -> None:
    """Write an HTTP answer; its length may be a lie."""
    size = len(body) if length < 0 else length
    head = f"HTTP/1.1 {status}\r\n{headers}content-length: {size}\r\nconnection: close\r\n\r\n"
    connection.sendall(head.encode() + body)


def send(connection: socket.socket, message: object, headers: str = "") -> None:
    """Answer with a message."""
    respond(connection, json.dumps(message).encode(), headers=f"content-type: application/json\r\n{headers}")


def stream(connection: socket.socket, *messages: object) -> None:
    """Answer with a stream that ends after these messages."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    events = "".join(f"event: message\ndata: {json.dumps(each)}\n\n" for each in messages)
    connection.sendall(head + events.encode())


def asks(method: str, params: Mapping[str, Any], number: int = 77) -> Message:
    """A request of the server's own."""
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": dict(params)}


def required(message: Message, state: str | None, **requests: Message) -> Message:
    """The answer that input is required."""
    result: dict[str, Any] = {"resultType": "input_required", "inputRequests": requests}
    if state is not None:
        result["requestState"] = state
    return answer_to(message, result)
