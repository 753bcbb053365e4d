"""A place in a trace: which span of which trace, as W3C's `traceparent` says it.

Rule: what isn't a place by the standard is none. Nothing is made out of a text that is nearly one.
"""

from __future__ import annotations

import re

import msgspec

TRACE_ID, SPAN_ID = "{trace_id}", "{span_id}"
"""What stands in an address for the ids of a place."""

# Versions to come may say more behind a hyphen; the first four parts stay what they are. `ff` is no version.
_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16
_SAMPLED = 1


class TracePlace(msgspec.Struct, frozen=True, kw_only=True):
    """A span and its trace, as hexadecimal ids. One that isn't sampled was, as far as is known, kept by nobody."""

    trace: str
    span: str
    is_sampled: bool

    @property
    def parent(self) -> str:
        """It as a `traceparent` of the version that everybody reads."""
        return f"00-{self.trace}-{self.span}-{int(self.is_sampled):02x}"

    def address(self, template: str) -> str:
        """Where a tracing backend shows it, by an address with `{trace_id}` and perhaps `{span_id}` in it."""
        return template.replace(TRACE_ID, self.trace).replace(SPAN_ID, self.span)


def trace_place(traceparent: str | None) -> TracePlace | None:
    """The place that a `traceparent` says; None where it says none."""
    found = _TRACEPARENT.fullmatch(traceparent or "")
    if found is None or (found[1] == "00" and found[5]) or found[2] == _NO_TRACE or found[3] == _NO_SPAN:
        return None
    return TracePlace(trace=found[2], span=found[3], is_sampled=bool(int(found[4], 16) & _SAMPLED))
