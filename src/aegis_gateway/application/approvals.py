"""People's words: what somebody answers to a request, whichever way they came, and what comes of it.

Rule 1: who may answer is asked in the transaction of the answer, of people and roles as they are then.
Rule 2: an answer that does not count (of the wrong person, too late, a second one) changes nothing, and is recorded.
Rule 3: what a grant puts in force that is no call is put in force in the same transaction, or the grant isn't given;
        and where it never can be any more, the request is over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

import msgspec

from aegis_gateway.application.approval_requests import (
    ENTRY,
    answer_record,
    became,
    escalated,
    notify,
    passed,
)
from aegis_gateway.application.operators import Act, Caller, Operator, Operators
from aegis_gateway.application.ports import Changes, RegistryChange, Store
from aegis_gateway.application.recording import REASON_CHARACTERS_MAX, RegistryRecording
from aegis_gateway.application.untaken import Untaken, record_untaken, untaken_record
from aegis_gateway.domain.approval import (
    AnswerKind,
    Approval,
    ApprovalAnswer,
    ApprovalKind,
    granted,
    is_granted,
    refusal_to_answer,
)
from aegis_gateway.domain.deputies import Word, attendance_of, is_unattended, word_of
from aegis_gateway.domain.errors import ConfigurationError, NotActing, NotPermitted

SWEEPER = "aegis"
"""Who lets time pass, as entries name it."""


class Hindrance(msgspec.Struct, frozen=True, kw_only=True):
    """Why what people agreed to can't be put in force; where it `ends` the request, nobody's word will ever do so."""

    because: str
    ends: bool = False


class Outcome(Protocol):
    """What is done about a request of some kind, once it is decided, in the transaction that decides it."""

    def __call__(
        self, change: RegistryChange, recording: RegistryRecording, approval: Approval
    ) -> Hindrance | None:
        """Put a granted request in force, or note that it was refused or ran out (see its `state`).

        Returns why that can't be done, before anything was changed; None where it was done.
        """


Outcomes = Mapping[ApprovalKind, Outcome]
"""By kind; calls have none, a grant of one waits for the call."""


class Approvals:
    """What somebody does about requests."""

    def __init__(self, store: Store, pepper: bytes, caller: Caller, outcomes: Outcomes | None = None) -> None:
        """In the name of a caller; `pepper` is the installation's secret that tokens are hashed under."""
        self._store = store
        self._operators = Operators(store, pepper, caller)
        self._caller = caller
        self._outcomes: Outcomes = outcomes or {}

    def grant(
        self, tenant: str, approval: str, reason: str = "", *, others: Collection[str] = ()
    ) -> Approval:
        """Say yes; see `answer`."""
        return self.answer(tenant, approval, "grant", reason, others=others)

    def refuse(self, tenant: str, approval: str, reason: str, *, others: Collection[str] = ()) -> Approval:
        """Say no; see `answer`."""
        return self.answer(tenant, approval, "refuse", reason, others=others)

    def answer(
        self, tenant: str, approval: str, kind: AnswerKind, reason: str = "", *, others: Collection[str] = ()
    ) -> Approval:
        """Answer a request; how it then stands. The same answer of the same person again changes nothing.

        `others` are answered as well, as far as they were told under the same notice and this person may: those that
        they have seen, and none that came since.

        Raises:
            ConfigurationError: there is no such request.
            NotPermitted: the answer doesn't count, which is recorded.
            LedgerUnavailable: it could not be made durable.
        """
        try:
            return self._answer(tenant, approval, kind, reason, others=others)
        except NotActing as fault:
            if self._caller.person is not None:
                record_untaken(
                    self._store,
                    Untaken(tenant=tenant, approval=approval, kind=kind, via=self._caller.via),
                    self._caller.person,
                    str(fault),
                )
            raise

    def _answer(
        self, tenant: str, approval: str, kind: AnswerKind, reason: str, *, others: Collection[str]
    ) -> Approval:
        with self._operators.act("approve", [tenant]) as act:
            asked = act.change.approval(tenant, approval) if tenant in act.change.heads else None
            if asked is None:
                raise ConfigurationError(f"there is no approval `{approval}`; `aegis approvals` lists them")
            answering = _Answering(act, self._caller.via, self._outcomes)
            decided, refusal = answering.answer(asked, kind, reason)
            if others and asked.group and not refusal:
                for other in act.change.grouped_approvals(tenant, asked.group):
                    if other.id in others:
                        answering.answer(other, kind, reason)
        if refusal:
            raise NotPermitted(refusal)
        return decided


class _Answering:
    """One person's answers in one transaction."""

    def __init__(self, act: Act, via: str, outcomes: Outcomes) -> None:
        self._change = act.change
        self._operator: Operator = act.operator
        self._via = via
        self._outcomes = outcomes
        self._recording = RegistryRecording(act.change, act.operator.name)

    def answer(self, approval: Approval, kind: AnswerKind, reason: str) -> tuple[Approval, str]:
        """A request after an answer, and why that doesn't count, if it doesn't."""
        by = self._operator
        if any((each.by, each.kind) == (by.name, kind) for each in approval.answers):
            return approval, ""  # a second click
        approval = self._now(approval)
        refusal = _over(approval)
        word = self._word(approval)
        refusal = refusal or refusal_to_answer(approval, by.name, by.behind, word.meets, word.why_none)
        if refusal:
            return self._not_taken(approval, kind, refusal)
        answer = ApprovalAnswer(
            kind=kind,
            by=by.name,
            behind=by.behind,
            at_ns=self._recording.now_ns(approval.tenant),
            reason=reason[:REASON_CHARACTERS_MAX],
            via=self._via,
            meets=word.meets,
            in_stead_of=word.in_stead_of,
        )
        after = self._after(msgspec.structs.replace(approval, answers=(*approval.answers, answer)), kind)
        outcome = self._outcomes.get(approval.kind)
        if outcome is not None and after.state != "waiting":
            hindrance = outcome(self._change, self._recording, after)
            if hindrance is not None:
                told = self._not_taken(approval, kind, hindrance.because)
                if hindrance.ends:
                    became(self._recording, approval, "withdraw", because=hindrance.because)
                return told
        self._change.save_approval_answer(approval.tenant, approval.id, answer)
        sequence = self._recording.enter(approval.tenant, None, ENTRY, answer_record(after, kind, answer))
        self._change.write(Changes(approvals=[after]))
        if after.state != "waiting":
            notify(self._recording, after, "approval_decided", sequence)
        if after.state == "granted" and after.kind != "call":
            after = became(self._recording, after, "use")
        return after, ""

    def _word(self, approval: Approval) -> Word:
        change, person = self._change, self._operator.person
        now_ns = self._recording.now_ns(approval.tenant)
        return word_of(approval, person, attendance_of(change.people(), change.absences(), now_ns))

    def _now(self, approval: Approval) -> Approval:
        after = passed(self._recording, approval)
        _carry_out_expiry(self._outcomes, self._change, self._recording, approval, after)
        return after

    def _after(self, approval: Approval, kind: AnswerKind) -> Approval:
        if kind == "refuse":
            return approval.after("refuse")
        suspended = {
            person.id for person in self._change.people().values() if person.suspended_ns is not None
        }
        if not is_granted(approval, suspended):
            return approval
        return granted(approval, self._recording.now_ns(approval.tenant))

    def _not_taken(self, approval: Approval, kind: AnswerKind, refusal: str) -> tuple[Approval, str]:
        untaken = Untaken(tenant=approval.tenant, approval=approval.id, kind=kind, via=self._via)
        self._recording.enter(approval.tenant, None, ENTRY, untaken_record(untaken, approval.about, refusal))
        return approval, refusal


def _over(approval: Approval) -> str:
    """Why a request can't be answered any more; empty while it can."""
    if approval.state == "waiting":
        return ""
    last = approval.answers[-1] if approval.answers else None
    by = f" by `{last.by}`" if last is not None and approval.state in ("granted", "refused") else ""
    return f"`{approval.id}` is {approval.state}{by}; `aegis approvals show {approval.id}`"


def due(store: Store, now_ns: int, limit: int = 256) -> list[tuple[str, str]]:
    """Tenant and id of requests whose time has come: to ask others besides, or to be over."""
    return store.due_approvals(now_ns, limit)


def let_time_pass(store: Store, outcomes: Outcomes | None = None, limit: int = 256) -> int:
    """Escalate what nobody has decided, and end what is over; how many requests that concerned.

    Raises:
        LedgerUnavailable: the store cannot be read, or did not take it.
    """
    found = due(store, store.clock_ns(), limit)
    for tenant, name in found:
        with store.change([tenant]) as change:
            approval = change.approval(tenant, name)
            if approval is None:
                continue
            recording = RegistryRecording(change, SWEEPER)
            after = passed(recording, approval)
            _carry_out_expiry(outcomes or {}, change, recording, approval, after)
    return len(found)


UNATTENDED = "those who are asked are away"
"""Why others are asked before their time."""


def escalate_unattended(store: Store, waiting: Iterable[Approval]) -> None:
    """Ask others at once about what can't be granted because people are away; `waiting` are those it may be true of.

    Raises:
        LedgerUnavailable: the store did not take it.
    """
    for each in waiting:
        with store.change([each.tenant]) as change:
            approval = change.approval(each.tenant, each.id)
            recording = RegistryRecording(change, SWEEPER)
            now_ns = recording.now_ns(each.tenant)
            attendance = attendance_of(change.people(), change.absences(), now_ns)
            if approval is not None and approval.may_escalate and is_unattended(approval, attendance):
                escalated(recording, approval, UNATTENDED)


def _carry_out_expiry(
    outcomes: Outcomes,
    change: RegistryChange,
    recording: RegistryRecording,
    before: Approval,
    after: Approval,
) -> None:
    outcome = outcomes.get(after.kind)
    if outcome is not None and after.state == "expired" and before.state != "expired":
        outcome(change, recording, after)
