"""What rules did is what the calls say that they decided, on every store."""

from __future__ import annotations

import msgspec
import pytest

from aegis_gateway.adapters.reports import CallFilter, Reports
from aegis_gateway.adapters.rule_reports import RuleDid, RuleReports
from aegis_gateway.application.commands import Admit, Settle
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.decision import Reason, Shadow, Verdict
from tests.ledgers import (
    ATTRIBUTION,
    DAY_NS,
    HOUR_NS,
    NOON_NS,
    PERMITTED,
    TurnableClock,
    admission,
    budget,
    cost,
    quote,
    rate,
)

TIGHT = (budget("tight", 250, period="daily"),)
CAPPED = Verdict(
    effect="allow",
    reasons=(*PERMITTED.reasons, Reason(code="capped", message="policy `short` caps", subject="short")),
)
NO = Verdict(effect="deny", reasons=(Reason(code="denied_by_policy", message="never", subject="no"),))
NONE = Verdict(effect="deny", reasons=(Reason(code="no_permit", message="nothing permits", subject="chat"),))
ODD = Verdict(effect="deny", reasons=(Reason(code="unknown_tool", message="?", subject="any words"),))


def ask(name: str, agent: str = "bot", **settings: object) -> Admit:
    """A call that may come to 100, and is expected to come to 60."""
    who = msgspec.structs.replace(ATTRIBUTION, agent=agent)
    return admission(name, quoted=quote(100, 60), attribution=who, **settings)  # type: ignore[arg-type]  # any of them


@pytest.fixture
def rules(store: Store, ledger: Ledger, clock: TurnableClock) -> RuleReports:
    """After two days of calls that were permitted, capped, refused by policy, budget, rate and for want of a permit."""
    ledger.process([ask("a", budgets=TIGHT), ask("b", "clerk", budgets=TIGHT, verdict=CAPPED)])
    ledger.process([ask("over", budgets=TIGHT), ask("no", verdict=NO), ask("none", verdict=NONE)])
    clock.turn(DAY_NS)
    quiet = msgspec.structs.replace(PERMITTED, shadow=(Shadow(rule="dear", would="deny"),))
    ledger.process([ask("c", verdict=quiet), ask("odd", verdict=ODD)])
    ledger.process([ask("quick", rates=(rate(limit=1),)), ask("quick too", rates=(rate(limit=1),))])
    ledger.process([Settle(call=name, tenant="acme", evidence=cost(30)) for name in ("a", "b")])
    return RuleReports(store.query)


def did(rule: str, what: str, calls: int, expected: int, cost: int = 0) -> RuleDid:
    """What a rule did."""
    return RuleDid(rule=rule, did=what, calls=calls, expected=expected, cost=cost)


def test_what_rules_did(rules: RuleReports) -> None:
    """Each rule once for a call, at what it was expected to cost; what it let through, at its cost; in its period."""
    assert [
        did("budget:tight", "budget_exhausted", 1, 60),
        did("dear", "would deny", 1, 100),
        did("no", "denied_by_policy", 1, 60),
        did("no_permit", "no_permit", 1, 60),
        did("p", "permitted", 4, 240, 60),
        did("rate:burst", "rate_limited", 1, 60),
        did("short", "capped", 1, 60),
    ] == rules.did("acme", NOON_NS, NOON_NS + 2 * DAY_NS)
    assert [did("p", "permitted", 2, 120, 60)] == [
        each for each in rules.did("acme", NOON_NS, NOON_NS + HOUR_NS) if each.did == "permitted"
    ]
    assert [] == rules.did("zeta", NOON_NS, NOON_NS + 2 * DAY_NS)


def test_over_time_and_by_agent(rules: RuleReports) -> None:
    """In each day what it did then; whose calls it decided, most first."""
    days = [
        (NOON_NS - DAY_NS, NOON_NS),
        (NOON_NS, NOON_NS + DAY_NS),
        (NOON_NS + DAY_NS, NOON_NS + 2 * DAY_NS),
    ]
    assert [{}, {"permitted": 2}, {"permitted": 2}] == rules.over_time("acme", "p", days)
    assert [{}, {}, {"would deny": 1}] == rules.over_time("acme", "dear", days)
    found = rules.agents("acme", "p", NOON_NS, NOON_NS + 2 * DAY_NS)
    assert [("bot", 3, 30), ("clerk", 1, 30)] == [(each.agent, each.calls, each.cost) for each in found]
    assert [] == rules.agents("acme", "p", 0, NOON_NS)


def test_calls_of_a_rule(rules: RuleReports, store: Store) -> None:
    """Those that it decided; what is said in a caller's words is no rule."""
    reports = Reports(store.query)

    def found(rule: str) -> set[str]:
        return {each.call for each in reports.calls("acme", CallFilter(rule=rule), 50)}

    assert {"a", "b", "c", "quick"} == found("p")
    assert [{"over"}, {"no"}, {"none"}] == [found(rule) for rule in ("budget:tight", "no", "no_permit")]
    assert {"quick too"} == found("rate:burst")
    assert set() == found("any words")
    assert "p" == next(each.rule for each in reports.calls("acme", CallFilter(), 50) if each.call == "a")
