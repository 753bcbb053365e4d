"""Calls and approvals as spans, by the official SDK. What isn't sampled is measured all the same.

Rule 1: nothing here waits. The SDK's processors queue what ends, within a bound, and drop what is too much.
Rule 2: nothing here fails a call: a mistake in what is told costs the span, and is in the log.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar

from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TracerProvider,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from aegis_gateway.adapters.telemetry.attributes import (
    OPERATION,
    REPEATED,
    UNDECIDED,
    Named,
    answer_attributes,
    approval_attributes,
    call_attributes,
    decision_attributes,
    named,
    settlement_attributes,
    whose,
)
from aegis_gateway.adapters.telemetry.meters import Meters
from aegis_gateway.application.commands import Admitted, Moved
from aegis_gateway.application.metering import Metering
from aegis_gateway.application.tracing import (
    AnswerOrigin,
    CallAsked,
    CallSpan,
    DecisionTold,
    SpanNote,
    Trace,
)
from aegis_gateway.domain.approval import Approval
from aegis_gateway.domain.ledger import Evidence

SCOPE = "aegis-gateway"

_log = logging.getLogger("aegis.telemetry")
_W3C = TraceContextTextMapPropagator()


P = ParamSpec("P")


def fails_nobody(tell: Callable[P, None]) -> Callable[P, None]:
    """What tells of a call and may have a mistake in it, which is no reason to fail the call."""

    @functools.wraps(tell)
    def told(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            tell(*args, **kwargs)
        except Exception:  # whatever it is, the call goes on without it
            _log.exception("a call's span or metrics could not be made")

    return told


class OtelObserver:
    """Makes spans and metrics. Within one process there is one."""

    def __init__(
        self,
        traces: TracerProvider,
        meters: Meters,
        close: Callable[[], None],
        give_up: Callable[[], None] = lambda: None,
    ) -> None:
        """`close` ends what sends them, and may take long; `give_up` says what it has not sent by the end."""
        self._tracer = traces.get_tracer(SCOPE)
        self._meters = meters
        self._close = close
        self._give_up = give_up

    @property
    def metering(self) -> Metering:
        """What makes metrics beside those of single calls' spans."""
        return self._meters.pace

    def begin(self, trace: Trace | None) -> CallSpan:
        """A call has come."""
        now_ns = time.time_ns()

        def start() -> Span:
            return self._tracer.start_span(
                "call", context=_context(trace), kind=SpanKind.CLIENT, start_time=now_ns
            )

        return OtelCallSpan(self, LateSpan(start), self._meters, now_ns)

    def resumed(self, call: str, note: SpanNote) -> CallSpan:
        """A call is about to be settled by itself."""
        now_ns = time.time_ns()

        def start() -> Span:
            return self._tracer.start_span(
                f"settle {_thing(note.measured_by)}",
                context=_context(note.trace),
                attributes={**_without_operation(note.measured_by), **note.attributes, "aegis.call.id": call},
                start_time=now_ns,
            )

        return SettlementSpan(LateSpan(start), note, self._meters)

    @fails_nobody
    def approval_ended(self, approval: Approval, ended_ns: int) -> None:
        """A request for a person's word is over: a span from then until now, linked to the call that asked."""
        asked = _context(Trace(parent=approval.traceparent)) if approval.traceparent else None
        link = get_current_span(asked).get_span_context() if asked is not None else None
        span = self._tracer.start_span(
            "approval",
            context=asked or Context(),
            attributes=approval_attributes(approval),
            links=[Link(link)] if link is not None and link.is_valid else [],
            start_time=approval.created_ns,
        )
        if approval.state in ("refused", "expired"):
            span.set_status(Status(StatusCode.ERROR, approval.state))
        span.end(end_time=max(ended_ns, approval.created_ns))
        self._meters.approval(approval, ended_ns)

    def close(self, within_s: float) -> None:
        """Send what is left, for so long at most; what isn't sent by then is lost."""
        closing = threading.Thread(target=self._close, name="telemetry", daemon=True)
        closing.start()
        closing.join(within_s)
        self._give_up()


class LateSpan:
    """A span that is made when it is first asked for, as of when it began. One that nobody asks for never was: what has
    begun has to end, or it counts as live for good.
    """

    def __init__(self, start: Callable[[], Span]) -> None:
        """Nothing is made yet."""
        self._start = start
        self._made: Span | None = None

    @property
    def is_made(self) -> bool:
        """Whether anybody asked for it."""
        return self._made is not None

    def __call__(self) -> Span:
        """The span."""
        if self._made is None:
            self._made = self._start()
        return self._made


class OtelCallSpan:
    """A call's span. It ends once; what comes after is a span of its own, or nothing new."""

    def __init__(self, observer: OtelObserver, span: LateSpan, meters: Meters, began_ns: int) -> None:
        """The span of a call that has just come."""
        self._observer = observer
        self._span = span
        self._meters = meters
        self._began_ns = began_ns
        self._trace: Trace | None = None
        self._asked: CallAsked | None = None
        self._named: Named | None = None
        self._note: SpanNote | None = None
        self._is_handed_over = False
        self._is_over = False

    @property
    def trace(self) -> Trace | None:
        """The span's own place in its trace."""
        if not self._span.is_made:
            self._trace = _trace(self._span().get_span_context())
        return self._trace

    @property
    def note(self) -> SpanNote | None:
        """What a settlement elsewhere has to know of it."""
        return self._note

    def asked(self, asked: CallAsked) -> None:
        """The ledger is about to be asked."""
        self._asked = asked

    @fails_nobody
    def decided(self, admitted: Admitted) -> None:
        """The call is decided."""
        asked, trace, span = self._asked, self.trace, self._span()
        assert asked is not None, "nothing is decided that wasn't asked"
        self._named = named(asked, admitted.effect)
        told = DecisionTold(command=asked.command, registry=asked.registry, mcp=asked.mcp, admitted=admitted)
        if span.is_recording():
            span.update_name(self._named.name)
            span.set_attributes(decision_attributes(told, self._named))
        self._note = SpanNote(
            trace=trace,
            measured_by=self._named.measured_by,
            attributes=whose(asked, self._named),
            began_ns=self._began_ns,
        )
        self._meters.decided(self._named, told, time.time_ns() - self._began_ns)
        if admitted.effect != "allow":
            _failed(span, admitted.effect, _first_code(admitted))
            self._end()

    @fails_nobody
    def undecided(self, why: str) -> None:
        """Nobody decided it: its span says who asked for what, and that nothing came of it."""
        if self._is_over or not self._span.is_made:
            return
        span = self._span()
        if self._asked is not None and span.is_recording():
            made = named(self._asked, UNDECIDED)
            span.update_name(made.name)
            span.set_attributes(call_attributes(self._asked, made))
        _failed(span, "nothing was decided", why)
        self._end()

    @fails_nobody
    def repeated(self, first: str) -> None:
        """It gets the first one's answer: no operation of a model or tool, which backends would count again."""
        if self._is_over or self._asked is None:
            return
        span = self._span()
        if span.is_recording():
            made = named(self._asked, REPEATED)
            whole = call_attributes(self._asked, made)
            span.update_name(f"repeat {_thing(made.measured_by)}")
            span.set_attributes({**_without_operation(whole), "aegis.call.id": first})
        self._end()

    @fails_nobody
    def answered(self, origin: AnswerOrigin) -> None:
        """The model's answer says who made it."""
        if not self._is_over:
            self._span().set_attributes(answer_attributes(origin))

    @fails_nobody
    def handed_over(self) -> None:
        """Whoever asked does by themselves what was allowed."""
        self._is_handed_over = True
        self._span().set_attribute("aegis.settlement", "by the caller")
        self._end()

    @fails_nobody
    def settled(self, evidence: Evidence, moved: Moved, took_ns: int) -> None:
        """What the call cost is on disk. If it was so before, it was measured before."""
        if self._is_handed_over:
            if self._note is not None and not moved.again:
                self._observer.resumed(moved.call, self._note).settled(evidence, moved, took_ns)
        elif not self._is_over and self._named is not None:
            _put(self._span(), evidence, moved)
            if not moved.again:
                self._meters.settled(self._named.measured_by, evidence, moved, took_ns)
                self._meters.operation(self._named, time.time_ns() - self._began_ns)
            self._end()

    @fails_nobody
    def lost(self, why: str, code: str = "in_doubt") -> None:
        """What became of the call isn't known, or isn't written; or it never came to be sent."""
        if self._is_over or self._named is None:
            return
        span = self._span()
        span.set_attribute("aegis.settlement", why)
        _failed(span, why, code)
        self._meters.operation(self._named, time.time_ns() - self._began_ns, error=code)
        self._end()

    def _end(self) -> None:
        self._is_over = True
        self._span().end()


class SettlementSpan:
    """The settlement of a call whose span has ended: at another worker, or by who did the call."""

    def __init__(self, span: LateSpan, note: SpanNote, meters: Meters) -> None:
        """The span of a settlement that begins now; it is made when there is something to say in it."""
        self._span = span
        self._meters = meters
        self.note = note

    @property
    def trace(self) -> Trace | None:
        """The span's own place in its trace."""
        return _trace(self._span().get_span_context())

    def asked(self, asked: CallAsked) -> None:
        """It was, before."""

    def decided(self, admitted: Admitted) -> None:
        """It was, before."""

    def undecided(self, why: str) -> None:
        """It was decided, before."""

    def repeated(self, first: str) -> None:
        """It was decided, before."""

    def answered(self, origin: AnswerOrigin) -> None:
        """Nothing is called here."""

    def handed_over(self) -> None:
        """It was, before."""

    @fails_nobody
    def settled(self, evidence: Evidence, moved: Moved, took_ns: int) -> None:
        """What the call cost is on disk; a settlement that changed nothing is none."""
        if moved.again:
            return
        span = self._span()
        _put(span, evidence, moved)
        self._meters.settled(self.note.measured_by, evidence, moved, took_ns)
        span.end()

    @fails_nobody
    def lost(self, why: str, code: str = "in_doubt") -> None:
        """What it cost isn't written yet, or wasn't taken."""
        span = self._span()
        span.set_attribute("aegis.settlement", why)
        _failed(span, why, code)
        span.end()


def _first_code(admitted: Admitted) -> str:
    """The code of the first reason that a call isn't allowed for."""
    return next((reason.code for reason in admitted.reasons), admitted.effect)


def _failed(span: Span, why: str, code: str) -> None:
    span.set_status(Status(StatusCode.ERROR, why))
    span.set_attribute("error.type", code)


def _put(span: Span, evidence: Evidence, moved: Moved) -> None:
    if not span.is_recording():
        return
    attributes = settlement_attributes(evidence, moved.cost_nano_usd, overrun=moved.overrun)
    span.set_attributes({**attributes, "aegis.settlement": moved.state})
    if evidence.source == "not_sent":
        _failed(span, "nothing was sent", "not_sent")


def _thing(measured_by: dict[str, str]) -> str:
    """The tool or the model that a call is of, as it is configured."""
    return measured_by.get("gen_ai.tool.name") or measured_by.get("gen_ai.request.model", "")


V = TypeVar("V")


def _without_operation(found: Mapping[str, V]) -> dict[str, V]:
    """What is told of a call, without what would count it as an operation of a model or tool once more."""
    return {name: value for name, value in found.items() if name != OPERATION}


def _context(trace: Trace | None) -> Context:
    """A place in a trace; a new one where there is none, or where it can't be read."""
    if trace is None:
        return Context()
    return _W3C.extract({"traceparent": trace.parent, "tracestate": trace.state}, context=Context())


def _trace(context: SpanContext) -> Trace | None:
    if not context.is_valid:
        return None
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, context=set_span_in_context(NonRecordingSpan(context), Context()))
    return Trace(parent=carrier.get("traceparent", ""), state=carrier.get("tracestate", ""))
