"""How requests for a person's word fare: how many were answered, by whom, and how long they waited."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from aegis_gateway.domain.approval import Approval

_NAMED_MAX = 5


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """Of some requests, how many were granted, refused, and left without an answer that decided; how long they waited
    for the one that did, half of them at most and the longest, in nanoseconds; and who answered how many.
    """

    asked: int
    granted: int
    refused: int
    unanswered: int
    half_ns: int | None
    longest_ns: int | None
    by: tuple[tuple[str, int], ...]


def tally_of(approvals: Iterable[Approval]) -> Tally:
    """Add up requests of which something became."""
    asked = granted = refused = 0
    waited: list[int] = []
    by: Counter[str] = Counter()
    for approval in approvals:
        asked += 1
        for answer in approval.answers:
            by[answer.by] += 1
        is_refused = any(answer.kind == "refuse" for answer in approval.answers)
        # What nobody used was granted as well.
        is_granted = (
            not is_refused and approval.state in ("granted", "used", "lapsed") and bool(approval.answers)
        )
        refused, granted = refused + is_refused, granted + is_granted
        if is_refused or is_granted:
            waited.append(max(answer.at_ns for answer in approval.answers) - approval.created_ns)
    waited.sort()
    return Tally(
        asked=asked,
        granted=granted,
        refused=refused,
        unanswered=asked - granted - refused,
        half_ns=waited[(len(waited) - 1) // 2] if waited else None,
        longest_ns=waited[-1] if waited else None,
        by=tuple(sorted(by.items(), key=lambda each: (-each[1], each[0]))[:_NAMED_MAX]),
    )
