"""Contexts that have the same key have the same answer: one is asked about, and the other gets what Cedar would say."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_gateway.adapters.cedar import CedarPolicies, CompiledPolicies
from aegis_gateway.domain.errors import CallError
from aegis_gateway.domain.judge import Evaluation, PolicyRequest
from tests.properties.test_recorded_policies import REGISTRY

ATOMS = (
    "context.args.n > 3",
    "5 > context.args.n",
    "context.args.n == 4",
    "context.args.n != context.args.m",
    "context.args.n + 1 > 5",
    'context.args.a.greaterThan(decimal("10.0"))',
    'context.args.a.lessThanOrEqual(decimal("10.5"))',
    'decimal("-1.0").lessThan(context.args.a)',
    'context.args.a == decimal("10.0")',
    "context.args.a == 10",
    "context.args has m",
    "context.args has a",
    "context has args",
    "context.args == {n: 4}",
    'context.args.s == "x"',
    "context.args.n == true",
)
conditions = st.recursive(
    st.sampled_from(ATOMS),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]} && {pair[1]})"),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]} || {pair[1]})"),
        inner.map(lambda one: f"!({one})"),
    ),
    max_leaves=4,
)
numbers = st.one_of(st.integers(2, 6), st.sampled_from((2**63 - 1, 2**63, -(2**63))))
decimals = st.sampled_from(
    ("9.9999", "10", "10.0", "10.00", "10.0001", "10.5", "11", "-1", "-1.5", "1E+3", "0.00001")
)
contexts = st.fixed_dictionaries(
    {},
    optional={
        "n": st.one_of(numbers, st.booleans()),
        "m": st.integers(2, 6),
        "a": st.one_of(decimals.map(Decimal), st.integers(9, 11)),
        "s": st.sampled_from(("x", "y")),
    },
)


def asked(policies: CedarPolicies, args: dict[str, object]) -> Evaluation | str:
    """What is said of a call, or why it can't be asked about."""
    request = PolicyRequest(
        agent="bot", action="pay", resource_type="Connector", resource="api", context={"args": args}
    )
    try:
        return policies.evaluate(request)
    except CallError as fault:
        return str(fault)


@settings(max_examples=150, deadline=None)
@given(st.lists(conditions, min_size=1, max_size=3), st.lists(contexts, min_size=2, max_size=8))
def test_what_is_remembered_is_what_cedar_says(texts: list[str], calls: list[dict[str, object]]) -> None:
    """A memory that has seen other calls answers as one that has seen none."""
    text = "\n".join(
        f'@id("p{number}") permit(principal, action, resource) when {{ {condition} }};'
        for number, condition in enumerate(texts)
    )
    compiled = CompiledPolicies((("p.cedar", text),))
    remembering = CedarPolicies(REGISTRY, compiled)
    for args in calls:
        assert asked(CedarPolicies(REGISTRY, compiled), args) == asked(remembering, args)
