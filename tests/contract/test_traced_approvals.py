"""Requests that are over are told to telemetry once each, on every store, whichever steward passes it on."""

from __future__ import annotations

from aegis_gateway.application.approvals import let_time_pass
from aegis_gateway.application.metering import Metering
from aegis_gateway.application.passing import Passing
from aegis_gateway.application.ports import Store
from aegis_gateway.application.tracing import CallSpan, SpanNote, Trace
from aegis_gateway.domain.approval import Approval, ApprovalState
from tests.contract.test_approvals import Desk
from tests.ledgers import HOUR_NS, NOON_NS, TurnableClock

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Heard:
    """An observer that keeps which requests it is told are over."""

    def __init__(self) -> None:
        self.ended: list[tuple[str, ApprovalState, str, int]] = []

    @property
    def metering(self) -> Metering:
        """Nothing is measured here."""
        raise NotImplementedError

    def begin(self, trace: Trace | None) -> CallSpan:
        """No call is made here."""
        raise NotImplementedError

    def resumed(self, call: str, note: SpanNote) -> CallSpan:
        """No call is made here."""
        raise NotImplementedError

    def approval_ended(self, approval: Approval, ended_ns: int) -> None:
        """Keep it."""
        self.ended.append((approval.id, approval.state, approval.traceparent, ended_ns))

    def close(self, within_s: float) -> None:
        """Nothing is sent."""


def passing(store: Store, heard: Heard) -> Passing:
    """What passes notices on where nobody wants to be told of any."""
    return Passing(store, dict, "https://aegis.example", heard)


def test_each_end_is_told_once(store: Store, clock: TurnableClock) -> None:
    """A grant, a refusal and an end by time: as they were decided, though one is used or lapsed since."""
    desk, first, second = Desk(store), Heard(), Heard()
    granted, refused, late = (
        desk.ask(fingerprint=name, traceparent=TRACEPARENT if name == "f1" else "")
        for name in ("f1", "f2", "f3")
    )
    for steward in (first, second):
        passing(store, steward)()
    assert [] == first.ended + second.ended
    desk.approvals("ben").grant("acme", granted.id, "known vendor")
    desk.approvals("ben").refuse("acme", refused.id, "no")
    clock.turn(max(late.deadline_ns - NOON_NS, HOUR_NS))
    let_time_pass(store, {}, 10)
    assert "lapsed" == desk.now(granted).state
    for steward in (first, second, first):
        passing(store, steward)()
    assert [] == second.ended
    assert [
        (granted.id, "granted", TRACEPARENT, NOON_NS),
        (refused.id, "refused", "", NOON_NS),
        (late.id, "expired", "", clock.now_ns()),
    ] == first.ended
