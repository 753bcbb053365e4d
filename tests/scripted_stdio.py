"""An MCP server that is a program, without any package: it echoes, waits, asks back, tells progress, and dies."""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any

_LOCK = threading.Lock()
_WAITING: dict[str, Any] = {}
NAMES = ("echo", "first", "second", "die", "ask", "progress", "long", "secret", "children")


def say(message: dict[str, Any]) -> None:
    """Send a message."""
    with _LOCK:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        sys.stdout.flush()


def text(id_: Any, words: str) -> None:
    """Answer with a text."""
    say({"id": id_, "result": {"content": [{"type": "text", "text": words}]}})


def call(id_: Any, params: dict[str, Any]) -> None:
    """A tool is called."""
    name, arguments = params["name"], params.get("arguments", {})
    if name == "echo":
        text(id_, json.dumps(arguments))
    elif name == "first":  # answered after the second, so that answers cross
        _WAITING["first"] = id_
    elif name == "second":
        text(id_, "second")
        text(_WAITING.pop("first"), "first")
    elif name == "die":
        sys.stderr.write(f"dying with {os.environ['SERVER_TOKEN']}\n")
        sys.stderr.flush()
        os._exit(3)
    elif name == "ask":
        _WAITING["ask"] = id_
        say({"id": 1, "method": "sampling/createMessage", "params": {}})
    elif name == "progress":
        token = params["_meta"]["progressToken"]
        say({"method": "notifications/progress", "params": {"progressToken": token, "progress": 1}})
        say({"method": "notifications/message", "params": {"level": "info", "data": "of nobody"}})
        text(id_, "done")
    elif name == "long":
        text(id_, "x" * int(arguments["bytes"]))
    elif name == "secret":
        text(id_, f"it is {os.environ['SERVER_TOKEN']}, and {sorted(os.environ)}")
    elif name == "children":
        text(id_, str(os.getpid()))


def main() -> None:
    """Serve until the input ends."""
    sys.stderr.write("begins\n")
    for line in sys.stdin:
        message = json.loads(line)
        method, id_ = message.get("method"), message.get("id")
        if method == "initialize":
            if os.environ.get("SPEAKS") == "modern":
                say({"id": id_, "error": {"code": -32601, "message": "what is initialize?"}})
                continue
            info = {"name": "program", "version": "1"}
            version = message["params"]["protocolVersion"]
            capabilities: dict[str, Any] = {"tools": {}, "logging": {}}
            say(
                {
                    "id": id_,
                    "result": {"protocolVersion": version, "capabilities": capabilities, "serverInfo": info},
                }
            )
        elif method == "server/discover":
            say({"id": id_, "result": {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}})
        elif method == "tools/list":
            tools = [{"name": name, "inputSchema": {"type": "object"}} for name in NAMES]
            say({"id": id_, "result": {"tools": tools}})
        elif method == "tools/call":
            call(id_, message["params"])
        elif method is None and "ask" in _WAITING:
            text(_WAITING.pop("ask"), f"refused with {message['error']['code']}")
        elif id_ is not None:
            say({"id": id_, "error": {"code": -32601, "message": "unknown"}})


if __name__ == "__main__":
    main()
