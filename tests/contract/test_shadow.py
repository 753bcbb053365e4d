"""What rules in shadow would have changed: written with the decision, and reported, the same in either store."""

from __future__ import annotations

import json

import msgspec
import pytest

from aegis_gateway.adapters.reports import Reports, ShadowReport, Sum
from aegis_gateway.application.batch import SHADOWS_MAX
from aegis_gateway.application.commands import Admitted, Settle
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.decision import Mode, Reason, Shadow, Verdict
from aegis_gateway.domain.rate import RateClaim
from tests.ledgers import (
    ATTRIBUTION,
    HOUR_NS,
    NOON_NS,
    PERMITTED,
    SECOND_NS,
    TurnableClock,
    admission,
    budget,
    cost,
    quote,
)

NO_PERMIT = Verdict(effect="deny", reasons=(Reason(code="no_permit", message="no"),))


def of(name: str, calls: int, nano_usd: int) -> Sum:
    """What an agent's calls come to."""
    return Sum(name=name, calls=calls, nano_usd=nano_usd)


def decide(
    ledger: Ledger, call: str, *shadow: Shadow, verdict: Verdict = PERMITTED, agent: str = "bot"
) -> None:
    """A call of at most 100 nano-dollars, expected at 50, about which rules in shadow say something."""
    ledger.process(
        [
            admission(
                call,
                budgets=(budget("day", limit=1_000, period="daily"),),
                quoted=quote(100, 50),
                verdict=msgspec.structs.replace(verdict, shadow=shadow),
                attribution=msgspec.structs.replace(ATTRIBUTION, agent=agent),
            )
        ]
    )


def test_a_report(ledger: Ledger, reader: Store, clock: TurnableClock) -> None:
    """By rule and agent, with the last calls: what was spent counts, at the maximum where it isn't settled."""
    tight, loose, odd = (
        Shadow(rule="tight", would="deny"),
        Shadow(rule="loose", would="allow"),
        Shadow(rule="odd", would="error", message="`amount` is missing"),
    )
    decide(ledger, "before", tight)
    clock.turn(SECOND_NS)
    decide(ledger, "a", tight, odd)
    ledger.process([Settle(call="a", tenant="acme", evidence=cost(30))])
    clock.turn(SECOND_NS)
    decide(ledger, "b", tight)
    decide(ledger, "c", tight, agent="other")
    decide(ledger, "d", loose, verdict=NO_PERMIT)
    decide(ledger, "e", odd, verdict=NO_PERMIT)
    assert [
        ShadowReport(
            rule="loose",
            would="allow",
            calls=1,
            nano_usd=50,
            agents=(of("bot", 1, 50),),
            examples=("d",),
        ),
        ShadowReport(
            rule="odd",
            would="error",
            calls=2,
            nano_usd=30,
            agents=(of("bot", 2, 30),),
            examples=("e", "a"),
        ),
        ShadowReport(
            rule="tight",
            would="deny",
            calls=3,
            nano_usd=230,
            agents=(of("bot", 2, 130), of("other", 1, 100)),
            examples=("b", "c"),
        ),
    ] == Reports(reader.query).shadow("acme", NOON_NS + SECOND_NS, examples=2)
    assert [] == Reports(reader.query).shadow("acme", NOON_NS + 3 * SECOND_NS)


def test_what_the_budget_refused_anyway(ledger: Ledger, reader: Store) -> None:
    """A rule would have changed nothing about it."""
    for number in range(11):
        decide(ledger, f"call-{number:02}", Shadow(rule="tight", would="deny"))
    (report,) = Reports(reader.query).shadow("acme", 0)
    assert 10 == report.calls


def test_the_entry_tells_it(ledger: Ledger, store: Store) -> None:
    """In the decision, and of no more rules than fit there."""
    many = [Shadow(rule=f"rule-{number:03}", would="error", message="x" * 900) for number in range(100)]
    decide(ledger, "a", *many)
    decide(ledger, "b")
    first, second = (
        json.loads(row["body"]) for row in store.query("select body from entry order by sequence")
    )
    assert SHADOWS_MAX == len(first["shadow"])
    assert {"rule": "rule-000", "would": "error", "message": "x" * 200} == first["shadow"][0]
    assert "shadow" not in second


@pytest.mark.parametrize("would", ["deny", "error"])
def test_findings_leave_with_a_failed_batch(ledger: Ledger, store: Store, would: str) -> None:
    """A call that is decided twice is refused the second time, and leaves nothing more."""
    decide(ledger, "a", Shadow(rule="tight", would=would))  # type: ignore[arg-type]
    decide(ledger, "a", Shadow(rule="tight", would=would))  # type: ignore[arg-type]
    assert 1 == len(store.query("select 1 from shadow_finding"))


def limited(ledger: Ledger, call: str, most: int = 100, *, mode: Mode = "shadow") -> Admitted:
    """A call on a budget of 1,000 that acts, and one of 250 and a rate of two an hour in a mode."""
    small = msgspec.structs.replace(budget("small", limit=250, period="daily"), mode=mode)
    pace = RateClaim(rate="pace", scope="", limit=2, period_ns=HOUR_NS, burst=2, mode=mode)
    command = admission(
        call,
        budgets=(small, budget("day", limit=1_000, period="daily")),
        rates=(pace,),
        quoted=quote(most, most),
    )
    (reply,) = ledger.process([command])
    assert isinstance(reply, Admitted)
    return reply


def balances(store: Store) -> dict[str, tuple[int, int]]:
    """Pending and posted by budget."""
    rows = store.query("select budget, pending, posted from standing")
    return {row["budget"]: (row["pending"], row["posted"]) for row in rows}


def test_limits_in_shadow(ledger: Ledger, store: Store, reader: Store) -> None:
    """They refuse nothing, and their balances hold what they would have let pass: settled and released like any."""
    replies = [limited(ledger, call) for call in "abcd"]
    assert {"allow"} == {reply.effect for reply in replies}
    assert {"day": (400, 0), "small": (200, 0)} == balances(store)
    found = {each.rule: each.examples for each in Reports(reader.query).shadow("acme", 0)}
    assert {"budget:small": ("c", "d"), "rate:pace": ("c", "d")} == found
    ledger.process([Settle(call=call, tenant="acme", evidence=cost(10)) for call in "abcd"])
    assert {"day": (0, 40), "small": (0, 20)} == balances(store)
    limited(ledger, "e")  # it fits again; the rate's next turn has not come
    counts = {each.rule: each.calls for each in Reports(reader.query).shadow("acme", 0)}
    assert {"budget:small": 2, "rate:pace": 3} == counts
    assert {"day": (100, 40), "small": (100, 20)} == balances(store)


def test_what_acts_comes_first(ledger: Ledger, store: Store, reader: Store) -> None:
    """A call that is refused anyway is put down to no rule in shadow, and is in no balance of theirs."""
    limited(ledger, "a")
    assert "deny" == limited(ledger, "b", 950).effect
    assert [] == Reports(reader.query).shadow("acme", 0)
    assert {"day": (100, 0), "small": (100, 0)} == balances(store)


def test_enforced_they_do_what_shadow_said(ledger: Ledger) -> None:
    """The same calls under the same limits, which act now: the first that was told of is the first refused."""
    replies = [limited(ledger, call, mode="enforce").effect for call in "abcd"]
    assert ["allow", "allow", "throttle", "throttle"] == replies
