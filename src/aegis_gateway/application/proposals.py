"""Where two people are needed: what one proposes and another answers (`domain/proposal.py`).

Rule 1: everything is asked in the transaction of the act: whether it was answered before, whether what it was based on
        is still in force, whether its author still may do it, whether who answers is certainly somebody else.
Rule 2: both are named in the record.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from aegis_gateway.application.operators import Act, Caller, Operators
from aegis_gateway.application.ports import RegistryStore
from aegis_gateway.domain.errors import ConfigurationError, NotPermitted
from aegis_gateway.domain.people import Permission, are_two, may
from aegis_gateway.domain.proposal import ANSWERS, Answer, AnswerKind, Manner, Proposal, files_digest
from aegis_gateway.domain.risk import Appraisal

REASONS_RECORDED_MAX = 50
_REASON_CHARACTERS_MAX = 300

_ENTRY = "proposal"


def proposed(
    act: Act,
    files: dict[str, str],
    appraisal: Appraisal,
    manner: Manner,
    *,
    note: str,
    emergency: int | None = None,
) -> Proposal:
    """Write down a change that wants a second person; an emergency is the version that it made.

    What its author has proposed already, and is still open, is not proposed twice.
    """
    digest = files_digest(files)
    for known in act.change.waiting_proposals() if emergency is None else ():
        if (known.state, known.author, known.based_on, known.digest, known.manner) == (
            *("open", act.operator.name, appraisal.based_on),
            *(digest, manner),
        ):
            return known
    proposal = Proposal(
        number=act.change.next_proposal(),
        author=act.operator.name,
        behind=act.operator.behind,
        proposed_ns=act.change.now_ns,
        based_on=appraisal.based_on,
        tenants=appraisal.asking,
        reasons=tuple(reason[:_REASON_CHARACTERS_MAX] for reason in appraisal.reasons),
        digest=digest,
        files=files,
        note=note,
        manner=manner,
        emergency=emergency,
    )
    act.change.save_proposal(proposal)
    body: dict[str, object] = {
        "act": "propose" if emergency is None else "emergency",
        "proposal": proposal.number,
        "based_on": proposal.based_on,
        "files_sha256": proposal.digest,
        "widening": list(proposal.reasons[:REASONS_RECORDED_MAX]),
        "note": note,
    }
    if manner != Manner():
        body["manner"] = msgspec.to_builtins(manner)
    if emergency is not None:
        body["config_version"] = emergency
    act.record(_held(act, proposal.tenants), _ENTRY, body)
    return proposal


def approved(
    act: Act, number: int, files: dict[str, str], appraisal: Appraisal, manner: Manner, *, note: str
) -> Proposal:
    """Give a proposal the second word. It is put in force in the same transaction, as the next version.

    Raises:
        NotPermitted: it is not open, or who approves may not, or its author may not any more.
        ConfigurationError: there is none, or it was based on what is not in force any more.
    """
    proposal = _answerable(act, number, "approve", appraisal.asking)
    if proposal.digest != files_digest(files) or proposal.manner != manner:
        raise ConfigurationError(f"this is not what proposal {number} says")
    if proposal.based_on != appraisal.based_on:
        raise ConfigurationError(
            f"proposal {number} was based on configuration {proposal.based_on}, and {appraisal.based_on} is in force; "
            "its author has to propose it anew: `aegis plan`, `aegis apply`"
        )
    author = act.change.people().get(proposal.author)
    doing: Permission = "apply" if proposal.manner.back_to is None else "roll_back"
    concerned = {*proposal.tenants, *appraisal.risk.tenants}
    if author is None or not all(may(author, doing, tenant) for tenant in concerned):
        raise NotPermitted(
            f"`{proposal.author}`, who proposed it, may not do so any more; somebody who may has to propose it anew"
        )
    answer = Answer(
        kind="approve",
        by=act.operator.name,
        at_ns=act.change.now_ns,
        note=note,
        version=appraisal.based_on + 1,
    )
    _record_answer(act, proposal, answer)
    return proposal


class Proposals:
    """What is answered without anything being put in force."""

    def __init__(self, store: RegistryStore, pepper: bytes, caller: Caller) -> None:
        """In the name of a caller; `pepper` is the installation's secret that tokens are hashed under."""
        self._store = store
        self._operators = Operators(store, pepper, caller)

    def refuse(self, number: int, reason: str) -> Proposal:
        """Say no to a proposal.

        Raises:
            NotPermitted: it is not open, or who refuses may not.
            ConfigurationError: there is none.
        """
        return self._answered(number, "refuse", reason)

    def review(self, number: int, note: str) -> Proposal:
        """Say that somebody else has looked at what was done in an emergency.

        Raises:
            NotPermitted: it does not wait for that, or who reviews may not.
            ConfigurationError: there is none.
        """
        return self._answered(number, "review", note)

    def _answered(self, number: int, kind: AnswerKind, note: str) -> Proposal:
        with self._operators.act("approve", self._store.epochs()) as act:
            proposal = _answerable(act, number, kind, ())
            answer = Answer(kind=kind, by=act.operator.name, at_ns=act.change.now_ns, note=note)
            _record_answer(act, proposal, answer)
            return msgspec.structs.replace(proposal, answer=answer)


def _answerable(act: Act, number: int, kind: AnswerKind, also_asking: Iterable[str]) -> Proposal:
    proposal = act.change.proposal(number)
    if proposal is None:
        raise ConfigurationError(f"there is no proposal `{number}`; `aegis proposals` lists them")
    if (proposal.state, kind) not in ANSWERS:
        answered = f" by `{proposal.answer.by}`" if proposal.answer is not None else ""
        raise NotPermitted(
            f"proposal {number} is {proposal.state}{answered}; `aegis proposals show {number}`"
        )
    act.require(sorted({*proposal.tenants, *also_asking}))
    same = why_not_two(proposal, act.operator.name, act.operator.behind)
    if same:
        raise NotPermitted(same)
    return proposal


def why_not_two(proposal: Proposal, name: str, behind: tuple[str, ...]) -> str:
    """Why somebody isn't certainly another person than a proposal's author; empty if they are."""
    if are_two(proposal.behind, behind):
        return ""
    if name == proposal.author:
        return f"proposal {proposal.number} is `{name}`'s own; it wants somebody else's word"
    return (
        f"proposal {proposal.number} is `{proposal.author}`'s, and a token of one of the two was seen or registered by "
        f"the other, or both by a third; it wants somebody other than `{name}`"
    )


def _record_answer(act: Act, proposal: Proposal, answer: Answer) -> None:
    act.change.save_answer(proposal.number, answer)
    body: dict[str, object] = {
        "act": answer.kind,
        "proposal": proposal.number,
        "author": proposal.author,
        "files_sha256": proposal.digest,
        "note": answer.note,
    }
    act.record(_held(act, proposal.tenants), _ENTRY, body)


def _held(act: Act, tenants: Iterable[str]) -> list[str]:
    return [tenant for tenant in tenants if tenant in act.change.heads]
