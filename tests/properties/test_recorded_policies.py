"""What is certain of a call that the record shows in part is true of the whole call, whatever the rest of it is."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_gateway.adapters.cedar import CedarPolicies, CompiledPolicies
from aegis_gateway.adapters.cedar_recorded import RecordedPolicies
from aegis_gateway.domain.judge import Evaluation, PolicyRequest, Unknown, judge
from aegis_gateway.domain.registry import Registry

REGISTRY = Registry(
    tenant="acme",
    name="Acme",
    zone="UTC",
    teams={},
    projects={},
    agents={},
    connectors={},
    models={},
    quantities={},
    budgets={},
    rates={},
)
ATOMS = (
    "context.args.n > 3",
    "context.args.n == 3",
    'context.args.s == "x"',
    'context.args.s like "x*"',
    'context.args.o == "x"',
    'context.args.o like "*y"',
    "context.args has s",
    "context.args has o",
    "context.args has n",
    "context has args.o",
    "context has args",
    "context.args.b",
    'context.args == {"n": 3}',
    "context.args.o > 3",
    "true",
    "false",
)
EFFECTS = (
    "permit",
    "forbid",
    '@mode("shadow") forbid',
    '@effect("require_approval") forbid',
    '@mode("shadow") permit',
)

conditions = st.recursive(
    st.sampled_from(ATOMS),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]} && {pair[1]})"),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]} || {pair[1]})"),
        inner.map(lambda one: f"!({one})"),
        st.tuples(inner, inner, inner).map(lambda three: "(if {} then {} else {})".format(*three)),
    ),
    max_leaves=5,
)
sets_of_policies = st.lists(
    st.tuples(st.sampled_from(EFFECTS), st.sampled_from(("when", "unless")), conditions),
    min_size=1,
    max_size=4,
).map(
    lambda each: "\n".join(
        f'@id("p{number}") {effect}(principal, action, resource) {word} {{ {condition} }};'
        for number, (effect, word, condition) in enumerate(each)
    )
)
arguments = st.fixed_dictionaries(
    {"n": st.sampled_from((3, 5)), "s": st.sampled_from(("x", "xy", "z")), "b": st.booleans()},
    optional={"o": st.sampled_from(("x", "xy", "z"))},
)
hidden = st.dictionaries(
    st.sampled_from(("n", "s", "o", "b")), st.sampled_from(tuple(Unknown)), min_size=1, max_size=3
)


def request(args: dict[str, object]) -> PolicyRequest:
    """A call with such arguments."""
    return PolicyRequest(
        agent="bot", action="pay", resource_type="Connector", resource="api", context={"args": args}
    )


def by_policy(evaluation: Evaluation) -> dict[str, str]:
    """What came of each policy that matched or erred."""
    return {policy.id: "matched" for policy in evaluation.matched} | {
        fault.policy: "erred" for fault in evaluation.faults
    }


@settings(max_examples=250)
@given(sets_of_policies, arguments, hidden)
def test_what_is_certain_is_true(text: str, whole: dict[str, object], missing: dict[str, Unknown]) -> None:
    """A policy that isn't undecided comes to the same of the whole call, and so does a verdict that nothing opens."""
    shown: dict[str, object] = dict(whole)
    for name, known in missing.items():
        if name in whole or known is Unknown.PRESENCE:
            shown[name] = known
    compiled = CompiledPolicies((("p.cedar", text),))
    judges, recorded = CedarPolicies(REGISTRY, compiled), RecordedPolicies(REGISTRY, compiled)
    truth, told = by_policy(judges.evaluate(request(whole))), recorded.evaluate(request(shown))
    undecided = {policy.id for policy, _ in told.undecided}
    assert {name: what for name, what in truth.items() if name not in undecided} == by_policy(told)
    assert all(each.missing for _, each in told.undecided)
    verdict = judge(request(shown), recorded)
    if not verdict.undecided:
        real = judge(request(whole), judges)
        assert (real.effect, bool(real.asks)) == (verdict.effect, bool(verdict.asks))
