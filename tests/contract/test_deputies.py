"""Who answers in whose stead while people are away, on every store: once, in time, and nothing that they may not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from aegis_gateway.adapters.approval_rows import ApprovalReports
from aegis_gateway.adapters.attendance import may_be_away, read_attendance
from aegis_gateway.application.absences import Absences, Recorded
from aegis_gateway.application.approvals import UNATTENDED, escalate_unattended
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.approval import Approval
from aegis_gateway.domain.approval_route import APPROVERS, Escalation, Group, Route, Want
from aegis_gateway.domain.deputies import is_unattended, missing
from aegis_gateway.domain.errors import ConfigurationError
from tests.contract.test_approvals import FINANCE, Desk
from tests.houses import PEPPER, grant, refused
from tests.ledgers import HOUR_NS, NOON_NS, TurnableClock

BEN = Group(name="lead", people=("ben",))
CHIEF = Group(name="chief", people=("cy",))


class Office(Desk):
    """A desk whose people go away."""

    def absences(self, who: str) -> Absences:
        """What somebody says of who is away."""
        return Absences(self.store, PEPPER, self.caller(who))

    def away(self, person: str, deputy: str | None = None, hours: int = 1, by: str = "") -> Recorded:
        """Record that somebody is away from now on; they do so themselves, unless somebody else does."""
        until_ns = self.store.clock_ns() + hours * HOUR_NS
        return self.absences(by or person).away(person, None, until_ns, deputy, "a holiday")

    def unattended(self, approval: Approval) -> bool:
        """Whether those who are there can't grant it."""
        return is_unattended(self.now(approval), read_attendance(self.store, self.store.clock_ns()))

    def sweep(self) -> None:
        """What the steward does each second."""
        waiting = ApprovalReports(self.store.rows).may_escalate(100)
        escalate_unattended(self.store, waiting)


@pytest.fixture
def office(store: Store) -> Office:
    """Where everybody is there."""
    return Office(store)


def test_a_deputy_answers_in_their_own_name(office: Office) -> None:
    """While the other is away; answer, entry and notice say in whose stead."""
    asked = office.ask(Route(wants=(Want(groups=(BEN,)),)))
    assert "not among those" in refused(lambda: office.approvals("dee").grant("acme", asked.id))
    office.away("ben", "dee")
    office.approvals("dee").grant("acme", asked.id, "as agreed")
    (answer,) = office.now(asked).answers
    assert ("granted", "dee", ("ben",)) == (office.now(asked).state, answer.by, answer.in_stead_of)
    entry = office.entries(kind="approval")[-1]
    assert ("dee", "grant", ["ben"]) == (entry["actor"], entry["act"], entry["in_stead_of"])
    (away,) = [entry for entry in office.entries() if entry["act"] == "away"]
    assert ("ben", "ben", "dee", "a holiday") == tuple(
        away[name] for name in ("actor", "person", "deputy", "reason")
    )


@pytest.mark.parametrize(("before_ns", "counts"), [(1, True), (0, False)])
def test_it_ends_to_the_nanosecond(
    office: Office, clock: TurnableClock, before_ns: int, counts: bool
) -> None:
    """At the instant at which an absence ends the deputy is nobody's any more."""
    asked = office.ask(Route(wants=(Want(groups=(BEN,)),)))
    office.away("ben", "dee")
    assert may_be_away(office.store, clock.now_ns())
    clock.turn(HOUR_NS - before_ns)
    assert counts == may_be_away(office.store, clock.now_ns())
    if counts:
        assert "granted" == office.approvals("dee").grant("acme", asked.id).state
    else:
        assert "not among those" in refused(lambda: office.approvals("dee").grant("acme", asked.id))


def test_whoever_is_back_answers_for_themselves(office: Office) -> None:
    """The deputy does so no more, from the transaction on in which that was said."""
    asked = office.ask(Route(wants=(Want(groups=(BEN,)),)))
    office.away("ben", "dee")
    office.absences("ben").back(None)
    assert "not among those" in refused(lambda: office.approvals("dee").grant("acme", asked.id))
    assert "granted" == office.approvals("ben").grant("acme", asked.id).state
    with pytest.raises(ConfigurationError, match="`ben` is not away"):
        office.absences("ben").back(None)


def test_a_deputy_of_two_speaks_once(office: Office) -> None:
    """Where two people have to agree, one who stands in for both is one."""
    asked = office.ask(Route(wants=(Want(groups=(FINANCE,), needs=2),)))
    office.away("ben", "dee")
    office.away("cy", "dee")
    assert "waiting" == office.approvals("dee").grant("acme", asked.id).state
    assert ("ben", "cy") == office.now(asked).answers[0].in_stead_of
    assert "waiting" == office.approvals("dee").grant("acme", asked.id).state
    assert "has answered" in refused(lambda: office.approvals("dee").refuse("acme", asked.id, "no"))
    office.absences("ben").back(None)
    assert "in the stead of `ben` already" in refused(lambda: office.approvals("ben").grant("acme", asked.id))
    assert "waiting" == office.now(asked).state


def test_nobodys_word_is_given_twice(office: Office) -> None:
    """Who has answered and goes away then has no deputy for it."""
    asked = office.ask(Route(wants=(Want(groups=(FINANCE,), needs=2),)))
    office.approvals("ben").grant("acme", asked.id)
    office.away("ben", "dee")
    assert "was given already" in refused(lambda: office.approvals("dee").grant("acme", asked.id))
    assert "granted" == office.approvals("cy").grant("acme", asked.id).state


def test_who_is_asked_besides_is_one_of_two(office: Office) -> None:
    """Somebody who is asked themselves answers for themselves, and another's stead adds nothing to that."""
    asked = office.ask(Route(wants=(Want(needs=2),)))
    office.away("ben", "dee")
    assert "waiting" == office.approvals("dee").grant("acme", asked.id).state
    assert () == office.now(asked).answers[0].in_stead_of
    assert "granted" == office.approvals("cy").grant("acme", asked.id).state


@pytest.mark.parametrize(
    ("people", "steps", "says"),
    [
        (("ana",), (("ana", "dee", "ana"),), "`ana` stands behind"),  # the owner's own deputy
        (("ben",), (("ben", "dee", "ana"),), "`ana` stands behind"),  # whom the owner has named
        (
            ("ben",),
            (("ben", "ana", "ben"), ("ana", "dee", "ana")),
            "`ana` stands behind",
        ),  # the owner between
        (("ben",), (("ben", "ana", "ben"),), "stands behind"),  # the owner as somebody's deputy
    ],
)
def test_never_whoever_wants_it_by_way_of_a_deputy(
    office: Office, people: tuple[str, ...], steps: tuple[tuple[str, str, str], ...], says: str
) -> None:
    """Neither in the owner's stead, nor as the owner's choice, nor the owner in another's."""
    asked = office.ask(Route(wants=(Want(groups=(Group(name="lead", people=people),)),)))
    for person, deputy, by in steps:
        office.away(person, deputy, by=by)
    who = "dee" if steps[-1][1] == "dee" else "ana"
    assert says in refused(lambda: office.approvals(who).grant("acme", asked.id))
    assert office.unattended(asked)
    (gone,) = missing(asked, read_attendance(office.store, NOON_NS))
    assert (people[0], None) == (gone.person, gone.deputy)


def test_the_requester_as_a_deputy(office: Office) -> None:
    """Doesn't answer their own request in another's stead."""
    asked = office.ask(
        Route(wants=(Want(groups=(BEN,)),)), kind="increase", requester="dee", behind=("dee",), about="day"
    )
    office.away("ben", "dee")
    assert "own request" in refused(lambda: office.approvals("dee").grant("acme", asked.id))


def test_a_deputys_deputy(office: Office) -> None:
    """Answers where the deputy is away as well; whoever may not approve any more doesn't."""
    asked = office.ask(Route(wants=(Want(groups=(BEN,)),)))
    office.away("ben", "cy")
    office.away("cy", "dee")
    assert "not among those" in refused(lambda: office.approvals("vi").grant("acme", asked.id))
    office.people("ana").withdraw("dee", grant("approver"))
    assert "who may approve" in refused(lambda: office.approvals("dee").grant("acme", asked.id))
    office.people("ana").grant("dee", grant("approver"))
    assert "granted" == office.approvals("dee").grant("acme", asked.id).state


def test_a_suspended_one_has_no_deputy(office: Office) -> None:
    """And what was said in their stead counts no more."""
    asked = office.ask(Route(wants=(Want(groups=(FINANCE,), needs=2),)))
    office.away("ben", "dee")
    office.approvals("dee").grant("acme", asked.id)
    office.people("ana").suspend("ben")
    assert "waiting" == office.approvals("cy").grant("acme", asked.id).state


def told(act: Callable[[], object]) -> str:
    """What is said of something that can't be recorded."""
    with pytest.raises(ConfigurationError) as fault:
        act()
    return str(fault.value)


def test_what_is_not_recorded(office: Office) -> None:
    """A deputy who may not approve, or leads back; an absence that is over; somebody else's, but by an admin."""
    now_ns = office.store.clock_ns()
    assert "may not approve" in told(lambda: office.away("ben", "vi"))
    assert "their own deputy" in told(lambda: office.away("ben", "ben"))
    assert "no person `nobody`" in told(lambda: office.away("ben", "nobody"))
    assert "over already" in told(lambda: office.absences("ben").away(None, None, now_ns, None, ""))
    office.away("ben", "cy")
    assert "name somebody who is there" in told(lambda: office.away("cy", "ben"))
    assert "may not" in refused(lambda: office.away("ben", "dee", by="cy"))
    assert "needs the token" in refused(lambda: office.absences("").away("ben", None, now_ns + 1, None, ""))
    office.away("cy", "dee", by="ana")
    assert 2 == len([entry for entry in office.entries() if entry["act"] == "away"])


def test_others_are_asked_at_once(office: Office) -> None:
    """Where all who are asked are away and nobody stands in for them, once; not while a deputy does."""
    route = Route(wants=(Want(groups=(BEN,)),), escalation=Escalation(after_ns=3 * HOUR_NS, groups=(CHIEF,)))
    asked = office.ask(route)
    office.away("ben", "dee")
    office.sweep()
    assert (0, False) == (office.now(asked).level, office.unattended(asked))
    office.away("ben")
    assert office.unattended(asked)
    for _ in range(2):
        office.sweep()
    assert (1, False) == (office.now(asked).level, office.unattended(asked))
    entries = [entry for entry in office.entries(kind="approval") if entry["act"] == "escalate"]
    assert [UNATTENDED] == [entry["reason"] for entry in entries]
    assert ["approval_requested", "approval_escalated"] == office.notices()
    assert "granted" == office.approvals("cy").grant("acme", asked.id).state


def test_too_few_are_there(office: Office) -> None:
    """A request that wants two is unattended when one is left; one without escalation stays as it is, and says so."""
    asked = office.ask(Route(wants=(Want(groups=(FINANCE,), needs=2),)))
    assert not office.unattended(asked)
    office.away("cy", hours=2)
    assert office.unattended(asked)
    (gone,) = missing(asked, read_attendance(office.store, NOON_NS))
    assert "nobody for cy, who is away until 2026-" in str(gone)
    office.sweep()
    assert 0 == office.now(asked).level
    everybody = office.ask(Route(wants=(Want(groups=(APPROVERS,)),)), fingerprint="f2")
    assert not office.unattended(everybody)
