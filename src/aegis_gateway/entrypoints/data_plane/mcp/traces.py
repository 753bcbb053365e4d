"""Traces in messages: their place in one, beside headers or where there are none (`_meta.traceparent`).

Rule: a message that says nothing of a trace isn't changed for one; what it says is replaced by the call's own place.
"""

from __future__ import annotations

import msgspec

from aegis_gateway.application.tracing import Trace
from aegis_gateway.entrypoints.data_plane.exchange import TRACEPARENT, TRACESTATE
from aegis_gateway.entrypoints.data_plane.mcp.messages import CallerMessage, members, raw_json


def traced_by(message: CallerMessage) -> Trace | None:
    """The place in a trace that a message says by itself, which is nearer to the call than its request's headers."""
    meta = message.meta
    parent, state = meta.get(TRACEPARENT), meta.get(TRACESTATE)
    if not isinstance(parent, str):
        return None
    return Trace(parent=parent, state=state if isinstance(state, str) else "")


def with_trace(message: CallerMessage, trace: Trace) -> dict[str, msgspec.Raw | None]:
    """What changes of a message's parameters where it says a place in a trace: that is the call's then."""
    if TRACEPARENT not in message.meta:
        return {}
    kept = {name: value for name, value in members(message.params["_meta"]).items() if name != TRACESTATE}
    kept[TRACEPARENT] = raw_json(trace.parent)
    if trace.state:
        kept[TRACESTATE] = raw_json(trace.state)
    return {"_meta": raw_json(kept)}
