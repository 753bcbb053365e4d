"""How requests fare is added up from what people answered, and when."""

from __future__ import annotations

import msgspec

from aegis_gateway.domain.approval import Approval, ApprovalAnswer
from aegis_gateway.entrypoints.people.approvals.tally import tally_of

APPROVAL = Approval(
    tenant="acme",
    kind="call",
    requester="bot",
    about="desk.note",
    id="apr_1",
    sequence=1,
    created_ns=1_000,
    deadline_ns=2_000,
)


def answer(by: str, kind: str, at: int) -> ApprovalAnswer:
    """What somebody said, so long after the request was made."""
    return ApprovalAnswer(kind=kind, by=by, behind=(by,), at_ns=APPROVAL.created_ns + at)  # type: ignore[arg-type]  # one of both


def test_a_tally() -> None:
    """Granted ones are, used or not; where two were wanted and one came, there is none; waits end with what decided."""
    fates = [
        ("used", (answer("ana", "grant", 10), answer("ben", "grant", 70))),
        ("lapsed", (answer("ana", "grant", 30),)),
        ("refused", (answer("ana", "grant", 1), answer("eve", "refuse", 20))),
        ("expired", (answer("ana", "grant", 5),)),
        ("withdrawn", ()),
    ]
    found = tally_of(msgspec.structs.replace(APPROVAL, state=state, answers=said) for state, said in fates)
    assert (5, 2, 1, 2) == (found.asked, found.granted, found.refused, found.unanswered)
    assert (30, 70) == (found.half_ns, found.longest_ns)
    assert (("ana", 4), ("ben", 1), ("eve", 1)) == found.by
    nothing = tally_of([])
    assert (0, None, ()) == (nothing.asked, nothing.half_ns, nothing.by)
