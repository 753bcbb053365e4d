"""`asks` in aegis.yaml: what it comes to, what is told of mistakes in it, and what changes of it do."""

from __future__ import annotations

import pytest

from aegis_gateway.configuration.difference import difference
from aegis_gateway.domain.approval_rules import NO_ASKS, AskRule, AskRules
from aegis_gateway.domain.risk import Stance
from aegis_gateway.domain.risk_of_changes import risk_of
from tests.ledgers import HOUR_NS
from tests.unit.configuration.example_document import loaded, told, written

ASKS = """\
    approvals: {groups: {finance: [ana], chief: [cy]}}
    asks:
      routes:
        - {up_to: 50, ask: [budget_owner]}
        - {up_to: 5000.00, ask: [finance], within: 2h, escalate: {after: 30m, to: [chief]}}
        - {ask: [finance, chief], needs: 2}
      within: 12h
"""
PLACE = "tenants.northbank.asks"


def with_asks(text: str = ASKS) -> str:
    """The document, with rules of who is asked for more."""
    return written(("    name: North Bank\n", f"    name: North Bank\n{text}"))


def rules(text: str = ASKS) -> AskRules:
    """What they come to."""
    return loaded(with_asks(text)).registries["northbank"].asks


def test_routes() -> None:
    """Amounts in nano-dollars, the owner by the name of a group; without the setting there are none."""
    assert (
        AskRules(
            routes=(
                AskRule(ask=("budget_owner",), up_to_nano_usd=50_000_000_000),
                AskRule(
                    ask=("finance",),
                    up_to_nano_usd=5_000_000_000_000,
                    within_ns=2 * HOUR_NS,
                    escalate_after_ns=HOUR_NS // 2,
                    escalate_to=("chief",),
                ),
                AskRule(ask=("finance", "chief"), needs=2),
            ),
            within_ns=12 * HOUR_NS,
        )
        == rules()
    )
    assert NO_ASKS == loaded(written()).registries["northbank"].asks


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [
        (
            "[budget_owner]",
            "[budget_owners]",
            f"aegis.yaml:8: {PLACE}.routes.0.ask has `budget_owners`, and there is no such group; did you mean "
            "`budget_owner`?",
        ),
        (
            "after: 30m",
            "after: 2h",
            f"aegis.yaml:9: {PLACE}.routes.1.escalate.after is not before the request is over; write a time shorter "
            "than `within`",
        ),
        (
            "up_to: 50,",
            "up_to: 5000,",
            f"aegis.yaml:9: {PLACE}.routes.1 is never asked: an earlier route is for such amounts; write the "
            "smallest `up_to` first, and the route without one last",
        ),
        (
            "{up_to: 5000.00, ask",
            "{ask",
            f"aegis.yaml:10: {PLACE}.routes.2 is never asked: an earlier route is for such amounts; write the "
            "smallest `up_to` first, and the route without one last",
        ),
        (
            "within: 12h",
            "withn: 12h",
            f"aegis.yaml:11: {PLACE} has no setting `withn`; did you mean `within`?",
        ),
        (
            "chief: [cy]}",
            "chief: [cy], budget_owner: [dee]}",
            "aegis.yaml:5: tenants.northbank.approvals.groups.budget_owner is what `asks` calls a budget's owner and "
            "deputy; give the group another name than `budget_owner`",
        ),
    ],
)
def test_a_mistake(right: str, wrong: str, expected: str) -> None:
    """Is told with its line, and what to write instead."""
    assert [expected] == told({"aegis.yaml": with_asks(ASKS.replace(right, wrong))})


def test_what_changed_in_words() -> None:
    """Each route by itself."""
    (change,) = difference(loaded(with_asks()), loaded(with_asks(ASKS.replace("up_to: 50,", "up_to: 70,"))))
    assert (
        "changed tenant northbank: asks route 1 up to $50.00: ask budget_owner → up to $70.00: ask budget_owner"
        == str(change)
    )


@pytest.mark.parametrize(
    ("right", "other", "direction"),
    [
        ("up_to: 50,", "up_to: 70,", "widening"),
        ("needs: 2", "needs: 1", "widening"),
        ("within: 12h", "within: 13h", "neutral"),
        (ASKS[ASKS.index("    asks:") :], "", "narrowing"),
    ],
)
def test_what_a_change_does(right: str, other: str, direction: str) -> None:
    """Other routes let other people raise limits; none let only those who may anyway."""
    before, after = (
        {"northbank": Stance(registry=loaded(with_asks(text)).registries["northbank"], policies={})}
        for text in (ASKS, ASKS.replace(right, other))
    )
    assert [direction] == [finding.direction for finding in risk_of(before, after).findings]
