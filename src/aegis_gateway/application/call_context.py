"""What a caller says of a call beside the request itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from aegis_gateway.application.tracing import Trace

Leaves = Callable[[], Awaitable[None]]
"""Waits until a caller has left."""


class CallContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller says of a call beside the request itself, as its door found it; nothing of it is trusted yet.

    `run` and `parent` are ids that Aegis gave before, `customer` whom the call serves. `retry` counts the attempts
    that a client's library made before this one, and `idempotency_key` names the call across attempts. `address` is
    the method, path and query that a named call was asked with. `patience_ns` is the longest that the call may wait for
    a rate's next turn, where its door can't wait for as long as rates are configured to delay. `subject` is the
    agent whose call it is, where another asks for it. `approval` is the one that the caller means to use. `trace` is
    the caller's place in its trace, `mcp` what telemetry is told of the message of that protocol. `door` is where it
    came in, and `read_ns` how long it took to read, its way here left out. `leaves` waits until the caller has left,
    where its door can tell: a call that waits for its turn is given up then.
    """

    run: str | None = None
    parent: str | None = None
    customer: str | None = None
    retry: int = 0
    idempotency_key: str | None = None
    address: str = ""
    patience_ns: int | None = None
    subject: str | None = None
    approval: str | None = None
    trace: Trace | None = None
    mcp: dict[str, str] = {}
    door: str = ""
    read_ns: int = 0
    leaves: Leaves | None = None


NO_CONTEXT = CallContext()
