"""What the suite is run through: a server of its own for each run, and something in front of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.conformance.relay import ByteRelay
from tests.mcp_upstream import McpServer

FRONTS = ("relay",)


@contextlib.contextmanager
def in_front(front: str) -> Iterator[str]:
    """The address of a server, or of what stands in front of one."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(McpServer("conformance"))
        if front == "server":
            yield server.url
            return
        yield stack.enter_context(ByteRelay(server.port)).url
