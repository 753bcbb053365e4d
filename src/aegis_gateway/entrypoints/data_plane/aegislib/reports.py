"""Reports: what the SDK's spans say of a tool that ran, as far as a decision is settled by it.

Rule 1: only the numbers that a tool's price and counts are read from are looked at, and what tells a span from others.
        Nothing that was said, sent or answered is kept.
Rule 2: a span settles a decision if it is the tool's own, and has ended. Whether it ended well makes no difference:
        what a tool that failed has cost by then is spent.
"""

from __future__ import annotations

import re

import msgspec

from aegis_gateway.domain.errors import CallError
from aegis_gateway.entrypoints.data_plane.aegislib.deciding import DECISION_ID
from aegis_gateway.entrypoints.data_plane.wire import UNREADABLE, decoder_words

_NUMBERS = (
    "cost_usd", "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens",
    "reasoning_output_tokens", "latency_ms",
)  # fmt: skip
"""What a span itself says in numbers, under the names that a price can read it by: `result.cost_usd`."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NULL = b"null"
_NOTHING = msgspec.Raw(_NULL)
_encode = msgspec.json.Encoder().encode
_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Span(msgspec.Struct, kw_only=True):
    """A span, as far as it is read. The SDK sends what it knows when it begins, and the rest when it ends.

    A decision's own span (`guardrail`) has its `decision_source`, also where its type was said before.
    """

    span_id: str
    trace_id: str | None = None
    span_type: str | None = None
    status: str | None = None
    end_time: str | None = None
    decision_id: str | None = None
    decision_source: str | None = None
    output: msgspec.Raw = _NOTHING
    properties: msgspec.Raw = _NOTHING
    cost_usd: msgspec.Raw = _NOTHING
    input_tokens: msgspec.Raw = _NOTHING
    output_tokens: msgspec.Raw = _NOTHING
    cache_read_input_tokens: msgspec.Raw = _NOTHING
    cache_creation_input_tokens: msgspec.Raw = _NOTHING
    reasoning_output_tokens: msgspec.Raw = _NOTHING
    latency_ms: msgspec.Raw = _NOTHING


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What settles a decision: its call and token, what came out as JSON, and what the record shows of the span."""

    call: str
    token: str
    result: bytes
    note: str


_read = msgspec.json.Decoder(Span).decode


def read_span(raw: msgspec.Raw) -> Span:
    """Read a span.

    Raises:
        CallError: it is none.
    """
    try:
        bytes(raw).decode()  # the decoder doesn't look into what it leaves as it stands
        span = _read(raw)
    except UNREADABLE as fault:
        raise CallError(f"the span is not what it should be: {decoder_words(fault)}") from fault
    if not all(map(_ID.fullmatch, (span.span_id, span.span_id if span.trace_id is None else span.trace_id))):
        raise CallError("the span, or its trace, has no id that is one")
    return span


def report_of(span: Span) -> Report | None:
    """What a span settles; None where that is nothing.

    What the tool returned is read if it is an object, before that what its code said of itself
    (`update_current_span(pages=9)`), and before that the span's own numbers.
    """
    if span.decision_id is None or span.end_time is None or span.status not in ("success", "error"):
        return None
    if span.decision_source is not None or span.span_type not in (None, "tool"):
        return None
    match = DECISION_ID.fullmatch(span.decision_id)
    if match is None or match[2] is None:
        return None  # settled when it was answered, or never allowed
    numbers = {name: value for name in _NUMBERS if bytes(value := getattr(span, name)) != _NULL}
    result = {**_members(span.output), **_members(span.properties), **numbers}
    trace = f" of trace {span.trace_id}" if span.trace_id is not None else ""
    note = f"reported by span {span.span_id}{trace}, which ended in {span.status}"
    return Report(call=match[1], token=match[2], result=_encode(result), note=note)


def _members(raw: msgspec.Raw) -> dict[str, msgspec.Raw]:
    """The members of an object; of anything else there are none."""
    try:
        return _object(raw)
    except UNREADABLE:
        return {}
