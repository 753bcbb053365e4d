from __future__ import annotations

import msgspec
import pytest

from aegis_gateway.adapters.cedar import CedarPolicies, CompiledPolicies
from aegis_gateway.application.visibility import reach_of, visible_tools
from aegis_gateway.domain.registry import Proxy
from tests.properties.test_visibility import ARGUMENTS, NOW_NS, REGISTRY, view_of

HOUR_NS = 3_600_000_000_000
ALL = list(ARGUMENTS)
PERMIT = '@id("all") permit(principal, action, resource);'


def visible(text: str, agent: str = "bot", now_ns: int = NOW_NS) -> list[str]:
    """The tools that an agent sees under such policies."""
    return visible_tools(view_of(text), REGISTRY.agents[agent], ALL, now_ns)


def test_nothing_is_visible_that_nothing_permits() -> None:
    """Neither without policies, nor what is no tool here."""
    assert [] == visible("")
    assert [] == visible_tools(view_of(PERMIT), REGISTRY.agents["bot"], ["pay.nothing", "chat", ""], NOW_NS)
    assert ALL == visible(PERMIT)


@pytest.mark.parametrize(
    ("policy", "hidden"),
    [
        ('forbid(principal, action == Action::"pay.wire", resource)', {"pay.wire"}),
        ('forbid(principal in Team::"lab", action, resource)', set()),
        ('forbid(principal, action, resource in Connector::"web")', {"web.find", "web.ping"}),
        ("forbid(principal, action, resource) when { context.args.n > 3 }", {"pay.note", "web.find", "web.ping"}),
        ("forbid(principal, action, resource) when { context.args has n && context.args.n > 3 }", set()),
        ("forbid(principal, action, resource) unless { context.args has n }", {"pay.note", "web.find", "web.ping"}),
        ("forbid(principal, action, resource) when { context.args has o }", set()),
        ('forbid(principal, action, resource) unless { action == Action::"pay.wire" }', set(ALL) - {"pay.wire"}),
        ('forbid(principal, action, resource) when { action == Action::"pay.wire" }', {"pay.wire"}),
        ('forbid(principal, action, resource) when { resource.region == "us" }', {"web.find", "web.ping"}),
        ('forbid(principal, action, resource) when { principal.role == "buyer" }', set(ALL)),
        ('@mode("shadow") forbid(principal, action, resource)', set()),
        ('@mode("shadow") forbid(principal, action, resource) when { principal.nothing == 1 }', set()),
        ("forbid(principal, action, resource) when { principal.nothing == 1 }", set(ALL)),
        ('forbid(principal, action, resource) when { context.cost.maximum_usd.greaterThan(decimal("1.0")) }', set()),
        ("forbid(principal, action, resource) when { context.budget.utilisation >= 100 }", set()),
        ("forbid(principal, action, resource) unless { context has run && context has cost }", set()),
        ('@effect("require_approval") forbid(principal, action, resource)', set()),
        ('@effect("throttle") @limit("1") @every("1s") forbid(principal, action, resource)', set()),
    ],
)  # fmt: skip
def test_what_policies_refuse_whatever_the_arguments_is_hidden(policy: str, hidden: set[str]) -> None:
    """A denial or an error that is certain hides; one that depends on what isn't known does not."""
    found = visible(f'{PERMIT} @id("p") {policy};')
    assert [tool for tool in ALL if tool not in hidden] == found


def test_a_permit_counts_if_it_could_hold() -> None:
    """One with a condition on arguments, for the tools that have them; one that is in shadow permits nothing."""
    permit = '@id("p") permit(principal, action, resource) when { context.args.n < 5 };'
    assert ["pay.wire", "pay.show"] == visible(permit)
    assert [] == visible(f'@mode("shadow") {PERMIT}')


def test_time_counts_as_it_is_now() -> None:
    """What is denied after noon is hidden then, and not before."""
    policies = (
        f'{PERMIT} @id("p") forbid(principal, action, resource) when {{ context.time.utc_hour >= 12 }};'
    )
    view, agent = view_of(policies), REGISTRY.agents["bot"]
    midnight = NOW_NS - NOW_NS % (24 * HOUR_NS)
    for hour in (0, 11, 12, 23, 3):
        found = visible_tools(view, agent, ALL, midnight + hour * HOUR_NS)
        assert (ALL if hour < 12 else []) == found


def test_models_that_cannot_be_lowered_to_two_at_once_are_hidden() -> None:
    """Two downgrades to different models refuse every call; one does not."""
    one = (
        '@id("{0}") @effect("downgrade") @model("{0}") forbid(principal, action == Action::"chat", resource);'
    )
    agent = REGISTRY.agents["bot"]

    def sees(text: str) -> bool:
        return reach_of(view_of(text), agent, NOW_NS).model("chat", "gpt")

    assert sees(PERMIT)
    assert sees(PERMIT + one.format("a"))
    assert not sees(PERMIT + one.format("a") + one.format("b"))
    assert not reach_of(view_of(PERMIT), agent, NOW_NS).model("chat", "nothing")


def test_everything_is_visible_where_everything_passes() -> None:
    """In proxy mode no policy hides, and what nobody declared passes too."""
    registry = msgspec.structs.replace(REGISTRY, proxy=Proxy())
    compiled = CompiledPolicies((("p.cedar", '@id("no") forbid(principal, action, resource);'),))
    view = msgspec.structs.replace(
        view_of(PERMIT), registry=registry, policies=CedarPolicies(registry, compiled)
    )
    reach = reach_of(view, registry.agents["bot"], NOW_NS)
    assert reach.tool("pay.wire")
    assert reach.tool("pay.?")
    assert reach.model("chat", "anything")
