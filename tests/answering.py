"""People who answer what a running gateway asks them."""

from __future__ import annotations

import contextlib

from aegis_gateway import bootstrap
from aegis_gateway.adapters.approval_rows import ApprovalReports
from aegis_gateway.application.approvals import Approvals
from aegis_gateway.application.operators import Caller
from aegis_gateway.domain.approval import AnswerKind, Approval
from tests.gateways import PEPPER, TENANT, Gateway


def answer(gateway: Gateway, kind: AnswerKind, reason: str = "seen") -> str:
    """Answer the newest request that waits; its id."""
    (newest, *_) = approvals(gateway)
    assert "waiting" == newest.state
    with contextlib.closing(bootstrap.store(gateway.settings)) as store:
        Approvals(store, PEPPER.encode(), Caller(local_name="test")).answer(TENANT, newest.id, kind, reason)
    return newest.id


def approvals(gateway: Gateway) -> list[Approval]:
    """All requests, the newest first."""
    with gateway.store() as store:
        return ApprovalReports(store.rows).approvals(TENANT, 1_000)
