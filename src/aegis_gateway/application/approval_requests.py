"""Requests for a person's word as they are made and as their time passes: each with its entry and its notice.

Rule: what becomes of a request stands in the record of its tenant, and whom it concerns is told, in the transaction in
      which it becomes so.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from aegis_gateway.application.ports import Changes
from aegis_gateway.application.recording import Recording
from aegis_gateway.domain.approval import (
    AnswerKind,
    Approval,
    ApprovalAnswer,
    ApprovalEvent,
    Asking,
    waiting,
)
from aegis_gateway.domain.approval_route import Group
from aegis_gateway.domain.entry import bounded_summary, time_text
from aegis_gateway.domain.notice import Notice, NoticeKind

ENTRY = "approval"
"""The type of the entries about approvals."""


def request(
    recording: Recording, asking: Asking, alike: Sequence[Approval] = (), group_after: int | None = None
) -> Approval:
    """Ask people for their word; the request as it now waits. Its tenant is held.

    `alike` are requests of the same agent, tool and policies that wait already; from the `group_after`th on, they are
    told under one notice.
    """
    tenant = asking.tenant
    sequence = recording.next_sequence(tenant)
    approval = waiting(asking, sequence, recording.now_ns(tenant))
    leader = ""
    if group_after is not None and len(alike) >= group_after:
        leader = next((each.group for each in alike if each.group), approval.id)
    approval = msgspec.structs.replace(approval, group=leader)
    record: dict[str, object] = {
        "act": "request",
        "approval": approval.id,
        "kind": approval.kind,
        "requester": approval.requester,
        "about": approval.about,
        "policy_version": approval.policy_version,
        "policies": list(approval.policies),
        "asked": [group.name for group in approval.route.asked(0)],
        "deadline": time_text(approval.deadline_ns),
        "facts": bounded_summary(approval.facts),
    }
    if approval.maximum_nano_usd is not None:
        record["maximum_nano_usd"] = str(approval.maximum_nano_usd)
    if leader:
        record["group"] = leader
    recording.enter(tenant, None, ENTRY, record)
    recording.add(Changes(approvals=[approval]))
    if leader in ("", approval.id):
        notify(recording, approval, "approval_requested", sequence)
    return approval


def became(
    recording: Recording,
    approval: Approval,
    event: ApprovalEvent,
    *,
    because: str = "",
    call: str | None = None,
) -> Approval:
    """Let something become of a request without anybody's answer; the request as it then is."""
    after = approval.after(event)
    if call is not None:
        after = msgspec.structs.replace(after, used_by=call)
    record: dict[str, object] = {"act": event, "approval": approval.id, "about": approval.about}
    if because:
        record["reason"] = because
    if event == "use":
        record["granted_by"] = [answer.by for answer in approval.answers if answer.kind == "grant"]
    sequence = recording.enter(approval.tenant, call, ENTRY, record)
    recording.add(Changes(approvals=[after]))
    if event in ("expire", "withdraw", "lapse"):
        notify(recording, after, "approval_expired", sequence, because)
    return after


def escalated(recording: Recording, approval: Approval, because: str = "nobody has decided yet") -> Approval:
    """Ask others besides, because nobody has decided, or those who are asked are away."""
    after = msgspec.structs.replace(approval, level=approval.level + 1)
    others = approval.route.escalation.groups if approval.route.escalation is not None else ()
    sequence = recording.enter(
        approval.tenant,
        None,
        ENTRY,
        {
            "act": "escalate",
            "approval": approval.id,
            "about": approval.about,
            "asked": [group.name for group in others],
            "reason": because,
        },
    )
    recording.add(Changes(approvals=[after]))
    notify(recording, after, "approval_escalated", sequence, because)
    return after


def passed(recording: Recording, approval: Approval) -> Approval:
    """What has become of a request by itself up to now, which is recorded; the request as it now is."""
    match approval.due(recording.now_ns(approval.tenant)):
        case "expire":
            return became(recording, approval, "expire", because="nobody decided in time")
        case "lapse":
            return became(recording, approval, "lapse", because="it was not used in time")
        case "escalate":
            return escalated(recording, approval)
        case None:
            return approval


def answer_record(approval: Approval, kind: AnswerKind, answer: ApprovalAnswer) -> dict[str, object]:
    """What the record says of one person's answer."""
    record: dict[str, object] = {
        "act": kind,
        "approval": approval.id,
        "kind": approval.kind,
        "requester": approval.requester,
        "about": approval.about,
        "state": approval.state,
        "reason": answer.reason,
        "via": answer.via,
    }
    if answer.in_stead_of:
        record["in_stead_of"] = list(answer.in_stead_of)
    return record


def notify(
    recording: Recording, approval: Approval, kind: NoticeKind, sequence: int, because: str = ""
) -> None:
    """Have people told of it."""
    body: dict[str, object] = {
        "approval": approval.id,
        "kind": approval.kind,
        "state": approval.state,
        "requester": approval.requester,
        "about": approval.about,
        "asked": [_group(group) for group in approval.route.asked(approval.level)],
        "level": approval.level,
        "deadline": time_text(approval.deadline_ns),
        "facts": approval.facts,
        "answers": [
            {
                "answer": answer.kind,
                "by": answer.by,
                "in_stead_of": list(answer.in_stead_of),
                "reason": answer.reason,
                "via": answer.via,
            }
            for answer in approval.answers
        ],
    }
    if approval.group:
        body["group"] = approval.group
    if because:
        body["reason"] = because
    notice = Notice(
        tenant=approval.tenant,
        sequence=sequence,
        kind=kind,
        subject=f"approval:{approval.id}",
        at_ns=recording.now_ns(approval.tenant),
        body=body,
    )
    recording.add(Changes(notices=[notice]))


def _group(group: Group) -> dict[str, object]:
    return {"name": group.name, "people": list(group.people), "role": group.role}
