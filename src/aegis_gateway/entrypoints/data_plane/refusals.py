"""How a refusal or a fault looks to the caller: in the API's own error form, with a status its client takes well.

402 for money, 403 for policy, 429 for rates, 404 for an unknown model, 401 for an unknown key; never 202 or 409
(one gives clients an empty success, the other is retried at once). Where waiting helps, Retry-After says how
long, never above 120 s (one client sleeps as long as it is told); else `x-should-retry: false` stops retries.
"""

from __future__ import annotations

from typing import Any

import msgspec

from aegis_gateway.application.commands import ApprovalNote
from aegis_gateway.application.decided import Decided
from aegis_gateway.application.judgement import Described
from aegis_gateway.domain.decision import Reason, ReasonCode
from aegis_gateway.domain.entry import time_text
from aegis_gateway.domain.errors import CallError, UpstreamFault
from aegis_gateway.entrypoints.data_plane.error_forms import OPENAI, ErrorForm

Headers = list[tuple[str, str]]

APPROVALS = "/v1/approvals"

RETRY_AFTER_S_MAX = 120

WITHHELD = "response_withheld"
"""The code of an answer that had to be redacted and could not be."""

_STATUS: dict[ReasonCode, int] = {
    "denied_by_policy": 403,
    "no_permit": 403,
    "policy_error": 403,
    "unknown_tool": 404,
    "unknown_price": 402,
    "unbounded_cost": 402,
    "budget_exhausted": 402,
    "budget_measure": 402,
    "too_many_instances": 402,
    "too_deep": 403,
    "too_many_runs": 429,
    "run_ended": 403,
    "rate_limited": 429,
    "clock_fell_back": 503,
}


_MISUNDERSTOOD = {
    401: "invalid_api_key",
    403: "agent_not_registered",
    404: "not_found",
    408: "request_timeout",
    413: "request_too_large",
}


class ErrorAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Status, headers and body of an answer that is not the upstream's."""

    status: int
    headers: Headers
    body: bytes


def error_answer(
    status: int,
    code: str,
    message: str,
    form: ErrorForm = OPENAI,
    *,
    param: str | None = None,
    headers: Headers | None = None,
    more: dict[str, Any] | None = None,
) -> ErrorAnswer:
    """An error in an API's form; connectors' callers get OpenAI's. `more` stands beside the error's own fields."""
    return ErrorAnswer(
        status=status,
        headers=[("content-type", "application/json"), *(headers or [])],
        body=form.body(status, code, message, param, more),
    )


def refused(decided: Decided[Described], headers: Headers, form: ErrorForm = OPENAI) -> ErrorAnswer:
    """A decision that refuses, in words, with what to do."""
    reason = decided.admitted.reasons[0]
    status = _STATUS.get(reason.code, 403)
    code = "model_not_found" if reason.code == "unknown_tool" and decided.described.model else reason.code
    return error_answer(
        status,
        code,
        refusal_words(decided),
        form,
        param="model" if code == "model_not_found" else None,
        headers=[*headers, *_retry_headers(reason)],
        more=approval_record(decided.admitted.approval),
    )


def refusal_words(decided: Decided[Described]) -> str:
    """Why a call is refused; of one that waits for a person's word, also how it may be gone on with."""
    words = "; ".join(each.message for each in decided.admitted.reasons)
    note = decided.admitted.approval
    if note is None or note.state != "waiting":
        return words
    return (
        f"{words}; it waits as `{note.id}` until {time_text(note.deadline_ns)}: see {status_url(note)}, and repeat it "
        "as it is once it is granted"
    )


def status_url(note: ApprovalNote) -> str:
    """Where it is told how a request for a person's word stands, at this gateway."""
    return f"{APPROVALS}/{note.id}"


def approval_record(note: ApprovalNote | None) -> dict[str, Any]:
    """What a refusal says of the request that it is about, beside the error's own fields; or nothing."""
    if note is None:
        return {}
    about: dict[str, Any] = {
        "id": note.id,
        "state": note.state,
        "status_url": status_url(note),
        "expires_at": time_text(note.deadline_ns),
    }
    if note.reason:
        about["reason"] = note.reason
    return {"approval": about}


def run_refused(reasons: tuple[Reason, ...]) -> ErrorAnswer:
    """A run that isn't opened, in words, with what to do."""
    reason = reasons[0]
    words = "; ".join(each.message for each in reasons)
    return error_answer(_STATUS.get(reason.code, 403), reason.code, words, headers=_retry_headers(reason))


def misunderstood(fault: CallError, form: ErrorForm = OPENAI) -> ErrorAnswer:
    """A request that could not be understood, or a caller who could not be identified."""
    code = _MISUNDERSTOOD.get(fault.status, "invalid_request")
    if fault.status == 404 and fault.field == "model":
        code = "model_not_found"
    return error_answer(
        fault.status, code, str(fault), form, param=fault.field, headers=[("x-should-retry", "false")]
    )


def unavailable(message: str, form: ErrorForm = OPENAI) -> ErrorAnswer:
    """The ledger cannot make anything durable, so nothing is forwarded."""
    return error_answer(503, "ledger_unavailable", message, form, headers=[("retry-after", "1")])


def upstream_failed(fault: UpstreamFault, headers: Headers, form: ErrorForm = OPENAI) -> ErrorAnswer:
    """The upstream did not answer. Sending again could cost twice, so clients are told not to by themselves."""
    retry: Headers = [("x-should-retry", "false")] if fault.sent else []
    return error_answer(
        504 if fault.timed_out else 502, "upstream_failed", str(fault), form, headers=[*headers, *retry]
    )


def led_away(headers: Headers, form: ErrorForm = OPENAI) -> ErrorAnswer:
    """The upstream sent the caller on, and nobody said in which region that is."""
    message = (
        "the upstream redirects this call, and the region of where it leads is unknown; "
        "name the right address in the connector's base_url"
    )
    return error_answer(
        502, "upstream_redirected", message, form, headers=[*headers, ("x-should-retry", "false")]
    )


def withheld(why: str, headers: Headers, form: ErrorForm = OPENAI) -> ErrorAnswer:
    """The upstream answered, and a policy redacts what can't be: its answer is not given. Asking again costs again."""
    return error_answer(
        403,
        WITHHELD,
        withheld_words(why),
        form,
        headers=[*headers, ("x-should-retry", "false")],
    )


def withheld_words(why: str) -> str:
    """Why an answer is not given."""
    return f"a policy redacts answers, and this one could not be redacted: {why}; it was charged, and is withheld"


def _retry_headers(reason: Reason) -> Headers:
    if reason.wait_ns is not None and reason.wait_ns <= RETRY_AFTER_S_MAX * 1_000_000_000:
        return [
            ("retry-after", str(-(-reason.wait_ns // 1_000_000_000))),
            ("retry-after-ms", str(-(-reason.wait_ns // 1_000_000))),
        ]
    return [("x-should-retry", "false")]
