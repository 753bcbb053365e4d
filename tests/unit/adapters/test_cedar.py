from __future__ import annotations

import dataclasses
import json
from decimal import Decimal
from typing import Any

import cedarpy
import msgspec
import pytest
from cedarpy import pst
from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.adapters.cedar import CedarPolicies, CompiledPolicies
from aegis_gateway.domain.errors import CallError, ConfigurationError
from aegis_gateway.domain.judge import Evaluation, PolicyRequest
from aegis_gateway.domain.registry import Agent, Connector, Model, Project, Registry, Team

BOT = Agent(
    id="bot",
    owner="ana@acme.example",
    team="desk",
    cost_centre="CC-1",
    purpose="test",
    environment="production",
    budget="day",
    project="mortgages",
    tags={"channel": "web"},
)
LONER = msgspec.structs.replace(BOT, id="loner", team="risk", project=None, tags={})
REGISTRY = Registry(
    tenant="acme",
    name="Acme",
    zone="UTC",
    teams={
        "desk": Team(id="desk", name="Desk", cost_centre="CC-1", owner="ana@acme.example"),
        "risk": Team(id="risk", name="Risk", cost_centre="CC-2", owner="rob@acme.example"),
    },
    projects={"mortgages": Project(id="mortgages", name="Mortgages", team="desk")},
    agents={"bot": BOT, "loner": LONER},
    connectors={
        "openai": Connector(id="openai", kind="openai", base_url="http://x", region="eu", tags={"data": "none"}),
        "pay": Connector(id="pay", kind="http", base_url="http://x", region="us"),
    },
    models={"m": Model(id="m", connector="openai", upstream="m", price=None)},
    quantities={},
    budgets={},
    rates={},
)  # fmt: skip


def policies(text: str) -> CedarPolicies:
    """One file of policies."""
    return CedarPolicies(REGISTRY, CompiledPolicies((("p.cedar", text),)))


def request(**arguments: object) -> PolicyRequest:
    """A call of an operation."""
    return PolicyRequest(
        agent="bot",
        action="pay.create",
        resource_type="Connector",
        resource="pay",
        context={"args": arguments, "environment": "production", "cost": {"maximum_usd": Decimal("0.25")}},
    )


def outcome(evaluation: Evaluation) -> tuple[list[str], list[str]]:
    """The ids of what matched and of what erred."""
    return [policy.id for policy in evaluation.matched], [fault.policy for fault in evaluation.faults]


PERMIT = '@id("all") permit(principal, action, resource)'


@pytest.mark.parametrize(
    ("clause", "arguments", "matches"),
    [
        ("", {}, True),
        ('when { principal in Team::"desk" }', {}, True),
        ('when { principal in Team::"risk" }', {}, False),
        ('when { principal in Project::"mortgages" }', {}, True),
        ('when { principal in Tenant::"acme" }', {}, True),
        ('when { principal == Agent::"bot" }', {}, True),
        ('when { principal.tags has channel && principal.tags.channel == "web" }', {}, True),
        ('when { principal.cost_centre == "CC-1" }', {}, True),
        ('when { action == Action::"pay.create" }', {}, True),
        ('when { resource == Connector::"pay" }', {}, True),
        ('when { resource.region == "us" && resource.kind == "http" }', {}, True),
        ('when { context.environment == "production" }', {}, True),
        ("when { context.args.n == 5 }", {"n": 5}, True),
        ("when { context.args.n > 5 }", {"n": 5}, False),
        ("when { context.args.n == 9223372036854775807 }", {"n": 2**63 - 1}, True),
        ('when { context.args.a.lessThan(decimal("5000.0")) }', {"a": Decimal("4999.99")}, True),
        ('when { context.args.a.lessThan(decimal("5000.0")) }', {"a": Decimal("5E+3")}, False),
        ('when { context.args.s == "x" }', {"s": "x"}, True),
        ("when { context.args.b }", {"b": True}, True),
        ("when { context.args has n }", {}, False),
        ("unless { context.args has n }", {}, True),
        ('when { context.cost.maximum_usd.lessThan(decimal("1.0")) }', {}, True),
        ("when { context has cost }", {}, True),
        ("when { context has nothing }", {}, False),
        ("when { context.args == {n: 5} }", {"n": 5}, True),
        ("when { context.args == {n: 5} }", {"n": 5, "m": 1}, False),
    ],
)
def test_what_policies_see(clause: str, arguments: dict[str, object], matches: bool) -> None:
    """Agent, action, resource and typed arguments stand where the example says that they do."""
    assert (["all"] * matches, []) == outcome(policies(f"{PERMIT} {clause};").evaluate(request(**arguments)))


def test_models_stand_in_their_connector() -> None:
    """A model is a resource in its connector, whose region, tags and kind it has."""
    asked = PolicyRequest(
        agent="bot", action="chat", resource_type="Model", resource="m", context={"args": {}}
    )
    clause = (
        'when { resource in Connector::"openai" && resource.region == "eu" && resource.tags.data == "none" }'
    )
    assert (["all"], []) == outcome(policies(f"{PERMIT} {clause};").evaluate(asked))


def test_every_match_comes_back_whatever_its_effect() -> None:
    """A forbid that matches is one match among others, sorted by id: what they mean is decided elsewhere."""
    text = '@id("b") permit(principal, action, resource); @id("a") @reason("no") forbid(principal, action, resource);'
    evaluation = policies(text).evaluate(request())
    assert [("a", "deny", "no"), ("b", "permit", "")] == [
        (policy.id, policy.effect, policy.reason) for policy in evaluation.matched
    ]


@pytest.mark.parametrize("effect", ["permit", "forbid"])
@pytest.mark.parametrize(
    ("condition", "arguments"),
    [
        ("context.args.amount > 5", {}),
        ("context.args.amount > 5", {"amount": "six"}),
        ("context.args.amount > 5", {"amount": Decimal("6.0")}),
        ("context.args.n + 1 > 0", {"n": 2**63 - 1}),
        ("context.args.deep.deeper == 1", {"deep": 1}),
        ("principal.nothing == 1", {}),
    ],
)
def test_a_policy_that_errs_is_told(effect: str, condition: str, arguments: dict[str, object]) -> None:
    """An error names its policy, whether it would permit or forbid: it is never silently skipped."""
    text = f'@id("errs") {effect}(principal, action, resource) when {{ {condition} }}; {PERMIT};'
    assert (["all"], ["errs"]) == outcome(policies(text).evaluate(request(**arguments)))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Decimal("0.00001"), "more than 4 decimals"),
        (Decimal("1e15"), "too large"),
        (Decimal("NaN"), "too large"),
        (Decimal("1e-30"), "more than 4 decimals"),
        (2**63, "does not fit into 64 bits"),
        (-(2**63), "does not fit into 64 bits"),
        (1.5, "no type that a policy can see"),
        (None, "no type that a policy can see"),
    ],
)
def test_values_that_cedar_cannot_hold(value: object, words: str) -> None:
    """They are refused by their path where a policy looks at them."""
    text = f"{PERMIT} when {{ context.args has a && context.args.a == 1 }};"
    with pytest.raises(CallError, match=words) as caught:
        policies(text).evaluate(request(a=value))
    assert "context.args.a" == caught.value.field


def test_what_a_caller_sends_is_no_cedar_value() -> None:
    """A text that looks like an entity or a decimal is a text."""
    texts = {"a": '{"__entity": {"type": "Agent", "id": "root"}}', "b": 'decimal("1.0")'}
    text = f'{PERMIT} when {{ context.args.a == Agent::"root" || context.args.b == decimal("1.0") }};'
    assert ([], []) == outcome(policies(text).evaluate(request(**texts)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("permit(principal, action, resource)", "is not Cedar"),
        ("permit(principal, action, resource);", 'a permit has no id; write @id("a-name")'),
        ('@id("") forbid(principal, action, resource);', "a forbid has no id"),
        (f"{PERMIT}; {PERMIT};", "policy id `all` is used twice"),
        ('@id("a") @reson("x") permit(principal, action, resource);', "there is no annotation `@reson`"),
        ('@id("a") @effect("deny") permit(principal, action, resource);', "a permit has no @effect"),
        ('@id("a") @effect("ask") forbid(principal, action, resource);', "there is no effect `ask`"),
        ('@id("a") permit(principal == ?principal, action, resource);', "templates"),
    ],
)
def test_mistakes_in_policies(text: str, words: str) -> None:
    """Each mistake is told with its file and what to write instead."""
    with pytest.raises(ConfigurationError) as caught:
        policies(text)
    assert "p.cedar" in str(caught.value)
    assert words in str(caught.value)


def test_the_version_is_that_of_the_texts() -> None:
    """The same files are the same version in any order, other words are another."""
    first, second = ("a.cedar", f"{PERMIT};"), ("b.cedar", PERMIT.replace("all", "some") + ";")
    version = CompiledPolicies((first, second)).version
    assert version == CompiledPolicies((second, first)).version
    assert version != CompiledPolicies((first,)).version
    assert 12 == len(version)


# Policies that look at the context in every way there is, so that what is left out of it could matter.
CONDITIONS = [
    "context.args.amount > 5",
    "context.args.amount == context.args.limit",
    "context.args has amount",
    "context.args has amount && context.args.amount > 5",
    "context.args has note && context.args.note like \"*x*\"",
    "context.args.note == \"x\" || context.args.flag",
    "if context.args has flag then context.args.flag else context.args.amount < 3",
    "context has args",
    "context has args.amount",
    "context.args == {amount: 6}",
    "context.args[\"amount\"] == 6",
    "context == {args: {}, environment: \"production\"}",
    "context.cost.maximum_usd.lessThan(decimal(\"1.0\"))",
    "context.cost has maximum_usd",
    "!(context.environment == \"production\")",
    "{a: context.args.amount, b: context.args.limit} has a",
    "[context.args.amount, 6].contains(6)",
    "[context.args].contains({amount: 6})",
    "(if context.args has limit then context.args else context.cost) has amount",
    "principal.tags has channel && context.args has amount",
    "context.args.missing.deeper == 1",
]  # fmt: skip

NAMED = [
    f'@id("p{number:02d}") {"permit" if number % 2 else "forbid"}(principal, action, resource) when {{ {condition} }};'
    for number, condition in enumerate(CONDITIONS)
]

ARGUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "amount": st.integers(4, 7) | st.just("6"),
        "limit": st.integers(4, 7),
        "note": st.sampled_from(["x", "axb", ""]),
        "flag": st.booleans(),
        "unseen": st.integers(0, 3) | st.just("x"),
    },
)
CONTEXTS = st.fixed_dictionaries(
    {"args": ARGUMENTS, "environment": st.sampled_from(["production", "test"])},
    optional={"cost": st.fixed_dictionaries({}, optional={"maximum_usd": st.just(Decimal("0.25"))})},
)


def evaluated_plainly(
    text: str, asked: PolicyRequest, entities: list[dict[str, Any]]
) -> tuple[list[str], list[str]]:
    """The same policies on the whole of the context, straight through cedarpy: nothing left out or remembered."""
    parsed = cedarpy.policies_to_pst(text).static_policies.values()
    renamed = {
        each.annotations["id"]: dataclasses.replace(each, id=each.annotations["id"], effect="permit")
        for each in parsed
    }
    nodes = pst.PolicySet(templates={}, static_policies=pst.FrozenMap(renamed), template_links=())

    def written(value: object) -> object:
        if isinstance(value, Decimal):
            return {"__extn": {"fn": "decimal", "arg": f"{value:.4f}"}}
        return {key: written(inner) for key, inner in value.items()} if isinstance(value, dict) else value

    answer = cedarpy.is_authorized(
        {
            "principal": f'Agent::"{asked.agent}"',
            "action": f'Action::"{asked.action}"',
            "resource": f'{asked.resource_type}::"{asked.resource}"',
            "context": json.dumps(written(asked.context)),
        },
        cedarpy.PolicySet.from_pst(nodes),
        cedarpy.Entities.from_json_str(json.dumps(entities)),
    )
    failed = [message.partition("policy `")[2].partition("`")[0] for message in answer.diagnostics.errors]
    return sorted(answer.diagnostics.reasons), sorted(failed)


PLAIN_ENTITIES: list[dict[str, Any]] = [
    {"uid": {"type": "Agent", "id": "bot"}, "attrs": {"tags": {"channel": "web"}}, "parents": []},
    {"uid": {"type": "Connector", "id": "pay"}, "attrs": {}, "parents": []},
]


@given(
    st.lists(st.sampled_from(NAMED), min_size=1, max_size=6, unique=True),
    st.lists(CONTEXTS, min_size=1, max_size=8),
)
def test_leaving_out_and_remembering_change_no_answer(
    texts: list[str], contexts: list[dict[str, Any]]
) -> None:
    """With only what policies mention, and from memory, each answer is that of an evaluation without either."""
    text = "\n".join(texts)
    compiled = policies(text)
    for context in [*contexts, *contexts]:
        asked = PolicyRequest(
            agent="bot", action="pay.create", resource_type="Connector", resource="pay", context=context
        )
        assert evaluated_plainly(text, asked, PLAIN_ENTITIES) == outcome(compiled.evaluate(asked))


@given(CONTEXTS, CONTEXTS)
def test_answers_of_one_agent_are_not_anothers(first: dict[str, Any], second: dict[str, Any]) -> None:
    """What is remembered of one agent, action or resource answers for no other."""
    compiled = policies(
        '@id("desk") permit(principal in Team::"desk", action, resource);'
        '@id("create") permit(principal, action == Action::"pay.create", resource) when { context.args has amount };'
        '@id("pay") permit(principal, action, resource == Connector::"pay");'
    )
    for context in (first, second):
        for agent in ("bot", "loner"):
            for action in ("pay.create", "pay.show"):
                for resource in ("pay", "openai"):
                    asked = PolicyRequest(
                        agent=agent,
                        action=action,
                        resource_type="Connector",
                        resource=resource,
                        context=context,
                    )
                    expected = (
                        ["create"] * (action == "pay.create" and "amount" in context["args"])
                        + ["desk"] * (agent == "bot")
                        + ["pay"] * (resource == "pay")
                    )
                    assert (expected, []) == outcome(compiled.evaluate(asked))
