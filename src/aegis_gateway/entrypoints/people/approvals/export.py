"""Requests for a person's word, as files have them: one row each, those that are told together too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from aegis_gateway.domain.approval import Approval
from aegis_gateway.entrypoints.people.approvals.brief import state_now
from aegis_gateway.entrypoints.people.columns import Column, Row

APPROVAL_COLUMNS = (
    *(Column(each) for each in ("tenant", "approval", "kind", "requester", "about", "state")),
    *(Column(each, "usd") for each in ("expected_usd", "maximum_usd")),
    Column("moves"),
    Column("policies"),
    *(Column(each, "time") for each in ("asked", "deadline", "answered")),
    *(Column(each) for each in ("answer", "by", "via", "reason", "used_by")),
)


def approval_rows(approvals: Iterable[Approval], now_ns: int) -> Iterator[Row]:
    """A row for each request, with its last answer."""
    for each in approvals:
        answer = each.answers[-1] if each.answers else None
        moves = each.facts.get("moves")
        yield [
            each.tenant,
            each.id,
            each.kind,
            each.requester,
            each.about,
            state_now(each, now_ns),
            each.expected_nano_usd,
            each.maximum_nano_usd,
            None if moves is None else str(moves),
            ", ".join(each.policies) or None,
            each.created_ns,
            each.deadline_ns,
            *(
                (answer.at_ns, answer.kind, answer.by, answer.via or None, answer.reason or None)
                if answer
                else (None,) * 5
            ),
            each.used_by,
        ]
