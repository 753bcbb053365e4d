"""Approvals: what wants a person's word, from the question to what became of the answer.

    waiting ──▶ granted ──▶ used
       │           └──────▶ lapsed
       ├──▶ refused
       ├──▶ expired
       └──▶ withdrawn

One mechanism for calls, budgets' measures, requests for money and proposed limits.

Rule 1: a request holds nothing: no money, no turn of a rate, no name of a call.
Rule 2: a grant is good for one call, the same to the last argument, at no more than the cost that was shown, under the
        policies that asked, until its time is over; anything else is another request.
Rule 3: nobody answers who asked, or stands behind whoever asked, and nobody answers twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Literal

import msgspec

from aegis_gateway.domain.approval_route import Route
from aegis_gateway.domain.errors import IllegalTransition

ApprovalKind = Literal["call", "measure", "increase", "limit"]
ApprovalState = Literal["waiting", "granted", "refused", "expired", "withdrawn", "used", "lapsed"]
ApprovalEvent = Literal["grant", "refuse", "expire", "withdraw", "use", "lapse"]
AnswerKind = Literal["grant", "refuse"]

TRANSITIONS: dict[tuple[ApprovalState, ApprovalEvent], ApprovalState] = {
    ("waiting", "grant"): "granted",
    ("waiting", "refuse"): "refused",
    ("waiting", "expire"): "expired",
    ("waiting", "withdraw"): "withdrawn",
    ("granted", "use"): "used",
    ("granted", "lapse"): "lapsed",
}
OPEN_STATES: tuple[ApprovalState, ...] = ("waiting", "granted")

_ID_CHARACTERS = 20


def transition(state: ApprovalState, event: ApprovalEvent) -> ApprovalState:
    """The state after an event.

    Raises:
        IllegalTransition: the table has no such row.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransition(f"an approval that is {state} cannot {event}") from None


class ApprovalAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What one person said, why, and by which way (`cli`, `page`, `slack`…); never changed.

    `behind` is everybody whose word it can be, `meets` the numbers of the route's wants that it counts for;
    `in_stead_of` are people who were away, and without whom it would not count for all of these.
    """

    kind: AnswerKind
    by: str
    behind: tuple[str, ...]
    at_ns: int
    reason: str = ""
    via: str = ""
    meets: tuple[int, ...] = ()
    in_stead_of: tuple[str, ...] = ()

    def speaks_for(self, person: str) -> bool:
        """Whether it is a person's word, may be theirs, or was given in their stead."""
        return person in self.behind or person in self.in_stead_of


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of people, before anybody was asked.

    `requester` is an agent or a person, `behind` everybody who may not answer besides. `about` is the tool, budget or
    whatever else it concerns. A call is found again by its `fingerprint`, and has the `policy_version` and `policies`
    that ask. `facts` are for people, `terms` what a grant puts in force, for the handler of its kind. Amounts are in
    nano-USD; `maximum_nano_usd` is None where no maximum is known. `traceparent` is where in a trace the call stood
    that first asked, if it was in one.
    """

    tenant: str
    kind: ApprovalKind
    requester: str
    about: str
    behind: tuple[str, ...] = ()
    fingerprint: str = ""
    policy_version: str = ""
    policies: tuple[str, ...] = ()
    expected_nano_usd: int | None = None
    maximum_nano_usd: int | None = None
    facts: dict[str, object] = {}
    terms: dict[str, object] = {}
    route: Route = Route()
    traceparent: str = ""


class Approval(Asking, frozen=True, kw_only=True):
    """A request as it is kept, with what became of it; times in nanoseconds since 1970.

    `sequence` is the place of its entry in the tenant's record, `level` counts how often it was escalated. `group` is
    the request under whose notice it is told with others like it. `used_by` is the call that a grant was used by.
    """

    id: str
    sequence: int
    created_ns: int
    deadline_ns: int
    state: ApprovalState = "waiting"
    valid_until_ns: int | None = None
    level: int = 0
    group: str = ""
    used_by: str | None = None
    answers: tuple[ApprovalAnswer, ...] = ()

    @property
    def due_ns(self) -> int | None:
        """When something becomes of it by itself; None if nothing does any more."""
        if self.state == "granted":
            return self.valid_until_ns
        if self.state != "waiting":
            return None
        escalation = self.route.escalation
        if self.level == 0 and escalation is not None:
            return min(self.deadline_ns, self.created_ns + escalation.after_ns)
        return self.deadline_ns

    @property
    def may_escalate(self) -> bool:
        """Whether there are others who were not asked yet."""
        return self.state == "waiting" and self.level == 0 and self.route.escalation is not None

    def due(self, now_ns: int) -> Literal["expire", "escalate", "lapse"] | None:
        """What becomes of it by itself at an instant, if anything does."""
        if self.due_ns is None or now_ns < self.due_ns:
            return None
        if self.state == "granted":
            return "lapse"
        return "expire" if now_ns >= self.deadline_ns else "escalate"

    def covers(self, asking: Asking) -> bool:
        """Whether what was shown is what is asked now: the same policies, all that ask, at no higher cost, and
        agreed to by nobody who stands behind it by now.
        """
        return (
            self.fingerprint == asking.fingerprint
            and self.policy_version == asking.policy_version
            and set(asking.policies) <= set(self.policies)
            and not _costs_more(asking.maximum_nano_usd, self.maximum_nano_usd)
            and not self.is_own_word(asking)
        )

    def is_own_word(self, asking: Asking) -> bool:
        """Whether somebody has agreed who stands behind what is asked by now, as the agent's new owner does."""
        return any(
            answer.kind == "grant" and set(answer.behind) & set(asking.behind) for answer in self.answers
        )

    def is_like(self, asking: Asking) -> bool:
        """Whether it is of the same agent, tool and policies, and so may be told together with the other."""
        return (self.kind, self.requester, self.about, self.policies) == (
            *(asking.kind, asking.requester, asking.about),
            asking.policies,
        )

    def after(self, event: ApprovalEvent) -> Approval:
        """The request after an event.

        Raises:
            IllegalTransition: that can't become of it.
        """
        return msgspec.structs.replace(self, state=transition(self.state, event))


def _costs_more(now_nano_usd: int | None, shown_nano_usd: int | None) -> bool:
    if shown_nano_usd is None:
        return False  # it was shown that nobody knows a maximum
    return now_nano_usd is None or now_nano_usd > shown_nano_usd


def approval_id(tenant: str, sequence: int) -> str:
    """The id of a request, told by the place of its entry in its tenant's record, which no other has."""
    return f"apr_{hashlib.sha256(f'{tenant}/{sequence}'.encode()).hexdigest()[:_ID_CHARACTERS]}"


def waiting(asking: Asking, sequence: int, now_ns: int, group: str = "") -> Approval:
    """A request that is made now, whose entry stands at a place of the record."""
    return Approval(
        **msgspec.structs.asdict(asking),
        id=approval_id(asking.tenant, sequence),
        sequence=sequence,
        created_ns=now_ns,
        deadline_ns=now_ns + asking.route.within_ns,
        group=group,
    )


def refusal_to_answer(
    approval: Approval, name: str, behind: tuple[str, ...], meets: tuple[int, ...], why_none: str = ""
) -> str:
    """Why somebody's answer doesn't count; empty if it does.

    `meets` are the wants that they may give their word for; `why_none` says why none, beside that they aren't asked.
    """
    if name == approval.requester or approval.requester in behind:
        return f"`{approval.id}` is `{approval.requester}`'s own request; it wants somebody else's word"
    if set(behind) & set(approval.behind):
        both = "`, `".join(sorted(set(behind) & set(approval.behind)))
        return (
            f"`{both}` stands behind the request `{approval.id}` of `{approval.requester}`; "
            "it wants somebody else's word"
        )
    if any(name == each.by for each in approval.answers):
        return f"`{name}` has answered `{approval.id}` already; it wants another person's word"
    if not meets:
        asked = ", ".join(f"`{group.name}`" for group in approval.route.asked(approval.level))
        more = f"; {why_none}" if why_none else ""
        return f"`{name}` is not among those whom `{approval.id}` asks: {asked}{more}"
    for_them = next((each for each in approval.answers if name in each.in_stead_of), None)
    if for_them is not None:
        return f"`{for_them.by}` has answered `{approval.id}` in the stead of `{name}` already"
    earlier = next((each for each in approval.answers if set(each.behind) & set(behind)), None)
    if earlier is not None:
        return f"`{name}`'s word on `{approval.id}` may be `{earlier.by}`'s, who answered it already"
    return ""


def is_granted(approval: Approval, suspended: Collection[str]) -> bool:
    """Whether every want has the word of as many people as it needs. Whoever is suspended by now doesn't count, nor
    does what was said in their stead.
    """
    grants = [
        answer
        for answer in approval.answers
        if answer.kind == "grant" and not {answer.by, *answer.in_stead_of} & set(suspended)
    ]
    return all(
        want.needs <= sum(number in answer.meets for answer in grants)
        for number, want in enumerate(approval.route.wants)
    )


def granted(approval: Approval, now_ns: int) -> Approval:
    """The request once it is granted, with the time until which the grant may be used."""
    return msgspec.structs.replace(
        approval.after("grant"), valid_until_ns=now_ns + approval.route.valid_for_ns
    )
