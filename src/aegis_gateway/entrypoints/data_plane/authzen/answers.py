"""Decisions as AuthZEN's callers get them: yes or no, and in the context why, at which cost, and what to do with it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from aegis_gateway.adapters.reports import CallReport
from aegis_gateway.application.decided import Decided, remaining_nano_usd
from aegis_gateway.application.estimates import Estimate
from aegis_gateway.application.judgement import Described
from aegis_gateway.domain.decision import Reason
from aegis_gateway.domain.errors import AegisError, CallError
from aegis_gateway.domain.money import usd_decimal_text
from aegis_gateway.domain.quote import USD, Quote
from aegis_gateway.entrypoints.data_plane.connect import OperationCall
from aegis_gateway.entrypoints.data_plane.decisions import DECISIONS
from aegis_gateway.entrypoints.data_plane.tool_decisions import ToolDecision

CUSTOM = "custom"
"""The one type of obligation that is used here; the standard's draft leaves to its `vendor` what it means."""

_OF_A_YES = ("obligations", "settlement")

Answer = dict[str, Any]


def decision_answer(decision: ToolDecision, base_url: str) -> Answer:
    """A decision that is on disk."""
    if decision.decided is not None:
        allows, context = decision.decided.allows, _decided(decision.decided)
    else:
        assert decision.before is not None, "it was made now or before"
        allows, context = decision.before.effect == "allow", _before(decision.before)
    if decision.token is not None:
        endpoint = f"{base_url}{DECISIONS}/{context['id']}/settlement"
        context["settlement"] = {"endpoint": endpoint, "token": decision.token}
    if allows and decision.redacted is not None:
        context["obligations"] = [_obligation("replace_arguments", arguments=msgspec.Raw(decision.redacted))]
    return {"decision": allows, "context": context}


def estimate_answer(estimate: Estimate[Described]) -> Answer:
    """What would be decided; nothing of it is recorded or held."""
    judgement, admission = estimate.considered.judgement, estimate.admission
    described, verdict = judgement.described, judgement.verdict
    allows = admission.effect == "allow"
    context: Answer = {
        "recorded": False,
        "effect": admission.effect,
        **_why(estimate.reasons),
        "policy_version": estimate.considered.view.policies.version,
        **_cost(estimate.quote),
    }
    left = [
        each.left
        for each in estimate.budgets
        if each.budget.mode == "enforce" and each.budget.quantity == USD
    ]
    if left:
        context["budget_left_usd"] = usd_decimal_text(min(left))
    if allows and isinstance(described, OperationCall):
        if described.sent is not None:
            arguments = msgspec.Raw(described.sent.body)
            context["obligations"] = [_obligation("replace_arguments", arguments=arguments)]
    elif allows and (
        verdict.redactions
        or judgement.downgraded_from is not None
        or verdict.output_tokens_max is not None
        or verdict.cost_max_nano_usd is not None
    ):
        # Only on its way through the gateway is the call lowered or redacted as policies ask.
        context["obligations"] = [_obligation("send_through_gateway")]
    return {"decision": allows, "context": context}


def refusal_answer(code: str, message: str) -> Answer:
    """A refusal that nothing was recorded of."""
    return {"decision": False, "context": {"recorded": False, "effect": "deny", **_because(code, message)}}


def unfulfilled_answer(answer: Answer) -> Answer:
    """A yes as a no to an enforcement point that says that it can't do what it would stand on."""
    left = {name: value for name, value in answer["context"].items() if name not in _OF_A_YES}
    why = _because(
        "obligation_unfulfilled",
        "a policy obliges whoever enforces this to what the request says it can't do",
    )
    return {"decision": False, "context": {**left, "effect": "deny", **why}}


def fault_answer(fault: AegisError) -> Answer:
    """What is wrong with one evaluation of many."""
    status = fault.status if isinstance(fault, CallError) else 503
    error: Answer = {"status": status, "message": str(fault)}
    if isinstance(fault, CallError) and fault.field is not None:
        error["field"] = fault.field
    return {"decision": False, "context": {"recorded": False, "error": error}}


def needs_obligation(answer: Answer) -> bool:
    """Whether a yes stands only for who does something besides."""
    return bool(answer["decision"] and "obligations" in answer["context"])


def _obligation(action: str, **more: object) -> Answer:
    return {"type": CUSTOM, "id": action, "vendor": "aegis", "action": action, **more}


def _decided(decided: Decided[OperationCall]) -> Answer:
    admitted = decided.admitted
    context: Answer = {
        "recorded": True,
        "id": decided.call,
        "effect": admitted.effect,
        **_why(admitted.reasons),
        "policy_version": decided.policy_version,
        "run": decided.run,
        **_cost(decided.described.quote),
    }
    left = remaining_nano_usd(decided.budgets, admitted.balances, decided.judged_ns)
    if left is not None:
        context["budget_left_usd"] = usd_decimal_text(left)
    return context


def _before(found: CallReport) -> Answer:
    """A decision that was made under its name before, as it stands."""
    context: Answer = {
        "recorded": True,
        "id": found.call,
        "effect": found.effect,
        "state": found.state,
        "policy_version": found.policy_version,
        "run": found.run,
    }
    if found.effect != "allow":
        # Only the first of its reasons is kept where it can be looked up by its call.
        context |= _because(found.reason_code, found.reason)
    if found.cost_nano_usd is not None:
        context["cost"] = {"actual_usd": usd_decimal_text(found.cost_nano_usd)}
    return context


def _because(code: str, message: str) -> Answer:
    return {
        "reason": message,
        "codes": [code],
        "reasons": [{"code": code, "message": message, "subject": ""}],
    }


def _why(reasons: Iterable[Reason]) -> Answer:
    told = []
    for reason in reasons:
        each: Answer = {"code": reason.code, "message": reason.message, "subject": reason.subject}
        if reason.wait_ns is not None:
            each["retry_after_ms"] = -(-reason.wait_ns // 1_000_000)
        told.append(each)
    return {
        "reason": "; ".join(each["message"] for each in told),
        "codes": list(dict.fromkeys(each["code"] for each in told)),
        "reasons": told,
    }


def _cost(quote: Quote | Reason | None) -> Answer:
    """What a call comes to. What nobody knows is not there; it is never 0."""
    if not isinstance(quote, Quote):
        return {}
    cost: Answer = {}
    if USD in quote.expected:
        cost["expected_usd"] = usd_decimal_text(quote.expected[USD])
    if USD in quote.maximum:
        cost["maximum_usd"] = usd_decimal_text(quote.maximum[USD])
    return {"cost": cost}
