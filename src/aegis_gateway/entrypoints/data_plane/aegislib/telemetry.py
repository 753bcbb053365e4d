"""`/v1/telemetry/…`: what the SDK sends beside its calls, from a thread of its own.

Rule 1: a span that reports on an allowed tool settles its decision; all else is read, answered for what it is, and
        dropped. No text of a span is kept anywhere.
Rule 2: it costs the calls nothing: it is bounded in size, and by agent in number, and refused under pressure as all
        else is. The SDK then drops what it has; a decision that nobody reports on stays at its maximum.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Literal

import msgspec

from aegis_gateway.application.calls import Calls
from aegis_gateway.domain.errors import CallError, LedgerUnavailable
from aegis_gateway.entrypoints.data_plane.aegislib.allowance import Allowance
from aegis_gateway.entrypoints.data_plane.aegislib.reports import Report, read_span, report_of
from aegis_gateway.entrypoints.data_plane.aegislib.words import AEGISLIB
from aegis_gateway.entrypoints.data_plane.exchange import (
    HttpProtocol,
    Scope,
    api_key,
    nothing_at,
    read_body,
    send_error,
)
from aegis_gateway.entrypoints.data_plane.refusals import error_answer
from aegis_gateway.entrypoints.data_plane.tool_decisions import ToolDecisions
from aegis_gateway.entrypoints.data_plane.wire import body_as, json_type

PREFIX = "/v1/telemetry/"
SPANS_MAX = 256
BODY_BYTES_MAX = 2 * 1024 * 1024
UNITS_PER_S = 2_000
UNITS_BURST = 16_000
"""A request is a unit, and so is each of its spans, and each KiB of it."""

_SHOWN_MAX = 20
_JSON = [("content-type", "application/json")]
_encode = msgspec.json.Encoder().encode


class SpansRequest(msgspec.Struct, kw_only=True):
    """Spans, begun or ended."""

    spans: list[msgspec.Raw]


class MetricsRequest(msgspec.Struct, kw_only=True):
    """Metrics, whatever they are."""

    metrics: list[msgspec.Raw]


class ScoreRequest(msgspec.Struct, kw_only=True):
    """Somebody's judgement of a span or trace."""

    name: str
    value: float | bool | str
    score_id: str | None = None
    span_id: str | None = None
    trace_id: str | None = None


Outcome = Literal["settled", "deferred"]


class TelemetryDoor:
    """Takes what the SDK reports."""

    def __init__(self, calls: Calls, decisions: ToolDecisions) -> None:
        """Build the door on the decisions that spans settle."""
        self._calls = calls
        self._decisions = decisions
        self._allowance = Allowance(UNITS_PER_S, UNITS_BURST)

    async def __call__(self, scope: Scope, protocol: HttpProtocol) -> None:
        """Answer one request."""
        key = api_key(scope)
        known = await self._calls.callers.identify(key)
        agent = (known.view.registry.tenant, known.key.agent)
        self._take(agent, 1)
        raw = await _bounded_body(scope, protocol)
        self._take(agent, len(raw) // 1024)
        match scope.method, scope.path.removeprefix(PREFIX):
            case (("POST" | "PATCH"), "spans"):
                spans = body_as(SpansRequest, raw).spans
                if len(spans) > SPANS_MAX:
                    raise CallError(f"a request has at most {SPANS_MAX} spans", field="spans", status=413)
                self._take(agent, len(spans))
                answer = await self._spans(key, spans)
            case "POST", "metrics":
                answer = _not_kept(len(body_as(MetricsRequest, raw).metrics), "metrics")
            case "POST", "scores":
                score = body_as(ScoreRequest, raw)
                answer = {"score_id": score.score_id, **_not_kept(1, "scores")}
            case "POST", "content":
                # The SDK then leaves the content in its span. It is not told to send any (see capabilities).
                words = "content is not kept here; leave it out, or in the span"
                send_error(protocol, error_answer(501, "not_kept", words, AEGISLIB))
                return
            case _:
                raise nothing_at(scope)
        protocol.response_bytes(200, _JSON, _encode(answer))

    def _take(self, agent: tuple[str, str], units: int) -> None:
        """Take from an agent's allowance.

        Raises:
            CallError: it is used up.
        """
        if not self._allowance.takes(agent, units, time.monotonic()):
            raise CallError(
                f"agent `{agent[1]}` sends more than {UNITS_PER_S} spans or KiB of telemetry a second; send less",
                status=429,
            )

    async def _spans(self, key: str | None, spans: list[msgspec.Raw]) -> dict[str, Any]:
        """Settle by what spans report; each by itself, so that one that is wrong costs no other."""
        rejected: list[dict[str, Any]] = []
        reports: dict[int, Report] = {}
        for index, raw in enumerate(spans):
            try:
                report = report_of(read_span(raw))
            except CallError as fault:
                rejected.append({"index": index, "message": str(fault)})
                continue
            if report is not None:
                reports[index] = report
        outcomes = await asyncio.gather(*(self._settle(key, report) for report in reports.values()))
        for index, outcome in zip(reports, outcomes, strict=True):
            if isinstance(outcome, CallError):
                rejected.append({"index": index, "message": str(outcome)})
        return {
            "received": len(spans),
            "settled": outcomes.count("settled"),
            "deferred": outcomes.count("deferred"),
            "rejected": len(rejected),
            "faults": rejected[:_SHOWN_MAX],
            "kept": 0,
        }

    async def _settle(self, key: str | None, report: Report) -> Outcome | CallError:
        try:
            await self._decisions.settle(key, report.call, report.token, report.result, report.note)
        except LedgerUnavailable:
            return "deferred"  # it is written as soon as the ledger takes it
        except CallError as fault:
            return fault
        return "settled"


def _not_kept(received: int, what: str) -> dict[str, Any]:
    return {"received": received, "kept": 0, "message": f"{what} are not kept here"}


async def _bounded_body(scope: Scope, protocol: HttpProtocol) -> bytes:
    """The body of a request for telemetry.

    Raises:
        CallError: it is longer than is allowed, or isn't called JSON.
    """
    json_type(scope.headers)
    # Not bounded while it is read: who is cut off while sending never reads why.
    raw = await read_body(scope, protocol)
    if len(raw) > BODY_BYTES_MAX:
        raise CallError(f"the body is longer than {BODY_BYTES_MAX} bytes", status=413)
    return raw
