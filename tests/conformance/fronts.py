"""What the suite is run through: a server of its own for each run, and something in front of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.conformance.relay import ByteRelay
from tests.gateways import Gateway, assert_books_balance
from tests.mcp_calls import mcp_configuration
from tests.mcp_upstream import McpServer

FRONTS = ("relay", "gateway")

_CONNECTOR = """\
kind: mcp
base_url: http://localhost:{port}/mcp
other_tools: {{price: {{per_call: 0.001}}}}
"""


@contextlib.contextmanager
def in_front(front: str) -> Iterator[str]:
    """The address of a server, or of what stands in front of one."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(McpServer("conformance"))
        if front == "server":
            yield server.url
            return
        if front == "relay":
            yield stack.enter_context(ByteRelay(server.port)).url
            return
        files = mcp_configuration({"fixture": _CONNECTOR.format(port=server.port)})
        gateway = stack.enter_context(Gateway(files))
        header = f"authorization: Bearer {gateway.key()}"
        yield stack.enter_context(ByteRelay(gateway.settings.port, "/mcp/fixture", header)).url
        assert_books_balance(gateway)
