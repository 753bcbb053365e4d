"""All agents of a tenant, from registry, keys and calls: whoever called is there once, on every store."""

from __future__ import annotations

import msgspec

from aegis_gateway import bootstrap
from aegis_gateway.adapters.reports import CallFilter, Reports
from aegis_gateway.application.claims import budgets_of_agent
from aegis_gateway.application.commands import Settle
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.keys import key_hash
from aegis_gateway.domain.registry import UNREGISTERED, Agent, Registry, credential_key
from aegis_gateway.entrypoints.agents.roster import roster
from tests.gateways import configuration
from tests.houses import House
from tests.ledgers import ATTRIBUTION, DAY_NS, NOON_NS, TurnableClock, admission, cost, quote

BUDGETS = {
    "day": "limit: 5.00, period: daily",
    "team": "limit: 2.00, period: daily, match: {team: desk}, per: [agent]",
    "model": "limit: 1.00, period: daily, match: {model: gpt-4.1, team: desk}",
    "runs": "limit: 1.00, period: daily, match: {agent: bot}, per: [run]",
    "others": "limit: 1.00, period: daily, match: {agent: quiet}",
    "idle": "limit: 1.00, period: daily",
}


def registry() -> Registry:
    """A tenant with the agents `bot`, `quiet` and `known`."""
    files = configuration("http://127.0.0.1:9", agents=("bot", "quiet", "known"), budgets=BUDGETS)
    return bootstrap.configuration(files).registries["acme"]


def called(ledger: Ledger, call: str, agent: str, team: str = "desk", nano_usd: int = 30) -> None:
    """A settled call."""
    who = msgspec.structs.replace(ATTRIBUTION, agent=agent, team=team)
    ledger.process([admission(call, quoted=quote(100), attribution=who)])
    ledger.process([Settle(call=call, tenant="acme", evidence=cost(nano_usd))])


def test_whoever_called_is_there_once(ledger: Ledger, store: Store, clock: TurnableClock) -> None:
    """Registered ones, strangers, those that are gone; a stranger that was adopted is the agent that it became."""
    one, other = (credential_key(key_hash(each, b"p")) for each in ("sk-one", "sk-other"))
    called(ledger, "c0", "bot", nano_usd=50)
    clock.turn(DAY_NS)
    called(ledger, "c1", "bot")
    called(ledger, "c2", one.agent, UNREGISTERED, 7)
    called(ledger, "c3", other.agent, UNREGISTERED, 9)
    called(ledger, "c4", "gone", "old")
    administration = House(store).administration()
    administration.issue_key("acme", "bot")
    known = registry().agents["known"]
    administration.adopt("acme", known, other.hash, four_eyes=False)
    found = {each.id: each for each in roster(store.query, registry(), clock.now_ns())}
    assert {"bot", "quiet", "known", one.agent, "gone"} == set(found)
    bot = found["bot"]
    assert ("active", 30, 80, 80, 2, 0, 1, 1) == (
        bot.state,
        bot.today,
        bot.month,
        bot.lately,
        bot.calls,
        bot.refused,
        bot.keys,
        bot.valid_keys,
    )
    assert NOON_NS + DAY_NS == bot.last_ns
    assert ("without key", None) == (found["quiet"].state, found["quiet"].last_ns)
    assert ("idle", 1) == (found["known"].state, found["known"].valid_keys)
    assert ("unregistered", UNREGISTERED, 7) == (
        found[one.agent].state,
        found[one.agent].team,
        found[one.agent].lately,
    )
    assert ("removed", "old", None) == (found["gone"].state, found["gone"].team, found["gone"].agent)
    assert 5 == len(Reports(store.query).calls("acme", CallFilter(), 10))


def test_the_budgets_that_calls_of_an_agent_count_on() -> None:
    """Its own and those that match it, with its balance where the call has no say in it."""
    known = registry()
    bot: Agent = known.agents["bot"]
    assert {"day": "", "team": "bot", "model": None, "runs": None} == {
        budget.id: scope for budget, scope in budgets_of_agent(known, bot)
    }
