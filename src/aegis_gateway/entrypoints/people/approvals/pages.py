"""The pages of approvals: the inbox, what was decided, and one request with its answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import get_args

from starlette.responses import Response

from aegis_gateway.domain.approval import AnswerKind, Approval
from aegis_gateway.domain.errors import NotPermitted
from aegis_gateway.entrypoints.people.approvals.brief import total_maximum
from aegis_gateway.entrypoints.people.approvals.desk import ApprovalsDesk, groups_of
from aegis_gateway.entrypoints.people.approvals.export import APPROVAL_COLUMNS, approval_rows
from aegis_gateway.entrypoints.people.approvals.tally import tally_of
from aegis_gateway.entrypoints.people.living import living
from aegis_gateway.entrypoints.people.reader import reader_of
from aegis_gateway.entrypoints.people.tables import FILE_ROWS_MAX, table_file
from aegis_gateway.entrypoints.people.visits import Visit, redirect
from aegis_gateway.entrypoints.people.words import sentence

_GROUP_MAX = 256


def show_inbox(visit: Visit) -> Response:
    """What waits, and for whom; asked for anew while somebody looks at it."""
    if not visit.readable:
        return visit.without_tenant()
    with _desk(visit) as desk:
        tenant = visit.query.get("tenant") or None
        shown = [desk.short(group[0], group) for group in groups_of(desk.waiting(tenant))]
        return living(
            visit,
            "approvals/inbox.html",
            mine=[each for each in shown if not each.may_not],
            others=[each for each in shown if each.may_not],
            tenants=desk.readable,
            tenant=tenant,
            total=total_maximum,
        )


def show_decided(visit: Visit) -> Response:
    """What became of requests."""
    if not visit.readable:
        return visit.without_tenant()
    with _desk(visit) as desk:
        tenant = visit.query.get("tenant") or None
        decided = desk.decided(tenant)
        return living(
            visit,
            "approvals/decided.html",
            briefs=[desk.short(approval) for approval in decided],
            tally=tally_of(decided),
            tenants=desk.readable,
            tenant=tenant,
        )


def export_waiting(visit: Visit) -> Response:
    """What waits, as a file."""
    tenant = visit.query.get("tenant") or None
    with _desk(visit) as desk:
        rows = approval_rows(desk.waiting(tenant), visit.office.now_ns())
        return table_file(visit, f"{tenant or 'all'}-approvals-waiting", APPROVAL_COLUMNS, rows)


def export_decided(visit: Visit) -> Response:
    """What became of requests, as a file."""
    tenant = visit.query.get("tenant") or None
    with _desk(visit) as desk:
        rows = approval_rows(desk.decided(tenant, FILE_ROWS_MAX), visit.office.now_ns())
        return table_file(visit, f"{tenant or 'all'}-approvals-decided", APPROVAL_COLUMNS, rows)


def show_one(visit: Visit) -> Response:
    """One request, with the form to answer it where the reader may."""
    with _desk(visit) as desk:
        approval = desk.find(visit.at["approval"])
        return _none(visit) if approval is None else _one(visit, desk, approval)


def go_to_one(visit: Visit) -> Response:
    """Where links that name the tenant as well lead."""
    return redirect(f"/approvals/{visit.at['approval']}")


def answer_one(visit: Visit) -> Response:
    """Take an answer. One that doesn't count is told why, beside how the request stands."""
    with _desk(visit) as desk:
        approval = desk.find(visit.at["approval"])
        if approval is None:
            return _none(visit)
        kind, reason = _answer_kind(visit.field("answer")), visit.field("reason")
        if kind is None:
            return _one(visit, desk, approval, status=400, error="Choose whether to approve or to refuse.")
        if kind == "refuse" and not reason:
            return _one(visit, desk, approval, status=400, error="Say why you refuse: the agent is told so.")
        try:
            desk.answer(approval, kind, reason)
        except NotPermitted as fault:
            now = desk.find(approval.id) or approval
            return _one(visit, desk, now, status=409, error=sentence(f"your answer was not taken: {fault}"))
        untaken = 0
        for other in _others(visit, desk, approval):
            try:
                desk.answer(other, kind, reason)
            except NotPermitted:
                untaken += 1
    return redirect(f"/approvals/{approval.id}" + (f"?untaken={untaken}" if untaken else ""))


def _others(visit: Visit, desk: ApprovalsDesk, approval: Approval) -> list[Approval]:
    """The requests that were shown together with this one, where all of them are answered: no others, however alike."""
    if visit.field("together") != "yes":
        return []
    names = visit.form.get("other", ())[:_GROUP_MAX]
    found = (desk.find(name) for name in dict.fromkeys(names) if name != approval.id)
    return [each for each in found if each is not None and each.group and each.group == approval.group]


def _one(
    visit: Visit, desk: ApprovalsDesk, approval: Approval, *, status: int = 200, error: str = ""
) -> Response:
    waiting = [each for each in desk.waiting() if each.id != approval.id]
    following = next((each for each in waiting if not desk.short(each).may_not), None)
    return living(
        visit,
        "approvals/one.html",
        status=status,
        brief=desk.full(approval),
        error=error,
        reason=visit.field("reason"),
        untaken=visit.query.get("untaken", ""),
        following=following,
    )


def _none(visit: Visit) -> Response:
    return visit.failure(
        404,
        "There is no such request",
        "The address may have been cut when it was copied, or it is a request of a tenant that you may not see.",
    )


def _answer_kind(text: str) -> AnswerKind | None:
    return next((kind for kind in get_args(AnswerKind) if kind == text), None)


@contextmanager
def _desk(visit: Visit) -> Iterator[ApprovalsDesk]:
    with visit.office.store() as store:
        yield ApprovalsDesk(visit.office, store, reader_of(visit))
