"""The dearest agents of a budget are those whose calls have legs on it, whatever they are read from, on every store."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from typing import cast

import msgspec
import pytest

from aegis_gateway.adapters.budget_agents import AgentsOfBudget, BudgetAgents
from aegis_gateway.adapters.reports import Sum
from aegis_gateway.application.claims import claims_of
from aegis_gateway.application.commands import Attribution, Moved, Settle
from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.counted import counted_of
from aegis_gateway.domain.judge import Policies
from aegis_gateway.domain.registry import BUILT_IN_QUANTITIES, Agent, Budget, Key, Registry
from aegis_gateway.domain.window import Window
from tests.ledgers import DAY_NS, HOUR_NS, NOON_NS, TurnableClock, admission, cost, quote

PLENTY = 10**12
HOME = Budget(id="home", owner="ann", deputy=None, quantity="usd", limit=PLENTY, period="monthly", zone="UTC")


def budget(name: str, **settings: object) -> Budget:
    """A budget of a month."""
    return msgspec.structs.replace(HOME, id=name, **settings)


BUDGETS = (
    HOME,
    budget("all", match=(("tenant", "acme"),)),
    budget("team_", match=(("team", "red"),), period="daily"),
    budget("team-", match=(("team", "blue"),), period="weekly", zone="America/New_York"),
    budget("place", match=(("environment", "test"), ("project", "p")), period="yearly"),
    budget("projects", match=(("tenant", "acme"),), per=("project",), period="quarterly"),
    budget("models", match=(("connector", "openai"),), per=("model", "agent"), quantity="calls"),
    budget("gpt", match=(("model", "gpt"), ("tool", "chat"))),
    budget("tag", match=(("tag:tier", "gold"),), period="hourly"),
    budget("tags", match=(("team", "red"),), per=("tag:tier",)),
    budget("runs", match=(("agent", "ada"),), per=("run",)),
    budget("keys", match=(("team", "blue"),), per=("key",)),
    budget("once", match=(("team", "red"),), period="once"),
    budget("elsewhere", match=(("tenant", "zeta"),)),
    budget("trial", match=(("team", "red"),), mode="shadow"),
    budget("wanted", match=(("agent", "nobody"),)),
)
"""Those that sums tell; `home` is what two agents live on."""
BY_CALLS = (
    budget("key", match=(("key", "ada-1"),)),
    budget("customer", match=(("customer", "c"),)),
    budget("customers", match=(("team", "red"),), per=("customer",)),
    budget("tight", match=(("team", "red"),), mode="shadow", limit=400),
)
"""Those that they don't: what they count is in no sum, or calls that had no room on them were let through."""


def agent(name: str, team: str, live_on: str, **more: object) -> Agent:
    """A registered agent."""
    return Agent(
        id=name,
        owner="ann",
        team=team,
        cost_centre="CC-1",
        purpose="test",
        environment="test",
        budget=live_on,
        **more,  # type: ignore[arg-type] # names stand for themselves
    )


AGENTS = (
    agent("ada", "red", "home", project="p", tags={"tier": "gold"}),
    agent("bob", "red", "other", tags={"tier": "tin"}),
    agent("cy", "blue", "home", project="q"),
    agent("di", "blue", "team_", tags={"tier": "gold"}),
)
REGISTRY = Registry(
    tenant="acme",
    name="Acme",
    zone="UTC",
    teams={},
    projects={},
    agents={each.id: each for each in AGENTS},
    connectors={},
    models={},
    quantities=BUILT_IN_QUANTITIES,
    budgets={each.id: each for each in (*BUDGETS, *BY_CALLS)},
    rates={},
)
VIEW = TenantView(
    epoch=1, config_version=1, registry=REGISTRY, policies=cast(Policies, None), arguments_key=b""
)


def key_of(agent: Agent, number: int) -> Key:
    """One of an agent's keys."""
    return Key(id=f"{agent.id}-{number}", agent=agent.id, hash=b"", hint="", issued_ns=0)


def called(
    ledger: Ledger, name: str, chance: random.Random, whose: Agent, above: tuple[Agent, ...] = ()
) -> None:
    """A call of whatever, on the budgets that it counts on, and on those of who delegated it; mostly settled."""
    connector, tool, model = chance.choice(
        [("openai", "chat", "gpt"), ("openai", "embed", "e"), ("api", "api.pay", None)]
    )
    key, customer = key_of(whose, chance.randrange(2)), chance.choice([None, "c", "d"])
    _, claims = claims_of(
        VIEW,
        whose,
        key,
        connector=connector,
        tool=tool,
        model=model,
        run=f"run_{name}",
        opens_run=True,
        customer=customer,
        delegators=tuple((each, key_of(each, 0)) for each in above),
    )
    who = Attribution(
        agent=whose.id,
        team=whose.team,
        project=whose.project,
        cost_centre=whose.cost_centre,
        owner=whose.owner,
        purpose=whose.purpose,
        environment=whose.environment,
        key=key.id,
        connector=connector,
        tool=tool,
        model=model,
        run=f"run_{name}",
        customer=customer,
    )
    (reply,) = ledger.process([admission(name, quoted=quote(100, 60), budgets=claims, attribution=who)])
    assert "allow" == getattr(reply, "effect", reply)
    if chance.random() < 0.8:
        evidence = cost(chance.randrange(150), calls=1)
        (reply,) = ledger.process([Settle(call=name, tenant="acme", evidence=evidence)])
        assert isinstance(reply, Moved)


def some_days(ledger: Ledger, clock: TurnableClock, seed: int) -> None:
    """Calls of all agents, at odd times in some days."""
    chance = random.Random(seed)
    for number in range(60):
        clock.turn(chance.randrange(3 * HOUR_NS))
        called(ledger, f"c{number}", chance, chance.choice(AGENTS))
    for each in AGENTS:
        called(ledger, f"last-{each.id}", chance, each)


def by_legs(store: Store, name: str, since_ns: int, until_ns: int) -> list[Sum]:
    """What the calls of a stretch of time come to that have a leg on a budget, by agent."""
    rows = store.query(
        "select agent, legs, cost_nano_usd from call where tenant = 'acme' and decided_ns >= ? and decided_ns < ?",
        (since_ns, until_ns),
    )
    costs, calls = Counter[str](), Counter[str]()
    for row in rows:
        if any(leg[0] == name for leg in msgspec.json.decode(row["legs"])):
            calls[row["agent"]] += 1
            costs[row["agent"]] += row["cost_nano_usd"] or 0
    found = [Sum(name=each, calls=calls[each], nano_usd=costs[each]) for each in calls]
    return sorted(found, key=lambda each: (-each.nano_usd, str(each.name)))


@pytest.mark.parametrize("seed", range(2))
def test_they_are_whose_calls_have_legs_on_it(
    ledger: Ledger, store: Store, reader: Store, clock: TurnableClock, seed: int
) -> None:
    """Of budgets of all kinds: read call by call, from sums, and of the newest calls alone."""
    some_days(ledger, clock, seed)
    now_ns = clock.now_ns()
    for each in (*BUDGETS, *BY_CALLS):
        window = each.window(now_ns)
        whole = by_legs(store, each.id, window.starts_ns, window.ends_ns)
        found = AgentsOfBudget(reader.query).of(REGISTRY, each, now_ns)
        assert BudgetAgents(agents=whole, looked_at="calls", since_ns=window.starts_ns) == found, each.id
        assert whole[:1] == AgentsOfBudget(reader.query).of(REGISTRY, each, now_ns, limit=1).agents
        few = AgentsOfBudget(reader.query, 10 if each in BY_CALLS else 3).of(REGISTRY, each, now_ns)
        if each in BY_CALLS:
            assert "newest_calls" == few.looked_at, each.id
            assert window.starts_ns < few.since_ns <= now_ns
            assert by_legs(store, each.id, few.since_ns, window.ends_ns) == few.agents, each.id
        else:
            is_posted = each.quantity == "usd" and each.per != ("run",)
            assert ("sums", 0 if is_posted else None) == (few.looked_at, few.rest_nano_usd), each.id
            assert whole == few.agents, each.id
            assert not few.is_widened
    assert 3 < len({str(AgentsOfBudget(reader.query).of(REGISTRY, each, now_ns)) for each in BUDGETS})


def test_so_many_calls_are_read_one_by_one(
    ledger: Ledger, store: Store, reader: Store, clock: TurnableClock
) -> None:
    """As many as may be: all tell; one more: those of the instant behind are left out, since some may be missing."""
    chance = random.Random(1)
    for number in range(6):
        clock.turn(HOUR_NS if number % 2 == 0 else 0)
        called(ledger, f"c{number}", chance, AGENTS[0])
    (each,) = (each for each in BY_CALLS if each.id == "key")
    now_ns = clock.now_ns()
    assert "calls" == AgentsOfBudget(reader.query, 6).of(REGISTRY, each, now_ns).looked_at
    for most, since_ns in (
        (5, NOON_NS + HOUR_NS),
        (4, NOON_NS + 2 * HOUR_NS - HOUR_NS),
        (3, NOON_NS + 2 * HOUR_NS),
    ):
        found = AgentsOfBudget(reader.query, most).of(REGISTRY, each, now_ns)
        assert ("newest_calls", since_ns + 1) == (found.looked_at, found.since_ns)
        assert by_legs(store, each.id, since_ns + 1, now_ns + 1) == found.agents


def test_what_is_spent_besides(ledger: Ledger, store: Store, reader: Store, clock: TurnableClock) -> None:
    """What was called in a delegated run counts on its delegator's budgets and is no call of their agents."""
    some_days(ledger, clock, 3)
    ada, bob, cy, _ = AGENTS
    sums = AgentsOfBudget(reader.query, 0)
    for number, (whose, above) in enumerate(itertools.product((bob, cy), ((ada,), (ada, bob)))):
        called(ledger, f"d{number}", random.Random(number), whose, above)
    now_ns = clock.now_ns()
    for name in ("home", "place", "team_", "all"):
        each = REGISTRY.budgets[name]
        window = each.window(now_ns)
        found = sums.of(REGISTRY, each, now_ns)
        legs = by_legs(store, name, window.starts_ns, window.ends_ns)
        spent = sum(one.nano_usd for one in legs)
        assert found.rest_nano_usd is not None
        assert spent == found.rest_nano_usd + sum(one.nano_usd for one in found.agents)
        assert (name == "all") == (legs == found.agents)
        assert (name == "all") == (0 == found.rest_nano_usd)


def test_settings_that_were_others(ledger: Ledger, reader: Store, clock: TurnableClock) -> None:
    """What counted before and doesn't now is spent besides; what counts now and didn't is not spent of it."""
    some_days(ledger, clock, 4)
    sums, team = AgentsOfBudget(reader.query, 0), REGISTRY.budgets["once"]
    now_ns = clock.now_ns()
    red = sums.of(REGISTRY, team, now_ns)
    narrow = sums.of(REGISTRY, msgspec.structs.replace(team, match=(("agent", "ada"),)), now_ns)
    wide = sums.of(REGISTRY, msgspec.structs.replace(team, match=(("tenant", "acme"),)), now_ns)
    assert ["ada"] == [each.name for each in narrow.agents]
    spent = sum(each.nano_usd for each in red.agents)
    for found in (narrow, wide):
        assert spent == (found.rest_nano_usd or 0) + sum(each.nano_usd for each in found.agents)
    assert (wide.rest_nano_usd or 0) < 0 < (narrow.rest_nano_usd or 0)


def test_windows_that_begin_within_an_hour(ledger: Ledger, reader: Store, clock: TurnableClock) -> None:
    """Sums tell of the whole hour, and say so; nothing is known of the rest."""
    some_days(ledger, clock, 5)
    now_ns = clock.now_ns()
    for settings in ({"period": "daily", "zone": "Asia/Kolkata"}, {"period": "rolling", "length_ns": DAY_NS}):
        each = budget("all", match=(("tenant", "acme"),), **settings)
        starts_ns = now_ns - DAY_NS if each.period == "rolling" else each.window(now_ns).starts_ns
        hour_ns = starts_ns - starts_ns % HOUR_NS
        found = AgentsOfBudget(reader.query, 0).of(REGISTRY, each, now_ns)
        assert ("sums", hour_ns, None, True) == (
            found.looked_at,
            found.since_ns,
            found.rest_nano_usd,
            found.is_widened,
        )
        assert by_legs(reader, "all", hour_ns, now_ns + 1) == found.agents


def test_a_window_that_is_over_or_has_none(reader: Store, store: Store) -> None:
    """A one-off budget that is past, and one that nothing was called on."""
    past = Window(label="then", starts_ns=NOON_NS - 2 * DAY_NS, ends_ns=NOON_NS - DAY_NS)
    each = budget("all", match=(("tenant", "acme"),), period="once", once=past)
    found = AgentsOfBudget(reader.query, 0).of(REGISTRY, each, NOON_NS)
    assert BudgetAgents(agents=[], looked_at="calls", since_ns=past.starts_ns) == found


def test_all_budgets_here_are_of_the_kind_that_they_are_said_to_be() -> None:
    """Sums tell those that are listed as such, and of those in shadow it depends on the calls."""
    told = {each.id for each in REGISTRY.budgets.values() if counted_of(each, REGISTRY) is not None}
    assert {each.id for each in BUDGETS} | {"tight"} == told
