"""Approvals: the table of their states, who may answer, when it is enough, and when time has come."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from aegis_gateway.domain.approval import (
    OPEN_STATES,
    TRANSITIONS,
    Approval,
    ApprovalAnswer,
    ApprovalEvent,
    ApprovalState,
    Asking,
    approval_id,
    granted,
    is_granted,
    refusal_to_answer,
    transition,
    waiting,
)
from aegis_gateway.domain.approval_route import APPROVERS, Escalation, Group, Route, Want, joined
from aegis_gateway.domain.errors import IllegalTransition
from aegis_gateway.domain.people import Grant, Person

FINANCE = Group(name="finance", people=("ana", "ben"))
SECURITY = Group(name="security", people=("sam",))
CFO = Group(name="cfo", people=("cy",))
ASKING = Asking(
    tenant="acme",
    kind="call",
    requester="bot",
    about="payments.pay",
    behind=("owner@example.com",),
    fingerprint="f1",
    policy_version="p1",
    policies=("big", "new"),
    maximum_nano_usd=100,
)


def person(name: str, *grants: Grant, suspended_ns: int | None = None) -> Person:
    """Somebody with roles."""
    return Person(id=name, name=name, added_ns=1, grants=grants, suspended_ns=suspended_ns)


def made(route: Route = Route(), now_ns: int = 0) -> Approval:  # noqa: B008 - a frozen value
    """A request that waits."""
    return waiting(msgspec.structs.replace(ASKING, route=route), 7, now_ns)


def said(approval: Approval, by: str, *meets: int) -> Approval:
    """The request with somebody's yes."""
    answer = ApprovalAnswer(kind="grant", by=by, behind=(by,), at_ns=1, meets=meets or (0,))
    return msgspec.structs.replace(approval, answers=(*approval.answers, answer))


def test_the_table_is_whole() -> None:
    """Every event leads somewhere, and what is over stays over."""
    assert set(get_args(ApprovalEvent)) == {event for _, event in TRANSITIONS}
    for state in get_args(ApprovalState):
        leads = {event for start, event in TRANSITIONS if start == state}
        assert (state in OPEN_STATES) == bool(leads)
        for event in get_args(ApprovalEvent):
            if event not in leads:
                with pytest.raises(IllegalTransition):
                    transition(state, event)


def test_ids_are_of_places() -> None:
    """Each place of each tenant's record has its own."""
    assert approval_id("acme", 7) == made().id
    assert 3 == len({approval_id("acme", 7), approval_id("acme", 8), approval_id("zeta", 7)})


def test_who_may_answer() -> None:
    """Not who asked, nobody behind it, nobody who isn't asked, nobody twice."""
    approval = made()
    assert "" == refusal_to_answer(approval, "ana", ("ana",), (0,))
    assert "own request" in refusal_to_answer(approval, "bot", ("bot",), (0,))
    assert "stands behind" in refusal_to_answer(approval, "owner@example.com", ("owner@example.com",), (0,))
    assert "stands behind" in refusal_to_answer(approval, "ana", ("ana", "owner@example.com"), (0,))
    assert "not among those" in refusal_to_answer(approval, "vi", ("vi",), ())
    answered = said(approval, "ana")
    assert "`ana` has answered" in refusal_to_answer(answered, "ana", ("ana",), (0,))
    assert "may be `ana`'s" in refusal_to_answer(answered, "ghost", ("ana", "ghost"), (0,))
    assert "" == refusal_to_answer(answered, "ben", ("ben",), (0,))


def test_groups() -> None:
    """People by id, or who holds the role now, there or everywhere; nobody who is suspended."""
    admin = Grant(role="admin", tenant="*")
    assert FINANCE.has(person("ana"), "acme")
    assert not FINANCE.has(person("cy", admin), "acme")
    assert not FINANCE.has(person("ana", suspended_ns=1), "acme")
    assert APPROVERS.has(person("x", Grant(role="approver", tenant="acme")), "acme")
    assert not APPROVERS.has(person("x", Grant(role="approver", tenant="zeta")), "acme")
    assert APPROVERS.has(person("x", admin), "acme")
    finops = Group(name="finops", role="finops")
    assert finops.has(person("x", Grant(role="finops", tenant="*")), "acme")
    assert not finops.has(person("x", Grant(role="approver", tenant="acme")), "acme")


def test_enough_people() -> None:
    """Each want by itself, with as many as it needs, of whom none is suspended by now."""
    route = Route(wants=(Want(groups=(FINANCE,), needs=2), Want(groups=(SECURITY,))))
    one = said(made(route), "ana")
    two = said(one, "ben")
    all_of_them = said(two, "sam", 1)
    assert [False, False, True] == [is_granted(each, ()) for each in (one, two, all_of_them)]
    assert not is_granted(all_of_them, {"ben"})
    assert ((0,), (1,), ()) == tuple(route.met_by(person(name), "acme", 0) for name in ("ana", "sam", "cy"))
    assert (0, 1) == route.met_by(None, "acme", 0)


def test_escalation() -> None:
    """Once, before the deadline; then others may stand in for all who were asked."""
    route = Route(
        wants=(Want(groups=(FINANCE,)), Want(groups=(SECURITY,))),
        within_ns=100,
        escalation=Escalation(after_ns=30, groups=(CFO,)),
    )
    approval = made(route, now_ns=1_000)
    assert [None, "escalate", "expire"] == [approval.due(at) for at in (1_029, 1_030, 1_100)]
    later = msgspec.structs.replace(approval, level=1)
    assert [None, "expire"] == [later.due(at) for at in (1_099, 1_100)]
    assert ((), (0, 1)) == (route.met_by(person("cy"), "acme", 0), route.met_by(person("cy"), "acme", 1))
    assert (FINANCE, SECURITY) == route.asked(0)
    assert (FINANCE, SECURITY, CFO) == route.asked(1)


def test_a_grant_lasts_for_its_time() -> None:
    """From when it was given; what is over is due for nothing."""
    yes = granted(said(made(Route(valid_for_ns=50)), "ana"), 1_000)
    assert ("granted", 1_050) == (yes.state, yes.due_ns)
    assert [None, "lapse"] == [yes.due(at) for at in (1_049, 1_050)]
    assert yes.after("use").due_ns is None


@pytest.mark.parametrize(
    ("changed", "is_covered"),
    [
        ({}, True),
        ({"maximum_nano_usd": 99}, True),
        ({"maximum_nano_usd": 101}, False),
        ({"maximum_nano_usd": None}, False),
        ({"policies": ("big",)}, True),
        ({"policies": ("big", "other")}, False),
        ({"policy_version": "p2"}, False),
        ({"fingerprint": "f2"}, False),
    ],
)
def test_what_a_request_covers(changed: dict[str, object], is_covered: bool) -> None:
    """The same call under the same policies, at no more than was shown."""
    assert is_covered == made().covers(msgspec.structs.replace(ASKING, **changed))


def test_joined_routes() -> None:
    """Every want of each, the shortest times, and all who are asked later."""
    one = Route(wants=(Want(groups=(FINANCE,)),), within_ns=10, valid_for_ns=7)
    other = Route(
        wants=(Want(groups=(SECURITY,)), Want(groups=(FINANCE,))),
        within_ns=20,
        valid_for_ns=5,
        escalation=Escalation(after_ns=3, groups=(CFO,)),
    )
    assert Route(
        wants=(Want(groups=(FINANCE,)), Want(groups=(SECURITY,))),
        within_ns=10,
        valid_for_ns=5,
        escalation=Escalation(after_ns=3, groups=(CFO,)),
    ) == joined((one, other))
    assert Route() == joined(())
