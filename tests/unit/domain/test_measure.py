"""What of passed thresholds holds for a call, and what it makes of what the policies say."""

from __future__ import annotations

import msgspec

from aegis_gateway.domain.admit import BudgetClaim, Standings
from aegis_gateway.domain.ledger import Standing
from aegis_gateway.domain.measure import Measure, measures, with_measures
from aegis_gateway.domain.passing import exhausted, settled, with_thresholds, with_word
from aegis_gateway.domain.threshold import Threshold, ThresholdAct
from aegis_gateway.domain.window import Window
from tests.ledgers import NOON_NS, PERMITTED, SECOND_NS, budget, on_exhaustion, threshold

WINDOW = Window(label="2026-11", starts_ns=0, ends_ns=2**62)
STEPS = (threshold(80, "notify", "block"), on_exhaustion("require_approval"))


def balance(claim: BudgetClaim, posted: int) -> Standing:
    """A budget's balance with so much spent."""
    opened, _ = with_thresholds(claim, Standing(), NOON_NS)
    spent, _ = settled(msgspec.structs.replace(opened, posted=posted), NOON_NS, is_rolling=False)
    return spent


def held(claim: BudgetClaim, standing: Standing, now_ns: int = NOON_NS) -> list[tuple[str, str]]:
    """What holds, by threshold."""
    key = (claim.budget, claim.scope, WINDOW.label)
    standings = Standings(windows=(WINDOW,), balances={key: standing}, arrivals={})
    return [(each.threshold, each.kind) for each in measures((claim,), standings, now_ns)]


def claim(*thresholds: Threshold) -> BudgetClaim:
    """A budget of 1,000 with thresholds."""
    return budget("month", 1_000, thresholds=thresholds or STEPS)


def test_what_is_passed_holds_and_what_only_tells_does_not() -> None:
    """Below its amount nothing holds; from it on what holds calls, and at the end what is done then."""
    assert [] == held(claim(), balance(claim(), 799))
    assert [("80", "block")] == held(claim(), balance(claim(), 800))
    assert [("80", "block"), ("exhausted", "require_approval")] == held(claim(), balance(claim(), 1_000))


def test_a_refusal_exhausts() -> None:
    """A budget that had too little left for a call is exhausted, whatever is spent of it."""
    standing, turns = exhausted(balance(claim(), 500), NOON_NS, is_rolling=False)
    assert ["refused"] == [each.why for each in turns]
    assert [("exhausted", "require_approval")] == held(claim(), standing)


def test_a_grace_lets_it_go_on_for_so_much_or_so_long() -> None:
    """What is done begins when so much more is spent, or so much later, to the nanosecond."""
    more = claim(threshold(80, "block", grace_amount=50))
    assert [] == held(more, balance(more, 849))
    assert [("80", "block")] == held(more, balance(more, 850))
    later = claim(threshold(80, "block", grace_ns=SECOND_NS))
    assert [] == held(later, balance(later, 900), NOON_NS + SECOND_NS - 1)
    assert [("80", "block")] == held(later, balance(later, 900), NOON_NS + SECOND_NS)


def test_what_waits_for_a_word_holds_from_a_yes_on() -> None:
    """Before it and after a no nothing holds."""
    asked = claim(threshold(80, "block", waits_for_word=True))
    standing = balance(asked, 900)
    assert [] == held(asked, standing)
    yes, _ = with_word(standing, "80", NOON_NS, is_granted=True)
    no, _ = with_word(standing, "80", NOON_NS, is_granted=False)
    assert [("80", "block")] == held(asked, yes)
    assert [] == held(asked, no)


def measure(kind: str, mode: str = "enforce") -> Measure:
    """A measure of the month's budget."""
    return Measure(
        budget="month",
        scope="bot",
        threshold="80",
        kind=kind,  # type: ignore[arg-type]
        text="budget `month` is past 80% of its limit",
        owner="ann@example.com",
        limit=3,
        period_ns=SECOND_NS,
        mode=mode,  # type: ignore[arg-type]
    )


def test_a_block_refuses_and_says_which_threshold_of_whose_budget() -> None:
    """The reason names budget, threshold and owner; nothing of what was permitted is left."""
    verdict = with_measures(PERMITTED, (measure("block"), measure("throttle")))
    assert "deny" == verdict.effect
    (reason,) = verdict.reasons
    assert ("budget_measure", "budget:month@80") == (reason.code, reason.subject)
    assert (
        "budget `month` is past 80% of its limit, and its calls are blocked; ask its owner ann@example.com"
        == reason.message
    )
    assert ((), ()) == (verdict.throttles, verdict.asks)


def test_a_question_and_a_throttle_are_as_policies_of_that_name() -> None:
    """Somebody is asked, and calls on the balance are throttled together."""
    verdict = with_measures(PERMITTED, (measure("require_approval"), measure("throttle")))
    assert verdict.permits
    assert [("approval_required", "budget:month@80")] == [(each.code, each.subject) for each in verdict.asks]
    (throttle,) = verdict.throttles
    assert ("budget:month@80", 3, SECOND_NS, "bot") == (
        throttle.policy,
        throttle.limit,
        throttle.period_ns,
        throttle.scope,
    )


def test_nothing_is_permitted_by_a_measure() -> None:
    """What policies refuse stays as they refuse it."""
    denied = msgspec.structs.replace(PERMITTED, effect="deny")
    assert denied == with_measures(denied, (measure("require_approval"), measure("block")))


def test_in_shadow_it_is_only_told() -> None:
    """The call passes, and each measure is told of as what it would have done."""
    verdict = with_measures(PERMITTED, (measure("block", "shadow"), measure("downgrade", "shadow")))
    assert verdict.permits
    assert [("budget:month@80", "deny"), ("budget:month@80", "downgrade")] == [
        (each.rule, each.would) for each in verdict.shadow
    ]


def test_a_threshold_of_an_amount_is_passed_at_it() -> None:
    """Whatever the limit is."""
    fixed = claim(Threshold(id="amount-300", amount=300, acts=(ThresholdAct(kind="block"),)))
    assert [] == held(fixed, balance(fixed, 299))
    assert [("amount-300", "block")] == held(fixed, balance(fixed, 300))
