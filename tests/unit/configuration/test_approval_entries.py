"""`approvals` in aegis.yaml: what it comes to, what is told of mistakes in it, and what changes of it do."""

from __future__ import annotations

import pytest

from aegis_gateway.adapters.cedar_lint import lint
from aegis_gateway.bootstrap import compiled_policies
from aegis_gateway.bootstrap import lint as lint_all
from aegis_gateway.configuration.difference import difference
from aegis_gateway.domain.approval_route import APPROVERS, Escalation, Group, Route, Want
from aegis_gateway.domain.approval_rules import NO_RULES, ApprovalRules, Asked
from aegis_gateway.domain.risk import Stance
from aegis_gateway.domain.risk_of_changes import risk_of
from tests.ledgers import HOUR_NS, SECOND_NS
from tests.unit.configuration.example_document import loaded, told, written

RULES = """\
    approvals:
      groups:
        finance: [ana, ben]
        cfo: [cy]
        seniors: {role: finops}
      routes:
        - {tool: payments.create-payment, above_usd: 5, ask: [finance], needs: 2, within: 2h,
           escalate: {after: 30m, to: [cfo]}}
        - {team: lending, ask: seniors}
      valid_for: 30m
      hold: 60s
"""
FINANCE = Group(name="finance", people=("ana", "ben"))


def with_rules(text: str = RULES) -> str:
    """The document, with rules for approvals."""
    return written(("    name: North Bank\n", f"    name: North Bank\n{text}"))


def rules(text: str = RULES) -> ApprovalRules:
    """What they come to."""
    return loaded(with_rules(text)).registries["northbank"].approvals


def test_the_first_route_that_fits() -> None:
    """By tool and cost, by team, or else everybody who may approve."""
    found = rules()
    pay = Asked(tool="payments.create-payment", team="lending", maximum_nano_usd=6_000_000_000)
    assert Route(
        wants=(Want(groups=(FINANCE,), needs=2),),
        within_ns=2 * HOUR_NS,
        valid_for_ns=HOUR_NS // 2,
        escalation=Escalation(after_ns=HOUR_NS // 2, groups=(Group(name="cfo", people=("cy",)),)),
    ) == found.route(pay)
    cheap = Asked(tool="payments.create-payment", team="lending", maximum_nano_usd=5_000_000_000)
    seniors = Group(name="seniors", role="finops")
    assert (Want(groups=(seniors,)),) == found.route(cheap).wants
    assert (Want(groups=(APPROVERS,)),) == found.route(Asked(team="risk")).wants
    assert 60 * SECOND_NS == found.hold_ns
    assert NO_RULES == loaded(written()).registries["northbank"].approvals


def test_a_policy_that_names_its_approvers() -> None:
    """Is for them, whatever the route says; the route's times and escalation stay."""
    pay = Asked(tool="payments.create-payment", maximum_nano_usd=None)
    route = rules().route(pay, "cfo")
    assert ("cfo",) == tuple(group.name for group in route.asked(0))
    assert 2 * HOUR_NS == route.within_ns
    assert () == rules().route(pay, "gone").wants[0].groups[0].people


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [
        (
            "[ana, ben]",
            "[]",
            "aegis.yaml:7: tenants.northbank.approvals.groups.finance is a list; write people by their ids, as in "
            "[ana, ben], or a role, as in {role: approver}",
        ),
        (
            "{role: finops}",
            "{role: boss}",
            "aegis.yaml:9: tenants.northbank.approvals.groups.seniors is a group of settings; write people by their "
            "ids, as in [ana, ben], or a role, as in {role: approver}; roles are `admin`, `finops`, `approver`, "
            "`auditor`, `viewer`",
        ),
        (
            "ask: [finance]",
            "ask: [finanse]",
            "aegis.yaml:11: tenants.northbank.approvals.routes.0.ask has `finanse`, and there is no such group; did "
            "you mean `finance`?",
        ),
        (
            "after: 30m",
            "after: 2h",
            "aegis.yaml:12: tenants.northbank.approvals.routes.0.escalate.after is not before the request is over; "
            "write a time shorter than `within`",
        ),
        (
            "{team: lending, ask: seniors}",
            "{team: lending}",
            "aegis.yaml:13: tenants.northbank.approvals.routes.1 has no `ask`; write the groups that are asked, as in "
            "ask: [finance]",
        ),
        (
            "hold: 60s",
            "hold: 6m",
            "aegis.yaml:15: tenants.northbank.approvals.hold is `6m`; write at most 5m",
        ),
        (
            "valid_for",
            "valid_fro",
            "aegis.yaml:14: tenants.northbank.approvals has no setting `valid_fro`; did you mean `valid_for`?",
        ),
    ],
)
def test_a_mistake(right: str, wrong: str, expected: str) -> None:
    """Is told with its line, and what to write instead."""
    assert [expected] == told({"aegis.yaml": with_rules(RULES.replace(right, wrong))})


def test_groups_and_policies_that_there_are_not() -> None:
    """A policy that names another group is told of, and a route that is about another policy."""
    text = '@id("big") @effect("require_approval") @approvers("finanse")\nforbid (principal, action, resource);\n'
    registry = loaded(with_rules()).registries["northbank"]
    (problem,) = lint({"northbank": registry}, "p.cedar", text)
    assert (
        "policy `big`: there is no group `finanse` under `approvals`; did you mean `finance`?"
        == problem.message
    )
    (other,) = lint_all(loaded(with_rules(RULES.replace("{team: lending,", "{policy: bigger,"))))
    assert "name policy `bigger`, and there is none" in other.message


def test_what_changed_in_words() -> None:
    """Each setting by itself."""
    before = loaded(with_rules())
    after = loaded(with_rules(RULES.replace("[cy]", "[cy, dee]").replace("needs: 2, ", "")))
    (change,) = difference(before, after)
    assert (
        "changed tenant northbank: group cfo cy → cy, dee, approval route 1 tool payments.create-payment, "
        "above $5.00: ask finance, 2 of them, within 2h, after 30m also cfo → tool payments.create-payment, "
        "above $5.00: ask finance, within 2h, after 30m also cfo"
    ) == str(change)


def test_clients_that_are_sent_to_the_page() -> None:
    """Only where it is written so, and it is told as a change."""
    with_it = RULES.replace("hold: 60s", "hold: 60s\n      elicit: true")
    assert (False, True) == (rules().elicit, rules(with_it).elicit)
    (change,) = difference(loaded(with_rules()), loaded(with_rules(with_it)))
    assert "changed tenant northbank: MCP clients are sent to the page yes" == str(change)


@pytest.mark.parametrize(
    ("right", "other", "direction"),
    [
        ("[cy]", "[cy, dee]", "widening"),
        ("needs: 2, ", "", "widening"),
        ("valid_for: 30m", "valid_for: 1h", "widening"),
        ("valid_for: 30m", "valid_for: 10m", "narrowing"),
        ("hold: 60s", "owner_may_answer: true", "widening"),
        ("hold: 60s", "hold: 0s", "neutral"),
        ("hold: 60s", "hold: 60s\n      elicit: true", "neutral"),
        ("cfo: [cy]", "cfo: [cy]\n        more: [eve]", "neutral"),
    ],
)
def test_what_a_change_does(right: str, other: str, direction: str) -> None:
    """Other people, longer grants and owners' own words widen what can be agreed to."""
    before, after = (
        {"northbank": Stance(registry=loaded(with_rules(text)).registries["northbank"], policies={})}
        for text in (RULES, RULES.replace(right, other))
    )
    assert [direction] == [finding.direction for finding in risk_of(before, after).findings]


def test_a_rule_that_names_its_approvers() -> None:
    """It becomes the annotation, and one that is no group is told of where it is written."""
    written_rule = "{effect: require_approval, approvers: finance, what: {tool: payments.create-payment}}"
    rule = f"    rules:\n      big: {written_rule}\n"
    found = loaded(with_rules(RULES + rule))
    (policy,) = compiled_policies(found, "northbank").rules.values()
    assert ("big", "finance", ()) == (policy.id, policy.approvers, lint_all(found))
    (problem,) = lint_all(loaded(with_rules(RULES + rule.replace("finance", "finanse"))))
    assert (17, True) == (problem.line, "there is no group `finanse`" in problem.message)
