"""Whose calls count on a budget, as sums tell it, is what is decided of each call, whatever the registry."""

from __future__ import annotations

from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_gateway.application.claims import claims_of
from aegis_gateway.application.directory import TenantView
from aegis_gateway.domain.counted import counted_of
from aegis_gateway.domain.judge import Policies
from aegis_gateway.domain.registry import BUILT_IN_QUANTITIES, DIMENSIONS, Agent, Budget, Key, Registry
from aegis_gateway.domain.usage import UsageKey

BUDGETS = ("one", "two", "three")
TWO = ("x", "y")
some = st.sampled_from(TWO)
at_times = st.sampled_from((*TWO, None))
agents = st.builds(
    Agent,
    id=some,
    owner=st.just("ana"),
    team=some,
    cost_centre=st.just("CC-1"),
    purpose=st.just("test"),
    environment=some,
    budget=st.sampled_from((*BUDGETS, "none")),
    project=at_times,
    tags=st.dictionaries(some, some),
)
dimensions = st.sampled_from((*DIMENSIONS, "tag:x", "tag:y"))


def budget(name: str) -> st.SearchStrategy[Budget]:
    """A budget of some name: of the agents that live on it, or matched and split in whatever way."""
    return st.builds(
        Budget,
        id=st.just(name),
        owner=st.just("ana"),
        deputy=st.none(),
        quantity=st.just("usd"),
        limit=st.just(100),
        period=st.just("daily"),
        zone=st.just("UTC"),
        match=st.lists(st.tuples(dimensions, st.sampled_from((*TWO, ""))), max_size=3).map(tuple),
        per=st.lists(dimensions, max_size=2).map(tuple),
    )


def registry(known: list[Agent], budgets: tuple[Budget, ...]) -> Registry:
    """A tenant with agents and budgets."""
    return Registry(
        tenant="x",
        name="X",
        zone="UTC",
        teams={},
        projects={},
        agents={each.id: each for each in known},
        connectors={},
        models={},
        quantities=BUILT_IN_QUANTITIES,
        budgets={each.id: each for each in budgets},
        rates={},
    )


calls = st.fixed_dictionaries(
    {"connector": some, "tool": some, "model": at_times, "run": some, "customer": at_times}
)


@settings(max_examples=600)
@given(
    st.lists(agents, max_size=2, unique_by=lambda each: each.id),
    agents,
    st.tuples(*(budget(each) for each in BUDGETS)),
    st.lists(st.tuples(st.booleans(), some, calls), min_size=1, max_size=6),
)
def test_sums_tell_what_is_decided_of_calls(
    known: list[Agent],
    stranger: Agent,
    budgets: tuple[Budget, ...],
    made: list[tuple[bool, str, dict[str, str | None]]],
) -> None:
    """A call counts on a budget if and only if the sum counts that it is in; who is told of by neither is not told."""
    of = registry(known, budgets)
    view = TenantView(
        epoch=1, config_version=1, registry=of, policies=cast(Policies, None), arguments_key=b""
    )
    nobody = Agent(
        id="stranger", owner="", team=stranger.team, cost_centre="", purpose="", environment="x", budget=""
    )
    for is_known, key, told in made:
        agent = known[0] if is_known and known else nobody
        _, claimed = claims_of(
            view,
            agent,
            Key(id=f"{agent.id}-{key}", agent=agent.id, hash=b"", hint="", issued_ns=0),
            opens_run=False,
            **told,  # type: ignore[arg-type] # names stand for themselves
        )
        counts_on = {each.budget for each in claimed}
        summed = UsageKey(
            agent=agent.id,
            team=agent.team,
            project=agent.project or "",
            cost_centre=agent.cost_centre,
            environment=agent.environment,
            connector=told["connector"] or "",
            tool=told["tool"] or "",
            model=told["model"] or "",
            effect="allow",
        )
        for each in budgets:
            counted = counted_of(each, of)
            if counted is not None:
                assert (each.id in counts_on) == counted.holds(summed), each


@given(st.lists(agents, max_size=2, unique_by=lambda each: each.id), budget("one"))
def test_what_sums_do_not_tell(known: list[Agent], each: Budget) -> None:
    """Only what no sum has keeps a matched budget from being told: key, run, and which calls have a customer."""
    if counted_of(each, registry(known, (each,))) is None:
        matched = {dimension for dimension, _ in each.match}
        assert matched & {"key", "run", "customer"} or "customer" in each.per
    elif each.match and ("tenant", "y") not in each.match and ("tenant", "") not in each.match:
        assert "customer" not in each.per
