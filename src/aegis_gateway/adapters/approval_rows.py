"""Requests for a person's word, and the answers, as rows: SQL that both stores understand as it is.

A request's columns are only what it is found by; the rest is its document. Answers are never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

import msgspec

from aegis_gateway.adapters.statements import Statements
from aegis_gateway.domain.approval import Approval, ApprovalAnswer, ApprovalState

_ANSWERS = "select approval, document from approval_answer where approval in ({names}) order by at_ns, person"
_LATEST = "select document from approval where tenant = ? and fingerprint = ? order by sequence desc limit 1"
_WAITING = (
    "select document from approval where tenant = ? and requester = ? and state = 'waiting'"
    " order by sequence limit ?"
)
_LAST = (
    "select document from approval where tenant = ? and requester = ? and about = ?"
    " order by sequence desc limit 1"
)
_BEFORE = (
    "select document from approval where tenant = ? and requester = ? and about = ? and sequence < ?"
    " order by sequence desc limit 1"
)
_ONE = "select document from approval where approval = ? and tenant = ?"
_GROUPED = (
    "select document from approval where tenant = ? and told_with = ? and state = 'waiting' order by sequence"
)
_TENANT = "select tenant from approval where approval = ?"
_NEWEST = "select document from approval where tenant = ? order by sequence desc limit ?"
_IN_STATE = "select document from approval where tenant = ? and state = ? order by sequence desc limit ?"
_WAITING_ANYWHERE = "select document from approval where state = 'waiting' order by tenant, sequence limit ?"
DUE_APPROVALS = "select tenant, approval from approval where due_ns <= ? order by due_ns limit ?"
_WRITE = (
    "insert into approval (approval, tenant, sequence, kind, state, requester, about, fingerprint, told_with,"
    " due_ns, document) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " on conflict (approval) do update set state = excluded.state, told_with = excluded.told_with,"
    " due_ns = excluded.due_ns, document = excluded.document"
)
_WRITE_ANSWER = (
    "insert into approval_answer (approval, tenant, person, at_ns, document) values (?, ?, ?, ?, ?)"
)

_approval_decoder = msgspec.json.Decoder(Approval)
_answer_decoder = msgspec.json.Decoder(ApprovalAnswer)
_encode = msgspec.json.Encoder().encode

Read = Callable[[str, tuple[object, ...]], Iterable[tuple[Any, ...]]]


def _found(read: Read, sql: str, values: tuple[object, ...]) -> list[Approval]:
    """Requests with their answers."""
    found = [_approval_decoder.decode(document) for (document,) in read(sql, values)]
    if not found:
        return []
    answers: dict[str, list[ApprovalAnswer]] = {}
    names = tuple(approval.id for approval in found)
    for approval, document in read(_ANSWERS.format(names=", ".join("?" * len(names))), names):
        answers.setdefault(approval, []).append(_answer_decoder.decode(document))
    return [msgspec.structs.replace(each, answers=tuple(answers.get(each.id, ()))) for each in found]


class ApprovalRows(Statements):
    """Requests in a transaction."""

    def latest_approvals(self, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], Approval]:
        """The newest by tenant and fingerprint."""
        return {key: approval for key in keys for approval in _found(self._rows, _LATEST, key)}

    def open_approvals(self, tenant: str, requester: str, limit: int) -> list[Approval]:
        """Those of somebody that wait, the oldest first."""
        return _found(self._rows, _WAITING, (tenant, requester, limit))

    def last_approval(self, tenant: str, requester: str, about: str) -> Approval | None:
        """The newest of somebody about something."""
        return next(iter(_found(self._rows, _LAST, (tenant, requester, about))), None)

    def approval(self, tenant: str, approval: str) -> Approval | None:
        """One, with its answers."""
        return next(iter(_found(self._rows, _ONE, (approval, tenant))), None)

    def grouped_approvals(self, tenant: str, group: str) -> list[Approval]:
        """Those that wait and are told under one notice."""
        return _found(self._rows, _GROUPED, (tenant, group))

    def save_approvals(self, approvals: Iterable[Approval]) -> None:
        """Write them, new or changed."""
        for approval in approvals:
            self._do(
                _WRITE,
                (
                    approval.id,
                    approval.tenant,
                    approval.sequence,
                    approval.kind,
                    approval.state,
                    approval.requester,
                    approval.about,
                    approval.fingerprint,
                    approval.group,
                    approval.due_ns,
                    _encode(msgspec.structs.replace(approval, answers=())).decode(),
                ),
            )

    def save_approval_answer(self, tenant: str, approval: str, answer: ApprovalAnswer) -> None:
        """Write one person's answer."""
        self._do(_WRITE_ANSWER, (approval, tenant, answer.by, answer.at_ns, _encode(answer).decode()))


class ApprovalReports:
    """Requests as people and waiting agents read them, outside of transactions."""

    def __init__(self, rows: Read) -> None:
        """`rows` reads rows as they are; `?` stands for a value."""
        self._rows = rows

    def tenant(self, approval: str) -> str | None:
        """Whose request it is; None where there is none."""
        return next((str(tenant) for (tenant,) in self._rows(_TENANT, (approval,))), None)

    def approval(self, tenant: str, approval: str) -> Approval | None:
        """One, with its answers."""
        return next(iter(_found(self._rows, _ONE, (approval, tenant))), None)

    def states(self, approvals: Collection[str]) -> dict[str, ApprovalState]:
        """How some stand, by id; unknown ones are absent."""
        places = ", ".join("?" for _ in approvals)
        sql = f"select approval, state from approval where approval in ({places})"  # noqa: S608 - places only
        return dict(self._rows(sql, tuple(approvals)))

    def before(self, approval: Approval) -> Approval | None:
        """The last request of the same agent about the same thing before one."""
        values = (approval.tenant, approval.requester, approval.about, approval.sequence)
        return next(iter(_found(self._rows, _BEFORE, values)), None)

    def together_with(self, approval: Approval) -> list[Approval]:
        """Those that wait and are told under one notice with one, in their order; none where it is told alone."""
        return _found(self._rows, _GROUPED, (approval.tenant, approval.group)) if approval.group else []

    def may_escalate(self, limit: int) -> list[Approval]:
        """Those of all tenants that wait, and about which others may still be asked."""
        return [each for each in _found(self._rows, _WAITING_ANYWHERE, (limit,)) if each.may_escalate]

    def approvals(self, tenant: str, limit: int, state: ApprovalState | None = None) -> list[Approval]:
        """A tenant's, the newest first, all or those in a state."""
        if state is None:
            return _found(self._rows, _NEWEST, (tenant, limit))
        return _found(self._rows, _IN_STATE, (tenant, state, limit))
