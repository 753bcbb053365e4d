"""The gateway's API: what is asked as requests, and its answers as values or errors. No I/O here."""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from itertools import groupby
from typing import Any

from aegis_sdk.decision import Approval, Decision, Money, OpenedRun, Reason, RunOutcome, Settlement, ToolCall
from aegis_sdk.errors import AegisError, InvalidRequest, Unauthorized, Unavailable
from aegis_sdk.estimate import BudgetLeft, CheaperModel, Estimate
from aegis_sdk.http1 import Request, Response
from aegis_sdk.jsonable import encoded

DECISIONS = "/v1/decisions"
RUNS = "/v1/runs"
APPROVALS = "/v1/approvals"
BATCH_MAX = 100
_REFUSED_RUNS = frozenset(("too_many_runs", "too_deep", "run_ended"))
"""Codes of errors that refuse a run, which is no call and so has no decision of its own."""
MINTED = "sdk-"
"""What names begin with that this package made up; nobody else will ask under one."""

_MISREAD = (KeyError, TypeError, ValueError, AttributeError, InvalidOperation)
"""How an answer that is none of this API's shows."""

_DIGITS_MAX = 16
"""More digits than any number that a header tells."""
_ORDER_MAX = 64
"""Amounts of more digits than this before or behind the point are none: written out they could fill the memory."""
_TRY_AGAIN = frozenset((408, 425, 429))


def named(call: ToolCall) -> ToolCall:
    """A call with a name, made up if it has none: asked about twice, it is the same decision."""
    return call if call.name is not None else dataclasses.replace(call, name=minted_name())


def minted_name() -> str:
    """A name for a call, which nobody else has."""
    return f"{MINTED}{secrets.token_hex(16)}"


def is_minted(name: str | None) -> bool:
    """Whether a call's name was made up here."""
    return name is not None and name.startswith(MINTED)


def decide_request(call: ToolCall) -> Request:
    """Asks for one decision."""
    return Request("POST", DECISIONS, encoded(_asked(call), "arguments"), _traced(call))


def batches(calls: Sequence[ToolCall]) -> Iterator[list[ToolCall]]:
    """Calls in batches as they may be asked about together: not too many, and all at one place in a trace."""
    for _, at_one_place in groupby(calls, lambda call: call.trace):
        waiting = list(at_one_place)
        for begin in range(0, len(waiting), BATCH_MAX):
            yield waiting[begin : begin + BATCH_MAX]


def batch_request(calls: Sequence[ToolCall]) -> Request:
    """Asks for a batch."""
    body = encoded({"decisions": [*map(_asked, calls)]}, "arguments")
    return Request("POST", f"{DECISIONS}/batch", body, _traced(calls[0]))


def _traced(call: ToolCall) -> dict[str, str]:
    return call.trace.headers if call.trace is not None else {}


def estimate_request(**asked: Any) -> Request:
    """Asks what a call would cost; what is None is left out."""
    told = {name: value for name, value in asked.items() if value is not None}
    return Request("POST", "/v1/estimates", encoded(told, "arguments"))


def find_request(call: str) -> Request:
    """Asks how a call stands.

    Raises:
        InvalidRequest: it is no call's id.
    """
    if not _is_id(call):
        raise InvalidRequest(f"`{call}` is no call's id", field="id")
    return Request("GET", f"{DECISIONS}/{call}")


def approval_request(approval: str, wait_s: int) -> Request:
    """Asks how a request for a person's word stands, as soon as it is decided or after so long.

    Raises:
        InvalidRequest: that is no id of one.
    """
    if not _is_id(approval):
        raise InvalidRequest(f"`{approval[:64]}` is no approval's id", field="id")
    return Request("GET", f"{APPROVALS}/{approval}?wait={wait_s}")


def open_run_request(agent: str | None, parent: str | None, run: str | None, name: str | None) -> Request:
    """Asks for a run; by a name, so that asked twice it is the same one."""
    asked = {"agent": agent, "parent": parent, "run": run, "name": name or minted_name()}
    told = {field: value for field, value in asked.items() if value is not None}
    return Request("POST", RUNS, encoded(told, "run"))


def end_run_request(run: str) -> Request:
    """Ends a run.

    Raises:
        InvalidRequest: it is no run's id.
    """
    if not _is_id(run):
        raise InvalidRequest(f"`{run[:64]}` is no run's id", field="run")
    return Request("DELETE", f"{RUNS}/{run}")


def outcome_of_run_request(run: str, told: RunOutcome) -> Request:
    """Says what became of a run.

    Raises:
        InvalidRequest: it is no run's id, or nothing that a run can come to.
    """
    if not _is_id(run):
        raise InvalidRequest(f"`{run[:64]}` is no run's id", field="run")
    body: dict[str, Any] = {"name": told.name, "note": told.note}
    if told.outcome is not None:
        body["outcome"] = told.outcome
    if told.value_usd is not None:
        body["value_usd"] = money_text(told.value_usd)
    if told.transactions is not None:
        named = told.transactions
        body["transactions"] = (
            named if isinstance(named, int) else [named] if isinstance(named, str) else [*named]
        )
    return Request("POST", f"{RUNS}/{run}/outcome", encoded(body, "outcome"))


def settle_request(
    decision: Decision, result: Mapping[str, Any] | None = None, cost: Money | None = None
) -> Request:
    """Says that a tool was run, and what came of it."""
    body: dict[str, Any] = {"token": _token(decision), "result": result or {}}
    if cost is not None:
        body["cost_usd"] = money_text(cost)
    return Request("POST", f"{DECISIONS}/{decision.id}/settlement", encoded(body, "result"))


def release_request(decision: Decision) -> Request:
    """Says that a tool was not run.

    A name that was made up here is closed: the request that it was made up for may still be on its way.
    """
    body: dict[str, Any] = {"token": _token(decision)}
    if is_minted(decision.name):
        body["closes_name"] = True
    return Request("DELETE", f"{DECISIONS}/{decision.id}", encoded(body, "token"))


def money_text(cost: Money) -> str:
    """An amount as the API takes it.

    Raises:
        InvalidRequest: it is none.
    """
    if isinstance(cost, bool) or not isinstance(cost, Decimal | int | float | str):
        raise InvalidRequest(f"a {type(cost).__name__} is no amount of dollars", field="cost")
    try:
        amount = Decimal(str(cost))
    except InvalidOperation as fault:
        raise InvalidRequest(f"`{cost}` is no amount of dollars", field="cost") from fault
    if not amount.is_finite() or amount < 0 or (amount and abs(amount.adjusted()) > _ORDER_MAX):
        raise InvalidRequest(f"`{cost}` is no amount of dollars", field="cost")
    return f"{amount:f}" if amount else "0"


def read_decision(response: Response, call: ToolCall) -> Decision:
    """The decision that was asked for.

    Raises:
        AegisError: there is none.
    """
    return _decision(_object(response), call)


def read_batch(response: Response, calls: Sequence[ToolCall]) -> list[Decision | AegisError]:
    """The decisions that were asked for, or the error of each that could not be made.

    Raises:
        AegisError: there are none.
    """
    answers = _object(response).get("decisions")
    if not isinstance(answers, list) or len(answers) != len(calls):
        raise _no_api()
    return [_decision_or_error(answer, call) for answer, call in zip(answers, calls, strict=True)]


def read_settlement(response: Response) -> Settlement:
    """What became of a call.

    Raises:
        AegisError: it was not settled.
    """
    answer = _object(response)
    try:
        return Settlement(
            id=str(answer["id"]),
            state=str(answer["state"]),
            cost_usd=_money(answer.get("cost_usd")),
            overrun=bool(answer.get("overrun", False)),
        )
    except _MISREAD as fault:
        raise _no_api() from fault


def read_estimate(response: Response) -> Estimate:
    """What the call would come to.

    Raises:
        AegisError: nobody can say.
    """
    answer = _object(response)
    try:
        return Estimate(
            tool=str(answer["tool"]),
            effect=str(answer["effect"]),
            model=_text(answer.get("model")),
            reasons=tuple(map(_reason, answer["reasons"])),
            expected_usd=_money(answer.get("expected_usd")),
            maximum_usd=_money(answer.get("maximum_usd")),
            unbounded=dict(answer.get("unbounded", {})),
            budgets=tuple(map(_budget, answer["budgets"])),
            cheaper=tuple(map(_cheaper, answer["cheaper"])),
            policy_version=str(answer.get("policy_version", "")),
            details=answer,
        )
    except _MISREAD as fault:
        raise _no_api() from fault


def read_run(response: Response) -> OpenedRun:
    """The run that was opened.

    Raises:
        Refused: it was not, as there are too many, or it would be too deep.
        AegisError: nobody can say.
    """
    answer = _object(response)
    try:
        return OpenedRun(
            id=str(answer["run"]),
            agent=str(answer["agent"]),
            root=str(answer["root"]),
            depth=int(answer["depth"]),
            parent=_text(answer.get("parent")),
            expires=str(answer.get("expires", "")),
        )
    except _MISREAD as fault:
        raise _no_api() from fault


def read_approval(response: Response) -> Approval:
    """How a request for a person's word stands.

    Raises:
        AegisError: nobody can say.
    """
    return _approval(_object(response))


def _approval(told: Mapping[str, Any]) -> Approval:
    try:
        return Approval(
            id=str(told["id"]),
            state=str(told["state"]),
            status_url=str(told.get("status_url", "")),
            expires_at=str(told.get("expires_at", "")),
            reason=_text(told.get("reason")) or "",
        )
    except _MISREAD as fault:
        raise _no_api() from fault


def read_told_outcome(response: Response) -> None:
    """Nothing, if what became of a run is on record.

    Raises:
        AegisError: it isn't.
    """
    _object(response)


def read_ended_run(response: Response) -> None:
    """Nothing, if a run is ended now.

    Raises:
        AegisError: it isn't.
    """
    _object(response)


def _budget(told: Mapping[str, Any]) -> BudgetLeft:
    return BudgetLeft(
        budget=str(told["budget"]),
        scope=str(told["scope"]),
        window=str(told["window"]),
        quantity=str(told["quantity"]),
        is_money=bool(told["is_money"]),
        limit=Decimal(told["limit"]),
        left=Decimal(told["left"]),
        needs=_money(told["needs"]),
        fits=bool(told["fits"]),
        mode=str(told["mode"]),
        hard=bool(told["hard"]),
    )


def _cheaper(told: Mapping[str, Any]) -> CheaperModel:
    return CheaperModel(
        model=str(told["model"]),
        saving_usd=Decimal(told["saving_usd"]),
        effect=str(told["effect"]),
        expected_usd=_money(told.get("expected_usd")),
        maximum_usd=_money(told.get("maximum_usd")),
    )


def _asked(call: ToolCall) -> dict[str, Any]:
    asked: dict[str, Any] = {"tool": call.tool, "arguments": dict(call.arguments)}
    for field in ("run", "parent", "customer", "name"):
        value = getattr(call, field)
        if value is not None:
            asked[field] = value
    return asked


def _is_id(text: str) -> bool:
    """Whether it may be an id, and so stand in an address."""
    return text.isascii() and text.replace("_", "").replace("-", "").isalnum()


def _token(decision: Decision) -> str:
    if decision.token is None:
        state = decision.state or decision.effect
        raise InvalidRequest(f"call `{decision.id}` is {state}; there is nothing to settle", field="decision")
    return decision.token


def _object(response: Response) -> dict[str, Any]:
    """The object that an answer holds.

    Raises:
        AegisError: it tells of an error, or is none of this API's.
    """
    try:
        answer = json.loads(response.body)
    except (ValueError, RecursionError) as fault:
        raise _no_api(response.status) from fault
    if response.status == 200 and isinstance(answer, dict):
        return answer
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        raise _no_api(response.status)
    raise _error(response.status, error, response.headers)


def _error(status: int, error: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> AegisError:
    message, field, code = str(error.get("message", "")), error.get("param"), error.get("code")
    if code in _REFUSED_RUNS:
        told_ms = (headers or {}).get("retry-after-ms", "")
        reason = Reason(
            code=str(code),
            message=message,
            retry_after_ms=int(told_ms) if told_ms.isdecimal() and len(told_ms) <= _DIGITS_MAX else None,
        )
        return Decision(id="", effect="deny", tool="run", reasons=(reason,)).refusal()
    if status == 401 or (status == 403 and field is None):
        return Unauthorized(message)
    if status >= 500 or status in _TRY_AGAIN:
        return Unavailable(f"the gateway can't decide now: {message}")
    return InvalidRequest(message, field=None if field is None else str(field), status=status)


def _no_api(status: int | None = None) -> Unavailable:
    told = f" ({status})" if status is not None else ""
    return Unavailable(f"what answered{told} is no Aegis gateway; is AEGIS_URL right?")


def _decision_or_error(answer: Any, call: ToolCall) -> Decision | AegisError:
    if not isinstance(answer, dict):
        raise _no_api()
    error = answer.get("error")
    if isinstance(error, dict):
        status = error.get("status")
        return _error(status if isinstance(status, int) else 400, error)
    return _decision(answer, call)


def _decision(answer: Mapping[str, Any], call: ToolCall) -> Decision:
    redacted, approval = answer.get("arguments"), answer.get("approval")
    if not _is_id(str(answer.get("id", ""))):
        raise _no_api()
    try:
        return Decision(
            id=str(answer["id"]),
            effect=str(answer["effect"]),
            tool=str(answer.get("tool", call.tool)),
            arguments=redacted if isinstance(redacted, dict) else call.arguments,
            is_redacted=isinstance(redacted, dict),
            reasons=tuple(map(_reason, answer.get("reasons", ()))),
            run=_text(answer.get("run")),
            policy_version=str(answer.get("policy_version", "")),
            expected_usd=_money(answer.get("expected_usd")),
            maximum_usd=_money(answer.get("maximum_usd")),
            token=_text(answer.get("token")),
            name=call.name,
            state=_text(answer.get("state")),
            cost_usd=_money(answer.get("cost_usd")),
            approval=_approval(approval) if isinstance(approval, dict) else None,
        )
    except _MISREAD as fault:
        raise _no_api() from fault


def _reason(told: Mapping[str, Any]) -> Reason:
    wait = told.get("retry_after_ms")
    return Reason(
        code=str(told["code"]),
        message=str(told["message"]),
        subject=str(told.get("subject", "")),
        retry_after_ms=wait if isinstance(wait, int) else None,
    )


def _money(told: object) -> Decimal | None:
    return None if told is None else Decimal(str(told))


def _text(told: object) -> str | None:
    return None if told is None else str(told)
