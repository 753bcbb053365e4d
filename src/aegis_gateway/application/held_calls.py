"""Calls that want a person's word, as the ledger decides them: asked for once, let through once.

Rule 1: a grant is used up in the transaction that admits its call, after rates and budgets had their say.
Rule 2: who only repeats a call that waits is told of the same request again.
Rule 3: what is asked of people is bounded: an agent has so many requests that wait, and no more.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable

import msgspec

from aegis_gateway.application.approval_requests import became, passed, request
from aegis_gateway.application.commands import Admit, ApprovalClaim, ApprovalNote
from aegis_gateway.application.ports import LockedTenants
from aegis_gateway.application.recording import Recording
from aegis_gateway.domain.admit import Admission, Standings
from aegis_gateway.domain.approval import Approval, ApprovalAnswer, ApprovalEvent, Asking
from aegis_gateway.domain.approval_facts import Left, call_facts
from aegis_gateway.domain.decision import Reason
from aegis_gateway.domain.ledger import NOTHING
from aegis_gateway.domain.limits import limit_of
from aegis_gateway.domain.quote import USD

_OPEN_READ_MAX = 1_000

_SHOWN = (
    "agent", "team", "project", "owner", "purpose", "environment", "connector", "tool", "model", "region",
    "run", "customer", "asked_by",
)  # fmt: skip
"""What people are told of whose call it is, and of what."""


class HeldCalls:
    """What one batch knows of requests for a person's word, and makes of them."""

    def __init__(self, locked: LockedTenants, admits: Iterable[Admit], recording: Recording) -> None:
        """Read the requests that calls may be held for; nothing where no policy asks."""
        self._locked = locked
        # The batch holds this. If this held the batch too, only the garbage collector would find both, with all that
        # they know: under full load twice a second, for 17 ms in which no call is decided (measured).
        self._recording: Recording = weakref.proxy(recording)
        keys = {
            (command.tenant, command.approval.fingerprint)
            for command in admits
            if command.approval is not None and (command.verdict.asks or command.approval.given is not None)
        }
        self._latest = locked.latest_approvals(keys) if keys else {}
        self._open: dict[tuple[str, str], list[Approval]] = {}
        self._over: set[str] = set()

    def decide(
        self, command: Admit, asked: Admission, fitting: Admission, standings: Standings
    ) -> tuple[Admission, ApprovalNote | None]:
        """What becomes of a call that policies want a word for (`asked`), and that would pass otherwise (`fitting`).

        The note says which request it is about, if it is about one.
        """
        claim = command.approval
        if claim is None:
            return asked, None
        asking = _asking(command, claim)
        known = self._now((command.tenant, claim.fingerprint))
        if claim.given is not None and (wrong := _not_that(claim.given, known)):
            return Admission(effect="deny", reasons=(wrong,)), None
        if known is not None and known.state == "granted":
            if known.covers(asking):
                known = self._became(known, "use", call=command.call)
                return _approved(fitting, command, known), _note(known)
            known = self._became(known, "lapse", because=_another(known, asking))
        elif known is not None and known.state == "waiting":
            if known.covers(asking):
                return asked, _note(known)
            known = self._became(known, "withdraw", because=_another(known, asking))
        elif known is not None and self._is_refused(known, asking):
            return Admission(effect="deny", reasons=(_refused(known),)), _note(known)
        if known is not None and claim.given is not None:
            return Admission(effect="deny", reasons=(_good_for_nothing(known),)), None
        return self._ask(command, claim, asking, asked, standings)

    def named(self, command: Admit, fitting: Admission) -> tuple[Admission, ApprovalNote | None]:
        """What becomes of a call that nobody's word is wanted for, where it names an approval: that one and no other,
        and once. Who repeats a call because its answer was lost counts on it.
        """
        claim = command.approval
        if claim is None or claim.given is None:
            return fitting, None
        known = self._now((command.tenant, claim.fingerprint))
        if wrong := _not_that(claim.given, known):
            return Admission(effect="deny", reasons=(wrong,)), None
        assert known is not None, "one that isn't there is not that"
        if known.state == "refused":
            return Admission(effect="deny", reasons=(_refused(known),)), _note(known)
        if known.state == "waiting":
            return fitting, _note(self._became(known, "withdraw", because="nobody asks about it any more"))
        known = self._became(known, "use", call=command.call)
        return _approved(fitting, command, known), _note(known)

    def _ask(
        self, command: Admit, claim: ApprovalClaim, asking: Asking, asked: Admission, standings: Standings
    ) -> tuple[Admission, ApprovalNote | None]:
        key = (asking.tenant, asking.requester)
        waiting = self._open.get(key)
        if waiting is None:
            waiting = self._open[key] = self._locked.open_approvals(*key, _OPEN_READ_MAX)
        now_ns = self._recording.now_ns(asking.tenant)
        waiting = [each for each in waiting if each.id not in self._over and each.due(now_ns) != "expire"]
        if len(waiting) >= claim.open_max:
            return Admission(effect="deny", reasons=(_too_many(asking.requester, len(waiting)),)), None
        alike = [each for each in waiting if each.is_like(asking)]
        asking = msgspec.structs.replace(asking, facts=self._facts(command, asking, standings))
        made = request(self._recording, asking, alike, claim.group_after)
        self._open[key] = [*waiting, made]
        self._latest[asking.tenant, asking.fingerprint] = made
        return asked, _note(made)

    def _now(self, key: tuple[str, str]) -> Approval | None:
        """The newest request of a call, as of now."""
        known = self._latest.get(key)
        if known is None:
            return None
        return self._keep(passed(self._recording, known))

    def _became(
        self, known: Approval, event: ApprovalEvent, *, because: str = "", call: str | None = None
    ) -> Approval:
        return self._keep(became(self._recording, known, event, because=because, call=call))

    def _keep(self, known: Approval) -> Approval:
        self._latest[known.tenant, known.fingerprint] = known
        if known.state != "waiting":
            self._over.add(known.id)
        return known

    def _is_refused(self, known: Approval, asking: Asking) -> bool:
        """Whether somebody said no to this, under the same policies, and the time for an answer isn't over."""
        now_ns = self._recording.now_ns(known.tenant)
        is_same = known.policy_version == asking.policy_version
        return known.state == "refused" and is_same and now_ns < known.deadline_ns

    def _facts(self, command: Admit, asking: Asking, standings: Standings) -> dict[str, object]:
        who = command.attribution
        last = self._locked.last_approval(asking.tenant, asking.requester, asking.about)
        return call_facts(
            {name: value for name in _SHOWN if (value := getattr(who, name))},
            command.arguments.summary,
            command.verdict.asks,
            asking.expected_nano_usd,
            asking.maximum_nano_usd,
            _left(command, standings, self._recording.now_ns(asking.tenant)),
            None if last is None else last.facts,
            command.approval.moves if command.approval is not None else (),
        )


def _asking(command: Admit, claim: ApprovalClaim) -> Asking:
    """What is asked about a call, without what people are shown of it."""
    who, quote = command.attribution, command.quote
    return Asking(
        tenant=command.tenant,
        kind="call",
        requester=who.agent,
        about=f"{who.tool}:{who.model}" if who.model else who.tool,
        behind=claim.behind,
        fingerprint=claim.fingerprint,
        policy_version=command.policy_version,
        policies=tuple(each.subject for each in command.verdict.asks),
        expected_nano_usd=quote.expected.get(USD) if quote is not None else None,
        maximum_nano_usd=quote.maximum.get(USD) if quote is not None else None,
        route=claim.route,
        traceparent=claim.traceparent,
    )


def _left(command: Admit, standings: Standings, now_ns: int) -> list[Left]:
    found = []
    for budget, window in zip(command.budgets, standings.windows, strict=True):
        if budget.mode == "enforce":
            standing = standings.balances.get((budget.budget, budget.scope, window.label), NOTHING)
            limit = limit_of(budget, standing, now_ns)
            found.append(
                Left(
                    budget=budget.budget,
                    quantity=budget.quantity,
                    window=window.label,
                    left=standing.available(limit),
                    limit=limit,
                )
            )
    return found


def _approved(fitting: Admission, command: Admit, known: Approval) -> Admission:
    """The admission of a call that was waited for, with who agreed among its reasons."""
    reasons = tuple(
        Reason(
            code="approved",
            subject=known.id,
            message=f"`{answer.by}` agreed to this{_in_stead(answer)}{': ' if answer.reason else ''}{answer.reason}",
        )
        for answer in known.answers
        if answer.kind == "grant"
    )
    return msgspec.structs.replace(fitting, reasons=(*command.verdict.reasons, *reasons))


def _in_stead(answer: ApprovalAnswer) -> str:
    return f" in the stead of `{'`, `'.join(answer.in_stead_of)}`" if answer.in_stead_of else ""


def _note(approval: Approval) -> ApprovalNote:
    last = approval.answers[-1] if approval.answers else None
    return ApprovalNote(
        id=approval.id,
        state=approval.state,
        deadline_ns=approval.deadline_ns,
        by=tuple(answer.by for answer in approval.answers),
        reason=last.reason if last is not None else "",
        policies=approval.policies,
    )


def _not_that(given: str, known: Approval | None) -> Reason | None:
    """Why an approval that a caller names is none for its call; None where it is."""
    if known is None or known.id != given:
        return Reason(
            code="approval_not_valid",
            subject=given[:64],
            message=f"approval `{given[:64]}` is not for this call: it holds for one agent, tool and arguments; "
            "repeat the call as it was asked for, or leave `Aegis-Approval-Id` out to ask for this one",
        )
    return _good_for_nothing(known) if known.state in ("used", "expired", "lapsed", "withdrawn") else None


def _good_for_nothing(known: Approval) -> Reason:
    return Reason(
        code="approval_not_valid",
        subject=known.id,
        message=f"approval `{known.id}` is {known.state}, and good for nothing more; "
        "leave `Aegis-Approval-Id` out to ask again",
    )


def _another(known: Approval, asking: Asking) -> str:
    """In what a call isn't what was asked about."""
    if known.policy_version != asking.policy_version:
        return "the policies are others by now"
    if not set(asking.policies) <= set(known.policies):
        return "other policies ask by now"
    if known.is_own_word(asking):
        return "who agreed stands behind it by now"
    return "it may cost more by now"


def _refused(known: Approval) -> Reason:
    answer = next(each for each in known.answers if each.kind == "refuse")
    words = f": {answer.reason}" if answer.reason else ""
    return Reason(
        code="approval_refused",
        subject=known.id,
        message=f"`{answer.by}` refused this (`{known.id}`){words}",
    )


def _too_many(agent: str, count: int) -> Reason:
    return Reason(
        code="too_many_approvals",
        subject=agent,
        message=f"agent `{agent}` has {count} requests that wait for a person's word already; "
        "wait until some are answered",
    )
