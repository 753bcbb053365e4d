from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pytest

from aegis_gateway.domain.judge import Policy
from aegis_gateway.domain.registry import Budget, Proxy, Rate, Registry
from aegis_gateway.domain.replication import Bounds, Replication
from aegis_gateway.domain.risk import PolicyBody, Stance
from aegis_gateway.domain.risk_of_changes import risk_of
from aegis_gateway.domain.trials import rules_of, untried, wanting_trial

replace = msgspec.structs.replace
DAY_NS = 24 * 3_600 * 1_000_000_000

BUDGET = Budget(id="day", owner="ana", deputy="ben", quantity="usd", limit=100, period="daily", zone="UTC")
RATE = Rate(id="pace", limit=5, period_ns=DAY_NS, burst=5)
BOUNDS = Replication(bounds=Bounds(runs_max=5), idle_ns=DAY_NS)
DENY = PolicyBody(policy=Policy(id="no", effect="deny"), condition="when x")
PERMIT = PolicyBody(policy=Policy(id="may", effect="permit"), condition="")


def stance(
    *, budgets: Iterable[Budget] = (BUDGET,), rates: Iterable[Rate] = (RATE,),
    policies: Iterable[PolicyBody] = (PERMIT, DENY), proxy: Proxy | None = None,
    replication: Replication | None = None,
) -> Stance:  # fmt: skip
    """All that decides in a tenant."""
    registry = Registry(
        tenant="acme", name="Acme", zone="UTC", teams={}, projects={}, agents={}, connectors={}, models={},
        quantities={}, budgets={each.id: each for each in budgets}, rates={each.id: each for each in rates},
        proxy=proxy, replication=replication,
    )  # fmt: skip
    return Stance(registry=registry, policies={each.policy.id: each for each in policies})


def in_shadow(thing: Any) -> Any:
    """The same, not acting."""
    if isinstance(thing, PolicyBody):
        return replace(thing, policy=replace(thing.policy, mode="shadow"))
    return replace(thing, mode="shadow")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (stance(), stance(), ()),
        (stance(policies=[PERMIT]), stance(), ("policy no",)),
        (stance(policies=[DENY]), stance(), ()),
        (stance(policies=[PERMIT, in_shadow(DENY)]), stance(), ("policy no",)),
        (stance(), stance(policies=[PERMIT, replace(DENY, condition="when y")]), ("policy no",)),
        (stance(), stance(policies=[PERMIT, in_shadow(DENY)]), ()),
        (stance(budgets=[]), stance(), ("budget day",)),
        (stance(), stance(budgets=[replace(BUDGET, limit=99)]), ("budget day",)),
        (stance(), stance(budgets=[replace(BUDGET, limit=101)]), ()),
        (stance(), stance(budgets=[replace(BUDGET, owner="zoe")]), ()),
        (stance(rates=[in_shadow(RATE)]), stance(), ("rate pace",)),
        (stance(proxy=Proxy()), stance(), ("budget day", "policy no", "rate pace")),
        (stance(), stance(replication=BOUNDS), ("replication",)),
        (stance(replication=in_shadow(BOUNDS)), stance(replication=BOUNDS), ("replication",)),
        (
            stance(replication=BOUNDS),
            stance(replication=replace(BOUNDS, idle_ns=2 * DAY_NS)),
            ("replication",),
        ),
        (stance(replication=BOUNDS), stance(replication=replace(BOUNDS, idle_ns=1)), ()),
        (stance(replication=BOUNDS), stance(), ()),
        (stance(), stance(replication=in_shadow(BOUNDS)), ()),
    ],
)
def test_what_wants_a_trial(old: Stance, new: Stance, expected: tuple[str, ...]) -> None:
    """What begins to hold calls back: new, no longer in shadow, another policy, a lower limit; nothing that widens."""
    findings = risk_of({"acme": old}, {"acme": new}).findings
    assert expected == wanting_trial(old, new, findings)


@pytest.mark.parametrize(
    ("history", "since"),
    [
        ([(90, in_shadow(DENY)), (20, in_shadow(DENY))], None),
        ([(90, in_shadow(DENY)), (50, in_shadow(DENY)), (20, DENY)], 50),
        ([(90, in_shadow(DENY)), (50, in_shadow(replace(DENY, condition="when y")))], 90),
        ([(90, DENY), (20, in_shadow(DENY))], "never"),
        ([], "never"),
    ],
)
def test_how_long_it_was_in_shadow(history: list[tuple[int, PolicyBody]], since: int | str | None) -> None:
    """Without a break, as it would act, up to now; None: long enough."""
    rules: Callable[[PolicyBody], Any] = lambda body: rules_of(stance(policies=[body]))  # noqa: E731 - once
    found = untried(
        "acme", ["policy no"], rules(DENY), [(at_ns, rules(body)) for at_ns, body in history], 70, 100
    )
    expected = [] if since is None else [None if since == "never" else since]
    assert expected == [each.since_ns for each in found]
