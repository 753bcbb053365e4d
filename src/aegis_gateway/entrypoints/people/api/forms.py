"""The forms of what the control API takes and gives. Amounts are whole nano-dollars; instants are RFC 3339, UTC."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from aegis_gateway.application.recording import REASON_CHARACTERS_MAX
from aegis_gateway.domain.approval import AnswerKind, Approval, ApprovalKind, ApprovalState
from aegis_gateway.domain.delivery import DeliveryState
from aegis_gateway.entrypoints.people.approvals.brief import Brief
from aegis_gateway.entrypoints.people.words import iso


class Problem(BaseModel):
    """What is wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: Annotated[str, Field(description="What is wrong, and what to do.")]
    field: Annotated[str | None, Field(description="What of the request is at fault.")] = None


class AnswerGiven(BaseModel):
    """One person's answer."""

    answer: AnswerKind
    by: Annotated[str, Field(description="Their id.")]
    in_stead_of: Annotated[list[str], Field(description="People who were away, for whom it was given.")]
    at: str
    reason: str
    via: Annotated[str, Field(description="The way it came: `page`, `api`, `cli`, `slack`…")]


class ApprovalShort(BaseModel):
    """A request for a person's word."""

    id: str
    tenant: str
    kind: ApprovalKind
    state: ApprovalState
    requester: Annotated[str, Field(description="The agent, or person, that asks.")]
    about: Annotated[str, Field(description="The tool, budget or whatever else it concerns.")]
    expected_nano_usd: int | None
    maximum_nano_usd: Annotated[
        int | None, Field(description="The most it can cost; null where nobody knows.")
    ]
    policies: Annotated[list[str], Field(description="The policies that ask.")]
    created: str
    deadline: Annotated[str, Field(description="Until when an answer counts; without one it is a no.")]
    valid_until: Annotated[str | None, Field(description="Until when a grant may be used.")]
    used_by: Annotated[str | None, Field(description="The call that a grant was used by.")]
    group: Annotated[
        str | None, Field(description="The request under whose notice it is told with others alike.")
    ]
    answers: list[AnswerGiven]


class AwayPerson(BaseModel):
    """Somebody who is asked and away."""

    person: str
    until: str
    deputy: Annotated[str | None, Field(description="Who may answer in their stead.")]


class ApprovalFull(ApprovalShort):
    """A request with all that is known about it."""

    asked: Annotated[str, Field(description="Who is asked.")]
    away: Annotated[list[AwayPerson], Field(description="Who of them is away.")]
    unattended: Annotated[bool, Field(description="Nobody can grant it as it stands: too many are away.")]
    facts: Annotated[
        dict[str, Any], Field(description="What was noted when it was asked; arguments are redacted.")
    ]
    stands_out: Annotated[list[str], Field(description="What is unusual about it.")]
    may_answer: Annotated[bool, Field(description="Whether whoever asks here may answer it.")]
    in_stead_of: Annotated[
        list[str], Field(description="People who are away, for whom whoever asks here would answer it.")
    ]
    may_not_because: Annotated[str | None, Field(description="Why not.")]
    if_granted: str
    if_refused: str


class ApprovalList(BaseModel):
    """Requests: those that wait with the most urgent first, others with the newest first."""

    approvals: list[ApprovalShort]


class AnswerRequest(BaseModel):
    """An answer to a request."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"answer": "grant", "reason": "as agreed"}}
    )

    answer: Annotated[AnswerKind, Field(description="`grant` or `refuse`.")]
    reason: Annotated[
        str,
        Field(
            max_length=REASON_CHARACTERS_MAX, description="Why; a refusal needs one. The agent is told it."
        ),
    ] = ""


class AskRequest(BaseModel):
    """A wish for more of a budget: until an instant, or for good."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"amount": "250.00", "until": "2026-12-31T18:00:00Z", "reason": "quarter end"}
        },
    )

    amount: Annotated[
        str, Field(max_length=40, description="How much more, as limits are written: `250.00`.")
    ]
    reason: Annotated[
        str, Field(max_length=REASON_CHARACTERS_MAX, description="Why; whoever is asked is told it.")
    ]
    until: Annotated[
        AwareDatetime | None, Field(description="When it ends (RFC 3339); or say that it lasts.")
    ] = None
    lasting: Annotated[
        bool, Field(description="Until a version configures another limit, rather than for a while.")
    ] = False


class BudgetBalance(BaseModel):
    """A budget's balance in its current window, as `aegis budget --json` tells it."""

    model_config = ConfigDict(extra="allow")

    budget: str
    scope: Annotated[str, Field(description="Which part of a budget that is split; empty where it isn't.")]
    owner: str
    quantity: str
    window: str
    limit_amount: Annotated[int, Field(description="In the quantity's smallest unit; money in nano-dollars.")]
    spent_amount: int
    reserved_amount: int
    left_amount: int
    limit: Annotated[str, Field(description="As people write it.")]
    spent: str
    reserved: str
    left: str
    thresholds: Annotated[
        list[dict[str, Any]],
        Field(
            description="How each stands: `not_passed`, `waiting` (for the `approval`), `declined`, `grace` (until "
            "`acts_from_ns`, or `acts_at_amount` is spent), `agreed` or `passed`; since when, and what is left to it."
        ),
    ]
    next_threshold: Annotated[
        dict[str, Any] | None, Field(description="The one that is passed next by what is spent.")
    ]


class BudgetList(BaseModel):
    """A tenant's budgets."""

    tenant: str
    at: str
    budgets: list[BudgetBalance]


class NotificationMessage(BaseModel):
    """What people are told, in no channel's form."""

    title: str
    text: str
    facts: Annotated[dict[str, str], Field(description="What is known, by name, as people read it.")]
    links: Annotated[dict[str, str], Field(description="Where there is more, by what the link says.")]


class Notification(BaseModel):
    """One message to one place, and what became of it."""

    id: str
    tenant: str
    kind: Annotated[str, Field(description="What it is about: `threshold_passed`, `approval_requested`…")]
    subject: Annotated[str, Field(description="As `budget:ID` or `approval:ID`.")]
    channel: str
    recipient: Annotated[str | None, Field(description="Whom it is for, where the channel is e-mail.")]
    state: Annotated[
        DeliveryState, Field(description="`dead`: it was given up, and nothing comes of it by itself.")
    ]
    tries: int
    made: str
    next_try: Annotated[str | None, Field(description="When it is tried next, while it waits.")]
    sent: str | None
    last_error: Annotated[str | None, Field(description="Why the last try failed.")]
    message: NotificationMessage


class NotificationList(BaseModel):
    """A tenant's notifications, the newest first."""

    tenant: str
    notifications: list[Notification]


class WindowUsed(BaseModel):
    """What was used in one window that is over."""

    window: str
    starts_ns: int
    ends_ns: int
    used_amount: int
    used: str
    cut_short: Annotated[bool, Field(description="Calls were refused in it because nothing was left.")]
    compared: Annotated[bool, Field(description="The proposal rests on it.")]


class Adaptation(BaseModel):
    """What the limit of a budget that follows use should be, as `aegis budget adapt --json` tells it."""

    model_config = ConfigDict(extra="allow")

    tenant: str
    at: str
    budget: str
    turn: Annotated[str, Field(description="The day or week in which the limit is changed once at most.")]
    changes: Annotated[bool, Field(description="Whether another limit is proposed than the present one.")]
    applies: Annotated[str, Field(description="`automatic`, or by `approval`.")]
    held: Annotated[str | None, Field(description="Why the limit stays as it is for now.")]
    bound: Annotated[str | None, Field(description="The bound that the proposal met.")]
    reasons: Annotated[list[str], Field(description="In words.")]
    present_amount: Annotated[
        int, Field(description="The lasting limit, in the quantity's smallest unit; money in nano-dollars.")
    ]
    limit_amount: Annotated[int, Field(description="The limit that is proposed.")]
    median_amount: int | None
    spread_amount: int | None
    target_amount: Annotated[int | None, Field(description="Median and spreads, before any bound.")]
    windows: Annotated[list[WindowUsed], Field(description="The newest first.")]


def short(approval: Approval, state: ApprovalState) -> dict[str, Any]:
    """A request in a list; `state` is how it stands now."""
    return {
        "id": approval.id,
        "tenant": approval.tenant,
        "kind": approval.kind,
        "state": state,
        "requester": approval.requester,
        "about": approval.about,
        "expected_nano_usd": approval.expected_nano_usd,
        "maximum_nano_usd": approval.maximum_nano_usd,
        "policies": list(approval.policies),
        "created": iso(approval.created_ns),
        "deadline": iso(approval.deadline_ns),
        "valid_until": None if approval.valid_until_ns is None else iso(approval.valid_until_ns),
        "used_by": approval.used_by,
        "group": approval.group or None,
        "answers": [
            {
                "answer": each.kind,
                "by": each.by,
                "in_stead_of": list(each.in_stead_of),
                "at": iso(each.at_ns),
                "reason": each.reason,
                "via": each.via,
            }
            for each in approval.answers
        ],
    }


def full(brief: Brief) -> dict[str, Any]:
    """A request with all that is known about it."""
    return {
        **short(brief.approval, brief.state),
        "asked": brief.asked,
        "away": [
            {"person": each.person, "until": iso(each.until_ns), "deputy": each.deputy} for each in brief.away
        ],
        "unattended": bool(brief.unattended),
        "in_stead_of": list(brief.in_stead_of),
        "facts": brief.approval.facts,
        "stands_out": list(brief.stands_out),
        "may_answer": brief.is_waiting and not brief.may_not,
        "may_not_because": brief.may_not or None,
        "if_granted": brief.if_yes,
        "if_refused": brief.if_no,
    }
