"""Thresholds in one transaction of the ledger: what is looked at besides calls, and how it is told what has turned.

Rule: what has turned is written where it turned: the balance's note, an entry, a notice and, where it is asked for, an
incident, in one transaction. So each is told once, and none is missed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from aegis_gateway.application.books import Books
from aegis_gateway.application.commands import Look
from aegis_gateway.application.ports import Changes
from aegis_gateway.domain.admit import StandingKey
from aegis_gateway.domain.incident import Incident, Severity
from aegis_gateway.domain.notice import Notice, NoticeKind
from aegis_gateway.domain.passing import closed, foreseen, with_thresholds, with_word
from aegis_gateway.domain.rolling import rolled
from aegis_gateway.domain.threshold import rule_of_threshold
from aegis_gateway.domain.watched import Turn

Enter = Callable[[str, str | None, str, dict[str, object]], int]
"""Adds an entry to a tenant's record; returns its place."""


def balance_of(look: Look) -> tuple[str, StandingKey]:
    """The balance that a look is at."""
    return look.tenant, (look.budget, look.scope, look.window)


def look_at(books: Books, look: Look, now_ns: int) -> None:
    """Look at a balance's thresholds: by what is configured now, by a forecast, by somebody's word, or at its end."""
    tenant, key = balance_of(look)
    standing = books.standings.get((tenant, key))
    if standing is None or standing.notes is None or standing.notes.watched is None:
        return
    if now_ns >= look.ends_ns or look.claim is None:
        why: Literal["window", "configuration"] = "window" if now_ns >= look.ends_ns else "configuration"
        books.look(tenant, key, look.quantity, closed(standing, now_ns, why))
        return
    if look.claim.length_ns:
        standing = books.standings[tenant, key] = rolled(standing, look.claim.length_ns, now_ns)
    books.look(tenant, key, look.quantity, with_thresholds(look.claim, standing, now_ns))
    if look.expected is not None:
        books.look(tenant, key, look.quantity, foreseen(books.standings[tenant, key], look.expected, now_ns))
    for threshold, is_granted in look.words.items():
        found = with_word(books.standings[tenant, key], threshold, now_ns, is_granted=is_granted)
        books.look(tenant, key, look.quantity, found)


def tell(books: Books, changes: Changes, enter: Enter, now_ns: Callable[[str], int]) -> None:
    """Write down what has turned since the last time."""
    turns, books.turns = books.turns, []
    for tenant, key, quantity, turn in turns:
        facts = _facts(key, quantity, turn)
        sequence = enter(tenant, None, "threshold", facts)
        notice = _NOTICES.get((turn.turned, turn.threshold.basis == "exhaustion"))
        if notice is None:
            continue
        subject = f"budget:{key[0]}"
        changes.notices.append(
            Notice(
                tenant=tenant,
                sequence=sequence,
                kind=notice,
                subject=subject,
                at_ns=now_ns(tenant),
                body=facts,
            )
        )
        if turn.turned == "passed" and "incident" in turn.threshold.acts and turn.watched.mode == "enforce":
            is_end = turn.threshold.basis == "exhaustion"
            severity: Severity = "high" if is_end else "medium"
            changes.incidents.append(
                Incident(
                    tenant=tenant,
                    id=f"incident_{sequence}",
                    kind="budget_exhausted" if is_end else "threshold_passed",
                    subject=rule_of_threshold(key[0], turn.threshold.id),
                    severity=severity,
                    opened_ns=now_ns(tenant),
                    facts=facts,
                )
            )


_NOTICES: dict[tuple[str, bool], NoticeKind] = {
    ("passed", False): "threshold_passed",
    ("passed", True): "budget_exhausted",
    ("undone", False): "threshold_undone",
    ("undone", True): "threshold_undone",
}
"""What people hear of; words on a threshold are told of where they are given."""


def _facts(key: StandingKey, quantity: str, turn: Turn) -> dict[str, object]:
    """What has turned, as the record and the notices have it."""
    threshold, watched = turn.threshold, turn.watched
    facts: dict[str, object] = {
        "act": turn.turned,
        "why": turn.why,
        "budget": key[0],
        "scope": key[1],
        "window": key[2],
        "quantity": quantity,
        "threshold": threshold.id,
        "state": threshold.state,
        "of": threshold.basis,
        "amount": str(threshold.amount),
        "limit": str(watched.limit),
        "posted": str(turn.posted),
        "pending": str(turn.pending),
        "does": list(threshold.acts),
        "owner": watched.owner,
    }
    if watched.mode != "enforce":
        facts["mode"] = watched.mode
    return facts
