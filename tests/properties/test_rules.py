"""A rule means what it says: Cedar finds of the policy that it became what its words come to in plain Python."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_gateway.adapters.cedar import CedarPolicies, CompiledPolicies
from aegis_gateway.adapters.cedar_lint import lint
from aegis_gateway.configuration.load import load
from aegis_gateway.configuration.prices import NoPrices
from aegis_gateway.domain.judge import PolicyRequest

DOCUMENT = """\
version: 1
tenants:
  acme:
    customers: {c-1: {}, c-2: {}}
    teams:
      desk: {cost_centre: CC-1, owner: o, default_budget: day}
      risk: {cost_centre: CC-2, owner: o, default_budget: day}
    projects: {mortgages: {team: desk}, audit: {team: risk}}
    agents:
      bot: {owner: ana, team: desk, project: mortgages, purpose: pays, role: payer, environment: live, tags: {c: web}}
      odd: {owner: 'a"n\\a', team: desk, purpose: pays, environment: test, tags: {c: "*", 'x "y': v}}
      sam: {owner: tom, team: risk, project: audit, purpose: looks, role: auditor, environment: live}
    connectors:
      ai: {kind: openai, base_url: "https://a.example", region: us, tags: {data: none}}
      pay:
        kind: http
        base_url: https://b.example
        region: eu
        tags: {data: money, 'odd "tag"': v}
        operations:
          send:
            method: POST
            path: /send
            price: {per_call: 0}
            arguments:
              amount: {type: number, from: body.amount}
              count: {type: integer, from: body.count}
              note: {type: string, from: body.note, required: false}
              fast: {type: boolean, from: body.fast, required: false}
          look:
            method: GET
            path: /look
            price: {per_call: 0}
            arguments:
              count: {type: integer, from: query.count, required: false}
    models: {m: {connector: ai}, n: {connector: ai}}
    budgets: {day: {owner: o, deputy: p, limit: 1, period: daily}}
    rules: %s
"""
REGISTRY = load({"aegis.yaml": DOCUMENT % "{}"}, NoPrices()).registries["acme"]
ARGUMENTS = {
    "pay.send": {"amount": "number", "count": "integer", "note": "string", "fast": "boolean"},
    "pay.look": {"count": "integer"},
    "chat": {"stream": "boolean", "choices": "integer", "max_output_tokens": "integer"},
}
PLACES = {"pay.send": ["pay"], "pay.look": ["pay"], "chat": ["m", "n"]}
SIGNS = "ab\"'\\*@(){}$;|& /\n\t\x00\u2028é😀"
HOSTILE = ['"); permit(principal,action,resource);//', "*", "\\", '\\"', "${x}", '@id("x")', ""]
TEXTS = st.sampled_from(HOSTILE) | st.text(alphabet=SIGNS, max_size=1)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "number": st.sampled_from(
        [Decimal(each) for each in ("-1.5", "0", "1", "1.0000", "1.0001", "99999999999.99")]
    ),
    "integer": st.integers(-1, 2),
    "string": TEXTS,
    "boolean": st.booleans(),
}
WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def some(values: list[str]) -> st.SearchStrategy[Any]:
    """One of some values, or a list of several."""
    return st.sampled_from(values) | st.lists(st.sampled_from(values), min_size=1, max_size=4)


def alone(name: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """One setting, with one of some values."""
    return st.fixed_dictionaries({name: values})


def settings_of(**values: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    """A few of some settings, rarely many: else nothing would ever match."""
    named = [alone(name, some(each)) for name, each in values.items()]
    few = st.lists(st.one_of(named), max_size=1)
    return few.map(lambda each: {name: value for one in each for name, value in one.items()})


WHO = st.builds(
    lambda named, tags: {**named, "tags": tags},
    settings_of(
        tenant=["acme"],
        team=["desk", "risk"],
        project=["mortgages", "audit"],
        agent=["bot", "odd", "sam", "unknown"],
        owner=["ana", 'a"n\\a'],
        cost_centre=["CC-1", "CC-2"],
        purpose=["pays", "looks"],
        role=["payer", "auditor"],
        environment=["live", "test"],
    ),
    st.just({})
    | st.just({})
    | st.fixed_dictionaries({}, optional={"c": some(["web", "*"]), 'x "y': some(["v"])}),
)
WHAT = st.builds(
    lambda named, tags: {**named, "tags": tags},
    settings_of(connector=["ai", "pay"], region=["us", "eu"], kind=["http", "openai"]),
    st.just({})
    | st.just({})
    | st.fixed_dictionaries({}, optional={"data": some(["none", "money"]), 'odd "tag"': some(["v"])}),
)


def compared(kind: str) -> st.SearchStrategy[Any]:
    """How a value of a type is compared."""
    value = VALUES[kind]
    operators = {"equals": value, "in": st.lists(value, min_size=1, max_size=3)}
    operators["not_in"] = operators["in"]
    if kind in ("number", "integer"):
        operators |= dict.fromkeys(("above", "at_least", "below", "at_most"), value)
    one = st.one_of([alone(name, each) for name, each in operators.items()])
    return value | operators["in"] | one | one | st.builds(lambda first, second: first | second, one, one)


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    """A rule about some tools, or about none by name."""
    tools = draw(st.lists(st.sampled_from(sorted(ARGUMENTS)), max_size=2, unique=True))
    what = draw(WHAT)
    if tools:
        what["tool"] = tools
        what.pop("connector", None)  # one that has no such tool is a mistake
    kinds: dict[str, str] = {}
    if tools or not {"connector"} & what.keys():
        for tool in tools or ARGUMENTS:
            kinds |= {f"args.{name}": kind for name, kind in ARGUMENTS[tool].items()}
    kinds |= {"cost.maximum_usd": "number", "cost.expected_usd": "number", "environment": "string"}
    asked = {name: compared(kind) for name, kind in kinds.items()}
    asked["customer"] = some(["c-1", "c-2"])
    asked["time.hours"] = st.tuples(st.integers(0, 23), st.integers(0, 24)).filter(
        lambda pair: pair[0] != pair[1]
    ).map(lambda pair: f"{pair[0]}-{pair[1]}")  # fmt: skip
    asked["time.weekdays"] = some([*WEEK, "mon-fri", "sat-mon"])
    names = draw(st.lists(st.sampled_from(sorted(asked)), min_size=1, max_size=2, unique=True))
    when = {name: draw(asked[name]) for name in names}
    return {"who": draw(WHO), "what": what, "when": when, "effect": draw(st.sampled_from(["allow", "deny"]))}


@st.composite
def asked_of(draw: st.DrawFn) -> tuple[dict[str, Any], list[PolicyRequest]]:
    """A rule, and calls of which many are of its tools."""
    rule = draw(rules())
    tools = listed(rule["what"].get("tool", sorted(ARGUMENTS)))
    return rule, [draw(calls(tools)) for _ in range(12)]


@st.composite
def calls(draw: st.DrawFn, tools: list[str]) -> PolicyRequest:
    """A call that a door may hand over: what a tool needs is there, the rest may be."""
    tool = draw(st.sampled_from(tools) | st.sampled_from(sorted(ARGUMENTS)))
    needed = {"amount", "count"} if tool == "pay.send" else {"stream", "choices"} if tool == "chat" else set()
    args = {
        name: draw(VALUES[kind])
        for name, kind in ARGUMENTS[tool].items()
        if name in needed or draw(st.booleans())
    }
    agent = draw(st.sampled_from(sorted(REGISTRY.agents)))
    cost = {"expected_usd": draw(VALUES["number"])}
    if draw(st.integers(0, 9)):
        cost["maximum_usd"] = draw(VALUES["number"])
    context: dict[str, object] = {
        "args": args,
        "environment": REGISTRY.agents[agent].environment,
        "cost": cost,
        "time": {"hour": draw(st.integers(0, 23)), "weekday": draw(st.integers(1, 7))},
    }
    if draw(st.booleans()):
        context["customer"] = draw(st.sampled_from(["c-1", "c-2"]))
    kind = "Model" if tool == "chat" else "Connector"
    place = draw(st.sampled_from(PLACES[tool]))
    return PolicyRequest(agent=agent, action=tool, resource_type=kind, resource=place, context=context)  # type: ignore[arg-type]  # one of two words


def listed(value: Any) -> list[Any]:
    """A value alone, or a list, as a list."""
    return value if isinstance(value, list) else [value]


def is_about(rule: dict[str, Any], call: PolicyRequest) -> bool:
    """Whether a rule's `who` and `what` are this call's."""
    agent = REGISTRY.agents[call.agent]
    model = REGISTRY.models[call.resource] if call.resource_type == "Model" else None
    connector = REGISTRY.connectors[model.connector if model else call.resource]
    who = {"tenant": "acme", "agent": agent.id} | {
        name: getattr(agent, name)
        for name in ("team", "project", "owner", "cost_centre", "purpose", "role", "environment")
    }
    what = {
        "tool": call.action,
        "connector": connector.id,
        "region": connector.region,
        "kind": connector.kind,
    }
    return all(
        found.get(name) in listed(values)
        for named, mine, tags in ((rule["who"], who, agent.tags), (rule["what"], what, connector.tags))
        for found, wanted in ((mine, {k: v for k, v in named.items() if k != "tags"}), (tags, named["tags"]))
        for name, values in wanted.items()
    )


def same(one: Any, other: Any) -> bool:
    """Equal, and both a flag or neither."""
    return bool(one == other and isinstance(one, bool) == isinstance(other, bool))


def holds(name: str, wanted: Any, call: PolicyRequest) -> bool | None:
    """Whether a condition holds; None where it errs: a call without a maximum."""
    context: Any = call.context
    if name == "time.hours":
        begin, end = map(int, wanted.split("-"))
        hour = context["time"]["hour"]
        return bool(begin <= hour < end if begin < end else hour >= begin or hour < end)
    if name == "time.weekdays":
        spelled = {"mon-fri": WEEK[:5], "sat-mon": ("sat", "sun", "mon")}
        days = {day for each in listed(wanted) for day in spelled.get(each, (each,))}
        return WEEK[context["time"]["weekday"] - 1] in days
    for step in name.split("."):
        if step not in context:
            return None if name == "cost.maximum_usd" else False
        context = context[step]
    value = context
    comparisons = wanted if isinstance(wanted, dict) else {"in": listed(wanted)}
    known: dict[str, Callable[[Any], bool]] = {
        "equals": lambda each: same(value, each),
        "in": lambda each: any(same(value, one) for one in each),
        "not_in": lambda each: not any(same(value, one) for one in each),
        "above": lambda each: bool(value > each),
        "at_least": lambda each: bool(value >= each),
        "below": lambda each: bool(value < each),
        "at_most": lambda each: bool(value <= each),
    }
    return all(known[operator](each) for operator, each in comparisons.items())


def meaning(rule: dict[str, Any], call: PolicyRequest) -> bool | None:
    """Whether a rule is about a call and all of its conditions hold, asked in order; None where one errs."""
    if not is_about(rule, call):
        return False
    for name, wanted in rule["when"].items():
        found = holds(name, wanted, call)
        if not found:
            return found
    return True


class Numbers(json.JSONEncoder):
    """JSON in which decimals are written as such."""

    def default(self, o: object) -> object:
        """A decimal as a text with a mark around it."""
        return f"<{o:f}>" if isinstance(o, Decimal) else super().default(o)


def as_yaml(rule: dict[str, Any]) -> str:
    """A rule as the file may have it: JSON is YAML."""
    text = json.dumps({"it": rule}, cls=Numbers, ensure_ascii=False)
    return re.sub(r'"<(-?[0-9.]+)>"', r"\1", text).replace("\u2028", "\\u2028")


@settings(max_examples=200)
@given(asked_of())
def test_a_rule_means_what_it_says(drawn: tuple[dict[str, Any], list[PolicyRequest]]) -> None:
    """Whatever a rule says, of whatever calls, and what is compared with however hostile texts."""
    rule, asked = drawn
    loaded = load({"aegis.yaml": DOCUMENT % as_yaml(rule)}, NoPrices())
    (file,) = loaded.policies["acme"]
    policies = CedarPolicies(REGISTRY, CompiledPolicies(((file.path, file.text),)))
    for call in asked:
        found = policies.evaluate(call)
        assert meaning(rule, call) is (None if found.faults else bool(found.matched)), file.text


@given(rules())
def test_what_lint_says_of_a_rule(rule: dict[str, Any]) -> None:
    """The Cedar that a rule becomes has no mistake but that the rule can't ever match."""
    loaded = load({"aegis.yaml": DOCUMENT % as_yaml(rule)}, NoPrices())
    (file,) = loaded.policies["acme"]
    for problem in lint(loaded.registries, file.path, file.text):
        assert "can never match" in problem.message, f"{problem}\n{file.text}"
