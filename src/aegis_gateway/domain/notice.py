"""Notices: what people are to hear of, written in the transaction in which it happened.

Rule 1: a notice stands beside the entry that says the same for the record, and is named by its place: nothing is told
        that did not happen, nothing that happened is forgotten, and nothing is told twice.
Rule 2: whom it goes to, and by which channel, is decided later, outside of the ledger: delivery never keeps a call.
"""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

NoticeKind = Literal[
    "approval_requested",
    "approval_escalated",
    "approval_decided",
    "approval_expired",
    "threshold_passed",
    "threshold_undone",
    "budget_exhausted",
    "limit_changed",
    "key_held",
    "key_restored",
    "keys_in_shadow",
    "incident",
]
NOTICE_KINDS: tuple[NoticeKind, ...] = get_args(NoticeKind)

ENDS: tuple[NoticeKind, ...] = ("approval_decided", "approval_expired")
"""What ends a request: told wherever its beginning was told, in its place, where a channel can change what it sent."""


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened in a tenant, at the place `sequence` of its record, in nanoseconds since 1970.

    `subject` is what it is about, as `budget:ID` or `approval:ID`; `body` are its facts, ready to be written as JSON:
    amounts in smallest units, nothing secret, personal data only redacted.
    """

    tenant: str
    sequence: int
    kind: NoticeKind
    subject: str
    at_ns: int
    body: dict[str, object] = {}
