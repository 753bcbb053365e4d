"""Where the code that asks stands in a trace: at OpenTelemetry's current span, or where it was told (W3C's headers).

Rule 1: OpenTelemetry is never imported here. Where nobody in the process has imported it there is no current span, and
        asking for one is a look into a dictionary.
Rule 2: nothing about traces keeps a tool from being run: what can't be told of one isn't.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from aegis_sdk.errors import InvalidRequest

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"

_STATE_CHARACTERS_MAX = 2_048
_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]*)?")


@dataclass(frozen=True)
class Trace:
    """A place in a trace, as headers say it; what is sent to the gateway is below it there."""

    parent: str
    state: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """It as headers."""
        return {TRACEPARENT: self.parent, **({TRACESTATE: self.state} if self.state else {})}


@dataclass(frozen=True)
class _Told:
    """What code was told of its place; none at all, where that was said."""

    trace: Trace | None


_told: ContextVar[_Told | None] = ContextVar("aegis_sdk_trace", default=None)


@contextmanager
def in_trace(traceparent: str | None, tracestate: str = "") -> Iterator[None]:
    """A block whose calls are at this place in a trace, whatever span is current; with None, in no trace.

    Raises:
        InvalidRequest: that is no place, or no state, by the standard.
    """
    token = _told.set(_Told(None if traceparent is None else _checked(traceparent, tracestate)))
    try:
        yield
    finally:
        _told.reset(token)


def current_trace() -> Trace | None:
    """Where the code that asks stands, if it does anywhere."""
    told = _told.get()
    return told.trace if told is not None else _of_current_span()


def _of_current_span() -> Trace | None:
    module = sys.modules.get("opentelemetry.trace")
    current = getattr(module, "get_current_span", None)  # it may just be in the middle of being imported
    if current is None:
        return None
    try:
        context = current().get_span_context()
        if not context.is_valid:
            return None
        parent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags) & 0xFF:02x}"
        state = context.trace_state.to_header()
    except Exception:  # whatever an instrumentation made of it: see rule 2
        return None
    return Trace(parent, state if _is_state(state) else "") if _PARENT.fullmatch(parent) else None


def _checked(parent: str, state: str) -> Trace:
    if not _PARENT.fullmatch(parent):
        raise InvalidRequest(
            f"`{parent[:64]}` is no place in a trace; write it as W3C's `traceparent`: 00-TRACE-SPAN-01",
            field=TRACEPARENT,
        )
    if not _is_state(state):
        raise InvalidRequest("the trace's state isn't W3C's `tracestate`: name=value,…", field=TRACESTATE)
    return Trace(parent, state)


def _is_state(state: str) -> bool:
    return len(state) <= _STATE_CHARACTERS_MAX and state.isascii() and (not state or state.isprintable())
