"""Slices leave out what cannot match, and nothing else."""

from __future__ import annotations

import dataclasses
import json

import cedarpy
import msgspec
from cedarpy import pst
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aegis_gateway.adapters.cedar import CedarPolicies, CompiledPolicies, PolicyCompiler
from aegis_gateway.adapters.cedar_slices import Slices
from aegis_gateway.domain.judge import PolicyRequest
from aegis_gateway.domain.registry import Agent, Connector, Model, Project, Registry, Team

TEAMS = {"desk": "CC-1", "risk": "CC-2"}
PROJECTS = {"mortgages": "desk", "audit": "risk"}
AGENTS = {"bot": ("desk", "mortgages"), "stray": ("desk", "audit"), "loner": ("risk", None)}
CONNECTORS = {"openai": "eu", "pay": "us"}
MODELS = {"m": "openai", "n": "openai"}
ACTIONS = ("chat", "embed", "pay.create")

REGISTRY = Registry(
    tenant="acme",
    name="Acme",
    zone="UTC",
    teams={name: Team(id=name, name=name, cost_centre=centre, owner="o") for name, centre in TEAMS.items()},
    projects={name: Project(id=name, name=name, team=team) for name, team in PROJECTS.items()},
    agents={
        name: Agent(
            id=name, owner="o", team=team, cost_centre="c", purpose="p", environment="e", budget="b", project=project
        )
        for name, (team, project) in AGENTS.items()
    },
    connectors={
        name: Connector(id=name, kind="openai", base_url="http://x", region=region)
        for name, region in CONNECTORS.items()
    },
    models={
        name: Model(id=name, connector=connector, upstream=name, price=None)
        for name, connector in MODELS.items()
    },
    quantities={},
    budgets={},
    rates={},
)  # fmt: skip


def named(kind: str, called: str, *parents: tuple[str, str], **attributes: str) -> dict[str, object]:
    """An entity as Cedar's JSON has it."""
    above = [{"type": parent, "id": each} for parent, each in parents]
    return {"uid": {"type": kind, "id": called}, "attrs": attributes, "parents": above}


ENTITIES = cedarpy.Entities.from_json_str(
    json.dumps(
        [
            named("Tenant", "acme", name="Acme"),
            *(named("Team", name, ("Tenant", "acme"), cost_centre=centre) for name, centre in TEAMS.items()),
            *(named("Project", name, ("Team", team)) for name, team in PROJECTS.items()),
            *(
                named(
                    "Agent",
                    name,
                    ("Team", team),
                    ("Tenant", "acme"),
                    *([("Project", project)] if project else []),
                    team=team,
                )
                for name, (team, project) in AGENTS.items()
            ),
            *(named("Connector", name, region=region) for name, region in CONNECTORS.items()),
            *(
                named("Model", name, ("Connector", connector), region=CONNECTORS[connector])
                for name, connector in MODELS.items()
            ),
        ]
    )
)
"""All there is, written down a second time."""

PEOPLE = [
    *('Agent::"bot"', 'Agent::"stray"', 'Agent::"loner"', 'Agent::"nobody"'),
    *('Team::"desk"', 'Team::"risk"', 'Project::"mortgages"', 'Project::"audit"', 'Tenant::"acme"'),
]
PLACES = ['Model::"m"', 'Model::"n"', 'Connector::"openai"', 'Connector::"pay"']


def scopes(variable: str, entities: list[str], types: list[str]) -> st.SearchStrategy[str]:
    """Everything that a scope can say of a principal or a resource."""
    entity, kind = st.sampled_from(entities), st.sampled_from(types)
    return (
        st.just(variable)
        | entity.map(lambda each: f"{variable} == {each}")
        | entity.map(lambda each: f"{variable} in {each}")
        | kind.map(lambda each: f"{variable} is {each}")
        | st.tuples(kind, entity).map(lambda pair: f"{variable} is {pair[0]} in {pair[1]}")
    )


ACTION = st.sampled_from([f'Action::"{name}"' for name in ACTIONS])
ACTION_SCOPES = (
    st.just("action")
    | ACTION.map(lambda each: f"action == {each}")
    | ACTION.map(lambda each: f"action in {each}")
    | st.lists(ACTION, max_size=3).map(lambda each: f"action in [{', '.join(each)}]")
)
CONDITIONS = st.sampled_from(
    [
        "",
        "when { context.amount > 3 }",
        "unless { context.amount > 3 }",
        "when { context.missing }",
        'when { principal in Team::"risk" }',
        'when { Team::"desk".cost_centre == "CC-1" }',
        'when { resource.region == "eu" }',
        'when { resource in Connector::"openai" && context.amount == 4 }',
        'unless { Agent::"loner" in Project::"audit" }',
    ]
)
POLICIES = st.lists(
    st.tuples(
        st.sampled_from(["permit", "forbid"]),
        scopes("principal", PEOPLE, ["Agent", "Team"]),
        ACTION_SCOPES,
        scopes("resource", PLACES, ["Model", "Connector"]),
        CONDITIONS,
    ),
    max_size=12,
)
QUESTIONS = st.tuples(
    st.sampled_from(sorted(AGENTS)),
    st.sampled_from(ACTIONS),
    st.sampled_from([("Model", "m"), ("Model", "n"), ("Connector", "openai"), ("Connector", "pay")]),
    st.integers(2, 5),
)


def unsliced(text: str, request: PolicyRequest) -> tuple[list[str], list[str]]:
    """Every policy evaluated on all entities and the whole context, straight through cedarpy."""
    nodes = {
        each.annotations["id"]: dataclasses.replace(each, id=each.annotations["id"], effect="permit")
        for each in cedarpy.policies_to_pst(text).static_policies.values()
    }
    whole = pst.PolicySet(templates={}, static_policies=pst.FrozenMap(nodes), template_links=())
    answer = cedarpy.is_authorized(
        {
            "principal": f'Agent::"{request.agent}"',
            "action": f'Action::"{request.action}"',
            "resource": f'{request.resource_type}::"{request.resource}"',
            "context": json.dumps(request.context),
        },
        cedarpy.PolicySet.from_pst(whole),
        ENTITIES,
    )
    erred = [message.partition("policy `")[2].partition("`")[0] for message in answer.diagnostics.errors]
    return sorted(answer.diagnostics.reasons), sorted(erred)


@settings(max_examples=300)
@given(POLICIES, st.lists(QUESTIONS, min_size=1, max_size=6))
@example(
    [("permit", 'principal in Team::"risk"', "action", "resource", "")],
    [("stray", "chat", ("Model", "m"), 2)],
)
def test_sliced_is_unsliced(
    written: list[tuple[str, ...]], asked: list[tuple[str, str, tuple[str, str], int]]
) -> None:
    """Whatever policies say and whoever asks, a slice answers as all of them would: matches and errors."""
    text = "\n".join(
        f'@id("p{number:02d}") {effect}({principal}, {action}, {resource}) {condition};'
        for number, (effect, principal, action, resource, condition) in enumerate(written)
    )
    policies = CedarPolicies(REGISTRY, CompiledPolicies((("p.cedar", text),)))
    for agent, action, (kind, name), amount in asked:
        request = PolicyRequest(
            agent=agent,
            action=action,
            resource_type="Model" if kind == "Model" else "Connector",
            resource=name,
            context={"amount": amount},
        )
        found = policies.evaluate(request)
        assert unsliced(text, request) == (
            [policy.id for policy in found.matched],
            [fault.policy for fault in found.faults],
        )


def uid(kind: str, name: str) -> pst.EntityUid:
    """What an entity is called."""
    return pst.EntityUid(type=pst.EntityType(basename=kind, namespace=()), id=name)


def slices(text: str) -> Slices:
    """Slices of policies."""
    parsed = cedarpy.policies_to_pst(text).static_policies.values()
    return Slices({each.annotations["id"]: each for each in parsed})


def test_a_slice_has_only_what_can_match() -> None:
    """Policies for other teams, actions and models are not in it; where there is none, there is no slice."""
    found = slices(
        '@id("a") permit(principal in Team::"desk", action, resource);'
        '@id("b") permit(principal in Team::"risk", action, resource);'
        '@id("c") permit(principal, action == Action::"chat", resource == Model::"m");'
        '@id("d") permit(principal is Team, action, resource);'
    )
    desk, risk = (uid("Agent", "bot"), uid("Team", "desk")), (uid("Agent", "loner"), uid("Team", "risk"))
    model = (uid("Model", "m"), uid("Connector", "openai"))
    both = found.of(desk, uid("Action", "chat"), model)
    one = found.of(desk, uid("Action", "embed"), model)
    assert both is not None
    assert one is not None
    assert (2, 1) == (len(both.policies), len(one.policies))
    assert one is found.of(desk, uid("Action", "other"), (uid("Connector", "pay"),))
    assert one is not found.of(risk, uid("Action", "embed"), model)
    assert None is found.of((uid("Agent", "nobody"),), uid("Action", "embed"), model)


def test_a_slice_mentions_what_its_own_policies_do() -> None:
    """What only other policies look at, a question is not told apart by."""
    found = slices(
        '@id("a") permit(principal, action == Action::"chat", resource) when { context.time.hour > 3 };'
        '@id("b") permit(principal, action == Action::"embed", resource) when { context.customer == "x" };'
    )
    chat = found.of((uid("Agent", "bot"),), uid("Action", "chat"), (uid("Model", "m"),))
    assert chat is not None
    assert {"time": {"hour": None}} == chat.mentioned


def test_what_stayed_the_same_is_not_compiled_again() -> None:
    """The same files are compiled once for all tenants, and a file that stayed is parsed once for all versions."""
    shared = ("all.cedar", '@id("a") permit(principal, action, resource);')
    first, second = (
        ("x.cedar", f'@id("x") permit(principal, action == Action::"{it}", resource);') for it in "12"
    )
    compiler = PolicyCompiler()
    before = compiler.compile({"acme": (shared,), "mill": (shared,), "bank": (shared, first)})
    after = compiler.compile({"acme": (shared,), "bank": (shared, second)})
    assert before["acme"] is before["mill"]
    assert before["bank"] is not before["acme"]
    assert before["bank"].version != after["bank"].version
    assert before["acme"].version == after["acme"].version
    bot = PolicyRequest(agent="bot", action="1", resource_type="Model", resource="m", context={})
    assert [["a", "x"], ["a"]] == [
        [policy.id for policy in CedarPolicies(REGISTRY, compiled).evaluate(bot).matched]
        for compiled in (before["bank"], after["bank"])
    ]


def test_a_changed_agent_is_in_other_slices() -> None:
    """Policies outlive a change of the registry; who an agent is doesn't."""
    compiled = CompiledPolicies(
        (("p.cedar", '@id("a") permit(principal in Team::"risk", action, resource);'),)
    )
    request = PolicyRequest(agent="bot", action="chat", resource_type="Model", resource="m", context={})
    moved = msgspec.structs.replace(REGISTRY.agents["bot"], team="risk", project=None)
    changed = msgspec.structs.replace(REGISTRY, agents={**REGISTRY.agents, "bot": moved})
    assert () == CedarPolicies(REGISTRY, compiled).evaluate(request).matched
    assert ("a",) == tuple(policy.id for policy in CedarPolicies(changed, compiled).evaluate(request).matched)
