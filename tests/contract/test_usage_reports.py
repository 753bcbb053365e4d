"""What was called and spent in a period is what its calls add up to, whatever the period, on every store."""

from __future__ import annotations

import itertools
import random

import msgspec
import pytest

from aegis_gateway.adapters.usage_reports import UsageReports, Where, pieces_of
from aegis_gateway.application.commands import Settle
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.decision import Shadow
from aegis_gateway.domain.registry import UNREGISTERED
from aegis_gateway.domain.usage import DAY_NS
from tests.ledgers import (
    ATTRIBUTION,
    HOUR_NS,
    NOON_NS,
    PERMITTED,
    TurnableClock,
    admission,
    budget,
    cost,
    quote,
)

DAY = NOON_NS - NOON_NS % DAY_NS
AGENTS = {"bot": "lending", "clerk": "payments", "stray": UNREGISTERED}
TIGHT = (budget("tight", 1_500, period="daily"),)


def some_days(ledger: Ledger, clock: TurnableClock, seed: int) -> None:
    """Calls of three agents, at odd times in four days, some of them refused, most of them settled."""
    chance = random.Random(seed)
    for number in range(60):
        clock.turn(chance.randrange(3 * HOUR_NS))
        agent = chance.choice(list(AGENTS))
        who = msgspec.structs.replace(
            ATTRIBUTION, agent=agent, team=AGENTS[agent], model=chance.choice([None, "m"]), saved_nano_usd=2
        )
        shadow = (Shadow(rule="dear", would="deny"),) if number % 3 == 0 else ()
        call = admission(
            f"c{number}",
            quoted=quote(100, 60),
            budgets=TIGHT,
            attribution=who,
            verdict=msgspec.structs.replace(PERMITTED, shadow=shadow),
        )
        (reply,) = ledger.process([msgspec.structs.replace(call, asked={"opens_run": number % 2 == 0})])
        if getattr(reply, "effect", "") == "allow" and chance.random() < 0.8:
            ledger.process([Settle(call=call.call, tenant="acme", evidence=cost(chance.randrange(150)))])


@pytest.mark.parametrize("seed", range(3))
def test_periods_are_what_their_calls_add_up_to(
    ledger: Ledger, store: Store, clock: TurnableClock, seed: int
) -> None:
    """Within an hour, over hours, over days; by agent and in all."""
    some_days(ledger, clock, seed)
    usage = UsageReports(store.query)
    chance = random.Random(seed)
    periods = [(DAY, DAY + 10 * DAY_NS), (NOON_NS, NOON_NS + HOUR_NS), (NOON_NS, NOON_NS)]
    for _ in range(12):
        since, until = sorted(chance.sample(range(0, 5 * 24), 2))
        periods.append((DAY + since * HOUR_NS, DAY + until * HOUR_NS))
    for since_ns, until_ns in periods:
        rows = store.query(
            "select agent, team, model, effect, cost_nano_usd, state from call"
            " where decided_ns >= ? and decided_ns < ?",
            (since_ns, until_ns),
        )
        costs = [row["cost_nano_usd"] or 0 for row in rows]
        totals = usage.totals("acme", since_ns, until_ns)
        assert (len(rows), sum(costs)) == (totals.sums.calls, totals.sums.cost)
        cube = usage.cube("acme", since_ns, until_ns)
        assert totals == cube.totals()
        by_agent = usage.by("acme", since_ns, until_ns, ("agent",))
        assert {each.values: each.sums for each in by_agent} == {
            each.values: each.sums for each in cube.by("agent")
        }
        assert len({row["agent"] for row in rows if row["state"] == "settled"}) == totals.active_agents
        assert sum(row["effect"] != "allow" for row in rows) == totals.violations
        assert totals.violations * 60 == totals.refused_cost
        known = [row["cost_nano_usd"] or 0 for row in rows if row["team"] != UNREGISTERED]
        assert sum(known) == totals.attributed_cost
        of_models = [row["cost_nano_usd"] or 0 for row in rows if row["model"]]
        assert sum(of_models) == totals.model_cost
        found = {
            each.values: each.sums.cost for each in usage.by("acme", since_ns, until_ns, ("agent", "team"))
        }
        assert sum(costs) == sum(found.values())
        assert {(row["agent"], row["team"]) for row in rows} == set(found)
        hours = usage.by_time("acme", since_ns, until_ns, "hour")
        assert sum(costs) == sum(hours.values())
    (quiet,) = usage.shadow("acme", DAY, DAY + 10 * DAY_NS)
    findings = store.query("select count(*) as calls from shadow_finding")
    assert ("dear", "deny", int(findings[0]["calls"])) == (quiet.rule, quiet.would, quiet.calls)


@pytest.mark.parametrize("seed", range(3))
def test_stretches_of_time_are_what_their_calls_add_up_to(
    ledger: Ledger, store: Store, clock: TurnableClock, seed: int
) -> None:
    """Hours, days of a zone, odd stretches; by some agents and the rest of them; of a team alone; none twice."""
    some_days(ledger, clock, seed)
    usage = UsageReports(store.query)
    zone = [(DAY + n * DAY_NS - 5 * HOUR_NS, DAY + (n + 1) * DAY_NS - 5 * HOUR_NS) for n in range(6)]
    hours = [(NOON_NS + n * HOUR_NS, NOON_NS + (n + 1) * HOUR_NS) for n in range(12)]
    odd = [
        (DAY, DAY + 30 * HOUR_NS),
        (DAY + 30 * HOUR_NS, DAY + 30 * HOUR_NS),
        (DAY + 2 * DAY_NS, DAY + 9 * DAY_NS),
    ]
    wheres: tuple[Where, ...] = ({}, {"team": "lending", "model": ""})
    for stretches, where in itertools.product((zone, hours, odd), wheres):
        of_each = [
            {each.values[0]: each.sums.cost for each in usage.by("acme", *stretch, ("agent",), where=where)}
            for stretch in stretches
        ]
        for names in ((), ("bot", "stray", "nobody's")):
            found = usage.over_time("acme", stretches, "agent", names, where)
            assert {*names, None} == set(found)
            for name in names:
                assert [costs.get(name, 0) for costs in of_each] == found[name]
            rest = [sum(cost for name, cost in costs.items() if name not in names) for costs in of_each]
            assert rest == found[None]
    every = usage.over_time("acme", zone, "team", ())
    rows = store.query("select sum(coalesce(cost_nano_usd, 0)) as cost from call")
    assert int(rows[0]["cost"]) == sum(every[None])
    lending = usage.totals("acme", DAY, DAY + 10 * DAY_NS, {"team": "lending"})
    rows = store.query(
        "select count(*) as n, sum(coalesce(cost_nano_usd, 0)) as cost from call where team = 'lending'"
    )
    assert (int(rows[0]["n"]), int(rows[0]["cost"])) == (lending.sums.calls, lending.sums.cost)
    assert {None: []} == usage.over_time("acme", (), "agent", ())


def test_other_tenants_are_not_counted(ledger: Ledger, store: Store) -> None:
    """A tenant without calls has sums of nothing."""
    ledger.process([admission("a", quoted=quote(100))])
    totals = UsageReports(store.query).totals("nobody", 0, 2 * NOON_NS)
    assert (0, 0, 0) == (totals.sums.calls, totals.sums.cost, totals.active_agents)


def test_a_period_is_days_and_the_hours_at_its_ends() -> None:
    """Widened to whole hours, each hour in one piece."""
    hour, day = HOUR_NS, DAY_NS
    assert [("hour", 0, hour)] == pieces_of(1, hour)
    assert [("hour", 0, 2 * hour)] == pieces_of(1, hour + 1)
    long = 14 * day
    assert [
        ("hour", day - hour, day), ("day", day, long), ("fortnight", long, 3 * long), ("day", 3 * long, 3 * long + day),
        ("hour", 3 * long + day, 3 * long + day + hour),
    ] == pieces_of(day - hour, 3 * long + day + hour)  # fmt: skip
    assert [("day", 0, 3 * day)] == pieces_of(0, 3 * day)
    assert [("hour", 23 * hour, day), ("day", day, 2 * day), ("hour", 2 * day, 2 * day + hour)] == pieces_of(
        day - hour + 5, 2 * day + 5
    )
    assert [("hour", hour, hour)] == pieces_of(hour, hour)
