"""Visibility is sound: what `judge` would permit under any arguments and circumstances is never hidden."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import product

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_gateway.adapters.cedar import CedarPolicies, CompiledPolicies
from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.judgement import Circumstances, policy_context
from aegis_gateway.application.visibility import known_context, reach_of
from aegis_gateway.domain.judge import PolicyRequest, judge
from aegis_gateway.domain.price import ToolPrice
from aegis_gateway.domain.quote import Quote
from aegis_gateway.domain.registry import Agent, Argument, Connector, Model, Operation, Registry, Team

NOW_NS = 1_780_000_000_000_000_000
FREE = ToolPrice(per_call_nano_usd=0, version="v")


def _argument(name: str, kind: str, *, required: bool = True) -> Argument:
    return msgspec.convert(
        {"name": name, "type": kind, "source": ("body", name), "required": required}, Argument
    )


NUMBER, TEXT = _argument("n", "integer"), _argument("s", "string")
OPTIONAL, FLAG = _argument("o", "string", required=False), _argument("b", "boolean")
ARGUMENTS = {
    "pay.wire": (NUMBER, TEXT),
    "pay.show": (NUMBER,),
    "pay.note": (TEXT, OPTIONAL),
    "web.find": (OPTIONAL, FLAG),
    "web.ping": (),
}


def _operation(name: str) -> Operation:
    return Operation(
        id=name.partition(".")[2], method="POST", path="/", price=FREE, arguments=ARGUMENTS[name]
    )


def _agent(name: str, team: str, environment: str) -> Agent:
    return Agent(
        id=name,
        owner="ana",
        team=team,
        cost_centre="CC",
        purpose="test",
        environment=environment,
        budget="day",
        role="buyer" if team == "desk" else "",
    )


REGISTRY = Registry(
    tenant="acme",
    name="Acme",
    zone="UTC",
    teams={name: Team(id=name, name=name, cost_centre="CC", owner="ana") for name in ("desk", "lab")},
    projects={},
    agents={
        "bot": _agent("bot", "desk", "production"),
        "probe": _agent("probe", "lab", "test"),
    },
    connectors={
        name: Connector(
            id=name,
            kind="http",
            base_url="http://x",
            region=region,
            operations=tuple(map(_operation, [each for each in ARGUMENTS if each.startswith(f"{name}.")])),
        )
        for name, region in (("pay", "eu"), ("web", "us"))
    },
    models={"gpt": Model(id="gpt", connector="web", upstream="gpt", price=None)},
    quantities={},
    budgets={},
    rates={},
)
ATOMS = (
    "context.args.n > 3",
    'context.args.s == "x"',
    'context.args.o == "x"',
    "context.args.b",
    "context.args has o",
    "context.args has n",
    "context has args.o",
    "context has args",
    'context.args == {"n": 3}',
    "context.args has nothing",
    "context.args.max_output_tokens < 100",
    "context has parent",
    'context.customer == "c1"',
    "context has customer && context.customer like \"c*\"",
    'context.run == "r"',
    "context has run",
    "context.depth > 1",
    "context.budget.utilisation >= 80",
    "context.budget == {utilisation: 80}",
    'context.cost.expected_usd.greaterThan(decimal("1.0"))',
    'context.cost.maximum_usd.lessThan(decimal("1.0"))',
    "context.cost has maximum_usd",
    "context has cost.expected_usd",
    "context.time.hour >= 12",
    "context.time.business_hours",
    'context.environment == "production"',
    'principal.role == "buyer"',
    'principal in Team::"desk"',
    'resource.region == "eu"',
    'action == Action::"pay.wire"',
    '[Action::"pay.wire", Action::"web.ping"].contains(action)',
    "context == {}",
    "principal.nothing == 1",
    "true",
    "false",
)  # fmt: skip
EFFECTS = (
    "permit",
    "permit",
    "forbid",
    '@mode("shadow") forbid',
    '@mode("shadow") permit',
    '@effect("require_approval") forbid',
    '@effect("downgrade") @model("a") forbid',
    '@effect("downgrade") @model("b") forbid',
    '@effect("throttle") @limit("1") @every("1s") forbid',
)
SCOPES = (
    "principal, action, resource",
    "principal, action, resource",
    'principal in Team::"desk", action, resource',
    'principal == Agent::"probe", action, resource',
    'principal, action == Action::"pay.wire", resource',
    'principal, action in [Action::"pay.show", Action::"web.find", Action::"chat"], resource',
    'principal, action, resource == Connector::"pay"',
    'principal, action, resource in Connector::"web"',
    'principal in Tenant::"acme", action == Action::"web.ping", resource == Connector::"web"',
)
atoms = st.sampled_from(ATOMS)
conditions = atoms | st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]} && {pair[1]})"),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]} || {pair[1]})"),
        inner.map(lambda one: f"!({one})"),
        st.tuples(inner, inner, inner).map(lambda three: "(if {} then {} else {})".format(*three)),
    ),
    max_leaves=4,
)
clauses = st.one_of(
    st.just(""),
    st.tuples(st.sampled_from(("when", "unless")), conditions).map(lambda two: "{} {{ {} }}".format(*two)),
)
permits = st.tuples(st.just("permit"), st.sampled_from(SCOPES[:4]), clauses)
others = st.lists(st.tuples(st.sampled_from(EFFECTS), st.sampled_from(SCOPES), clauses), max_size=3)
policies = st.tuples(permits, others).map(
    lambda each: "\n".join(
        f'@id("p{number}") {effect}({scope}) {clause};'
        for number, (effect, scope, clause) in enumerate((each[0], *each[1]))
    )
)
VALUES: dict[str, tuple[object, ...]] = {"n": (3, 5), "s": ("x", "z"), "o": ("x", "z"), "b": (True, False)}
"""All that calls' arguments are, as far as policies here can tell."""
CHATS: tuple[dict[str, object], ...] = ({}, {"max_output_tokens": 50}, {"max_output_tokens": 500})


def _calls_of(tool: str) -> Iterator[dict[str, object]]:
    choices = [VALUES[each.name] if each.required else (*VALUES[each.name], None) for each in ARGUMENTS[tool]]
    for values in product(*choices):
        named = zip((each.name for each in ARGUMENTS[tool]), values, strict=True)
        yield {name: value for name, value in named if value is not None}


CALLS: list[tuple[str, str, dict[str, object]]] = [
    *((tool, "", args) for tool in ARGUMENTS for args in _calls_of(tool)),
    *(("chat", "gpt", {"stream": True, "choices": 1, "tools": 0, **more}) for more in CHATS),
]
amounts = st.sampled_from((0, 2_000_000_000))
circumstances = st.builds(
    Circumstances,
    now_ns=st.just(NOW_NS),
    run=st.sampled_from(("r", "q")),
    parent=st.sampled_from((None, "call")),
    depth=st.sampled_from((0, 2)),
    customer=st.sampled_from((None, "c1", "d")),
    utilisation=st.sampled_from((0, 80)),
)
quotes = st.builds(
    Quote,
    expected=st.fixed_dictionaries({"usd": amounts}),
    maximum=st.fixed_dictionaries({}, optional={"usd": amounts}),
    price_source=st.just("contract"),
    price_version=st.just("v"),
)


def view_of(text: str) -> TenantView:
    """A tenant with such policies."""
    compiled = CompiledPolicies((("p.cedar", text),))
    return TenantView(
        epoch=1,
        config_version=1,
        registry=REGISTRY,
        policies=CedarPolicies(REGISTRY, compiled),
        arguments_key=b"",
    )


@settings(max_examples=250)
@given(
    policies,
    st.sampled_from(("bot", "probe")),
    st.lists(st.tuples(circumstances, quotes), min_size=4, max_size=4),
)
def test_what_could_be_permitted_is_never_hidden(
    text: str, agent: str, around: list[tuple[Circumstances, Quote]]
) -> None:
    """Whatever call is permitted, its tool is visible."""
    view = view_of(text)
    caller = REGISTRY.agents[agent]
    reach = reach_of(view, caller, NOW_NS)
    for action, model, args in CALLS:
        if reach.model(action, model) if model else reach.tool(action):
            continue
        for each, quote in around:
            asked = PolicyRequest(
                agent=agent,
                action=action,
                resource_type="Model" if model else "Connector",
                resource=model or action.partition(".")[0],
                context=policy_context(caller, args, quote, REGISTRY, each),
            )
            assert not judge(asked, view.policies).permits, action


@settings(max_examples=60)
@given(policies, st.sampled_from(SCOPES), st.sampled_from(("bot", "probe")))
def test_what_is_denied_by_scope_alone_is_hidden(text: str, scope: str, agent: str) -> None:
    """A denial without conditions hides all that it holds for, whatever else is said."""
    denial = f'@id("never") forbid({scope});'
    view, alone = view_of(f"{text}\n{denial}"), view_of(denial).policies
    reach = reach_of(view, REGISTRY.agents[agent], NOW_NS)
    for tool in ARGUMENTS:
        asked = PolicyRequest(
            agent=agent,
            action=tool,
            resource_type="Connector",
            resource=tool.partition(".")[0],
            context={"args": {}},
        )
        if alone.evaluate(asked).matched:
            assert not reach.tool(tool)


def test_what_is_known_has_the_names_of_a_call() -> None:
    """The context of what is known is that of a call, but for the arguments."""
    quote = Quote(expected={"usd": 0}, maximum={"usd": 0}, price_source="contract", price_version="v")
    around = Circumstances(now_ns=NOW_NS, parent="call", customer="c")
    agent = REGISTRY.agents["bot"]
    call = policy_context(agent, {"n": Decimal(1)}, quote, REGISTRY, around)
    known = known_context(agent, REGISTRY, NOW_NS)
    assert call.keys() - {"args"} == known.keys()
    for name in ("cost", "budget", "time"):
        assert msgspec.to_builtins(call[name]).keys() == dict(known[name]).keys()  # type: ignore[call-overload]
