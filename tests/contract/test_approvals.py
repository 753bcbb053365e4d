"""Requests for a person's word, on every store: made, answered, escalated, over; and who would answer and may not."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import apsw
import msgspec
import psycopg
import pytest

from aegis_gateway.adapters.approval_rows import ApprovalReports
from aegis_gateway.application.approval_requests import request
from aegis_gateway.application.approvals import Approvals, Hindrance, Outcomes, due, let_time_pass
from aegis_gateway.application.operators import Caller
from aegis_gateway.application.ports import RegistryChange, Store
from aegis_gateway.application.recording import RegistryRecording
from aegis_gateway.domain.approval import AnswerKind, Approval, Asking
from aegis_gateway.domain.approval_route import Escalation, Group, Route, Want
from aegis_gateway.domain.errors import AegisError, ConfigurationError
from tests.houses import ADMIN, PEPPER, House, grant, refused
from tests.ledgers import HOUR_NS, NOON_NS, SECOND_NS, Database, TurnableClock

FINANCE = Group(name="finance", people=("ben", "cy"))
ASKING = Asking(
    tenant="acme",
    kind="call",
    requester="bot",
    about="payments.pay",
    behind=("ana",),
    fingerprint="f1",
    policy_version="p1",
    policies=("big",),
    maximum_nano_usd=100,
    facts={"arguments": {"amount": "5000.01"}},
)


class Desk(House):
    """A house with approvers: ana (admin, and the agent's owner), ben and cy; vi may only look."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.add("ana", ADMIN, by="")
        for name in ("ben", "cy", "dee"):
            self.add_apart(name, grant("approver"))
        self.add_apart("vi", grant("viewer"))
        self.outcomes: Outcomes = {}

    def ask(self, route: Route = Route(), group_after: int | None = None, **more: object) -> Approval:  # noqa: B008 - a frozen value
        """Make a request."""
        asking = msgspec.structs.replace(ASKING, route=route, **more)
        with self.store.change(["acme"]) as change:
            alike = change.open_approvals("acme", asking.requester, 100)
            return request(RegistryRecording(change, "aegis"), asking, alike, group_after)

    def approvals(self, who: str, store: Store | None = None) -> Approvals:
        """What somebody does about requests."""
        return Approvals(store or self.store, PEPPER, self.caller(who), self.outcomes)

    def now(self, approval: Approval) -> Approval:
        """A request as it stands."""
        found = ApprovalReports(self.store.rows).approval("acme", approval.id)
        assert found is not None
        return found

    def acts(self) -> list[object]:
        """What the record says of approvals."""
        return [entry["act"] for entry in self.entries(kind="approval")]

    def notices(self) -> list[object]:
        """Of what people are told."""
        return [row["kind"] for row in self.store.query("select kind from notice order by sequence")]


@pytest.fixture
def desk(store: Store) -> Desk:
    """On which nothing lies yet."""
    return Desk(store)


def test_a_request_and_a_grant(desk: Desk, reader: Store) -> None:
    """It waits, is found by its call, and once granted says who did so, why and until when it may be used."""
    asked = desk.ask()
    with desk.store.lock(["acme"]) as locked:
        assert {("acme", "f1"): asked} == locked.latest_approvals(
            [("acme", "f1"), ("acme", "f2"), ("zeta", "f1")]
        )
    epochs = desk.store.epochs()
    desk.approvals("ben").grant("acme", asked.id, "known vendor")
    found = ApprovalReports(reader.rows).approval("acme", asked.id)
    assert found is not None
    (answer,) = found.answers
    assert ("granted", NOON_NS + HOUR_NS) == (found.state, found.valid_until_ns)
    assert ("ben", "known vendor", "cli") == (answer.by, answer.reason, answer.via)
    assert epochs == desk.store.epochs()
    assert ["request", "grant"] == desk.acts()
    assert ["approval_requested", "approval_decided"] == desk.notices()
    entry = desk.entries(kind="approval")[1]
    assert ("ben", "known vendor", asked.id) == (entry["actor"], entry["reason"], entry["approval"])


def test_a_refusal_ends_it(desk: Desk) -> None:
    """One is enough, whoever has agreed before; nothing is answered after it."""
    asked = desk.ask(Route(wants=(Want(needs=2),)))
    desk.approvals("ben").grant("acme", asked.id)
    desk.approvals("cy").refuse("acme", asked.id, "not this vendor")
    assert "refused" == desk.now(asked).state
    assert "is refused by `cy`" in refused(lambda: desk.approvals("dee").grant("acme", asked.id))
    assert ["request", "grant", "refuse", "not_taken"] == desk.acts()


def test_a_second_click(desk: Desk) -> None:
    """Changes nothing and is no fault; another answer of the same person is not taken."""
    asked = desk.ask(Route(wants=(Want(needs=2),)))
    for _ in range(2):
        assert "waiting" == desk.approvals("ben").grant("acme", asked.id).state
    assert "has answered" in refused(lambda: desk.approvals("ben").refuse("acme", asked.id, "no"))
    for _ in range(2):
        assert "granted" == desk.approvals("cy").grant("acme", asked.id).state
    assert ["request", "grant", "not_taken", "grant"] == desk.acts()


def test_who_may_not_answer(desk: Desk) -> None:
    """Its owner, who doesn't hold the role, who is not named, who is suspended; each is refused and recorded."""
    asked, of_finance = desk.ask(), desk.ask(Route(wants=(Want(groups=(FINANCE,)),)), fingerprint="f2")
    assert "stands behind" in refused(lambda: desk.approvals("ana").grant("acme", asked.id))
    assert "not among those" in refused(lambda: desk.approvals("vi").grant("acme", asked.id))
    assert "not among those" in refused(lambda: desk.approvals("dee").grant("acme", of_finance.id))
    assert ["request", "request", "not_taken", "not_taken", "not_taken"] == desk.acts()
    desk.people("ana").suspend("ben")
    assert "is suspended" in refused(lambda: desk.approvals("ben").grant("acme", asked.id))
    assert "needs the token" in refused(lambda: desk.approvals("").grant("acme", asked.id))
    with pytest.raises(ConfigurationError, match="no approval `apr_none`"):
        desk.approvals("cy").grant("acme", "apr_none")
    with pytest.raises(ConfigurationError, match="no approval"):
        desk.approvals("cy").grant("zeta", asked.id)
    assert "waiting" == desk.now(asked).state


def test_a_persons_own_request(desk: Desk) -> None:
    """Is not answered by them, nor by a token that somebody behind it has seen."""
    asked = desk.ask(kind="increase", requester="cy", behind=("ana", "cy"), about="budget:day")
    assert "own request" in refused(lambda: desk.approvals("cy").grant("acme", asked.id))
    desk.add("ghost", grant("approver"))
    assert "`ana` stands behind" in refused(lambda: desk.approvals("ghost").grant("acme", asked.id))
    desk.approvals("ben").grant("acme", asked.id)


def test_whoever_a_door_identified(desk: Desk) -> None:
    """May what they may, and nothing more; the record says by which way they came."""
    asked = desk.ask()

    def by(person: str) -> Approvals:
        caller = Caller(local_name="door", person=person, via="slack")
        return Approvals(desk.store, PEPPER, caller)

    desk.people("ana").suspend("dee")
    assert "no person `mal`" in refused(lambda: by("mal").grant("acme", asked.id))
    assert "`dee` is suspended" in refused(lambda: by("dee").refuse("acme", asked.id, "no"))
    assert "not among those" in refused(lambda: by("vi").grant("acme", asked.id))
    assert [("not_taken", "mal", "grant"), ("not_taken", "dee", "refuse"), ("not_taken", "vi", "grant")] == [
        (entry["act"], entry["actor"], entry["answer"])
        for entry in desk.entries(kind="approval")
        if entry["act"] != "request"
    ]
    assert "no person `mal`" in refused(lambda: by("mal").grant("none", asked.id))
    by("ben").grant("acme", asked.id, "seen")
    (answer,) = desk.now(asked).answers
    assert ("ben", ("ben",), "slack") == (answer.by, answer.behind, answer.via)


def test_time_passes(desk: Desk, clock: TurnableClock) -> None:
    """Others are asked, then it is over; a grant that nobody used lapses. Nothing of it happens twice."""
    route = Route(
        wants=(Want(groups=(FINANCE,)),),
        escalation=Escalation(after_ns=HOUR_NS, groups=(Group(name="chief", people=("dee",)),)),
    )
    asked, other = desk.ask(route), desk.ask(route, fingerprint="f2")
    assert "not among those" in refused(lambda: desk.approvals("dee").grant("acme", asked.id))
    assert 0 == let_time_pass(desk.store)
    clock.turn(HOUR_NS)
    assert {("acme", asked.id), ("acme", other.id)} == set(due(desk.store, clock.now_ns()))
    assert (2, 0) == (let_time_pass(desk.store), let_time_pass(desk.store))
    assert (1, "waiting") == (desk.now(asked).level, desk.now(asked).state)
    assert "granted" == desk.approvals("dee").grant("acme", asked.id).state
    clock.turn(HOUR_NS)
    assert (1, 0) == (let_time_pass(desk.store), let_time_pass(desk.store))
    clock.turn(2 * HOUR_NS)
    assert "is expired" in refused(lambda: desk.approvals("ben").grant("acme", other.id))
    assert ("lapsed", "expired") == (desk.now(asked).state, desk.now(other).state)
    assert [] == due(desk.store, clock.now_ns())
    assert ["escalate", "escalate", "grant", "lapse", "expire", "not_taken"] == desk.acts()[3:]
    assert {"approval_requested", "approval_escalated", "approval_decided", "approval_expired"} == set(
        desk.notices()
    )


def test_many_of_a_kind_are_told_together(desk: Desk) -> None:
    """From the fourth on under one notice, and one answer may be for those of them that were seen, and no others."""
    asked = [desk.ask(fingerprint=f"f{number}", group_after=3) for number in range(7)]
    leader = asked[3].id
    assert ["", "", "", leader, leader, leader, leader] == [each.group for each in asked]
    assert ["approval_requested"] * 4 == desk.notices()
    seen = [each.id for each in asked[:6]]
    desk.approvals("ben").grant("acme", asked[4].id, others=seen)
    assert ["waiting"] * 3 + ["granted"] * 3 + ["waiting"] == [desk.now(each).state for each in asked]


def test_what_a_grant_puts_in_force(desk: Desk) -> None:
    """Of a kind other than a call, in the same transaction; what can't be isn't granted, or ends it."""
    seen: list[tuple[str, str]] = []

    def put(change: RegistryChange, recording: RegistryRecording, approval: Approval) -> Hindrance | None:
        seen.append((approval.id, approval.state))
        if approval.terms == {"more": 5}:
            return None
        return Hindrance(because="there is no such budget any more", ends=approval.about == "gone")

    desk.outcomes = {"increase": put}
    good = desk.ask(kind="increase", requester="bot", terms={"more": 5}, fingerprint="")
    bad = desk.ask(kind="increase", requester="bot", fingerprint="")
    gone = desk.ask(kind="increase", requester="bot", fingerprint="", about="gone")
    assert "used" == desk.approvals("ben").grant("acme", good.id).state
    for hindered in (bad, gone):
        assert "no such budget" in refused(lambda of=hindered: desk.approvals("ben").grant("acme", of.id))  # type: ignore[misc]
    assert ["used", "waiting", "withdrawn"] == [desk.now(each).state for each in (good, bad, gone)]
    assert () == desk.now(bad).answers
    assert [(each.id, "granted") for each in (good, bad, gone)] == seen
    assert ["request"] * 3 + ["grant", "use", "not_taken", "not_taken", "withdraw"] == desk.acts()


def test_answers_and_ends_are_never_changed(desk: Desk, database: Database) -> None:
    """The database refuses to change an answer, to forget a request, and to take up one that is over."""
    asked = desk.ask()
    desk.approvals("ben").refuse("acme", asked.id, "no")
    for sql in (
        "update approval_answer set document = ''",
        "delete from approval_answer",
        "delete from approval",
        "update approval set state = 'granted'",
    ):
        with pytest.raises((apsw.Error, psycopg.Error), match="append-only"):
            database.execute(sql)


def test_a_grant_and_a_refusal_at_once(desk: Desk, database: Database, clock: TurnableClock) -> None:
    """One of them counts; whoever comes second is told what the first said."""
    asked = desk.ask()
    stores = {who: database.open(clock, keep=False) for who in ("ben", "cy")}
    outcomes: dict[str, str] = {}
    together = threading.Barrier(2)

    def answer(who: str) -> None:
        together.wait()
        try:
            kind: AnswerKind = "grant" if who == "ben" else "refuse"
            outcomes[who] = desk.approvals(who, stores[who]).answer("acme", asked.id, kind).state
        except AegisError as fault:
            outcomes[who] = str(fault)

    threads: Sequence[threading.Thread] = [threading.Thread(target=answer, args=(who,)) for who in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = desk.now(asked)
    assert 1 == len(found.answers)
    first = found.answers[0].by
    second = "cy" if first == "ben" else "ben"
    assert found.state == outcomes[first]
    assert f"is {found.state} by `{first}`" in outcomes[second]


def test_a_grant_lasts_no_longer_than_its_route_says(desk: Desk, clock: TurnableClock) -> None:
    """Its time begins when it is given, not when it was asked for."""
    asked = desk.ask(Route(valid_for_ns=5 * SECOND_NS))
    clock.turn(HOUR_NS)
    assert NOON_NS + HOUR_NS + 5 * SECOND_NS == desk.approvals("ben").grant("acme", asked.id).valid_until_ns
