"""Rules: the Cedar that they become, and their mistakes, each told on its line of the file."""

from __future__ import annotations

import pytest

from aegis_gateway.configuration.difference import difference, warnings
from tests.unit.configuration.example_document import DOCUMENT, loaded, told

HEAD = f"{DOCUMENT}    rules:\n      it:\n"
LINES = HEAD.count("\n")
PAY = "what: {tool: payments.create-payment}"


def document(*lines: str) -> str:
    """The document with one rule."""
    return HEAD + "".join(f"        {line}\n" for line in lines)


def cedar(*lines: str) -> str:
    """The policy that a rule becomes."""
    (file,) = loaded(document(*lines)).policies["northbank"]
    return file.text


def conditions(when: str, *others: str) -> list[str]:
    """What a rule's `when` becomes."""
    text = cedar(f"when: {when}", "effect: deny", *others)
    return [line.removesuffix(";")[7:-2] for line in text.splitlines() if line.startswith("when {")]


def mistakes(*lines: str) -> list[str]:
    """What is told of a rule: its line within it, and the words after the rule's own path."""
    found = []
    for each in told({"aegis.yaml": document(*lines)}):
        _, line, words = each.split(":", 2)
        found.append(f"{int(line) - LINES}: {words.strip().replace('tenants.northbank.rules.it', 'it')}")
    return found


def test_a_rule_in_full() -> None:
    """Who and what go into the scope, where policies are found by; everything comes from its line."""
    text = document(
        "who: {team: lending, role: [payer, clerk]}",
        PAY,
        "when: {args.amount: {above: 5000}}",
        "effect: require_approval",
        'message: payments above $5,000 need "a person"',
        "mode: shadow",
    )
    expected = """\
@id("it")
@effect("require_approval")
@reason("payments above $5,000 need \\"a person\\"")
@mode("shadow")
forbid (
  principal in Team::"lending",
  action == Action::"payments.create-payment",
  resource
)
when { ["payer", "clerk"].contains(principal.role) }
when { context.args.amount.greaterThan(decimal("5000.0000")) };
"""
    (file,) = loaded(text).policies["northbank"]
    assert expected == file.text
    assert [0, 4, 5, 6, 0, 1, 2, 0, 0, 1, 3] == [line - LINES for line in file.lines]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{agent: loan-bot}", 'principal == Agent::"loan-bot"'),
        ("{tenant: northbank}", 'principal in Tenant::"northbank"'),
        ("{team: lending, project: mortgages}", 'principal in Project::"mortgages"'),
        ("{team: [lending, risk]}", "principal,"),
        ("{}", "principal,"),
    ],
)
def test_whom_a_policy_is_found_by(written: str, expected: str) -> None:
    """The smallest group that is named alone stands in the scope."""
    assert expected in cedar(f"who: {written}", "effect: allow")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{args.amount: {above: 1}}", 'context.args.amount.greaterThan(decimal("1.0000"))'),
        ("{args.amount: {at_least: 0.1}}", 'context.args.amount.greaterThanOrEqual(decimal("0.1000"))'),
        ("{args.amount: {below: -1}}", 'context.args.amount.lessThan(decimal("-1.0000"))'),
        ("{args.amount: {at_most: 1}}", 'context.args.amount.lessThanOrEqual(decimal("1.0000"))'),
        ("{args.amount: 1}", 'context.args.amount == decimal("1.0000")'),
        ("{args.currency: [EUR, USD]}", '["EUR", "USD"].contains(context.args.currency)'),
        ("{args.currency: {not_in: EUR}}", '!(context.args.currency == "EUR")'),
        ("{depth: {above: 3}}", "context.depth > 3"),
        ("{depth: {at_least: 3}}", "context.depth >= 3"),
        ("{depth: {below: 3, at_most: 2}}", "context.depth < 3 && context.depth <= 2"),
        ("{time.hours: 9-17}", "(context.time.hour >= 9 && context.time.hour < 17)"),
        ("{time.hours: 22-6}", "(context.time.hour >= 22 || context.time.hour < 6)"),
        ("{time.weekdays: sat}", "context.time.weekday == 6"),
        ("{time.weekdays: [sat-mon, wed]}", "[1, 3, 6, 7].contains(context.time.weekday)"),
        ("{in_region: false}", "principal.regions.contains(resource.region) == false"),
        ("{time.business_hours: false}", "context.time.business_hours == false"),
    ],
)
def test_a_condition(written: str, expected: str) -> None:
    """Each way to compare, on values of each type."""
    assert [expected] == conditions(written, PAY)


def test_what_may_be_missing_is_asked_for() -> None:
    """An argument that some tool of the rule lacks is looked for first: else the policy would err."""
    assert [
        'context.args has kind && context.args.kind == "fx"',
    ] == conditions("{args.kind: fx}", "what: {connector: payments}")
    assert ["context.args has max_output_tokens && context.args.max_output_tokens > 9"] == conditions(
        "{args.max_output_tokens: {above: 9}}", "what: {model: gpt-4o-mini, tool: chat}"
    )


@pytest.mark.parametrize(
    ("effect", "expected"),
    [
        ("effect: cap\nmax_output_tokens: 500", '@effect("cap")\n@max_output_tokens("500")\n'),
        ("effect: cap\nmax_cost_usd: 0.50", '@effect("cap")\n@max_cost_usd("0.50")\n'),
        ("effect: downgrade\nmodel: gpt-4o-mini", '@effect("downgrade")\n@model("gpt-4o-mini")\n'),
        (
            "effect: throttle\nlimit: 5\nevery: 1s\nper: agent",
            '@effect("throttle")\n@limit("5")\n@every("1s")\n@per("agent")\n',
        ),
        (
            "effect: redact\nkinds: [ssn, dob]\nfields: patient_name\nin: response",
            '@effect("redact")\n@kinds("ssn dob")\n@fields("patient_name")\n@in("response")\n',
        ),
    ],
)
def test_an_effect(effect: str, expected: str) -> None:
    """Its settings become annotations of the same names."""
    assert expected in cedar("what: {tool: chat}", *effect.split("\n"))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            ("who: {team: lendng}", "effect: deny"),
            "1: it.who.team is `lendng`, and there is no such team; did",
        ),
        (("who: {tem: lending}", "effect: deny"), "1: it.who has no setting `tem`; did you mean `team`?"),
        (
            ("what: {tool: chta}", "effect: deny"),
            "1: it.what.tool is `chta`, and there is no such tool; did",
        ),
        (
            ("what: {region: uk}", "effect: deny"),
            "1: it.what.region is `uk`, and no connector is there; there",
        ),
        (("what: {tags: {a: b}}", "effect: deny"), "1: it.what.tags.a is a tag that no connector has; none"),
        (
            (PAY, "when:", "  args.amuont: {above: 1}", "effect: deny"),
            "3: it.when.args.amuont is no argument of `payments.create-payment`; did you mean `amount`?",
        ),
        (
            (PAY, "when: {args.amount: {over: 1}}", "effect: deny"),
            "2: it.when.args.amount.over is no way to compare; did you mean `above`?",
        ),
        (
            (PAY, 'when: {args.amount: {above: "1"}}', "effect: deny"),
            "2: it.when.args.amount.above is `1`, and this is compared with a number, without quotes",
        ),
        (
            (PAY, "when: {args.amount: {above: 0.00001}}", "effect: deny"),
            "2: it.when.args.amount.above is `0.00001`; policies compare numbers of up to four decimals",
        ),
        (
            (PAY, "when: {args.currency: {above: EUR}}", "effect: deny"),
            "2: it.when.args.currency.above compares numbers, and this is a string; write equals or in",
        ),
        ((PAY, "when: {args.currency: 5}", "effect: deny"), "2: it.when.args.currency is `5`, and this is"),
        (("when: {coust: 5}", "effect: deny"), "1: it.when.coust is nothing to ask about; "),
        (
            ("when: {customer: c}", "effect: deny"),
            "1: it.when.customer is `c`, and there is no such customer",
        ),
        (("when: {time.hours: 9}", "effect: deny"), "1: it.when.time.hours is `9`; write from which hour"),
        (("when: {time.hours: 9-25}", "effect: deny"), "1: it.when.time.hours is `9-25`; write from which"),
        (
            ("when: {time.weekdays: monday}", "effect: deny"),
            "1: it.when.time.weekdays is `monday`; write days",
        ),
        (("when: {}",), "0: it has no `effect`; write what is done to such a call, as in effect: deny"),
        (("effect: refuse",), "1: it.effect is `refuse`; write allow, deny"),
        (
            ("effect: redact", "in: response"),
            "0: it has no `kinds` or `fields`, and `effect: redact` needs it",
        ),
        (("effect: redact", "kinds: sin"), "2: it.kinds is `sin`; did you mean `ssn`?"),
        (("effect: downgrade",), "0: it has no `model`, and `effect: downgrade` needs it"),
        (
            ("effect: deny", "limit: 5"),
            "2: it.limit is for `effect: throttle`, and this is `deny`; leave it out",
        ),
        (
            ("effect: cap", "max_output_tokens: 5"),
            "0: it caps an answer's tokens; name tools that have such a",
        ),
        (
            ("what: {tool: [chat, embed]}", "effect: cap", "max_output_tokens: 5"),
            "1: it.what.tool is `embed`, which has no output limit to cap; name another",
        ),
    ],
)
def test_a_mistake(lines: tuple[str, ...], expected: str) -> None:
    """One is told, on its line, with what to write instead."""
    found = mistakes(*lines)
    assert 1 == len(found), found
    assert found[0].startswith(expected), found


def test_a_rule_of_a_faulty_tool_is_not_told_of() -> None:
    """What is wrong with the tool is told once, where it stands."""
    text = document(PAY, "when: {args.amount: {above: 1}}", "effect: deny")
    found = told({"aegis.yaml": text.replace("method: POST", "method: SEND")})
    assert 1 == len(found), found


def test_a_change_of_a_rule() -> None:
    """It is shown as people write it, not as lines of Cedar."""
    old = loaded(document(PAY, "when: {args.amount: {above: 5000}}", "effect: deny"))
    new = loaded(document(PAY, "when: {args.amount: {above: 6000}}", "effect: deny"))
    assert ["changed rule it: when args.amount above 5000 → args.amount above 6000"] == [
        str(change) for change in difference(old, new)
    ]


def test_what_no_agent_here_is() -> None:
    """It may be meant for imported agents, so it is only asked about."""
    found = warnings(None, loaded(document("who: {role: payer, environment: production}", "effect: allow")))
    assert [
        "northbank: rule `it` is about role `payer`, and no agent in the file is that; imported ones may be"
    ] == [warning for warning in found if "rule" in warning]
