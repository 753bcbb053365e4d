"""Asking for more of a budget, on every store: who may, who is asked, and what another person's word puts in force."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from aegis_gateway.adapters.approval_rows import ApprovalReports
from aegis_gateway.adapters.budget_change_rows import history_of
from aegis_gateway.application.absences import Absences
from aegis_gateway.application.approvals import Approvals, Hindrance, Outcome, Outcomes, let_time_pass
from aegis_gateway.application.asked_increases import AskedIncreases
from aegis_gateway.application.asks import Asks, Wanted
from aegis_gateway.application.ports import Changes, RegistryChange, StandingRow, Store
from aegis_gateway.application.recording import RegistryRecording
from aegis_gateway.application.versions import signed
from aegis_gateway.domain.approval import Approval
from aegis_gateway.domain.approval_route import Group
from aegis_gateway.domain.approval_rules import ApprovalRules, AskRule, AskRules
from aegis_gateway.domain.budget_change import with_change
from aegis_gateway.domain.config_version import Canary
from aegis_gateway.domain.errors import AegisError, ConfigurationError, VersionForged
from aegis_gateway.domain.ledger import Standing
from aegis_gateway.domain.registry import Agent, Budget
from tests.amendments import Treasury, like_month
from tests.houses import PEPPER, grant, refused
from tests.ledgers import HOUR_NS, Database, TurnableClock

OWNED = like_month("month", owner="Own@acme.example", deputy="dep")
BOT = Agent(
    id="bot",
    owner="bo@acme.example",
    team="desk",
    cost_centre="CC-1",
    purpose="answers",
    environment="test",
    budget="month",
)
ROUTES = AskRules(
    routes=(
        AskRule(ask=("budget_owner",), up_to_nano_usd=500),
        AskRule(ask=("finance",), up_to_nano_usd=5_000),
        AskRule(ask=("finance", "chief"), needs=2),
    )
)
RULES = ApprovalRules(
    groups={
        "finance": Group(name="finance", people=("fin", "flo")),
        "chief": Group(name="chief", people=("cy",)),
    }
)


class Bank(Treasury):
    """A treasury whose routes climb: own and dep for a little, fin and flo of finance for more, two of all beyond it.

    bo owns the agent that lives on the month, and has no role at all.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.add_apart("flo", grant("finops"))
        for name in ("bo", "cy"):
            self.add_apart(name)
        self.put(OWNED)

    def put(self, *budgets: Budget, **more: Any) -> None:
        """Put budgets in force, with the agent and the routes unless something else is said."""
        self.configure(*budgets, **{"asks": ROUTES, "approvals": RULES, "agents": {"bot": BOT}, **more})

    def asks(self, who: str, store: Store | None = None) -> Asks:
        """Asking for more, as somebody."""
        return Asks(store or self.store, PEPPER, self.caller(who), self.registries)

    def approvals(self, who: str, store: Store | None = None, outcome: Outcome | None = None) -> Approvals:
        """Answering who asks for more, as somebody."""
        outcomes: Outcomes = {"increase": outcome or AskedIncreases(self.registries)}
        return Approvals(store or self.store, PEPPER, self.caller(who), outcomes)

    def ask(
        self,
        who: str,
        amount: int,
        *,
        ends_ns: int | None = None,
        reason: str = "quarter end",
        budget: str = "month",
    ) -> Approval:
        """Ask for so much more of a budget."""
        wanted = Wanted(budget=budget, amount=amount, ends_ns=ends_ns, reason=reason, expected=1_200)
        return self.asks(who).ask("acme", wanted)

    def asked_of(self, approval: Approval) -> list[str]:
        """Which groups are asked."""
        return [group.name for group in approval.route.asked(approval.level)]

    def now(self, approval: Approval) -> Approval:
        """A request as it stands."""
        found = ApprovalReports(self.store.rows).approval("acme", approval.id)
        assert found is not None
        return found

    def acts(self) -> list[object]:
        """What the record says of requests."""
        return [entry["act"] for entry in self.entries(kind="approval")]


@pytest.fixture
def bank(store: Store) -> Bank:
    """Whose month is 1,000."""
    return Bank(store)


def wrong(act: Callable[[], object]) -> str:
    """What is said of an act that can't be done."""
    with pytest.raises(ConfigurationError) as told:
        act()
    return str(told.value)


def test_what_another_agrees_to_is_in_force_with_their_word(bank: Bank, clock: TurnableClock) -> None:
    """To the nanosecond, under a new epoch; the change says who asked, why, whose word it has, and by which request."""
    until_ns = clock.now_ns() + 48 * HOUR_NS
    asked = bank.ask("bo", 300, ends_ns=until_ns)
    assert ("waiting", "bo", "month", ["budget_owner"]) == (
        *(asked.state, asked.requester, asked.about),
        bank.asked_of(asked),
    )
    assert {"month": 1_000} == bank.limits()
    epoch = bank.store.epochs()["acme"]
    clock.turn(HOUR_NS)
    assert "used" == bank.approvals("own").grant("acme", asked.id, "fine").state
    assert [1_300, 1_300, 1_000] == [
        bank.limits(at_ns)["month"] for at_ns in (clock.now_ns(), until_ns - 1, until_ns)
    ]
    assert epoch + 1 == bank.store.epochs()["acme"]
    (made,) = history_of(bank.store.rows, "acme", "month", 9)
    assert ("increase", "bo", "own", "quarter end", asked.id, until_ns) == (
        *(made.kind, made.asked_by, made.approver, made.reason, made.approval),
        made.ends_ns,
    )
    (entry,) = bank.entries(kind="budget_change")
    assert ("own", "bo", asked.id, "1300") == (
        *(entry["actor"], entry["asked_by"], entry["approval"]),
        entry["changes"][0]["limit_after"],  # type: ignore[index]
    )
    assert ["request", "grant", "use"] == bank.acts()
    assert [made.added] == [each.change for each in with_change([], made)]


def test_what_people_are_shown(bank: Bank, clock: TurnableClock) -> None:
    """How much more until when and why, and how the budget stands, in words."""
    row = StandingRow(
        tenant="acme",
        budget="month",
        scope="",
        window=OWNED.window(clock.now_ns()),
        quantity="usd",
        standing=Standing(posted=900, pending=50),
    )
    with bank.store.change(["acme"]) as change:
        change.write(Changes(standings=[row]))
    until_ns = clock.now_ns() + HOUR_NS
    facts = bank.ask("vic", 300, ends_ns=until_ns, reason="  two more desks ").facts
    assert {
        "amount": "$0.0000003",
        "until_ns": str(until_ns),
        "why": "two more desks",
        "owner": OWNED.owner,
        "limit": "$0.000001",
        "spent": "$0.0000009",
        "reserved": "$0.00000005",
        "left": "$0.00000005",
        "forecast": "$0.0000012 by the end of the window",
    } == facts


@pytest.mark.parametrize(
    ("who", "amount", "asked"),
    [
        ("bo", 500, ["budget_owner"]),
        ("own", 500, ["budget_owner"]),
        ("bo", 501, ["finance"]),
        ("fin", 501, ["finance"]),
        ("bo", 5_001, ["finance", "chief"]),
    ],
)
def test_who_is_asked_for_how_much(bank: Bank, who: str, amount: int, asked: list[str]) -> None:
    """The first route that bears the amount, and that others than whoever asks can answer: owners have deputies."""
    assert asked == bank.asked_of(bank.ask(who, amount))


def test_an_owners_own_wish_climbs(bank: Bank) -> None:
    """Without a deputy nobody but the owner is asked there, so it is the next route; the same with suspended people."""
    bank.put(msgspec.structs.replace(OWNED, deputy=None))
    assert ["finance"] == bank.asked_of(bank.ask("own", 5))
    bank.people("ana").suspend("flo")
    assert ["finance"] == bank.asked_of(bank.ask("bo", 600))
    assert ["whoever may change limits"] == bank.asked_of(bank.ask("fin", 600))
    bank.people("ana").suspend("fin")
    assert ["whoever may change limits"] == bank.asked_of(bank.ask("bo", 700))
    assert "is suspended" in refused(lambda: bank.ask("fin", 5))


def test_who_is_away_is_passed_over(bank: Bank) -> None:
    """Unless somebody stands in for them who may approve, and whom nobody who asks has named."""
    until_ns = bank.store.clock_ns() + HOUR_NS
    bank.put(msgspec.structs.replace(OWNED, deputy=None))
    away = Absences(bank.store, PEPPER, bank.caller("own"))
    away.away("own", None, until_ns, None, "a holiday")
    assert ["finance"] == bank.asked_of(bank.ask("bo", 5))
    bank.add_apart("sub", grant("approver"))
    away.away("own", None, until_ns, "sub", "a holiday")
    asked = bank.ask("bo", 6)
    assert ["budget_owner"] == bank.asked_of(asked)
    assert ["finance"] == bank.asked_of(bank.ask("sub", 6))
    bank.approvals("sub").grant("acme", asked.id)
    (made,) = history_of(bank.store.rows, "acme", "month", 9)
    assert ("bo", "sub") == (made.asked_by, made.approver)


def test_nobody_else_is_there(bank: Bank) -> None:
    """The only one who may change limits asks nobody, and is told so."""
    bank.put(OWNED, asks=AskRules())
    for name in ("fin", "flo"):
        bank.people("ana").suspend(name)
    assert "nobody but `ana` could agree" in wrong(lambda: bank.ask("ana", 5))


def test_without_routes_the_owner_is_asked_if_they_may(bank: Bank, clock: TurnableClock) -> None:
    """And after half a day the others who may; whether they still may is asked in the answer's transaction."""
    bank.put(OWNED, asks=AskRules())
    assert ["whoever may change limits"] == bank.asked_of(bank.ask("bo", 5))
    bank.people("ana").grant("own", grant("finops"))
    asked = bank.ask("bo", 6)
    assert ["budget_owner"] == bank.asked_of(asked)
    assert "not among those" in refused(lambda: bank.approvals("fin").grant("acme", asked.id))
    assert "not among those" in refused(lambda: bank.approvals("dep").grant("acme", asked.id))
    bank.people("ana").withdraw("own", grant("finops"))
    assert "not among those" in refused(lambda: bank.approvals("own").grant("acme", asked.id))
    clock.turn(12 * HOUR_NS)
    let_time_pass(bank.store)
    bank.approvals("fin").grant("acme", asked.id)
    assert {"month": 1_006} == bank.limits()


def test_who_may_ask(bank: Bank) -> None:
    """The owner of an agent that counts on it, its owner and deputy, and who may see it; nobody without an account."""
    bank.put(OWNED, like_month("other"), like_month("desk", match=(("team", "desk"), ("tool", "chat"))))
    for who in ("bo", "own", "dep", "vic", "fin"):
        assert "waiting" == bank.ask(who, 1).state
    assert "may not ask for more of `other`" in refused(lambda: bank.ask("bo", 1, budget="other"))
    assert "waiting" == bank.ask("bo", 1, budget="desk").state
    assert "may not ask" in refused(lambda: bank.ask("cy", 1))
    assert "needs the token" in refused(lambda: bank.ask("", 1))


def test_who_may_not_answer(bank: Bank) -> None:
    """Whoever asks, who isn't asked, whose token whoever asks has seen: also where two people are needed."""
    bank.put(OWNED, four_eyes=True)
    asked = bank.ask("own", 5)
    assert "own request" in refused(lambda: bank.approvals("own").grant("acme", asked.id))
    assert "not among those" in refused(lambda: bank.approvals("fin").grant("acme", asked.id))
    assert "two people are needed" in refused(
        lambda: bank.changes("fin").increase("month", 5, ends_ns=None, reason="r")
    )
    assert {"month": 1_000} == bank.limits()
    bank.approvals("dep").grant("acme", asked.id)
    assert {"month": 1_005} == bank.limits()


def test_one_person_with_two_accounts(bank: Bank) -> None:
    """Doesn't agree with themselves: whoever has seen the other's token stands behind both."""
    bank.put(OWNED, asks=AskRules())
    bank.add("ghost", grant("finops"))
    asked = bank.ask("ana", 5)
    assert "own request" in refused(lambda: bank.approvals("ghost").grant("acme", asked.id))
    assert {"month": 1_000} == bank.limits()


def test_two_have_to_agree(bank: Bank) -> None:
    """To more than finance may decide alone; both stand in the history."""
    asked = bank.ask("bo", 6_000)
    assert "waiting" == bank.approvals("fin").grant("acme", asked.id).state
    assert {"month": 1_000} == bank.limits()
    assert "used" == bank.approvals("cy").grant("acme", asked.id).state
    (made,) = history_of(bank.store.rows, "acme", "month", 9)
    assert ("fin, cy", 7_000) == (made.approver, made.limit_after)


def test_a_no(bank: Bank) -> None:
    """Says why, and changes nothing."""
    asked = bank.ask("bo", 5)
    bank.approvals("own").refuse("acme", asked.id, "not this month")
    assert ("refused", {"month": 1_000}) == (bank.now(asked).state, bank.limits())


def test_it_is_over_before_what_is_asked_for_would_be(bank: Bank, clock: TurnableClock) -> None:
    """An answer comes too late by then, and others are asked before."""
    rules = AskRules(
        routes=(AskRule(ask=("budget_owner",), escalate_after_ns=4 * HOUR_NS, escalate_to=("chief",)),)
    )
    bank.put(OWNED, asks=rules)
    asked = bank.ask("bo", 5, ends_ns=clock.now_ns() + 2 * HOUR_NS)
    clock.turn(HOUR_NS)
    let_time_pass(bank.store)
    assert ["budget_owner", "chief"] == bank.asked_of(bank.now(asked))
    clock.turn(HOUR_NS)
    assert "is expired" in refused(lambda: bank.approvals("own").grant("acme", asked.id))
    assert ("expired", {"month": 1_000}) == (bank.now(asked).state, bank.limits())


def test_a_deadline(bank: Bank, clock: TurnableClock) -> None:
    """Nobody answered in a day: it is over, and may be asked for again."""
    asked = bank.ask("bo", 5)
    clock.turn(24 * HOUR_NS)
    assert asked.id != bank.ask("bo", 5).id
    assert "expired" == bank.now(asked).state


def test_who_asks_again(bank: Bank) -> None:
    """For the same asks nobody twice; for something else takes back what was asked for before."""
    asked = bank.ask("bo", 5)
    assert asked.id == bank.ask("bo", 5).id
    other = bank.ask("bo", 6)
    assert ["withdrawn", "waiting"] == [bank.now(each).state for each in (asked, other)]
    assert "waiting" == bank.ask("dep", 5).state
    assert ["request", "withdraw", "request", "request"] == bank.acts()


def test_nobody_is_asked_for_what_cannot_be_had(bank: Bank, clock: TurnableClock) -> None:
    """Nothing, less, what is over, without a reason, of no budget, above the parent."""
    bank.put(OWNED, like_month("child", within="month", limit=900))
    for amount in (0, -5):
        assert "above 0" in wrong(lambda of=amount: bank.ask("bo", of))  # type: ignore[misc]
    assert "is over" in wrong(lambda: bank.ask("bo", 5, ends_ns=clock.now_ns()))
    assert "nobody will see" in wrong(lambda: bank.ask("bo", 5, ends_ns=2**63))
    assert "too large" in wrong(lambda: bank.ask("bo", 2**63))
    assert "reason" in wrong(lambda: bank.ask("bo", 5, reason=" "))
    assert "no budget `moth`" in wrong(lambda: bank.ask("bo", 5, budget="moth"))
    assert "`aegis budget ask month AMOUNT`" in wrong(lambda: bank.ask("own", 101, budget="child"))
    assert [] == bank.acts()


def test_the_parent_is_full_by_now(bank: Bank) -> None:
    """Then nothing is raised, whoever answers is told what to do, and the request is over."""
    bank.put(
        OWNED, like_month("child", within="month", limit=900), like_month("twin", within="month", limit=50)
    )
    asked = bank.ask("own", 50, budget="child")
    bank.changes("fin").increase("twin", 50, ends_ns=None, reason="first")
    told = refused(lambda: bank.approvals("dep").grant("acme", asked.id))
    assert "would add up to more than its limit" in told
    assert "`aegis budget ask month AMOUNT`" in told
    assert ("withdrawn", 900) == (bank.now(asked).state, bank.limits()["child"])
    assert ["request", "not_taken", "withdraw"] == bank.acts()
    assert () == bank.now(asked).answers


def test_the_limit_is_another_by_now(bank: Bank) -> None:
    """By another version, or by somebody else's increase: what was agreed to was more of what was shown."""
    asked = bank.ask("bo", 5)
    bank.changes("fin").increase("month", 5, ends_ns=None, reason="first")
    told = refused(lambda: bank.approvals("own").grant("acme", asked.id))
    assert "is $0.000001005 by now, and was $0.000001" in told
    assert "`aegis budget ask month AMOUNT`" in told
    again = bank.ask("bo", 5)
    bank.put(msgspec.structs.replace(OWNED, limit=1_005))
    bank.approvals("own").grant("acme", again.id)
    assert {"month": 1_010} == bank.limits()
    third = bank.ask("bo", 5)
    bank.put(msgspec.structs.replace(OWNED, limit=2_000))
    assert "by now" in refused(lambda: bank.approvals("own").grant("acme", third.id))
    assert {"month": 2_000} == bank.limits()


def test_what_ends_by_itself_was_known(bank: Bank, clock: TurnableClock) -> None:
    """An increase that was there when more was asked for may end meanwhile."""
    bank.changes("fin").increase("month", 100, ends_ns=clock.now_ns() + HOUR_NS, reason="first")
    asked = bank.ask("bo", 5)
    clock.turn(2 * HOUR_NS)
    bank.approvals("own").grant("acme", asked.id)
    assert {"month": 1_005} == bank.limits()


def test_the_budget_is_gone_by_now(bank: Bank) -> None:
    """Dropped by a version that was put in force meanwhile, which is the one that decides."""
    asked = bank.ask("bo", 5)
    bank.put(like_month("other"), agents={})
    assert "no budget `month` any more" in refused(lambda: bank.approvals("own").grant("acme", asked.id))
    assert "withdrawn" == bank.now(asked).state


def test_a_version_that_changes_something_else(bank: Bank) -> None:
    """Is the one under which the increase is made."""
    asked = bank.ask("bo", 5)
    bank.put(OWNED, like_month("other"))
    bank.approvals("own").grant("acme", asked.id)
    (made,) = history_of(bank.store.rows, "acme", "month", 9)
    assert bank.version() == made.config_version


def test_a_canary_beside_the_version_in_force(bank: Bank) -> None:
    """The limit that is raised is that of the version which is in force for all others."""
    asked = bank.ask("bo", 5)
    config = bank.store.state().config
    assert config is not None
    tried = signed(
        msgspec.structs.replace(
            config, version=config.version + 1, canary=Canary(beside=config.version, share=100)
        ),
        bank.signatures,
    )
    bank.by_version[tried.version] = msgspec.structs.replace(bank.registry, budgets={})
    with bank.store.change(["acme"]) as change:
        change.save_config(tried)
    bank.approvals("own").grant("acme", asked.id)
    (made,) = history_of(bank.store.rows, "acme", "month", 9)
    assert (config.version, 1_005) == (made.config_version, made.limit_after)


def test_nothing_is_granted_under_a_forged_version(bank: Bank) -> None:
    """The answer fails, and the request waits on."""
    asked = bank.ask("bo", 5)
    config = bank.store.state().config
    assert config is not None
    forged = msgspec.structs.replace(config, version=config.version + 1, note="forged")
    bank.by_version[forged.version] = bank.registry
    with bank.store.change(["acme"]) as change:
        change.save_config(forged)
    with pytest.raises(VersionForged):
        bank.approvals("own").grant("acme", asked.id)
    assert ("waiting", ()) == (bank.now(asked).state, bank.now(asked).answers)


class Killed(Exception):
    """The process is gone."""


def test_killed_between_the_increase_and_the_answer(bank: Bank) -> None:
    """Neither is there: they are one transaction, and the answer may be given again."""
    asked = bank.ask("bo", 5)

    def dies(change: RegistryChange, recording: RegistryRecording, approval: Approval) -> Hindrance | None:
        assert None is AskedIncreases(bank.registries)(change, recording, approval)
        raise Killed

    with pytest.raises(Killed):
        bank.approvals("own", outcome=dies).grant("acme", asked.id)
    assert ("waiting", {"month": 1_000}) == (bank.now(asked).state, bank.limits())
    assert [] == bank.entries(kind="budget_change")
    bank.approvals("own").grant("acme", asked.id)
    assert {"month": 1_005} == bank.limits()


def test_two_grant_at_once(bank: Bank, database: Database, clock: TurnableClock) -> None:
    """It is raised once; whoever comes second is told who was first."""
    asked = bank.ask("bo", 600)
    stores = {who: database.open(clock, keep=False) for who in ("fin", "flo")}
    told: dict[str, str] = {}
    together = threading.Barrier(2)

    def answer(who: str) -> None:
        together.wait()
        try:
            told[who] = bank.approvals(who, stores[who]).grant("acme", asked.id).state
        except AegisError as fault:
            told[who] = str(fault)

    threads = [threading.Thread(target=answer, args=(who,)) for who in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first = bank.now(asked).answers[0].by
    second = "flo" if first == "fin" else "fin"
    assert "used" == told[first]
    assert f"is used by `{first}`" in told[second] or "is used" in told[second]
    assert ({"month": 1_600}, 1) == (bank.limits(), len(history_of(bank.store.rows, "acme", "month", 9)))
