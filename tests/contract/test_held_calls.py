"""Calls that policies want a person's word for, as every ledger decides them: asked once, let through once."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import pytest

from aegis_gateway.adapters.approval_rows import ApprovalReports
from aegis_gateway.adapters.reports import Reports
from aegis_gateway.application.approvals import Approvals, let_time_pass
from aegis_gateway.application.commands import Admit, Admitted, ApprovalClaim, CallName, Settle
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.operators import Caller
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.approval_route import Route
from aegis_gateway.domain.decision import Reason, Verdict
from aegis_gateway.domain.entry import time_text
from aegis_gateway.domain.ledger import Evidence
from tests.houses import PEPPER
from tests.ledgers import HOUR_NS, NOON_NS, SECOND_NS, Database, TurnableClock, admission, budget, quote, rate

CLAIM = ApprovalClaim(fingerprint="f1", route=Route(valid_for_ns=HOUR_NS), behind=("ann@example.com",))
BIG = Reason(code="approval_required", subject="big", message="above $5,000 needs a person")
ASKS = Verdict(
    effect="allow",
    reasons=(Reason(code="permitted", subject="p", message="policy `p` permits this"),),
    asks=(BIG,),
)


class Till:
    """A ledger whose calls want a person's word, and people who answer."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.ledger = Ledger(store)
        self.count = 0

    def call(self, claim: ApprovalClaim | None = CLAIM, **more: Any) -> Admitted:
        """Ask for a call."""
        reply = self.ledger.process([self.admit(claim, **more)])[0]
        assert isinstance(reply, Admitted)
        return reply

    def admit(self, claim: ApprovalClaim | None = CLAIM, **more: Any) -> Admit:
        """A call, to be asked for."""
        self.count += 1
        changes = {name: more.pop(name) for name in ("policy_version", "name", "arguments") if name in more}
        command = admission(f"call_{self.count}", **{"verdict": ASKS, **more})
        return msgspec.structs.replace(command, approval=claim, **changes)

    def answer(self, asked: Admitted, kind: Any = "grant", reason: str = "fine") -> None:
        """Have somebody answer."""
        assert asked.approval is not None
        approvals = Approvals(self.store, PEPPER, Caller(local_name="root"))
        approvals.answer("acme", asked.approval.id, kind, reason)

    def states(self) -> list[str]:
        """How all requests stand, the oldest first."""
        found = ApprovalReports(self.store.rows).approvals("acme", 1_000)
        return [each.state for each in reversed(found)]

    def entries(self) -> list[dict[str, Any]]:
        """The whole record."""
        found = Reports(self.store.query).entries("acme", 0, 10_000)
        return [msgspec.json.decode(entry.body) for entry in found]

    def pending(self) -> int:
        """What is reserved of the budget."""
        rows = self.store.query("select coalesce(sum(pending), 0) as pending from standing")
        return int(rows[0]["pending"])


@pytest.fixture
def till(store: Store) -> Till:
    """At which nobody has called yet."""
    return Till(store)


def test_it_is_asked_once_and_let_through_once(till: Till) -> None:
    """Repeating it asks nobody twice; granted it passes, and the next one asks again. Waiting holds nothing."""
    first, again = till.call(), till.call()
    assert ("require_approval", "waiting", NOON_NS + 4 * HOUR_NS) == (
        first.effect,
        first.approval and first.approval.state,
        first.approval and first.approval.deadline_ns,
    )
    assert (first.approval, 0) == (again.approval, till.pending())
    till.answer(first)
    passed = till.call()
    assert ("allow", "dispatched", 100) == (passed.effect, passed.state, till.pending())
    assert ["permitted", "approved"] == [reason.code for reason in passed.reasons]
    assert "`local:root` agreed to this: fine" == passed.reasons[-1].message
    assert passed.approval is not None
    assert ("used", ("local:root",)) == (passed.approval.state, passed.approval.by)
    assert "require_approval" == till.call().effect
    assert ["used", "waiting"] == till.states()
    kinds = [entry.get("act", entry["type"]) for entry in till.entries()]
    assert ["request", "decision", "decision", "grant", "use", "decision", "request", "decision"] == kinds
    used, decision = till.entries()[4:6]
    assert ("call_3", ["local:root"], "call_3") == (used["call"], used["granted_by"], decision["call"])
    assert passed.approval.id == decision["approval"]["id"] == used["approval"]


def test_a_grant_is_spent_though_its_call_was_not_sent(till: Till) -> None:
    """The upstream was out of reach: the call costs nothing, the grant stays used, and its repetition asks anew."""
    till.answer(till.call())
    passed = till.call()
    assert passed.approval is not None
    Ledger(till.store).process(
        [Settle(call=passed.call, tenant="acme", evidence=Evidence(source="not_sent", note="out of reach"))]
    )
    assert 0 == till.pending()
    again = till.call()
    assert again.approval is not None
    assert ("require_approval", "waiting") == (again.effect, again.approval.state)
    assert passed.approval.id != again.approval.id
    assert ["used", "waiting"] == till.states()


def test_what_people_are_shown(till: Till) -> None:
    """Who, what, cost, what is left, the policy's words, what is new about it against the last one."""
    till.answer(till.call(quoted=quote(600)))
    till.call(quoted=quote(600))
    arguments = admission("x").arguments
    other = msgspec.structs.replace(arguments, summary={"model": "n"})
    claim = msgspec.structs.replace(CLAIM, fingerprint="f2")
    till.call(claim, arguments=other, quoted=quote(300))
    found = ApprovalReports(till.store.rows).approvals("acme", 10)
    newest, oldest = (dict[str, Any](each.facts) for each in found)
    first, second = oldest["risk"]
    assert "this agent has not asked for this tool before" == first
    assert second.startswith("it may take $0.0000006 of the $0.000001 left of budget")
    assert {"model": {"was": "m", "is": "n"}} == newest["changed"]
    assert [{"id": "big", "words": "above $5,000 needs a person"}] == newest["policies"]
    assert ("bot", "lending", "300", "400") == (
        newest["agent"],
        newest["team"],
        newest["maximum_nano_usd"],
        newest["budgets"][0]["left"],
    )


def test_who_agreed_and_owns_the_agent_by_now(till: Till) -> None:
    """Their word is no good for its calls any more: others are asked anew."""
    till.answer(till.call())
    owned = msgspec.structs.replace(CLAIM, behind=("local",))  # as whoever answers here is called
    assert "require_approval" == till.call(owned).effect
    assert ["lapsed", "waiting"] == till.states()
    assert "who agreed stands behind it by now" in [entry.get("reason") for entry in till.entries()]


def test_a_named_approval_means_no_other(till: Till) -> None:
    """Also where nobody asks any more: what was named is used up by its call, and a repetition of that is refused."""
    permitted = msgspec.structs.replace(ASKS, asks=())

    def named(asked: Admitted, claim: ApprovalClaim = CLAIM, **more: Any) -> tuple[str, str]:
        assert asked.approval is not None
        reply = till.call(msgspec.structs.replace(claim, given=asked.approval.id), **more)
        return reply.effect, reply.reasons[-1].code

    refused, fault = ("deny", "approval_refused"), ("deny", "approval_not_valid")
    granted = till.call()
    till.answer(granted)
    other = msgspec.structs.replace(CLAIM, fingerprint="f2")
    assert fault == named(granted, other, verdict=permitted)
    assert ("allow", "approved") == named(granted, verdict=permitted)
    assert fault == named(granted, verdict=permitted)
    waits = till.call()
    assert ("allow", "permitted") == named(waits, verdict=permitted)
    assert fault == named(waits, verdict=permitted)
    no = till.call()
    till.answer(no, "refuse")
    assert refused == named(no, verdict=permitted)
    assert ["used", "withdrawn", "refused"] == till.states()
    lapses = till.call(other)
    till.answer(lapses)
    assert fault == named(lapses, other, policy_version="p2")
    assert ["used", "withdrawn", "refused", "lapsed"] == till.states()  # and nobody was asked anew
    assert "allow" == till.call(verdict=permitted).effect


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"quoted": quote(101)}, "it may cost more by now"),
        ({"policy_version": "p2"}, "the policies are others by now"),
        (
            {
                "verdict": msgspec.structs.replace(
                    ASKS, asks=(BIG, msgspec.structs.replace(BIG, subject="new"))
                )
            },
            "other policies ask by now",
        ),
    ],
)
@pytest.mark.parametrize("is_granted", [True, False])
def test_another_call_is_another_request(
    till: Till, changes: dict[str, Any], because: str, is_granted: bool
) -> None:
    """More cost, other policies: what was granted is good for nothing more, what waited is withdrawn."""
    asked = till.call()
    if is_granted:
        till.answer(asked)
    other = till.call(**changes)
    assert "require_approval" == other.effect
    assert other.approval != asked.approval
    assert ["lapsed" if is_granted else "withdrawn", "waiting"] == till.states()
    ended = next(entry for entry in till.entries() if entry.get("act") in ("lapse", "withdraw"))
    assert because == ended["reason"]


def test_other_arguments_are_another_request(till: Till) -> None:
    """They have another fingerprint, and leave the grant for the call that it was given for."""
    till.answer(till.call())
    assert "require_approval" == till.call(msgspec.structs.replace(CLAIM, fingerprint="f2")).effect
    assert ["granted", "waiting"] == till.states()
    assert "allow" == till.call(quoted=quote(99)).effect


def test_a_refusal_holds_until_its_time_is_over(till: Till, clock: TurnableClock) -> None:
    """Whoever repeats the call is told who refused it and why; after the deadline it may be asked about again."""
    asked = till.call()
    till.answer(asked, "refuse", "not this vendor")
    refused = till.call()
    assert ("deny", "approval_refused") == (refused.effect, refused.reasons[0].code)
    assert refused.reasons[0].message.endswith(": not this vendor")
    assert refused.approval is not None
    assert asked.approval is not None
    assert ("refused", asked.approval.id) == (refused.approval.state, refused.approval.id)
    clock.turn(4 * HOUR_NS)
    assert "require_approval" == till.call().effect


def test_time_ends_requests_and_grants(till: Till, clock: TurnableClock) -> None:
    """Also before anybody has swept: a late grant lets nothing through, a late request is made anew."""
    till.answer(till.call())
    clock.turn(HOUR_NS)
    assert "require_approval" == till.call().effect
    clock.turn(4 * HOUR_NS)
    assert "require_approval" == till.call().effect
    assert ["lapsed", "expired", "waiting"] == till.states()
    assert 0 == let_time_pass(till.store)


def test_an_approval_that_is_named(till: Till, clock: TurnableClock) -> None:
    """Has to be this call's, and good for something; else the call is refused, on the record."""
    asked = till.call()
    assert asked.approval is not None
    named = msgspec.structs.replace(CLAIM, given=asked.approval.id)
    assert ("require_approval", asked.approval) == ((again := till.call(named)).effect, again.approval)
    wrong = till.call(msgspec.structs.replace(named, fingerprint="f2"))
    assert ("deny", "approval_not_valid") == (wrong.effect, wrong.reasons[0].code)
    till.answer(asked)
    assert "allow" == till.call(named).effect
    used = till.call(named)
    assert ("deny", "approval_not_valid") == (used.effect, used.reasons[0].code)
    assert "is used" in used.reasons[0].message
    assert ["used"] == till.states()
    assert 2 == sum(
        entry["reasons"][0]["code"] == "approval_not_valid"
        for entry in till.entries()
        if entry["type"] == "decision"
    )


def test_nobody_is_asked_about_what_would_be_refused(till: Till) -> None:
    """By budgets or rates; nor does a grant help a call that they refuse, and it isn't used up by it."""
    assert ("deny", []) == (till.call(quoted=quote(1_001)).effect, till.states())
    till.answer(till.call())
    assert "deny" == till.call(budgets=(budget(limit=50),)).effect
    assert ["granted"] == till.states()
    assert "allow" == till.call(rates=(rate(limit=1),)).effect


def test_an_agent_can_ask_for_so_much_and_no_more(till: Till) -> None:
    """Other agents can go on; what is answered makes room."""
    claims = [
        msgspec.structs.replace(CLAIM, fingerprint=f"f{number}", open_max=3, group_after=1)
        for number in range(5)
    ]
    asked = [till.call(claim) for claim in claims[:3]]
    over = till.call(claims[3])
    assert ("deny", "too_many_approvals") == (over.effect, over.reasons[0].code)
    groups = [each.group for each in reversed(ApprovalReports(till.store.rows).approvals("acme", 9))]
    second = asked[1].approval
    assert second is not None
    assert ["", second.id, second.id] == groups
    till.answer(asked[0], "refuse")
    assert "require_approval" == till.call(claims[3]).effect
    assert "deny" == till.call(claims[4]).effect


def test_in_one_batch(till: Till) -> None:
    """Equal calls that come together are one request, and one of them is let through."""
    replies = till.ledger.process([till.admit() for _ in range(5)])
    notes = {reply.approval for reply in replies if isinstance(reply, Admitted)}
    assert 1 == len(notes)
    assert ["waiting"] == till.states()
    till.answer(till.call())
    replies = till.ledger.process([till.admit() for _ in range(5)])
    effects = [reply.effect for reply in replies if isinstance(reply, Admitted)]
    assert ["allow", *["require_approval"] * 4] == effects
    assert ["used", "waiting"] == till.states()


def test_a_name_is_not_burnt_by_waiting(till: Till) -> None:
    """A call that is asked about keeps its name for when it is let through."""
    name = CallName(name="n1", request=b"r")
    asked = till.call(name=name)
    till.answer(asked)
    assert "allow" == till.call(name=name).effect
    assert 1 == len(till.store.query("select call from named_call"))


def test_a_grant_is_used_once_by_many_at_once(till: Till, database: Database, clock: TurnableClock) -> None:
    """64 repetitions by two ledgers at once, where the database bears two: one passes."""
    till.answer(till.call())
    ledgers = [till.ledger]
    if database.kind == "postgres":
        ledgers.append(Ledger(database.open(clock)))
    shares = [[till.admit() for _ in range(64 // len(ledgers))] for _ in ledgers]
    together = threading.Barrier(len(ledgers))
    effects: list[str] = []

    def repeat(ledger: Ledger, commands: list[Admit]) -> None:
        together.wait()
        for command in commands:
            (reply,) = ledger.process([command])
            assert isinstance(reply, Admitted)
            effects.append(reply.effect)

    threads = [threading.Thread(target=repeat, args=each) for each in zip(ledgers, shares, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (1, 64) == (effects.count("allow"), len(effects))
    assert (["used", "waiting"], 100) == (till.states(), till.pending())


def test_the_notice_says_what_the_record_says(till: Till) -> None:
    """It stands at the place of the entry, and has the facts and until when an answer is wanted."""
    till.call(msgspec.structs.replace(CLAIM, route=Route(within_ns=90 * SECOND_NS)))
    (notice,) = till.store.query("select sequence, kind, subject, body from notice")
    entry = till.entries()[0]
    body = msgspec.json.decode(notice["body"])
    assert (entry["seq"], "approval_requested", f"approval:{entry['approval']}") == (
        notice["sequence"],
        notice["kind"],
        notice["subject"],
    )
    assert time_text(NOON_NS + 90 * SECOND_NS) == body["deadline"] == entry["deadline"]
    assert [{"name": "approvers", "people": [], "role": "approver"}] == body["asked"]
    assert entry["facts"] == body["facts"]
