"""Requests for access, by AuthZEN's draft profile for them (Access Request and Approval): the way from a denial that
waits for a person's word to the evaluation that is made again.

Rule 1: an evaluation that wants a person's word has asked for it; a request for access hands out the task that this is,
        however often it is made, and asks nobody again.
Rule 2: a request for access is for what was denied, and from who was denied (`denials.py`).
Rule 3: how a task stands is told to whoever may ask for its subject, and nobody else learns that there is one.
Rule 4: an approved task is no yes. The evaluation that is made again is one, once: the grant is used up by it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import msgspec

from aegis_gateway.application.admission import IDEMPOTENCY_KEY_CHARACTERS_MAX
from aegis_gateway.application.approval_watch import ApprovalWatch
from aegis_gateway.application.commands import ApprovalNote
from aegis_gateway.application.decided import Decided
from aegis_gateway.application.directory import KnownKey, TenantView
from aegis_gateway.application.ports import Clock, Sealer
from aegis_gateway.domain.approval import Approval, ApprovalState
from aegis_gateway.domain.entry import time_text
from aegis_gateway.domain.errors import CallError
from aegis_gateway.entrypoints.data_plane.authzen.denials import (
    Denial,
    Denials,
    approval_of,
    digest_of,
    task_id,
)
from aegis_gateway.entrypoints.data_plane.authzen.requests import AccessRequest, Evaluation
from aegis_gateway.entrypoints.data_plane.connect import OperationCall
from aegis_gateway.entrypoints.data_plane.refusals import Headers

REQUESTS = "/access/v1/requests"
CAPABILITY = "urn:openid:authzen:capability:access-request"
NAMES_MAX = 4_096
"""How many names of requests (`Idempotency-Key`) one worker remembers."""

_PROBLEM = "urn:openid:authzen:access-request:error:"
_PROBLEM_TYPE = [("content-type", "application/problem+json"), ("cache-control", "no-store")]
_TEMPLATE = "approval"
_POLL_S = 5

_STATUS: dict[ApprovalState, str] = {
    "waiting": "pending",
    "granted": "approved",
    "used": "approved",  # a task that is approved stays so; what its grant is still good for, evaluations say
    "lapsed": "approved",
    "refused": "denied",
    "expired": "expired",
    "withdrawn": "cancelled",
}


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """An answer as it is written: the status, headers beside the usual ones, and the body."""

    status: int
    body: dict[str, Any]
    headers: Headers = []

    @property
    def is_problem(self) -> bool:
        """Whether it is a problem in the form of RFC 9457, which has a type of content of its own."""
        return "type" in self.body


class AccessRequests:
    """Makes denials requestable, and tells how requests stand."""

    def __init__(self, approvals: ApprovalWatch, sealer: Sealer, clock: Clock, pages_url: str) -> None:
        """`approvals` tell how one stands; `pages_url` is where people answer."""
        self._approvals = approvals
        self._denials = Denials(sealer)
        self._clock = clock
        self._pages_url = pages_url
        self._named: OrderedDict[tuple[str, str, str], bytes] = OrderedDict()

    def context_of(
        self, known: KnownKey, asked: Evaluation, decided: Decided[OperationCall], base_url: str
    ) -> dict[str, Any]:
        """What the context of a decision says besides: how a person's word is asked for, or whose word it stands on."""
        note = decided.admitted.approval
        if note is None:
            return {}
        if decided.allows:
            return {"approval": {"id": task_id(known.view, note.id)}}
        if decided.admitted.effect != "require_approval" or note.state != "waiting":
            return {}
        return {
            "evaluation_id": decided.call,
            "evaluated_at": time_text(decided.judged_ns),
            "access_request": {
                "endpoint": base_url + REQUESTS,
                "template": _TEMPLATE,
                "expires_at": time_text(note.deadline_ns),
                "binding_token": self._token(known, asked, decided, note),
                "display": {
                    "title": "A person has to agree",
                    "description": "; ".join(reason.message for reason in decided.admitted.reasons),
                },
            },
        }

    def _token(
        self, known: KnownKey, asked: Evaluation, decided: Decided[OperationCall], note: ApprovalNote
    ) -> str:
        denial = Denial(known.key.agent, decided.call, digest_of(asked), note.id, note.deadline_ns)
        return self._denials.seal(decided.tenant, denial)

    async def submit(self, known: KnownKey, asked: AccessRequest, name: str | None, base_url: str) -> Written:
        """Hand out the task of a denial. `name` is the asker's own for the request: another one under it is refused.

        Raises:
            CallError: it asks for what is not served here.
        """
        if asked.callback:
            raise CallError(
                "nobody is called back from here; ask at the task's `status_endpoint`", field="callback"
            )
        if name is not None and len(name) > IDEMPOTENCY_KEY_CHARACTERS_MAX:
            words = f"`Idempotency-Key` has at most {IDEMPOTENCY_KEY_CHARACTERS_MAX} characters"
            raise CallError(words, field="idempotency-key")
        tenant, digest = known.view.registry.tenant, digest_of(asked)
        if asked.denial is None:
            return _problem("not_requestable", 400, "there is no `denial` of an evaluation in it")
        denial = self._denials.open(tenant, asked.denial.binding_token)
        if denial is None or denial.asker != known.key.agent or denial.asked != digest:
            words = "`denial.binding_token` is not of a denial of this subject, resource, action and context to you"
            return _problem("invalid_denial_binding", 400, words)
        if asked.denial.evaluation_id not in (None, denial.evaluation):
            return _problem("invalid_denial_binding", 400, "`denial.evaluation_id` is of another evaluation")
        if asked.denial.expires_at not in (None, time_text(denial.until_ns)):
            return _problem(
                "invalid_denial_binding", 400, "`denial.expires_at` is not what the evaluation said"
            )
        if self._clock.now_ns() >= denial.until_ns:
            return _problem("expired_denial", 410, "the time for an answer is over; evaluate again")
        if name and not self._is_first(tenant, known.key.agent, name, digest + denial.approval.encode()):
            return _problem("duplicate_request", 409, "`Idempotency-Key` is that of another request")
        approval = await self._approvals.find(tenant, denial.approval)
        if approval is None:
            return _unknown_task()
        is_pending = self._status(approval) == "pending"
        return self._task(known.view, approval, base_url, 202 if is_pending else 201)

    async def status(self, known: KnownKey, task: str, base_url: str) -> Written:
        """How a task stands."""
        name = approval_of(known.view, task)
        approval = await self._approvals.find(known.view.registry.tenant, name) if name is not None else None
        asker = known.agent
        if approval is None or asker is None or not asker.may_ask_for(approval.requester):
            return _unknown_task()
        return self._task(known.view, approval, base_url, 200)

    def _is_first(self, tenant: str, agent: str, name: str, request: bytes) -> bool:
        """Whether a name is not that of another request; the oldest names are forgotten."""
        key = (tenant, agent, name)
        if self._named.setdefault(key, request) != request:
            return False
        self._named.move_to_end(key)
        if len(self._named) > NAMES_MAX:
            self._named.popitem(last=False)
        return True

    def _status(self, approval: Approval) -> str:
        is_over = approval.due(self._clock.now_ns()) == "expire"  # that is recorded a moment later
        return _STATUS["expired" if is_over else approval.state]

    def _task(self, view: TenantView, approval: Approval, base_url: str, code: int) -> Written:
        status, name = self._status(approval), task_id(view, approval.id)
        endpoint = f"{base_url}{REQUESTS}/{name}"
        task: dict[str, Any] = {
            "id": name,
            "status": status,
            "status_endpoint": endpoint,
            "links": {"review": f"{self._pages_url}/approvals/{approval.id}"},
        }
        headers: Headers = [("location", endpoint)] if code != 200 else []
        if status == "pending":
            task["expires_at"] = time_text(approval.deadline_ns)
            return Written(
                status=code, body={"task": task}, headers=[*headers, ("retry-after", str(_POLL_S))]
            )
        body: dict[str, Any] = {"task": task}
        if status == "approved":
            body["result"] = {"mode": "reevaluate", "approval": _granted(name, approval)}
        elif status == "denied":
            last = approval.answers[-1].reason if approval.answers else ""
            task["display"] = {"title": "Refused", "description": last or "no reason was given"}
        return Written(status=code, body=body, headers=headers)


def _granted(name: str, approval: Approval) -> dict[str, Any]:
    """The approval as the evaluation that is made again brings it along."""
    assert approval.valid_until_ns is not None, "what is granted is so until then"
    granted: dict[str, Any] = {"id": name, "approved_until": time_text(approval.valid_until_ns)}
    at_ns = max((answer.at_ns for answer in approval.answers if answer.kind == "grant"), default=None)
    if at_ns is not None:
        granted["approved_at"] = time_text(at_ns)
    return granted


def _unknown_task() -> Written:
    return _problem("unknown_task", 404, "there is no such task that you may ask about")


def _problem(code: str, status: int, detail: str) -> Written:
    """A problem in the form of RFC 9457, of one of the types of the profile."""
    title = code.replace("_", " ")
    body = {"type": f"{_PROBLEM}{code}", "title": title, "status": status, "detail": detail}
    return Written(status=status, body=body, headers=_PROBLEM_TYPE)
