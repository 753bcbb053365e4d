from __future__ import annotations

from typing import Literal

import pytest

from aegis_gateway.domain.registry import Agent, Registry
from aegis_gateway.domain.risk import Stance
from aegis_gateway.domain.risk_of_changes import risk_of

AsksFor = tuple[str, ...] | Literal["all"]


def agent(asks_for: AsksFor) -> Agent:
    """An enforcement point."""
    return Agent(
        id="pep",
        owner="ana",
        team="desk",
        cost_centre="CC-1",
        purpose="guards",
        environment="test",
        budget="day",
        asks_for=asks_for,
    )


def stance(asks_for: AsksFor) -> Stance:
    """A tenant with it."""
    registry = Registry(
        tenant="acme", name="Acme", zone="UTC", teams={}, projects={}, agents={"pep": agent(asks_for)},
        connectors={}, models={}, quantities={}, budgets={}, rates={},
    )  # fmt: skip
    return Stance(registry=registry, policies={})


@pytest.mark.parametrize(
    ("asks_for", "expected"),
    [
        ((), {"pep"}),
        (("bot",), {"pep", "bot"}),
        ("all", {"pep", "bot", "a", "all", ""}),
        (("all",), {"pep", "all"}),
    ],
)
def test_for_whom_an_agent_may_ask(asks_for: AsksFor, expected: set[str]) -> None:
    """For itself, and for those it is registered to ask for; an agent of the name `all` is one agent."""
    found = {name for name in ("pep", "bot", "a", "all", "") if agent(asks_for).may_ask_for(name)}
    assert expected == found


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ((), ("bot",), "widening"),
        (("bot",), "all", "widening"),
        (("bot",), ("cat",), "widening"),
        (("all",), "all", "widening"),
        ("all", ("bot",), "narrowing"),
        (("bot", "cat"), ("cat",), "narrowing"),
        (("bot",), (), "narrowing"),
        (("bot", "cat"), ("cat", "bot"), "neutral"),
    ],
)
def test_what_a_change_of_it_is(old: AsksFor, new: AsksFor, expected: str) -> None:
    """Who may ask for more agents may spend the money of more."""
    assert expected == risk_of({"acme": stance(old)}, {"acme": stance(new)}).level
