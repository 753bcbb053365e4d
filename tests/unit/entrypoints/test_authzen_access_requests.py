"""Requests for access and their tasks, at any time of an approval's life."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

import msgspec
import pytest

from aegis_gateway.adapters.cedar import CedarPolicies, CompiledPolicies
from aegis_gateway.adapters.sealing import AesSealer
from aegis_gateway.application.approval_watch import ApprovalWatch
from aegis_gateway.application.directory import KnownKey, TenantView
from aegis_gateway.domain.approval import Approval, ApprovalAnswer, ApprovalState
from aegis_gateway.domain.entry import time_text
from aegis_gateway.domain.registry import Key
from aegis_gateway.entrypoints.data_plane.authzen.access_requests import AccessRequests, Written
from aegis_gateway.entrypoints.data_plane.authzen.denials import Denial, Denials, digest_of, task_id
from aegis_gateway.entrypoints.data_plane.authzen.requests import AccessRequest, read
from tests.ledgers import HOUR_NS, NOON_NS, SECOND_NS, TurnableClock
from tests.unit.configuration.example_document import loaded

SEALER = AesSealer(b"p" * 32)
REGISTRY = loaded().registries["northbank"]
POLICIES = CompiledPolicies((("p.cedar", '@id("all") permit(principal, action, resource);'),))
VIEW = TenantView(
    epoch=1,
    config_version=1,
    registry=REGISTRY,
    policies=CedarPolicies(REGISTRY, POLICIES),
    arguments_key=b"k" * 32,
)
PEP = KnownKey(
    key=Key(id="key_1", agent="loan-bot", hash=b"", hint="", issued_ns=0),
    agent=REGISTRY.agents["loan-bot"],
    view=VIEW,
)
UNTIL_NS = NOON_NS + HOUR_NS
APPROVAL = Approval(
    tenant="northbank",
    kind="call",
    requester="loan-bot",
    about="desk.note",
    id=f"apr_{'0' * 20}",
    sequence=1,
    created_ns=NOON_NS,
    deadline_ns=UNTIL_NS,
)
ASKED: dict[str, Any] = {
    "subject": {"type": "agent", "id": "loan-bot"},
    "action": {"name": "call"},
    "resource": {"type": "tool", "id": "desk.note"},
}


class Shelf:
    """Approvals in memory."""

    def __init__(self, approval: Approval | None) -> None:
        self.approval_kept = approval

    def approval(self, tenant: str, approval: str) -> Approval | None:
        """The one there is."""
        kept = self.approval_kept
        return kept if kept is not None and (kept.tenant, kept.id) == (tenant, approval) else None

    def states(self, _approvals: Collection[str]) -> dict[str, ApprovalState]:
        """Nobody waits here."""
        return {}


def status(approval: Approval | None, now_ns: int = NOON_NS) -> Written:
    """What is told of a task."""
    requests = AccessRequests(ApprovalWatch(Shelf(approval)), SEALER, TurnableClock(now_ns), "https://pages")
    return asyncio.run(requests.status(PEP, task_id(VIEW, APPROVAL.id), "http://here"))


def submit(now_ns: int) -> Written:
    """What comes of a request for access at some time."""
    asked = read(AccessRequest, msgspec.json.encode(ASKED))
    denial = Denial("loan-bot", "call_1", digest_of(asked), APPROVAL.id, UNTIL_NS)
    token = Denials(SEALER).seal("northbank", denial)
    denied = {"binding_token": token, "evaluation_id": "call_1", "expires_at": time_text(UNTIL_NS)}
    whole = read(AccessRequest, msgspec.json.encode({**ASKED, "denial": denied}))
    requests = AccessRequests(ApprovalWatch(Shelf(APPROVAL)), SEALER, TurnableClock(now_ns), "https://pages")
    return asyncio.run(requests.submit(PEP, whole, None, "http://here"))


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("waiting", "pending"),
        ("granted", "approved"),
        ("used", "approved"),
        ("lapsed", "approved"),
        ("refused", "denied"),
        ("expired", "expired"),
        ("withdrawn", "cancelled"),
    ],
)
def test_how_a_task_stands(state: ApprovalState, expected: str) -> None:
    """In the profile's words; only an approved one has a result: with what to evaluate again, and until when."""
    answers = (
        ApprovalAnswer(kind="grant", by="ben", behind=("ben",), at_ns=NOON_NS),
        ApprovalAnswer(kind="grant", by="cy", behind=("cy",), at_ns=NOON_NS + SECOND_NS),
    )
    approved = expected == "approved"
    approval = msgspec.structs.replace(
        APPROVAL,
        state=state,
        valid_until_ns=UNTIL_NS if approved else None,
        answers=answers if approved else (),
    )
    told = status(approval)
    assert (200, expected) == (told.status, told.body["task"]["status"])
    if not approved:
        assert "result" not in told.body
        return
    assert {
        "mode": "reevaluate",
        "approval": {
            "id": task_id(VIEW, APPROVAL.id),
            "approved_at": time_text(NOON_NS + SECOND_NS),
            "approved_until": time_text(UNTIL_NS),
        },
    } == told.body["result"]


def test_time_is_over_before_it_is_recorded() -> None:
    """Nobody is told to wait on for what can't be answered any more."""
    assert "pending" == status(APPROVAL, UNTIL_NS - 1).body["task"]["status"]
    assert "expired" == status(APPROVAL, UNTIL_NS).body["task"]["status"]
    assert 404 == status(None).status


def test_a_denial_is_over_with_its_time() -> None:
    """To the nanosecond."""
    made = submit(UNTIL_NS - 1)
    assert (202, "pending") == (made.status, made.body["task"]["status"])
    late = submit(UNTIL_NS)
    assert (410, "urn:openid:authzen:access-request:error:expired_denial") == (late.status, late.body["type"])
