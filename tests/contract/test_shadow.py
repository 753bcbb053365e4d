"""What rules in shadow would have changed: written with the decision, and reported, the same in either store."""

from __future__ import annotations

import json

import msgspec
import pytest

from aegis_gateway.adapters.reports import Reports, ShadowReport, Sum
from aegis_gateway.application.batch import SHADOWS_MAX
from aegis_gateway.application.commands import Settle
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.decision import Reason, Shadow, Verdict
from tests.ledgers import (
    ATTRIBUTION,
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
        Shadow(policy="tight", would="deny"),
        Shadow(policy="loose", would="allow"),
        Shadow(policy="odd", would="error", message="`amount` is missing"),
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
            policy="loose",
            would="allow",
            calls=1,
            nano_usd=50,
            agents=(of("bot", 1, 50),),
            examples=("d",),
        ),
        ShadowReport(
            policy="odd",
            would="error",
            calls=2,
            nano_usd=30,
            agents=(of("bot", 2, 30),),
            examples=("e", "a"),
        ),
        ShadowReport(
            policy="tight",
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
        decide(ledger, f"call-{number:02}", Shadow(policy="tight", would="deny"))
    (report,) = Reports(reader.query).shadow("acme", 0)
    assert 10 == report.calls


def test_the_entry_tells_it(ledger: Ledger, store: Store) -> None:
    """In the decision, and of no more rules than fit there."""
    many = [Shadow(policy=f"rule-{number:03}", would="error", message="x" * 900) for number in range(100)]
    decide(ledger, "a", *many)
    decide(ledger, "b")
    first, second = (
        json.loads(row["body"]) for row in store.query("select body from entry order by sequence")
    )
    assert SHADOWS_MAX == len(first["shadow"])
    assert {"policy": "rule-000", "would": "error", "message": "x" * 200} == first["shadow"][0]
    assert "shadow" not in second


@pytest.mark.parametrize("would", ["deny", "error"])
def test_findings_leave_with_a_failed_batch(ledger: Ledger, store: Store, would: str) -> None:
    """A call that is decided twice is refused the second time, and leaves nothing more."""
    decide(ledger, "a", Shadow(policy="tight", would=would))  # type: ignore[arg-type]
    decide(ledger, "a", Shadow(policy="tight", would=would))  # type: ignore[arg-type]
    assert 1 == len(store.query("select 1 from shadow_finding"))
