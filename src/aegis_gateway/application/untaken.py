"""Answers that don't count because of who gave them or how they came, and what has come from outside already.

Rule 1: what comes from outside is taken once, whichever process it comes to: its name is in the store before anything
        is done about it.
Rule 2: what somebody may send again and again is recorded once.
"""

from __future__ import annotations

import msgspec

from aegis_gateway.application.approval_requests import ENTRY
from aegis_gateway.application.ports import RegistryStore
from aegis_gateway.application.recording import RegistryRecording
from aegis_gateway.domain.approval import AnswerKind

REMEMBERED_NS = 24 * 3_600 * 1_000_000_000
"""How long names are kept: far longer than what they are of is believed."""


class Untaken(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that does not count: to which request (there may be none of that name), and by which way it came."""

    tenant: str
    approval: str
    kind: AnswerKind
    via: str


def untaken_record(untaken: Untaken, about: str, reason: str) -> dict[str, object]:
    """What the record says of it."""
    return {
        "act": "not_taken",
        "approval": untaken.approval,
        "about": about,
        "answer": untaken.kind,
        "via": untaken.via,
        "reason": reason,
    }


def record_untaken(
    store: RegistryStore, untaken: Untaken, actor: str, reason: str, *, once_as: str = ""
) -> None:
    """Record it, in the name of whomever it is said to be of; with `once_as` once under that name.

    Raises:
        LedgerUnavailable: it could not be made durable.
    """
    with store.change([untaken.tenant]) as change:
        if untaken.tenant not in change.heads:
            return
        if once_as and not change.is_first_interaction(once_as, change.now_ns, REMEMBERED_NS):
            return
        approval = change.approval(untaken.tenant, untaken.approval)
        record = untaken_record(untaken, approval.about if approval is not None else "", reason)
        RegistryRecording(change, actor).enter(untaken.tenant, None, ENTRY, record)


def is_first(store: RegistryStore, name: str) -> bool:
    """Whether something with a name comes from outside for the first time.

    Raises:
        LedgerUnavailable: that could not be made durable; nothing is to be done about it then.
    """
    with store.change([]) as change:
        return change.is_first_interaction(name, change.now_ns, REMEMBERED_NS)
