"""An MCP server over stdio that misbehaves by the tool that is called. Of the standard library, so it starts at once.

`dies` ends in the middle of a call, `leaves` after its answer; `babbles` writes what is no message before its answer;
`asks` has a request of its own that nobody declared; `other` answers another call; `silent` never answers, and `huge`
answers with 10 MB. `echo` says what it was given, and `environment` what it was started with. The file that its
environment names counts how often it was started.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

TOOLS = ("works", "dies", "leaves", "babbles", "asks", "other", "silent", "huge", "echo", "environment")
HUGE_BYTES = 10 * 1024 * 1024


def write(message: dict[str, Any]) -> None:
    """Write a message."""
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def call(name: str, arguments: Any, number: Any) -> None:
    """Misbehave."""
    words = {
        "huge": "x" * HUGE_BYTES,
        "echo": json.dumps(arguments),
        "environment": json.dumps({"pid": os.getpid(), **os.environ}),
    }.get(name, f"{name} has run")
    answer = {"id": number, "result": {"content": [{"type": "text", "text": words}]}}
    if name == "dies":
        os._exit(3)
    if name == "silent":
        return
    if name == "babbles":
        sys.stdout.write("Listening on port 8000 {\n\n[]\n")
    if name == "asks":
        write({"id": 77, "method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 9}})
    if name == "other":
        write({**answer, "id": "somebody-else's"})
    write(answer)
    if name == "leaves":
        os._exit(0)


def main() -> None:
    """Serve until the input ends."""
    with Path(os.environ["STARTS"]).open("a") as starts:
        starts.write("started\n")
    for line in sys.stdin:
        message = json.loads(line)
        method, number = message.get("method"), message.get("id")
        if method == "initialize":
            info = {"name": "hostile", "version": "1"}
            result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}
            write({"id": number, "result": result})
        elif method == "tools/list":
            tools = [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]
            write({"id": number, "result": {"tools": tools}})
        elif method == "tools/call":
            call(message["params"]["name"], message["params"].get("arguments"), number)
        elif method == "ping":
            write({"id": number, "result": {}})
        elif number is not None and method is not None:
            write({"id": number, "error": {"code": -32601, "message": "no such method"}})


if __name__ == "__main__":
    main()
