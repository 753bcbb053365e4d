"""Changes that want a second person, on every store; and how one person might try to be two."""

from __future__ import annotations

import threading

import apsw
import msgspec
import psycopg
import pytest

from aegis_gateway.adapters.reports import Reports
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.config_version import ConfigVersion
from aegis_gateway.domain.errors import AegisError, ConfigurationError
from aegis_gateway.domain.proposal import Proposal
from aegis_gateway.domain.registry import Agent
from aegis_gateway.domain.risk import Appraisal, Finding, Risk
from tests.houses import ADMIN, House, grant, refused
from tests.ledgers import Database, TurnableClock

AGENT = Agent(
    id="bot",
    owner="ann",
    team="desk",
    cost_centre="CC-1",
    purpose="asks",
    environment="production",
    budget="day",
    external_id="ext-1",
)
OLD, NEW, OTHER = ({"aegis.yaml": text} for text in ("old", "new", "other"))
TENANTS = ("acme", "zeta")


class Bank(House):
    """A house in which acme wants two people: ana, an admin; fin, who may propose; ben and cy, who may approve."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.add("ana", ADMIN, by="")
        self.add_apart("fin", grant("finops"), grant("finops", "zeta"))
        self.add_apart("ben", grant("approver"))
        self.add_apart("cy", grant("approver"))
        self.apply("ana", OLD, *TENANTS)
        self.has_four_eyes = True

    def appraisal(self, *, widens: bool = True, tenant: str = "acme") -> Appraisal:
        """What a change is."""
        finding = Finding(
            tenant=tenant,
            what="budget day",
            direction="widening" if widens else "narrowing",
            reason="limit is another",
        )
        return Appraisal(based_on=self.version(), risk=Risk(findings=(finding,)), four_eyes=("acme",))

    def propose(self, who: str = "fin", files: dict[str, str] = NEW) -> int:
        """Try to widen; the proposal that is made of it."""
        made = self.administration(who).apply(files, TENANTS, appraisal=self.appraisal(), note="more")
        assert isinstance(made, Proposal)
        return made.number

    def approve(self, number: int, who: str = "ben", files: dict[str, str] = NEW) -> ConfigVersion:
        """Approve a proposal."""
        done = self.administration(who).apply(
            files, TENANTS, appraisal=self.appraisal(), note="seen", approves=number
        )
        assert isinstance(done, ConfigVersion)
        return done

    def state(self, number: int) -> str:
        """How far a proposal is."""
        found = Reports(self.store.query).proposal(number)
        assert found is not None
        return found.state


@pytest.fixture
def bank(store: Store) -> Bank:
    """In which configuration 1 is in force."""
    return Bank(store)


def test_what_widens_is_proposed_and_approved(bank: Bank, reader: Store) -> None:
    """Nothing changes until another person says so; then exactly that does, and both are named."""
    number = bank.propose()
    assert (1, 1, "open") == (number, bank.version(), bank.state(number))
    proposal = Reports(reader.query).proposal(number)
    assert proposal is not None
    assert (NEW, "fin", ("fin",), 1, ("acme",), "more") == (
        proposal.files,
        proposal.author,
        proposal.behind,
        proposal.based_on,
        proposal.tenants,
        proposal.note,
    )
    assert ("acme: budget day: limit is another",) == proposal.reasons
    done = bank.approve(number)
    assert (2, NEW, "fin", "ben", "more", "widening") == (
        done.version,
        done.files,
        done.applied_by,
        done.approved_by,
        done.note,
        done.risk,
    )
    assert (2, "approved") == (bank.version(), bank.state(number))
    proposed, approved = bank.entries(kind="proposal")
    assert ("fin", "propose", 1) == (proposed["actor"], proposed["act"], proposed["proposal"])
    assert ("ben", "approve", "fin", "seen") == (
        approved["actor"],
        approved["act"],
        approved["author"],
        approved["note"],
    )
    entry = bank.entries(kind="configuration")[-1]
    assert ("ben", "fin", 1) == (entry["actor"], entry["author"], entry["proposal"])
    assert proposed["files_sha256"] == approved["files_sha256"] == entry["files_sha256"]
    assert [] == bank.entries("zeta", kind="proposal")


def test_what_does_not_widen_or_not_there_goes_at_once(bank: Bank) -> None:
    """Only what widens, and only where two people are wanted."""
    for tenant, widens, files in (("acme", False, NEW), ("zeta", True, OTHER)):
        appraisal = bank.appraisal(widens=widens, tenant=tenant)
        done = bank.administration("fin").apply(files, TENANTS, appraisal=appraisal)
        assert isinstance(done, ConfigVersion)
        assert ("fin", "") == (done.applied_by, done.approved_by)


def test_the_same_is_not_proposed_twice(bank: Bank) -> None:
    """By the same person on the same version; anything else is another proposal."""
    assert 1 == bank.propose() == bank.propose()
    assert [2, 3] == [bank.propose("ana"), bank.propose(files=OTHER)]
    waiting = Reports(bank.store.query).proposals(10, only_waiting=True)
    assert [3, 2, 1] == [each.number for each in waiting]
    assert [{}, {}, {}] == [each.files for each in waiting]


def test_a_refusal(bank: Bank) -> None:
    """Is the end of it; a new one may be made."""
    number = bank.propose()
    answered = bank.proposals("cy").refuse(number, "not now")
    assert ("refused", "refused") == (answered.state, bank.state(number))
    assert "proposal 1 is refused by `cy`" in refused(lambda: bank.approve(number))
    assert "proposal 1 is refused" in refused(lambda: bank.proposals("ben").refuse(number, "again"))
    assert 2 == bank.propose()
    assert ["propose", "refuse", "propose"] == [entry["act"] for entry in bank.entries(kind="proposal")]


def test_another_version_in_between(bank: Bank) -> None:
    """What was proposed on one that is not in force any more has to be proposed anew."""
    first, second = bank.propose(), bank.propose(files=OTHER)
    bank.approve(second, files=OTHER)
    with pytest.raises(ConfigurationError, match="based on configuration 1, and 2 is in force"):
        bank.approve(first)
    assert "open" == bank.state(first)
    stale = bank.appraisal()
    bank.approve(bank.propose(), "cy")
    with pytest.raises(ConfigurationError, match="put in force meanwhile"):
        bank.administration("fin").apply(OLD, TENANTS, appraisal=stale)


def test_an_emergency(bank: Bank) -> None:
    """Goes at once, by an admin, and waits for another person to look at it."""
    apply = bank.administration("fin").apply
    told = refused(lambda: apply(NEW, TENANTS, appraisal=bank.appraisal(), is_emergency=True))
    assert "that needs the role admin" in told
    done = bank.administration("ana").apply(
        NEW, TENANTS, appraisal=bank.appraisal(), note="fire", is_emergency=True
    )
    assert isinstance(done, ConfigVersion)
    assert (2, "ana", "") == (done.version, done.applied_by, done.approved_by)
    (waiting,) = Reports(bank.store.query).proposals(10, only_waiting=True)
    assert ("unreviewed", 2, "fire") == (waiting.state, waiting.emergency, waiting.note)
    assert "is `ana`'s own" in refused(lambda: bank.proposals("ana").review(1, "fine"))
    assert "is unreviewed" in refused(lambda: bank.approve(1))
    assert "is unreviewed" in refused(lambda: bank.proposals("ben").refuse(1, "no"))
    assert "reviewed" == bank.proposals("ben").review(1, "it burned").state
    assert [] == Reports(bank.store.query).proposals(10, only_waiting=True)
    entry = bank.entries(kind="configuration")[-1]
    assert (True, 1, "ana") == (entry["emergency"], entry["proposal"], entry["actor"])
    assert [("ana", "emergency"), ("ben", "review")] == [
        (entry["actor"], entry["act"]) for entry in bank.entries(kind="proposal")
    ]


def test_an_emergency_where_there_is_none(bank: Bank) -> None:
    """What needs nobody else is just applied, by whoever may."""
    appraisal = bank.appraisal(widens=False)
    bank.administration("fin").apply(NEW, TENANTS, appraisal=appraisal, is_emergency=True)
    assert [] == Reports(bank.store.query).proposals(10, only_waiting=True)


def test_going_back_may_widen_too(bank: Bank) -> None:
    """It is proposed as such, and its author must have been allowed to."""
    made = bank.administration("fin").apply(NEW, TENANTS, appraisal=bank.appraisal(), back_to=1)
    assert isinstance(made, Proposal)
    assert 1 == made.manner.back_to
    done = bank.administration("ben").apply(
        NEW, TENANTS, appraisal=bank.appraisal(), back_to=made.manner.back_to, approves=made.number
    )
    assert isinstance(done, ConfigVersion)
    assert (1, "fin", "ben") == (done.back_to, done.applied_by, done.approved_by)


# -- one person who would be two ---------------------------------------------------------------------------


def test_its_own_author(bank: Bank) -> None:
    """With the same token, with another of their own, and after they were suspended and came back."""
    bank.has_four_eyes = False
    bank.add_apart("dee", ADMIN)
    number = bank.propose("dee")
    assert "is `dee`'s own" in refused(lambda: bank.approve(number, "dee"))
    assert "is `dee`'s own" in refused(lambda: bank.proposals("dee").refuse(number, "no"))
    bank.issue("dee", by="dee")
    assert "is `dee`'s own" in refused(lambda: bank.approve(number, "dee"))
    bank.people("ana").suspend("dee")
    bank.people("ana").resume("dee")
    assert "is `dee`'s own" in refused(lambda: bank.approve(number, "dee"))
    assert (1, "open") == (bank.version(), bank.state(number))


def test_somebody_whom_the_author_made_up(bank: Bank) -> None:
    """A token that its issuer saw is not another's word, nor is one that was got by it, however often."""
    number = bank.propose("ana")
    bank.add("ghost", grant("approver"))
    assert "a token of one of the two was seen" in refused(lambda: bank.approve(number, "ghost"))
    bank.issue("ghost", by="ghost")
    assert "a token of one of the two was seen" in refused(lambda: bank.approve(number, "ghost"))
    assert "a token of one of the two was seen" in refused(
        lambda: bank.proposals("ghost").refuse(number, "no")
    )
    bank.approve(number, "ben")


def test_somebody_whose_token_the_author_never_saw(bank: Bank) -> None:
    """Since two people are needed, whoever registers a token may have made up its person."""
    bank.add_apart("ghost", grant("approver"))
    number = bank.propose("ana")
    assert "a token of one of the two was seen" in refused(lambda: bank.approve(number, "ghost"))
    bank.proposals("ben").refuse(number, "who is that?")
    bank.approve(bank.propose(), "ghost")


def test_somebody_made_up_while_it_was_off(bank: Bank) -> None:
    """An emergency that sets four eyes aside brings nobody into being who could review it."""
    bank.administration("ana").apply(
        OTHER, TENANTS, appraisal=bank.appraisal(), note="fire", is_emergency=True
    )
    bank.has_four_eyes = False
    bank.add_apart("ghost", grant("approver"))
    assert "registered by the other" in refused(lambda: bank.proposals("ghost").review(1, "fine"))
    bank.issue("ghost", by="ghost")
    assert "registered by the other" in refused(lambda: bank.proposals("ghost").review(1, "fine"))
    bank.proposals("cy").review(1, "fine")


def test_four_eyes_from_the_very_beginning(store: Store) -> None:
    """The first person besides the first admin is taken for one; nobody after them is, though they be suspended."""
    house = House(store)
    house.has_four_eyes = True
    house.add("ana", ADMIN, by="")
    house.add_apart("ben", grant("approver"))
    house.people("ana").suspend("ben")
    house.add_apart("ghost", grant("approver"))
    behind = {token.person: token.behind for token in Reports(store.query).tokens()}
    assert {"ana": ("ana", "local"), "ben": ("ben",), "ghost": ("ana", "ghost", "local")} == behind


def test_agents_that_are_not_new(bank: Bank) -> None:
    """One person adds agents, and changes none that is there or has keys: that goes the way of all changes."""
    agents = bank.administration("fin")
    agents.save_agents("acme", [AGENT], four_eyes=True)
    agents.save_agents("acme", [AGENT], four_eyes=True)
    other = msgspec.structs.replace(AGENT, budget="year")
    told = refused(lambda: agents.save_agents("acme", [other], four_eyes=True))
    assert "agent `bot` is there already, and two people are needed to change it" in told
    assert "is there already" in refused(lambda: agents.adopt("acme", other, b"d", four_eyes=True))
    agents.issue_key("acme", "clerk")
    clerk = msgspec.structs.replace(AGENT, id="clerk", external_id=None)
    assert "is there already" in refused(lambda: agents.save_agents("acme", [clerk], four_eyes=True))
    assert (AGENT,) == bank.store.state().tenants["acme"].agents
    agents.save_agents("acme", [other], four_eyes=False)


def test_who_saw_the_authors_token(bank: Bank) -> None:
    """Neither may who handed out the author's token approve what is proposed with it; both may be one."""
    bank.add("puppet", grant("finops"), grant("finops", "zeta"))
    number = bank.propose("puppet")
    assert "registered by the other" in refused(lambda: bank.approve(number, "ana"))
    bank.add("other", grant("approver"))
    assert "or both by a third" in refused(lambda: bank.approve(number, "other"))
    bank.approve(number, "ben")


def test_an_author_who_may_no_longer(bank: Bank) -> None:
    """Two words of today are needed: a suspended author's, or one's without the role, is none."""
    number = bank.propose()
    bank.people("ana").suspend("fin")
    assert "`fin`, who proposed it, may not do so any more" in refused(lambda: bank.approve(number))
    bank.people("ana").resume("fin")
    bank.people("ana").withdraw("fin", grant("finops"))
    assert "may not do so any more" in refused(lambda: bank.approve(number))
    bank.people("ana").grant("fin", grant("finops"))
    bank.approve(number)


def test_who_may_not_approve(bank: Bank) -> None:
    """Somebody without the role, without it in that tenant, or whose token was revoked, answers nothing."""
    bank.add_apart("vi", grant("viewer"), grant("approver", "zeta"))
    number = bank.propose()
    assert "`vi` may not approve" in refused(lambda: bank.approve(number, "vi"))
    assert "`vi` may not approve" in refused(lambda: bank.proposals("vi").refuse(number, "no"))
    bank.people("ana").suspend("ben")
    assert "`ben` is suspended" in refused(lambda: bank.approve(number))
    assert "needs the token of one who is admin or approver" in refused(lambda: bank.approve(number, ""))


def test_other_files_than_those_proposed(bank: Bank) -> None:
    """What is approved is what was proposed, to the byte; the database keeps it as it is."""
    number = bank.propose()
    with pytest.raises(ConfigurationError, match="not what proposal 1 says"):
        bank.approve(number, files=OTHER)
    assert 1 == bank.version()
    bank.approve(number)
    with pytest.raises(ConfigurationError, match="no proposal `9`"):
        bank.approve(9)


def test_neither_is_ever_changed(bank: Bank, database: Database) -> None:
    """The database refuses to change a proposal or an answer, and a second answer."""
    number = bank.propose()
    bank.approve(number)
    for table in ("proposal", "proposal_answer"):
        for sql in (f"update {table} set document = ''", f"delete from {table}"):
            with pytest.raises((apsw.Error, psycopg.Error), match="append-only"):
                database.execute(sql)
    with pytest.raises((apsw.Error, psycopg.Error)):
        database.execute("insert into proposal_answer (proposal, document) values (1, '')")
    assert "proposal 1 is approved by `ben`" in refused(lambda: bank.approve(number, "cy"))


def test_two_approvals_at_once(bank: Bank, database: Database, clock: TurnableClock) -> None:
    """One of them puts it in force; the other is told, and makes no second version."""
    number = bank.propose()
    appraisal = bank.appraisal()
    approvals = {
        who: bank.administration(who, database.open(clock, keep=False)).apply for who in ("ben", "cy")
    }
    outcomes: dict[str, str] = {}
    together = threading.Barrier(2)

    def approve(who: str) -> None:
        together.wait()
        try:
            approvals[who](NEW, TENANTS, appraisal=appraisal, approves=number)
            outcomes[who] = "approved"
        except AegisError as fault:
            outcomes[who] = type(fault).__name__

    threads = [threading.Thread(target=approve, args=(who,)) for who in approvals]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ["ConfigurationError", "approved"] == sorted(outcomes.values())
    assert (2, "approved") == (bank.version(), bank.state(number))
