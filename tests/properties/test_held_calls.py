"""Whatever happens in whichever order: a call passes only by a grant of its own, and by each grant one call passes."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Literal

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_gateway.adapters.approval_rows import ApprovalReports
from aegis_gateway.application.approvals import Approvals, let_time_pass
from aegis_gateway.application.commands import Admitted, ApprovalClaim
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.operators import Caller
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.approval import Approval
from aegis_gateway.domain.approval_route import Route
from aegis_gateway.domain.decision import Reason, Verdict
from aegis_gateway.domain.errors import NotPermitted
from tests.houses import PEPPER
from tests.ledgers import TurnableClock, admission, budget, create_tenants, quote, sqlite_database

WITHIN_NS, VALID_NS, TICK_NS = 40, 25, 10
LIMIT = 10_000
ASKS = Verdict(
    effect="allow",
    reasons=(Reason(code="permitted", subject="p", message="p"),),
    asks=(Reason(code="approval_required", subject="big", message="big"),),
)
FINGERPRINTS = ("f0", "f1")
Step = tuple[Literal["call", "grant", "refuse", "tick", "sweep"], int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(("call", "call", "call", "grant", "grant", "refuse", "tick", "sweep")),
        st.integers(0, 1),
        st.integers(1, 3),
    ),
    min_size=15,
    max_size=40,
)


class Desk:
    """A ledger, somebody who answers, and what is to be true of both."""

    def __init__(self, store: Store, clock: TurnableClock) -> None:
        self.store, self.clock = store, clock
        self.ledger = Ledger(store)
        self.passed: list[tuple[str, str, int, int]] = []
        self.count = 0

    def step(self, step: Step) -> None:
        """Do something."""
        kind, which, much = step
        if kind == "call":
            self.call(FINGERPRINTS[which], much)
        elif kind == "tick":
            self.clock.turn(much * TICK_NS)
        elif kind == "sweep":
            let_time_pass(self.store)
        else:
            waiting = [each for each in self.all() if each.fingerprint == FINGERPRINTS[which]]
            if waiting:
                approvals = Approvals(self.store, PEPPER, Caller(local_name="root"))
                with suppress(NotPermitted):  # too late, which is one of the things that happen
                    approvals.answer("acme", waiting[-1].id, kind)

    def call(self, fingerprint: str, cost: int) -> None:
        """Ask for a call."""
        self.count += 1
        route = Route(within_ns=WITHIN_NS, valid_for_ns=VALID_NS)
        command = admission(
            f"call_{self.count}", verdict=ASKS, quoted=quote(cost), budgets=(budget(limit=LIMIT),)
        )
        claim = ApprovalClaim(fingerprint=fingerprint, route=route)
        (reply,) = self.ledger.process([msgspec.structs.replace(command, approval=claim)])
        assert isinstance(reply, Admitted)
        if reply.effect == "allow":
            self.passed.append((reply.call, fingerprint, cost, self.clock.now_ns()))

    def all(self) -> list[Approval]:
        """All requests, the oldest first."""
        return list(reversed(ApprovalReports(self.store.rows).approvals("acme", 1_000)))

    def check(self) -> None:
        """What is true whatever happened."""
        found = self.all()
        used = {each.used_by: each for each in found if each.state == "used"}
        assert {call for call, *_ in self.passed} == set(used)
        for call, fingerprint, cost, at_ns in self.passed:
            approval = used[call]
            assert approval.fingerprint == fingerprint
            assert approval.maximum_nano_usd is not None
            assert approval.valid_until_ns is not None
            assert cost <= approval.maximum_nano_usd
            assert at_ns < approval.valid_until_ns <= approval.deadline_ns + VALID_NS
            assert ["grant"] == [answer.kind for answer in approval.answers]
        for fingerprint in FINGERPRINTS:
            still = [each for each in found if each.fingerprint == fingerprint and each.due_ns is not None]
            assert len(still) <= 1
        (row,) = self.store.query("select coalesce(sum(pending), 0) as pending from standing")
        assert sum(cost for _, _, cost, _ in self.passed) == row["pending"]


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_a_grant_lets_one_call_through(steps: list[Step]) -> None:
    """Each call that passed used up a grant: its own, in time, of at least its cost; nothing else is held."""
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        database = stack.enter_context(sqlite_database(Path(directory)))
        clock = TurnableClock()
        store = database.open(clock)
        create_tenants(store, "acme")
        desk = Desk(store, clock)
        for step in steps:
            desk.step(step)
            desk.check()
