"""What the SDK `aegislib` says, and what it expects to hear.

Rule 1: whatever a known caller may not do is an answer with effect `deny`, never an error. To the SDK an error means
        that nobody could be asked, and with `fail_mode="open"` it runs the tool then.
Rule 2: what was changed in the arguments is said parameter by parameter, as the SDK puts them in place of its own.
"""

from __future__ import annotations

import secrets
from typing import Any, Literal

import msgspec

from aegis_gateway.adapters.reports import CallReport
from aegis_gateway.application.decided import Decided
from aegis_gateway.domain.decision import Reason, ReasonCode
from aegis_gateway.domain.errors import AegisError, CallError
from aegis_gateway.entrypoints.data_plane.connect import OperationCall
from aegis_gateway.entrypoints.data_plane.error_forms import More

DECISION = "/v1/decision"
BATCH = f"{DECISION}/batch"

Effect = Literal["allow", "deny", "sanitize", "approval_needed"]

_LIMITS: dict[ReasonCode, str] = {
    "budget_exhausted": "budget",
    "budget_measure": "budget",
    "too_many_instances": "budget",
    "unbounded_cost": "budget",
    "rate_limited": "rate",
    "too_deep": "runs",
    "too_many_runs": "runs",
}
_OF_POLICIES: tuple[ReasonCode, ...] = (
    "permitted",
    "denied_by_policy",
    "policy_error",
    "throttled",
    "approval_required",
)
_ECHOED_CHARACTERS_MAX = 128

_NOTHING = msgspec.Raw(b"{}")
_encode = msgspec.json.Encoder().encode
_parameters = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class ToolCall(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A tool by its name, and its parameters by theirs."""

    name: str
    params: msgspec.Raw = _NOTHING


class DecisionRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What an agent wants to do. Of a session only what is said under `SESSION_KEYS` has a meaning here."""

    agent_id: str
    tool: ToolCall
    session: dict[str, Any] | None = None


class BatchRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Many of them."""

    requests: list[DecisionRequest]


class Violation(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A reason against a call: a code of ours, which policy, budget or argument it is about, in words."""

    type: str
    message: str
    field: str | None = None
    condition: str | None = None
    limit_type: str | None = None


class Decision(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What was decided. `sanitize` has the `params` that are to be put in place of the caller's own."""

    effect: Effect
    reason: str | None = None
    sanitize: dict[str, Any] | None = None
    violations: list[Violation] | None = None
    approval_id: str | None = None


class DecisionResponse(msgspec.Struct, kw_only=True):
    """A decision with what it is about. `decision_id` is what the SDK asks and reports by."""

    request_id: str
    tenant_id: str
    agent_id: str
    decision_id: str
    tool: str
    final_decision: Decision
    policy_evaluations: list[dict[str, str]] = []
    latency_ms: int = 0


class StatusResponse(msgspec.Struct, kw_only=True):
    """How a decision stands: `PENDING` while a person has to agree."""

    decision_id: str
    request_id: str
    status: Literal["PENDING", "OK"]
    effect: Effect


class Errors:
    """How the SDK wants an error: its words at the top."""

    def body(
        self, status: int, code: str, message: str, param: str | None = None, more: More = None
    ) -> bytes:
        """`{"message", "code", "status", "field"}`."""
        return _encode({"message": message, "code": code, "status": status, "field": param, **(more or {})})

    def event(self, status: int, code: str, message: str) -> bytes:
        """Nothing is streamed here; the same as the body."""
        return self.body(status, code, message)


AEGISLIB = Errors()


def arguments_of(asked: DecisionRequest) -> bytes:
    """A tool's parameters, as they were sent.

    Raises:
        CallError: they are no object.
    """
    params = bytes(asked.tool.params)
    if not params.startswith(b"{"):
        raise CallError("the parameters of a tool are an object, each by its name", field="tool.params")
    return params


def made(
    asked: DecisionRequest,
    decided: Decided[OperationCall],
    redacted: bytes | None,
    decision_id: str,
    latency_ms: int,
) -> DecisionResponse:
    """A decision that is on record; `redacted` are the arguments to run it with, where they are others now."""
    reasons = decided.admitted.reasons
    decision = Decision(effect="deny", reason=_words(reasons))
    if decided.allows and redacted is None:
        decision.effect = "allow"
    elif decided.allows and redacted is not None:
        words = _words(tuple(reason for reason in reasons if reason.code == "redacted"))
        decision.effect = "sanitize"
        decision.sanitize = {"message": words, "params": _changed(asked.tool.params, redacted)}
    else:
        decision.violations = [_violation(reason) for reason in reasons]
        if decided.admitted.effect == "require_approval":
            decision.effect, decision.approval_id = "approval_needed", decided.call
    return DecisionResponse(
        request_id=decided.call,
        tenant_id=decided.tenant,
        agent_id=asked.agent_id,
        decision_id=decision_id,
        tool=asked.tool.name,
        final_decision=decision,
        policy_evaluations=[
            {"policy_id": reason.subject, "code": reason.code, "message": reason.message}
            | {"policy_version": decided.policy_version}
            for reason in reasons
            if reason.code in _OF_POLICIES
        ],
        latency_ms=latency_ms,
    )


def denied(asked: DecisionRequest, tenant: str, fault: AegisError, latency_ms: int) -> DecisionResponse:
    """What is refused before it comes to a decision; nothing is on record of it, so its id leads nowhere."""
    request_id = f"req_{secrets.token_hex(16)}"
    field = fault.field if isinstance(fault, CallError) else None
    kind = "parameter" if field is not None else "request" if isinstance(fault, CallError) else "unavailable"
    violation = Violation(type=kind, message=str(fault), field=field)
    return DecisionResponse(
        request_id=request_id,
        tenant_id=tenant,
        agent_id=asked.agent_id[:_ECHOED_CHARACTERS_MAX],
        decision_id=request_id,
        tool=asked.tool.name[:_ECHOED_CHARACTERS_MAX],
        final_decision=Decision(effect="deny", reason=str(fault), violations=[violation]),
        latency_ms=latency_ms,
    )


def standing(found: CallReport, decision_id: str, *, is_redacted: bool) -> StatusResponse:
    """How a decision stands. One that a person has to agree to stays `PENDING`: that nobody has agreed is no denial."""
    effect: Effect = "deny"
    if found.effect == "allow":
        effect = "sanitize" if is_redacted else "allow"
    elif found.effect == "require_approval":
        effect = "approval_needed"
    return StatusResponse(
        decision_id=decision_id,
        request_id=found.call,
        status="PENDING" if effect == "approval_needed" else "OK",
        effect=effect,
    )


def _changed(asked: msgspec.Raw, sent: bytes) -> dict[str, msgspec.Raw]:
    """The parameters that are others now; what is not changed stays byte for byte."""
    before, now = (_parameters(bytes(asked)), _parameters(sent))
    return {name: value for name, value in now.items() if bytes(value) != bytes(before[name])}


def _words(reasons: tuple[Reason, ...]) -> str | None:
    return "; ".join(reason.message for reason in reasons) or None


def _violation(reason: Reason) -> Violation:
    message = reason.message
    if reason.wait_ns is not None:
        message = f"{message}; in {-(-reason.wait_ns // 1_000_000)} ms it may be tried again"
    return Violation(
        type=reason.code,
        message=message,
        condition=reason.subject or None,
        limit_type=_LIMITS.get(reason.code),
    )
