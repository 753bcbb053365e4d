from __future__ import annotations

import pytest

from aegis_gateway.adapters.cedar import CompiledPolicies
from aegis_gateway.adapters.cedar_recorded import RecordedPolicies
from aegis_gateway.domain.judge import Unknown, judge
from tests.unit.adapters.test_cedar import REGISTRY, request

VALUE, PRESENCE = Unknown.VALUE, Unknown.PRESENCE
PERMIT = '@id("all") permit(principal, action, resource);'
DENY = '@id("no") forbid(principal, action, resource) when { %s };'


def recorded(text: str) -> RecordedPolicies:
    """One file of policies."""
    return RecordedPolicies(REGISTRY, CompiledPolicies((("p.cedar", text),)))


@pytest.mark.parametrize(
    ("condition", "arguments", "expected"),
    [
        ('context.args.memo == "x"', {"memo": VALUE}, "undecided"),
        ('context.args.n > 5 && context.args.memo == "x"', {"n": 3, "memo": VALUE}, "no match"),
        ('context.args.n > 5 || context.args.memo == "x"', {"n": 7, "memo": VALUE}, "match"),
        ('context.args has memo && context.args.memo == "x"', {"memo": VALUE}, "undecided"),
        ("context.args has memo && context.args.n > 5", {"n": 7, "memo": VALUE}, "match"),
        ("context has args.memo && context.args.n > 5", {"n": 7, "memo": VALUE}, "match"),
        ("context.args has memo && context.args.n > 5", {"n": 7, "memo": PRESENCE}, "undecided"),
        ("context.args == {n: 7}", {"n": 7, "memo": PRESENCE}, "undecided"),
        ("context.args.n > 5", {"n": 7, "memo": PRESENCE}, "match"),
        ("context.args.nothing > 5", {"n": 7, "memo": VALUE}, "error"),
        ("context has args", {"memo": PRESENCE}, "match"),
    ],
)
def test_what_the_record_decides(condition: str, arguments: dict[str, object], expected: str) -> None:
    """A policy is decided where the record has all that it looks at, in the order in which it looks."""
    found = recorded(DENY % condition).evaluate(request(**arguments))
    names = {
        "match": [policy.id for policy in found.matched],
        "error": [fault.policy for fault in found.faults],
        "undecided": [policy.id for policy, _ in found.undecided],
    }
    assert {expected} - {"no match"} == {name for name, ids in names.items() if ids == ["no"]}


@pytest.mark.parametrize(
    ("text", "effect", "open_rules"),
    [
        (PERMIT + DENY % 'context.args.memo == "x"', "allow", ["no"]),
        (DENY % 'context.args.memo == "x"', "deny", []),
        (PERMIT + DENY % 'context.args.memo == "x"' + '@id("sure") forbid(principal, action, resource);', "deny", []),
        ('@id("may") permit(principal, action, resource) when { context.args.memo == "x" };', "deny", ["may"]),
        (PERMIT + '@mode("shadow")' + DENY % 'context.args.memo == "x"', "allow", []),
    ],
)  # fmt: skip
def test_what_is_left_open(text: str, effect: str, open_rules: list[str]) -> None:
    """A verdict is open only if a policy that acts could change it."""
    verdict = judge(request(memo=VALUE), recorded(text))
    assert (effect, open_rules) == (verdict.effect, [each.rule for each in verdict.undecided])
    assert all(("memo",) == each.missing for each in verdict.undecided)
